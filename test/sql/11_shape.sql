-- BE1: a session keeps its library while an update (or a hand) changes tables and types under it. Each table and row
-- type is changed in every way there is, taken from the catalog, and what reads or writes it is called by the session
-- that remembers the old shape: the same answer, or an error; never another answer, never a crash.
SELECT plan(8);
SET client_min_messages = warning;

CREATE FUNCTION pg_temp.publish() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM once.publish('t', '{"a": 1}'::jsonb, 'k', '{"h": "v"}'::jsonb, 3);
    PERFORM once.publish_many('t', ARRAY['1', NULL]::jsonb[], ARRAY['k2', NULL]);
    RETURN (SELECT string_agg(concat_ws('|', seq > 0, xid = pg_current_xact_id(), topic, key::text, partition, payload, headers), E'\n' ORDER BY seq)
            FROM once.event_0_0);
END $$;
CREATE FUNCTION pg_temp.dedup() RETURNS text LANGUAGE sql AS $$
    SELECT (once.publish('t', '1'::jsonb, dedup_key => 'known') = once.publish('t', '2'::jsonb, dedup_key => 'known'))::text $$;
CREATE FUNCTION pg_temp.accept() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws('|', once.accept('c', 1::bigint), once.accept('c', 2::bigint), once.accept('c', 2::bigint), once.accept('u', 'x'),
        (SELECT string_agg(verdict::text, ',' ORDER BY ordinal) FROM once.accept_many_bigint('c', array(SELECT g::bigint FROM generate_series(1, 40) g)))) $$;
CREATE FUNCTION pg_temp.position() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws('|', once.accept_position('c', 's', 5), once.accept_position('c', 's', 6), once.accept_position('c', 's', 6),
        once.accept_position('c', 's', 9, 8), (SELECT string_agg(verdict::text, ',' ORDER BY ordinal) FROM once.accept_positions('c', 's', ARRAY[6, 8, 7])),
        once.accept_window('c', 's', 100), once.accept_window('c', 's', 99), once.accept_window('c', 's', 99)) $$;
CREATE FUNCTION pg_temp.offset() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws('|', (SELECT concat(verdict, next) FROM once.accept_offset('g', 't', 0, 0, 4, 7)),
        (SELECT concat(verdict, next) FROM once.accept_offset('g', 't', 0, 5, 5, 6)), (SELECT concat(verdict, next) FROM once.accept_offset('g', 't', 0, 2, 3, 7))) $$;
CREATE FUNCTION pg_temp.inbox() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    PERFORM once.inbox_put('c2', 'i', 'p', 'k');
    PERFORM once.inbox_store('c3', ARRAY['t'], ARRAY[0], ARRAY[7]::bigint[], ARRAY['k'], ARRAY['\x01']::bytea[], ARRAY['{}']::jsonb[], ARRAY['id'], ARRAY['s'],
        ARRAY[NULL]::bigint[], ARRAY[NULL]::timestamptz[]);
    -- A plan that was made before a type changed is refused by the server itself, so this one is made each time.
    EXECUTE $q$SELECT (SELECT string_agg(concat_ws('|', consumer, id, topic, log_offset, key::text, payload, state, attempts, error), E'\n' ORDER BY seq) FROM once.inbox)
        || (SELECT string_agg(concat_ws('|', m.topic, m.log_offset, m.key, m.payload, m.id), E'\n') FROM unnest(once.inbox_messages(
            ARRAY['t'], ARRAY[0], ARRAY[7]::bigint[], ARRAY['k'], ARRAY['\x01']::bytea[], ARRAY['{}']::jsonb[], ARRAY['id'], ARRAY['s'], ARRAY[1]::bigint[],
            ARRAY[NULL]::timestamptz[])) m)$q$ INTO answer;
    RETURN answer;
END $$;

