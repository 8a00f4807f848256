-- Claims: who owns a key, what a retry gets (cases A, and what belongs to one session of B).
SELECT plan(72);
SET client_min_messages = warning;

CREATE TABLE verdicts (line int GENERATED ALWAYS AS IDENTITY, verdict text);

SELECT * FROM once.claim('pay', 'a1', '{"amount": 5}') \gset
SELECT is(:'verdict'::text, 'new', 'A1 a fresh key is new');
SELECT isnt(:'token'::text, '', 'A1 its owner gets a token');
SELECT is(:'attempt'::int, 1, 'A1 first attempt');
SELECT results_eq($$ SELECT verdict::text, token, attempt, lease_left > interval '0' AND lease_left <= interval '60 s' FROM once.claim('pay', 'a1', '{"amount": 5}') $$,
    $$ VALUES ('in_progress', NULL::uuid, 1, true) $$, 'A2 while it lives: in_progress, no token, what is left of the lease');
SELECT once.complete('pay', 'a1', :'token', '{"id": 7}', 201, '\x00ff10');
SELECT results_eq($$ SELECT verdict::text, token, status, response, body, error, differs FROM once.claim('pay', 'a1', '{"amount": 5}') $$,
    $$ VALUES ('replay', NULL::uuid, 201, '{"id": 7}'::jsonb, '\x00ff10'::bytea, NULL::jsonb, NULL::text[]) $$, 'A3 completed: replay with the same status, response and body');
SELECT results_eq($$ SELECT verdict::text, status, response, body FROM once.claim('pay', 'a1', '{"amount": 5}') $$,
    $$ VALUES ('replay', 201, '{"id": 7}'::jsonb, '\x00ff10'::bytea) $$, 'A3 and again');

-- a body and response that do not fit a page
SELECT * FROM once.claim('pay', 'a3-large') \gset
SELECT once.complete('pay', 'a3-large', :'token', (SELECT jsonb_agg(md5(g::text)) FROM generate_series(1, 20000) g),
    body => (SELECT string_agg(sha256(g::text::bytea), '') FROM generate_series(1, 10000) g));
SELECT is((SELECT md5(response::text) || md5(body) FROM once.claim('pay', 'a3-large')),
    (SELECT md5(jsonb_agg(md5(g::text))::text) FROM generate_series(1, 20000) g) ||
    (SELECT md5(string_agg(sha256(g::text::bytea), '')) FROM generate_series(1, 10000) g), 'A3 out-of-line answers come back whole');

-- no answer, JSON's null and nothing in it are three answers
SELECT once.complete('pay', k, c.token, r::jsonb, s, b) FROM (VALUES ('a3-none', NULL, NULL::int, NULL::bytea), ('a3-null', 'null', -1, ''), ('a3-empty', '{}', 2147483647, '\x00')) v(k, r, s, b), once.claim('pay', k) c;
SELECT results_eq($$ SELECT verdict::text, jsonb_typeof(response), status, body FROM once.claim('pay', 'a3-none') $$, $$ VALUES ('replay', NULL::text, NULL::int, NULL::bytea) $$, 'A3 an answer of nothing');
SELECT results_eq($$ SELECT verdict::text, jsonb_typeof(response), status, body FROM once.claim('pay', 'a3-null') $$, $$ VALUES ('replay', 'null', -1, '\x'::bytea) $$, 'A3 JSON null is an answer, any number a status');
SELECT results_eq($$ SELECT verdict::text, jsonb_typeof(response), status, body FROM once.claim('pay', 'a3-empty') $$, $$ VALUES ('replay', 'object', 2147483647, '\x00'::bytea) $$, 'A3 so is an empty object');
SELECT is(once.try_complete('pay', 'a3-none', (SELECT token FROM once.claim_week_0 c WHERE c.key = 'a3-none'), 'null')::text, 'mismatch', 'B9 JSON null is not no response');

