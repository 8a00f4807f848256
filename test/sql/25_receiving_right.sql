-- Who may receive: rights come from grant_consumer, and without it from nowhere.
SELECT plan(68);

CREATE ROLE receiver;
CREATE ROLE stranger;
CREATE ROLE chief;
GRANT USAGE ON SCHEMA once TO stranger;
GRANT CREATE, USAGE ON SCHEMA public TO receiver, stranger;
SELECT once.grant_consumer('receiver');
CREATE TEMP TABLE calls (n int GENERATED ALWAYS AS IDENTITY, call text, consumer boolean);
INSERT INTO calls (call, consumer) VALUES
    ('once.accept(''c'', 1)', true), ('once.accept(''c'', ''1''::text)', true), ('once.accept_event(''c'', ''1'')', true), ('once.accept_many(''c'', ''{2}'')', true), ('once.accept_many_bigint(''c'', ''{2}'')', true), ('once.accept_many_uuid(''c'', ''{}'')', true),
    ('once.accept_position(''c'', ''s'', 1)', true), ('once.accept_positions(''c'', ''s'', ''{2}'')', true), ('once.accept_window(''c'', ''s'', 1)', true),
    ('once.offset_claim(''g'', ''t'', 0)', true), ('once.offset_claim_topic(''g'', ''t'', 0, ''id'')', true), ('once.offset_begin(''g'', ''t'', 0, ''{}'', ''{}'')', true), ('once.accept_offset(''g'', ''t'', 0, 0, 9)', true), ('once.inbox_put(''c'', ''7'', ''x'')', true),
    ('once.inbox_take(''c'', 1)', true), ('once.inbox_fail(''c'', ''7'', ''x'')', true), ('once.inbox_again(''c'', ''7'', ''x'', 1)', true), ('once.inbox_discard(''c'', ''r'', ''7'')', false), ('once.offset_take(''g'', ''t'', 0, ''1 s'')', false), ('once.inbox_done(''c'', ''{7}'')', true), ('once.sweep()', true),
    ('once.consumer_set(''c'')', false), ('once.consumer_drop(''c'')', false), ('once.consumer_grant(''c'', ''public'')', false), ('once.consumer_revoke(''c'', ''public'')', false),
    ('once.ring_turn(''seen_week'')', false), ('once.consumer_check(''c'')', false), ('once.memory_set(''token'', ''1 day'')', false), ('count(*) FROM once.memory', false),
    ('once.offset_writer(''g'', ''t'', 0)', false), ('once.inbox_redrive(''c'')', false), ('once.offset_forget(''g'', ''t'')', false),
    ('once.inbox_take_behind(''c'', 1, 0)', false), ('once.inbox_followers(''c'', ''k'', 0, 1)', false), ('count(*) FROM once.inbox', true);
GRANT SELECT ON calls TO receiver, stranger;
CREATE FUNCTION pg_temp.outcome(role text, call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE 'SELECT ' || call;
    RESET ROLE;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
SELECT is(pg_temp.outcome('receiver', call), CASE WHEN consumer THEN 'ok' ELSE '42501' END, 'E1 a consumer: ' || call) FROM calls ORDER BY n;
SELECT is(pg_temp.outcome('receiver', c), '42501', 'E1 a consumer reads the inbox and does not write it: ' || c)
    FROM (VALUES ('1; DELETE FROM once.inbox'), ('1; UPDATE once.inbox SET state = ''ready'''), ('1; INSERT INTO once.inbox (consumer, id) VALUES (''c'', ''x'')')) AS v(c);
SELECT once.grant_admin('chief');
SELECT is(pg_temp.outcome('chief', c), 'ok', 'E1 an admin: ' || c)
    FROM (VALUES ('once.consumer_set(''c'')'), ('once.inbox_redrive(''c'')'), ('once.inbox_discard(''c'', ''r'', ''7'')'), ('once.offset_forget(''g'', ''t'')'), ('count(*) FROM once.inbox'), ('count(*) FROM once.consumer_offset')) AS v(c);
SELECT is(count(*) FILTER (WHERE pg_temp.outcome('stranger', call) <> '42501'), 0::bigint, 'E1 nobody else may call any of them') FROM calls;
SELECT is(pg_temp.outcome('receiver', t), '42501', 'E1 and no table is open: ' || t)
    FROM (VALUES ('* FROM once.consumer'), ('* FROM once.seen_week_0'), ('* FROM once.ring'), ('* FROM once.consumer_state'), ('* FROM once.position'), ('* FROM once.consumer_offset')) AS v(t);

-- What runs with the owner's rights must not be led astray by the caller's names.
SET ROLE receiver;
CREATE FUNCTION public.steal() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'led astray by %', current_user; END $$;
CREATE FUNCTION public.lt(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$ SELECT public.steal() IS NULL $$;
CREATE OPERATOR public.< (FUNCTION = public.lt, LEFTARG = bigint, RIGHTARG = bigint);
CREATE DOMAIN public.uuid AS text;
SET search_path = public, pg_catalog;
SELECT public.is(once.accept('astray', '018f3b1e-0000-7000-8000-000000000001'::pg_catalog.uuid)::text, 'new', 'E1 first use under a hostile search_path');
SELECT public.is(once.accept_position('astray', 's', 5)::text, 'new', 'E1 a position too');
RESET search_path;
RESET ROLE;

-- A consumer may be restricted to roles, as a scope may.
SELECT once.grant_consumer('stranger'), once.consumer_grant('vault', 'receiver') \g /dev/null
SELECT is(pg_temp.outcome('receiver', call), 'ok', 'E1 restricted: who was granted it: ' || call)
    FROM unnest(ARRAY['once.accept(''vault'', 1)', 'once.accept_many(''vault'', ''{2}'')', 'once.inbox_put(''vault'', ''3'', ''x'')']) call;
SELECT is(pg_temp.outcome('stranger', call), '42501', 'E1 restricted: who was not: ' || call)
    FROM unnest(ARRAY['once.accept(''vault'', 4)', 'once.accept_many(''vault'', ''{5}'')', 'once.inbox_put(''vault'', ''6'', ''x'')']) call;
GRANT receiver TO stranger;
SELECT is(pg_temp.outcome('stranger', 'once.accept(''vault'', 7)'), 'ok', 'E1 restricted: a member of a role that was granted it');
REVOKE receiver FROM stranger;
SELECT once.consumer_revoke('vault', 'receiver');
SELECT is(pg_temp.outcome('receiver', 'once.accept(''vault'', 8)'), '42501', 'E1 restricted: taken back');
SELECT once.consumer_grant('vault', 'public');
SELECT is(pg_temp.outcome('stranger', 'once.accept(''vault'', 9)'), 'ok', 'E1 open again');
SELECT once.consumer_grant('vault', 'receiver'), once.consumer_drop('vault') \g /dev/null
SELECT is(pg_temp.outcome('stranger', 'once.accept(''vault'', 1)'), 'ok', 'E1 dropped: its rights are gone, its ids are not');
SELECT is(once.accept('vault', 1), 'duplicate', 'E1 dropped: known');
SELECT throws_ok(format('SELECT once.consumer_grant(%s)', a), s, NULL, 'E9 refused: ' || a)
    FROM (VALUES ('NULL, ''public''', '22004'), ('''x'', NULL', '22004'), ('''x'', ''no such role''', '42704'), (''''', ''public''', 'ON010')) AS v(a, s);
DROP OWNED BY receiver, stranger, chief;
DROP ROLE receiver, stranger, chief;