CREATE FUNCTION pg_temp.claims() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    mine once.claim_result := once.claim('declared', 'k', '{"a": 1}', lease => '1 h');
BEGIN
    PERFORM once.checkpoint('declared', 'k', mine.token, '"half"');
    RETURN concat_ws('|', mine.verdict, mine.attempt, mine.lease_left > '59 min', (SELECT d.checkpoint FROM once.describe('declared', 'k') d),
        once.try_complete('declared', 'k', mine.token, '"done"', 201, '\x01'), (SELECT concat_ws(',', c.verdict, c.status, c.response, c.body) FROM once.claim('declared', 'k', '{"a": 1}') c),
        (SELECT concat_ws(',', c.verdict, c.differs) FROM once.claim('declared', 'k', '{"a": 2}') c), (SELECT verdict FROM once.claim('declared', NULL)),
        once.try_release('declared', 'k2', (SELECT token FROM once.claim('declared', 'k2'))), once.try_fail('declared', 'k', mine.token, '1'),
        (SELECT verdict FROM once.claim('week', 'k')), (SELECT verdict FROM once.claim('restricted', 'k')));
END $$;
CREATE FUNCTION pg_temp.machine() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws('|', once.transition('graph', 'e', 'go'), once.transition('graph', 'e', 'go'), once.transition('graph', 'e', 'on', expected_version => 1)) $$;

-- What is called for which tables and types.
CREATE TEMP TABLE call (name text PRIMARY KEY, tables text, statement text, answer text);
INSERT INTO call VALUES
    ('publish', '^(event_0_0|lane|topic|slot)$', 'SELECT pg_temp.publish()'),
    ('dedup', '^(event_0_0|publish_key_\d|ring)$', 'SELECT pg_temp.dedup()'),
    ('accept', '^(seen_week_\d|consumer_state|ring)$', 'SELECT pg_temp.accept()'),
    ('position', '^(position|position_window)$', 'SELECT pg_temp.position()'),
    ('offset', '^(consumer_offset|offset_fence)$', 'SELECT pg_temp.offset()'),
    ('inbox', '^(inbox|message)$', 'SELECT pg_temp.inbox()'),
    ('claim', '^(claim_day_0|scope|claim_result)$', 'SELECT pg_temp.claims()'),
    ('machine', '^(machine|machine_transition|machine_entity)$', 'SELECT pg_temp.machine()');

-- The answer when `change` was made before, or the SQLSTATE; everything is undone.
CREATE FUNCTION pg_temp.answer(change text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    BEGIN
        EXECUTE change;
    EXCEPTION WHEN OTHERS THEN
        RETURN 'cannot be changed: ' || SQLSTATE || ' ' || SQLERRM;
    END;
    EXECUTE statement INTO found;
    RAISE EXCEPTION USING ERRCODE = 'TT000', MESSAGE = 'answer ' || coalesce(found, 'null');
EXCEPTION
    WHEN SQLSTATE 'TT000' THEN RETURN SQLERRM;
    WHEN OTHERS THEN RETURN 'error ' || SQLSTATE || ' ' || SQLERRM;
END $$;

-- Views of ours stand in the way of changes, and so does the extension that owns them.
CREATE FUNCTION pg_temp.set_free() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'once'::regnamespace AND relkind = 'v' LOOP
        EXECUTE format('ALTER EXTENSION pg_once DROP VIEW once.%I', name);
    END LOOP;
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'once'::regnamespace AND relkind = 'v' LOOP
        EXECUTE format('DROP VIEW IF EXISTS once.%I CASCADE', name);
    END LOOP;
END $$;

-- Every column stands elsewhere, behind one that was dropped; keys, indexes and checks as they were.
CREATE FUNCTION pg_temp.moved(tab regclass) RETURNS text LANGUAGE sql AS $$
    WITH col AS (SELECT a.*, format_type(atttypid, atttypmod) AS typ, pg_get_expr(d.adbin, d.adrelid) AS def,
                     CASE WHEN a.attcollation <> t.typcollation THEN ' COLLATE "C"' ELSE '' END AS coll
                 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                 WHERE attrelid = tab AND attnum > 0 AND NOT attisdropped AND attidentity = '')
    SELECT string_agg(format('ALTER TABLE %s ADD COLUMN moved_%s %s%s; UPDATE %1$s SET moved_%2$s = %5$I; ALTER TABLE %1$s DROP COLUMN %5$I CASCADE; ',
               tab, attnum, typ, coll, attname)
           || format('ALTER TABLE %s RENAME COLUMN moved_%s TO %I; ', tab, attnum, attname)
           || CASE WHEN attnotnull THEN format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL; ', tab, attname) ELSE '' END
           || CASE WHEN attstorage = 'p' AND typ = 'bytea' THEN format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE PLAIN; ', tab, attname) ELSE '' END
           || CASE WHEN def IS NOT NULL THEN format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s; ', tab, attname, def) ELSE '' END, '')
        || coalesce((SELECT string_agg(format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I; ALTER TABLE %1$s ADD CONSTRAINT %2$I %s; ', tab, conname,
               pg_get_constraintdef(oid)), '') FROM pg_constraint WHERE conrelid = tab AND contype IN ('p', 'u', 'c')), '')
        || coalesce((SELECT string_agg(replace(replace(pg_get_indexdef(i.indexrelid), 'CREATE INDEX', 'CREATE INDEX IF NOT EXISTS'), 'CREATE UNIQUE INDEX',
               'CREATE UNIQUE INDEX IF NOT EXISTS') || '; ', '') FROM pg_index i WHERE indrelid = tab
               AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)), '')
    FROM col $$;

