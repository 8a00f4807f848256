-- Retention of the key memory: handover, expiry, horizon, settings.
SELECT plan(64);

CREATE FUNCTION pg_temp.v7(at timestamptz, n int DEFAULT 0) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n), 3, '0') || '8' || repeat('0', 15))::uuid $$;
-- Each step of a sweep relies on what was committed before.
CREATE PROCEDURE pg_temp.settle(consumer text, rounds int DEFAULT 3) LANGUAGE plpgsql AS $$
BEGIN
    COMMIT;
    FOR i IN 1..rounds LOOP
        PERFORM once.sweep(consumer);
        COMMIT;
    END LOOP;
END $$;
CREATE FUNCTION pg_temp.states(consumer text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(g.state, ' ' ORDER BY g.slot) FROM once.generation g JOIN once.consumer c ON c.no = g.consumer WHERE c.name = $1 $$;
-- As if the generations had been closed that much earlier.
CREATE FUNCTION pg_temp.age(consumer text, by interval) RETURNS void LANGUAGE sql AS $$
    UPDATE once.generation g SET closed_at = closed_at - by, opened_at = opened_at - by FROM once.consumer c WHERE c.no = g.consumer AND c.name = $1;
    UPDATE once.consumer SET horizon = horizon - by WHERE name = $1 $$;

-- handover
SELECT once.accept('a', x) FROM generate_series(1, 5) x \g /dev/null
SELECT is(pg_temp.states('a'), 'open free free free', 'D5 one open generation');
SELECT ok(once.generation_turn('a'), 'D5 a handover begins');
SELECT is(pg_temp.states('a'), 'closing open free free', 'D5 closing');
SELECT ok(NOT once.generation_turn('a'), 'D5 the next one waits until this one is finished');
SELECT is(once.accept('a', 1), 'duplicate', 'D5 closing: a key from before');
SELECT is(once.accept('a', 6), 'new', 'D5 closing: a fresh key');
SELECT is(once.accept('a', 6), 'duplicate', 'D5 closing: again');
SELECT is((SELECT array_agg(id ORDER BY id) FROM once.key_1_0), '{1,2,3,4,5,6}', 'D4 closing: it is in the old generation');
SELECT is((SELECT array_agg(id ORDER BY id) FROM once.key_1_1), '{6}', 'D4 and in the next one');
CALL pg_temp.settle('a');
SELECT is(pg_temp.states('a'), 'read_only open free free', 'D5 read only');
SELECT is((SELECT keys FROM once.generation WHERE consumer = 1 AND slot = 0), 6::bigint, 'D5 its keys are counted');
SELECT is(once.accept('a', 3), 'duplicate', 'D5 a key of the previous generation');
SELECT is(once.accept('a', 6), 'duplicate', 'D5 a key of both');
SELECT is(once.accept('a', 7), 'new', 'D5 a fresh key');
SELECT is((SELECT array_agg(id ORDER BY id) FROM once.key_1_1), '{6,7}', 'D5 goes into the open generation alone');
SELECT results_eq($$ SELECT verdict::text FROM once.accept_many('a', ARRAY[9, 2, 7, 8, 9]::bigint[]) $$,
    ARRAY['new', 'duplicate', 'duplicate', 'new', 'duplicate'], 'D5 a batch across generations');
BEGIN;
SELECT once.accept('a', 3) \g /dev/null
SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none') AS xid \gset
SELECT is(:'xid'::text, 'none', 'E7 a key of the previous generation burns no xid');
COMMIT;

-- expiry
SELECT is(pg_temp.states('a'), 'read_only open free free', 'D2 nothing is due');
CALL pg_temp.settle('a');
SELECT is(pg_temp.states('a'), 'read_only open free free', 'D2 a sweep leaves it');
SELECT pg_temp.age('a', '25 hours') \g /dev/null
CALL pg_temp.settle('a');
SELECT is(once.accept('a', 3), 'duplicate', 'D2 kept 7 days, 25 hours old');
SELECT pg_temp.age('a', '7 days') \g /dev/null
SELECT is(once.accept('a', 3), 'new', 'D1 expired, not swept: enforced on read');
SELECT is(once.accept('a', 3), 'duplicate', 'D1 and remembered anew');
SELECT is(once.accept('a', 7), 'duplicate', 'D1 a key of the open generation stays');
CALL pg_temp.settle('a');
SELECT is(pg_temp.states('a'), 'free read_only open free', 'D3 swept: truncated, and the next handover was due');
SELECT is((SELECT count(*) FROM once.key_1_0), 0::bigint, 'D3 its table is empty');
SELECT isnt((SELECT horizon FROM once.consumer WHERE name = 'a'), NULL, 'D8 the horizon is stored');

-- by count
SELECT once.consumer_set('count', 'bigint', keep_count => 10);
SELECT is((SELECT keep FROM once.consumer WHERE name = 'count'), NULL, 'D2 by count alone');
SELECT once.accept('count', x) FROM generate_series(1, 5) x \g /dev/null
CALL pg_temp.settle('count');
SELECT once.accept('count', x) FROM generate_series(6, 10) x \g /dev/null
CALL pg_temp.settle('count');
SELECT once.accept('count', x) FROM generate_series(11, 15) x \g /dev/null
CALL pg_temp.settle('count');
SELECT is(pg_temp.states('count'), 'retired read_only read_only open', 'D2 three generations of five, ten newer keys push the first out');
SELECT is(once.accept('count', 6), 'duplicate', 'D2 the newest ten are known');
SELECT is(once.accept('count', 1), 'new', 'D2 what was pushed out is new');
SELECT once.consumer_set('count', keep_count => 5);
SELECT is(once.accept('count', 7), 'new', 'D1 pushed out by count, not swept: enforced on read');
SELECT is(once.accept('count', 11), 'duplicate', 'D1 the newest five are known');
CALL pg_temp.settle('count');
SELECT is(pg_temp.states('count'), 'free free read_only open', 'D2 swept');

-- too old
SELECT pg_temp.v7(now() - interval '1 hour') AS hour, pg_temp.v7(now() - interval '30 minutes') AS half \gset
SELECT once.consumer_set('old', 'uuid', keep => '1 hour', reject_older => true);
SELECT is(once.accept('old', pg_temp.v7(now() - interval '3 hours')), 'new', 'D6 nothing was forgotten yet: an old id is new');
SELECT once.generation_turn('old') \g /dev/null
CALL pg_temp.settle('old');
SELECT pg_temp.age('old', '2 hours') \g /dev/null
SELECT is(once.accept('old', pg_temp.v7(now() - interval '3 hours', 1)), 'too_old', 'D6 expired, not swept: too_old');
CALL pg_temp.settle('old');
SELECT is(pg_temp.states('old'), 'free open free free', 'D6 swept');
SELECT is(once.accept('old', pg_temp.v7(now() - interval '3 hours', 1)), 'too_old', 'D6 a v7 id older than the memory');
SELECT is(once.accept('old', :'hour'::uuid), 'new', 'D6 a newer one is new');
SELECT is(once.accept('old', :'hour'::uuid), 'duplicate', 'D6 and then known');
SELECT is(once.accept('old', gen_random_uuid()), 'new', 'D6 an id without time is new');
SELECT is(once.accept('old', gen_random_uuid(), now() - interval '1 day'), 'too_old', 'D6 unless the caller tells its time');
SELECT results_eq($$ SELECT verdict::text FROM once.accept_many('old', ARRAY[pg_temp.v7(now(), 3), pg_temp.v7(now() - interval '1 day'),
                     pg_temp.v7(now() - interval '1 day'), pg_temp.v7(now(), 3)]) $$,
    ARRAY['new', 'too_old', 'too_old', 'duplicate'], 'D6 in a batch');
SELECT once.consumer_set('old', keep => '10 years');
SELECT is(once.accept('old', pg_temp.v7(now() - interval '3 hours', 1)), 'too_old', 'D8 retention raised after a truncation: too_old, not new');
SELECT once.consumer_set('skew', 'uuid', keep => '1 hour', reject_older => true);
SELECT once.accept('skew', :'half'::uuid) \g /dev/null
SELECT once.generation_turn('skew') \g /dev/null
CALL pg_temp.settle('skew');
SELECT pg_temp.age('skew', '2 hours') \g /dev/null
CALL pg_temp.settle('skew');
SELECT is(once.accept('skew', :'half'::uuid), 'too_old', 'D6 a sender''s clock ran ahead: the horizon covers its id');

-- what a key costs: heap and index, 65 to 95 bytes
SELECT once.consumer_set('v7', 'uuid'), once.consumer_set('text', 'text') \g /dev/null
SELECT count(*) FROM once.accept_many('v7', (SELECT array_agg(pg_temp.v7('2026-01-01'::timestamptz + n * interval '1 ms', n % 4096)) FROM generate_series(1, 50000) n)) \g /dev/null
SELECT count(*) FROM generate_series(1, 100) b, LATERAL once.accept_many('text', ARRAY(SELECT 'order ' || n FROM generate_series(b * 500, b * 500 + 499) n)) \g /dev/null
SELECT ok(pg_total_relation_size(format('once.key_%s_0', no)) / 50000.0 BETWEEN 65 AND 98, format('D3 bytes a key of consumer %s: %s', name, pg_total_relation_size(format('once.key_%s_0', no)) / 50000))
    FROM once.consumer WHERE name IN ('v7', 'text') ORDER BY name;

-- settings
SELECT throws_ok(format('SELECT once.consumer_set(%s)', a), s, NULL, 'E9 refused: ' || a)
    FROM (VALUES ('NULL', '22004'), ('''''', 'ON010'), ('''x'', ''int''', '22023'), ('''a'', ''uuid''', 'ON011'), ('''x'', keep => ''-1 s''', '22023'),
                 ('''x'', keep => ''1001 years''', '22023'), ('''x'', keep => ''178000000 years''', '22023'),
                 ('''x'', keep_count => -1', '22023')) AS t(a, s);
SELECT once.consumer_set('long', 'bigint', keep => '1000 years', keep_count => 9223372036854775807);
SELECT once.accept('long', 1) \g /dev/null
SELECT ok(once.generation_turn('long'), 'D2 kept for 1000 years: a handover');
CALL pg_temp.settle('long');
SELECT is(pg_temp.states('long'), 'read_only open free free', 'D2 finished');
SELECT is(once.accept('long', 1), 'duplicate', 'D2 and the id is known');
SELECT once.consumer_set('later', keep => '1 day');
SELECT is((SELECT id_type FROM once.consumer WHERE name = 'later'), NULL, 'E1 declared without a type');
SELECT is(once.accept('later', 'x'), 'new', 'E1 first use gives it');
SELECT is((SELECT id_type || ' ' || keep FROM once.consumer WHERE name = 'later'), 'text 1 day', 'E1 and leaves the settings');

-- settled
SELECT ok(NOT once.all_ended(pg_current_xact_id()), 'D4 our own transaction has not ended');
SELECT ok(NOT once.all_ended(((once.last_xid()::text)::bigint + 10)::text::xid8), 'D4 nor has one of the future');
SELECT ok(once.all_ended('3'), 'D4 ancient ones have');
SELECT throws_ok($$ BEGIN READ ONLY; SELECT once.sweep() $$, NULL, NULL, 'H17 sweep needs a transaction that writes');
SELECT * FROM finish();
