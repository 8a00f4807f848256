-- once.publish_many: one event per element, in order; and its races with the end of a generation.
SELECT plan(29);

SELECT is(once.publish_many_text('t', ARRAY['1', '2', NULL], ARRAY['a', NULL, 'c']), 3::bigint, 'text');
SELECT results_eq('SELECT key, payload FROM once.event_0 ORDER BY seq',
                  $$VALUES ('a'::bytea, '1'::bytea), (NULL, '2'), ('c', NULL)$$, 'P19 null keys and payloads stay null');
SELECT is(once.publish_many('j', ARRAY['{"a":1}', 'null']::jsonb[]), 2::bigint, 'jsonb, without keys');
SELECT results_eq($$SELECT key, payload FROM once.event_0 WHERE topic = 'j' ORDER BY seq$$,
                  $$VALUES (NULL::bytea, '{"a": 1}'::bytea), (NULL, 'null'::bytea)$$, 'P19 as publish writes them');
SELECT is(once.publish_many_bytes('b', ARRAY['\x00ff'::bytea], ARRAY['k'], ARRAY['{"h": "v"}'::jsonb]), 1::bigint, 'bytea, with headers');
SELECT results_eq($$SELECT payload, once.headers_json(headers) FROM once.event_0 WHERE topic = 'b'$$,
                  $$VALUES ('\x00ff'::bytea, '{"h": "v"}'::jsonb)$$, 'P19 bytes and headers');
SELECT is(once.publish_many_text('t', ARRAY[]::text[]), 0::bigint, 'nothing');
SELECT is(once.publish_many_text('h', ARRAY['1', '2'], NULL, ARRAY[NULL, '{}']::jsonb[]), 2::bigint, 'headers may be null and empty');
SELECT is(count(headers), 0::bigint, 'which is none') FROM once.event_0 WHERE topic = 'h';
SELECT is(count(DISTINCT id), count(*), 'every event has its own id') FROM once.event_0;

SELECT throws_ok($$SELECT once.publish_many_text(NULL, ARRAY['1'])$$, '22004', NULL, 'no topic');
SELECT throws_ok($$SELECT once.publish_many_text('t', NULL::text[])$$, '22004', NULL, 'no payloads');
SELECT throws_ok($$SELECT once.publish_many_text('t', ARRAY['1', '2'], ARRAY['a'])$$, '22023', NULL, 'fewer keys');
SELECT throws_ok($$SELECT once.publish_many_text('t', ARRAY['1'], ARRAY['a', 'b'])$$, '22023', NULL, 'more keys');
SELECT throws_ok($$SELECT once.publish_many_text('t', ARRAY['1'], ARRAY[]::text[])$$, '22023', NULL, 'an empty array of keys is not null');
SELECT throws_ok($$SELECT once.publish_many_text('t', ARRAY['1'], NULL, ARRAY['{}', '{}']::jsonb[])$$, '22023', NULL, 'more headers');
SELECT throws_ok($$SELECT once.publish_many_text('t', ARRAY[ARRAY['1'], ARRAY['2']])$$, '22023', NULL, 'two dimensions');
SELECT throws_ok($$SELECT once.publish_many_text('a b', ARRAY['1'])$$, 'ON001', NULL, 'a bad topic');
SELECT throws_ok($$SELECT once.publish_many_text('t', ARRAY['1', repeat('x', 921601)])$$, 'ON002', NULL, 'one too large');
SELECT throws_ok($$SELECT once.publish_many_text('t', ARRAY['1', '2'], ARRAY['a', repeat('k', 2001)])$$, 'ON002', NULL, 'one long key');
SELECT throws_ok($$SELECT once.publish_many_text('t', ARRAY['1', '2'], NULL, ARRAY['{}', '{"once-x": ""}']::jsonb[])$$, 'ON003', NULL, 'one bad header');
BEGIN READ ONLY;
SELECT throws_ok($$SELECT once.publish_many_text('t', ARRAY['1'])$$, '25006', NULL, 'H17 read only');
ROLLBACK;
SELECT is(count(*), 8::bigint, 'what was refused left nothing') FROM once.event_0;

-- batches, generations and lanes
SET once.drop_unshipped = on;
DROP EXTENSION pg_once;
CREATE EXTENSION pg_once;
SELECT once.set_lanes(2, 3, 700) \g /dev/null
SELECT is(once.publish_many_text('m', (SELECT array_agg(g::text ORDER BY g) FROM generate_series(1, 5000) g), (SELECT array_agg((g % 7)::text ORDER BY g) FROM generate_series(1, 5000) g)), 5000::bigint, '5,000 over two lanes and many generations');
CREATE TEMP VIEW every AS SELECT 0 AS lane, * FROM once.event_0 UNION ALL SELECT 1, * FROM once.event_1;
SELECT is(count(*), 5000::bigint, 'all are there') FROM every;
SELECT is(count(DISTINCT lane), 1::bigint, 'P2 a key stays in its lane: ' || convert_from(key, 'UTF8')) FROM every WHERE key = '3' GROUP BY key;
SELECT is_empty($$SELECT FROM (SELECT convert_from(payload, 'UTF8')::int - lag(convert_from(payload, 'UTF8')::int) OVER (PARTITION BY key ORDER BY seq) AS step
                               FROM every) s WHERE step <= 0$$, 'P2 the order of the arrays is the order of the numbers');
SELECT is_empty($$SELECT FROM once.event_0_0 WHERE seq / 700 % 3 <> 0 UNION ALL SELECT FROM once.event_0_1 WHERE seq / 700 % 3 <> 1
                  UNION ALL SELECT FROM once.event_1_2 WHERE seq / 700 % 3 <> 2$$, 'every number lies in its child');
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT is((SELECT count(*) FROM once.event_0 WHERE xid >= '0') + (SELECT count(*) FROM once.event_1 WHERE seq > 0), 5000::bigint, 'both indexes have them');
SELECT finish();
