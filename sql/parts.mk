# The parts of the install script in their order: schema first (stateful, run once), then api (idempotent).
# A feature adds its lines under its own heading.
SQL_PARTS = \
	sql/schema/once.sql \
	sql/api/library.sql \
	sql/api/protocol.sql \
	sql/api/next_number.sql

# outbox
SQL_PARTS += \
	sql/schema/role.sql \
	sql/schema/outbox/lane.sql \
	sql/schema/outbox/topic.sql \
	sql/schema/outbox/dead_letter.sql \
	sql/schema/outbox/right.sql \
	sql/api/outbox/config_changed.sql \
	sql/api/rights_reset.sql \
	sql/api/member_add.sql \
	sql/api/outbox/lane_grant.sql \
	sql/api/outbox/lane_create.sql \
	sql/api/outbox/lane_drop.sql \
	sql/api/outbox/set_lanes.sql \
	sql/schema/outbox/first_lane.sql \
	sql/api/outbox/headers.sql \
	sql/api/outbox/publish.sql \
	sql/api/outbox/publish_many.sql \
	sql/api/outbox/topic.sql \
	sql/api/outbox/lane_lock.sql \
	sql/api/outbox/identity.sql \
	sql/api/outbox/history_check.sql \
	sql/api/outbox/cut.sql \
	sql/api/outbox/wait.sql \
	sql/api/outbox/missing_ids.sql \
	sql/api/outbox/report.sql \
	sql/api/outbox/trim.sql \
	sql/api/outbox/rotate.sql \
	sql/api/outbox/rearm.sql \
	sql/api/outbox/park.sql \
	sql/api/outbox/redrive.sql \
	sql/api/outbox/redrive_relay.sql \
	sql/api/outbox/status.sql \
	sql/api/grant.sql

# what is remembered for a time
SQL_PARTS += \
	sql/schema/generations/ring.sql \
	sql/schema/generations/right.sql \
	$(addprefix sql/api/generations/, ring.sql sweep.sql memory.sql)

# receiving
SQL_PARTS += \
	$(addprefix sql/schema/inbox/, verdict.sql consumer.sql position.sql window.sql offset.sql inbox.sql right.sql) \
	sql/api/require_name.sql \
	$(addprefix sql/api/inbox/, accept.sql consumer.sql position.sql offset.sql inbox.sql inbox_relay.sql)

# requests
SQL_PARTS += \
	$(addprefix sql/schema/requests/, scope.sql claim.sql right.sql) \
	$(addprefix sql/api/requests/, fingerprint.sql scope_set.sql scope_grant.sql claim.sql settle.sql describe.sql)

# machines, guards, keys
SQL_PARTS += \
	$(addprefix sql/schema/machines/, machine.sql guard.sql) \
	sql/schema/outbox/scheduled.sql \
	sql/schema/machines/right.sql \
	$(addprefix sql/api/machines/, machine_set.sql transition.sql guard.sql machine_graph.sql bump.sql lock.sql lease.sql key.sql \
		content_id.sql token.sql) \
	sql/api/outbox/scheduled.sql \
	sql/api/outbox/drop_guard.sql

# last: what holds for all that was made
SQL_PARTS += sql/api/single_evaluation.sql sql/api/trigger_always.sql sql/api/revoke.sql
