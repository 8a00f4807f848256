-- Who may use which scope (once.grant_consumer, once.scope_grant).
SELECT plan(30);
SET client_min_messages = warning;
CREATE ROLE shop; CREATE ROLE payer; CREATE ROLE payer_member; CREATE ROLE stranger; CREATE ROLE ops;
GRANT payer TO payer_member;
SELECT once.grant_consumer(r::regrole) FROM (VALUES ('shop'), ('payer'), ('payer_member')) v(r);
SELECT once.grant_admin('ops');
-- The test's own functions must be callable by everybody.
GRANT USAGE ON SCHEMA public TO PUBLIC;
-- What a call does for a role: its verdict, or its SQLSTATE.
CREATE FUNCTION public.as_role(role text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text; BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE 'SELECT (' || call || ')::text' INTO answer;
    RESET ROLE;
    RETURN answer;
EXCEPTION WHEN OTHERS THEN
    RESET ROLE;
    RETURN SQLSTATE;
END $$;

SELECT is(as_role('stranger', $$SELECT verdict FROM once.claim('s', 'k')$$), '42501', 'without grant_consumer: no claim');
SELECT is(as_role('shop', $$SELECT verdict FROM once.claim('s', 'k')$$), 'new', 'with it: any scope that is not restricted');
SELECT is(as_role('payer', $$SELECT verdict FROM once.claim('s', 'k')$$), 'in_progress', 'which consumers share');
SELECT is(as_role('shop', $$SELECT count(*) FROM once.claim_week_0$$), '42501', 'nobody reads the tables');
SELECT is(as_role('shop', $$SELECT once.scope_set('mine')$$), '42501', 'scope_set is for administrators');
SELECT is(as_role('shop', $$SELECT once.scope_grant('pay', 'shop')$$), '42501', 'so is scope_grant');
SELECT is(as_role('shop', $$SELECT once.scope_drop('pay')$$), '42501', 'and scope_drop');
SELECT is(as_role('ops', $$SELECT once.scope_set('pay', keep => '1 day')$$), '', 'an administrator declares a scope');
SELECT is(as_role('ops', $$SELECT once.scope_grant('pay', 'payer')$$), '', 'and restricts it to a role');
SELECT is(as_role('ops', $$SELECT count(*) FROM once.scope$$), '1', 'and sees it');

SELECT * FROM once.claim('pay', 'k1', '{"card": 1}') \gset
SELECT once.complete('pay', 'k1', :'token', '"secret"');
SELECT is(as_role('payer', $$SELECT response FROM once.claim('pay', 'k1', '{"card": 1}')$$), '"secret"', 'the role reads its answers');
SELECT is(as_role('payer_member', $$SELECT response FROM once.claim('pay', 'k1', '{"card": 1}')$$), '"secret"', 'so do its members');
SELECT is(as_role('shop', call), '42501', 'another consumer cannot: ' || left(call, 30))
    FROM (VALUES ($$SELECT response FROM once.claim('pay', 'k1', '{"card": 1}')$$), ($$SELECT verdict FROM once.claim_bytes('pay', 'k1', NULL)$$), ($$SELECT response FROM once.describe('pay', 'k1')$$),
                 ($$once.try_complete('pay', 'k1', gen_random_uuid())$$), ($$once.try_fail('pay', 'k1', gen_random_uuid(), NULL)$$), ($$once.try_release('pay', 'k1', gen_random_uuid())$$),
                 ($$once.try_renew('pay', 'k1', gen_random_uuid(), '1 s')$$), ($$once.try_checkpoint('pay', 'k1', gen_random_uuid(), NULL)$$), ($$once.complete('pay', 'new', gen_random_uuid())$$)) v(call);
SELECT is(as_role('ops', $$SELECT once.scope_set('pay', keep => '1 s')$$), '42501', 'nor does an administrator without the right change what is restricted');
SELECT is((SELECT count(*) FROM once.claim_week_0 WHERE key = 'k1') , 0::bigint, 'and nothing was written elsewhere');
SELECT is((SELECT keep FROM once.scope WHERE name = 'pay'), interval '1 day', 'its settings stay');
SELECT once.scope_revoke('pay', 'payer');
SELECT is(as_role('payer', $$SELECT response FROM once.describe('pay', 'k1')$$), '42501', 'revoked: at once, and restricted also when nobody is left');
SELECT once.scope_grant('pay', 'public');
SELECT is(as_role('shop', $$SELECT response FROM once.describe('pay', 'k1')$$), '"secret"', 'public opens it again');
SELECT throws_ok($$ SELECT once.scope_grant('pay', 'nobody at all') $$, '42704', NULL, 'an unknown role');
SELECT throws_ok($$ SELECT once.scope_grant('unheard of', 'payer') $$, '42704', NULL, 'a scope that is not declared');
SELECT throws_ok($$ SELECT once.scope_grant('', 'payer') $$, '42704', NULL, 'the common store cannot be restricted');

-- SECURITY DEFINER functions of the application use their owner's right, as with tables
CREATE FUNCTION public.paid(key text) RETURNS jsonb LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT response FROM once.describe('pay', key) $$;
GRANT CREATE ON SCHEMA public TO payer;
ALTER FUNCTION public.paid(text) OWNER TO payer;
SELECT once.scope_grant('pay', 'payer');
SELECT is(as_role('shop', $$SELECT public.paid('k1')$$), '"secret"', 'through a function of the role that may');
DROP FUNCTION public.paid(text);
REVOKE CREATE ON SCHEMA public FROM payer;

SELECT * FROM finish();
DROP OWNED BY shop, payer, payer_member, ops;
DROP ROLE shop, payer, payer_member, stranger, ops;
