-- publish with dedup_key and deliver_at, unschedule, deliver_due.
SELECT plan(49);
CREATE TABLE got (n int GENERATED ALWAYS AS IDENTITY, id uuid);
CREATE FUNCTION pg_temp.events() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM once.event_0';

-- dedup_key
SELECT once.publish_text('t', 'one', 'k', dedup_key => 'd') AS first \gset
SELECT isnt(:'first'::uuid, NULL, 'dedup_key: the first publishes');
SELECT is((SELECT id FROM once.event_0), :'first'::uuid, 'dedup_key: with the id that it returns');
SELECT is(once.publish_text('t', 'two', 'k', dedup_key => 'd'), :'first'::uuid, 'dedup_key: a retry gets the first id');
SELECT is(once.publish('t', '{}'::jsonb, dedup_key => 'd'), :'first'::uuid, 'dedup_key: whatever it carries');
SELECT is(pg_temp.events(), 1::bigint, 'dedup_key: and publishes nothing new');
SELECT isnt(once.publish_text('u', 'one', dedup_key => 'd'), :'first'::uuid, 'dedup_key: is per topic');
SELECT isnt(once.publish_text('t', 'one', dedup_key => 'D'), :'first'::uuid, 'dedup_key: another key is another event');
SELECT is(pg_temp.events(), 3::bigint, 'dedup_key: both were published');
BEGIN;
SELECT once.publish_text('t', 'x', dedup_key => 'd') \g /dev/null
SELECT is(pg_current_xact_id_if_assigned()::text, NULL, 'dedup_key: a retry burns no transaction id');
COMMIT;
BEGIN;
SAVEPOINT s;
SELECT once.publish_text('t', 'x', dedup_key => 'rolled') AS rolled \gset
ROLLBACK TO s;
SELECT isnt(once.publish_text('t', 'x', dedup_key => 'rolled'), :'rolled'::uuid, 'H18 dedup_key: forgotten with its savepoint');
COMMIT;
SELECT throws_ok(format('SELECT once.publish_text(''t'', ''x'', dedup_key => %L)', k), '22023', NULL, 'dedup_key: refused: ' || length(k)) FROM (VALUES (''), (repeat('x', 256)), (E'\n')) AS v(k);
SELECT throws_ok($$ SELECT once.publish_text('no topic', 'x', dedup_key => 'n') $$, 'ON001', NULL, 'dedup_key: an event that is refused');
SELECT isnt(once.publish_text('t', 'x', dedup_key => 'n'), NULL, 'dedup_key: does not use its key');
SELECT is((SELECT count(*) FROM once.publish_key_0 WHERE owner = once.owner_of('topic', 'no topic')), 0::bigint, 'dedup_key: of any topic');
SELECT is(once.publish_text('t', 'x', dedup_key => '018F3B1E-0000-7000-8000-000000000001'), once.publish_text('t', 'x', dedup_key => '018f3b1e-0000-7000-8000-000000000001'),
    'dedup_key: what denotes the same id is the same key');
SELECT once.publish_text('t', 'x', dedup_key => '018f3b1e-0000-7000-8000-000000000001') \g /dev/null

-- handover of generations
SELECT once.sweep() \g /dev/null
UPDATE once.ring SET open_for = '8 days' WHERE name = 'publish_key';
SELECT is((SELECT step FROM once.sweep()), 'closing', 'D4 dedup_key: a handover begins');
SELECT is(once.publish_text('t', 'x', dedup_key => 'd'), :'first'::uuid, 'D4 dedup_key: known while it is closing');
SELECT once.publish_text('t', 'x', dedup_key => 'between') AS between \gset
SELECT is((SELECT count(*) FROM (SELECT FROM once.publish_key_0 WHERE event = :'between' UNION ALL SELECT FROM once.publish_key_1 WHERE event = :'between') AS v), 2::bigint, 'D4 dedup_key: new ones stand in both');
SELECT once.sweep() \g /dev/null
SELECT is((SELECT step FROM once.sweep()), 'read_only', 'D4 dedup_key: handed over');
SELECT is(once.publish_text('t', 'x', dedup_key => 'd'), :'first'::uuid, 'D5 dedup_key: known in the generation before');
SELECT is(once.publish_text('t', 'x', dedup_key => 'between'), :'between'::uuid, 'D5 dedup_key: known in both');
UPDATE once.ring SET closed_for[1] = '6 days' WHERE name = 'publish_key';
SELECT is_empty($$ SELECT FROM once.sweep() $$, 'D2 dedup_key: kept for 7 days');
UPDATE once.ring SET closed_for[1] = '7 days' WHERE name = 'publish_key';
SELECT is((SELECT array_agg(step) FROM (SELECT step FROM once.sweep()) s), '{retired}', 'D2 dedup_key: then forgotten');
SELECT is((SELECT step FROM once.sweep()), 'truncated', 'D2 dedup_key: and truncated whole');
SELECT isnt(once.publish_text('t', 'x', dedup_key => 'd'), :'first'::uuid, 'D2 dedup_key: then a key may be used again');

