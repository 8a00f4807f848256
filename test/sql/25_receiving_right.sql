-- Who may receive: rights come from grant_consumer, and without it from nowhere.
SELECT plan(40);

CREATE ROLE receiver;
CREATE ROLE stranger;
CREATE ROLE chief;
GRANT USAGE ON SCHEMA once TO stranger;
GRANT CREATE, USAGE ON SCHEMA public TO receiver, stranger;
SELECT once.grant_consumer('receiver');
CREATE TEMP TABLE calls (n int GENERATED ALWAYS AS IDENTITY, call text, consumer boolean);
INSERT INTO calls (call, consumer) VALUES
    ('once.accept(''c'', 1)', true), ('once.accept(''c'', ''1''::text)', true), ('once.accept_many(''c'', ''{2}''::bigint[])', true),
    ('once.accept_position(''c'', ''s'', 1)', true), ('once.accept_positions(''c'', ''s'', ''{2}'')', true), ('once.accept_window(''c'', ''s'', 1)', true),
    ('once.offset_claim(''g'', ''t'', 0)', true), ('once.offset_claim_topic(''g'', ''t'', 0, ''id'')', true), ('once.offset_begin(''g'', ''t'', 0, ''{}'', ''{}'')', true), ('once.accept_offset(''g'', ''t'', 0, 0, 9)', true), ('once.inbox_put(''c'', ''7'', ''x'')', true),
    ('once.inbox_take(''c'', 1)', true), ('once.inbox_fail(''c'', ''7'', ''x'')', true), ('once.inbox_done(''c'', ''{7}'')', true), ('once.sweep()', true),
    ('once.consumer_set(''c'')', false), ('once.generation_turn(''c'')', false), ('once.consumer_declare(''x'', ''uuid'')', false),
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
    FROM (VALUES ('once.consumer_set(''c'')'), ('once.inbox_redrive(''c'')'), ('once.offset_forget(''g'', ''t'')'), ('count(*) FROM once.inbox'), ('count(*) FROM once.consumer_offset')) AS v(c);
SELECT is(count(*) FILTER (WHERE pg_temp.outcome('stranger', call) <> '42501'), 0::bigint, 'E1 nobody else may call any of them') FROM calls;
SELECT is(pg_temp.outcome('receiver', t), '42501', 'E1 and no table is open: ' || t)
    FROM (VALUES ('* FROM once.consumer'), ('* FROM once.key_1_0'), ('* FROM once.position'), ('* FROM once.consumer_offset')) AS v(t);

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
SELECT is((SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = format('once.key_%s_0', (SELECT no FROM once.consumer WHERE name = 'astray'))::regclass
           AND attname = 'id'), 'uuid', 'E1 its tables have the server''s type');
DROP OWNED BY receiver, stranger, chief;
DROP ROLE receiver, stranger, chief;
