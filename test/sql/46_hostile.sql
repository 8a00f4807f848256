-- What each role must not do, tried: direct writes, objects and triggers on what is ours, shadows of every function, operator,
-- relation and type that our functions use, forged names, and tables that spring a trap on whoever reads them.
SELECT plan(48);
SET client_min_messages = error;
CREATE ROLE once_h_publisher;
CREATE ROLE once_h_relay;
CREATE ROLE once_h_consumer;
CREATE ROLE once_h_admin;
CREATE ROLE once_h_nobody;
GRANT USAGE ON SCHEMA once TO once_h_nobody;
SELECT once.grant_publisher('once_h_publisher'), once.grant_relay('once_h_relay'), once.grant_consumer('once_h_consumer'),
       once.grant_admin('once_h_admin') \g /dev/null
GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC;
CREATE TEMP VIEW role_name AS SELECT 'once_h_' || kind AS role, kind FROM unnest(ARRAY['publisher', 'relay', 'consumer', 'admin', 'nobody']) kind;
SELECT once.consumer_set('c'), once.scope_set('s'), once.topic_set('t') \g /dev/null
SELECT once.machine_set('m', 'a', '[{"from": "a", "event": "e", "to": "b"}]') \g /dev/null

-- What a statement does for a role: ok, or its SQLSTATE. Whatever it did is undone.
CREATE FUNCTION pg_temp.outcome(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    RAISE SQLSTATE 'UOKAY';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'UOKAY' THEN 'ok' WHEN 'P0001' THEN SQLERRM ELSE SQLSTATE END;
END $$;

-- 1. Tables, sequences and the schema. 55000: a view of several tables takes no row from anybody; 42809: the wrong kind of object.
CREATE TEMP TABLE attempt (statement text);
INSERT INTO attempt SELECT format(s, c.relname, (SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum LIMIT 1))
    FROM pg_class c CROSS JOIN unnest(ARRAY[
        'INSERT INTO once.%1$I DEFAULT VALUES', 'UPDATE once.%1$I SET %2$I = DEFAULT', 'DELETE FROM once.%1$I', 'TRUNCATE once.%1$I',
        'LOCK TABLE once.%1$I IN ROW EXCLUSIVE MODE', 'SELECT FROM once.%1$I FOR UPDATE', 'COPY once.%1$I FROM PROGRAM ''true''',
        'CREATE TRIGGER t BEFORE INSERT ON once.%1$I FOR EACH ROW EXECUTE FUNCTION once.guard(''m'', ''state'')',
        'CREATE RULE r AS ON INSERT TO once.%1$I DO NOTHING', 'ALTER TABLE once.%1$I ADD x int', 'DROP TABLE once.%1$I',
        'ALTER TABLE once.%1$I ENABLE ROW LEVEL SECURITY', 'ALTER TABLE once.%1$I OWNER TO once_h_nobody']) s
    WHERE relnamespace = 'once'::regnamespace AND relkind IN ('r', 'v');
INSERT INTO attempt SELECT format(s, c.relname) FROM pg_class c CROSS JOIN unnest(ARRAY[
        'CREATE INDEX ON once.%1$I ((1))', 'CREATE TABLE public.heir () INHERITS (once.%1$I)', 'CREATE STATISTICS public.st ON (1) , (2) FROM once.%1$I',
        'CREATE POLICY p ON once.%1$I USING (true)', 'CLUSTER once.%1$I']) s
    WHERE relnamespace = 'once'::regnamespace AND relkind = 'r';
INSERT INTO attempt SELECT format(s, c.relname) FROM pg_class c CROSS JOIN unnest(ARRAY[
        'SELECT nextval(''once.%I'')', 'SELECT setval(''once.%I'', 1)', 'ALTER SEQUENCE once.%I RESTART']) s
    WHERE relnamespace = 'once'::regnamespace AND relkind = 'S';
INSERT INTO attempt VALUES ('CREATE TABLE once.mine ()'), ('CREATE FUNCTION once.mine() RETURNS int LANGUAGE sql AS ''SELECT 1'''),
    ('CREATE FUNCTION once.publish(text, int) RETURNS int LANGUAGE sql AS ''SELECT 1'''), ('CREATE TYPE once.mine AS ENUM ()'),
    ('CREATE OPERATOR once.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)'), ('CREATE SEQUENCE once.mine'), ('DROP SCHEMA once CASCADE'),
    ('ALTER SCHEMA once RENAME TO mine'), ('ALTER FUNCTION once.lock(text[]) SECURITY DEFINER'), ('DROP EXTENSION pg_once CASCADE'),
    ('ALTER EXTENSION pg_once UPDATE'), ('ALTER TYPE once.verdict ADD VALUE ''mine'''), ('GRANT once_h_admin TO once_h_nobody');
SELECT cmp_ok((SELECT count(*) FROM attempt), '>', 500::bigint, 'there is much to try');
CREATE TEMP TABLE tried AS SELECT kind, statement, pg_temp.outcome(role, statement) AS o FROM role_name, attempt;
SELECT is_empty(format($$ SELECT statement, o FROM tried WHERE kind = %L AND o NOT IN ('42501', '55000', '42809') $$, kind),
                'a ' || kind || ' changes no table, sequence or function and makes nothing of his own in the schema') FROM role_name;
SELECT is_empty(format($$ SELECT statement, o FROM tried WHERE kind = %L AND o <> '42501'
                          AND statement !~ 'event_\d+"?( |$)|once.(topics|consumer|memory)( |$)' $$, kind), 'for want of a right, ' || kind) FROM role_name;

-- 2. Reading on the way round: a view of one's own, a function of one's own, OIDs of tables that one may not touch.
SELECT is(pg_temp.outcome('once_h_publisher', s), '42501', 'no way round: ' || left(s, 50)) FROM (VALUES
    ('CREATE VIEW public.peek AS SELECT * FROM once.consumer; SELECT * FROM public.peek'),
    ('CREATE MATERIALIZED VIEW public.peek AS SELECT * FROM once.consumer'),
    ('SELECT * FROM once.bump(''once.lane'', ''0'', 0, ''lane'', ''redrive_floor'')'),
    ('SELECT * FROM once.bump(''pg_authid'', ''postgres'', 0, ''rolname'', ''rolconnlimit'')'),
    ('SELECT * FROM once.guarded_states(''pg_authid''::regclass, ''rolname'', ''{postgres}'')'),
    ('SELECT once.member_add(''TABLE'', ''x'')'), ('SELECT once.lane_drop(0)'), ('SELECT once.lane_try(0, true)'),
    ('SELECT once.grant_kind(''admin'', ''once_h_publisher'')'), ('SELECT once.scope_grant(''s'', ''once_h_publisher'')'),
    ('SELECT once.scope_classify(''s'')'), ('SELECT once.offset_claim(''g'', ''t'', 0)')) v(s);

-- 3. Shadows. Every function and operator of the server that our texts could mean, once more, in a schema before
-- pg_catalog; relations and types too, there and among the temporary ones, which come first everywhere. Each says so.
CREATE SCHEMA evil;
CREATE FUNCTION evil.astray() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'led astray as %', current_user; END $$;
CREATE FUNCTION pg_temp.try(statement text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; RETURN true; EXCEPTION WHEN OTHERS THEN RETURN false; END $$;
CREATE TEMP TABLE our_word AS
    SELECT DISTINCT word FROM pg_proc p, regexp_split_to_table(lower(p.prosrc || coalesce(pg_get_function_sqlbody(p.oid), '')), '[^a-z0-9_]+') word
    WHERE pronamespace = 'once'::regnamespace;
CREATE TEMP TABLE shadow AS
    SELECT proname, oid, pg_temp.try(format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.astray(); END $f$', proname,
               oidvectortypes(proargtypes), format_type(prorettype, NULL))) AS made
    FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset
        AND (proname IN (SELECT word FROM our_word) OR oid IN (SELECT oprcode FROM pg_operator));
SELECT cmp_ok((SELECT count(*) FROM shadow WHERE made), '>', 900::bigint, 'many functions have a shadow');
SELECT cmp_ok((SELECT count(*) FROM pg_operator o JOIN shadow s ON s.oid = o.oprcode AND s.made
               WHERE oprnamespace = 'pg_catalog'::regnamespace AND pg_temp.try(format('CREATE OPERATOR evil.%s (FUNCTION = evil.%I %s, RIGHTARG = %s)', oprname, proname,
                   CASE WHEN oprleft <> 0 THEN ', LEFTARG = ' || format_type(oprleft, NULL) END, format_type(oprright, NULL)))), '>', 600::bigint, 'and operators');
SELECT ok(pg_temp.try(format('CREATE VIEW evil.%1$I AS SELECT evil.astray() AS oid; GRANT SELECT ON evil.%1$I TO PUBLIC', relname)), 'a shadow of ' || relname)
    FROM (SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relname IN ('pg_class', 'pg_roles', 'pg_proc', 'pg_stat_activity', 'pg_locks', 'pg_depend') ORDER BY 1) r;
SELECT pg_temp.try(format('CREATE DOMAIN evil.%I AS pg_catalog.%1$I CHECK (evil.astray() IS NULL)', t)) FROM unnest(ARRAY['text', 'uuid', 'int4', 'int8', 'jsonb', 'interval', 'timestamptz', 'bytea']) t \g /dev/null
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION pg_temp.lure(role text, call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    CREATE TEMP TABLE pg_class (oid int); CREATE TEMP TABLE consumer (no int); CREATE TEMP TABLE lane (lane int); CREATE TEMP TABLE machine (name text);
    SET LOCAL search_path = pg_temp, evil, pg_catalog;
    BEGIN EXECUTE call; EXCEPTION WHEN OTHERS THEN RAISE SQLSTATE 'UASKD' USING MESSAGE = pg_catalog.concat(SQLSTATE, ' ', SQLERRM); END;
    RAISE SQLSTATE 'UOKAY';
EXCEPTION WHEN SQLSTATE 'UOKAY' THEN RETURN 'ok'; WHEN OTHERS THEN RETURN SQLERRM;
END $$;
GRANT TEMP ON DATABASE :DBNAME TO PUBLIC;
SELECT is(pg_temp.lure('once_h_consumer', 'SELECT 1 OPERATOR(evil.=) 1'), 'P0001 led astray as once_h_consumer', 'a shadow that is met says so');
CREATE TEMP TABLE called (role text, call text);
INSERT INTO called VALUES ('once_h_admin', 'SELECT once.set_lanes(2)'); -- before anything draws a number, which no rollback takes back
INSERT INTO called SELECT 'once_h_consumer', 'SELECT ' || c FROM unnest(ARRAY[
    'once.accept(''n'', ''018f3b1e-0000-7000-8000-000000000001''::pg_catalog.uuid)', 'once.accept(''i'', 7::pg_catalog.int8)', 'once.accept(''w'', ''x''::pg_catalog.text)', 'once.accept_event(''w'', ''y'')', 'once.accept_many(''i'', ''{8,9}''::pg_catalog.text[])', 'once.accept_many_bigint(''i'', ''{10}''::pg_catalog.int8[])', 'once.accept_many_uuid(''n'', ''{018f3b1e-0000-7000-8000-000000000002}''::pg_catalog.uuid[])',
    'once.accept_position(''c'', ''s'', 5)', 'once.accept_positions(''c'', ''s'', ''{7,6}'')', 'once.accept_window(''c'', ''s'', 5)', 'once.offset_claim(''g'', ''t'', 0)', 'once.offset_claim_topic(''g'', ''t'', 0, ''id'')', 'once.offset_begin(''g'', ''t'', 0, ''{0}'', ''{0}'')',
    'once.accept_offset(''g'', ''t'', 0, 0, 9)', 'once.inbox_put(''b'', ''7'', ''x'')', 'once.inbox_take(''b'', 1)', 'once.inbox_fail(''b'', ''7'', ''x'')', 'once.inbox_again(''b'', ''7'', ''x'', 1)', 'once.inbox_done(''b'', ''{7}'')', 'once.sweep()',
    'once.claim(''s'', ''k'', ''{"a": 1}'')', 'once.claim(''new'', ''k'')', 'once.claim_bytes(''s'', ''l'', ''x'')', 'once.describe(''s'', ''k'')',
    'once.try_complete(''s'', ''k'', ''018f3b1e-0000-7000-8000-000000000001'')', 'once.try_renew(''s'', ''k'', ''018f3b1e-0000-7000-8000-000000000001'', ''1 s'')', 'once.fingerprint(''{"a": [1, 2.0]}'')',
    'once.transition(''m'', ''1'', ''e'', ''id'')', 'once.machine_graph(''m'')', 'once.machine_graph(''m'', ''dot'')', 'once.lock(''a'', ''b'')', 'once.try_lock(''a'')', 'once.lease(''l'', ''me'', ''1 h'')',
    'once.key_next(''p'')', 'once.key_block(''p'', 3)', 'once.key_next_ordered(''p'')', 'once.content_id(''s'', ''{"a": 1}'', ''{a}'')', 'once.issue_token(''s'', ''1 h'')',
    'once.redeem_token(''s'', ''018f3b1e-0000-7000-8000-000000000001'')']) c;
INSERT INTO called SELECT 'once_h_publisher', 'SELECT ' || c FROM unnest(ARRAY[
    'once.publish_text(''t'', ''x''::pg_catalog.text, key => ''k'', headers => ''{"a": "b"}'')', 'once.publish(''t'', ''{}''::pg_catalog.jsonb, dedup_key => ''d'')',
    'once.publish_bytes(''t'', ''x''::pg_catalog.bytea, deliver_at => pg_catalog.now())', 'once.publish_many_text(''t'', ''{x,y}''::pg_catalog.text[], ''{a,b}'')', 'once.unschedule(''018f3b1e-0000-7000-8000-000000000001'')']) c;
INSERT INTO called SELECT 'once_h_relay', 'SELECT ' || c FROM unnest(ARRAY[
    'once.lane_lock(0)', 'once.lane_unlock(0)', 'once.identity(0)', 'once.cut(0)', 'once.wait(0, pg_catalog.pg_current_snapshot(), 1)', 'once.missing_ids(0, ''{018f3b1e-0000-7000-8000-000000000001}'')', 'once.passed_over(0, pg_catalog.pg_current_snapshot())',
    'once.trim(0, pg_catalog.pg_current_snapshot())', 'once.rotate()', 'once.parked_seqs(0, 0)', 'once.held_keys(0, 0)', 'once.status()', 'once.deliver_due()', 'once.sweep()',
    'once.redrive_next(0, 1, NULL, pg_catalog.pg_current_snapshot(), NULL, 10, 1000)', 'once.redrive_stamped(0, 0)',
    'once.history_check(0, ''018f3b1e-0000-7000-8000-000000000001'', 1, 1, 1, ''0/1'', pg_catalog.pg_current_snapshot(), NULL, NULL)']) c;
INSERT INTO called SELECT 'once_h_admin', 'SELECT ' || c FROM unnest(ARRAY[
    'once.topic_set(''u'', 1000)', 'once.topic_drop(''t'')', 'once.redrive(''t'', ''k'')', 'once.redrive_all()', 'once.rearm(0, ''all'')', 'once.grant_publisher(''once_h_nobody'')',
    'once.grant_relay(''once_h_nobody'')', 'once.consumer_set(''d'', ''30 days'')', 'once.consumer_drop(''d'')', 'once.consumer_grant(''d'', ''public'')', 'once.consumer_revoke(''d'', ''public'')', 'once.ring_turn(''seen_week'')', 'once.memory_rows()', 'once.inbox_redrive(''c'')', 'once.inbox_discard(''c'', ''r'', ''1'')', 'once.offset_forget(''g'', ''t'')',
    'once.scope_set(''v'', ''1 min'')', 'once.scope_drop(''v'')', 'once.scope_grant(''s'', ''once_h_consumer'')', 'once.scope_revoke(''s'', ''once_h_consumer'')', 'once.machine_set(''m'', ''a'', ''[{"from": "a", "event": "e", "to": "c"}]'')',
    'once.machine_history_set(''m'', true)', 'once.memory_set(''token'', ''7 days'')', 'once.status()']) c;
SELECT is_empty($$ SELECT call, o FROM called, pg_temp.lure(role, call) o WHERE o <> 'ok' $$, 'shadows change nothing');
SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc p JOIN once.role_right r ON r.object = p.proname AND r.privilege = 'EXECUTE' WHERE pronamespace = 'once'::regnamespace AND prosecdef
    AND NOT EXISTS (SELECT FROM called WHERE call ~ ('once\.' || p.proname || '\(')) AND proname NOT IN ('grant_consumer', 'inbox_store', 'inbox_park', 'lease_release', 'park', 'report', 'redrive_refused', 'redrive_unstamp') $$,
    'every function with the owner''s rights was lured');
-- Settings that any caller may make, which change how text is read and written, go with him into functions of the owner.
CREATE FUNCTION pg_temp.strange(role text, call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    PERFORM set_config(name, value, true) FROM (VALUES ('quote_all_identifiers', 'on'), ('standard_conforming_strings', 'off'), ('backslash_quote', 'off'), ('array_nulls', 'off'),
        ('transform_null_equals', 'on'), ('DateStyle', 'German'), ('IntervalStyle', 'iso_8601'), ('TimeZone', 'Asia/Kathmandu'), ('bytea_output', 'escape'), ('extra_float_digits', '-15'), ('row_security', 'off'),
        ('check_function_bodies', 'off'), ('plan_cache_mode', 'force_custom_plan'), ('enable_indexscan', 'off'), ('default_toast_compression', 'pglz'), ('client_encoding', 'LATIN1')) s (name, value);
    EXECUTE call;
    RAISE SQLSTATE 'UOKAY';
EXCEPTION WHEN SQLSTATE 'UOKAY' THEN RETURN 'ok'; WHEN OTHERS THEN RETURN concat(SQLSTATE, ' ', SQLERRM);
END $$;
SELECT is_empty($$ SELECT call, o FROM called, pg_temp.strange(role, call) o WHERE o <> 'ok' AND call !~ 'set_lanes' $$, 'nor do settings');
DROP SCHEMA evil CASCADE;

-- 4. Names that look like SQL, like other names, or like nothing: taken as they are or refused, never run.
CREATE TEMP TABLE forged (name text);
INSERT INTO forged VALUES ('x"; DROP TABLE once.topic; --'), ('x''); DROP TABLE once.topic; --'), ('$$; DROP TABLE once.topic; $$'), ('$_$'), ('%I %s %L %1$s'), ('\'), ('\000'), ('"'), (''''),
    ('pg_temp'), ('once.topic'), ('public'), ('current_user'), ('NULL'), (' '), ('-- '), ('/*'), (U&'\202Eremmus'), (U&'\0430dmin'), (U&'a\200Bb'), (U&'\FEFF'), (repeat('x', 255)), (repeat('x', 256)),
    (repeat('x', 100000)), (E'a\nb'), (E'\x7f'), (U&'\+01F600'), ('{}'), ('../../etc/passwd');
CREATE TEMP TABLE taker AS SELECT 'once_h_consumer' AS role, 'SELECT ' || c AS call FROM unnest(ARRAY['once.accept(%1$L, 1)', 'once.accept(%1$L, %1$L::text)', 'once.accept_position(%1$L, %1$L, 1)', 'once.accept_window(%1$L, %1$L, 1)',
        'once.offset_claim(%1$L, %1$L, 0)', 'once.offset_claim_topic(%1$L, %1$L, 0, %1$L)', 'once.offset_begin(%1$L, %1$L, 0, ''{0}'', ''{0}'')', 'once.accept_offset(%1$L, %1$L, 0, 0, 1)', 'once.inbox_put(%1$L, %1$L, ''x'', %1$L)', 'once.inbox_take(%1$L, 1)', 'once.claim(%1$L, %1$L)', 'once.describe(%1$L, %1$L)',
        'once.transition(''m'', %1$L, %1$L, %1$L)', 'once.transition(%1$L, ''e'', ''x'')', 'once.machine_graph(%1$L)', 'once.lock(%1$L)', 'once.lease(%1$L, %1$L, ''1 h'')', 'once.key_next(%1$L)', 'once.content_id(%1$L, ''1'', ARRAY[%1$L])', 'once.issue_token(%1$L, ''1 h'')',
        'once.bump(''once_h_table'', %1$L, 1, %1$L, %1$L)', 'once.inbox_store(%1$L, ARRAY[%1$L], ''{0}'', ''{1}'', ARRAY[%1$L], ''{x}'', ''{"{}"}'', ARRAY[%1$L], ARRAY[%1$L], ''{1}'', ''{now}'')']) c
    UNION ALL SELECT 'once_h_publisher', 'SELECT ' || c FROM unnest(ARRAY['once.publish_text(%1$L, ''x'')', 'once.publish_text(''t'', ''x'', key => %1$L)', 'once.publish_text(''t'', ''x'', dedup_key => %1$L)', 'once.publish_text(''t'', ''x'', headers => jsonb_build_object(%1$L, %1$L))']) c
    UNION ALL SELECT 'once_h_admin', 'SELECT ' || c FROM unnest(ARRAY['once.consumer_set(%1$L)', 'once.consumer_drop(%1$L)', 'once.consumer_grant(%1$L, ''public'')', 'once.consumer_grant(''d'', %1$L)', 'once.consumer_revoke(''d'', %1$L)', 'once.scope_set(%1$L)', 'once.scope_set(''v'', on_mismatch => %1$L)', 'once.scope_grant(%1$L, ''public'')', 'once.scope_grant(''s'', %1$L)',
        'once.topic_set(%1$L)', 'once.topic_drop(%1$L)', 'once.redrive(%1$L, %1$L)', 'once.rearm(0, %1$L)', 'once.memory_set(%1$L, ''7 days'')', 'once.ring_turn(%1$L)', 'once.inbox_redrive(%1$L, %1$L, %1$L, %1$L)', 'once.inbox_discard(%1$L, %1$L, %1$L)', 'once.offset_forget(%1$L, %1$L)',
        'once.machine_set(%1$L, %1$L, jsonb_build_array(jsonb_build_object(''from'', %1$L, ''event'', %1$L, ''to'', %1$L)))', 'once.grant_publisher(to_regrole(quote_ident(%1$L)))']) c;
CREATE TABLE public.once_h_table (id text, version bigint);
GRANT ALL ON public.once_h_table TO once_h_consumer;
SELECT is_empty($$ SELECT call, left(name, 40), o FROM taker, forged, pg_temp.outcome(role, format(call, name)) o
    WHERE o NOT IN ('ok', '22004', '22023', '42703', '42704', '23514', 'ON001', 'ON002', 'ON003', 'ON010', 'ON031') $$, 'a forged name is a name or refused');
SELECT is_empty($$ SELECT call, left(name, 40) FROM taker, forged WHERE octet_length(name) > 255 AND call ~ 'consumer_set\(%|accept|claim\(|scope_set\(%|lock|lease|inbox_store|offset|machine_set|key_next|token'
    AND pg_temp.outcome(role, format(call, name)) = 'ok' $$, 'none that is too long');
SELECT has_table('once', 'topic', 'and what they name is still there');
SELECT pg_temp.try(format('CREATE ROLE %I', name)) FROM forged WHERE octet_length(name) < 60 AND name ~ '[;%''"]' \g /dev/null
SELECT is_empty($$ SELECT rolname, o FROM pg_roles, pg_temp.outcome('once_h_admin', format('SELECT once.grant_relay(%L::regrole), once.grant_consumer(%1$L::regrole), once.scope_grant(''s'', %L)', quote_ident(rolname), rolname)) o
    WHERE rolname ~ '[;%''"]' AND o <> 'ok' $$, 'a role with such a name gets its rights');
SELECT is((SELECT count(*) FROM pg_roles WHERE rolname ~ '[;%''"]'), 6::bigint, 'there are some');
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '[;%''"]' \gexec

-- 5. A table that is read runs code of its owner: functions in the predicate of an index are called when the statement is
-- planned. Removing a state reads guarded tables, and whoever may create a trigger chooses them.
CREATE TABLE public.caught (who text);
GRANT INSERT ON public.caught TO PUBLIC;
SET ROLE once_h_publisher;
CREATE TABLE public."s""; --" (id int, "st'ate" text);
INSERT INTO public."s""; --" VALUES (1, 'a');
CREATE FUNCTION public.spring() RETURNS void LANGUAGE plpgsql VOLATILE AS $$ BEGIN INSERT INTO public.caught SELECT current_user; PERFORM set_config('search_path', 'public', false); END $$;
CREATE FUNCTION public.trap(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.spring(); RETURN true; END $$;
CREATE INDEX ON public."s""; --" (id) WHERE public.trap(1);
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON public."s""; --" FOR EACH ROW EXECUTE FUNCTION once.guard('m', 'st''ate');
RESET ROLE;
TRUNCATE public.caught;
SET ROLE once_h_admin;
SELECT throws_ok($$ SELECT once.machine_set('m', 'c', '[{"from": "c", "event": "e", "to": "d"}]') $$, 'ON031', NULL, 'removing a state reads the guarded table');
SELECT lives_ok($$ SELECT once.machine_set('m', 'a', '[{"from": "a", "event": "e", "to": "d"}]') $$, 'and removes one in which no row stands');
RESET ROLE;
SELECT is_empty('SELECT DISTINCT who FROM public.caught', 'nothing of the owner''s runs: rows are read past the planner');
SELECT is(current_setting('search_path') = 'public', false, 'and what its code sets is undone');

-- 6. What a refusal tells: a scope that is closed says no more than that.
SELECT * FROM once.claim('s', 'secret-key', '{"card": "secret-card"}') \gset
SELECT once.complete('s', 'secret-key', :'token', '"secret-answer"') \g /dev/null
SELECT once.scope_grant('s', 'once_h_publisher') \g /dev/null
CREATE FUNCTION pg_temp.said(role text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE message text; detail text; hint text; context text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE 'SELECT ' || call;
    RESET ROLE;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' ', SQLSTATE, message, detail, hint);
END $$;
SELECT ok(pg_temp.said('once_h_consumer', c) ~ '^42501 ' AND pg_temp.said('once_h_consumer', c) !~ 'secret-(card|answer)', 'closed: ' || c)
    FROM (VALUES ('once.claim(''s'', ''secret-key'')'), ('once.describe(''s'', ''secret-key'')'), ('once.claim(''s'', ''secret-key'', ''{"card": 1}'')'), ('once.try_complete(''s'', ''secret-key'', gen_random_uuid())')) v(c);

SELECT * FROM finish();
DROP TABLE public."s""; --", public.once_h_table, public.caught;
SELECT format('DROP OWNED BY %I', rolname) FROM pg_roles WHERE rolname LIKE 'once\_h\_%' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname LIKE 'once\_h\_%' \gexec
