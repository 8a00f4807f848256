-- What our functions leave behind in the caller's session and statement: lastval(), and effects where PostgreSQL may
-- evaluate an expression twice.
SELECT plan(71);

-- BE8: a number of ours is not the session's last one
CREATE TABLE orders (id bigserial PRIMARY KEY, state text);
CREATE FUNCTION publish_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM once.publish('orders', to_jsonb(NEW), key => NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER publish_order AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION publish_order();
SELECT setval('orders_id_seq', 1000) \g /dev/null
INSERT INTO orders (state) VALUES ('new');
SELECT is(lastval(), 1001::bigint, 'BE8 lastval() is the order''s id, not the event''s number');
CREATE FUNCTION pg_temp.last_after(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('orders_id_seq');
    EXECUTE 'SELECT ' || call;
    RETURN CASE WHEN lastval() = currval('orders_id_seq') THEN 'untouched' ELSE 'lastval ' || lastval() END;
END $$;
SELECT is(pg_temp.last_after(call), 'untouched', 'BE8 ' || call) FROM unnest(ARRAY[
    $$once.publish('t', '1')$$, $$once.publish('t', '1', dedup_key => 'd')$$, $$once.publish('t', '1', deliver_at => now() + interval '1 ms')$$,
    $$once.publish_many('t', '{1,2}')$$, $$once.publish_event('t')$$, $$pg_sleep(0.01)$$, $$once.deliver_due()$$, $$once.rotate()$$,
    $$once.accept('first use', '018f3b1e-0000-7000-8000-000000000001'::uuid)$$, $$once.inbox_put('first use of an inbox', 'i', 'x')$$,
    $$once.key_next('p')$$, $$once.key_block('p', 10)$$, $$once.key_next_ordered('p')$$, $$once.consumer_set('declared')$$,
    $$once.claim('s', 'k')$$, $$once.lease('l', 'o', '1 h')$$, $$once.issue_token('f', '1 h')$$]) call;
SELECT throws_ok(format('SELECT currval(%L)', oid::regclass), '55000', NULL, 'BE8 no currval of ' || relname) FROM pg_class
    WHERE relkind = 'S' AND relnamespace = 'once'::regnamespace AND relname IN ('event_0_seq', 'key_seq', 'inbox_seq_seq') ORDER BY relname;
-- nextval and our own drawing agree on what is drawn
SELECT once.key_next('p') AS first \gset
SELECT nextval('once.key_seq') AS second \gset
SELECT once.key_next('p') AS third \gset
SELECT is(ARRAY[:second, :third]::bigint[], ARRAY[:first + 1, :first + 2]::bigint[], 'BE8 nextval and key_next give every number once');
SELECT is((SELECT count(DISTINCT once.key_next('p')) FROM generate_series(1, 1000)), 1000::bigint, 'H21 a thousand numbers');
SELECT is(log_cnt BETWEEN 0 AND 32, true, 'BE8 at most 32 numbers are logged ahead') FROM once.key_seq;
-- BE12: at the end of the numbers
SELECT last_value AS drawn FROM once.key_seq \gset
SELECT setval('once.key_seq', 9223372036854775800) \g /dev/null
SELECT throws_ok($$SELECT once.key_block('p', 10)$$, '2200H', NULL, 'BE12 a block that does not fit is refused');
SELECT is(once.key_block('p', 6), '[9223372036854775801,9223372036854775807)', 'BE12 nothing was lost by it');
SELECT throws_ok($$SELECT once.key_next('p')$$, '2200H', NULL, 'BE12 the numbers are at an end');
SELECT setval('once.key_seq', :drawn) \g /dev/null
-- BE12: settings have bounds
SELECT throws_ok(call, '22023', NULL, 'BE12 ' || call) FROM unnest(ARRAY[
    'SELECT once.set_lanes(1, 64, 400000000000000000)', 'SELECT once.set_lanes(1, 4, 9223372036854775807)', 'SELECT once.set_lanes(1, 4, 100000001)',
    'SELECT once.set_lanes(1, 4, 0)', 'SELECT once.set_lanes(64, 64)', 'SELECT once.topic_set(''t'', max_backlog => 9223372036854775807)']) call;
SELECT lives_ok('SELECT once.topic_set(''most'', max_backlog => 1000000000000)', 'BE12 the largest backlog');
SELECT lives_ok('SELECT once.publish(''most'', ''1'')', 'BE12 is counted');
SELECT once.topic_drop('most') \g /dev/null

-- BE4: in a statement that may evaluate it twice
CREATE TABLE acc (id int PRIMARY KEY, bal int, note text);
INSERT INTO acc VALUES (1, 0), (2, 0);
CREATE FUNCTION wrapped(c text, i text) RETURNS text LANGUAGE sql AS $$SELECT once.accept(c, i)::text$$;
SELECT throws_ok(statement, '0A000', NULL, 'BE4 refused: ' || statement) FROM unnest(ARRAY[
    $$UPDATE acc SET bal = bal + 1 WHERE id = 1 AND once.accept('billing', 'a') = 'new'$$,
    $$UPDATE acc SET note = once.publish('acc', jsonb_build_object('bal', bal + 1), key => id)::text WHERE id = 1$$,
    $$UPDATE acc SET (bal, note) = (SELECT 1, once.publish('acc', '{}', key => acc.id)::text) WHERE id = 1$$,
    $$UPDATE acc SET bal = 1 WHERE (SELECT once.accept('billing', acc.id::text)) = 'new'$$,
    $$UPDATE acc SET bal = 1 WHERE EXISTS (SELECT FROM generate_series(1, 1) g WHERE once.accept('billing', acc.id || 'x' || g) = 'new')$$,
    $$UPDATE acc a SET bal = 1 FROM acc b WHERE a.id = b.id AND (once.claim('s', b.id::text)).verdict = 'new'$$,
    $$UPDATE acc SET bal = 1 WHERE wrapped('billing', 'w') = 'new'$$,
    $$DELETE FROM acc WHERE id = 1 AND once.accept('billing', 'a') = 'new'$$,
    $$DELETE FROM acc USING generate_series(1, 2) g WHERE id = g AND once.redeem_token('f', gen_random_uuid()) = 'ok'$$,
    $$MERGE INTO acc USING (VALUES (1)) v(i) ON id = i WHEN MATCHED AND once.accept('billing', 'a') = 'new' THEN UPDATE SET bal = 1$$,
    $$MERGE INTO acc USING (VALUES (1)) v(i) ON id = i WHEN MATCHED THEN UPDATE SET note = once.publish('t', '{}')::text$$,
    $$MERGE INTO acc USING (VALUES (1)) v(i) ON id = i AND once.try_lock('a') = 'locked' WHEN MATCHED THEN DELETE$$,
    $$SELECT once.publish('acc', to_jsonb(acc), key => id) FROM acc WHERE id = 1 FOR UPDATE$$,
    $$SELECT id FROM acc WHERE once.accept('billing', id::text) = 'new' FOR NO KEY UPDATE$$,
    $$SELECT id FROM acc WHERE once.lease('l', 'o', '1 s') IS NULL FOR SHARE$$,
    $$SELECT once.key_next('p') FROM acc FOR KEY SHARE SKIP LOCKED$$,
    $$INSERT INTO orders (state) SELECT once.publish_text('t', note)::text FROM acc FOR UPDATE$$,
    $$WITH gone AS (DELETE FROM acc WHERE once.transition('m', id::text, 'e') IS NULL RETURNING 1) SELECT count(*) FROM gone$$,
    $$WITH v AS (SELECT once.publish('t', '1') FROM acc FOR UPDATE) SELECT count(*) FROM v$$]) statement
    WHERE statement !~ '^MERGE' OR current_setting('server_version_num')::int >= 150000;
PREPARE late AS UPDATE acc SET bal = 1 WHERE once.accept('billing', $1) = 'new';
SELECT throws_ok($$EXECUTE late('a')$$, '0A000', NULL, 'BE4 refused: a prepared statement');
SELECT throws_ok($$DO 'BEGIN UPDATE acc SET bal = 1 WHERE once.accept(''billing'', ''a'') = ''new''; END'$$, '0A000', NULL, 'BE4 refused: in plpgsql');
SELECT is((SELECT sum(bal) FROM acc), 0::bigint, 'BE4 nothing was done');
SELECT is((SELECT count(*) FROM once.inbox), 1::bigint, 'BE4 nothing was left');
SELECT lives_ok(statement, 'BE4 right: ' || statement) FROM unnest(ARRAY[
    $$WITH a AS (SELECT once.accept('billing', 'cte') AS verdict) UPDATE acc SET bal = bal + 1 FROM a WHERE id = 1 AND verdict = 'new'$$,
    $$WITH a AS MATERIALIZED (SELECT once.accept('billing', 'cte2') AS verdict) UPDATE acc SET bal = bal + 1 WHERE id = 1 AND (SELECT verdict FROM a) = 'new'$$,
    $$UPDATE acc SET bal = bal + 1 WHERE id = 1 AND (SELECT once.accept('billing', 'sub-select')) = 'new'$$,
    $$UPDATE acc SET bal = bal + 1 FROM once.accept('billing', 'from') v WHERE id = 1 AND v = 'new'$$,
    $$UPDATE acc SET bal = bal + 1 FROM (SELECT once.accept('billing', 'derived') AS v) a WHERE id = 1 AND v = 'new'$$,
    $$UPDATE acc SET bal = bal + 1 WHERE id = 1 RETURNING once.publish('acc', to_jsonb(acc), key => id)$$,
    $$DELETE FROM acc WHERE id = 2 RETURNING once.publish('acc', NULL, key => id)$$,
    $$WITH l AS (SELECT * FROM acc WHERE id = 1 FOR UPDATE) SELECT once.publish('acc', to_jsonb(l), key => l.id) FROM l$$,
    $$INSERT INTO acc VALUES (2, once.key_next('p')) ON CONFLICT (id) DO UPDATE SET bal = once.key_next('p')$$,
    $$INSERT INTO acc SELECT 3, once.key_next('p')$$, $$SELECT once.publish('acc', to_jsonb(acc)) FROM acc WHERE once.accept('billing', id::text) = 'new'$$]) statement;
SELECT is((SELECT bal FROM acc WHERE id = 1), 6, 'BE4 the right ones acted once');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p JOIN once.role_right r ON r.object = p.proname AND r.privilege = 'EXECUTE'
                  WHERE p.pronamespace = 'once'::regnamespace AND p.provolatile = 'v' AND r.kind IN ('publisher', 'consumer')
                  AND p.prosupport <> 'once.single_evaluation'::regproc$$, 'BE4 every function with an effect is guarded');
SELECT * FROM finish();
