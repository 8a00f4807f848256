-- Retention: expiry on read, rings that all scopes share, generations that are truncated whole (cases D1 to D3). Time passes
-- by moving the stored times back.
SELECT plan(79);
SET client_min_messages = warning;

CREATE TEMP TABLE claim_table AS SELECT oid::regclass AS name FROM pg_class
    WHERE relnamespace = 'once'::regnamespace AND relkind = 'r' AND relname ~ '^claim_[a-z]+_[0-3]$';
SELECT is((SELECT count(*) FROM claim_table), 24::bigint, 'six rings of four tables, whatever scopes there are');
CREATE FUNCTION pg_temp.age(key text, past interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE child regclass; BEGIN
    FOR child IN SELECT name FROM claim_table LOOP
        EXECUTE format('UPDATE %s c SET claimed_at = claimed_at - $2, lease_until = lease_until - $2, settled_at = settled_at - $2 WHERE c.key = $1', child)
            USING age.key, past;
    END LOOP;
END $$;
CREATE FUNCTION pg_temp.answer(scope text, key text, keep interval DEFAULT NULL) RETURNS void LANGUAGE sql AS
    $$ SELECT once.complete(scope, key, c.token, to_jsonb(key), keep => keep) FROM once.claim(scope, key) c $$;
CREATE FUNCTION pg_temp.claim(scope text, key text) RETURNS text LANGUAGE sql AS $$ SELECT verdict::text FROM once.claim(scope, key) $$;
CREATE FUNCTION pg_temp.home(key text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE child regclass; found text[] := '{}'; n int; BEGIN
    FOR child IN SELECT name FROM claim_table ORDER BY name::text LOOP
        EXECUTE format('SELECT count(*) FROM %s c WHERE c.key = $1', child) USING key INTO n;
        found := found || array_fill(replace(child::text, 'once.', ''), ARRAY[n]);
    END LOOP;
    RETURN array_to_string(found, ' ');
END $$;
-- Each step of a sweep relies on what was committed before.
CREATE PROCEDURE pg_temp.sweep() LANGUAGE plpgsql AS $$ BEGIN
    COMMIT;
    WHILE EXISTS (SELECT FROM once.sweep()) LOOP
        COMMIT;
    END LOOP;
END $$;
CREATE PROCEDURE pg_temp.turn(ring text) LANGUAGE plpgsql AS $$ BEGIN
    COMMIT;
    IF NOT once.ring_turn(ring) THEN RAISE 'no handover of %', ring; END IF;
    CALL pg_temp.sweep();
END $$;
CREATE FUNCTION pg_temp.ring_ages(ring text, by interval) RETURNS void LANGUAGE sql AS $$
    UPDATE once.ring r SET opened_at = opened_at - by, open_for = open_for + by,
        closed_at = ARRAY(SELECT c - by FROM unnest(closed_at) c), closed_for = ARRAY(SELECT c + by FROM unnest(closed_for) c) WHERE r.name = $1 $$;
CALL pg_temp.sweep();

-- D1, D2
SELECT pg_temp.answer('week', 'd1');
SELECT pg_temp.age('d1', '6 days 23 h');
SELECT is(pg_temp.claim('week', 'd1'), 'replay', 'D1 the record''s time is not over');
SELECT pg_temp.age('d1', '2 h');
SELECT is((SELECT state FROM once.describe('week', 'd1')), 'missing', 'D1 its time is over, no sweep: describe');
SELECT is(once.try_complete('week', 'd1', (SELECT token FROM once.claim_week_0 WHERE key = 'd1'))::text, 'missing', 'D1 no sweep: settle');
SELECT is(pg_temp.claim('week', 'd1'), 'new', 'D1 no sweep: new');

SELECT once.scope_set('day', keep => '7 days');
SELECT pg_temp.answer('day', 'd2');
SELECT pg_temp.age('d2', '25 h');
CALL pg_temp.sweep();
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

-- the class: the shortest that, with a day more, holds what is kept after the last renewal
SELECT is(once.claim_class(longest::interval), class::smallint, 'D2 ' || longest || ' after it was written: class ' || class)
    FROM (VALUES ('1 s', 0), ('48 h', 0), ('48 h 1 us', 1), ('8 days', 1), ('8 days 1 us', 2), ('32 days', 2), ('93 days', 3), ('367 days', 4), ('1000 years', 5)) v(longest, class);
SELECT once.scope_set(name, keep => keep::interval, keep_failed => failed::interval, total_lease => total::interval)
    FROM (VALUES ('c day', '1 h', NULL, NULL), ('c week', '1 h', '2 days', NULL), ('c month', '10 days', NULL, NULL), ('c quarter', '31 days', NULL, '2 days'),
                 ('c year', '366 days', NULL, '1 day'), ('c forever', '100 years', NULL, NULL)) v(name, keep, failed, total);
SELECT pg_temp.answer(name, name) FROM once.scope WHERE name LIKE 'c %';
SELECT is(pg_temp.home(name), 'claim_' || substr(name, 3) || '_0', 'D2 claims of scope ' || name) FROM once.scope WHERE name LIKE 'c %';
SELECT is(pg_temp.claim(name, name), 'replay', 'D2 known there: ' || name) FROM once.scope WHERE name LIKE 'c %';

-- generations
SELECT once.scope_set('gen', keep => '1 h');
SELECT pg_temp.answer('gen', k) FROM (VALUES ('g1'), ('g2'), ('g3'), ('g4'), ('g5')) v(k);
SELECT * FROM once.claim('gen', 'open') \gset
CALL pg_temp.turn('claim_day');
SELECT pg_temp.answer('gen', 'second');
SELECT is(pg_temp.home('second'), 'claim_day_1', 'D2 new keys go to the new generation');
SELECT is(pg_temp.claim('gen', 'g1'), 'replay', 'D2 keys of the previous one are known');
SELECT is(pg_temp.home('g1'), 'claim_day_0', 'D2 and stay where they are');
SELECT once.complete('gen', 'open', :'token', '1');
SELECT is(pg_temp.home('open'), 'claim_day_1', 'D2 what is written moves along, and is there once');
SELECT is(pg_temp.claim('gen', 'open'), 'replay', 'D2 and is known');
SELECT pg_temp.age(k, '61 min') FROM (VALUES ('g1'), ('g2'), ('g3'), ('g4')) v(k);
SELECT is(pg_temp.claim('gen', 'g2'), 'new', 'D1 expired in an old generation: new');
SELECT is(pg_temp.home('g2'), 'claim_day_1', 'D1 and there once, in the present one');
SELECT pg_temp.ring_ages('claim_day', '47 h');
CALL pg_temp.sweep();
SELECT is(pg_temp.claim('gen', 'g5'), 'replay', 'D2 a generation is kept for its class and a day');
SELECT pg_temp.ring_ages('claim_day', '61 min');
CALL pg_temp.sweep();
SELECT is(pg_relation_size('once.claim_day_0'), 0::bigint, 'D3 then the storage is given back, and no row is looked at');
SELECT is(pg_temp.claim('gen', 'second') || pg_temp.claim('gen', 'g2'), 'replayin_progress', 'D3 the present one is untouched');
SELECT is(once.ring_turn('claim_week') AND pg_temp.claim('week', 'd1') = 'in_progress', true, 'D4 while a handover is under way, too');
SELECT throws_ok($$ SELECT once.ring_turn('claim_forever') $$, '22023', NULL, 'D2 what is kept for ever is never handed over');

-- a scope's class changes: everything it claimed is known, what is written goes to the new ring
SELECT pg_temp.answer('late', 'l1');
SELECT * FROM once.claim('late', 'l2') \gset
SELECT is(pg_temp.home('l1'), 'claim_week_1', 'an undeclared scope keeps for a week');
SELECT once.scope_set('late', keep => '90 days');
SELECT is(pg_temp.claim('late', 'l1'), 'replay', 'another class: what it knew is known');
SELECT is(pg_temp.home('l1'), 'claim_week_1', 'and stays where it is');
SELECT is(once.try_complete('late', 'l2', :'token')::text, 'ok', 'what is under way goes on');
SELECT is(pg_temp.home('l2'), 'claim_quarter_0', 'in the new ring');
SELECT once.scope_set('late', keep => '1 h');
SELECT pg_temp.answer('late', 'l3');
SELECT is(pg_temp.home('l3'), 'claim_day_2', 'and another');
SELECT is(pg_temp.claim('late', 'l1') || pg_temp.claim('late', 'l2') || pg_temp.claim('late', 'l3'), 'replayreplayreplay', 'all three are looked into');
SELECT is(once.scope_drop('late'), true, 'dropped');
SELECT is(once.scope_drop('late'), false, 'it was declared once');
SELECT is(pg_temp.claim('late', 'l1') || pg_temp.claim('late', 'l2') || pg_temp.claim('late', 'l3'), 'replayreplayreplay', 'no id goes with the settings');
SELECT pg_temp.answer('late', 'l4');
SELECT is(pg_temp.home('l4'), 'claim_week_1', 'and it keeps as an undeclared one');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT lives_ok($$ SELECT once.scope_set('rr') $$, 'H16 the first scope_set under any isolation level');
ROLLBACK;
BEGIN;
SELECT once.scope_set('undone', lease => '5 s', keep => '1 h');
SELECT is((SELECT lease_left <= interval '5 s' FROM once.claim('undone', 'k')), true, 'a scope set in this transaction counts at once');
SELECT is(pg_temp.home('k'), 'claim_week_1', 'but others know only of its ring before, and so it writes there');
SELECT once.scope_set('undone', keep => '90 days');
SELECT is((SELECT c.verdict || ' ' || state FROM once.claim('undone', 'k') c, once.describe('undone', 'k')), 'in_progress in_progress', 'and looks everywhere');
ROLLBACK;
SELECT is((SELECT lease_left > interval '5 s' FROM once.claim('undone', 'k')), true, 'rolled back, it does not');

-- settings are checked
SELECT throws_ok('SELECT once.scope_set(' || arguments || ')', '22023', NULL, 'scope_set refuses ' || arguments)
    FROM (VALUES ($$''$$), ($$'s', lease => '0'$$), ($$'s', keep => '-1 h'$$), ($$'s', total_lease => '1001 years'$$), ($$'s', max_attempts => -1$$), ($$'s', on_mismatch => 'ignore'$$),
                 ($$'s', lease => '1 h', total_lease => '1 min'$$)) v(arguments);
SELECT is((SELECT count(*) FROM once.scope WHERE name = 's'), 0::bigint, 'nothing of it is stored');

-- BE7, BE10: what a session remembers of a scope rests on no trigger
SELECT once.scope_set('told', max_attempts => 1);
SELECT is((SELECT lease_left > interval '59 s' FROM once.claim('told', 'k')), true, 'BE7 a session has met the scope');
SET session_replication_role = replica;
UPDATE once.scope SET lease = '5 s' WHERE name = 'told';
RESET session_replication_role;
SELECT is((SELECT lease_left <= interval '5 s' FROM once.claim('told', 'k2')), true, 'BE7 a change past every trigger is known at once');
CREATE TEMP TABLE kept_scope AS SELECT * FROM once.scope WHERE name = 'told';
SET session_replication_role = replica;
DELETE FROM once.scope WHERE name = 'told';
SELECT is((SELECT lease_left > interval '59 s' FROM once.claim('told', 'k3')), true, 'BE10 so is its row''s end');
INSERT INTO once.scope SELECT * FROM kept_scope;
RESET session_replication_role;
SELECT is((SELECT lease_left <= interval '5 s' FROM once.claim('told', 'k4')), true, 'BE10 and its return');
-- a table that has rows is looked into, whatever its state says (a restore by hand)
INSERT INTO once.claim_week_3 SELECT owner, now(), now() + interval '1 h', NULL, NULL, gen_random_uuid(), 1, NULL, 'c', 'restored', 'week' FROM once.claim_week_0 WHERE scope = 'week' LIMIT 1;
SELECT is(pg_temp.claim('week', 'restored'), 'in_progress', 'BE10 a row that a restore has put into a free table');

-- D3: 2 million records, 1 million of them expired
SELECT once.scope_set('mass', keep => '1 h');
SELECT format('ALTER TABLE once.claim_day_%s SET (autovacuum_enabled = off)', generation) FROM generate_series(2, 3) generation \gexec
SELECT pg_temp.claim('mass', 'owner');
SELECT owner FROM once.claim_day_2 WHERE key = 'owner' \gset
SELECT format($$ INSERT INTO once.claim_day_%s SELECT %s, now() - %L::interval, now() - %L::interval, now() - %L::interval, NULL, gen_random_uuid(), 1, 200, 'd', 'key' || to_char(g, 'FM0000000'), 'mass',
    '\x01', NULL, '{"id": 1}' FROM generate_series(%s, %s) g $$, slot, :'owner', age, age, age, first, first + 999999) AS fill
    FROM (VALUES (2, '2 h', 1)) v(slot, age, first) \gexec
CALL pg_temp.turn('claim_day');
SELECT format($$ INSERT INTO once.claim_day_%s SELECT %s, now() - %L::interval, now() - %L::interval, now() - %L::interval, NULL, gen_random_uuid(), 1, 200, 'd', 'key' || to_char(g, 'FM0000000'), 'mass',
    '\x01', NULL, '{"id": 1}' FROM generate_series(%s, %s) g $$, slot, :'owner', age, age, age, first, first + 999999) AS fill
    FROM (VALUES (3, '1 min', 1000001)) v(slot, age, first) \gexec
SELECT is(pg_temp.claim('mass', 'key0000001'), 'new', 'D3 an expired key is new');
SELECT pg_temp.ring_ages('claim_day', '48 h 1 s');
SELECT pg_current_wal_insert_lsn() AS wal, pg_relation_size('once.claim_day_2') AS size, clock_timestamp() AS started \gset
CALL pg_temp.sweep();
SELECT pg_current_wal_insert_lsn() - :'wal' AS wal, extract(epoch FROM clock_timestamp() - :'started'::timestamptz) AS took \gset
SELECT is(pg_relation_size('once.claim_day_2'), 0::bigint, 'D3 1,000,000 of 2,000,000 records: the size falls');
SELECT cmp_ok(:'wal'::numeric, '<', 1048576::numeric, 'D3 WAL below 1 MB');
SELECT is(pg_temp.claim('mass', 'key2000000'), 'mismatch', 'D3 a younger one is known');
SELECT diag(format('D3: %s bytes of WAL, %s s, table of %s', :'wal', :'took', pg_size_pretty(:'size'::bigint)));
SELECT * FROM finish();
