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
SQL_PARTS += sql/api/fingerprint.sql

# machines, guards, keys

# last: nothing to PUBLIC
SQL_PARTS += sql/api/revoke.sql
