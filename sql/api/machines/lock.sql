CREATE OR REPLACE FUNCTION once.lock(VARIADIC names text[]) RETURNS once.lock_verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_lock';
COMMENT ON FUNCTION once.lock(text[]) IS
'locks names until the transaction ends (or the savepoint is rolled back); waits for who holds them
locked; already: this session held all of them before
one call takes its names in one order, so calls do not deadlock with each other; two calls in a transaction can, as for any lock
each name is one entry of the lock table until the end: thousands in a transaction exhaust it (max_locks_per_transaction)
the same under every isolation level, but a REPEATABLE READ snapshot may be older than the lock; standby: 25006';

CREATE OR REPLACE FUNCTION once.try_lock(VARIADIC names text[]) RETURNS once.lock_verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_try_lock';
COMMENT ON FUNCTION once.try_lock(text[]) IS
'as once.lock, without waiting: busy when somebody else holds one of the names, and then nothing is locked; standby: 25006';
