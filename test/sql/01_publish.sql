-- once.publish: what it stores, and everything it refuses.
\set payload_limit 921600
SELECT plan(115);

CREATE TEMP TABLE said AS SELECT once.publish('orders', '{"id": 1}'::jsonb, key => '1', headers => '{"trace": "abc", "ü": "ö"}') AS id;

SELECT is((SELECT id FROM once.event_0), (SELECT id FROM said), 'P19 the id is returned and stored');
SELECT is((SELECT count(*) FROM once.event_0), 1::bigint, 'P1 one call, one row');
SELECT is((SELECT substr(id::text, 15, 1) FROM said), '7', 'the id is a uuid of version 7');
SELECT ok((SELECT ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0 - extract(epoch FROM now())
           BETWEEN -60 AND 60 FROM said), 'and carries the time');
SELECT is((SELECT convert_from(payload, 'UTF8') FROM once.event_0), '{"id": 1}', 'P19 jsonb goes out as its text');
SELECT is((SELECT once.headers_json(headers) FROM once.event_0), '{"trace": "abc", "ü": "ö"}'::jsonb, 'P19 unicode headers come back');
SELECT is((SELECT headers FROM once.event_0),
          '\x0002c3bc00000002c3b6' || '\x00057472616365'::bytea || '\x00000003616263'::bytea, 'P19 headers byte by byte');
SELECT is((SELECT partition FROM once.event_0), NULL, 'no partition unless given');
SELECT ok((SELECT clock_timestamp() - time BETWEEN interval '0' AND interval '1 min' FROM once.event_0), 'the time is the clock''s');
SELECT is((SELECT seq FROM once.event_0), 1::bigint, 'numbers begin at 1');

-- forms of payload
CREATE FUNCTION pg_temp.last() RETURNS SETOF once.event_0 LANGUAGE sql AS 'SELECT * FROM once.event_0 ORDER BY seq DESC LIMIT 1';
SELECT lives_ok($$SELECT once.publish_text('t', 'an untyped literal')$$, 'an untyped literal is text');
SELECT is((SELECT payload FROM pg_temp.last()), 'an untyped literal'::bytea, 'P19 text goes out as its bytes');
SELECT lives_ok($$SELECT once.publish_text('t', '{"a" : 1}')$$, 'json as text');
SELECT is((SELECT payload FROM pg_temp.last()), '{"a" : 1}'::bytea, 'P19 json goes out as it was written');
SELECT lives_ok($$SELECT once.publish_bytes('t', '\x00ff'::bytea)$$, 'bytea');
SELECT is((SELECT payload FROM pg_temp.last()), '\x00ff'::bytea, 'P19 binary');
SELECT lives_ok($$SELECT once.publish_text('t', '')$$, 'an empty payload');
SELECT is((SELECT payload FROM pg_temp.last()), ''::bytea, 'P19 empty is not null');
SELECT lives_ok($$SELECT once.publish('t', null::jsonb, key => 'k')$$, 'a tombstone');
SELECT is((SELECT payload FROM pg_temp.last()), NULL, 'P19 null stays null');
SELECT lives_ok($$SELECT once.publish('t', 'null'::jsonb)$$, 'the JSON null');
SELECT is((SELECT payload FROM pg_temp.last()), 'null'::bytea, 'P19 the JSON null is no tombstone');
SELECT lives_ok($$SELECT once.publish_text('t', repeat('é', 400000))$$, 'P19 a large payload in UTF-8');
SELECT is((SELECT payload FROM pg_temp.last()), convert_to(repeat('é', 400000), 'UTF8'), 'P19 800,000 bytes come back');

