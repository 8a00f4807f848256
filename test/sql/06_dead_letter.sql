-- Parking and redrive: which keys are held, what is stamped, what a refusal takes back.
SELECT plan(51);
CREATE TEMP TABLE position AS SELECT pg_current_snapshot() AS s_prev, pg_current_snapshot() AS s_now;
CREATE FUNCTION pg_temp.now() RETURNS void LANGUAGE sql AS $$UPDATE position SET s_prev = s_now, s_now = pg_current_snapshot()$$;
CREATE FUNCTION pg_temp.next(no bigint, rows int DEFAULT 100, bytes bigint DEFAULT 1000000, slice bigint DEFAULT NULL) RETURNS int LANGUAGE sql AS $$
    SELECT once.redrive_next(0, no, s_prev, s_now, slice, rows, bytes) FROM position $$;
CREATE FUNCTION pg_temp.stamps() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(seq || ':' || coalesce(stamp::text, CASE WHEN wanted THEN 'w' ELSE '-' END), ' ' ORDER BY seq) FROM once.dead_letter $$;

SELECT once.publish_text('t', g::text, key => CASE WHEN g % 2 = 0 THEN 'even' ELSE 'odd' END, headers => '{"n": "1"}', partition => 3)
    FROM generate_series(1, 6) g \g /dev/null
SELECT once.publish_text('t', g::text) FROM generate_series(7, 8) g \g /dev/null
SELECT pg_temp.now() \g /dev/null

-- park
SELECT ok(once.park(0, 1, 'too large', 'hold_key'), 'P18 parked');
SELECT ok(NOT once.park(0, 1, 'again', 'skip'), 'P32 twice is once');
SELECT is(d.error, 'too large', 'P32 the first reason stays') FROM once.dead_letter d;
SELECT ok(d.id = e.id AND d.xid = e.xid AND d.topic = e.topic AND d.key = e.key AND d.payload = e.payload
          AND d.partition = e.partition AND d.form = e.form AND d.form = 't' AND d.time = e.time AND d.headers = '{"n": "1"}', 'P18 the whole event')
    FROM once.dead_letter d JOIN once.event_0 e USING (seq);
SELECT results_eq('SELECT * FROM once.held_keys(0, 0)', $$VALUES ('t'::text, 'odd'::bytea, 1::bigint)$$, 'P18 its key is held');
SELECT ok(once.park(0, 2, 'x', 'skip'), 'parked under skip');
SELECT ok(once.park(0, 7, 'x', 'hold_key'), 'parked without a key');
SELECT results_eq('SELECT * FROM once.held_keys(0, 0)', $$VALUES ('t'::text, 'odd'::bytea, 1::bigint)$$, 'P18 neither holds anything');
SELECT results_eq('SELECT once.parked_seqs(0, 0)', ARRAY[1, 2, 7]::bigint[], 'P18 what the main path leaves out');
SELECT results_eq('SELECT once.parked_seqs(0, 2)', ARRAY[7]::bigint[], 'P18 above a number');
SELECT throws_ok($$SELECT once.park(0, 99, 'x', 'skip')$$, '22023', NULL, 'no such event');
SELECT throws_ok($$SELECT once.park(0, 3, 'x', 'stop')$$, '22023', NULL, 'no such policy');
SELECT throws_ok($$SELECT once.park(0, 3, NULL, 'skip')$$, '22004', NULL, 'no reason');
SELECT throws_ok($$SELECT once.park(7, 3, 'x', 'skip')$$, '22023', NULL, 'no such lane');

-- marks
SELECT is(pg_temp.next(1), 0, 'P18 nothing is wanted, nothing is stamped');
SELECT throws_ok($$SELECT once.redrive(NULL, 'k')$$, '22004', NULL, 'no topic');
SELECT is(once.redrive('t', 'nobody'), 0::bigint, 'no such key');
SELECT is(once.redrive('t', 'odd'), 1::bigint, 'P18 the key is wanted');
SELECT is(once.redrive('t', 'odd'), 0::bigint, 'P18 twice is once');
SELECT once.park(0, 3, 'held', 'hold_key') \g /dev/null
SELECT is(pg_temp.stamps(), '1:w 2:- 3:w 7:-', 'P18 what is put behind it inherits the mark');
SELECT is(once.redrive('t', NULL), 1::bigint, 'P18 null is a key');
SELECT is(once.redrive_all(), 1::bigint, 'the rest');

-- stamps: one key at a time, in order, bounded, and only what is passed
SELECT is(pg_temp.next(1, rows => 1), 1, 'P18 at most so many rows');
SELECT is(pg_temp.stamps(), '1:1 2:w 3:w 7:w', 'P18 the first of the first key');
SELECT results_eq('SELECT * FROM once.held_keys(0, 0)', $$VALUES ('t'::text, 'odd'::bytea, 1::bigint)$$, 'P18 stamped above the position''s number: still held');
SELECT is(pg_temp.next(2), 1, 'P18 the second key');
SELECT is(pg_temp.next(3), 1, 'P18 the rest of the first');
SELECT is(pg_temp.stamps(), '1:1 2:2 3:3 7:w', 'P18 by number of their first entry');
SELECT results_eq('SELECT since FROM once.held_keys(0, 2)', ARRAY[3]::bigint[], 'RE5 held from the first entry that is not shipped');
SELECT is_empty('SELECT * FROM once.held_keys(0, 3)', 'P18 covered: free');
SELECT results_eq('SELECT seq, headers FROM once.redrive_stamped(0, 1)',
                  'SELECT seq, headers FROM once.event_0 WHERE seq IN (2, 3) ORDER BY seq', 'P18 as events, headers byte by byte');
