-- Faults of machines, guards and requests that were found from outside: BE9 (bump), BE11 (guards of partitions), BE20 (parallel
-- queries), BE21 (definitions that wait), US11 is in e2e/test_guard.py.
SELECT plan(47);
SET client_min_messages = warning;
CREATE EXTENSION dblink;

-- BE9: whatever the path, a table's own triggers, key type and policies find what they find under a plain UPDATE
CREATE TABLE audit (id int, v bigint);
CREATE TABLE doc (id int PRIMARY KEY, version bigint);
INSERT INTO doc VALUES (1, 0);
CREATE FUNCTION doc_audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (new.id, new.version); RETURN new; END $$;
CREATE TRIGGER t AFTER UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION doc_audit();
SELECT results_eq($$ SELECT * FROM once.bump('doc', '1', 0) $$, $$ VALUES ('ok'::once.bump_verdict, 1::bigint) $$, 'BE9 a trigger finds its tables');
SELECT results_eq('TABLE audit', 'VALUES (1, 1::bigint)', 'BE9 and has written there');
SET search_path = pg_temp, public;
SELECT is((SELECT verdict::text FROM once.bump('doc', '1', 0)), 'stale', 'BE9 another path');
RESET search_path;
CREATE SCHEMA other;
CREATE TABLE other.audit (id int, v bigint);
SET search_path = other, public;
SELECT is((SELECT verdict::text FROM once.bump('doc', '1', 1)), 'ok', 'BE9 under the caller''s path');
RESET search_path;
SELECT results_eq('TABLE other.audit', 'VALUES (1, 2::bigint)', 'BE9 a trigger finds what the caller''s path has first');

