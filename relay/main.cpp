// once-relay: ships what committed to Kafka, and what Kafka brings into the database, exactly once.
#include "relay/application.hpp"

// Read by jemalloc, where it is the allocator: what is free goes back to the system after a second,
// not after ten, or an inbox that works off a backlog holds a quarter more memory.
extern "C" {
extern const char *malloc_conf;
const char *malloc_conf = "dirty_decay_ms:1000,muzzy_decay_ms:0";
}

int main(int argc, char **argv) {
    return once::run_application(argc, argv);
}
