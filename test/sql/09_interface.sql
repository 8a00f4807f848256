-- The whole interface that applications are built on, as one table: names, arguments in their order with their defaults,
-- what comes back, enum labels, columns, and one call for each SQLSTATE. A line changes here only with a decision to
-- break (or to widen) what callers write down.
SELECT plan(37);

CREATE FUNCTION pg_temp.type_name(type oid) RETURNS text LANGUAGE sql AS $$
    SELECT replace(replace(replace(format_type($1, NULL), 'timestamp with time zone', 'timestamptz'), 'once.', ''), 'integer', 'int') $$;
-- "name type = default, …": how a caller reads a function
CREATE FUNCTION pg_temp.arguments(function oid) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(concat_ws(' ', CASE WHEN p.provariadic <> 0 THEN 'variadic' END, p.proargnames[no], pg_temp.type_name(type),
               '= ' || lower(regexp_replace(pg_get_function_arg_default(p.oid, no::int), '::[a-z ]+(\[\])?$', ''))), ', ' ORDER BY no), '')
    FROM pg_proc p, unnest(p.proargtypes::oid[]) WITH ORDINALITY a(type, no) WHERE p.oid = $1 $$;
CREATE FUNCTION pg_temp.result(function oid) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN p.proretset THEN 'setof ' ELSE '' END || coalesce(
        (SELECT '(' || string_agg(p.proargnames[no] || ' ' || pg_temp.type_name(type), ', ' ORDER BY no) || ')'
         FROM unnest(p.proallargtypes, p.proargmodes) WITH ORDINALITY a(type, mode, no) WHERE mode IN ('o', 't')),
        pg_temp.type_name(p.prorettype))
    FROM pg_proc p WHERE p.oid = $1 $$;

