// once-relay: ships what committed to Kafka, and what Kafka brings into the database, exactly once.
#include "relay/application.hpp"

int main(int argc, char **argv) {
    return once::run_application(argc, argv);
}
