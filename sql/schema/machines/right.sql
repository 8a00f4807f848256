-- Who may use machines, guards, keys and tokens. The trigger functions need no right at run time, but who
-- creates a trigger needs EXECUTE on them.
INSERT INTO once.role_right (kind, privilege, object)
    SELECT 'consumer', 'EXECUTE', object FROM pg_catalog.unnest(ARRAY['transition', 'guard', 'machine_graph', 'bump', 'lock', 'try_lock',
        'lease', 'lease_assert', 'lease_release', 'content_id', 'key_next', 'key_block', 'key_next_ordered', 'issue_token', 'redeem_token']) AS object
    UNION ALL SELECT 'publisher', 'EXECUTE', object FROM pg_catalog.unnest(ARRAY['transition', 'guard', 'machine_graph', 'bump', 'lock', 'try_lock',
        'lease', 'lease_assert', 'lease_release', 'content_id', 'key_next', 'key_block', 'key_next_ordered', 'issue_token', 'redeem_token']) AS object
    UNION ALL SELECT 'admin', 'EXECUTE', object FROM pg_catalog.unnest(ARRAY['machine_set', 'machine_history_set', 'machine_graph', 'guard']) AS object
    UNION ALL SELECT 'admin', 'SELECT', object FROM pg_catalog.unnest(ARRAY['machine', 'machine_transition', 'machine_entity', 'machine_history', 'lease_state']) AS object
    UNION ALL VALUES ('relay', 'EXECUTE', 'deliver_due'),
        ('publisher', 'EXECUTE', 'unschedule'), ('admin', 'EXECUTE', 'unschedule'), ('admin', 'EXECUTE', 'deliver_due'), ('admin', 'SELECT', 'scheduled');