-- keys and partitions
SELECT lives_ok($$SELECT once.publish_text('t', 'p', key => '')$$, 'an empty key');
SELECT is((SELECT key FROM pg_temp.last()), ''::bytea, 'P19 the empty key is a key');
SELECT lives_ok($$SELECT once.publish_text('t', 'p', key => E'a\tb\nc ü')$$, 'a key with control characters');
SELECT is((SELECT convert_from(key, 'UTF8') FROM pg_temp.last()), E'a\tb\nc ü', 'P19 keys are no names');
SELECT lives_ok($$SELECT once.publish_text('t', 'p', key => repeat('k', 2000))$$, 'the longest key');
SELECT throws_ok($$SELECT once.publish_text('t', 'p', key => repeat('k', 2001))$$, 'ON002', NULL, 'one byte more');
SELECT lives_ok($$SELECT once.publish_text('t', 'p', partition => 2147483647)$$, 'the highest partition');
SELECT is((SELECT partition FROM pg_temp.last()), 2147483647, 'P19 is stored');
SELECT throws_ok($$SELECT once.publish_text('t', 'p', partition => -1)$$, '22023', NULL, 'a negative partition');

-- topics
SELECT throws_ok($$SELECT once.publish_text(null, 'p')$$, '22004', NULL, 'no topic');
SELECT throws_ok(format('SELECT once.publish_text(%L, %L)', topic, 'p'), 'ON001', NULL, 'topic ' || quote_literal(left(topic, 20)))
    FROM unnest(ARRAY['', '.', '..', 'a b', 'a/b', 'ä', E'a\n', repeat('t', 250), 'once.positions', '__consumer_offsets', '__transaction_state', '__share_group_state', '__cluster_metadata']) AS topic;
SELECT lives_ok(format('SELECT once.publish_text(%L, %L)', topic, 'p'), 'topic ' || left(topic, 20))
    FROM unnest(ARRAY['...', 'A-z_0.9', repeat('t', 249)]) AS topic;

-- size: key, payload and headers count together
SELECT lives_ok(format('SELECT once.publish_text(%L, repeat(%L, %s), key => %L)', 't', 'x', :payload_limit - 3, 'key'), 'P18 exactly the limit');
SELECT throws_ok(format('SELECT once.publish_text(%L, repeat(%L, %s), key => %L)', 't', 'x', :payload_limit - 2, 'key'), 'ON002', NULL, 'P18 one byte more');
SELECT throws_ok(format('SELECT once.publish_text(%L, repeat(%L, %s), headers => %L)', 't', 'x', :payload_limit - 6, '{"a": ""}'), 'ON002', NULL, 'P18 headers count');

-- headers
SELECT throws_ok(format('SELECT once.publish_text(%L, %L, headers => %L)', 't', 'p', h), 'ON003', NULL, 'headers ' || left(h, 30))
    FROM unnest(ARRAY['[]', '"a"', '1', 'null', '{"a": {"b": "c"}}', '{"a": {}}', '{"a": {"$bytes": "00", "b": "c"}}', '{"a": {"$bytes": "0"}}',
                      '{"a": {"$bytes": "0g"}}', '{"a": {"$bytes": 10}}', '{"a": [["b"]]}', '{"a": ["b", {"c": "d"}]}', '{"once-id": null}',
                      '{"once-id": "x"}', '{"": "x"}', '{"a\u0001": "x"}']) AS h;
SELECT throws_ok($$SELECT once.publish_text('t', 'p', headers => (SELECT jsonb_object_agg(g::text, 'v') FROM generate_series(1, 65) g))$$, 'ON003', NULL, 'too many headers');
SELECT lives_ok($$SELECT once.publish_text('t', 'p', headers => (SELECT jsonb_object_agg(g::text, 'v') FROM generate_series(1, 64) g))$$, 'as many as there may be');
SELECT throws_ok(format('SELECT once.publish_text(%L, %L, headers => jsonb_build_object(repeat(%L, 256), %L))', 't', 'p', 'n', 'v'), 'ON003', NULL, 'a header name of 256 bytes');
SELECT lives_ok($$SELECT once.publish_text('t', 'p', headers => '{}')$$, 'no headers at all');
SELECT is((SELECT headers FROM pg_temp.last()), NULL, 'are null');
SELECT lives_ok($$SELECT once.publish_text('t', 'p', headers => '{"a": "", "Once-Id": "x"}')$$, 'an empty value; only the exact prefix is reserved');

