-- The transitions of a definition as rows, or an error: 22004, 22023 for its shape, ON031 for what it says.
CREATE OR REPLACE FUNCTION once.machine_parse(initial text, transitions jsonb)
    RETURNS TABLE (from_state text, event text, to_state text)
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    item jsonb;
    part record;
    clash record;
BEGIN
    PERFORM once.require_name(initial, 'initial state');
    IF transitions IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'transitions must not be null';
    ELSIF jsonb_typeof(transitions) <> 'array' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'transitions must be a JSON array';
    ELSIF jsonb_array_length(transitions) > 10000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'more than 10000 transitions';
    END IF;
    FOR item IN SELECT value FROM jsonb_array_elements(transitions) LOOP
        IF jsonb_typeof(item) <> 'object' OR NOT item ?& '{from,event,to}' OR item - '{from,event,to}'::text[] <> '{}' THEN
            RAISE EXCEPTION USING ERRCODE = '22023',
                MESSAGE = 'a transition must be a JSON object with "from", "event" and "to"',
                DETAIL = format('It is %s.', left(item::text, 200));
        END IF;
        FOR part IN SELECT key, value FROM jsonb_each(item) LOOP
            IF jsonb_typeof(part.value) <> 'string' THEN
                RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('"%s" of a transition must be a string', part.key),
                    DETAIL = format('It is %s.', left(part.value::text, 200));
            END IF;
            PERFORM once.require_name(part.value #>> '{}', format('"%s" of a transition', part.key));
        END LOOP;
    END LOOP;
    SELECT x."from", x.event, array_agg(DISTINCT x."to") AS targets INTO clash
        FROM jsonb_to_recordset(transitions) AS x("from" text, event text, "to" text)
        GROUP BY x."from", x.event HAVING count(DISTINCT x."to") > 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'ON031',
            MESSAGE = format('ambiguous transition: event "%s" in state "%s" has %s targets',
                             clash.event, clash."from", cardinality(clash.targets)),
            DETAIL = format('Targets: %s.', array_to_string(clash.targets, ', '));
    END IF;
    RETURN QUERY SELECT DISTINCT x."from", x.event, x."to"
        FROM jsonb_to_recordset(transitions) AS x("from" text, event text, "to" text);
    IF NOT EXISTS (SELECT FROM jsonb_to_recordset(transitions) AS x("from" text) WHERE x."from" = initial) THEN
        RAISE EXCEPTION USING ERRCODE = 'ON031',
            MESSAGE = format('no transition leads out of the initial state "%s"', initial);
    END IF;
END $$;
COMMENT ON FUNCTION once.machine_parse(text, jsonb) IS 'internal: checks a definition and returns its transitions';

-- Raises ON031 when rows of a guarded table, or entities of once.transition, stand in one of the states.
-- The machine and the tables are locked until the transaction ends, so nothing moves there afterwards. The tables are
-- other people's, whoever may create a trigger: nothing of theirs runs with our rights.
CREATE OR REPLACE FUNCTION once.machine_lock(machine text, tables oid[]) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_machine_lock';
COMMENT ON FUNCTION once.machine_lock(text, oid[]) IS 'internal: locks a machine against once.transition and these tables against writers; makes nobody wait longer than 50 ms; 55P03 after a minute, or after lock_timeout';

CREATE OR REPLACE FUNCTION once.guarded_states(relation oid, state_column name, states text[], OUT total bigint, OUT stranded text)
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_guarded_states';
COMMENT ON FUNCTION once.guarded_states(oid, name, text[]) IS 'internal: counts the rows of a guarded table that stand in one of these states, and names those';

CREATE OR REPLACE FUNCTION once.machine_strands(machine_name text, states text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ending CONSTANT bytea := decode('00', 'hex');
    stranded text;
    total bigint;
    guarded record;
    tables oid[];
    columns name[];
BEGIN
    SELECT array_agg(t.tgrelid), array_agg(a.attname) INTO tables, columns
        FROM pg_trigger AS t
        JOIN pg_class AS c ON c.oid = t.tgrelid AND c.relkind IN ('r', 'p')
            AND (c.relpersistence <> 't' OR c.relnamespace = pg_my_temp_schema()) -- nobody reads another session's
        JOIN pg_attribute AS a ON a.attrelid = t.tgrelid AND NOT a.attisdropped -- its arguments, each with a zero byte behind it
            AND t.tgargs = convert_to(machine_name, getdatabaseencoding()) || ending || convert_to(a.attname, getdatabaseencoding()) || ending
        WHERE t.tgfoid = 'once.guard()'::regprocedure AND NOT t.tgisinternal AND t.tgparentid = 0;
    PERFORM once.machine_lock(machine_name, coalesce(tables, '{}'));
    SELECT count(*), string_agg(format('%s (%s)', entity, state), ', ' ORDER BY entity) FILTER (WHERE nth <= 10)
        INTO total, stranded
        FROM (SELECT entity, state, row_number() OVER (ORDER BY entity) AS nth
              FROM once.machine_entity WHERE machine = machine_name AND state = ANY (states)) AS s;
    IF total > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'ON031',
            MESSAGE = format('definition of state machine "%s" would strand %s entities', machine_name, total),
            DETAIL = format('They stand in removed states: %s%s.', stranded, CASE WHEN total > 10 THEN ', ...' ELSE '' END),
            HINT = 'Move them first, or keep these states.';
    END IF;
    FOR guarded IN SELECT * FROM unnest(tables, columns) AS g(relation, state_column) LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = guarded.relation); -- dropped meanwhile
        SELECT s.* INTO total, stranded FROM once.guarded_states(guarded.relation, guarded.state_column, states) AS s;
        IF total > 0 THEN
            RAISE EXCEPTION USING ERRCODE = 'ON031',
                MESSAGE = format('definition of state machine "%s" would strand %s rows of table "%s"',
                                 machine_name, total, guarded.relation::regclass),
                DETAIL = format('Their column "%s" has removed states: %s.', guarded.state_column, stranded),
                HINT = 'Move them first, or keep these states.';
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION once.machine_strands(text, text[]) IS 'internal: raises ON031 when something stands in one of these states';

CREATE OR REPLACE FUNCTION once.machine_set(name text, initial text, transitions jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    machine_name CONSTANT text := name;
    start_state CONSTANT text := initial;
    wanted CONSTANT jsonb := transitions;
    removed text[];
BEGIN
    PERFORM once.require_name(machine_name, 'state machine');
    PERFORM FROM once.machine_parse(start_state, wanted);
    IF EXISTS (SELECT FROM once.machine AS m WHERE m.name = machine_name AND m.initial = start_state)
        AND NOT EXISTS (
            (SELECT p.* FROM once.machine_parse(start_state, wanted) AS p
             EXCEPT SELECT t.from_state, t.event, t.to_state FROM once.machine_transition AS t WHERE t.machine = machine_name)
            UNION ALL
            (SELECT t.from_state, t.event, t.to_state FROM once.machine_transition AS t WHERE t.machine = machine_name
             EXCEPT SELECT p.* FROM once.machine_parse(start_state, wanted) AS p)) THEN
        RETURN; -- as it is: every start of an application may call this
    END IF;
    INSERT INTO once.machine AS m (name, initial) VALUES (machine_name, start_state)
        ON CONFLICT ON CONSTRAINT machine_pkey DO UPDATE SET initial = excluded.initial, defined_at = clock_timestamp();
    SELECT array_agg(state) INTO removed FROM (
        SELECT unnest(ARRAY[t.from_state, t.to_state]) AS state FROM once.machine_transition AS t WHERE t.machine = machine_name
        EXCEPT SELECT unnest(ARRAY[p.from_state, p.to_state]) FROM once.machine_parse(start_state, wanted) AS p
        EXCEPT SELECT start_state) AS gone;
    IF removed IS NOT NULL THEN
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            -- The snapshot may be older than the locks: an entity that moved since would not be seen.
            RAISE EXCEPTION USING ERRCODE = '0A000',
                MESSAGE = 'cannot remove states of a state machine under ' || current_setting('transaction_isolation'),
                HINT = 'Use READ COMMITTED.';
        END IF;
        PERFORM once.machine_strands(machine_name, removed);
    END IF;
    DELETE FROM once.machine_transition AS t WHERE t.machine = machine_name;
    INSERT INTO once.machine_transition SELECT machine_name, p.* FROM once.machine_parse(start_state, wanted) AS p;
END $$;
COMMENT ON FUNCTION once.machine_set(text, text, jsonb) IS
'defines or redefines a state machine: transitions is [{"from":..., "event":..., "to":...}, ...]
22023 for the shape; ON031 when an event has two targets in one state, nothing leads out of the initial state, or entities or rows of guarded tables stand in a removed state (they are named)
when states are removed: waits for transactions that moved entities of this machine or wrote tables that it guards (55P03 after a minute, or after lock_timeout), and nobody waits longer than 50 ms behind it
READ COMMITTED: all of it; REPEATABLE READ, SERIALIZABLE: 0A000 when states are removed, 40001 against a concurrent definition; standby: 25006';

CREATE OR REPLACE FUNCTION once.machine_history_set(name text, keep_history boolean) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    machine_name CONSTANT text := name;
    wanted CONSTANT boolean := keep_history;
BEGIN
    PERFORM once.require_name(machine_name, 'state machine');
    IF wanted IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'keep_history must not be null';
    END IF;
    UPDATE once.machine AS m SET keep_history = wanted WHERE m.name = machine_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'ON031', MESSAGE = format('state machine "%s" is not defined', machine_name);
    END IF;
END $$;
COMMENT ON FUNCTION once.machine_history_set(text, boolean) IS
'keeps every transition of once.transition in once.machine_history from now on, or no longer; ON031 unknown machine; standby: 25006';

-- Whoever writes the definitions, by these functions, by hand or by a restore: every session reads them again.
CREATE OR REPLACE FUNCTION once.machine_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_machine_changed';
COMMENT ON FUNCTION once.machine_changed() IS 'internal: makes sessions forget their copies of state machines';
CREATE OR REPLACE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON once.machine
    FOR EACH STATEMENT EXECUTE FUNCTION once.machine_changed();
CREATE OR REPLACE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON once.machine_transition
    FOR EACH STATEMENT EXECUTE FUNCTION once.machine_changed();