-- name of the change, the statement, whether the answer must be the same
CREATE FUNCTION pg_temp.changes(tab regclass, kind "char") RETURNS TABLE (what text, statement text, same boolean) LANGUAGE sql AS $$
    WITH w AS (SELECT CASE kind WHEN 'c' THEN format('ALTER TYPE %s %%s ATTRIBUTE ', tab) ELSE format('ALTER TABLE %s %%s COLUMN ', tab) END AS alter),
    col AS (SELECT attname, attnum, atttypid FROM pg_attribute WHERE attrelid = tab AND attnum > 0 AND NOT attisdropped)
    SELECT 'a number more', format(alter, 'ADD') || 'more bigint', true FROM w
    UNION ALL SELECT 'two texts more', format(alter, 'ADD') || 'more text; ' || format(alter, 'ADD') || 'more2 name', true FROM w
    UNION ALL SELECT 'one more with a default', format('ALTER TABLE %s ADD COLUMN more text DEFAULT ''x''', tab), true WHERE kind <> 'c'
    UNION ALL SELECT 'one more that must be set', format('ALTER TABLE %s ADD COLUMN more int NOT NULL DEFAULT 1', tab), false WHERE kind <> 'c'
    UNION ALL SELECT 'one more that is computed', format('ALTER TABLE %s ADD COLUMN more int GENERATED ALWAYS AS (1) STORED', tab), false WHERE kind <> 'c'
    UNION ALL SELECT 'all moved', pg_temp.moved(tab), true WHERE kind <> 'c'
    UNION ALL SELECT 'no ' || attname, format(alter, 'DROP') || quote_ident(attname) || ' CASCADE', false FROM w, col
    UNION ALL SELECT attname || ' of another type', CASE kind WHEN 'c' THEN format('ALTER TYPE %s ALTER ATTRIBUTE %I TYPE ', tab, attname)
            ELSE format('ALTER TABLE %s ALTER COLUMN %2$I DROP DEFAULT, ALTER COLUMN %2$I TYPE ', tab, attname) END || other
            || CASE kind WHEN 'c' THEN ' CASCADE' ELSE format(' USING NULL::%s', other) END, false
        FROM col, LATERAL (SELECT CASE WHEN atttypid IN ('text'::regtype, 'bytea'::regtype, 'jsonb'::regtype) THEN 'bigint' ELSE 'text' END AS other) o
    UNION ALL SELECT attname || ' renamed', CASE kind WHEN 'c' THEN format('ALTER TYPE %s RENAME ATTRIBUTE %I TO other CASCADE', tab, attname)
            ELSE format('ALTER TABLE %s RENAME COLUMN %I TO other', tab, attname) END, false FROM col $$;