-- deliver_at
TRUNCATE once.event_0_0;
SELECT once.publish_text('t', 'later', 'k', '{"a": "b"}', 3, deliver_at => now() + interval '1 hour') AS later \gset
SELECT once.publish_text('t', NULL::text, deliver_at => now() + interval '1 minute') AS sooner \gset
SELECT once.publish_text('t', 'never', deliver_at => now() + interval '2 hours', dedup_key => 's') AS never \gset
SELECT is(pg_temp.events(), 0::bigint, 'deliver_at: nothing goes out before');
SELECT is((SELECT array_agg(id ORDER BY deliver_at) FROM once.scheduled), ARRAY[:'sooner', :'later', :'never']::uuid[], 'deliver_at: listed');
SELECT is(once.publish_text('t', 'never', deliver_at => now(), dedup_key => 's'), :'never'::uuid, 'deliver_at: with a dedup_key, once');
SELECT is(ARRAY[once.unschedule(:'never'), once.unschedule(:'never')], '{t,f}', 'deliver_at: cancelled once');
SELECT is(once.deliver_due(), 0, 'deliver_at: nothing is due');
UPDATE once.scheduled SET deliver_at = deliver_at - interval '2 hours';
SELECT is(once.deliver_due(1), 1, 'deliver_at: at most as many as asked for');
SELECT is((SELECT concat_ws('|', id, coalesce(payload::text, 'tombstone')) FROM once.event_0), :'sooner' || '|tombstone', 'deliver_at: the earliest first, same id');
SELECT is(once.deliver_due(), 1, 'deliver_at: then the next');
SELECT is((SELECT count(*) FROM once.scheduled), 0::bigint, 'deliver_at: moved, not copied');
SELECT is((SELECT concat_ws('|', topic, convert_from(key, 'UTF8'), convert_from(payload, 'UTF8'), partition, form, once.headers_json(headers)) FROM once.event_0 WHERE id = :'later'), 't|k|later|3|t|{"a": "b"}', 'deliver_at: as it was published');
SELECT isnt(once.publish_text('t', 'now', deliver_at => now() - interval '1 s'), NULL, 'deliver_at: what is due already goes out at once');
SELECT is(pg_temp.events(), 3::bigint, 'deliver_at: all there');
SELECT count(once.publish_text('t', repeat('x', 1000), deliver_at => now() + interval '1 h')) FROM generate_series(1, 5) \g /dev/null
UPDATE once.scheduled SET deliver_at = deliver_at - interval '2 h';
SELECT is(ARRAY[once.deliver_due(200, 2500), once.deliver_due(200, 1), once.deliver_due(), once.deliver_due()], '{3,1,1,0}', 'deliver_at: at most as many bytes, and at least one event');
SELECT throws_ok('SELECT once.deliver_due(' || a || ')', '22023', NULL, 'deliver_at: refused limits: ' || a) FROM (VALUES ('0'), ('1, 0')) v(a);
SELECT throws_ok($$ SELECT once.publish_text('t', 'x', deliver_at => 'infinity') $$, '22023', NULL, 'deliver_at: never is refused');
BEGIN;
SELECT once.publish_text('t', 'x', dedup_key => 'undone', deliver_at => now() + interval '1 h') AS undone \gset
ROLLBACK;
SELECT is((SELECT count(*) FROM once.scheduled), 0::bigint, 'deliver_at: rolled back, it does not wait');
SELECT once.publish_text('t', 'x', dedup_key => 'undone', deliver_at => now() + interval '1 h') AS done \gset
SELECT isnt(:'done'::uuid, :'undone'::uuid, 'deliver_at: nor is its dedup_key used');
BEGIN;
SELECT once.unschedule(:'done') \g /dev/null
ROLLBACK;
SELECT is((SELECT id FROM once.scheduled), :'done'::uuid, 'deliver_at: an unschedule that is rolled back took nothing out');
SELECT is(once.unschedule(:'done'), true, 'deliver_at: one that commits does');
SELECT is(once.publish_text('t', 'x', dedup_key => 'undone'), :'done'::uuid, 'deliver_at: and the dedup_key stays used');
SELECT pg_temp.events() AS before \gset
SELECT once.publish_text('t', 'x', deliver_at => d) FROM (VALUES ('-infinity'::timestamptz), (NULL), (now())) v(d) \g /dev/null
SELECT is(pg_temp.events() - :before, 3::bigint, 'deliver_at: what is not later goes out at once');
SELECT * FROM finish();
