# Tests run against a private copy of the server with our extension in it: the system installation is not touched.
STAGE = build/stage
STAGED_BIN = $(STAGE)$(bindir)
PYTHON ?= /usr/bin/python3
export PG_CONFIG

.PHONY: stage
stage: all
	@test/support/stage.sh $(PG_CONFIG) $(STAGE)
	@$(MAKE) -s install DESTDIR=$(CURDIR)/$(STAGE) >/dev/null

include test/fuzz/fuzz.mk
UNIT_SOURCES = $(wildcard test/unit/*_test.cpp)
UNIT_OBJECTS = $(UNIT_SOURCES:%.cpp=build/relay-objects/%.o) $(FUZZ_TARGETS:%=build/relay-objects/test/fuzz/%.o)
UNIT_TEST = build/unit_test
$(UNIT_TEST): $(UNIT_OBJECTS) $(filter-out build/relay-objects/relay/main.o,$(RELAY_OBJECTS))
	$(CXX) $(RELAY_EXTRA) -o $@ $^ $(RELAY_LIBS) -lgmock -lgtest_main -lgtest -lcrypto
-include $(UNIT_OBJECTS:.o=.d)

.PHONY: demo reference rights symbols check check-unit check-sql check-isolation check-e2e check-drivers
check-unit: $(UNIT_TEST)
	@test/run unit
check-sql: stage
	@test/run sql
check-isolation: stage
	@test/run isolation
check-e2e: stage
	@test/support/install.sh
	@test/run e2e
check:
	@test/support/install.sh
	@$(MAKE) -s -j2 stage $(UNIT_TEST)
	@test/run all
# The matrix of drivers, with toolchains that it installs; DRIVERS="psycopg JDBC" chooses: test/drivers/README.md
check-drivers:
	@test/support/install.sh
	@$(MAKE) -s -j2 stage
	@$(PYTHON) test/drivers/run.py
# SEED=n MINUTES=m FAULTS=kind,track,… DRY=1: test/chaos/README.md
.PHONY: chaos soak
chaos:
	@test/support/install.sh
	@$(MAKE) -s -j2 stage
	@$(PYTHON) test/chaos/run.py
# MINUTES=30 RATE=2000: throughput, memory and dead rows while an idle transaction holds xmin
soak:
	@test/support/install.sh
	@$(MAKE) -s -j2 stage
	@$(PYTHON) test/chaos/soak.py
# After a change of rights: its difference is for whoever reviews it.
rights: stage
	@$(PYTHON) test/rights
# What is generated of the documentation: sql/REFERENCE.md, relay/OPTIONS.md.
reference: stage
	@$(PYTHON) test/reference
# At a release: from then on each C symbol keeps its signature.
symbols: stage
	@$(PYTHON) test/symbols
demo:
	@test/support/install.sh
	@$(MAKE) -s -j2 stage
	@$(PYTHON) test/demo.py

include test/sanitize.mk

BENCH_PROGRAMS = $(patsubst test/bench/%.cpp,build/bench/%,$(wildcard test/bench/*.cpp))
build/bench/%: test/bench/%.cpp $(wildcard test/bench/*.hpp)
	@mkdir -p $(@D)
	$(CCACHE) $(CXX) $(RELAY_CFLAGS) -o $@ $< -lrdkafka -lpq -lpthread

# Ratios are taken in one run; BENCH=drain,latency,... chooses, BENCH_JSON=file keeps the figures for machines.
.PHONY: bench lint tidy pgspot cases checkver format dist
bench:
	@test/support/install.sh bench
	@$(MAKE) -s -j2 stage $(BENCH_PROGRAMS)
	@$(PYTHON) test/bench/run.py

lint:
	@test/lint.sh
# clang-tidy over all of the C++, or the files of TIDY="…": minutes, so it is no part of lint.
TIDY ?= $(EXTENSION_SOURCES) $(RELAY_SOURCES) $(wildcard test/unit/*.cpp test/fuzz/*.cpp test/bench/*.cpp)
tidy_files = printf '%s\n' $(1) | xargs -r -P2 -I{} clang-tidy --quiet {}
tidy:
	@test/support/install.sh lint
	@$(call tidy_files,$(filter extension/%,$(TIDY))) -- $(EXTENSION_FLAGS) 2>/dev/null
	@$(call tidy_files,$(filter-out extension/%,$(TIDY))) -- $(RELAY_CFLAGS) 2>/dev/null
# The SQL scripts under pgspot: names that a caller's search_path could take over.
pgspot: all dummy
	@test/support/install.sh lint
	@test/pgspot
# The last column of test/CASES.md, from the names of the tests.
cases:
	@test/cases
checkver: all
	@test/checkver.sh
format:
	clang-format -i $$(git ls-files '*.cpp' '*.hpp')
dist: checkver
	git archive --format zip --prefix=pg_once-$(ONCE_VERSION)/ -o pg_once-$(ONCE_VERSION).zip HEAD
