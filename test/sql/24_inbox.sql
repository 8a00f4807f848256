-- once.inbox and its functions.
SELECT plan(55);

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

-- under on_poison = skip several of a key may be parked: set free alone the later one would wait for ever, and hold its key
SELECT count(once.inbox_put('skip', 's' || n, 'x', CASE WHEN n < 5 THEN 's' END)) FROM generate_series(1, 5) n \g /dev/null
UPDATE once.inbox SET state = 'parked' WHERE consumer = 'skip' AND id <> 's2';
SELECT is(once.inbox_redrive('skip', 's3'), 2::bigint, 'E10 redrive of one: with what its key has parked before it');
SELECT is((SELECT string_agg(id, ' ' ORDER BY seq) FROM once.inbox_take('skip', 10)), 's1 s2 s3', 'E10 they come in their order, what is parked behind stays');
SELECT is(once.inbox_redrive('skip', 's5'), 1::bigint, 'E10 one without a key comes alone');

-- keys that no index entry can hold
CREATE FUNCTION pg_temp.long_key(n int) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5(i::text), '') || n FROM generate_series(1, 2000) i $$;
SELECT is(once.inbox_put('long', n::text, 'x', pg_temp.long_key(n % 2)), 'new', 'E10 a key of 64 kB') FROM generate_series(1, 2) n;
SELECT is((SELECT array_agg(id) FROM once.inbox_take('long', 10)), ARRAY['1', '2'], 'E10 it is taken');
SELECT once.inbox_fail('long', '1', 'boom', '1 hour') \g /dev/null
SELECT is_empty($$ SELECT FROM once.inbox_take('long', 10) $$, 'E10 and keeps its order, as every key that begins like it');

-- few keys with many rows: what is looked at must not grow with what waits
INSERT INTO once.inbox (consumer, id, key) SELECT 'hot', 'k' || i, 'k' || i % 3 FROM generate_series(1, 20000) i;
INSERT INTO once.inbox (consumer, id, key) SELECT 'hot', 'z' || i, 'z' || i % 500 FROM generate_series(1, 1000) i;
INSERT INTO once.inbox (consumer, id) SELECT 'hot', 'n' || i FROM generate_series(1, 10) i;
CREATE TEMP TABLE taken (nr int GENERATED ALWAYS AS IDENTITY, id text, key text, seq bigint);
BEGIN;
INSERT INTO taken (id, key, seq) SELECT id, key, seq FROM once.inbox_take('hot', 300);
SELECT coalesce(idx_tup_fetch, 0) + seq_tup_read AS looked FROM pg_stat_xact_user_tables WHERE relid = 'once.inbox'::regclass \gset
ROLLBACK;
SELECT cmp_ok(:looked, '<', 10000, 'E10 300 rows of three keys of 20,000: few are looked at');
SELECT count(*) FROM once.inbox_take('hot', 300) \g /dev/null
UPDATE once.inbox SET state = 'parked' WHERE consumer = 'hot' AND id IN ('k1', 'k2', 'k3');
BEGIN;
INSERT INTO taken (id, key, seq) SELECT id, key, seq FROM once.inbox_take('hot', 100);
SELECT coalesce(idx_tup_fetch, 0) + seq_tup_read AS looked FROM pg_stat_xact_user_tables WHERE relid = 'once.inbox'::regclass \gset
COMMIT;
SELECT cmp_ok(:looked, '<', 10000, 'E10 all three keys parked, 20,000 rows behind them: nor then');
SELECT results_eq($$ SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE key IS NULL), count(*) FILTER (WHERE key LIKE 'k%') FROM taken $$,
    $$ VALUES (100::bigint, 100::bigint, 10::bigint, 0::bigint) $$, 'E10 what is behind is found, each row once');
SELECT is_empty($$ SELECT FROM taken t WHERE seq > (SELECT min(i.seq) FROM once.inbox i WHERE i.consumer = 'hot' AND i.key = t.key)
                   AND NOT EXISTS (SELECT FROM taken e WHERE e.key = t.key AND e.nr < t.nr AND e.seq < t.seq) $$, 'E10 none before the first of its key');
TRUNCATE taken;
DO $$
DECLARE
    got text[];
BEGIN
    FOR turn IN 1 .. 200 LOOP
        WITH t AS (INSERT INTO taken (id, key, seq) SELECT id, key, seq FROM once.inbox_take('hot', 50) RETURNING id)
            SELECT array_agg(id) INTO got FROM t;
        EXIT WHEN got IS NULL;
        PERFORM once.inbox_done('hot', got);
    END LOOP;
END $$;
SELECT is((SELECT array_agg(DISTINCT left(id, 1)) FROM once.inbox WHERE consumer = 'hot'), ARRAY['k'], 'E10 by and by all of them come, from whatever key the search starts');
SELECT is((SELECT count(*) FROM taken), 1010::bigint, 'E10 each once');
SELECT is_empty($$ SELECT FROM (SELECT seq, lag(seq) OVER (PARTITION BY key ORDER BY nr) AS before FROM taken WHERE key IS NOT NULL) o
                   WHERE before > seq $$, 'E10 in the order of their keys');

SELECT throws_ok(s, c, NULL, 'E9 refused: ' || s)
    FROM (VALUES ('SELECT once.inbox_put(NULL, ''x'', ''x'')', '22004'), ('SELECT once.inbox_put(''w'', NULL, ''x'')', '22004'),
                 ('SELECT once.inbox_put(''w'', repeat(''x'', 1025), ''x'')', 'ON010'), ('SELECT once.inbox_take(''w'', 0)', '22023'),
                 ('SELECT once.inbox_take(''w'', -1)', '22023'), ('SELECT once.inbox_take(''w'', NULL)', '22023'), ('SELECT once.inbox_take(''w'', 100001)', '22023'),
                 ('SELECT once.inbox_take(NULL, 1)', '22004'), ('SELECT once.inbox_fail(''w'', NULL, ''x'')', '22004'), ('SELECT once.inbox_fail(''w'', ''x'', ''x'', ''-1 s'')', '22023'),
                 ('SELECT once.inbox_take('''', 1)', 'ON010'), ('SELECT once.inbox_done(NULL, ''{x}'')', '22004'), ('SELECT once.inbox_fail('''', ''x'', ''x'')', 'ON010'),
                 ('SELECT once.inbox_redrive(NULL)', '22004'), ('SELECT once.consumer_set(''w'', max_attempts => 0)', '22023')) AS t(s, c);
SELECT * FROM finish();
