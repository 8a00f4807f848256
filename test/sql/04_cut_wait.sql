-- once.cut, once.wait, once.identity, once.history_check, once.missing_ids: what the relay reads.
SELECT plan(45);
CREATE TEMP TABLE held (name text PRIMARY KEY, snapshot pg_snapshot);

-- cut
SELECT results_eq('SELECT timeline, seq FROM once.cut(0)', 'VALUES (1, 0::bigint)', 'an unused lane');
SELECT once.publish_text('t', g::text, key => 'k') FROM generate_series(1, 3) g \g /dev/null
INSERT INTO held SELECT 'cut', snapshot FROM once.cut(0);
SELECT is((SELECT seq FROM once.cut(0)), 3::bigint, 'the last number drawn before');
SELECT ok(bool_and(pg_visible_in_snapshot(xid, snapshot)), 'what is committed is seen') FROM once.event_0, held;
BEGIN;
SELECT once.publish_text('t', 'own') \g /dev/null
SELECT ok(NOT pg_visible_in_snapshot(pg_current_xact_id(), snapshot), 'what is open is not seen') FROM once.cut(0);
ROLLBACK;
SELECT ok(lsn <= pg_current_wal_flush_lsn(), 'P21 everything it sees is flushed') FROM once.cut(0);
SET synchronous_commit = off;
SELECT once.publish_text('t', 'async') \g /dev/null
SELECT ok(c.lsn <= pg_current_wal_flush_lsn(), 'P21 also what did not wait for it') FROM once.cut(0) c;
RESET synchronous_commit;
SELECT throws_ok('SELECT once.cut(7)', '22023', NULL, 'no such lane');
SELECT throws_ok('SELECT once.cut(NULL)', '22004', NULL, 'null lane');

