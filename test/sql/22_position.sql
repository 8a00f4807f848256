-- once.accept_position, accept_positions, accept_window.
SELECT plan(66);

-- positions
SELECT is(once.accept_position('c', 's', p), v::once.position_verdict, format('F1 %s', p))
    FROM (VALUES (1, 'new'), (2, 'new'), (3, 'new'), (2, 'duplicate')) AS t(p, v);
SELECT is(once.accept_position('c', 's', 1), 'duplicate', 'F3 lower than stored');
SELECT is((SELECT pos FROM once.position WHERE source = 's'), 3::bigint, 'F3 no regress');
SELECT is(once.accept_position('c', 's', 5, 4), 'gap', 'F2 expected_previous is another than stored');
SELECT is((SELECT pos FROM once.position WHERE source = 's'), 3::bigint, 'F2 no advance');
SELECT is(once.accept_position('c', 's', 5, 2), 'gap', 'F2 also below');
SELECT is(once.accept_position('c', 's', 3, 2), 'duplicate', 'F2 duplicate comes before gap');
SELECT is(once.accept_position('c', 's', 4, 3), 'new', 'F2 the right one');
SELECT is(once.accept_position('c', 's', 9), 'new', 'F9 holes are no gap without expected_previous');
SELECT is(once.accept_position('c', 'dense0', 0, -1), 'new', 'F2 a dense source may begin with 0');
SELECT is(once.accept_position('c', 'dense1', 1, 0), 'new', 'F2 or with 1');
SELECT is(once.accept_position('c', 'dense2', 7, 6), 'gap', 'F2 an unseen source that begins later');
SELECT is(once.accept_position('c', 's2', 1), 'new', 'F6 a source that starts over has a new name');
SELECT is(once.accept_position('d', 's', 1), 'new', 'F6 another consumer');
SELECT is(once.accept_position('c', 'most', 9223372036854775807), 'new', 'F1 the highest number');
BEGIN;
SELECT is(once.accept_position('c', 's', 20), 'new', 'F5 new');
ROLLBACK;
SELECT is(once.accept_position('c', 's', 20), 'new', 'F5 the effect rolled back: new again');
SELECT throws_ok(format('SELECT once.accept_position(%s)', a), s, NULL, 'E9 refused: ' || left(a, 20))
    FROM (VALUES ('NULL, ''s'', 1', '22004'), ('''c'', NULL, 1', '22004'), ('''c'', ''s'', NULL', '22004'), ('''c'', ''s'', -1', 'ON012'),
                 ('''c'', ''s'', 30, 30', 'ON012'), ('''c'', '''', 1', 'ON010'), ('''c'', ' || quote_literal(repeat('x', 256)) || ', 1', 'ON010')) AS t(a, s);
SELECT results_eq($$ SELECT once.accept_position('c', 'one', x) FROM unnest(ARRAY[1, 2, 2, 3]::bigint[]) x $$,
    $$ VALUES ('new'::once.position_verdict), ('new'), ('duplicate'), ('new') $$, 'F1 several in one statement');
SELECT is(once.accept_position('c', format('t/%s', p % 4), p), 'new', format('F14 partition %s: %s', p % 4, p))
    FROM (VALUES (3), (1), (2), (4), (6), (5), (8)) AS v(p);

-- batches
SELECT results_eq($$ SELECT * FROM once.accept_positions('c', 'b', ARRAY[3, 1, 2, 1]::bigint[]) $$,
    $$ VALUES (1, 'new'::once.position_verdict), (2, 'new'), (3, 'new'), (4, 'duplicate') $$, 'F13 a batch is a set: unsorted loses nothing');
SELECT results_eq($$ SELECT verdict::text FROM once.accept_positions('c', 'b', ARRAY[3, 5, 4]::bigint[]) $$, ARRAY['duplicate', 'new', 'new'], 'F13 known and new');
SELECT is_empty($$ SELECT * FROM once.accept_positions('c', 'b', '{}') $$, 'F13 an empty batch');
SELECT throws_ok($$ SELECT once.accept_positions('c', 'b', ARRAY[1, -1]::bigint[]) $$, 'ON012', NULL, 'E9 a negative one inside');
SELECT throws_ok($$ SELECT once.accept_positions('c', 'b', ARRAY[1, NULL]::bigint[]) $$, '22004', NULL, 'E9 null inside');
SELECT ok(count(*) = 10000 AND bool_and(verdict = 'new'), 'F13 10,000 positions')
    FROM once.accept_positions('c', 'many', (SELECT array_agg(i) FROM generate_series(1, 10000) i));
CREATE TEMP TABLE before AS SELECT ctid::text AS at, pg_relation_size('once.position') AS size FROM once.position WHERE source = 'many';
SELECT count(*) FROM once.accept_positions('c', 'many', (SELECT array_agg(i) FROM generate_series(10001, 20000) i)) \g /dev/null
SELECT is((SELECT (p.ctid::text::point)[1] - (at::point)[1] FROM once.position p, before WHERE p.source = 'many'), 1::double precision, 'F13 one row version a batch');

-- what a duplicate costs
BEGIN;
SELECT once.accept_position('c', 's', 1) \g /dev/null
SELECT count(*) FROM once.accept_positions('c', 's', ARRAY[1, 2]::bigint[]) \g /dev/null
SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none') AS xid \gset
SELECT is(:'xid'::text, 'none', 'E7 a duplicate position burns no xid');
COMMIT;

-- windows
SELECT once.accept_window('c', 'dup', 5) \g /dev/null
BEGIN;
SELECT once.accept_window('c', 'dup', 5) \g /dev/null
SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none') AS xid \gset
SELECT is(:'xid'::text, 'none', 'E7 a duplicate in the window burns no xid');
COMMIT;
SELECT is(once.accept_window('c', 'w', p), v::once.window_verdict, format('G1 %s', p))
    FROM (VALUES (100, 'new'), (98, 'new'), (99, 'new'), (98, 'duplicate'), (8292, 'new'), (101, 'new'), (101, 'duplicate')) AS t(p, v);
SELECT is(once.accept_window('c', 'w', 100), 'too_old', 'G2 below the window');
SELECT throws_ok($$ SELECT once.accept_window('c', 'w', 8292 + (1::bigint << 40) + 1) $$, 'ON012', NULL, 'G3 implausible: refused');
SELECT is(once.accept_window('c', 'w', 101), 'duplicate', 'G3 and nothing is wiped');
SELECT is(once.accept_window('c', 'w', 8292 + (1::bigint << 40)), 'new', 'G3 as far as that');
SELECT is(once.accept_window('c', 'g', 0), 'new', 'G5 zero');
SELECT is(once.accept_window('c', 'g', 1000000000), 'new', 'G5 a gap of a billion');
SELECT is(once.accept_window('c', 'g', 999991809), 'new', 'G5 the lowest of the window');
SELECT is(once.accept_window('c', 'g', 999991808), 'too_old', 'G5 the one below');
SELECT is((SELECT octet_length(seen) FROM once.position_window WHERE source = 'g'), 1024, 'G5 constant memory');
SELECT is(once.accept_window('c', 'm', 9223372036854775807), 'new', 'G4 the highest number');
SELECT is(once.accept_window('c', 'm', 9223372036854775806), 'new', 'G4 the one below');
SELECT is(once.accept_window('c', 'm', 9223372036854775807), 'duplicate', 'G4 again');
SELECT is(once.accept_window('c', 'e', 9223372036854775798), 'new', 'G4 nine below the highest number');
SELECT is(once.accept_window('c', 'e', 9223372036854775807), 'new', 'G4 and up to it inside the window');
SELECT throws_ok($$ SELECT once.accept_window('c', 'm', -1) $$, 'ON012', NULL, 'G3 negative');
SELECT * FROM finish();
