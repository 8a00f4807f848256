# The parts of the install script in their order: schema first (stateful, run once), then api (idempotent).
# A feature adds its lines under its own heading.
SQL_PARTS = \
	sql/schema/once.sql \
	sql/api/protocol.sql

# outbox

# receiving

# requests

# machines, guards, keys

# last: nothing to PUBLIC
SQL_PARTS += sql/api/revoke.sql
