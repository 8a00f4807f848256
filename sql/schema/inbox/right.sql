-- Who may receive: applications and once-relay inbox are consumers.
INSERT INTO once.role_right (kind, privilege, object)
SELECT kind, 'EXECUTE', object
FROM pg_catalog.unnest(ARRAY['accept', 'accept_many', 'accept_position', 'accept_positions', 'accept_window', 'accept_offset',
                             'offset_begin', 'offset_claim', 'offset_claim_topic', 'inbox_put', 'inbox_take', 'inbox_done', 'inbox_fail', 'inbox_messages',
                             'inbox_store', 'inbox_park', 'sweep']::text[]) AS object
     CROSS JOIN (VALUES ('consumer'), ('admin')) AS k(kind)
UNION ALL VALUES ('consumer', 'EXECUTE', 'protocol'), ('relay', 'EXECUTE', 'sweep'),
    ('admin', 'EXECUTE', 'consumer_set'), ('admin', 'EXECUTE', 'generation_turn'), ('admin', 'EXECUTE', 'inbox_redrive'),
    ('admin', 'EXECUTE', 'offset_forget')
UNION ALL
SELECT kind, 'SELECT', object
FROM (VALUES ('consumer', 'inbox'), ('admin', 'inbox'), ('admin', 'consumer'), ('admin', 'generation'), ('admin', 'position'),
             ('admin', 'position_window'), ('admin', 'consumer_offset'), ('admin', 'consumer_topic'), ('admin', 'offset_fence')) AS r(kind, object);
