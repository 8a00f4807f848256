-- once.trim and once.rotate: what may be emptied, and when. Generations of 10 rows, three children.
SELECT plan(33);
SELECT once.set_lanes(1, 3, 10) \g /dev/null
CREATE FUNCTION pg_temp.publish(n int) RETURNS void LANGUAGE sql AS $$SELECT once.publish_text('t', g::text, key => 'k') FROM generate_series(1, n) g$$;
CREATE FUNCTION pg_temp.filled() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(',', (SELECT count(*) FROM once.event_0_0), (SELECT count(*) FROM once.event_0_1), (SELECT count(*) FROM once.event_0_2)) $$;
-- A report that has passed everything up to `last`.
CREATE FUNCTION pg_temp.report(last bigint, s_now pg_snapshot DEFAULT pg_current_snapshot(), redrive_no int DEFAULT 0) RETURNS void LANGUAGE sql AS $$
    SELECT once.report(0, incarnation, 'cluster', jsonb_build_object('last_seq', last::text, 's_now', s_now::text, 'redrive_no', redrive_no::text), 0, '{}')
    FROM once.lane $$;

SELECT pg_temp.publish(12) \g /dev/null
SELECT is(pg_temp.filled(), '9,3,0', 'numbers 1 to 9 and 10 to 12');
SELECT is(once.trim(0, '1:1:'), 0, 'I10 a snapshot that sees nothing empties nothing');
SELECT pg_temp.report(9) \g /dev/null
SELECT is(once.trim(0, pg_current_snapshot()), 0, 'I10 the child of the last passed event stays, and the one being written');
SELECT pg_temp.report(12) \g /dev/null
SELECT is(once.trim(0, pg_current_snapshot()), 1, 'P12 the passed child is emptied');
SELECT is(pg_temp.filled(), '0,3,0', 'and no other');
SELECT pg_temp.publish(9) \g /dev/null
SELECT is(pg_temp.filled(), '0,10,2', 'writing goes on, numbers 13 to 21');
SELECT is(once.trim(0, pg_current_snapshot()), 0, 'P12 the child of event 12 stays as long as the report names it');
SELECT pg_temp.report(21) \g /dev/null
SELECT is(once.trim(0, pg_current_snapshot()), 1, 'then it goes');
SELECT pg_temp.publish(30) \g /dev/null
SELECT is(pg_temp.filled(), '10,10,12', 'round and round, nothing is trimmed: 51 is in child 2 again');
SELECT pg_temp.report(51) \g /dev/null
SELECT is(once.trim(0, pg_current_snapshot()), 2, 'both others are emptied');

-- one event that the snapshot does not see keeps its child
SELECT pg_temp.publish(20) \g /dev/null
SELECT pg_current_snapshot() AS middle \gset
BEGIN; SELECT pg_current_xact_id() AS early \gset
SELECT pg_temp.publish(10) \g /dev/null
COMMIT;
SELECT is(pg_temp.filled(), '10,10,22', '80 events');
SELECT pg_temp.report(71, :'middle') \g /dev/null
SELECT is(once.trim(0, :'middle'), 1, 'I10 seen: emptied, not seen: not');
SELECT is(pg_temp.filled(), '0,10,22', 'child 1 holds what is not passed');
-- the same by xip: running in the snapshot, although far below its xmax
SELECT format('%s:%s:%s', :'early', pg_snapshot_xmax(pg_current_snapshot()), :'early') AS running \gset
SELECT pg_temp.publish(18) \g /dev/null
SELECT pg_temp.report(99) \g /dev/null
SELECT is(once.trim(0, :'running'), 0, 'I10 an early xid that the snapshot saw running keeps its children');
SELECT is(once.trim(0, pg_current_snapshot()), 2, 'until it has passed');

-- rotate
SELECT is(pg_temp.filled(), '10,0,0', 'number 99, the last of its generation, stays');
SELECT is(once.rotate(), 0, 'the next number falls into an empty child: no need');
SELECT pg_temp.publish(1) \g /dev/null
SELECT is(once.rotate(0), 1, 'P27 rotate draws the rest of the generation');
SELECT is((SELECT last_value FROM once.event_0_seq), 109::bigint, 'up to its last number');
SELECT is(once.rotate(0), 0, 'P27 twice is once');
SELECT pg_temp.publish(1) \g /dev/null
SELECT is(max(seq), 110::bigint, 'the next event begins the generation') FROM once.event_0;
SELECT is(once.rotate(), 0, 'P27 not into a child that still has rows');
SELECT pg_temp.report(110) \g /dev/null
SELECT is(once.trim(0, pg_current_snapshot()), 2, 'a quiet lane is trimmed');
SELECT is(count(*), 1::bigint, 'but for its last event') FROM once.event_0;
SELECT throws_ok('SELECT once.rotate(7)', '22023', NULL, 'no such lane');

-- dead letters go with their event, when their redrive is covered
SELECT pg_temp.publish(20) \g /dev/null
SELECT once.park(0, seq, 'refused', 'hold_key') FROM once.event_0 WHERE seq IN (111, 112) \g /dev/null
SELECT once.redrive('t', 'k') \g /dev/null
SELECT is(once.redrive_next(0, 1, pg_current_snapshot(), pg_current_snapshot(), NULL, 1, 1000000), 1, 'one of two is stamped');
SELECT pg_temp.report(130, redrive_no => 1) \g /dev/null
SELECT is(count(*), 2::bigint, 'P18 both stand there') FROM once.dead_letter;
SELECT once.trim(0, pg_current_snapshot()) \g /dev/null
SELECT results_eq('SELECT seq FROM once.dead_letter', ARRAY[112::bigint], 'P18 shipped again and trimmed: gone; the other stays');

-- refusals
SELECT throws_ok('SELECT once.trim(7, pg_current_snapshot())', '22023', NULL, 'no such lane');
SELECT throws_ok('SELECT once.trim(NULL, pg_current_snapshot())', '22004', NULL, 'null lane');
SELECT throws_ok('SELECT once.trim(0, NULL)', '22004', NULL, 'null snapshot');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT throws_ok('SELECT once.trim(0, pg_current_snapshot())', '25001', NULL, 'P23 not under an old snapshot');
ROLLBACK;
BEGIN READ ONLY;
SELECT throws_ok('SELECT once.rotate(0)', '25006', NULL, 'H17 read only');
ROLLBACK;
SELECT finish();