CREATE EXTENSION citext SCHEMA other;
CREATE TABLE cdoc (id other.citext PRIMARY KEY, version bigint);
CREATE DOMAIN word AS other.citext CHECK (value OPERATOR(other.<>) '');
CREATE TABLE wdoc (id word PRIMARY KEY, version int);
CREATE TABLE part_doc (tenant int, id other.citext, version numeric, PRIMARY KEY (tenant, id));
CREATE TABLE plain_doc (id other.citext, version bigint);
INSERT INTO cdoc VALUES ('abc', 0);
INSERT INTO wdoc VALUES ('abc', 0);
INSERT INTO part_doc VALUES (1, 'abc', 0);
INSERT INTO plain_doc VALUES ('abc', 0);
SELECT is((SELECT verdict || ' ' || version FROM once.bump('cdoc', 'ABC', 0)), 'ok 1', 'BE9 a key is equal as its primary key says (citext, not in the path)');
SELECT is((SELECT verdict || ' ' || version FROM once.bump('wdoc', 'ABC', 0)), 'ok 1', 'BE9 of a domain over it');
SELECT is((SELECT verdict || ' ' || version FROM once.bump('part_doc', 'ABC', 0)), 'ok 1', 'BE9 as a part of the primary key');
SELECT is((SELECT verdict || ' ' || version FROM once.bump('plain_doc', 'ABC', 0)), 'ok 1', 'BE9 without an index: as its type says');
SELECT throws_ok($$ SELECT once.bump('wdoc', '', 0) $$, '23514', NULL, 'BE9 a key that its domain refuses');
-- operators of the path count for nothing
CREATE FUNCTION other.never(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE OPERATOR other.= (LEFTARG = int, RIGHTARG = int, FUNCTION = other.never);
CREATE FUNCTION other.thousand(bigint, int) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1 OPERATOR(pg_catalog.+) 1000::bigint';
CREATE OPERATOR other.+ (LEFTARG = bigint, RIGHTARG = int, FUNCTION = other.thousand);
SET search_path = other, pg_catalog, public;
SELECT is((SELECT verdict || ' ' || version FROM once.bump('public.doc', '1', 2)), 'ok 3', 'BE9 operators that stand first in the path are not taken');
RESET search_path;
CREATE COLLATION other.blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE idoc (id text COLLATE other.blind PRIMARY KEY, version bigint);
CREATE TABLE jdoc (id text, version bigint);
CREATE UNIQUE INDEX ON jdoc (id COLLATE other.blind);
INSERT INTO idoc VALUES ('abc', 0);
INSERT INTO jdoc VALUES ('abc', 0);
SELECT is((SELECT verdict::text FROM once.bump('idoc', 'ABC', 0)), 'ok', 'BE9 a collation that ignores case');
SELECT is((SELECT verdict::text FROM once.bump('jdoc', 'ABC', 0)), 'ok', 'BE9 of the unique index');
SELECT throws_ok($$ SELECT once.bump(4294967295::oid, '1', 0) $$, '42P01', NULL, 'BE9 no relation');
CREATE TABLE points (id point, version bigint);
SELECT throws_ok($$ SELECT once.bump('points', '(1,1)', 0) $$, '42883', NULL, 'BE9 a type without equality');
-- machine_set looks into guarded tables whose owners' functions need a path of their own
SELECT once.machine_set('ord', 'new', '[{"from": "new", "event": "pay", "to": "paid"}, {"from": "paid", "event": "ship", "to": "shipped"}]') \g /dev/null
CREATE FUNCTION spelled(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper($1) $$;
CREATE FUNCTION indexed(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT spelled($1) $$;
CREATE TABLE pathed (id int, state text);
CREATE INDEX ON pathed (indexed(state));
CREATE TRIGGER g BEFORE INSERT OR UPDATE ON pathed FOR EACH ROW EXECUTE FUNCTION once.guard('ord', 'state');
INSERT INTO pathed VALUES (1, 'new');
SELECT lives_ok($$ SELECT once.machine_set('ord', 'new', '[{"from": "new", "event": "pay", "to": "paid"}]') $$,
    'BE9 a guarded table with an index over a function that needs its path');
SELECT once.machine_set('ord', 'new', '[{"from": "new", "event": "pay", "to": "paid"}, {"from": "paid", "event": "ship", "to": "shipped"}]') \g /dev/null
UPDATE pathed SET state = 'paid';
UPDATE pathed SET state = 'shipped';
SELECT throws_like($$ SELECT once.machine_set('ord', 'new', '[{"from": "new", "event": "pay", "to": "paid"}]') $$, '%strand 1 rows%', 'BE9 and its rows are seen');
DROP TABLE pathed;

-- BE11: an UPDATE that moves a row to another partition fires as something else
CREATE TABLE p (id int, state text, y int DEFAULT 0) PARTITION BY LIST (state);
CREATE TABLE p_new PARTITION OF p FOR VALUES IN ('new');
CREATE TABLE p_paid PARTITION OF p FOR VALUES IN ('paid');
CREATE TABLE p_shipped PARTITION OF p FOR VALUES IN ('shipped');
CREATE TRIGGER g AFTER INSERT OR UPDATE ON p FOR EACH ROW EXECUTE FUNCTION once.guard('ord', 'state');
SELECT throws_ok($$ INSERT INTO p VALUES (1, 'new') $$, '39P01', NULL, 'BE11 an AFTER guard of a partitioned table is refused');
ALTER TABLE p DISABLE TRIGGER g;
INSERT INTO p VALUES (1, 'shipped'), (2, 'paid');
ALTER TABLE p ENABLE TRIGGER g;
SELECT throws_ok($$ UPDATE p SET state = 'new' WHERE id = 1 $$, '39P01', NULL, 'BE11 also where it would let an illegal move pass');
SELECT throws_ok($$ UPDATE p_paid SET y = 1 $$, '39P01', NULL, 'BE11 and in a partition by itself');
DROP TRIGGER g ON p;
CREATE TRIGGER g BEFORE INSERT OR UPDATE ON p FOR EACH ROW EXECUTE FUNCTION once.guard('ord', 'state');
SELECT throws_ok($$ UPDATE p SET state = 'new' WHERE id = 1 $$, 'ON030', NULL, 'BE11 BEFORE: an illegal move to another partition');
SELECT lives_ok($$ UPDATE p SET state = 'shipped' WHERE id = 2 $$, 'BE11 BEFORE: a legal move to another partition');
SELECT lives_ok($$ INSERT INTO p VALUES (3, 'new') $$, 'BE11 a new row');
SELECT throws_ok($$ INSERT INTO p VALUES (4, 'paid') $$, 'ON030', NULL, 'BE11 a new row in another state');
SELECT lives_ok($$ WITH u AS (UPDATE p SET state = 'paid' WHERE id = 3 RETURNING id) SELECT * FROM u $$, 'BE11 a move within WITH');
SELECT throws_ok($$ WITH u AS (UPDATE p SET state = 'shipped' WHERE id = 3 RETURNING id) INSERT INTO p SELECT 9, 'shipped' FROM u $$, 'ON030', NULL,
    'BE11 an INSERT beside a move of the same statement is no move');
CREATE TABLE r (id int, state text, y int) PARTITION BY RANGE (y);
CREATE TABLE r_1 PARTITION OF r FOR VALUES FROM (0) TO (10);
CREATE TABLE r_2 PARTITION OF r FOR VALUES FROM (10) TO (20) PARTITION BY LIST (state);
CREATE TABLE r_2_any PARTITION OF r_2 DEFAULT;
CREATE TRIGGER g BEFORE INSERT OR UPDATE ON r FOR EACH ROW EXECUTE FUNCTION once.guard('ord', 'state');
INSERT INTO r SELECT g, 'new', 1 FROM generate_series(1, 100) g;
UPDATE r SET state = 'paid';
SELECT lives_ok($$ UPDATE r SET y = 11 $$, 'BE11 rows whose state stays may move, a hundred at once, two levels down');
SELECT is((SELECT count(*) FROM r_2_any), 100::bigint, 'BE11 all are there');
SELECT lives_ok($$ UPDATE r SET state = 'shipped', y = 2 WHERE id <= 50 $$, 'BE11 and back, with a legal change');
SELECT throws_ok($$ UPDATE r SET state = CASE id WHEN 99 THEN 'new' ELSE 'shipped' END, y = 3 WHERE id > 50 $$, 'ON030', NULL, 'BE11 one illegal of many');
-- a trigger that writes the same table between the two halves, and one that changes the row on its way
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('once_test.meddle', true) = 'insert' AND new.id = 51 AND pg_trigger_depth() = 1 THEN
        INSERT INTO r VALUES (1051, 'paid', 1);
    ELSIF current_setting('once_test.meddle', true) = 'update' AND pg_trigger_depth() = 1 THEN
        UPDATE r SET y = 15 WHERE id = 50;
    ELSIF current_setting('once_test.meddle', true) = 'change' THEN
        new.state := 'new';
    END IF;
    RETURN new; END $$;
CREATE TRIGGER a_meddle BEFORE INSERT ON r FOR EACH ROW EXECUTE FUNCTION meddle();
CREATE TRIGGER z_meddle BEFORE UPDATE ON r FOR EACH ROW EXECUTE FUNCTION meddle();
SET once_test.meddle = 'insert';
SELECT throws_ok($$ UPDATE r SET y = 3 WHERE id = 51 $$, 'ON030', NULL, 'BE11 a row that slips in between does not pass for the moved one');
SET once_test.meddle = 'update';
SELECT lives_ok($$ UPDATE r SET y = 3 WHERE id BETWEEN 52 AND 54 $$, 'BE11 moves within moves');
SELECT is((SELECT string_agg(id || ':' || y, ' ' ORDER BY id) FROM r WHERE id IN (50, 52, 53, 54)), '50:15 52:3 53:3 54:3', 'BE11 went where they should');
SET once_test.meddle = 'change';
SELECT throws_ok($$ UPDATE r SET y = 12 WHERE id = 52 $$, 'ON030', NULL, 'BE11 what is changed on the way is judged from where the row was');
RESET once_test.meddle;
BEGIN;
SAVEPOINT a;
UPDATE r SET y = 13 WHERE id = 52;
ROLLBACK TO a;
SELECT throws_ok($$ INSERT INTO r VALUES (2000, 'paid', 1) $$, 'ON030', NULL, 'BE11 a move that was rolled back pays for no INSERT');
UPDATE r SET y = 13 WHERE id = 52;
SELECT throws_ok($$ INSERT INTO r VALUES (2000, 'paid', 1) $$, 'ON030', NULL, 'BE11 nor does one that has had its INSERT');
COMMIT;

-- BE20: in a query that runs in parallel every function that its label lets in answers
CREATE TABLE req AS SELECT g::text AS key, repeat('x', 200) AS pad FROM generate_series(1, 20000) g;
ANALYZE req;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SELECT once.scope_set('s'), (once.claim('s', '5')).token \g /dev/null
CREATE TEMP TABLE parallel_call (name text PRIMARY KEY, call text);
INSERT INTO parallel_call SELECT p.oid::regprocedure::text, format('%s(%s)', p.oid::regproc, coalesce((SELECT string_agg(
        CASE WHEN t = 'text'::regtype THEN 'key' WHEN t = 'jsonb'::regtype THEN '''{}''::jsonb' WHEN t = 'interval'::regtype THEN '''1 h''::interval'
             WHEN t IN ('int'::regtype, 'bigint'::regtype, 'smallint'::regtype) THEN '0::' || t::regtype WHEN t = 'uuid'::regtype THEN 'md5(key)::uuid'
             WHEN t = 'xid8'::regtype THEN '''3''::xid8' WHEN t = 'bytea'::regtype THEN '''\x''::bytea' WHEN t = 'timestamptz'::regtype THEN 'now()'
             ELSE 'NULL::' || t::regtype END, ', ' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY a(t, n)), ''))
    FROM pg_proc p WHERE p.pronamespace = 'once'::regnamespace AND p.proparallel <> 'u' AND p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype;
SELECT cmp_ok((SELECT count(*) FROM parallel_call), '>', 10::bigint, 'BE20 functions that a parallel query may call');
CREATE FUNCTION pg_temp.in_parallel(call text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    EXECUTE format('SELECT max((%s)::text) FROM req WHERE pad LIKE ''%%y%%'' OR key = ''5''', call);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN RETURN CASE WHEN SQLSTATE IN ('25000', 'XX000') THEN SQLERRM END; END $$;
CREATE FUNCTION pg_temp.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE line text; plan text := ''; BEGIN
    FOR line IN EXECUTE 'EXPLAIN ' || query LOOP plan := plan || line; END LOOP; RETURN plan; END $$;
SELECT matches(pg_temp.plan_of($$ SELECT max((once.describe('s', key)).state) FROM req WHERE pad LIKE '%y%' OR key = '5' $$), 'Gather', 'BE20 the plan is a parallel one');
SELECT is((SELECT max((once.describe('s', key)).state) FROM req WHERE pad LIKE '%y%' OR key = '5'), 'in_progress', 'BE20 describe answers');
SELECT is_empty('SELECT name, pg_temp.in_parallel(call) FROM parallel_call WHERE pg_temp.in_parallel(call) IS NOT NULL', 'BE20 and so do all');
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
-- what a parallel query's old snapshot showed is not remembered
SELECT once.scope_set('s', max_attempts => 1) \g /dev/null
SELECT is((SELECT verdict::text FROM once.claim('s', '6', lease => '1 us')), 'new', 'BE20 the scope');

-- BE21: a definition makes nobody wait
SELECT once.machine_set('m1', 'a', '[{"from": "a", "event": "go", "to": "b"}, {"from": "b", "event": "go", "to": "c"}]'),
       once.machine_set('m2', 'a', '[{"from": "a", "event": "go", "to": "b"}]') \g /dev/null
SELECT dblink_connect(name, format('dbname=%s host=%s port=%s', current_database(), current_setting('unix_socket_directories'), current_setting('port')))
    FROM (VALUES ('open'), ('definer'), ('other')) v(name) \g /dev/null
SELECT dblink_exec('other', 'SET statement_timeout = ''10s''') \g /dev/null
SELECT dblink_exec('open', 'BEGIN'), (SELECT v FROM dblink('open', 'SELECT verdict::text FROM once.transition(''m2'', ''x'', ''go'')') t(v text)) \g /dev/null
SELECT lives_ok($$ SELECT once.machine_set('m1', 'a', '[{"from": "a", "event": "go", "to": "b"}]') $$, 'BE21 a machine waits for no other one');
SELECT dblink_exec('open', 'COMMIT'), dblink_exec('open', 'BEGIN'),
       (SELECT v FROM dblink('open', 'SELECT verdict::text FROM once.transition(''m1'', ''x'', ''go'')') t(v text)) \g /dev/null
SELECT dblink_send_query('definer', $$ SELECT once.machine_set('m1', 'a', '[{"from": "a", "event": "go", "to": "z"}]')::text $$) \g /dev/null
SELECT pg_sleep(0.02) FROM generate_series(1, 200) WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%"to": "z"%' AND pid <> pg_backend_pid() AND wait_event IS NOT NULL) \g /dev/null
SELECT results_eq($$ SELECT v FROM generate_series(1, 5) g, dblink('other', format('SELECT verdict::text FROM once.transition(''m1'', ''y%s'', ''go'')', g)) t(v text) $$,
    $$ SELECT 'moved' FROM generate_series(1, 5) $$, 'BE21 others go on while a definition waits for an open transaction');
SELECT is(dblink_is_busy('definer'), 1, 'BE21 which it does');
SELECT dblink_exec('open', 'COMMIT') \g /dev/null
SELECT throws_like($$ SELECT * FROM dblink_get_result('definer') t(v text) $$, '%strand 6 entities%', 'BE21 then it sees all of them');
SELECT * FROM dblink_get_result('definer', false) t(v text) \g /dev/null
SELECT dblink_exec('definer', 'SET lock_timeout = ''300ms'''), dblink_exec('open', 'BEGIN'),
       (SELECT v FROM dblink('open', 'SELECT verdict::text FROM once.transition(''m2'', ''y'', ''go'')') t(v text)) \g /dev/null
SELECT throws_like($$ SELECT * FROM dblink('definer', $q$ SELECT once.machine_set('m2', 'a', '[{"from": "a", "event": "go", "to": "z"}]')::text $q$) t(v text) $$,
    '%could not remove states%', 'BE21 no longer than lock_timeout');
SELECT is((SELECT v FROM dblink('definer', 'SHOW lock_timeout') t(v text)), '300ms', 'BE21 which is left as it was');
SELECT dblink_exec('open', 'COMMIT') \g /dev/null

SELECT * FROM finish();
