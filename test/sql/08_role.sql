-- Who may do what: each kind of role against every function, and what a publisher could try beyond its rights.
SELECT plan(26);
CREATE ROLE once_t_publisher;
CREATE ROLE once_t_relay;
CREATE ROLE once_t_consumer;
CREATE ROLE once_t_admin;
CREATE ROLE once_t_nobody;
SELECT once.grant_publisher('once_t_publisher'), once.grant_relay('once_t_relay'), once.grant_consumer('once_t_consumer'),
       once.grant_admin('once_t_admin') \g /dev/null

CREATE FUNCTION pg_temp.may(role text) RETURNS text[] LANGUAGE sql AS $$
    SELECT coalesce(array_agg(DISTINCT proname::text ORDER BY proname::text), '{}') FROM pg_proc p
    WHERE pronamespace = 'once'::regnamespace AND has_function_privilege(role, p.oid, 'execute') $$;
CREATE FUNCTION pg_temp.listed(kind text) RETURNS text[] LANGUAGE sql AS $$
    SELECT coalesce(array_agg(DISTINCT object::text ORDER BY object::text), '{}') FROM once.role_right r
    WHERE r.kind = listed.kind AND privilege = 'EXECUTE' $$;
CREATE FUNCTION pg_temp.touches(role text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT c.relname || ' ' || privilege FROM pg_class c, unnest(ARRAY['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) privilege
    WHERE relnamespace = 'once'::regnamespace AND relkind IN ('r', 'v') AND has_table_privilege(role, c.oid, privilege)
    UNION ALL SELECT c.relname || ' ' || privilege FROM pg_class c, unnest(ARRAY['usage', 'select', 'update']) privilege
    WHERE relnamespace = 'once'::regnamespace AND relkind = 'S' AND has_sequence_privilege(role, c.oid, privilege) $$;

SELECT is(pg_temp.may('once_t_' || kind), pg_temp.listed(kind), 'a ' || kind || ' may call what its list says and nothing else')
    FROM unnest(ARRAY['publisher', 'relay', 'consumer', 'admin', 'nobody']) kind;
SELECT ok(pg_temp.may('once_t_publisher') @> ARRAY['publish', 'publish_many'], 'a publisher may publish');
SELECT ok(pg_temp.may('once_t_publisher') && ARRAY['trim', 'report', 'rearm', 'park', 'redrive', 'topic_set', 'set_lanes', 'cut', 'lane_lock'] IS FALSE,
          'and do nothing of the relay''s or an operator''s');
SELECT is_empty($$SELECT t FROM pg_temp.touches('once_t_publisher') t WHERE t LIKE 'event%' OR t LIKE 'lane%' OR t LIKE 'topic%'
                  OR t LIKE 'dead_letter%' OR t LIKE 'relay_report%' OR t LIKE 'role_right%'$$, 'a publisher touches no table');
SELECT is_empty($$SELECT t FROM pg_temp.touches('once_t_nobody') t$$, 'nobody touches anything');
SELECT is_empty($$SELECT t FROM unnest(ARRAY['relay', 'admin', 'consumer']) r, pg_temp.touches('once_t_' || r) t WHERE t NOT LIKE '% select'$$,
                'no role writes a table but through functions');
SELECT is_empty($$SELECT r FROM unnest(ARRAY['publisher', 'relay', 'consumer', 'admin']) r WHERE has_schema_privilege('once_t_' || r, 'once', 'create')$$,
                'no role creates objects in the schema');
SELECT ok(NOT pg_temp.may('once_t_admin') && ARRAY['grant_admin'], 'an admin makes no admins');
SELECT throws_ok('SELECT once.grant_publisher(NULL)', '22004', NULL, 'no role');
SELECT throws_ok('SELECT once.grant_publisher(1::oid::regrole)', '42704', NULL, 'a role that is not there');

-- lanes that are made later
SELECT once.set_lanes(2) \g /dev/null
SELECT ok(has_table_privilege('once_t_relay', 'once.event_0', 'select') AND has_table_privilege('once_t_relay', 'once.event_1', 'select'),
          'a relay reads the lanes that were made after it was granted');
SELECT ok(NOT has_table_privilege('once_t_relay', 'once.event_1_0', 'select'), 'by their views alone');

-- each at work
SET ROLE once_t_publisher;
SELECT lives_ok($$SELECT once.publish_text('t', 'p', key => 'k', headers => '{"a": "b"}')$$, 'publish');
SELECT throws_ok($$INSERT INTO once.event_0_0 (xid, seq, time, id, topic) VALUES ('1', 1, now(), gen_random_uuid(), 't')$$, '42501', NULL, 'no row by hand');
SELECT throws_ok($$SELECT nextval('once.event_0_seq')$$, '42501', NULL, 'no number by hand');
SELECT throws_ok($$SET once.max_event_bytes = 100000000$$, '42501', NULL, 'no limits of its own');
RESET ROLE;
SET once.max_backlog = 1;
SET ROLE once_t_publisher;
SELECT throws_ok($$SELECT once.publish_text('t', 'p', key => 'k')$$, 'ON004', NULL, 'counting the backlog needs no right of the caller');
SELECT is(current_user::text, 'once_t_publisher', 'and leaves him who he is');
RESET ROLE;
RESET once.max_backlog;

-- Temporary objects come before everything on an ordinary search path: shadows of what the functions use.
SET ROLE once_t_admin;
CREATE TEMP TABLE topic (topic text, max_bytes int, max_backlog bigint);
CREATE TEMP TABLE lane (lane int);
CREATE TEMP TABLE pg_class (oid oid);
CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT 'infinity'::timestamptz$$;
CREATE FUNCTION pg_temp.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'taken over by %', current_user; END$$;
CREATE FUNCTION pg_temp.quote_ident(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'taken over by %', current_user; END$$;
SET search_path = pg_temp, public, pg_catalog;
SELECT lives_ok($$SELECT once.topic_set('shadow', 10)$$, 'shadows change nothing: topic_set');
SELECT lives_ok($$SELECT once.grant_publisher('once_t_nobody')$$, 'shadows change nothing: grant');
RESET search_path;
RESET ROLE;
SELECT is(max_bytes, 10, 'the real table was written') FROM once.topic WHERE topic = 'shadow';
SELECT lives_ok($$SET search_path = pg_temp, public, pg_catalog; SELECT count(*) FROM once.status(); RESET search_path$$, 'shadows change nothing: status');
SELECT finish();
SELECT format('DROP OWNED BY %I', rolname) FROM pg_roles WHERE rolname LIKE 'once\_t\_%' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname LIKE 'once\_t\_%' \gexec