-- A10: nothing refused is stored
SELECT throws_ok(format('SELECT once.claim(%L, %L)', s, k), state, NULL, format('A10 refused: %s', what))
    FROM (VALUES ('pay', NULL, '22004', 'key null'), ('pay', '', '22023', 'key empty'), ('pay', repeat('k', 256), '22023', 'key of 256 bytes'),
                 ('pay', repeat('é', 128), '22023', 'key of 128 characters in 256 bytes'), ('pay', E'a\nb', '22023', 'key with a line feed'),
                 ('pay', E'a\x7fb', '22023', 'key with DEL'), (NULL, 'k', '22004', 'scope null'), ('', 'k', '22023', 'scope empty'),
                 (repeat('s', 256), 'k', '22023', 'scope of 256 bytes'), (E's\t', 'k', '22023', 'scope with a tab')) v(s, k, state, what);
SELECT throws_ok(format('SELECT once.claim_bytes(%L, %L, NULL)', s, k), state, NULL, format('A10 refused by claim_bytes: %s', what))
    FROM (VALUES ('pay', NULL, '22004', 'key null'), ('pay', E'\x01', '22023', 'control character')) v(s, k, state, what);
SELECT throws_ok($$ SELECT once.claim('pay', 'a10', lease => interval '0') $$, '22023', NULL, 'B12 a lease of zero is refused');
SELECT throws_ok($$ SELECT once.claim('pay', 'a10', lease => interval '-1 s') $$, '22023', NULL, 'B12 a negative lease is refused');
SELECT throws_ok($$ SELECT once.claim('pay', 'a10', wait => interval '-1 s') $$, '22023', NULL, 'A10 a negative wait is refused');
SELECT throws_ok(format('SELECT once.claim(%L, %L, lease => %L::interval)', 'pay', 'a10', i), '22023', NULL, 'B12 a lease of ' || i || ' is refused')
    FROM (VALUES ('178000000 years'), ('1 month -31 days'), ('-178000000 years 2000000000 days'), ('213503982 days 9 h')) v(i);
SELECT throws_ok($$ SELECT once.claim('pay', 'a10', wait => interval '178000000 years') $$, '22023', NULL, 'A10 nor can a wait be without end');
SELECT throws_ok($$ SELECT once.claim('pay', 'a10', lease => interval '25 h') $$, '22023', NULL, 'B20 a lease longer than the total one is refused');
SELECT is((SELECT count(*) FROM once.claim_week_0 WHERE key <> 'a1' AND key NOT LIKE 'a3-%'), 0::bigint, 'A10 nothing of it is stored');
SELECT is((SELECT verdict::text FROM once.claim('pay', repeat('k', 255))), 'new', 'A10 a key of 255 bytes is one');
SELECT is((SELECT verdict::text FROM once.claim('pay', 'Grüße, 世界')), 'new', 'A10 so is one beyond ASCII');

SELECT is((SELECT verdict::text FROM once.claim('refund', 'a1', '{"amount": 5}')), 'new', 'A11 the same key in another scope is new');
SELECT is((SELECT verdict::text FROM once.claim('a', 'b')), 'new', 'A12 scope a, key b');
SELECT is((SELECT verdict::text FROM once.claim('ab', 'c')), 'new', 'A12 scope ab, key c');
SELECT is((SELECT verdict::text FROM once.claim('a', 'bc')), 'new', 'A12 scope a, key bc: no concatenation meets');
SELECT is((SELECT verdict::text FROM once.claim('b', 'a')), 'new', 'A12 nor the exchange of the two');
SELECT is((SELECT verdict::text FROM once.claim('pay', 'a13', '{"amount": 5}')), 'new', 'A13 another key, the same request');