-- P30: a record ends exactly on the boundary of a page, or of a segment, whose header is longer. Padding is written until
-- one does; the cut must not fail there.
CREATE FUNCTION pg_temp.fill(size bigint, header int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE room bigint;
BEGIN
    FOR i IN 1 .. 200 LOOP
        room := size - (pg_current_wal_insert_lsn() - '0/0') % size;
        -- A message: record header 24, data header 5 (above 255 bytes), its own header 24, an empty prefix 1, the text.
        IF room BETWEEN 400 AND 4000 THEN
            PERFORM pg_logical_emit_message(false, '', repeat('x', (room - 24 - 5 - 24 - 1)::int));
            IF (pg_current_wal_insert_lsn() - '0/0') % size = header THEN
                RETURN true;
            END IF;
        ELSE
            PERFORM pg_logical_emit_message(false, '', repeat('x', least(greatest(room - 5000, 1000), 1000000)::int));
        END IF;
    END LOOP;
    RETURN false;
END $$;
BEGIN;
SELECT ok(pg_temp.fill(8192, 24), 'P30 WAL ends on a page boundary');
SELECT ok(lsn % 8192 = 0, 'P30 and the cut stands at it') FROM (SELECT (lsn - '0/0') AS lsn FROM once.cut(0)) c;
SELECT ok(pg_temp.fill(pg_size_bytes(current_setting('wal_segment_size')), 40), 'P30 WAL ends on a segment boundary');
SELECT ok(lsn % pg_size_bytes(current_setting('wal_segment_size')) = 0, 'P30 and the cut stands at it')
    FROM (SELECT (lsn - '0/0') AS lsn FROM once.cut(0)) c;
COMMIT;

-- wait
SELECT ok(NOT once.wait(0, (SELECT snapshot FROM once.cut(0)), 20), 'nothing new');
SELECT ok(once.wait(0, snapshot, 1000), 'something is visible that was not') FROM held;
SELECT ok(once.wait(0, '1:1:', 1000), 'from the beginning');
INSERT INTO held SELECT 'rolled', snapshot FROM once.cut(0);
BEGIN; SELECT once.publish_text('t', 'p') FROM generate_series(1, 1000) \g /dev/null
ROLLBACK;
BEGIN; SAVEPOINT s; SELECT once.publish_text('t', 'p') \g /dev/null
ROLLBACK TO s; COMMIT;
SELECT ok(NOT once.wait(0, snapshot, 20), 'P1 what was rolled back is no work') FROM held WHERE name = 'rolled';
BEGIN; SAVEPOINT s; SELECT once.publish_text('t', 'p') \g /dev/null
ROLLBACK TO s; SELECT once.publish_text('t', 'p') \g /dev/null
COMMIT;
SELECT ok(once.wait(0, snapshot, 1000), 'what stayed beside it is') FROM held WHERE name = 'rolled';
SELECT throws_ok('SELECT once.wait(7, pg_current_snapshot(), 1)', '22023', NULL, 'no such lane');
SELECT throws_ok('SELECT once.wait(0, NULL, 1)', '22004', NULL, 'no snapshot');
SELECT throws_ok('SELECT once.wait(0, pg_current_snapshot(), NULL)', '22004', NULL, 'no timeout');
SELECT throws_ok('SELECT once.wait(0, pg_current_snapshot(), -1)', '22023', NULL, 'a negative timeout');

-- identity
SELECT ok(i.incarnation = l.incarnation AND NOT i.armed AND i.cluster_id IS NULL AND i.mode IS NULL AND i.redrive_floor = 0, 'the lane')
    FROM once.identity(0) i, once.lane l;
SELECT is(system_identifier, (SELECT system_identifier FROM pg_control_system()), 'the server') FROM once.identity(0);
SELECT is(database_oid, (SELECT oid FROM pg_database WHERE datname = current_database()), 'the database') FROM once.identity(0);
SELECT ok(timeline = 1 AND NOT in_recovery AND encoding = 'UTF8' AND report IS NULL AND offset_hint IS NULL, 'the rest') FROM once.identity(0);
SELECT ok(next_xid >= pg_snapshot_xmax(pg_current_snapshot()), 'the next transaction') FROM once.identity(0);
SELECT throws_ok('SELECT once.identity(7)', '22023', NULL, 'no such lane');

-- history: each rule has a position that breaks it alone
CREATE TEMP TABLE good AS
    SELECT i.incarnation, i.database_oid, i.system_identifier, i.timeline, c.lsn, c.snapshot AS s_now, e.seq AS last_seq, e.id AS last_id
    FROM once.identity(0) i, once.cut(0) c, (SELECT seq, id FROM once.event_0 ORDER BY seq DESC LIMIT 1) e;
CREATE FUNCTION pg_temp.judge(g good) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN ok THEN 'ok' ELSE reason END FROM once.history_check(0, (g).incarnation, (g).database_oid, (g).system_identifier,
        (g).timeline, (g).lsn, (g).s_now, (g).last_seq, (g).last_id) $$;
CREATE FUNCTION pg_temp.but(column_name text, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE g good;
BEGIN
    SELECT * INTO g FROM good;
    g := jsonb_populate_record(g, jsonb_build_object(column_name, value));
    RETURN pg_temp.judge(g);
END $$;
SELECT is(pg_temp.judge(g), 'ok', 'P12 its own history') FROM good g;
SELECT is(pg_temp.but('last_seq', NULL), 'ok', 'P12 nothing passed yet');
SELECT is(pg_temp.but('incarnation', gen_random_uuid()::text), 'incarnation', 'P13 another incarnation');
SELECT is(pg_temp.but('database_oid', '1'), 'database', 'P13 a copy by TEMPLATE');
SELECT is(pg_temp.but('system_identifier', '1'), 'system', 'P13 another server');
SELECT is(pg_temp.but('s_now', '1000000:1000000:'), 'xid', 'P13 an older image of the disk');
SELECT is(pg_temp.but('last_id', gen_random_uuid()::text), 'event', 'P11 that number is another event');
SELECT is(pg_temp.but('last_seq', '1000000'), 'event', 'P11 that event is lost');
SELECT is(pg_temp.but('timeline', '2'), 'timeline', 'P29 a newer timeline');
SELECT is(pg_temp.but('lsn', 'FFFF/0'), 'lsn', 'P11 WAL that is not here');
SELECT is(pg_temp.but('lsn', '0/0'), 'ok', 'P12 older WAL');
SELECT ok(bool_and(detail IS NOT NULL), 'a refusal says why') FROM good g,
    once.history_check(0, gen_random_uuid(), g.database_oid, g.system_identifier, g.timeline, g.lsn, g.s_now, g.last_seq, g.last_id);

-- missing ids
SELECT once.park(0, 1, 'refused', 'skip') \g /dev/null
SELECT id AS parked FROM once.dead_letter \gset
SELECT id AS present FROM once.event_0 WHERE seq = 2 \gset
SELECT is(once.missing_ids(0, ARRAY['00000000-0000-4000-8000-000000000002', :'parked', :'present', '00000000-0000-4000-8000-000000000001']::uuid[]),
          ARRAY['00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000001']::uuid[], 'P11 those that nobody has, in order');
TRUNCATE once.event_0_0;
SELECT is(once.missing_ids(0, ARRAY[:'parked', :'present']::uuid[]), ARRAY[:'present']::uuid[], 'P11 a parked one is not missing');
SELECT is(once.missing_ids(0, '{}'), '{}', 'none of none');
SELECT is(once.missing_ids(0, NULL), '{}', 'none of null');
SELECT throws_ok('SELECT once.missing_ids(7, NULL)', '22023', NULL, 'no such lane');
SELECT ok((SELECT oldest > 0 AND newest >= oldest FROM once.protocol()), 'the handshake');
SELECT finish();
