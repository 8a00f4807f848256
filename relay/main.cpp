// once-relay: ships what committed to Kafka, exactly once.
#include <cstdio>

int main() {
    std::puts("once-relay " ONCE_VERSION);
    return 0;
}