-- A14, H18: what rolls back leaves no trace
BEGIN;
SELECT * FROM once.claim('pay', 'a14') \gset
INSERT INTO verdicts (verdict) VALUES (:'verdict');
SELECT once.complete('pay', 'a14', :'token', '{"id": 1}');
SELECT is((SELECT verdict::text FROM once.claim('pay', 'a14')), 'replay', 'A14 inside the transaction it is completed');
ROLLBACK;
SELECT is((SELECT state FROM once.describe('pay', 'a14')), 'missing', 'A14 rolled back: no trace');
SELECT is((SELECT verdict::text FROM once.claim('pay', 'a14')), 'new', 'A14 the next one is new');
BEGIN;
SAVEPOINT s;
SELECT * FROM once.claim('pay', 'h18') \gset
ROLLBACK TO s;
SELECT is((SELECT state FROM once.describe('pay', 'h18')), 'missing', 'H18 savepoint rolled back: the claim is gone');
SELECT * FROM once.claim('pay', 'h18') \gset
SAVEPOINT t;
SELECT once.complete('pay', 'h18', :'token', '1');
ROLLBACK TO t;
SELECT is((SELECT verdict::text FROM once.claim('pay', 'h18')), 'in_progress', 'H18 only the completion rolled back: still claimed');
RELEASE t;
SELECT once.complete('pay', 'h18', :'token', '2');
COMMIT;
SELECT is((SELECT response FROM once.claim('pay', 'h18')), '2'::jsonb, 'H18 the answer of what committed');

