-- once.publish: what it stores, and everything it refuses.
\set payload_limit 921600
SELECT plan(80);

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
SELECT lives_ok($$SELECT once.publish('t', 'an untyped literal')$$, 'an untyped literal is text');
SELECT is((SELECT payload FROM pg_temp.last()), 'an untyped literal'::bytea, 'P19 text goes out as its bytes');
SELECT lives_ok($$SELECT once.publish('t', '{"a" : 1}'::json)$$, 'json');
SELECT is((SELECT payload FROM pg_temp.last()), '{"a" : 1}'::bytea, 'P19 json goes out as it was written');
SELECT lives_ok($$SELECT once.publish('t', '\x00ff'::bytea)$$, 'bytea');
SELECT is((SELECT payload FROM pg_temp.last()), '\x00ff'::bytea, 'P19 binary');
SELECT lives_ok($$SELECT once.publish('t', ''::text)$$, 'an empty payload');
SELECT is((SELECT payload FROM pg_temp.last()), ''::bytea, 'P19 empty is not null');
SELECT lives_ok($$SELECT once.publish('t', null::jsonb, key => 'k')$$, 'a tombstone');
SELECT is((SELECT payload FROM pg_temp.last()), NULL, 'P19 null stays null');
SELECT lives_ok($$SELECT once.publish('t', 'null'::jsonb)$$, 'the JSON null');
SELECT is((SELECT payload FROM pg_temp.last()), 'null'::bytea, 'P19 the JSON null is no tombstone');
SELECT lives_ok($$SELECT once.publish('t', repeat('é', 400000))$$, 'P19 a large payload in UTF-8');
SELECT is((SELECT payload FROM pg_temp.last()), convert_to(repeat('é', 400000), 'UTF8'), 'P19 800,000 bytes come back');

-- keys and partitions
SELECT lives_ok($$SELECT once.publish('t', 'p', key => '')$$, 'an empty key');
SELECT is((SELECT key FROM pg_temp.last()), '', 'P19 the empty key is a key');
SELECT lives_ok($$SELECT once.publish('t', 'p', key => E'a\tb\nc ü')$$, 'a key with control characters');
SELECT is((SELECT key FROM pg_temp.last()), E'a\tb\nc ü', 'P19 keys are no names');
SELECT lives_ok($$SELECT once.publish('t', 'p', key => repeat('k', 2000))$$, 'the longest key');
SELECT throws_ok($$SELECT once.publish('t', 'p', key => repeat('k', 2001))$$, 'ON002', NULL, 'one byte more');
SELECT lives_ok($$SELECT once.publish('t', 'p', partition => 2147483647)$$, 'the highest partition');
SELECT is((SELECT partition FROM pg_temp.last()), 2147483647, 'P19 is stored');
SELECT throws_ok($$SELECT once.publish('t', 'p', partition => -1)$$, '22023', NULL, 'a negative partition');

-- topics
SELECT throws_ok($$SELECT once.publish(null, 'p')$$, '22004', NULL, 'no topic');
SELECT throws_ok(format('SELECT once.publish(%L, %L)', topic, 'p'), 'ON001', NULL, 'topic ' || quote_literal(left(topic, 20)))
    FROM unnest(ARRAY['', '.', '..', 'a b', 'a/b', 'ä', E'a\n', repeat('t', 250), 'once.positions', '__consumer_offsets', '__transaction_state', '__share_group_state', '__cluster_metadata']) AS topic;
SELECT lives_ok(format('SELECT once.publish(%L, %L)', topic, 'p'), 'topic ' || left(topic, 20))
    FROM unnest(ARRAY['...', 'A-z_0.9', repeat('t', 249)]) AS topic;

-- size: key, payload and headers count together
SELECT lives_ok(format('SELECT once.publish(%L, repeat(%L, %s), key => %L)', 't', 'x', :payload_limit - 3, 'key'), 'P18 exactly the limit');
SELECT throws_ok(format('SELECT once.publish(%L, repeat(%L, %s), key => %L)', 't', 'x', :payload_limit - 2, 'key'), 'ON002', NULL, 'P18 one byte more');
SELECT throws_ok(format('SELECT once.publish(%L, repeat(%L, %s), headers => %L)', 't', 'x', :payload_limit - 6, '{"a": ""}'), 'ON002', NULL, 'P18 headers count');

-- headers
SELECT throws_ok(format('SELECT once.publish(%L, %L, headers => %L)', 't', 'p', h), 'ON003', NULL, 'headers ' || left(h, 30))
    FROM unnest(ARRAY['[]', '"a"', '1', 'null', '{"a": 1}', '{"a": null}', '{"a": true}', '{"a": {"b": "c"}}', '{"a": ["b"]}',
                      '{"once-id": "x"}', '{"": "x"}', '{"a\u0001": "x"}']) AS h;
SELECT throws_ok($$SELECT once.publish('t', 'p', headers => (SELECT jsonb_object_agg(g::text, 'v') FROM generate_series(1, 65) g))$$, 'ON003', NULL, 'too many headers');
SELECT lives_ok($$SELECT once.publish('t', 'p', headers => (SELECT jsonb_object_agg(g::text, 'v') FROM generate_series(1, 64) g))$$, 'as many as there may be');
SELECT throws_ok(format('SELECT once.publish(%L, %L, headers => jsonb_build_object(repeat(%L, 256), %L))', 't', 'p', 'n', 'v'), 'ON003', NULL, 'a header name of 256 bytes');
SELECT lives_ok($$SELECT once.publish('t', 'p', headers => '{}')$$, 'no headers at all');
SELECT is((SELECT headers FROM pg_temp.last()), NULL, 'are null');
SELECT lives_ok($$SELECT once.publish('t', 'p', headers => '{"a": "", "Once-Id": "x"}')$$, 'an empty value; only the exact prefix is reserved');

-- not built yet
SELECT throws_ok($$SELECT once.publish('t', 'p', dedup_key => '')$$, '22023', NULL, 'dedup_key');
SELECT throws_ok($$SELECT once.publish('t', 'p', deliver_at => 'infinity')$$, '22023', NULL, 'deliver_at');

-- transactions
BEGIN READ ONLY;
SELECT throws_ok($$SELECT once.publish('t', 'p')$$, '25006', NULL, 'H17 a read-only transaction');
ROLLBACK;
SELECT count(*) AS before FROM once.event_0 \gset
BEGIN;
SELECT once.publish('rolled', 'p') \g /dev/null
ROLLBACK;
BEGIN;
SELECT once.publish('kept', '1') \g /dev/null
SAVEPOINT s;
SELECT once.publish('savepoint', '2') \g /dev/null
ROLLBACK TO s;
SELECT once.publish('kept', '3') \g /dev/null
SAVEPOINT s2;
SELECT once.publish('kept', '4') \g /dev/null
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
