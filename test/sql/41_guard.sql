-- Guards: once.guard, bump, lock, lease, keys, tokens.
SELECT plan(75);

-- guard trigger
CREATE TYPE pace AS ENUM ('new', 'created', 'paid');
CREATE TABLE orders (id int PRIMARY KEY, status text, note text);
CREATE TABLE typed (id int PRIMARY KEY, status pace);
CREATE TABLE parts (id int, status varchar(20)) PARTITION BY LIST (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
SELECT once.machine_set('order', 'new', '[{"from": "new", "event": "create", "to": "created"}, {"from": "created", "event": "pay", "to": "paid"}]') \g /dev/null
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON typed FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
CREATE TRIGGER guard AFTER INSERT OR UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');

SELECT lives_ok($$ INSERT INTO orders VALUES (1, 'new') $$, 'H10 a row starts in the initial state');
SELECT throws_ok($$ INSERT INTO orders VALUES (2, 'paid') $$, 'ON030', NULL, 'H10 and in no other');
SELECT throws_ok($$ INSERT INTO orders VALUES (2, NULL) $$, 'ON030', NULL, 'H10 null is no state');
SELECT throws_ok($$ UPDATE orders SET status = 'paid' WHERE id = 1 $$, 'ON030', NULL, 'H10 an illegal UPDATE by hand');
SELECT throws_ok($$ UPDATE orders SET status = NULL WHERE id = 1 $$, 'ON030', NULL, 'H10 null is nowhere to go');
SELECT is((SELECT status FROM orders WHERE id = 1), 'new', 'H7 nothing written');
SELECT lives_ok($$ UPDATE orders SET status = 'created' WHERE id = 1 $$, 'H10 a legal UPDATE');
SELECT lives_ok($$ UPDATE orders SET note = 'x', status = status WHERE id = 1 $$, 'H10 a row whose state stays is left alone');
SELECT lives_ok($$ INSERT INTO typed VALUES (1, 'new') $$, 'H10 enum column');
SELECT throws_ok($$ UPDATE typed SET status = 'paid' $$, 'ON030', NULL, 'H10 enum column, illegal');
SELECT lives_ok($$ UPDATE typed SET status = 'created' $$, 'H10 enum column, legal');
SELECT lives_ok($$ INSERT INTO parts VALUES (1, 'new') $$, 'H10 AFTER trigger on a partitioned table');
SELECT throws_ok($$ UPDATE parts SET status = 'paid' $$, 'ON030', NULL, 'H10 AFTER trigger, illegal');
SELECT throws_ok($$ SELECT once.machine_set('order', 'new', '[{"from": "new", "event": "create", "to": "made"}]') $$,
    'ON031', 'definition of state machine "order" would strand 1 rows of table "public.orders"', 'H8 rows of guarded tables count');
CREATE TRIGGER wrong BEFORE INSERT ON typed FOR EACH ROW WHEN (new.id = 9) EXECUTE FUNCTION once.guard('order', 'nothing');
CREATE TRIGGER wrong2 BEFORE INSERT ON typed FOR EACH ROW WHEN (new.id = 8) EXECUTE FUNCTION once.guard('nobody', 'status');
CREATE TRIGGER wrong3 BEFORE INSERT ON typed FOR EACH ROW WHEN (new.id = 7) EXECUTE FUNCTION once.guard('order');
CREATE TRIGGER wrong4 BEFORE DELETE ON typed FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
CREATE TRIGGER wrong5 BEFORE TRUNCATE ON typed EXECUTE FUNCTION once.guard('order', 'status');
SELECT throws_ok($$ INSERT INTO typed VALUES (9, 'new') $$, '42703', NULL, 'H10 unknown column');
SELECT throws_ok($$ INSERT INTO typed VALUES (8, 'new') $$, 'ON031', NULL, 'H10 unknown machine');
SELECT throws_ok($$ INSERT INTO typed VALUES (7, 'new') $$, '39P01', NULL, 'H10 no column given');
SELECT throws_ok($$ DELETE FROM typed $$, '39P01', NULL, 'H10 not for DELETE');
SELECT throws_ok($$ TRUNCATE typed $$, '39P01', NULL, 'H10 not for statements');
SELECT throws_ok($$ SELECT once.guard() $$, '39P01', NULL, 'H10 not as a function');
-- BEFORE sees a generated column as it was before the UPDATE: such a guard would let everything pass
CREATE TABLE computed (raw text, status text GENERATED ALWAYS AS (lower(raw)) STORED);
INSERT INTO computed VALUES ('NEW');
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON computed FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
SELECT throws_ok($$ UPDATE computed SET raw = 'PAID' $$, '39P01', NULL, 'H10 no BEFORE trigger on a generated column');
DROP TRIGGER guard ON computed;
CREATE TRIGGER guard AFTER INSERT OR UPDATE ON computed FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
SELECT throws_ok($$ UPDATE computed SET raw = 'PAID' $$, 'ON030', NULL, 'H10 AFTER trigger on a generated column, illegal');
SELECT lives_ok($$ UPDATE computed SET raw = 'CREATED' $$, 'H10 AFTER trigger on a generated column, legal');
CREATE TABLE padded (status char(9));
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON padded FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
SELECT lives_ok($$ INSERT INTO padded VALUES ('new') $$, 'H10 what fills a char(n) is not part of the state');
SELECT lives_ok($$ UPDATE padded SET status = 'created' $$, 'H10 char(n), legal');
SELECT throws_ok($$ UPDATE padded SET status = 'new' $$, 'ON030', NULL, 'H10 char(n), illegal');
CREATE TABLE moving (status text) PARTITION BY LIST (status);
CREATE TABLE moving_new PARTITION OF moving FOR VALUES IN ('new');
CREATE TABLE moving_on PARTITION OF moving DEFAULT;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON moving FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
INSERT INTO moving VALUES ('new');
SELECT throws_ok($$ UPDATE moving SET status = 'created' $$, 'ON030', NULL, 'H10 a move to another partition is an INSERT there: refused');

-- bump
CREATE TABLE doc (id int PRIMARY KEY, version bigint, code varchar(3), rev int);
INSERT INTO doc VALUES (1, 1, 'abc', 7), (2, NULL, 'abd', 7), (3, 5, 'x', 7), (4, 5, 'x', 7);
SELECT results_eq($$ SELECT * FROM once.bump('doc', '1', 1) $$, $$ VALUES ('ok'::once.bump_verdict, 2::bigint) $$, 'H11 ok');
SELECT results_eq($$ SELECT * FROM once.bump('doc', '1', 1) $$, $$ VALUES ('stale'::once.bump_verdict, 2::bigint) $$, 'H11 stale');
SELECT results_eq($$ SELECT * FROM once.bump('doc', '1', 3) $$, $$ VALUES ('ahead'::once.bump_verdict, 2::bigint) $$, 'H11 ahead');
SELECT results_eq($$ SELECT * FROM once.bump('doc', '9', 1) $$, $$ VALUES ('missing'::once.bump_verdict, NULL::bigint) $$, 'H11 missing');
SELECT results_eq($$ SELECT * FROM once.bump('doc', 'abc', 7, 'code', 'rev') $$, $$ VALUES ('ok'::once.bump_verdict, 8::bigint) $$, 'H11 other columns');
SELECT results_eq($$ SELECT * FROM once.bump('doc', 'abcd', 8, 'code', 'rev') $$, $$ VALUES ('missing'::once.bump_verdict, NULL::bigint) $$, 'H11 a key is not cut to its column''s length');
SELECT throws_ok($$ SELECT once.bump('doc', 'x', 7, 'code', 'rev') $$, '21000', NULL, 'H11 key not unique');
SELECT throws_ok($$ SELECT once.bump('doc', '2', 1) $$, '22004', NULL, 'H11 version null');
SELECT throws_ok($$ SELECT once.bump('doc', '1', NULL) $$, '22004', NULL, 'H11 expected null');
SELECT throws_ok($$ SELECT once.bump('doc', '1', 1, 'nothing') $$, '42703', NULL, 'H11 unknown key column');
SELECT throws_ok($$ SELECT once.bump('doc', '1', 1, 'id', 'nothing') $$, '42703', NULL, 'H11 unknown version column');
SELECT throws_ok($$ SELECT once.bump('doc', 'one', 1) $$, '22P02', NULL, 'H11 a key that the column''s type does not know');
SELECT is((SELECT string_agg(version || '/' || rev, ' ' ORDER BY id) FROM doc WHERE id <> 2), '2/8 5/7 5/7', 'H11 refusals write nothing');

-- lock
BEGIN;
SELECT is(once.lock('a'), 'locked', 'H12 first');
SELECT is(once.lock('a'), 'already', 'H12 twice in one session');
SELECT is(once.lock('a', 'b'), 'locked', 'H12 one of two is new');
SELECT is(once.try_lock('b', 'a', 'b'), 'already', 'H12 both held');
SAVEPOINT s;
SELECT is(once.try_lock('c'), 'locked', 'H18 lock in a savepoint');
ROLLBACK TO s;
SELECT is(once.try_lock('c'), 'locked', 'H18 it went with the savepoint');
COMMIT;
SELECT is((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), 0::bigint, 'H12 gone with the transaction');
SELECT is(hashtext('n744'), hashtext('n171856'), 'H14 two names with one 32-bit hash');
BEGIN;
SELECT is(ARRAY[once.lock('n744'), once.lock('n171856')]::text[], '{locked,locked}', 'H14 do not collide');
COMMIT;
SELECT throws_ok(format('SELECT once.lock(%s)', a), s, NULL, 'H12 refused: ' || a)
    FROM (VALUES ('NULL', '22004'), ('''''', '22023'), ('VARIADIC ''{}''::text[]', '22023'), ('VARIADIC NULL::text[]', '22004'), ('''a'', repeat(''x'', 256)', '22023')) AS v(a, s);

-- lease
SELECT is((SELECT concat_ws(' ', verdict, token) FROM once.lease('job', 'w1', '1 minute')), 'acquired 1', 'H13 acquired');
SELECT is((SELECT concat_ws(' ', verdict, token, remaining > '59 s') FROM once.lease('job', 'w1', '1 minute')), 'renewed 1 t', 'H13 renewed, same token');
SELECT is((SELECT concat_ws(' ', verdict, coalesce(token, 0), remaining > '59 s') FROM once.lease('job', 'w2', '1 minute')), 'busy 0 t', 'H13 busy');
SELECT lives_ok($$ SELECT once.lease_assert('job', 1) $$, 'H13 the holder''s token stands');
SELECT lives_ok($$ SELECT once.lease('job', 'w1', '1 millisecond'), pg_sleep(0.01) $$, 'H13 it lapses');
SELECT is((SELECT concat_ws(' ', verdict, token) FROM once.lease('job', 'w2', '1 minute')), 'acquired 2', 'H13 taken over: a greater token');
SELECT throws_ok($$ SELECT once.lease_assert('job', 1) $$, 'ON032', NULL, 'H13 a token older than the newest is refused');
SELECT throws_ok($$ SELECT once.lease_assert('job', 3) $$, 'ON032', NULL, 'H13 so is one that was never given');
SELECT throws_ok($$ SELECT once.lease_assert('nobody', 1) $$, 'ON032', NULL, 'H13 unknown lease');
CREATE TABLE work (id int, token bigint);
CREATE TRIGGER fence BEFORE INSERT OR UPDATE ON work FOR EACH ROW EXECUTE FUNCTION once.lease_assert('job', 'token');
SELECT lives_ok($$ INSERT INTO work VALUES (1, 2) $$, 'H13 trigger form: newest token');
SELECT throws_ok($$ INSERT INTO work VALUES (2, 1) $$, 'ON032', NULL, 'H13 trigger form: older token');
SELECT throws_ok($$ UPDATE work SET token = NULL $$, 'ON032', NULL, 'H13 trigger form: no token');
SELECT is(ARRAY[once.lease_release('job', 1), once.lease_release('job', 2), once.lease_release('job', 2)], '{f,t,f}', 'H13 released once, by the holder');
SELECT throws_ok($$ SELECT once.lease_assert('job', 2) $$, 'ON032', NULL, 'H13 a released token is refused');
SELECT is((SELECT concat_ws(' ', verdict, token) FROM once.lease('job', 'w2', '1 minute')), 'acquired 3', 'H13 tokens rise over a release');
SELECT throws_ok(format('SELECT once.lease(%L, %L, %L)', n, o, t), s, NULL, format('H13 refused: %s %s %s', n, o, t))
    FROM (VALUES (NULL, 'w', '1 s', '22004'), ('j', NULL, '1 s', '22004'), ('j', 'w', NULL, '22004'), ('j', 'w', '0', '22023'), ('j', 'w', '-1 s', '22023'), ('j', 'w', '2 years', '22023')) AS v(n, o, t, s);

SELECT * FROM finish();
