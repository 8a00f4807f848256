-- once.inbox and its functions.
SELECT plan(30);

CREATE FUNCTION pg_temp.take(n int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(id, ' ' ORDER BY seq) FROM once.inbox_take('w', n) $$;

SELECT is(once.inbox_put('w', id, convert_to(id, 'UTF8'), key, '{"a": 1}'), 'new', 'E2 put ' || id)
    FROM (VALUES ('a1', 'a'), ('a2', 'a'), ('n1', NULL), ('b1', 'b'), ('a3', 'a'), ('n2', NULL)) AS t(id, key);
SELECT is(once.inbox_put('w', 'a1', 'x'), 'duplicate', 'E2 the same id: one row');
SELECT is(once.inbox_put('v', 'a1', 'x'), 'new', 'E1 another consumer');
SELECT is(concat_ws(' ', payload, headers, state, attempts), '\x6131 {"a": 1} ready 0', 'E10 what was put')
    FROM once.inbox WHERE consumer = 'w' AND id = 'a1';
SELECT is(pg_temp.take(100), 'a1 a2 n1 b1 a3 n2', 'E10 all of them, also several of a key');
SELECT is(pg_temp.take(3), 'a1 n1 b1', 'E10 n is a limit; first rows of keys come first');
SELECT is((SELECT array_agg(id) FROM once.inbox_take('w', 5) WHERE key = 'a'), ARRAY['a1', 'a2'], 'E10 rows of a key in their order');
SELECT is(once.inbox_fail('w', 'a1', 'boom', '1 hour'), 'ready', 'E10 failed: ready again later');
SELECT is(pg_temp.take(100), 'n1 b1 n2', 'E10 it backs off and holds its key');
SELECT results_eq($$ SELECT attempts, error, next_at > now() + interval '59 min' FROM once.inbox WHERE id = 'a1' AND consumer = 'w' $$,
    $$ VALUES (1, 'boom', true) $$, 'E10 attempt and error are stored');
SELECT is(once.inbox_done('w', ARRAY['n1', 'n2', 'nothing']), 2::bigint, 'E10 done');
SELECT is(once.inbox_put('w', 'n1', 'x'), 'duplicate', 'E2 done is not forgotten');
SELECT once.inbox_fail('w', 'a1', 'again', '0') FROM generate_series(1, 8) \g /dev/null
SELECT is(pg_temp.take(100), 'a1 a2 b1 a3', 'E10 due again');
SELECT is(once.inbox_fail('w', 'a1', 'for good'), 'parked', 'E10 the tenth failure parks');
SELECT is(pg_temp.take(100), 'b1', 'E10 a parked row holds its key, the rest flows');
SELECT is(once.inbox_fail('w', 'a1', 'x'), NULL, 'E10 a parked row is not failed again');
SELECT is(once.inbox_redrive('w', 'b1'), 0::bigint, 'E10 redrive: not parked');
SELECT is(once.inbox_redrive('w'), 1::bigint, 'E10 redrive');
SELECT is(pg_temp.take(100), 'a1 a2 b1 a3', 'E10 it comes back in its place');
SELECT once.inbox_fail('w', 'b1', 'x') \g /dev/null
SELECT ok(next_at - now() BETWEEN interval '0.5 s' AND interval '2 s', 'E10 first back-off: a second') FROM once.inbox WHERE id = 'b1';
UPDATE once.inbox SET attempts = 8 WHERE id = 'b1';
SELECT once.inbox_fail('w', 'b1', 'x') \g /dev/null
SELECT ok(next_at - now() BETWEEN interval '250 s' AND interval '260 s', 'E10 it doubles') FROM once.inbox WHERE id = 'b1';
SELECT throws_ok(s, c, NULL, 'E9 refused: ' || s)
    FROM (VALUES ('SELECT once.inbox_put(NULL, ''x'', ''x'')', '22004'), ('SELECT once.inbox_put(''w'', NULL, ''x'')', '22004'),
                 ('SELECT once.inbox_put(''w'', repeat(''x'', 1025), ''x'')', 'ON010'), ('SELECT once.inbox_take(''w'', 0)', '22023')) AS t(s, c);
SELECT * FROM finish();
