-- Who may receive: applications and once-relay inbox are consumers.
INSERT INTO once.role_right (kind, privilege, object)
SELECT kind, 'EXECUTE', object
FROM pg_catalog.unnest(ARRAY['accept', 'accept_event', 'accept_many', 'accept_many_uuid', 'accept_many_bigint', 'accept_position', 'accept_positions', 'accept_window', 'accept_offset',
                             'offset_begin', 'offset_claim', 'offset_claim_topic', 'inbox_put', 'inbox_take', 'inbox_done', 'inbox_fail', 'inbox_messages',
                             'inbox_store', 'inbox_park', 'inbox_again']::text[]) AS object
     CROSS JOIN (VALUES ('consumer'), ('admin')) AS k(kind)
UNION ALL VALUES ('consumer', 'EXECUTE', 'protocol'),
    ('admin', 'EXECUTE', 'consumer_set'), ('admin', 'EXECUTE', 'consumer_drop'), ('admin', 'EXECUTE', 'consumer_grant'),
    ('admin', 'EXECUTE', 'consumer_revoke'), ('admin', 'EXECUTE', 'inbox_redrive'), ('admin', 'EXECUTE', 'inbox_discard'),
    ('admin', 'EXECUTE', 'offset_forget')
UNION ALL
SELECT kind, 'SELECT', object
FROM (VALUES ('consumer', 'inbox'), ('admin', 'inbox'), ('admin', 'consumer'), ('admin', 'position'),
             ('admin', 'position_window'), ('admin', 'consumer_offset'), ('admin', 'consumer_topic'), ('admin', 'offset_fence')) AS r(kind, object);
