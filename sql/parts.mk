# The parts of the install script in their order: schema first (stateful, run once), then api (idempotent).
# A feature adds its lines under its own heading.
SQL_PARTS = \
	sql/schema/once.sql \
	sql/api/protocol.sql

# outbox

# receiving
SQL_PARTS += $(addprefix sql/schema/, verdict.sql consumer.sql generation.sql position.sql window.sql offset.sql) \
	$(addprefix sql/api/, settled.sql check_name.sql accept.sql consumer.sql sweep.sql)

# requests

# machines, guards, keys
SQL_PARTS += \
	sql/schema/memory.sql \
	sql/schema/machine.sql \
	sql/schema/guard.sql \
	sql/api/require_name.sql \
	sql/api/memory.sql \
	sql/api/machine_set.sql \
	sql/api/transition.sql \
	sql/api/guard.sql \
	sql/api/machine_graph.sql \
	sql/api/bump.sql \
	sql/api/lock.sql \
	sql/api/lease.sql \
	sql/api/key.sql \
	sql/api/token.sql

# last: nothing to PUBLIC
SQL_PARTS += sql/api/revoke.sql