-- US8, US9: what a handler received goes out again; and what applications have
CREATE FUNCTION pg_temp.headers(h jsonb) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
    PERFORM once.publish_text('t', 'p', headers => h);
    RETURN (SELECT headers FROM pg_temp.last());
END $$;
SELECT is(once.headers_json(pg_temp.headers(h)), h, 'US8 comes back as it was: ' || h::text) FROM (VALUES
    ('{"newrelic": ["x", "y"], "a": "1"}'::jsonb), ('{"null": null}'), ('{"b": {"$bytes": "000000000000ff05"}}'),
    ('{"m": [null, {"$bytes": "fffe41"}, "", "t"]}'), ('{"nul": {"$bytes": "610062"}}')) v(h);
SELECT is(pg_temp.headers('{"n": null}'), '\x00016effffffff'::bytea, 'US8 null byte by byte');
SELECT is(pg_temp.headers('{"n": {"$bytes": "00FF"}}'), '\x00016e0000000200ff'::bytea, 'US9 bytes byte by byte');
SELECT is(once.headers_json(pg_temp.headers('{"i": 9007199254740993, "d": 1.50, "t": true, "f": [false, 1]}')),
          '{"i": "9007199254740993", "d": "1.50", "t": "true", "f": ["false", "1"]}', 'numbers and booleans are their text');
SELECT is(pg_temp.headers('{"a": []}'), NULL, 'an empty array is no header');
SELECT is(once.headers_json(pg_temp.headers('{"a": {"$bytes": "6162"}}')), '{"a": "ab"}', 'bytes that are text are read as text');
SELECT throws_ok(format('SELECT pg_temp.headers(%L)', jsonb_build_object('a', (SELECT jsonb_agg('v'::text) FROM generate_series(1, 65)))), 'ON003', NULL, 'a header too often');

-- keys of every type; and one form without overloads
SELECT once.publish('t', '1', key => 42) \g /dev/null
SELECT is((SELECT key FROM pg_temp.last()), '42'::bytea, 'field: an int as key');
SELECT once.publish('t', '1', key => -9223372036854775808) \g /dev/null
SELECT is((SELECT key FROM pg_temp.last()), '-9223372036854775808'::bytea, 'field: a bigint as key');
SELECT once.publish_text('t', '1', key => '018F3B1E-0000-7000-8000-000000000001'::uuid) \g /dev/null
SELECT is((SELECT key FROM pg_temp.last()), '018f3b1e-0000-7000-8000-000000000001'::bytea, 'field: a uuid as key');
SELECT once.publish_bytes('t', '1', key => '\x0000000001'::bytea) \g /dev/null
SELECT is((SELECT key FROM pg_temp.last()), '\x0000000001'::bytea, 'US9 bytes as key');
SELECT throws_ok($$SELECT once.publish_bytes('t', '1', key => convert_to(repeat('k', 2001), 'UTF8'))$$, 'ON002', NULL, 'US9 up to the limit of keys');
SELECT once.publish('t', '1', NULL) \g /dev/null
SELECT is((SELECT key FROM pg_temp.last()), NULL, 'field: an untyped null is no key');
SELECT is(array_agg(form ORDER BY seq), '{j,t,b,j}'::"char"[], 'the form is kept') FROM (SELECT form, seq FROM once.event_0 ORDER BY seq DESC LIMIT 4) f;
SELECT throws_ok($$SELECT once.publish('t', '[object Object]')$$, '22P02', NULL, 'field: json that is no json is refused');
SELECT throws_ok($$SELECT once.publish('t', '{"1","2"}')$$, '22P02', NULL, 'field: so is an array literal');
SELECT once.publish_event(topic => 't', payload_bytes => '\x00', key_bytes => '\x00ff') \g /dev/null
SELECT is((SELECT concat_ws('|', key, payload, form) FROM pg_temp.last()), '\x00ff|\x00|b', 'field: by name, bytes');
SELECT once.publish_event(topic => 't', payload => '{"a": 1}', key => 'k', headers => '{"h": "v"}', partition => 2) \g /dev/null
SELECT is((SELECT concat_ws('|', convert_from(key, 'UTF8'), convert_from(payload, 'UTF8'), form, partition) FROM pg_temp.last()), 'k|{"a": 1}|j|2', 'field: by name, json');
SELECT once.publish_event(topic => 't', payload_text => '', key => '') \g /dev/null
SELECT is((SELECT concat_ws('|', key, payload, form) FROM pg_temp.last()), '\x|\x|t', 'field: by name, empty text and key');
SELECT once.publish_event(topic => 't') \g /dev/null
SELECT is((SELECT payload FROM pg_temp.last()), NULL, 'field: by name, no payload is a tombstone');
SELECT throws_ok($$SELECT once.publish_event('t', '{}', payload_text => '')$$, '22023', NULL, 'field: two payloads');
SELECT throws_ok($$SELECT once.publish_event('t', '{}', key => '', key_bytes => '')$$, '22023', NULL, 'field: two keys');
SELECT is(count(*), 1::bigint, 'field: one function of that name') FROM pg_proc WHERE proname = 'publish_event';