SELECT once.park(0, 5, 'new poison', 'hold_key', 3) \g /dev/null
SELECT is(pg_temp.stamps(), '1:1 2:2 3:3 5:- 7:w', 'P18 a covered entry hands no mark on');
DELETE FROM once.dead_letter WHERE seq = 5;
SELECT once.park(0, 5, 'held', 'hold_key', 2) \g /dev/null
SELECT is(pg_temp.stamps(), '1:1 2:2 3:3 5:w 7:w', 'P18 one that is being shipped does');

-- refused again
SELECT is(once.redrive_refused(0, 3), 2::bigint, 'P18 it and all behind it of its key');
SELECT is(pg_temp.stamps(), '1:1 2:2 3:- 5:- 7:w', 'P18 lose mark and stamp');
SELECT is(once.redrive_refused(0, 7), 1::bigint, 'a null key: it alone');
-- An open transaction's event is parked after a later one of its key was shipped by a redrive; seq is the key of all.
SELECT once.park(0, 8, 'x', 'hold_key') \g /dev/null
BEGIN;
UPDATE once.dead_letter SET stamp = 3 WHERE seq = 5;
UPDATE once.dead_letter SET stamp = 4 WHERE seq = 3;
SELECT is(once.redrive_refused(0, 3), 1::bigint, 'P18 one behind it that was shipped before');
SELECT is(pg_temp.stamps(), '1:1 2:2 3:- 5:3 7:- 8:-', 'P18 stays shipped');
ROLLBACK;
SELECT once.redrive_all() \g /dev/null
SELECT is(pg_temp.next(4, bytes => 1), 1, 'P18 at most so many bytes, but one at least');
SELECT is(pg_temp.stamps(), '1:1 2:2 3:4 5:w 7:w 8:w', 'P18 in order');

-- not passed yet: parked, but the position was never committed
SELECT once.publish_text('t', 'later', key => 'late') \g /dev/null
SELECT once.park(0, 9, 'x', 'hold_key') \g /dev/null
SELECT once.redrive('t', 'late') \g /dev/null
DELETE FROM once.dead_letter WHERE seq < 9;
SELECT is(pg_temp.next(5), 0, 'P32 beyond the position: not stamped');
SELECT pg_temp.now() \g /dev/null
SELECT is(pg_temp.next(5, slice => 8), 0, 'P32 in the difference, but above the slice');
SELECT is(pg_temp.next(5, slice => 9), 1, 'P32 passed by the slice');


-- a key that is not passed does not keep another one waiting, nor does it go along with its passed part
SELECT once.redrive_refused(0, 9) \g /dev/null
SELECT once.publish_text('t', 'other', key => 'other') \g /dev/null
SELECT once.publish_text('t', 'late again', key => 'late') \g /dev/null
SELECT once.publish_text('t', 'other again', key => 'other') \g /dev/null
SELECT once.park(0, seq, 'x', 'hold_key') FROM generate_series(10, 12) seq \g /dev/null
SELECT once.redrive_all() \g /dev/null
SELECT format('%s:%s:%s', min(xid::text::bigint) FILTER (WHERE seq = 9), max(xid::text::bigint),
              min(xid::text) FILTER (WHERE seq = 9)) AS without_9_and_12 FROM once.dead_letter \gset
SELECT is(once.redrive_next(0, 6, :'without_9_and_12', :'without_9_and_12', NULL, 10, 1000), 1, 'P32 the first that is passed');
SELECT is(pg_temp.stamps(), '9:w 10:6 11:w 12:w', 'P32 of its key only what is passed; behind 9 nothing of its key');
SELECT is(once.redrive_next(0, 7, :'without_9_and_12', :'without_9_and_12', NULL, 10, 1000), 0, 'P32 11 is passed, but must not overtake 9');
DELETE FROM once.dead_letter WHERE seq > 9;
SELECT pg_temp.now() \g /dev/null
SELECT pg_temp.next(5) \g /dev/null

-- unstamp, rearm
SELECT is(once.redrive_unstamp(0, ARRAY[(SELECT id FROM once.dead_letter)]), 1::bigint, 'P32 missing takes stamps off');
SELECT is(pg_temp.stamps(), '9:w', 'and wants it');
SELECT pg_temp.next(6) \g /dev/null
SELECT once.rearm(0, 'all') \g /dev/null
SELECT is(pg_temp.stamps(), '9:w', 'P32 all takes stamps off');
SELECT is(redrive_floor, 6::bigint, 'P32 and the numbers go on above them') FROM once.identity(0);
SELECT once.rearm(0, 'none') \g /dev/null
SELECT is(redrive_floor, 6::bigint, 'P32 also later') FROM once.identity(0);
SELECT finish();
