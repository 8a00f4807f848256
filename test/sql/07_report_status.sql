-- once.report, once.rearm, once.status, once.lane_lock.
SELECT plan(42);
SELECT incarnation FROM once.lane \gset
CREATE FUNCTION pg_temp.report(incarnation uuid, cluster text, record jsonb) RETURNS void LANGUAGE sql AS
    $$SELECT once.report(0, $1, $2, $3, 42, '{"events": 1}')$$;

SELECT throws_ok($$SELECT pg_temp.report(gen_random_uuid(), 'c', '{}')$$, 'ON040', NULL, 'P13 another incarnation');
SELECT throws_ok(format('SELECT pg_temp.report(%L, NULL, %L)', :'incarnation', '{}'), '22004', NULL, 'no cluster');
SELECT throws_ok($$SELECT once.report(7, gen_random_uuid(), 'c', '{}', 0, '{}')$$, '22023', NULL, 'no such lane');
SELECT ok(NOT armed AND cluster_id IS NULL, 'P28 not armed by what was refused') FROM once.lane;
SELECT lives_ok(format('SELECT pg_temp.report(%L, %L, %L)', :'incarnation', 'c', '{"last_seq": null}'), 'P28 the genesis');
SELECT ok(armed AND cluster_id = 'c', 'P28 arms the lane') FROM once.identity(0);
SELECT is(offset_hint, 42::bigint, 'the hint comes back') FROM once.identity(0);
SELECT is(report -> 'info', '{"events": 1}'::jsonb, 'and the report') FROM once.identity(0);
SELECT throws_ok(format('SELECT pg_temp.report(%L, %L, %L)', :'incarnation', 'other', '{}'), 'ON040', NULL, 'P28 another cluster');
SELECT once.report(0, :'incarnation', 'c', '{}', 42, '{"partitions": {"a": 4, "b": 2}}') \g /dev/null
SELECT once.report(0, :'incarnation', 'c', '{}', 42, '{"partitions": {"b": 3}}') \g /dev/null
SELECT is(report -> 'info', '{"partitions": {"a": 4, "b": 3}}'::jsonb, 'counts of partitions outlive the process that asked') FROM once.identity(0);
SELECT xmin AS row_version FROM once.lane \gset
SELECT pg_temp.report(:'incarnation', 'c', '{"last_seq": "1"}') \g /dev/null
SELECT is(xmin::text, :'row_version', 'P22 a report leaves the lane''s row alone') FROM once.lane;

-- rearm
SELECT throws_ok($$SELECT once.rearm(0, 'guess')$$, '22023', NULL, 'an unknown mode');
SELECT throws_ok('SELECT once.rearm(0, NULL)', '22004', NULL, 'no mode');
SELECT throws_ok($$SELECT once.rearm(7, 'all')$$, '22023', NULL, 'no such lane');
SELECT lives_ok($$SELECT once.rearm(0, 'continue')$$, 'P13 continue');
SELECT ok(incarnation = :'incarnation' AND armed AND mode = 'continue', 'P13 keeps incarnation and arms') FROM once.identity(0);
SELECT pg_temp.report(:'incarnation', 'c', '{"mode": null}') \g /dev/null
SELECT is(mode, 'continue', 'P32 the mode stands until its record is reported') FROM once.identity(0);
SELECT pg_temp.report(:'incarnation', 'c', '{"mode": "continue"}') \g /dev/null
SELECT is(mode, NULL, 'P32 then it goes') FROM once.identity(0);
SELECT lives_ok($$SELECT once.rearm(0, 'all')$$, 'P13 all');
SELECT ok(incarnation <> :'incarnation' AND NOT armed AND cluster_id IS NULL AND mode = 'all' AND report IS NULL AND offset_hint IS NULL,
          'P13 is another stream, with nothing reported') FROM once.identity(0);
SELECT throws_ok(format('SELECT pg_temp.report(%L, %L, %L)', :'incarnation', 'c', '{}'), 'ON040', NULL, 'P32 a relay of the old one is refused');
SELECT incarnation FROM once.lane \gset
SELECT pg_temp.report(:'incarnation', 'other', '{"mode": "all"}') \g /dev/null
SELECT ok(armed AND mode IS NULL AND cluster_id = 'other', 'P13 the genesis of the new one, also in another cluster') FROM once.identity(0);