CREATE TEMP TABLE interface (name text, arguments text, result text);
INSERT INTO interface VALUES
    ('accept', 'consumer text, id bigint, sent_at timestamptz = null', 'verdict'),
    ('accept', 'consumer text, id bytea, sent_at timestamptz = null', 'verdict'),
    ('accept', 'consumer text, id text, sent_at timestamptz = null', 'verdict'),
    ('accept', 'consumer text, id uuid, sent_at timestamptz = null', 'verdict'),
    ('accept_event', 'consumer text, id text = null, id_bytes bytea = null, sent_at timestamptz = null', 'verdict'),
    ('accept_many', 'consumer text, ids text[], sent_at timestamptz[] = null', 'setof (ordinal int, verdict verdict)'),
    ('accept_many_bigint', 'consumer text, ids bigint[], sent_at timestamptz[] = null', 'setof (ordinal int, verdict verdict)'),
    ('accept_many_uuid', 'consumer text, ids uuid[], sent_at timestamptz[] = null', 'setof (ordinal int, verdict verdict)'),
    ('accept_offset', 'grp text, topic text, partition int, first bigint, last bigint, fence bigint = null', '(verdict offset_verdict, next bigint)'),
    ('accept_position', 'consumer text, source text, pos bigint, expected_previous bigint = null', 'position_verdict'),
    ('accept_positions', 'consumer text, source text, pos bigint[]', 'setof (ordinal int, verdict position_verdict)'),
    ('accept_window', 'consumer text, source text, pos bigint', 'window_verdict'),
    ('bump', 'relation regclass, id text, expected bigint, key_column name = ''id'', version_column name = ''version''', '(verdict bump_verdict, version bigint)'),
    ('checkpoint', 'scope text, key text, token uuid, state jsonb', 'void'),
    ('claim', 'scope text, key text, request jsonb = null, lease interval = null, wait interval = null', 'claim_result'),
    ('claim_bytes', 'scope text, key text, request bytea, lease interval = null, wait interval = null', 'claim_result'),
    ('complete', 'scope text, key text, token uuid, response jsonb = null, status int = null, body bytea = null, keep interval = null', 'void'),
    ('consumer_set', 'consumer text, keep interval = null, reject_older boolean = null, max_attempts int = null', 'void'),
    ('consumer_drop', 'consumer text', 'boolean'),
    ('consumer_grant', 'consumer text, role text', 'void'),
    ('consumer_revoke', 'consumer text, role text', 'void'),
    ('content_id', 'scope text, content jsonb, fields text[] = null', 'uuid'),
    ('describe', 'scope text, key text', '(state text, attempt int, lease_left interval, keep_left interval, status int, response jsonb, body bytea, error jsonb, checkpoint jsonb)'),
    ('fail', 'scope text, key text, token uuid, error jsonb, status int = null', 'void'),
    ('grant_admin', 'role regrole', 'void'),
    ('grant_consumer', 'role regrole', 'void'),
    ('grant_publisher', 'role regrole', 'void'),
    ('grant_relay', 'role regrole', 'void'),
    ('guard', '', 'trigger'),
    ('inbox_done', 'consumer text, ids text[]', 'bigint'),
    ('inbox_fail', 'consumer text, id text, error text, retry_in interval = null', 'text'),
    ('inbox_put', 'consumer text, id text, payload bytea, key text = null, headers jsonb = null', 'verdict'),
    ('inbox_take', 'consumer text, n int', 'setof inbox'),
    ('issue_token', 'scope text, ttl interval', 'uuid'),
    ('key_block', 'producer text, n int', 'int8range'),
    ('key_next', 'producer text', 'bigint'),
    ('key_next_ordered', 'producer text', 'bigint'),
    ('lease', 'name text, owner text, ttl interval', '(verdict lease_verdict, token bigint, remaining interval)'),
    ('lease_assert', '', 'trigger'),
    ('lease_assert', 'name text, token bigint', 'void'),
    ('lease_release', 'name text, token bigint', 'boolean'),
    ('lock', 'variadic names text[]', 'lock_verdict'),
    ('machine_graph', 'name text, format text = ''mermaid''', 'text'),
    ('machine_set', 'name text, initial text, transitions jsonb', 'void'),
    ('offset_claim', 'grp text, topic text, partition int', '(fence bigint, next bigint)'),
    ('publish', 'topic text, payload jsonb, key bigint, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish', 'topic text, payload jsonb, key bytea, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish', 'topic text, payload jsonb, key text = null, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish', 'topic text, payload jsonb, key uuid, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish_bytes', 'topic text, payload bytea, key bigint, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish_bytes', 'topic text, payload bytea, key bytea, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish_bytes', 'topic text, payload bytea, key text = null, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish_bytes', 'topic text, payload bytea, key uuid, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish_text', 'topic text, payload text, key bigint, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish_text', 'topic text, payload text, key bytea, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish_text', 'topic text, payload text, key text = null, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish_text', 'topic text, payload text, key uuid, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish_event', 'topic text, payload jsonb = null, payload_text text = null, payload_bytes bytea = null, key text = null, key_bytes bytea = null, headers jsonb = null, partition int = null, dedup_key text = null, deliver_at timestamptz = null, id uuid = null', 'uuid'),
    ('publish_many', 'topic text, payloads jsonb[], keys text[] = null, headers jsonb[] = null', 'bigint'),
    ('publish_many_bytes', 'topic text, payloads bytea[], keys text[] = null, headers jsonb[] = null', 'bigint'),
    ('publish_many_text', 'topic text, payloads text[], keys text[] = null, headers jsonb[] = null', 'bigint'),
    ('rearm', 'lane int, mode text', 'void'),
    ('redeem_token', 'scope text, token uuid', 'token_verdict'),
    ('redrive', 'topic text, key text', 'bigint'),
    ('redrive_all', '', 'bigint'),
    ('release', 'scope text, key text, token uuid', 'void'),
    ('renew', 'scope text, key text, token uuid, lease interval', 'void'),
    ('rotate', 'lane int = null', 'int'),
    ('scope_drop', 'scope text', 'boolean'),
    ('scope_set', 'scope text, lease interval = null, total_lease interval = null, keep interval = null, keep_failed interval = null, max_attempts int = null, on_mismatch text = null, key_required boolean = null', 'void'),
    ('set_lanes', 'n int, children int = 4, generation_rows bigint = 250000', 'void'),
    ('status', '', 'setof (lane int, incarnation uuid, armed boolean, mode text, cluster_id text, backlog bigint, backlog_exact boolean, oldest_unshipped interval, parked bigint, wanted bigint, holder int, holder_application text, report_age interval, report jsonb, size_bytes bigint, trim_blockers jsonb)'),
    ('topic_set', 'topic text, max_bytes int = null, max_backlog bigint = null', 'void'),
    ('transition', 'machine text, entity text, event text, event_id text = null, expected_version bigint = null', '(verdict transition_verdict, from_state text, to_state text, version bigint)'),
    ('trim', 'lane int, snapshot pg_snapshot', 'int'),
    ('try_checkpoint', 'scope text, key text, token uuid, state jsonb', 'settle_verdict'),
    ('try_complete', 'scope text, key text, token uuid, response jsonb = null, status int = null, body bytea = null, keep interval = null', 'settle_verdict'),
    ('try_fail', 'scope text, key text, token uuid, error jsonb, status int = null', 'settle_verdict'),
    ('try_lock', 'variadic names text[]', 'lock_verdict'),
    ('try_release', 'scope text, key text, token uuid', 'settle_verdict'),
    ('try_renew', 'scope text, key text, token uuid, lease interval', 'settle_verdict'),
    ('unschedule', 'id uuid', 'boolean');

