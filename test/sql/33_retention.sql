-- Retention: expiry on read, generations that are truncated whole (cases D1 to D3). Time passes by moving the
-- stored times back.
SELECT plan(47);
SET client_min_messages = warning;

CREATE FUNCTION pg_temp.age(key text, past interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE child regclass; BEGIN
    FOR child IN SELECT oid FROM pg_class WHERE relnamespace = 'once'::regnamespace AND relkind = 'r' AND relname LIKE 'claim\_%' LOOP
        EXECUTE format('UPDATE %s c SET claimed_at = claimed_at - $2, lease_until = lease_until - $2, settled_at = settled_at - $2 WHERE c.key = $1', child)
            USING age.key, past;
    END LOOP;
END $$;
CREATE FUNCTION pg_temp.answer(scope text, key text, keep interval DEFAULT NULL) RETURNS void LANGUAGE sql AS
    $$ SELECT once.complete(scope, key, c.token, to_jsonb(key), keep => keep) FROM once.claim(scope, key) c $$;
CREATE FUNCTION pg_temp.claim(scope text, key text) RETURNS text LANGUAGE sql AS $$ SELECT verdict::text FROM once.claim(scope, key) $$;
CREATE FUNCTION pg_temp.home(key text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE child regclass; found text[] := '{}'; n int; BEGIN
    FOR child IN SELECT oid FROM pg_class WHERE relnamespace = 'once'::regnamespace AND relkind = 'r' AND relname LIKE 'claim\_%' ORDER BY relname LOOP
        EXECUTE format('SELECT count(*) FROM %s c WHERE c.key = $1', child) USING key INTO n;
        found := found || array_fill(replace(child::text, 'once.', ''), ARRAY[n]);
    END LOOP;
    RETURN array_to_string(found, ' ');
END $$;

-- D1, D2
SELECT pg_temp.answer('week', 'd1');
SELECT pg_temp.age('d1', '6 days 23 h');
SELECT is(pg_temp.claim('week', 'd1'), 'replay', 'D1 the record''s time is not over');
SELECT pg_temp.age('d1', '2 h');
SELECT is((SELECT state FROM once.describe('week', 'd1')), 'missing', 'D1 its time is over, no sweep: describe');
SELECT is(once.try_complete('week', 'd1', (SELECT token FROM once.claim_0_0 WHERE key = 'd1'))::text, 'missing', 'D1 no sweep: settle');
SELECT is(pg_temp.claim('week', 'd1'), 'new', 'D1 no sweep: new');

SELECT once.scope_set('day', keep => '7 days');
SELECT pg_temp.answer('day', 'd2');
SELECT pg_temp.age('d2', '25 h');
SELECT count(*) AS swept FROM once.scope_sweep() \gset
SELECT is(pg_temp.claim('day', 'd2'), 'replay', 'D2 keep 7 days, age 25 h, swept: still replay');

-- a call's own keep shortens and never lengthens
SELECT pg_temp.answer('day', 'short', '1 h');
SELECT pg_temp.answer('day', 'long', '30 days');
SELECT pg_temp.age(k, '2 h') FROM (VALUES ('short'), ('long')) v(k);
SELECT is(pg_temp.claim('day', 'short'), 'new', 'D1 its own keep is shorter: it counts');
SELECT is(pg_temp.claim('day', 'long'), 'replay', 'D1 its own keep is longer: in time');
SELECT pg_temp.age('long', '7 days');
SELECT is(pg_temp.claim('day', 'long'), 'new', 'D1 its own keep is longer: the scope''s counts');
SELECT once.scope_set('day', keep => '1 h');
SELECT is(pg_temp.claim('day', 'd2'), 'new', 'D1 a scope that keeps less forgets at once');

-- a live claim does not expire, however short the keep
SELECT once.scope_set('brief', keep => '1 s', lease => '1 h');
SELECT pg_temp.claim('brief', 'live');
SELECT pg_temp.age('live', '30 min');
SELECT is(pg_temp.claim('brief', 'live'), 'in_progress', 'D1 a claim in progress outlives a shorter keep');
SELECT pg_temp.age('live', '30 min 0.5 s');
SELECT is(pg_temp.claim('brief', 'live'), 'reclaimed', 'D1 lapsed, its record still known');
SELECT pg_temp.age('live', '61 min 2 s');
SELECT is((SELECT verdict || ' ' || attempt FROM once.claim('brief', 'live')), 'new 1', 'D1 lapsed for longer than keep: forgotten');

-- generations
SELECT once.scope_set('gen', keep => '1 h');
SELECT pg_temp.answer('gen', k) FROM (VALUES ('g1'), ('g2'), ('g3'), ('g4'), ('g5')) v(k);
SELECT * FROM once.claim('gen', 'open') \gset
SELECT is((SELECT count(*) FROM once.scope_sweep('gen')), 0::bigint, 'D2 nothing is due: nothing is swept');
UPDATE once.scope SET opened_at = opened_at - interval '31 min' WHERE name = 'gen';
SELECT results_eq($$ SELECT * FROM once.scope_sweep('gen') $$, $$ VALUES ('gen', 0, true) $$, 'D2 half of what is kept has passed: the next generation opens');
SELECT is((SELECT count(*) FROM once.scope_sweep('gen')), 0::bigint, 'D2 only once');
SELECT store FROM once.scope WHERE name = 'gen' \gset
SELECT pg_temp.answer('gen', 'second');
SELECT is(pg_temp.home('second'), format('claim_%s_1', :'store'), 'D2 new keys go to the new generation');
SELECT is(pg_temp.claim('gen', 'g1'), 'replay', 'D2 keys of the previous one are known');
SELECT is(pg_temp.home('g1'), format('claim_%s_0', :'store'), 'D2 and stay where they are');
SELECT once.complete('gen', 'open', :'token', '1');
SELECT is(pg_temp.home('open'), format('claim_%s_1', :'store'), 'D2 what is written moves along, and is there once');
SELECT is(pg_temp.claim('gen', 'open'), 'replay', 'D2 and is known');
SELECT pg_temp.age(k, '61 min') FROM (VALUES ('g1'), ('g2'), ('g3'), ('g4')) v(k);
SELECT is(pg_temp.claim('gen', 'g2'), 'new', 'D1 expired in an old generation: new');
SELECT is(pg_temp.home('g2'), format('claim_%s_1', :'store'), 'D1 and there once, in the present one');
SELECT is((SELECT count(*) FROM once.scope_sweep('gen')), 0::bigint, 'D2 one of the old generation is still known: nothing is truncated');
SELECT is(pg_temp.claim('gen', 'g5'), 'replay', 'D2 and it is still known');
SELECT pg_temp.age('g5', '61 min');
SELECT results_eq($$ SELECT * FROM once.scope_sweep('gen') $$, $$ VALUES ('gen', 1, false) $$, 'D3 all of it has expired: truncated');
SELECT is(pg_relation_size(format('once.claim_%s_0', :'store')), 0::bigint, 'D3 the storage is given back');
SELECT is(pg_temp.claim('gen', 'second') || pg_temp.claim('gen', 'g2'), 'replayin_progress', 'D3 the present one is untouched');

-- declared after its first claims: they move along
SELECT pg_temp.answer('late', 'l1');
SELECT * FROM once.claim('late', 'l2') \gset
SELECT is(pg_temp.home('l1'), 'claim_0_0', 'an undeclared scope is in the common store');
SELECT once.scope_set('late', keep => '1 day');
SELECT matches(pg_temp.home('l1') || ' ' || pg_temp.home('l2'), '^claim_[1-9]\d*_0 claim_[1-9]\d*_0$', 'declared, it has its own');
SELECT is(pg_temp.claim('late', 'l1'), 'replay', 'with what it knew');
SELECT is(once.try_complete('late', 'l2', :'token')::text, 'ok', 'and what is under way');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT throws_ok($$ SELECT once.scope_set('rr') $$, '25001', NULL, 'H16 the first scope_set wants READ COMMITTED');
ROLLBACK;
BEGIN;
SELECT once.scope_set('undone', lease => '5 s');
SELECT is((SELECT lease_left <= interval '5 s' FROM once.claim('undone', 'k')), true, 'a scope set in this transaction counts at once');
ROLLBACK;
SELECT is((SELECT lease_left > interval '5 s' FROM once.claim('undone', 'k')), true, 'rolled back, it does not');

-- settings are checked
SELECT throws_ok('SELECT once.scope_set(' || arguments || ')', '22023', NULL, 'scope_set refuses ' || arguments)
    FROM (VALUES ($$''$$), ($$'s', lease => '0'$$), ($$'s', keep => '-1 h'$$), ($$'s', total_lease => '1001 years'$$), ($$'s', max_attempts => -1$$), ($$'s', on_mismatch => 'ignore'$$),
                 ($$'s', lease => '1 h', total_lease => '1 min'$$)) v(arguments);
SELECT is((SELECT count(*) FROM once.scope WHERE name = 's'), 0::bigint, 'nothing of it is stored');

-- D3: 2 million records, 1 million of them expired
SELECT once.scope_set('mass', keep => '1 h');
SELECT store FROM once.scope WHERE name = 'mass' \gset
-- the sweep waits for nobody, and autovacuum comes by where a million rows came in
SELECT format('ALTER TABLE once.claim_%s_%s SET (autovacuum_enabled = off)', :'store', generation) FROM generate_series(0, 1) generation \gexec
SELECT format($$ INSERT INTO once.claim_%s_%s SELECT now() - %L::interval, now() - %L::interval, now() - %L::interval, NULL, gen_random_uuid(), 1, 200, 'd', 'key' || to_char(g, 'FM0000000'), 'mass',
    '\x01', NULL, '{"id": 1}' FROM generate_series(%s, %s) g $$, :'store', generation, age, age, age, first, first + 999999) AS fill
    FROM (VALUES (0, '2 h', 1), (1, '1 min', 1000001)) v(generation, age, first) \gexec
UPDATE once.scope SET generation = 1 WHERE name = 'mass';
CREATE EXTENSION dblink;
SELECT pg_current_wal_insert_lsn() AS wal, pg_relation_size(format('once.claim_%s_0', :'store')) AS size, clock_timestamp() AS started \gset
SELECT truncated AS truncated FROM once.scope_sweep('mass') \gset
SELECT pg_current_wal_insert_lsn() - :'wal' AS wal, extract(epoch FROM clock_timestamp() - :'started'::timestamptz) AS took \gset
SELECT is(:'truncated'::int, 1, 'D3 1,000,000 of 2,000,000 records: one truncation');
SELECT cmp_ok(:'wal'::numeric, '<', 1048576::numeric, 'D3 WAL below 1 MB');
SELECT is(pg_relation_size(format('once.claim_%s_0', :'store')), 0::bigint, 'D3 the size falls');
SELECT is(pg_temp.claim('mass', 'key0000001'), 'new', 'D3 an expired key is new');
SELECT is(pg_temp.claim('mass', 'key2000000'), 'mismatch', 'D3 a younger one is known');
SELECT diag(format('D3: %s bytes of WAL, %s s, table of %s', :'wal', :'took', pg_size_pretty(:'size'::bigint)));
SELECT * FROM finish();