-- A18: a handler that looks at its request first
CREATE FUNCTION pg_temp.handle(key text, request jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r once.claim_result; BEGIN
    IF (request ->> 'amount')::int <= 0 THEN RAISE check_violation; END IF;
    r := once.claim('pay', key, request);
    IF r.verdict = 'new' THEN PERFORM once.complete('pay', key, r.token, '"paid"'); END IF;
    RETURN concat_ws(' ', r.verdict, r.response, r.differs);
END $$;
SELECT throws_ok($$ SELECT pg_temp.handle('a18', '{"amount": -5}') $$, '23514', NULL, 'A18 validation failed before the claim');
SELECT is((SELECT state FROM once.describe('pay', 'a18')), 'missing', 'A18 the key is unused');
SELECT is(pg_temp.handle('a18', '{"amount": 5}'), 'new', 'A18 so the request, mended, is no mismatch');
SELECT is(pg_temp.handle('a18', '{"amount": 5}'), 'replay "paid"', 'A18 and has its answer');

-- one statement, no state between statements: what a pooler needs
WITH c AS MATERIALIZED (SELECT * FROM once.claim('pay', 'one-statement'))
SELECT once.complete('pay', 'one-statement', c.token, '{"ok": true}') FROM c;
SELECT is((SELECT verdict::text FROM once.claim('pay', 'one-statement')), 'replay', 'A14 claim and complete in one statement');
SELECT is((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), 0::bigint, 'no lock is left behind: works through transaction poolers');

-- bytes
SELECT * FROM once.claim_bytes('hook', 'c8', '\x00ff') \gset
SELECT once.complete('hook', 'c8', :'token', NULL, 200, '\x');
SELECT results_eq($$ SELECT verdict::text, status, response, body FROM once.claim_bytes('hook', 'c8', '\x00ff') $$, $$ VALUES ('replay', 200, NULL::jsonb, '\x'::bytea) $$,
    'C8 bytes: the same ones replay; an empty body is not none');
SELECT results_eq($$ SELECT verdict::text, status, body, differs FROM once.claim_bytes('hook', 'c8', '\x00fe') $$, $$ VALUES ('mismatch', NULL::int, NULL::bytea, NULL::text[]) $$,
    'C8 bytes: others are a mismatch');

-- H16: the answer is the present one at every level
CREATE EXTENSION dblink;
SELECT dblink_connect('other', format('dbname=%s host=%s port=%s', current_database(), current_setting('unix_socket_directories'), current_setting('port'))) AS connected \gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM verdicts;
SELECT * FROM dblink('other', $$ SELECT token::text FROM once.claim('pay', 'h16') $$) t(token text) \gset
SELECT * FROM dblink('other', format($$ SELECT once.complete('pay', 'h16', %L, '"there"')::text $$, :'token')) t(done text);
SELECT is((SELECT verdict || ' ' || response FROM once.claim('pay', 'h16')), 'replay "there"', 'H16 REPEATABLE READ: completed after the snapshot, replayed');
SELECT is((SELECT verdict::text FROM once.claim('pay', 'h16-fresh')), 'new', 'H16 REPEATABLE READ: a fresh key is new');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM verdicts;
SELECT * FROM dblink('other', $$ SELECT token::text FROM once.claim('pay', 'h16-s') $$) t(token text) \gset
SELECT is((SELECT verdict::text FROM once.claim('pay', 'h16-s')), 'in_progress', 'H16 SERIALIZABLE: claimed after the snapshot, in progress');
SELECT * FROM dblink('other', format($$ SELECT once.release('pay', 'h16-s', %L)::text $$, :'token')) t(done text);
SELECT is((SELECT verdict || ' ' || attempt FROM once.claim('pay', 'h16-s')), 'new 2', 'H16 SERIALIZABLE: released after the snapshot, new');
COMMIT;
BEGIN TRANSACTION READ ONLY;
SELECT throws_ok($$ SELECT once.claim('pay', 'a1') $$, '25006', NULL, 'H17 a read-only transaction cannot claim');
ROLLBACK;
BEGIN TRANSACTION READ ONLY;
SELECT is((SELECT state FROM once.describe('pay', 'a1')), 'completed', 'H17 it can describe');
ROLLBACK;

-- a replay takes no xid and writes no WAL
VACUUM once.claim_week_0;
CREATE FUNCTION pg_temp.wal(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE plan json; BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, WAL, FORMAT json) ' || query INTO plan;
    RETURN (plan->0->'Plan'->>'WAL Bytes')::bigint;
END $$;
SELECT pg_temp.wal($$ SELECT * FROM once.claim('pay', 'a1', '{"amount": 5}') $$) AS warm \gset
BEGIN;
SELECT pg_temp.wal($$ SELECT * FROM once.claim('pay', 'a1', '{"amount": 5}') $$) AS wal \gset
SELECT verdict FROM once.claim('pay', 'a1', '{"amount": 6}') \gset
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid \gset
COMMIT;
SELECT is(:'wal'::bigint, 0::bigint, 'E7 a replay writes no WAL');
SELECT is(:'verdict'::text, 'mismatch', 'C1 inside a transaction');
SELECT ok(:'no_xid'::boolean, 'E7 neither a replay nor a mismatch takes an xid');

-- describe
SELECT results_eq($$ SELECT state, attempt, lease_left, keep_left > interval '167 h', status, response, body, error, checkpoint FROM once.describe('pay', 'a1') $$,
    $$ VALUES ('completed', 1, NULL::interval, true, 201, '{"id": 7}'::jsonb, '\x00ff10'::bytea, NULL::jsonb, NULL::jsonb) $$, 'describe: an answer');
SELECT results_eq($$ SELECT state, attempt, lease_left > interval '50 s', keep_left > interval '168 h', response FROM once.describe('pay', 'a13') $$,
    $$ VALUES ('in_progress', 1, true, true, NULL::jsonb) $$, 'describe: somebody is at work');
SELECT results_eq($$ SELECT state, attempt, keep_left FROM once.describe('pay', 'nobody') $$, $$ VALUES ('missing', NULL::int, NULL::interval) $$, 'describe: never seen');
SELECT throws_ok($$ SELECT once.describe('pay', NULL) $$, '22004', NULL, 'describe: key null');

-- keys are optional where the scope says so
SELECT once.scope_set('optional', key_required => false);
SELECT results_eq($$ SELECT verdict::text, token FROM once.claim('optional', NULL, '{"a": 1}') $$, $$ VALUES ('new', NULL::uuid) $$, 'key_required off: a null key goes through, unchecked');
SELECT lives_ok($$ SELECT once.complete('optional', NULL, NULL, '{"id": 1}') $$, 'key_required off: its completion too');
SELECT is((SELECT verdict::text FROM once.claim('optional', 'k')), 'new', 'key_required off: a key is kept as ever');
SELECT throws_ok($$ SELECT once.claim('optional', '') $$, '22023', NULL, 'A10 an empty key is refused also there');
SELECT dblink_disconnect('other') AS gone \gset
SELECT * FROM finish();
