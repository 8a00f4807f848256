-- Guards: once.guard, bump, lock, lease, keys, tokens.
SELECT plan(116);

-- guard trigger
CREATE TYPE pace AS ENUM ('new', 'created', 'paid');
CREATE TABLE orders (id int PRIMARY KEY, status text, note text);
CREATE TABLE typed (id int PRIMARY KEY, status pace);
CREATE TABLE parts (id int, status varchar(20)) PARTITION BY LIST (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
SELECT once.machine_set('order', 'new', '[{"from": "new", "event": "create", "to": "created"}, {"from": "created", "event": "pay", "to": "paid"}]') \g /dev/null
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON typed FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');

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
SELECT lives_ok($$ INSERT INTO parts VALUES (1, 'new') $$, 'H10 a partitioned table');
SELECT throws_ok($$ UPDATE parts SET status = 'paid' $$, 'ON030', NULL, 'H10 a partitioned table, illegal');
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
SELECT lives_ok($$ UPDATE moving SET status = 'created' $$, 'H10 a legal move to another partition');

-- whatever statement writes
SELECT lives_ok($$ INSERT INTO orders VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET status = 'paid' $$, 'H10 ON CONFLICT DO UPDATE, legal');
SELECT throws_ok($$ INSERT INTO orders VALUES (1, 'new') ON CONFLICT (id) DO UPDATE SET status = 'created' $$, 'ON030', NULL, 'H10 ON CONFLICT DO UPDATE, illegal');
SELECT throws_ok($$ INSERT INTO orders VALUES (1, 'created') ON CONFLICT (id) DO UPDATE SET note = 'y' $$, 'ON030', NULL, 'H10 and what is proposed must be a new row');
SELECT current_setting('server_version_num')::int >= 150000 AS merge \gset
\if :merge
SELECT throws_ok($$ MERGE INTO orders o USING (VALUES (1, 'created')) v(id, status) ON o.id = v.id WHEN MATCHED THEN UPDATE SET status = v.status $$, 'ON030', NULL, 'H10 MERGE, illegal');
SELECT throws_ok($$ MERGE INTO orders o USING (VALUES (3, 'paid')) v(id, status) ON o.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.status) $$, 'ON030', NULL, 'H10 MERGE that inserts, illegal');
SELECT lives_ok($$ MERGE INTO orders o USING (VALUES (3, 'new')) v(id, status) ON o.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.status) $$, 'H10 MERGE, legal');
\else
INSERT INTO orders VALUES (3, 'new');
SELECT skip('MERGE came with 15', 3);
\endif
SELECT throws_ok($$ COPY orders (id, status) FROM PROGRAM 'printf "8\\tnew\\n9\\tpaid\\n"' $$, 'ON030', NULL, 'H10 COPY, illegal');
SELECT lives_ok($$ COPY orders (id, status) FROM PROGRAM 'printf "8\\tnew\\n9\\tnew\\n"' $$, 'H10 COPY, legal');
SELECT is((SELECT string_agg(id || status, ' ' ORDER BY id) FROM orders), '1paid 3new 8new 9new', 'H7 nothing of what was refused is written');
SELECT throws_ok($$ UPDATE orders SET status = CASE id WHEN 3 THEN 'created' ELSE 'paid' END WHERE id IN (3, 8) $$, 'ON030', NULL, 'H10 one illegal row of several');
CREATE TABLE heirs () INHERITS (orders);
INSERT INTO heirs VALUES (20, 'paid');
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON heirs FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
SELECT throws_ok($$ UPDATE orders SET status = 'new' WHERE id = 20 $$, 'ON030', NULL, 'H10 a table that inherits has a trigger of its own, also for what comes through its parent');
DROP TABLE heirs;
-- what was null when the guard came
CREATE TABLE before_guard (id int, status text);
INSERT INTO before_guard VALUES (1, NULL);
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON before_guard FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
SELECT lives_ok($$ UPDATE before_guard SET id = 2 $$, 'H10 null stays null: left alone');
SELECT throws_ok($$ UPDATE before_guard SET status = 'new' $$, 'ON030', NULL, 'H10 null is nowhere to come from');
-- a column that was added later: its old rows have it from the catalog
ALTER TABLE before_guard ADD COLUMN pace text DEFAULT 'created';
CREATE TRIGGER paced BEFORE UPDATE ON before_guard FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'pace');
SELECT throws_ok($$ UPDATE before_guard SET pace = 'new' $$, 'ON030', NULL, 'H10 a default of ADD COLUMN is a state');
SELECT lives_ok($$ UPDATE before_guard SET pace = 'paid' $$, 'H10 and leads on');
CREATE DOMAIN padded_state AS char(9);
CREATE DOMAIN state AS text;
CREATE DOMAIN typed_state AS pace;
CREATE TABLE domains (a padded_state, b state, c typed_state);
INSERT INTO domains VALUES ('new', 'new', 'new');
SELECT format($f$CREATE TRIGGER guard_%1$s BEFORE INSERT OR UPDATE ON domains FOR EACH ROW EXECUTE FUNCTION once.guard('order', '%1$s')$f$, c) FROM (VALUES ('a'), ('b'), ('c')) v(c) \gexec
SELECT lives_ok(format('UPDATE domains SET %I = %L', c, 'created'), 'H10 domain, legal: ' || c) FROM (VALUES ('a'), ('b'), ('c')) v(c);
SELECT throws_ok(format('UPDATE domains SET %I = %L', c, 'new'), 'ON030', NULL, 'H10 domain, illegal: ' || c) FROM (VALUES ('a'), ('b'), ('c')) v(c);
-- H8 reads a state as the guard does
SELECT once.machine_set('kinds', 'new', '[{"from": "new", "event": "e", "to": "other"}]') \g /dev/null
CREATE TABLE kinds (a char(9), b padded_state, c pace, d varchar(9), e state);
SELECT throws_ok(format($$ DELETE FROM kinds; INSERT INTO kinds (%1$I) VALUES ('new');
    CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON kinds FOR EACH ROW EXECUTE FUNCTION once.guard('kinds', %1$L);
    SELECT once.machine_set('kinds', 'other', '[{"from": "other", "event": "e", "to": "third"}]') $$, c), 'ON031', NULL, 'H8 a row stands in a removed state: ' || t)
    FROM (VALUES ('a', 'char(n)'), ('b', 'domain over char(n)'), ('c', 'enum'), ('d', 'varchar'), ('e', 'domain over text')) v(c, t);

