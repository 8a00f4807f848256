-- The memory of ids: handover, expiry, horizon, classes, settings of consumers.
SELECT plan(117);
SET timezone = 'UTC';

CREATE FUNCTION pg_temp.v7(at timestamptz, n int DEFAULT 0) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n), 3, '0') || '8' || repeat('0', 15))::uuid $$;
-- Each step of a sweep relies on what was committed before.
CREATE PROCEDURE pg_temp.settle() LANGUAGE plpgsql AS $$
DECLARE
    moved boolean := true;
BEGIN
    COMMIT;
    WHILE moved LOOP
        moved := EXISTS (SELECT FROM once.sweep());
        COMMIT;
    END LOOP;
END $$;
CREATE PROCEDURE pg_temp.turn(ring text) LANGUAGE plpgsql AS $$
BEGIN
    COMMIT;
    IF NOT once.ring_turn(ring) THEN RAISE 'no handover of %', ring; END IF;
    CALL pg_temp.settle();
END $$;
CREATE FUNCTION pg_temp.states(ring text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(m.state, ' ' ORDER BY m.slot) FROM once.memory m WHERE m.ring = $1 $$;
-- As if all that had happened that much earlier.
CREATE FUNCTION pg_temp.age(ring text, by interval) RETURNS void LANGUAGE sql AS $$
    UPDATE once.ring r SET opened_at = opened_at - by, open_for = open_for + by, horizon = horizon - by,
        closed_at = ARRAY(SELECT c - by FROM unnest(closed_at) c), closed_for = ARRAY(SELECT c + by FROM unnest(closed_for) c) WHERE r.name = $1;
    UPDATE once.generation g SET closed_at = g.closed_at - by WHERE g.ring = $1 $$;
CREATE FUNCTION pg_temp.has(tab text, consumer text, x bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    found boolean;
BEGIN -- a number's key: wire/message_key.hpp
    EXECUTE format('SELECT EXISTS (SELECT FROM once.%I WHERE owner = once.owner_of(''consumer'', $1) AND id::text LIKE $2)', tab)
        INTO found USING consumer, '80000000-0000-81' || lpad(to_hex(x >> 8 & 255), 2, '0') || '-80' || lpad(to_hex(x & 255), 2, '0') || '-%';
    RETURN found;
END $$;

-- handover
SELECT once.accept('a', x) FROM generate_series(1, 5) x \g /dev/null
SELECT is(pg_temp.states('seen_week'), 'open free free free', 'D5 one open generation, though nobody swept');
CALL pg_temp.settle();
SELECT is(pg_temp.states('seen_week'), 'open free free free', 'D5 a sweep gives the rings their rows');
SELECT is_empty($$ SELECT FROM once.sweep() $$, 'D5 nothing is due');
SELECT ok(once.ring_turn('seen_week'), 'D5 a handover begins');
SELECT is(pg_temp.states('seen_week'), 'closing open free free', 'D5 closing');
SELECT ok(NOT once.ring_turn('seen_week'), 'D5 the next one waits until this one is finished');
SELECT is(once.accept('a', 1), 'duplicate', 'D5 closing: a key from before');
SELECT is(once.accept('a', 6), 'new', 'D5 closing: a fresh key');
SELECT is(once.accept('a', 6), 'duplicate', 'D5 closing: again');
SELECT ok(pg_temp.has('seen_week_0', 'a', 6), 'D4 closing: it is in the old generation');
SELECT ok(pg_temp.has('seen_week_1', 'a', 6), 'D4 and in the next one');
SELECT results_eq($$ SELECT verdict::text, count(*)::int FROM once.accept_many_bigint('many', (SELECT array_agg(x) FROM generate_series(1, 100) x)) GROUP BY 1 $$,
    $$ VALUES ('new', 100) $$, 'D4 closing: a batch');
SELECT results_eq($$ SELECT verdict::text, count(*)::int FROM once.accept_many_bigint('many', (SELECT array_agg(x) FROM generate_series(51, 150) x)) GROUP BY 1 ORDER BY 1 DESC $$,
    $$ VALUES ('new', 50), ('duplicate', 50) $$, 'D4 closing: half of it again');
CALL pg_temp.settle();
SELECT is(pg_temp.states('seen_week'), 'read_only open free free', 'D5 read only');
SELECT is(once.accept('a', 3), 'duplicate', 'D5 a key of the previous generation');
SELECT is(once.accept('a', 6), 'duplicate', 'D5 a key of both');
SELECT is(once.accept('a', 7), 'new', 'D5 a fresh key');
SELECT ok(NOT pg_temp.has('seen_week_0', 'a', 7) AND pg_temp.has('seen_week_1', 'a', 7), 'D5 goes into the open generation alone');
SELECT results_eq($$ SELECT verdict::text FROM once.accept_many_bigint('a', ARRAY[9, 2, 7, 8, 9]) $$,
    ARRAY['new', 'duplicate', 'duplicate', 'new', 'duplicate'], 'D5 a batch across generations');
SELECT is((SELECT count(*)::int FROM once.accept_many_bigint('many', (SELECT array_agg(x) FROM generate_series(1, 150) x)) WHERE verdict = 'duplicate'), 150,
    'D5 a long one');
BEGIN;
SELECT once.accept('a', 3) \g /dev/null
SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none') AS xid \gset
SELECT is(:'xid'::text, 'none', 'E7 a key of the previous generation burns no xid');
COMMIT;

-- expiry
SELECT pg_temp.age('seen_week', '25 hours') \g /dev/null
CALL pg_temp.settle();
SELECT is(once.accept('a', 3), 'duplicate', 'D2 kept 7 days, 25 hours old');
SELECT pg_temp.age('seen_week', '6 days') \g /dev/null
CALL pg_temp.settle();
SELECT is(pg_temp.states('seen_week'), 'free read_only open free', 'D3 swept: truncated, and the next handover was due');
SELECT is((SELECT count(*) FROM once.seen_week_0), 0::bigint, 'D3 its table is empty');
SELECT is(once.accept('a', 3), 'new', 'D1 forgotten');
SELECT is(once.accept('a', 3), 'duplicate', 'D1 and remembered anew');
SELECT is(once.accept('a', 7), 'duplicate', 'D1 a key of the generation before stays');
SELECT isnt((SELECT horizon FROM once.ring WHERE name = 'seen_week'), NULL, 'D8 the horizon is stored');

-- a table with rows that no state accounts for is looked into, and kept from when it is found
INSERT INTO once.seen_week_3 SELECT owner, id FROM once.seen_week_1 WHERE owner = once.owner_of('consumer', 'many') LIMIT 1;
DELETE FROM once.seen_week_1 w USING once.seen_week_3 t WHERE t.owner = w.owner AND t.id = w.id;
DELETE FROM once.seen_week_2 w USING once.seen_week_3 t WHERE t.owner = w.owner AND t.id = w.id;
SELECT is((SELECT count(*)::int FROM once.accept_many_bigint('many', (SELECT array_agg(x) FROM generate_series(101, 150) x)) WHERE verdict = 'duplicate'), 50,
    'BE7 a row restored by hand counts, whatever the state says');
SELECT pg_temp.age('seen_week', '4 days') \g /dev/null
CALL pg_temp.settle();
SELECT is(pg_temp.states('seen_week'), 'read_only read_only open read_only', 'BE7 the sweep finds it, and does not write over it');
SELECT pg_temp.age('seen_week', '8 days') \g /dev/null
CALL pg_temp.settle();
SELECT is(pg_temp.states('seen_week'), 'free free read_only open', 'BE7 and forgets it in its time');

-- the wall clock
SELECT once.accept('clock', 1) \g /dev/null
CALL pg_temp.turn('seen_day');
SELECT is(pg_temp.states('seen_day'), 'read_only open free free', 'D2 a forced handover of an empty ring');
CALL pg_temp.turn('seen_week');
UPDATE once.ring SET counted_at = counted_at - interval '1 year' WHERE name = 'seen_week';
CALL pg_temp.settle();
SELECT is(once.accept('clock', 1), 'duplicate', 'D2 a wall clock that jumped ahead forgets nothing');
UPDATE once.ring SET monotonic = monotonic + 1000000000000000 WHERE name = 'seen_week';
CALL pg_temp.settle();
SELECT is(once.accept('clock', 1), 'duplicate', 'D2 nor does a monotonic one that started anew');

-- another server's rows
UPDATE once.ring SET system_identifier = 1, switched = '9000000000000000', closing = true WHERE name = 'seen_year';
UPDATE once.ring SET open = open + 1 WHERE name = 'seen_year';
SELECT once.sweep() \g /dev/null
SELECT is((SELECT system_identifier FROM once.ring WHERE name = 'seen_year'), (SELECT system_identifier FROM pg_control_system()), 'P14 a restored ring is taken over');
CALL pg_temp.settle();
SELECT is(pg_temp.states('seen_year'), 'read_only open free free', 'P14 and goes on with our xids');

-- changes of class
SELECT once.accept('class', 1) \g /dev/null
SELECT once.consumer_set('class', keep => '30 days');
SELECT is((SELECT class FROM once.consumer WHERE name = 'class'), 'month', 'D2 30 days are a month');
SELECT is(once.accept('class', 1), 'duplicate', 'D2 before the handover: known');
SELECT is(once.accept('class', 2), 'new', 'D2 before the handover: new');
SELECT ok(pg_temp.has('seen_month_0', 'class', 2), 'D2 and kept for as long as the longer class');
SELECT once.consumer_set('class', keep => '300 days');
SELECT is((SELECT classes::text FROM once.consumer_state WHERE name = 'class'), '{1,4}', 'D2 until the handover it can be changed again');
SELECT is(once.accept('class', 2), 'duplicate', 'D2 which forgets nothing');
SELECT pg_temp.age('seen_week', '8 days') \g /dev/null
CALL pg_temp.settle();
CALL pg_temp.turn('seen_week');
SELECT is(once.accept('class', 3), 'new', 'D2 after the handover');
SELECT ok(pg_temp.has('seen_year_1', 'class', 3), 'D2 it is in the other ring');
SELECT is((SELECT count(*)::int FROM generate_series(0, 3) s WHERE pg_temp.has('seen_week_' || s, 'class', 3)), 0, 'D2 and there alone');
SELECT is(once.accept('class', x), 'duplicate', 'D2 what was accepted before is known: ' || x) FROM generate_series(1, 3) x WHERE x > 1;
SELECT once.consumer_set('class', keep => '7 days');
CALL pg_temp.turn('seen_year');
SELECT is(once.accept('class', x), 'duplicate', 'D2 back in the first ring: ' || x) FROM generate_series(2, 3) x;
SELECT is(once.accept('class', 4), 'new', 'D2 back in the first ring');
SELECT is((SELECT count(*)::int FROM generate_series(0, 3) s WHERE pg_temp.has('seen_week_' || s, 'class', 4)), 1, 'D2 in it');
SELECT is(once.accept('class', 4), 'duplicate', 'D2 known');
SELECT throws_ok($$ SELECT once.consumer_set('ever', keep => '0'); SELECT once.ring_turn('seen_week'); SELECT once.consumer_set('ever', keep => '1 day') $$, '22023', NULL, 'D2 leaving for ever');
SELECT lives_ok($$ SELECT once.consumer_set('ever2', keep => '0'); SELECT once.consumer_set('ever2', keep => '1 day') $$, 'D2 before it took effect it is no matter');
SELECT throws_ok($$ SELECT once.ring_turn(r) $$, '22023', NULL, 'D2 no such ring') FROM (SELECT 1) x WHERE false;
SELECT throws_ok($$ SELECT once.ring_turn('seen_forever') $$, '22023', NULL, 'D2 what is kept for ever has no handover');
SELECT throws_ok($$ SELECT once.ring_turn(NULL) $$, '22004', NULL, 'E9 no ring');

-- consumer_drop removes settings and rights, never ids
SELECT once.accept('class', 5) \g /dev/null
SELECT ok(once.consumer_drop('class'), 'D4 dropped');
SELECT is_empty($$ SELECT FROM once.consumer WHERE name = 'class' $$, 'D4 it is not declared any more');
SELECT is(once.accept('class', x), 'duplicate', 'D4 its ids are known: ' || x) FROM generate_series(2, 5) x;
SELECT ok(NOT once.consumer_drop('class'), 'D4 nothing to drop');
SELECT once.consumer_set('plain', max_attempts => 3);
SELECT is(once.accept('plain', 1), 'new', 'D4 a consumer of the usual class');
SELECT ok(once.consumer_drop('plain'), 'D4 dropped');
SELECT is_empty($$ SELECT FROM once.consumer_state WHERE name = 'plain' $$, 'D4 leaves no row');
SELECT is(once.accept('plain', 1), 'duplicate', 'D4 and forgets nothing');

-- too old
SELECT once.consumer_set('old', keep => '1 day', reject_older => true);
CALL pg_temp.turn('seen_week');
SELECT is(once.accept('old', pg_temp.v7(now() - interval '40 days')), 'new', 'D6 nothing of it was forgotten yet: an old id is new');
SELECT is(once.accept('old', 500), 'new', 'D6 one without time');
SELECT is(once.accept('old', 501, now() + interval '90 minutes'), 'new', 'BE23 a sender''s clock ran ahead');
SELECT is(once.accept('old', pg_temp.v7(now() + interval '90 minutes', 7)), 'new', 'BE23 as a uuid');
SELECT is(once.accept('old', pg_temp.v7(now() + interval '90 minutes', 8)::text), 'new', 'BE23 a uuid as text has no time');
SELECT is(once.accept('old', 502, now() + interval '4 minutes'), 'new', 'BE23 ahead within the tolerance');
SELECT throws_ok($$ SELECT once.accept('old', 503, now() + interval '25 hours') $$, '22023', NULL, 'BE23 further ahead than ids are kept');
SELECT throws_ok($$ SELECT once.accept('old', 503, 'infinity') $$, '22023', NULL, 'BE18 infinity is a time');
SELECT now() + interval '90 minutes' AS ahead, now() + interval '4 minutes' AS near \gset
SELECT pg_temp.v7(:'ahead'::timestamptz, 7) AS ahead_id \gset
CALL pg_temp.turn('seen_day');
SELECT pg_temp.age('seen_day', '25 hours') \g /dev/null
CALL pg_temp.settle();
UPDATE once.ring SET horizon = clock_timestamp() + interval '5 minutes' WHERE name = 'seen_day'; -- as if it had closed just now
SELECT is(once.accept('old', pg_temp.v7(now() - interval '3 days', 1)), 'too_old', 'D6 a v7 id older than the memory');
SELECT is(once.accept('old', 500), 'new', 'D6 an id without time is new');
SELECT is(once.accept('old', 501, :'ahead'::timestamptz), 'too_old', 'BE23 the redelivery of what was ahead is too old');
SELECT is(once.accept('old', :'ahead_id'::uuid), 'too_old', 'BE23 as a uuid');
SELECT is(once.accept('old', 502, :'near'::timestamptz), 'too_old', 'BE23 ahead within the tolerance');
SELECT is(once.accept('old', x, t::timestamptz), 'too_old', 'BE18 US14 a time is a time: ' || t)
    FROM (VALUES (601, '-infinity'), (602, '4713-01-01 BC'), (603, '0044-03-15 BC'), (604, '2020-01-01')) v(x, t);
SELECT is(once.accept('old', 605, now() + interval '3 hours'), 'new', 'D6 a newer one is new');
SELECT is(once.accept('old', 605, now() + interval '3 hours'), 'duplicate', 'D6 and then known');
SELECT results_eq($$ SELECT verdict::text FROM once.accept_many_uuid('old', ARRAY[pg_temp.v7(now() + interval '4 hours', 3), pg_temp.v7(now() - interval '1 day'),
                     pg_temp.v7(now() - interval '1 day'), pg_temp.v7(now() + interval '4 hours', 3)]) $$,
    ARRAY['new', 'too_old', 'too_old', 'duplicate'], 'D6 in a batch');
SELECT results_eq($$ SELECT verdict::text FROM once.accept_many('old', ARRAY['x', 'y', 'z'], ARRAY['-infinity', NULL, '2020-01-01']::timestamptz[]) $$,
    ARRAY['too_old', 'new', 'too_old'], 'BE18 a batch with times');
SELECT once.consumer_set('old', keep => '300 days');
CALL pg_temp.turn('seen_day');
SELECT is(once.accept('old', pg_temp.v7(now() - interval '3 days', 1)), 'too_old', 'D8 retention raised after a truncation: too_old, not new');
SELECT is(once.accept('other', pg_temp.v7(now() - interval '3 days', 1)), 'new', 'D6 nobody else is concerned');
SELECT pg_temp.age('seen_week', interval '30 days') \g /dev/null
CALL pg_temp.settle();
SELECT once.consumer_set('young', keep => '1 day', reject_older => true);
CALL pg_temp.turn('seen_week');
SELECT is(once.accept('young', pg_temp.v7(now() - interval '3 days', 1)), 'new', 'D6 nor is who came later');

-- settings
SELECT throws_ok(format('SELECT once.consumer_set(%s)', a), s, NULL, 'E9 refused: ' || a)
    FROM (VALUES ('NULL', '22004'), ('''''', 'ON010'), ('''x'', keep => ''-1 s''', '22023'), ('''x'', keep => ''1001 years''', '22023'),
                 ('''x'', keep => ''178000000 years''', '22023'), ('''x'', max_attempts => 0', '22023')) AS t(a, s);
SELECT is(once.class_of(k::interval), c, format('D2 %s: %s', k, c))
    FROM (VALUES ('1 s', 'day'), ('24 hours', 'day'), ('25 hours', 'week'), ('7 days', 'week'), ('1 mon', 'month'), ('3 mons', 'quarter'), ('1 year', 'year'),
                 ('366 days', 'year'), ('367 days', 'forever'), ('0', 'forever')) AS t(k, c);
SET once.strict_consumers = on;
SELECT throws_ok($$ SELECT once.accept('undeclared', 1) $$, 'ON010', NULL, 'E9 strict: an undeclared consumer is refused');
SELECT throws_ok($$ SELECT once.accept_many('undeclared', '{1}') $$, 'ON010', NULL, 'E9 strict: in a batch');
SELECT throws_ok($$ SELECT once.inbox_put('undeclared', '1', '\x00') $$, 'ON010', NULL, 'E9 strict: through the inbox');
SELECT throws_ok($$ SELECT once.accept('class', 1) $$, 'ON010', NULL, 'E9 strict: a dropped one');
SELECT once.consumer_set('declared');
SELECT is(once.accept('declared', 1), 'new', 'E9 strict: a declared one is not');
RESET once.strict_consumers;

-- what a key costs: heap and index
SELECT count(*) FROM once.accept_many_uuid('v7', (SELECT array_agg(pg_temp.v7('2026-01-01'::timestamptz + n * interval '1 ms', n % 4096)) FROM generate_series(1, 50000) n)) \g /dev/null
SELECT cmp_ok((SELECT (pg_total_relation_size('once.seen_week_' || r.open % 4) / 50000.0)::numeric(9, 1) FROM once.ring r WHERE r.name = 'seen_week'), '<', 100.0, 'D3 bytes a key');

-- settled
SELECT ok(NOT once.all_ended(pg_current_xact_id()), 'D4 our own transaction has not ended');
SELECT ok(NOT once.all_ended(((once.last_xid()::text)::bigint + 10)::text::xid8), 'D4 nor has one of the future');
SELECT ok(once.all_ended('3'), 'D4 ancient ones have');
BEGIN READ ONLY;
SELECT throws_ok($$ SELECT once.sweep() $$, '25006', NULL, 'H17 sweep needs a transaction that writes');
ROLLBACK;
SELECT * FROM finish();