SELECT set_eq($$SELECT i.name, i.arguments, i.result FROM interface i$$,
    $$SELECT proname::text, pg_temp.arguments(oid), pg_temp.result(oid) FROM pg_proc
      WHERE pronamespace = 'once'::regnamespace AND proname IN (SELECT i.name FROM interface i)$$,
    'every function takes and gives what callers write down, and no other form of it is there');

CREATE TEMP TABLE verdicts (name text, labels text);
INSERT INTO verdicts VALUES
    ('verdict', 'new duplicate too_old'), ('position_verdict', 'new duplicate gap'), ('window_verdict', 'new duplicate too_old'),
    ('offset_verdict', 'new duplicate fenced'), ('claim_verdict', 'new reclaimed in_progress replay mismatch failed exhausted'),
    ('settle_verdict', 'ok already fenced missing mismatch'), ('bump_verdict', 'ok stale missing ahead'),
    ('transition_verdict', 'moved duplicate late illegal unknown_event unknown_entity stale'),
    ('lock_verdict', 'locked already busy'), ('lease_verdict', 'acquired renewed busy'), ('token_verdict', 'ok duplicate unknown expired');
SELECT set_eq($$SELECT * FROM verdicts$$, $$SELECT typname::text, string_agg(enumlabel, ' ' ORDER BY enumsortorder) FROM pg_enum
      JOIN pg_type t ON t.oid = enumtypid WHERE typnamespace = 'once'::regnamespace GROUP BY 1$$, 'every verdict has its labels, each family its own');

