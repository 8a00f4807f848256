/*
 * Preloaded before libfaketime. librdkafka waits by C11's cnd_timedwait, which glibc does not lead through the function that
 * libfaketime replaces: a timeout that was made from the faked clock was measured by the real one, ended at once under a
 * clock that stood behind and never under one that stood ahead. POSIX threads are what these types are in glibc.
 */
#include <errno.h>
#include <pthread.h>
#include <threads.h>

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    switch (pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until)) {
    case 0: return thrd_success;
    case ETIMEDOUT: return thrd_timedout;
    default: return thrd_error;
    }
}
