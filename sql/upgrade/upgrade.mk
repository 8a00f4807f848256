# Upgrade scripts: one from each released version straight to the present one.
RELEASES = $(sort $(foreach delta,$(wildcard sql/upgrade/*--*.sql),$(firstword $(subst --, ,$(notdir $(basename $(delta)))))))
UPGRADES = $(RELEASES:%=build/sql/pg_once--%--$(ONCE_VERSION).sql)
# What an upgrade runs again.
SQL_REPEATED = $(filter sql/api/% %/right.sql,$(SQL_PARTS))

$(UPGRADES): build/sql/pg_once--%--$(ONCE_VERSION).sql: $(wildcard sql/upgrade/*) $(SQL_REPEATED) sql/parts.mk extension/pg_once.control
	@mkdir -p $(@D)
	@sql/upgrade/script.sh $* $(ONCE_VERSION) $(SQL_REPEATED) > $@

# The next release before there is one, for test/e2e/test_upgrade.py: the same with a delta of its own, and a library that
# knows one function more.
DUMMY = build/dummy
DUMMY_VERSION = 99.0.0
$(DUMMY)/module.o: extension/module.cpp $(EXTENSION_OBJECTS)
	@mkdir -p $(@D)
	$(CCACHE) $(CXX) $(CXXFLAGS) $(CFLAGS_SL) $(subst $(ONCE_VERSION),$(DUMMY_VERSION),$(EXTENSION_FLAGS)) \
		-DPG_ONCE_DUMMY $(EXTENSION_EXTRA) -c -o $@ $<
$(DUMMY)/pg_once.so: $(DUMMY)/module.o $(filter-out build/extension/module.o,$(EXTENSION_OBJECTS))
	$(CXX) $(CXXFLAGS) -shared -o $@ $^ $(LDFLAGS) $(LDFLAGS_SL) $(EXTENSION_EXTRA) -lcrypto
$(DUMMY)/pg_once--$(DUMMY_VERSION).sql: $(SQL_PARTS) sql/parts.mk $(wildcard sql/upgrade/dummy/*)
	@mkdir -p $(@D)
	@cat $(filter-out sql/api/revoke.sql,$(SQL_PARTS)) sql/upgrade/dummy/delta.sql sql/upgrade/dummy/api.sql sql/api/revoke.sql \
		| sed 's/@VERSION@/$(DUMMY_VERSION)/g' > $@
$(DUMMY)/pg_once--$(ONCE_VERSION)--$(DUMMY_VERSION).sql: $(wildcard sql/upgrade/* sql/upgrade/dummy/*) $(SQL_REPEATED) \
		sql/parts.mk
	@mkdir -p $(@D)
	@cat sql/upgrade/begin.sql sql/upgrade/dummy/delta.sql $(filter-out sql/api/revoke.sql,$(SQL_REPEATED)) \
		sql/upgrade/dummy/api.sql sql/api/revoke.sql sql/upgrade/end.sql | sed 's/@VERSION@/$(DUMMY_VERSION)/g' > $@
.PHONY: dummy
dummy: $(DUMMY)/pg_once.so $(DUMMY)/pg_once--$(DUMMY_VERSION).sql $(DUMMY)/pg_once--$(ONCE_VERSION)--$(DUMMY_VERSION).sql
