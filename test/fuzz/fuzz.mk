# libFuzzer needs clang (test/support/install.sh fuzz); the same targets, linked with the unit tests, replay the corpus.
FUZZ_TARGETS = $(basename $(notdir $(wildcard test/fuzz/*.cpp)))
FUZZ ?= $(FUZZ_TARGETS)
SECONDS ?= 600
CLANGXX ?= clang++
FUZZ_FLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link \
	-fno-sanitize-recover=undefined -DONCE_LIBFUZZER
# What the targets reach, and what that is linked with.
FUZZED_SOURCES = $(addprefix relay/,outbox/position.cpp outbox/event.cpp database/copy_row.cpp inbox/message.cpp \
	options.cpp http.cpp log.cpp metrics.cpp prometheus.cpp) $(wildcard relay/config/*.cpp)
FUZZED_OBJECTS = $(FUZZED_SOURCES:%.cpp=build/fuzz/%.o)

build/fuzz/%.o: %.cpp Makefile test/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(CCACHE) $(CLANGXX) $(RELAY_CFLAGS) $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<
build/fuzz/fuzzed.a: $(FUZZED_OBJECTS)
	@rm -f $@
	ar rcs $@ $^
build/fuzz/%: build/fuzz/test/fuzz/%.o build/fuzz/fuzzed.a
	$(CLANGXX) $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(RELAY_LIBS)
.PRECIOUS: build/fuzz/%.o
-include $(FUZZED_OBJECTS:.o=.d) $(FUZZ_TARGETS:%=build/fuzz/test/fuzz/%.d)

.PHONY: fuzz
fuzz:
	@test/support/install.sh fuzz
	@$(MAKE) -s -j2 $(FUZZ:%=build/fuzz/%)
	@test/fuzz/run.sh $(SECONDS) $(FUZZ)
