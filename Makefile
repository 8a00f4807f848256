# pg_once: extension, relay and all of their tests from one file.
#
#   make            the extension (build/pg_once.so), its install script and build/once-relay
#   make install    into the PostgreSQL of PG_CONFIG (default: the one on PATH); install-extension, install-relay: one half
#   make deb        Debian packages of both halves
#   make demo       the whole way on private servers, the relay killed in the middle
#   make check      every test; ends with `N passed, N failed, N skipped`
#   make check-drivers   what drivers make of values, on toolchains that it installs (DRIVERS="psycopg JDBC" chooses)
#   make chaos      the real system under faults (SEED=, MINUTES=, FAULTS=, DRY=1); ends with a table
#   make fuzz       the parsers of foreign bytes under libFuzzer (FUZZ=position SECONDS=30)
#   make bench      side by side with what it is compared with (BENCH=..., BENCH_JSON=file)

PG_CONFIG ?= pg_config
EXTENSION_SOURCES = $(wildcard extension/*.cpp extension/*/*.cpp)
EXTENSION_OBJECTS = $(EXTENSION_SOURCES:%.cpp=build/%.o)

.DEFAULT_GOAL = all
.PHONY: all install uninstall clean

ifeq ($(shell command -v $(PG_CONFIG) 2>/dev/null),)
# A fresh machine: `make demo` and `make check` install what is missing and start again.
.PHONY: demo check check-drivers bench
demo check check-drivers bench:
	@test/support/install.sh && $(MAKE) $@
all install extension relay deb:
	@echo "make: pg_config not found; run 'test/support/install.sh' or set PG_CONFIG" >&2; exit 1
else
# Directories, compiler and install commands are PGXS's; its targets are not: it claims `check` for itself.
PGXS := $(shell $(PG_CONFIG) --pgxs)
NO_GENERATED_HEADERS = yes
top_builddir := $(dir $(PGXS))../..
include $(top_builddir)/src/Makefile.global
ONCE_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" extension/pg_once.control)

ifneq ($(shell command -v ccache 2>/dev/null),)
CCACHE = ccache
endif
EXTENSION_FLAGS = -std=c++20 -fvisibility=hidden '-DPGDLLEXPORT=__attribute__((visibility("default")))' \
	-DPG_ONCE_VERSION='"$(ONCE_VERSION)"' -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers \
	-Iextension -I. -isystem $(includedir_server) -isystem $(pkgincludedir)/internal -isystem $(includedir) -D_GNU_SOURCE

# Another PG_CONFIG has other headers, which the dependency files do not name: then everything is compiled again.
.PHONY: server-changed
build/server: server-changed
	@mkdir -p $(@D)
	@echo '$(VERSION) $(includedir_server)' | cmp -s - $@ || echo '$(VERSION) $(includedir_server)' > $@

build/extension/%.o: extension/%.cpp Makefile build/server extension/pg_once.control
	@mkdir -p $(@D)
	$(CCACHE) $(CXX) $(CXXFLAGS) $(CFLAGS_SL) $(EXTENSION_FLAGS) $(EXTENSION_EXTRA) -MMD -MP -c -o $@ $<

build/pg_once.so: $(EXTENSION_OBJECTS)
	$(CXX) $(CXXFLAGS) -shared -o $@ $^ $(LDFLAGS) $(LDFLAGS_SL) $(EXTENSION_EXTRA) -lcrypto

-include $(EXTENSION_OBJECTS:.o=.d)

# The install script is its parts in the order of sql/parts.mk; an upgrade is its deltas and the parts that run again
# (sql/upgrade/README.md).
include sql/parts.mk
include sql/upgrade/upgrade.mk
build/sql/pg_once--$(ONCE_VERSION).sql: $(SQL_PARTS) sql/parts.mk extension/pg_once.control
	@mkdir -p $(@D)
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION pg_once" to load this file. \quit'; cat $(SQL_PARTS); } \
		| sed 's/@VERSION@/$(ONCE_VERSION)/g' > $@

include relay/relay.mk

# A database host needs no Kafka client, a relay host no server: each half builds and installs alone.
.PHONY: extension relay install-extension install-relay
extension: build/pg_once.so build/sql/pg_once--$(ONCE_VERSION).sql $(UPGRADES)
relay: $(RELAY)
all: extension relay
install: install-extension install-relay

install-extension: extension
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)' '$(DESTDIR)$(datadir)/extension'
	$(INSTALL_SHLIB) build/pg_once.so '$(DESTDIR)$(pkglibdir)/'
	$(INSTALL_DATA) extension/pg_once.control build/sql/pg_once--$(ONCE_VERSION).sql $(UPGRADES) \
		'$(DESTDIR)$(datadir)/extension/'
install-relay: relay
	$(MKDIR_P) '$(DESTDIR)$(bindir)'
	$(INSTALL_PROGRAM) $(RELAY) '$(DESTDIR)$(bindir)/'

# Debian packages of what this machine builds: build/deb/*.deb
.PHONY: deb
deb: all
	@relay/deploy/deb.sh $(PG_CONFIG) build/deb

uninstall:
	rm -f '$(DESTDIR)$(pkglibdir)/pg_once.so' '$(DESTDIR)$(bindir)/once-relay'
	rm -f '$(DESTDIR)$(datadir)/extension/'pg_once.control '$(DESTDIR)$(datadir)/extension/'pg_once--*.sql

clean:
	rm -rf build

include test/test.mk
endif
