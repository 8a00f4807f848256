# once-relay: every relay/**/*.cpp and the extension's wire/ code in one program.
RELAY = build/once-relay
RELAY_SOURCES = $(wildcard relay/*.cpp relay/*/*.cpp extension/wire/*.cpp)
RELAY_OBJECTS = $(RELAY_SOURCES:%.cpp=build/relay-objects/%.o)
RELAY_PACKAGES = libpq libpqxx rdkafka fmt spdlog nlohmann_json tomlplusplus prometheus-cpp-core
RELAY_CFLAGS = -std=c++20 -O2 -g -Wall -Wextra -DONCE_VERSION='"$(ONCE_VERSION)"' -Iextension -I. \
	-DSPDLOG_FMT_EXTERNAL -DSPDLOG_COMPILED_LIB $(shell pkg-config --cflags $(RELAY_PACKAGES) 2>/dev/null)
# Half of an event's cost is the allocator's: librdkafka asks it for eight pieces a message, and 20,000 messages are open at
# once. Not for instrumented builds, which bring their own. ALLOCATOR= does without.
ALLOCATOR = $(shell pkg-config --libs jemalloc 2>/dev/null)
RELAY_LIBS = $(shell pkg-config --libs $(RELAY_PACKAGES) 2>/dev/null) -lpthread

build/relay-objects/%.o: %.cpp Makefile relay/relay.mk extension/pg_once.control
	@mkdir -p $(@D)
	$(CCACHE) $(CXX) $(RELAY_CFLAGS) $(RELAY_EXTRA) -MMD -MP -c -o $@ $<

$(RELAY): $(RELAY_OBJECTS)
	@mkdir -p $(@D)
	$(CXX) $(RELAY_EXTRA) -o $@ $^ $(RELAY_LIBS) $(ALLOCATOR)

-include $(RELAY_OBJECTS:.o=.d)