-- an id that the event has already
SELECT is(once.publish('t', '{}', id => '018f3b1e-0000-7000-8000-000000000002'), '018f3b1e-0000-7000-8000-000000000002', 'the id that is given is the event''s');
SELECT is((SELECT id FROM pg_temp.last()), '018f3b1e-0000-7000-8000-000000000002', 'and is stored');
SELECT is(once.publish('t', '{}', id => '018f3b1e-0000-7000-8000-000000000003', dedup_key => 'own'), '018f3b1e-0000-7000-8000-000000000003', 'also with a dedup_key');
SELECT is(once.publish('t', '{}', id => '018f3b1e-0000-7000-8000-000000000004', dedup_key => 'own'), '018f3b1e-0000-7000-8000-000000000003', 'where the first one stands');

SELECT throws_ok($$SELECT once.publish_text('t', 'p', dedup_key => '')$$, '22023', NULL, 'dedup_key');
SELECT throws_ok($$SELECT once.publish_text('t', 'p', deliver_at => 'infinity')$$, '22023', NULL, 'deliver_at');

-- transactions
BEGIN READ ONLY;
SELECT throws_ok($$SELECT once.publish_text('t', 'p')$$, '25006', NULL, 'H17 a read-only transaction');
ROLLBACK;
SELECT count(*) AS before FROM once.event_0 \gset
BEGIN;
SELECT once.publish_text('rolled', 'p') \g /dev/null
ROLLBACK;
BEGIN;
SELECT once.publish_text('kept', '1') \g /dev/null
SAVEPOINT s;
SELECT once.publish_text('savepoint', '2') \g /dev/null
ROLLBACK TO s;
SELECT once.publish_text('kept', '3') \g /dev/null
SAVEPOINT s2;
SELECT once.publish_text('kept', '4') \g /dev/null
RELEASE s2;
SELECT pg_current_xact_id() AS xid \gset
COMMIT;
SELECT is(count(*), (:before + 3)::bigint, 'P1 what was rolled back, also to a savepoint, is not there') FROM once.event_0;
SELECT is(string_agg(convert_from(payload, 'UTF8'), ' ' ORDER BY seq), '1 3 4', 'P1 and the rest is in order')
    FROM once.event_0 WHERE topic = 'kept';
SELECT is(string_agg(DISTINCT xid::text, ' '), :'xid', 'P2 all rows carry the top-level transaction, also those of subtransactions')
    FROM once.event_0 WHERE topic = 'kept';
SELECT is((SELECT count(*) FROM once.event_0_0), (SELECT count(*) FROM once.event_0), 'all in the first child');
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT is((SELECT count(*) FROM once.event_0_0 WHERE seq > 0), (SELECT count(*) FROM once.event_0), 'the primary key has them all');
SELECT is((SELECT count(*) FROM once.event_0_0 WHERE xid >= '0'), (SELECT count(*) FROM once.event_0), 'and so has the index on xid');
SELECT finish();
