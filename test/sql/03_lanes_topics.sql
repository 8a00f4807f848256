-- Lanes, topics and limits. Each change reaches sessions that remember the old state.
SELECT plan(54);

-- lanes
SELECT results_eq('SELECT lane, armed, mode, children FROM once.lane', $$VALUES (0, false, NULL::text, 4)$$, 'one lane at first');
SELECT throws_ok('SELECT once.set_lanes(' || n || ')', '22023', NULL, n || ' lanes') FROM unnest(ARRAY[0, -1, 65]) n;
SELECT throws_ok('SELECT once.set_lanes(NULL)', '22004', NULL, 'null lanes');
SELECT throws_ok('SELECT once.set_lanes(1, 1)', '22023', NULL, 'one child cannot be trimmed while it is written');
SELECT throws_ok('SELECT once.set_lanes(1, 2, 0)', '22023', NULL, 'generations of no rows');
SELECT incarnation AS first FROM once.lane \gset
SELECT lives_ok('SELECT once.set_lanes(3)', 'three lanes');
SELECT results_eq('SELECT lane FROM once.lane ORDER BY 1', ARRAY[0, 1, 2], 'are there');
SELECT is(count(DISTINCT incarnation), 3::bigint, 'each with an incarnation of its own') FROM once.lane WHERE incarnation <> :'first';
SELECT lives_ok('SELECT once.set_lanes(2, 5, 100)', 'fewer, of another shape');
SELECT has_table('once'::name, 'event_1_4'::name, 'five children each');
SELECT hasnt_table('once'::name, 'event_2_0'::name, 'the third lane is gone');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'once'::regnamespace AND relkind IN ('r', 'v', 'S')
                  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')$$,
                'all of them belong to the extension');
SELECT once.publish_text('t', 'p', key => g::text) FROM generate_series(1, 100) g \g /dev/null
SELECT cmp_ok(count(*), '>', 20::bigint, 'keys go to both: the first') FROM once.event_0;
SELECT cmp_ok(count(*), '>', 20::bigint, 'and the second') FROM once.event_1;
SELECT once.publish_text('t', 'p', key => g::text, deliver_at => now() + interval '1 h') FROM generate_series(1, 100) g \g /dev/null
UPDATE once.scheduled SET deliver_at = now();
SELECT is(once.deliver_due(), 100, 'what was scheduled goes out');
SELECT is((SELECT count(*) FROM (SELECT key FROM (SELECT 0 AS lane, key FROM once.event_0 UNION ALL SELECT 1, key FROM once.event_1) AS events
                                 GROUP BY lane, key HAVING count(*) = 2) AS twice), 100::bigint, 'P2 each in the lane of its key');
SELECT once.publish_text('t', g::text, key => 'one') FROM generate_series(1, 10) g \g /dev/null
SELECT is((SELECT count(*) FROM once.event_0 WHERE key = 'one') * (SELECT count(*) FROM once.event_1 WHERE key = 'one'), 0::bigint, 'P2 a key has one lane');
SELECT once.publish_text('t', g::text) FROM generate_series(1, 10) g \g /dev/null
SELECT is((SELECT count(*) FROM once.event_0 WHERE key IS NULL) * (SELECT count(*) FROM once.event_1 WHERE key IS NULL), 0::bigint, 'events without key stay together by topic');
SELECT throws_ok('SELECT once.set_lanes(4)', '55000', NULL, 'not after first use');
SELECT is(count(*), 2::bigint, 'which changed nothing') FROM once.lane;
SET once.drop_unshipped = on;
DROP EXTENSION pg_once;
SELECT hasnt_table('once'::name, 'event_1_4'::name, 'DROP EXTENSION takes all lanes along');
SELECT throws_ok($$SELECT once.publish_text('t', 'p')$$, '3F000', NULL, 'and the functions');
CREATE EXTENSION pg_once;
SELECT lives_ok($$SELECT once.publish_text('t', 'p')$$, 'a session goes on with the new tables');
SELECT is(count(*), 1::bigint, 'and writes there') FROM once.event_0;

-- topics
SELECT lives_ok($$SELECT once.topic_set('small', max_bytes => 10)$$, 'a topic with a limit');
SELECT results_eq('SELECT * FROM once.topics', $$VALUES ('small', 10, NULL::bigint)$$, 'is listed');
SELECT lives_ok($$SELECT once.publish_text('small', '0123456789')$$, 'P18 up to the limit');
SELECT throws_ok($$SELECT once.publish_text('small', '01234567890')$$, 'ON002', NULL, 'P18 above');
SELECT throws_ok($$SELECT once.publish_text('small', '0123456789', key => 'k')$$, 'ON002', NULL, 'P18 the key counts');
SELECT throws_ok($$SELECT once.publish_many_text('small', ARRAY['1', '01234567890'])$$, 'ON002', NULL, 'P18 publish_many too');
SELECT once.topic_set('small', max_bytes => 2000000) \g /dev/null
SELECT lives_ok($$SELECT once.publish_text('small', repeat('x', 1500000))$$, 'a topic may take more than the general limit');
SELECT throws_ok($$SELECT once.topic_set(NULL)$$, '22004', NULL, 'null topic');
SELECT throws_ok(format('SELECT once.topic_set(%L)', topic), 'ON001', NULL, 'topic ' || quote_literal(topic))
    FROM unnest(ARRAY['', '..', 'a b', 'once.positions', '__consumer_offsets', '__transaction_state', '__share_group_state', '__cluster_metadata']) topic;
SELECT throws_ok($$SELECT once.topic_set('t', max_bytes => 0)$$, '22023', NULL, 'a limit of nothing');
SELECT throws_ok($$SELECT once.topic_set('t', max_backlog => -1)$$, '22023', NULL, 'a negative limit');
BEGIN;
SELECT once.topic_set('small', max_bytes => 5) \g /dev/null
SELECT throws_ok($$SELECT once.publish_text('small', '012345')$$, 'ON002', NULL, 'a change is seen at once in its own transaction');
ROLLBACK;
SELECT lives_ok($$SELECT once.publish_text('small', '012345')$$, 'and is gone when it is rolled back');
SET once.strict_topics = on;
SELECT throws_ok($$SELECT once.publish_text('unknown', 'p')$$, 'ON001', NULL, 'strict: an undeclared topic');
SELECT lives_ok($$SELECT once.publish_text('small', 'p')$$, 'strict: a declared one');
SELECT ok(once.topic_drop('small'), 'dropped');
SELECT ok(NOT once.topic_drop('small'), 'only once');
SELECT throws_ok($$SELECT once.publish_text('small', 'p')$$, 'ON001', NULL, 'strict: no longer declared');
RESET once.strict_topics;

-- backlog: rolled back and rotated numbers are no events
SET once.drop_unshipped = on;
DROP EXTENSION pg_once;
CREATE EXTENSION pg_once;
SET once.max_backlog = 3;
SELECT once.publish_text('t', 'p') FROM generate_series(1, 3) \g /dev/null
SELECT throws_ok($$SELECT once.publish_text('t', 'p')$$, 'ON004', NULL, 'P25 the fourth is refused');
SELECT is(count(*), 3::bigint, 'and left nothing') FROM once.event_0;
SET once.max_backlog = 0;
BEGIN; SELECT once.publish_text('t', 'p') FROM generate_series(1, 50) \g /dev/null
ROLLBACK;
SELECT once.rotate() \g /dev/null
SELECT once.topic_set('late', max_backlog => 5) \g /dev/null
SELECT lives_ok($$SELECT once.publish_text('late', 'p')$$, 'P25 numbers without an event do not count');
SELECT finish();