-- names are bytes, whatever they look like
CREATE TABLE odd (no int, "it's ""x"" \" text);
CREATE FUNCTION pg_temp.odd(machine text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    PERFORM once.machine_set(machine, 'new', '[{"from": "new", "event": "e", "to": "other"}]');
    EXECUTE format('CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION once.guard(%L, %L)', machine, 'it''s "x" \');
    INSERT INTO odd VALUES (1, 'new');
    PERFORM once.machine_set(machine, 'other', '[{"from": "other", "event": "e", "to": "third"}]');
END $$;
SELECT throws_ok(format('SELECT pg_temp.odd(%L)', m), 'ON031', NULL, 'H8 H10 machine ' || m) FROM (VALUES ('plain'), ('a\000b'), ('\'), ('it''s "x"'), ('größe 😀 '), ('a,b;c')) v(m);

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
CREATE TABLE work_odd (token bigint);
CREATE FUNCTION pg_temp.odd_lease(name text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE held bigint; BEGIN
    SELECT token INTO held FROM once.lease(name, name, '1 min');
    EXECUTE format('CREATE OR REPLACE TRIGGER fence BEFORE INSERT ON work_odd FOR EACH ROW EXECUTE FUNCTION once.lease_assert(%L, ''token'')', name);
    INSERT INTO work_odd VALUES (held);
    RETURN once.lease_release(name, held);
END $$;
SELECT is(pg_temp.odd_lease(n), 'true', 'H13 lease ' || n) FROM (VALUES ('it''s "x" \000'), ('größe 😀 '), ('%s; $1 {}'), (repeat('é', 127))) v(n);
SELECT is(count(*), 4::bigint, 'H13 each its own') FROM once.lease_state WHERE owner IS NULL AND name <> 'job';
SELECT throws_ok(format('SELECT once.lease(%L, %L, %L)', n, o, t), s, NULL, format('H13 refused: %s %s %s', n, o, t))
    FROM (VALUES (E'a\nb', 'w', '1 s', '22023'), (repeat('é', 128), 'w', '1 s', '22023'), ('j', '', '1 s', '22023'), ('j', 'w', '178000000 years', '22023'), (NULL, 'w', '1 s', '22004'), ('j', NULL, '1 s', '22004'), ('j', 'w', NULL, '22004'), ('j', 'w', '0', '22023'), ('j', 'w', '-1 s', '22023'), ('j', 'w', '2 years', '22023')) AS v(n, o, t, s);

SELECT * FROM finish();