SELECT once.consumer_set('c'), once.consumer_set('u', keep => '1 day') \g /dev/null
SELECT once.topic_set('other', max_bytes => 5) \g /dev/null
SELECT once.scope_set('declared', keep => '1 h', key_required => false), once.scope_set('restricted') \g /dev/null
SELECT once.scope_grant('restricted', 'pg_monitor') \g /dev/null
SELECT once.machine_set('graph', 'a', '[{"from": "a", "event": "go", "to": "b"}, {"from": "b", "event": "on", "to": "c"}]') \g /dev/null
SELECT pg_temp.set_free() \g /dev/null
UPDATE call SET answer = pg_temp.answer('SELECT', statement);
SELECT is_empty($$SELECT name, answer FROM call WHERE answer NOT LIKE 'answer %' OR answer = 'answer null'$$, 'BE1 every family answers');

CREATE TEMP TABLE tried AS
    SELECT c.relname, call.name, x.what, x.same, call.answer AS before, pg_temp.answer(x.statement, call.statement) AS after
    FROM pg_class c JOIN call ON c.relname ~ call.tables
    CROSS JOIN LATERAL pg_temp.changes(c.oid, c.relkind) x
    WHERE c.relnamespace = 'once'::regnamespace AND c.relkind IN ('r', 'c');
SELECT cmp_ok((SELECT count(*) FROM tried), '>', 300::bigint, 'BE1 that many changes were tried');
SELECT is_empty($$SELECT relname, what, after FROM tried WHERE same AND after <> before$$, 'BE1 columns more and columns elsewhere do no harm');
SELECT is_empty($$SELECT relname, what, before, after FROM tried WHERE after <> before AND after NOT LIKE 'error %' AND after NOT LIKE 'cannot be changed: %'$$,
    'BE1 a column less or of another type: the same answer or an error');

-- The same for results: each C function with more than one column is declared again with a column more, less, elsewhere.
CREATE SCHEMA shape;
CREATE FUNCTION pg_temp.declared(fn regprocedure, names text[], types text[]) RETURNS text LANGUAGE sql AS $$
    SELECT format('CREATE FUNCTION shape.%I(%s) RETURNS %s LANGUAGE c AS %L, %L', proname,
        (SELECT string_agg(t::regtype::text, ', ' ORDER BY n) FROM unnest(proargtypes) WITH ORDINALITY a(t, n)),
        CASE WHEN proretset THEN 'TABLE(' ELSE 'shape.result' END
            || CASE WHEN proretset THEN (SELECT string_agg(format('%I %s', names[i], types[i]), ', ' ORDER BY i) FROM generate_subscripts(names, 1) i) || ')' ELSE '' END,
        probin, prosrc) FROM pg_proc WHERE oid = fn $$;
CREATE FUNCTION pg_temp.variant(fn regprocedure, names text[], types text[]) RETURNS text LANGUAGE sql AS $$
    SELECT format('CREATE TYPE shape.result AS (%s); ', (SELECT string_agg(format('%I %s', names[i], types[i]), ', ' ORDER BY i) FROM generate_subscripts(names, 1) i))
        || pg_temp.declared(fn, names, types) $$;

CREATE TEMP TABLE result AS
    SELECT p.oid::regprocedure AS fn, p.proname,
        coalesce(array_agg(a.name ORDER BY a.n) FILTER (WHERE a.mode IN ('o', 't')),
            (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = r.typrelid AND attnum > 0)) AS names,
        coalesce(array_agg(a.type::regtype::text ORDER BY a.n) FILTER (WHERE a.mode IN ('o', 't')),
            (SELECT array_agg(format_type(atttypid, atttypmod) ORDER BY attnum) FROM pg_attribute WHERE attrelid = r.typrelid AND attnum > 0)) AS types
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_type r ON r.oid = p.prorettype
    LEFT JOIN LATERAL unnest(p.proallargtypes, p.proargmodes::text[], p.proargnames) WITH ORDINALITY a(type, mode, name, n) ON true
    WHERE p.pronamespace = 'once'::regnamespace AND l.lanname = 'c' AND (r.typtype = 'c' OR r.oid = 'record'::regtype)
    GROUP BY p.oid, p.proname, r.typrelid;
