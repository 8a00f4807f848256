-- Owners: tokens, leases, attempts, checkpoints (cases B). Time passes by moving the stored times back.
SELECT plan(102);
SET client_min_messages = warning;

-- Lets `past` go by for a key.
CREATE FUNCTION pg_temp.age(key text, past interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE child regclass; BEGIN
    FOR child IN SELECT oid FROM pg_class WHERE relnamespace = 'once'::regnamespace AND relkind = 'r' AND relname LIKE 'claim\_%' LOOP
        EXECUTE format('UPDATE %s c SET claimed_at = claimed_at - $2, lease_until = lease_until - $2, settled_at = settled_at - $2 WHERE c.key = $1', child)
            USING age.key, past;
    END LOOP;
END $$;
CREATE FUNCTION pg_temp.claim(key text) RETURNS text LANGUAGE sql AS
    $$ SELECT concat_ws(' ', verdict, attempt) FROM once.claim('job', key) $$;
CREATE FUNCTION pg_temp.row_of(key text) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(c::text, ';') FROM once.claim_week_0 c WHERE c.key = row_of.key $$;

-- B1
SELECT * FROM once.claim('job', 'b1') \gset
SELECT pg_temp.row_of('b1') AS before \gset
SELECT is(once.try_complete('job', 'b1', gen_random_uuid(), '1')::text, 'fenced', 'B1 complete with a wrong token');
SELECT is(once.try_fail('job', 'b1', gen_random_uuid(), '1')::text, 'fenced', 'B1 fail');
SELECT is(once.try_release('job', 'b1', gen_random_uuid())::text, 'fenced', 'B1 release');
SELECT is(once.try_renew('job', 'b1', gen_random_uuid(), '1 h')::text, 'fenced', 'B1 renew');
SELECT is(once.try_checkpoint('job', 'b1', gen_random_uuid(), '1')::text, 'fenced', 'B1 checkpoint');
SELECT is(pg_temp.row_of('b1'), :'before', 'B1 the row is unchanged');

-- B2, B3, B5, B18
SELECT once.checkpoint('job', 'b1', :'token', '{"page": 3}');
SELECT :'token' AS old \gset
SELECT is((SELECT checkpoint FROM once.claim('job', 'b1')), NULL, 'B18 a checkpoint is not for others while the owner lives');
SELECT pg_temp.age('b1', '61 s');
SELECT is((SELECT state FROM once.describe('job', 'b1')), 'lapsed', 'B2 the lease has lapsed');
SELECT * FROM once.claim('job', 'b1') \gset
SELECT is(:'verdict'::text || :'attempt', 'reclaimed2', 'B2 somebody else claims: reclaimed');
SELECT isnt(:'token'::text, :'old', 'B2 with a token of its own');
SELECT is(:'checkpoint'::jsonb, '{"page": 3}', 'B18 reclaimed carries the checkpoint');
SELECT pg_temp.row_of('b1') AS before \gset
SELECT is(once.try_complete('job', 'b1', :'old', '1')::text, 'fenced', 'B3 the old owner completes: fenced');
SELECT is(once.try_fail('job', 'b1', :'old', '1')::text, 'fenced', 'B5 it fails');
SELECT is(once.try_release('job', 'b1', :'old')::text, 'fenced', 'B5 it releases');
SELECT is(once.try_renew('job', 'b1', :'old', '1 h')::text, 'fenced', 'B5 it renews');
SELECT is(once.try_checkpoint('job', 'b1', :'old', '1')::text, 'fenced', 'B5 it checkpoints');
SELECT throws_ok(format('SELECT once.%s(%L, %L, %L%s)', f, 'job', 'b1', :'old', rest), 'ON020', NULL, 'B5 raising: ' || f)
    FROM (VALUES ('complete', ''), ('fail', ', NULL'), ('release', ''), ('renew', $$, '1 h'$$), ('checkpoint', ', NULL')) v(f, rest);
SELECT is(pg_temp.row_of('b1'), :'before', 'B3 the new claim is intact');
SELECT is(once.try_complete('job', 'b1', :'token', '"second"')::text, 'ok', 'B3 its owner completes');

-- B6
SELECT * FROM once.claim('job', 'b6') \gset
SELECT once.renew('job', 'b6', :'token', '10 min');
SELECT pg_temp.age('b6', '2 min');
SELECT is(pg_temp.claim('b6'), 'in_progress 1', 'B6 renewed: past the old lease still in progress');

-- B7
SELECT is(once.try_renew('job', 'b1', :'token', '1 h')::text, 'fenced', 'B7 the token of another key');
SELECT token FROM once.claim_week_0 WHERE key = 'b1' \gset
SELECT is(once.try_renew('job', 'b1', :'token', '1 h')::text, 'already', 'B7 renew after completion');
SELECT is(once.try_checkpoint('job', 'b1', :'token', '1')::text, 'already', 'B7 checkpoint after completion');
SELECT is(once.try_release('job', 'b1', :'token')::text, 'already', 'B7 release after completion changes nothing');
SELECT is(once.try_renew('job', 'nobody', :'token', '1 h')::text, 'missing', 'B7 unknown key');
SELECT throws_ok($$ SELECT once.renew('job', 'nobody', gen_random_uuid(), '1 h') $$, 'ON022', NULL, 'B7 unknown key, raising');
SELECT throws_ok($$ SELECT once.complete('job', 'nobody', gen_random_uuid()) $$, 'ON022', NULL, 'B7 complete of an unknown key, raising');

-- B8, B14
SELECT * FROM once.claim('job', 'b8', '{"r": 1}') \gset
SELECT is(once.try_release('job', 'b8', :'token')::text, 'ok', 'B14 a transient failure: release');
SELECT is(once.try_release('job', 'b8', :'token')::text, 'missing', 'B8 release twice');
SELECT throws_ok(format('SELECT once.release(%L, %L, %L)', 'job', 'b8', :'token'), 'ON022', NULL, 'B8 raising');
SELECT is(once.try_complete('job', 'b8', :'token')::text, 'missing', 'B8 complete after release');
SELECT is((SELECT state FROM once.describe('job', 'b8')), 'released', 'B14 released');
SELECT is((SELECT verdict::text FROM once.claim('job', 'b8', '{"r": 2}')), 'mismatch', 'C3 another request after release: mismatch');
SELECT is((SELECT verdict || ' ' || attempt FROM once.claim('job', 'b8', '{"r": 1}')), 'new 2', 'B14 the next one is new, the attempts count on');

-- B9
SELECT * FROM once.claim('job', 'b9') \gset
SELECT once.complete('job', 'b9', :'token', '{"a": 1, "b": 2}', 200, '\x01');
SELECT is(once.try_complete('job', 'b9', :'token', '{"b": 2.0, "a": 1}', 200, '\x01')::text, 'already', 'B9 the same answer again');
SELECT lives_ok(format($$ SELECT once.complete('job', 'b9', %L, '{"b": 2.0, "a": 1}', 200, '\x01') $$, :'token'), 'B9 the same answer again, raising form');
SELECT is(once.try_complete('job', 'b9', :'token', r::jsonb, s, b)::text, 'mismatch', 'B9 other ' || what)
    FROM (VALUES ('{"a": 1}', 200, '\x01'::bytea, 'response'), ('{"a": 1, "b": 2}', 201, '\x01', 'status'), ('{"a": 1, "b": 2}', 200, '\x02', 'body'),
                 ('{"a": 1, "b": 2}', 200, NULL, 'body: none'), (NULL, 200, '\x01', 'response: none'), ('{"a": 1, "b": 2}', NULL, '\x01', 'status: none')) v(r, s, b, what);
SELECT throws_ok(format('SELECT once.complete(%L, %L, %L)', 'job', 'b9', :'token'), 'ON021', NULL, 'B9 another answer, raising form');
SELECT is(once.try_fail('job', 'b9', :'token', '1')::text, 'mismatch', 'B9 a failure after the answer');
SELECT is((SELECT response::text || status || body FROM once.claim('job', 'b9')), '{"a": 1, "b": 2}200\x01', 'B9 the first answer stands');

-- B10, B11
BEGIN;
SELECT pg_sleep(0.3);
SELECT is((SELECT lease_left > interval '59.9 s' FROM once.claim('job', 'b11')), true, 'B11 in an old transaction the lease counts from the clock');
SELECT ok((SELECT claimed_at > now() + interval '0.25 s' FROM once.claim_week_0 WHERE key = 'b11'), 'B11 not from its start');
COMMIT;
SET timezone = 'Pacific/Kiritimati';
SELECT is(pg_temp.claim('b11'), 'in_progress 1', 'B10 the database clock counts, whatever the session thinks');
RESET timezone;
SELECT is((SELECT lease_left > interval '59 s' AND lease_left <= interval '60 s' FROM once.claim('job', 'b12')), true, 'B12 no lease given: the scope''s default');

-- B15
SELECT once.scope_set('job', keep => '3 days', keep_failed => '1 h');
SELECT * FROM once.claim('job', 'b15', '1') \gset
SELECT is(once.try_fail('job', 'b15', :'token', '{"code": "declined"}', 402)::text, 'ok', 'B15 a definite failure');
SELECT is(once.try_fail('job', 'b15', :'token', '{"code": "declined"}', 402)::text, 'already', 'B15 told twice');
SELECT is(once.try_fail('job', 'b15', :'token', '{"code": "other"}', 402)::text, 'mismatch', 'B15 told otherwise');
SELECT is(once.try_complete('job', 'b15', :'token', '1')::text, 'mismatch', 'B15 completed after it failed');
SELECT results_eq($$ SELECT verdict::text, status, error, response, token FROM once.claim('job', 'b15', '1') $$,
    $$ VALUES ('failed', 402, '{"code": "declined"}'::jsonb, NULL::jsonb, NULL::uuid) $$, 'B15 the retry gets the stored error');
SELECT pg_temp.age('b15', '59 min');
SELECT is((SELECT verdict::text FROM once.claim('job', 'b15', '1')), 'failed', 'B15 until its own retention ends');
SELECT pg_temp.age('b15', '2 min');
SELECT is((SELECT verdict || ' ' || attempt FROM once.claim('job', 'b15', '2')), 'new 1', 'B15 then the key is free, for any request');

-- B16
SELECT once.scope_set('job', lease => '30 s');
SELECT pg_temp.claim('b16');
SELECT pg_temp.age('b16', '29 s');
SELECT is(pg_temp.claim('b16'), 'in_progress 1', 'B16 record 3 days, lease 30 s: 29 s after the owner died');
SELECT pg_temp.age('b16', '1.5 s');
SELECT is(pg_temp.claim('b16'), 'reclaimed 2', 'B16 free after 30 s');

-- B17
SELECT once.scope_set('job', max_attempts => 3);
SELECT is(pg_temp.claim('b17'), 'new 1', 'B17 run 1');
SELECT pg_temp.age('b17', '31 s');
SELECT * FROM once.claim('job', 'b17') \gset
SELECT is(:'verdict'::text || :'attempt', 'reclaimed2', 'B17 run 2');
SELECT once.release('job', 'b17', :'token');
SELECT is(pg_temp.claim('b17'), 'new 3', 'B17 run 3, after a release: the count survives it');
SELECT pg_temp.age('b17', '31 s');
SELECT is(pg_temp.claim('b17'), 'exhausted 3', 'B17 then exhausted');
SELECT is(pg_temp.claim('b17'), 'exhausted 3', 'B17 and it stays so');
SELECT is((SELECT state FROM once.describe('job', 'b17')), 'exhausted', 'B17 describe says so');
SELECT is((SELECT verdict::text FROM once.claim('job', 'b17', '{"other": 1}')), 'mismatch', 'C2 mismatch comes before exhausted');

-- B19
SELECT * FROM once.claim('job', 'b19') \gset
SELECT pg_temp.age('b19', '1 h');
SELECT is(once.try_complete('job', 'b19', :'token', '"late"')::text, 'ok', 'B19 complete after a lapsed lease that nobody reclaimed');
SELECT is((SELECT response FROM once.claim('job', 'b19')), '"late"', 'B19 and it is replayed');

-- B20
SELECT once.scope_set('job', total_lease => '5 min');
SELECT * FROM once.claim('job', 'b20') \gset
SELECT once.renew('job', 'b20', :'token', '1 h');
SELECT ok((SELECT lease_left <= interval '5 min' FROM once.describe('job', 'b20')), 'B20 a renewal ends at the total limit');
SELECT pg_temp.age('b20', '301 s');
SELECT is(once.try_renew('job', 'b20', :'token', '1 h')::text, 'fenced', 'B20 behind it there is none');
SELECT is(pg_temp.claim('b20'), 'reclaimed 2', 'B20 the claim is free');

-- Settings that change while somebody is at work: what was promised stays, what is decided from here on is decided by them
SELECT once.scope_set('flight', lease => '10 min', total_lease => '1 h', keep => '1 day', max_attempts => 5);
CREATE FUNCTION pg_temp.fly(key text, request jsonb DEFAULT NULL) RETURNS text LANGUAGE sql AS
    $$ SELECT concat_ws(' ', verdict, attempt) FROM once.claim('flight', key, request) $$;
CREATE FUNCTION pg_temp.token(key text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT token FROM once.claim_day_0 c WHERE c.key = token.key);
END $$;
SELECT pg_temp.fly(k) FROM (VALUES ('f1'), ('f2'), ('f3'), ('f4')) v(k);
SELECT once.scope_set('flight', lease => '1 s', total_lease => '5 min');
SELECT pg_temp.age(k, '4 min') FROM (VALUES ('f1'), ('f2')) v(k);
SELECT is(pg_temp.fly('f1'), 'in_progress 1', 'B12 a lease that was given is not shortened by a shorter default');
SELECT is(once.try_renew('flight', 'f1', pg_temp.token('f1'), '1 h')::text, 'ok', 'B20 a shorter total_lease: renewed');
SELECT ok((SELECT lease_left <= interval '1 min' FROM once.describe('flight', 'f1')), 'B20 up to the new limit');
SELECT pg_temp.age('f2', '2 min');
SELECT is(once.try_renew('flight', 'f2', pg_temp.token('f2'), '1 s')::text, 'fenced', 'B20 behind the new limit: fenced');
SELECT is(once.try_complete('flight', 'f2', pg_temp.token('f2'), '"done"')::text, 'ok', 'B20 but it may settle');
SELECT throws_ok($$ SELECT once.claim('flight', 'f5', lease => '6 min') $$, '22023', NULL, 'B20 a new claim obeys the new limit');
SELECT pg_temp.age('f3', '11 min');
SELECT is(pg_temp.fly('f3'), 'reclaimed 2', 'B17 second run');
SELECT pg_temp.age('f3', '11 min');
SELECT once.scope_set('flight', max_attempts => 1);
SELECT is(pg_temp.fly('f3'), 'exhausted 2', 'B17 max_attempts lowered below what was used: exhausted');
SELECT is(once.try_complete('flight', 'f4', pg_temp.token('f4'), '"last"')::text, 'ok', 'B17 who is at work may finish');
SELECT is(once.try_complete('flight', 'f3', pg_temp.token('f3'), '"late"')::text, 'ok', 'B19 also the lapsed owner of an exhausted key: nobody else can have it');
SELECT is(pg_temp.fly('f3'), 'replay 2', 'B19 and it is replayed');
SELECT once.scope_set('flight', max_attempts => 0);
SELECT pg_temp.fly('f6', '1');
SELECT pg_temp.age('f6', '2 min');
SELECT is(pg_temp.fly('f6', '2'), 'mismatch', 'C3 on_mismatch refuse');
SELECT once.scope_set('flight', on_mismatch => 'allow');
SELECT is(pg_temp.fly('f6', '2'), 'reclaimed 1', 'C3 switched to allow: at once');
SELECT once.scope_set('flight', on_mismatch => 'refuse');
SELECT pg_temp.age('f6', '2 min');
SELECT is(pg_temp.fly('f6', '1'), 'mismatch', 'C3 and back');
-- a generation goes between claim and complete
SELECT once.scope_set('flight', keep => '1 s');
SELECT token AS gone FROM once.claim('flight', 'f7') \gset
SELECT pg_temp.age(k, '2 days') FROM (VALUES ('f1'), ('f2'), ('f3'), ('f4'), ('f6'), ('f7')) v(k);
SELECT 'SELECT FROM once.sweep()' FROM generate_series(1, 20) \gexec
SELECT is(once.ring_turn('claim_day'), true, 'D2 another generation takes new claims');
SELECT 'SELECT FROM once.sweep()' FROM generate_series(1, 3) \gexec
UPDATE once.ring SET closed_for = ARRAY(SELECT c + interval '3 days' FROM unnest(closed_for) c) WHERE name = 'claim_day';
SELECT 'SELECT FROM once.sweep()' FROM generate_series(1, 5) \gexec
SELECT is(pg_relation_size('once.claim_day_0'), 0::bigint, 'D3 the one before is truncated');
SELECT is(once.try_complete('flight', 'f7', :'gone')::text, 'missing', 'B4 forgotten between claim and complete: missing');
SELECT throws_ok(format('SELECT once.complete(%L, %L, %L)', 'flight', 'f7', :'gone'), 'ON022', NULL, 'B4 the raising form says so');
SELECT is(pg_temp.fly('f7'), 'new 1', 'D1 and the key is free');
SELECT is(once.try_complete('flight', 'f7', :'gone')::text, 'fenced', 'B3 for its new owner alone');

-- The row that the transaction wrote last is found without the index: it must be the key's, and still there
BEGIN;
SELECT token AS first FROM once.claim('own', 'one') \gset
SELECT token AS second FROM once.claim('own', 'two') \gset
SELECT is(once.try_complete('own', 'one', :'first', '1')::text, 'ok', 'A14 two claims in one transaction: the first is settled after the second');
SELECT is(once.try_complete('own', 'two', :'second', '2')::text, 'ok', 'A14 and the second');
COMMIT;
SELECT is((SELECT string_agg(response::text, ' ' ORDER BY key) FROM (VALUES ('one'), ('two')) k(key), once.claim('own', key)), '1 2', 'A14 each has its own answer');
BEGIN;
SAVEPOINT s;
SELECT token AS lost FROM once.claim('own', 'three') \gset
ROLLBACK TO s;
SELECT is(once.try_complete('own', 'three', :'lost')::text, 'missing', 'H18 its savepoint rolled back: there is nothing to settle');
COMMIT;
BEGIN;
SELECT token AS lost FROM once.claim('own', 'four') \gset
TRUNCATE once.claim_week_0;
SELECT is(once.try_complete('own', 'four', :'lost')::text, 'missing', 'truncated by the transaction itself: missing, no error');
ROLLBACK;

SELECT throws_ok(format('SELECT once.%s', call), '22004', NULL, 'null argument: ' || call)
    FROM (VALUES ($$complete('job', 'b20', NULL)$$), ($$renew('job', 'b20', gen_random_uuid(), NULL)$$)) v(call);
SELECT throws_ok($$ SELECT once.complete('job', 'b20', gen_random_uuid(), keep => '0') $$, '22023', NULL, 'a keep of zero is refused');
SELECT * FROM finish();
