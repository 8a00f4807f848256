-- Guards under ordinary roles: what a consumer may call works without any right on our tables, and names that are
-- resolved by the caller's search_path are not the caller's.
SELECT plan(31);
CREATE ROLE once_t_consumer;
CREATE ROLE once_t_admin;
SELECT once.grant_consumer('once_t_consumer'), once.grant_admin('once_t_admin'), once.grant_publisher('once_t_consumer') \g /dev/null
GRANT CREATE ON SCHEMA public TO once_t_consumer;

SET ROLE once_t_admin;
SELECT lives_ok($$ SELECT once.machine_set('order', 'new', '[{"from": "new", "event": "create", "to": "created"}]') $$, 'an admin defines machines');
SELECT lives_ok($$ SELECT once.machine_history_set('order', true), once.memory_set('token', '7 days') $$, 'and sets what is kept');
SELECT throws_ok($$ SELECT once.transition('order', '1', 'create') $$, '42501', NULL, 'an admin moves nothing');

-- A caller with operators of his own before the server's: every comparison of ours must not be his.
SET ROLE once_t_consumer;
CREATE FUNCTION public.yes(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''mine was called''; END';
CREATE FUNCTION public.yes(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''mine was called''; END';
CREATE FUNCTION public.later(timestamptz, timestamptz) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''mine was called''; END';
CREATE FUNCTION public.plus(bigint, int) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RAISE ''mine was called''; END';
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN RAISE ''mine was called''; END';
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.yes);
CREATE OPERATOR public.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = public.yes);
CREATE OPERATOR public.> (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = public.later);
CREATE OPERATOR public.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = public.later);
CREATE OPERATOR public.+ (LEFTARG = bigint, RIGHTARG = int, FUNCTION = public.plus);
CREATE TABLE public.orders (id int PRIMARY KEY, status text, version bigint DEFAULT 0, token bigint);
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
CREATE TRIGGER fence BEFORE UPDATE OF token ON public.orders FOR EACH ROW EXECUTE FUNCTION once.lease_assert('job', 'token');
CREATE FUNCTION public.verdict_of(statement text) RETURNS text LANGUAGE plpgsql SET search_path = public, pg_catalog AS
    $$ DECLARE answer text; BEGIN EXECUTE statement INTO answer; RETURN answer; END $$;
SELECT is(public.verdict_of('SELECT verdict::text FROM once.transition(''order'', ''1'', ''create'', ''e'')'), 'moved', 'a consumer moves entities');
SELECT is(public.verdict_of('SELECT verdict::text FROM once.transition(''order'', ''1'', ''create'', ''e'')'), 'duplicate', 'twice');
SELECT is(public.verdict_of('SELECT verdict::text FROM once.transition(''order'', ''1'', ''create'')'), 'late', 'without an id');
SELECT is(public.verdict_of('INSERT INTO orders VALUES (1, ''new'') RETURNING status'), 'new', 'writes guarded tables');
SELECT is(public.verdict_of('UPDATE orders SET status = ''created'' RETURNING status'), 'created', 'and moves their rows');
SELECT throws_ok($$ SELECT public.verdict_of('UPDATE orders SET status = ''paid''') $$, 'ON030', NULL, 'by the graph');
SELECT is(public.verdict_of('SELECT verdict::text FROM once.bump(''orders'', ''1'', 0)'), 'ok', 'bump');
SELECT is(public.verdict_of('SELECT once.lock(''a'')::text'), 'locked', 'lock');
SELECT is(public.verdict_of('SELECT once.try_lock(''a'')::text'), 'locked', 'try_lock');
SELECT is(public.verdict_of('SELECT verdict::text FROM once.lease(''job'', ''me'', ''1 hour'')'), 'acquired', 'lease');
SELECT is(public.verdict_of('SELECT once.lease_assert(''job'', 1)::text'), '', 'lease_assert');
SELECT is(public.verdict_of('UPDATE orders SET token = 1 RETURNING token::text'), '1', 'lease_assert as a trigger');
SELECT is(public.verdict_of('SELECT once.lease_release(''job'', 1)::text'), 'true', 'lease_release');
SELECT ok(public.verdict_of('SELECT once.key_next(''p'')::text')::bigint > 0, 'key_next');
SELECT ok(public.verdict_of('SELECT upper(once.key_block(''p'', 5))::text')::bigint > 0, 'key_block');
SELECT ok(public.verdict_of('SELECT once.key_next_ordered(''p'')::text')::bigint > 0, 'key_next_ordered');
SELECT is(public.verdict_of('SELECT once.content_id(''s'', ''1'')::text'), once.content_id('s', '1')::text, 'content_id');
SELECT is(public.verdict_of('SELECT once.redeem_token(''f'', once.issue_token(''f'', ''1 hour''))::text'), 'ok', 'issue_token and redeem_token');
SELECT ok(public.verdict_of('SELECT once.machine_graph(''order'')') LIKE '%new --> created%', 'machine_graph');
SELECT is(public.verdict_of('SELECT once.publish_text(''t'', ''x'', dedup_key => ''d'')::text'), public.verdict_of('SELECT once.publish_text(''t'', ''x'', dedup_key => ''d'')::text'), 'publish with a dedup_key');
SELECT is(public.verdict_of('SELECT once.unschedule(once.publish_text(''t'', ''x'', deliver_at => now() + ''1 hour''::interval))::text'), 'true', 'publish with deliver_at, and unschedule');
SELECT throws_ok(statement, '42501', NULL, statement) FROM unnest(ARRAY['SELECT once.machine_set(''x'', ''a'', ''[]'')', 'SELECT once.deliver_due()',
    'SELECT once.memory_set(''token'', ''7 days'')', 'SELECT * FROM once.machine_entity', 'SELECT * FROM once.lease_state', 'SELECT nextval(''once.key_seq'')', 'SELECT * FROM once.scheduled']) AS statement;
RESET ROLE;
SELECT * FROM finish();