-- How each is called, and what of its answer is the same every time.
CREATE TEMP TABLE result_call (proname name, arguments text, column_list text);
INSERT INTO result_call VALUES
    ('cut', '0', 'seq, timeline, snapshot IS NULL'), ('rotate_lane', '0', 'drawn_from, drawn_to'), ('timeline_fault', '1, ''0/1''', 'reason, detail'),
    ('server_identity', '', 'system_identifier, timeline, in_recovery, database_oid, encoding'),
    ('accept_many', '''c'', ARRAY[''1'', ''1''], NULL', 'ordinal, verdict'), ('accept_many_bigint', '''c'', ARRAY[1, 1], NULL', 'ordinal, verdict'),
    ('accept_many_uuid', '''c'', ''{00000000-0000-0000-0000-000000000001}''::uuid[], NULL', 'ordinal, verdict'), ('accept_positions', '''c'', ''s'', ARRAY[1, 2]', 'ordinal, verdict'),
    ('accept_offset', '''g'', ''t'', 0, 0, 4, 7', 'verdict, next'), ('guarded_states', '''shape.guarded''::regclass, ''state'', ''{a}''', 'total, stranded'),
    ('claim', '''s'', ''k'', NULL, NULL, NULL', 'verdict, attempt, lease_left, response'), ('claim_bytes', '''s'', ''k'', ''x'', NULL, NULL', 'verdict, attempt, lease_left, response'),
    ('bump', '''shape.doc''::regclass, ''k'', 0, ''id'', ''version''', 'verdict, version'),
    ('describe', '''s'', ''k''', 'state, attempt, keep_left'), ('transition', '''m'', ''e'', ''go'', NULL, NULL', 'verdict, from_state, to_state, version');
CREATE TABLE shape.guarded (state text);
CREATE TABLE shape.doc AS SELECT 'k' AS id, 0 AS version;
INSERT INTO shape.guarded VALUES ('a');
SELECT once.machine_set('m', 'a', '[{"from": "a", "event": "go", "to": "b"}]') \g /dev/null
SELECT count(*) FROM once.rotate_lane(0) \g /dev/null
SELECT is_empty('SELECT fn FROM result WHERE proname NOT IN (SELECT proname FROM result_call)', 'BE1 how each function with a row as its result is called');
CREATE TEMP TABLE result_tried AS
    SELECT r.fn, v.what, v.same,
        pg_temp.answer('SELECT', format('SELECT string_agg(concat_ws(''|'', %s), '','') FROM %s(%s)', c.column_list, 'once.' || r.proname, c.arguments)) AS before,
        pg_temp.answer(pg_temp.variant(r.fn, v.names, v.types), format('SELECT %s FROM shape.%s(%s)',
            CASE WHEN v.same THEN format('string_agg(concat_ws(''|'', %s), '','')', c.column_list) ELSE 'count(*)' END, r.proname, c.arguments)) AS after
    FROM result r JOIN LATERAL (SELECT column_list, arguments FROM result_call WHERE proname = r.proname) c ON true
    CROSS JOIN LATERAL (
        SELECT 'one in front', true, array['more'] || r.names, array['bigint'] || r.types
        UNION ALL SELECT 'two behind', true, r.names || array['more', 'more2'], r.types || array['text', 'name']
        UNION ALL SELECT 'the other way round', true, (SELECT array_agg(n ORDER BY i DESC) FROM unnest(r.names) WITH ORDINALITY a(n, i)),
            (SELECT array_agg(t ORDER BY i DESC) FROM unnest(r.types) WITH ORDINALITY a(t, i))
        UNION ALL SELECT 'no ' || n, false, array_remove(r.names, n) || array['more'], r.types[:i - 1] || r.types[i + 1:] || array['text']
            FROM unnest(r.names) WITH ORDINALITY a(n, i)
        UNION ALL SELECT n || ' of another type', false, r.names, r.types[:i - 1] || array['point'] || r.types[i + 1:]
            FROM unnest(r.names) WITH ORDINALITY a(n, i)) v(what, same, names, types);
SELECT cmp_ok((SELECT count(*) FROM result_tried), '>', 60::bigint, 'BE1 that many results were tried');
SELECT is_empty('SELECT fn, what, before, after FROM result_tried WHERE same AND (after <> before OR before NOT LIKE ''answer %'')',
    'BE1 a result with columns more or elsewhere is filled by name');
SELECT is_empty('SELECT fn, what, after FROM result_tried WHERE NOT same AND after NOT LIKE ''error 55000 %''', 'BE1 a result with a column less or of another type is refused');
