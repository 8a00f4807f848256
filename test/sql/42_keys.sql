-- Keys and tokens.
SELECT plan(42);

SELECT ok(a < b AND b < c, 'H21 monotone over all forms') FROM (SELECT once.key_next('p') AS a, once.key_next('q') AS b, once.key_next_ordered('p') AS c) AS v;
SELECT is((SELECT upper(b) - lower(b) FROM once.key_block('p', 100) AS b), 100::bigint, 'H21 a block has n numbers');
SELECT ok(lower(b) > a AND c >= upper(b), 'H21 nobody gets a number of a block') FROM (SELECT once.key_next('p') AS a, once.key_block('p', 7) AS b, once.key_next('p') AS c) AS v;
SELECT ok(lower(once.key_block('p', 1)) > 0, 'H21 a block of one');
SELECT throws_ok(format('SELECT once.key_block(%L, %L)', p, n), s, NULL, format('H21 refused: %s %s', p, n))
    FROM (VALUES (NULL, 1, '22004'), ('', 1, '22023'), ('p', NULL, '22004'), ('p', 0, '22023'), ('p', -1, '22023')) AS v(p, n, s);
SELECT once.key_next('p') AS drawn \gset
BEGIN;
SELECT once.key_next('p') \g /dev/null
ROLLBACK;
SELECT ok(once.key_next('p') > :drawn + 1, 'H21 a number drawn in what rolled back is not drawn again');
BEGIN;
SELECT once.key_next_ordered('p') \g /dev/null
SELECT is((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), 1::bigint, 'H21 commit-ordered: the producer is held, the draw is not');
COMMIT;

-- tokens
SELECT once.issue_token('form', '1 hour') AS token \gset
SELECT once.issue_token('form', '1 millisecond') AS short \gset
SELECT isnt(:'token'::uuid, :'short'::uuid, 'H23 tokens differ');
SELECT is(once.redeem_token('other', :'token'), 'unknown', 'H23 of another scope');
SELECT is(once.redeem_token('form', :'token'), 'ok', 'H23 redeemed once');
SELECT is(once.redeem_token('form', :'token'), 'duplicate', 'H23 twice');
SELECT pg_sleep(0.01) \g /dev/null
SELECT is(once.redeem_token('form', :'short'), 'expired', 'H23 expired');
SELECT is(once.redeem_token('form', gen_random_uuid()), 'unknown', 'H23 never issued');
SELECT once.issue_token('form', '1 hour') AS token \gset
BEGIN;
SAVEPOINT s;
SELECT is(once.redeem_token('form', :'token'), 'ok', 'H18 redeemed in a savepoint');
ROLLBACK TO s;
SELECT is(once.redeem_token('form', :'token'), 'ok', 'H18 which is rolled back');
COMMIT;
SELECT throws_ok(format('SELECT once.issue_token(%L, %L)', p, n), s, NULL, format('H23 refused: %s %s', p, n))
    FROM (VALUES (NULL, '1 s', '22004'), ('', '1 s', '22023'), ('f', NULL, '22004'), ('f', '0', '22023'), ('f', '8 days', '22023')) AS v(p, n, s);
SELECT throws_ok($$ SELECT once.redeem_token('f', NULL) $$, '22004', NULL, 'H23 refused: null');

-- retention: nothing is forgotten before its time, a handover waits for whoever is older, tables are truncated
SELECT once.issue_token('form', '1 hour') AS kept \gset
SELECT once.sweep() \g /dev/null
SELECT is_empty($$ SELECT FROM once.sweep() $$, 'D2 nothing to do for 7 days');
SELECT once.memory_set('token', '2 hours') \g /dev/null
UPDATE once.ring SET open_for = '3 hours' WHERE name = 'token';
SELECT is((SELECT ring || ' ' || step FROM once.sweep()), 'token closing', 'D4 a handover begins');
SELECT is((SELECT ring || ' ' || step FROM once.sweep()), 'token barrier', 'D4 no snapshot from before it is left');
SELECT is((SELECT ring || ' ' || step FROM once.sweep()), 'token read_only', 'D4 no transaction from before it is left');
SELECT once.issue_token('form', '1 hour') AS later \gset
SELECT is((SELECT count(*) FROM once.token_1), 1::bigint, 'D2 new tokens go into the next table');
SELECT is(once.redeem_token('form', :'kept'), 'ok', 'D5 a token of the generation before');
UPDATE once.ring SET closed_for[1] = '3 hours' WHERE name = 'token';
SELECT is((SELECT ring || ' ' || step FROM once.sweep()), 'token retired', 'D2 forgotten when its time has passed');
SELECT is((SELECT ring || ' ' || step FROM once.sweep()), 'token truncated', 'D2 and truncated whole');
SELECT is(ARRAY[once.redeem_token('form', :'kept')::text, once.redeem_token('form', :'later')::text], '{unknown,ok}', 'D2 what is forgotten is unknown, the rest is there');

SELECT throws_ok(format('SELECT once.memory_set(%L, %L)', f, k), s, NULL, format('D2 memory_set refuses %s %s', f, k))
    FROM (VALUES (NULL, '1 day', '22004'), ('token', NULL, '22004'), ('token', '0', '22023'), ('token', '-1 s', '22023'), ('claims', '1 day', '22023'), ('token', '1001 years', '22023'), ('token', '178000000 years', '22023')) AS v(f, k, s);
SELECT once.memory_set('token', '1000 years') \g /dev/null
SELECT lives_ok($$ SELECT once.sweep() $$, 'D2 with the longest of all the sweep goes on');
SELECT * FROM finish();