CREATE FUNCTION pg_temp.columns(relation regclass) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(attname || ' ' || pg_temp.type_name(atttypid), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped $$;
SELECT is(pg_temp.columns(relation::regclass), columns, relation || ' has its columns') FROM (VALUES
    ('once.message', 'topic text, partition int, log_offset bigint, key text, payload bytea, headers jsonb, id text, source text, pos bigint, sent_at timestamptz'),
    ('once.claim_result', 'verdict claim_verdict, token uuid, attempt int, lease_left interval, status int, response jsonb, body bytea, error jsonb, checkpoint jsonb, differs text[]'),
    ('once.topics', 'topic text, max_bytes int, max_backlog bigint')) shape(relation, columns);
SELECT is_empty(format($$SELECT unnest(%L::text[]) EXCEPT SELECT attname FROM pg_attribute WHERE attrelid = %L::regclass$$, columns, relation),
                relation || ' has the columns that are promised') FROM (VALUES
    ('once.inbox', '{consumer,source,id,topic,partition,log_offset,key,payload,headers,received_at,state,attempts,error}'),
    ('once.dead_letter', '{lane,seq,id,topic,key,payload,headers,partition,error,policy,wanted}'),
    ('once.scheduled', '{id,deliver_at,topic,key,payload,headers,partition}')) promised(relation, columns);

-- What is written without types: an untyped literal is text for whom it may be more than one thing.
SELECT lives_ok(call, call) FROM (VALUES
    ('SELECT once.publish_text(''t'', ''{"id":1}'')'), ('SELECT once.publish_text(''t'', NULL)'),
    ('SELECT once.publish(topic => ''t'', payload => ''{}''::jsonb, key => ''1'', headers => ''{"a":"b"}'', partition => 0)'),
    ('SELECT once.publish_many_text(''t'', ARRAY[''x'', NULL], ARRAY[''a'', NULL])'), ('SELECT once.publish_many(''t'', ARRAY[''{}''::jsonb])'),
    ('SELECT once.accept(''untyped'', ''018f3a5e-8f00-7c3a-9a55-0242ac120002'')'), ('SELECT once.accept(''numbers'', 5)'),
    ('SELECT * FROM once.accept_many_bigint(''numbers'', ARRAY[6, 7])'), ('SELECT * FROM once.accept_positions(''numbers'', ''s'', ARRAY[1, 2])'),
    ('SELECT * FROM once.accept_offset(grp => ''g'', topic => ''t'', "partition" => 0, first => 0, last => 1)'),
    ('SELECT (once.claim(''s'', ''k'', ''{"a": 1}'', lease => ''1 min'', wait => ''0 s'')).verdict'),
    ('SELECT once.lock(''a'', ''b'')'), ('SELECT once.inbox_done(''numbers'', ''{}'')')) written(call);

SELECT once.machine_set('m', 'a', '[{"from": "a", "event": "go", "to": "b"}]') \g /dev/null
CREATE TABLE guarded (id int, state text);
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON guarded FOR EACH ROW EXECUTE FUNCTION once.guard('m', 'state');
SELECT once.topic_set('small', max_bytes => 1) \g /dev/null
SELECT token AS settled FROM once.claim('s', 'settled') \gset
SELECT once.complete('s', 'settled', :'settled', '1') \g /dev/null
SELECT fence AS fence FROM once.offset_claim('fenced', 't', 0) \gset
SELECT throws_ok(call, code, NULL, code || ' from ' || call) FROM (VALUES
    ('ON001', $$SELECT once.publish_text('no good', '')$$), ('ON002', $$SELECT once.publish_text('small', 'xx')$$),
    ('ON003', $$SELECT once.publish_text('t', '', headers => '{"once-id": "x"}')$$),
    ('ON010', $$SELECT once.accept('', 1)$$),
    ('ON012', $$SELECT once.accept_window('w', 's', 9223372036854775807) FROM once.accept_window('w', 's', 1)$$),
    ('ON012', format($$SELECT once.accept_offset('fenced', 't', 0, 5, 6, %s) FROM once.accept_offset('fenced', 't', 0, 0, 1, %1$s)$$, :'fence')),
    ('ON020', $$SELECT once.complete('s', 'k', gen_random_uuid())$$),
    ('ON021', format($$SELECT once.complete('s', 'settled', %L, '2')$$, :'settled')),
    ('ON022', $$SELECT once.complete('s', 'never claimed', gen_random_uuid())$$),
    ('ON030', $$INSERT INTO guarded VALUES (1, 'b')$$),
    ('ON031', $$SELECT once.machine_set('twice', 'a', '[{"from": "a", "event": "e", "to": "b"}, {"from": "a", "event": "e", "to": "c"}]')$$),
    ('ON032', $$SELECT once.lease_assert('nobody''s', 1)$$),
    ('ON040', $$SELECT once.report(0, gen_random_uuid(), 'cluster', '{}', NULL, NULL)$$),
    ('22004', $$SELECT once.publish_text(NULL, '')$$), ('22023', $$SELECT once.publish_text('t', '', partition => -1)$$)) raised(code, call);
SET once.max_backlog = 1;
SELECT throws_ok($$SELECT once.publish_text('t', 'x') FROM generate_series(1, 3), pg_sleep(0.6)$$, 'ON004', NULL, 'ON004 from a backlog above its limit');
RESET once.max_backlog;
SELECT finish();
