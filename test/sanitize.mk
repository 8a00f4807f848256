# Everything once more, instrumented: README.md says what is guarded and what is not.
#   make check-asan            AddressSanitizer, LeakSanitizer, UndefinedBehaviorSanitizer: extension, then relay
#   make check-asan-extension  ASAN_LAYERS, SQL and ISOLATION choose
#   make check-asan-relay      unit tests and end-to-end tests; UNIT and E2E choose
#   make check-tsan            the same with ThreadSanitizer; the extension has one thread
SANITIZE_asan = -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
SANITIZE_tsan = -O1 -g1 -fno-omit-frame-pointer -fsanitize=thread

THREADS_tsan = build/tsan/threads.o
build/tsan/threads.o: test/support/tsan_threads.c test/sanitize.mk
	@mkdir -p $(@D)
	$(CC) $(SANITIZE_tsan) -c -o $@ $<

ASAN_OBJECTS = $(EXTENSION_SOURCES:%.cpp=build/asan/%.o)
build/asan/extension/%.o: extension/%.cpp Makefile test/sanitize.mk build/server
	@mkdir -p $(@D)
	$(CCACHE) $(CXX) $(CXXFLAGS) $(CFLAGS_SL) $(EXTENSION_FLAGS) $(SANITIZE_asan) -MMD -MP -c -o $@ $<
build/asan/pg_once.so: $(ASAN_OBJECTS)
	$(CXX) $(CXXFLAGS) $(SANITIZE_asan) -shared -o $@ $^ $(LDFLAGS) $(LDFLAGS_SL) -lcrypto
-include $(ASAN_OBJECTS:.o=.d)

# $(1): asan or tsan
define sanitized
build/$(1)/relay-objects/%.o: %.cpp Makefile relay/relay.mk test/sanitize.mk
	@mkdir -p $$(@D)
	$$(CCACHE) $$(CXX) $$(RELAY_CFLAGS) $$(SANITIZE_$(1)) -MMD -MP -c -o $$@ $$<
build/$(1)/once-relay: $$(RELAY_OBJECTS:build/%=build/$(1)/%) $$(THREADS_$(1))
	$$(CXX) $$(SANITIZE_$(1)) -o $$@ $$^ $$(RELAY_LIBS)
build/$(1)/unit_test: $$(UNIT_OBJECTS:build/%=build/$(1)/%) $$(THREADS_$(1)) \
		$$(filter-out %/relay/main.o,$$(RELAY_OBJECTS:build/%=build/$(1)/%))
	$$(CXX) $$(SANITIZE_$(1)) -o $$@ $$^ $$(RELAY_LIBS) -lgmock -lgtest_main -lgtest
-include $$(patsubst build/%.o,build/$(1)/%.d,$$(RELAY_OBJECTS) $$(UNIT_OBJECTS))
endef
$(foreach kind,asan tsan,$(eval $(call sanitized,$(kind))))

.PHONY: check-asan check-asan-extension check-asan-relay check-tsan
check-asan: check-asan-extension check-asan-relay
ASAN_LAYERS ?= sql isolation
check-asan-extension: all build/asan/pg_once.so
	@test/support/stage.sh $(PG_CONFIG) build/asan/stage
	@$(MAKE) -s install DESTDIR=$(CURDIR)/build/asan/stage >/dev/null
	@test/support/asan.sh build/asan/stage $(bindir) $(pkglibdir) build/asan/pg_once.so $(ASAN_LAYERS)
check-asan-relay: stage build/asan/once-relay build/asan/unit_test
	@test/support/install.sh
	@test/support/sanitize.sh build/asan
check-tsan: stage build/tsan/once-relay build/tsan/unit_test
	@test/support/install.sh
	@test/support/sanitize.sh build/tsan
