# The parts of the install script in their order: schema first (stateful, run once), then api (idempotent).
# A feature adds its lines under its own heading.
SQL_PARTS = \
	sql/schema/once.sql \
	sql/api/protocol.sql

# outbox
SQL_PARTS += \
	sql/schema/role.sql \
	sql/schema/lane.sql \
	sql/schema/topic.sql \
	sql/schema/dead_letter.sql \
	sql/schema/outbox_right.sql \
	sql/api/config_changed.sql \
	sql/api/member_add.sql \
	sql/api/lane_grant.sql \
	sql/api/lane_create.sql \
	sql/api/lane_drop.sql \
	sql/api/set_lanes.sql \
	sql/schema/first_lane.sql \
	sql/api/headers.sql \
	sql/api/publish.sql \
	sql/api/publish_many.sql \
	sql/api/topic.sql \
	sql/api/lane_lock.sql \
	sql/api/identity.sql \
	sql/api/history_check.sql \
	sql/api/cut.sql \
	sql/api/wait.sql \
	sql/api/missing_ids.sql \
	sql/api/report.sql \
	sql/api/trim.sql \
	sql/api/rotate.sql \
	sql/api/rearm.sql \
	sql/api/park.sql \
	sql/api/redrive.sql \
	sql/api/redrive_relay.sql \
	sql/api/status.sql \
	sql/api/grant.sql

# receiving
SQL_PARTS += $(addprefix sql/schema/, verdict.sql consumer.sql generation.sql position.sql window.sql offset.sql inbox.sql receiving_right.sql) \
	$(addprefix sql/api/, settled.sql require_name.sql accept.sql consumer.sql sweep.sql position.sql offset.sql inbox.sql inbox_relay.sql)

# requests
SQL_PARTS += $(addprefix sql/schema/, scope.sql claim.sql claim_right.sql) \
	$(addprefix sql/api/, fingerprint.sql scope_set.sql scope_grant.sql scope_sweep.sql claim.sql settle.sql describe.sql)

# machines, guards, keys
SQL_PARTS += \
	sql/schema/memory.sql \
	sql/schema/machine.sql \
	sql/schema/guard.sql \
	sql/schema/publish_key.sql \
	sql/schema/guard_right.sql \
	sql/api/memory.sql \
	sql/api/machine_set.sql \
	sql/api/transition.sql \
	sql/api/guard.sql \
	sql/api/machine_graph.sql \
	sql/api/bump.sql \
	sql/api/lock.sql \
	sql/api/lease.sql \
	sql/api/key.sql \
	sql/api/content_id.sql \
	sql/api/token.sql \
	sql/api/scheduled.sql

# last: nothing to PUBLIC
SQL_PARTS += sql/api/revoke.sql