-- the lock
SELECT results_eq('SELECT acquired, holder, evicted FROM once.lane_lock(0)', 'VALUES (true, pg_backend_pid(), false)', 'P4 the lane is free');
SELECT results_eq('SELECT acquired, holder, evicted FROM once.lane_lock(0)', 'VALUES (true, pg_backend_pid(), false)', 'P4 and stays ours');
SELECT is(holder, pg_backend_pid(), 'status names the holder') FROM once.status();
SELECT ok(once.lane_unlock(0), 'P4 given back');
SET client_min_messages = error;
SELECT ok(NOT once.lane_unlock(0), 'P4 taken once, however often it was asked for');
RESET client_min_messages;
SELECT is(holder, NULL, 'nobody') FROM once.status();
SELECT throws_ok('SELECT once.lane_lock(NULL)', '22004', NULL, 'null lane');

-- status
SELECT is(backlog, 0::bigint, 'nothing waits') FROM once.status();
SELECT once.publish_text('t', 'p', key => g::text) FROM generate_series(1, 5) g \g /dev/null
SELECT ok(backlog = 5 AND backlog_exact AND oldest_unshipped BETWEEN interval '0' AND interval '1 min', 'five wait') FROM once.status();
SELECT pg_current_snapshot() AS s_now \gset
SELECT pg_temp.report(:'incarnation', 'other', jsonb_build_object('s_prev', '3:3:', 's_now', :'s_now', 'slice_seq', '2', 'last_seq', '2')) \g /dev/null
SELECT is(backlog, 3::bigint, 'in the middle of slices') FROM once.status();
SELECT pg_temp.report(:'incarnation', 'other', jsonb_build_object('s_prev', '3:3:', 's_now', :'s_now', 'slice_seq', null, 'last_seq', '5')) \g /dev/null
SELECT is(backlog, 0::bigint, 'all passed') FROM once.status();
SELECT once.publish_text('t', 'p') \g /dev/null
SELECT is(backlog, 1::bigint, 'one more') FROM once.status();
SELECT ok(report_age < interval '1 min' AND size_bytes > 0 AND report ->> 'cluster_id' = 'other', 'the rest') FROM once.status();
SELECT is(trim_blockers, NULL, 'nobody holds back trimming') FROM once.status();
SELECT once.park(0, 1, 'x', 'hold_key') \g /dev/null
SELECT once.redrive_all() \g /dev/null
SELECT ok(parked = 1 AND wanted = 1, 'parked and wanted') FROM once.status();
BEGIN;
SELECT once.publish_text('t', 'prepared') \g /dev/null
PREPARE TRANSACTION 'once_test';
SELECT is(trim_blockers -> 0 ->> 'gid', 'once_test', 'P15 a prepared transaction holds back trimming, by its name') FROM once.status();
COMMIT PREPARED 'once_test';

-- H20: what a dump of the database takes along
SELECT results_eq($$SELECT c::regclass::text COLLATE "C" FROM pg_extension, unnest(extconfig) c WHERE extname = 'pg_once' AND c::regclass::text IN
                  ('once.topic', 'once.lane_setting', 'once.lane', 'once.relay_report', 'once.dead_letter', 'once.event_0_0', 'once.role_right') ORDER BY 1$$,
                  $$VALUES ('once.lane_setting' COLLATE "C"), ('once.topic')$$, 'H20 settings, never identity, reports or events');

-- rearm none
SELECT once.rearm(0, 'none') \g /dev/null
SELECT max(seq) AS seq, count(*) AS there FROM once.event_0 \gset
SELECT once.publish_text('t', 'p') \g /dev/null
SELECT ok(bool_and(pg_visible_in_snapshot(e.xid, i.decided_at) = (e.seq <= :seq)), 'RE4 none leaves out what was there when it was called')
    FROM once.event_0 e, once.identity(0) i;
SELECT is(once.passed_over(0, decided_at), :there::bigint, 'RE4 counted') FROM once.identity(0);
SELECT throws_ok('SELECT once.passed_over(7, pg_current_snapshot())', '22023', NULL, 'no such lane');
SELECT finish();
