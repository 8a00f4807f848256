CREATE OR REPLACE FUNCTION once.machine_graph(name text, format text DEFAULT 'mermaid') RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    machine_name CONSTANT text := name;
    form CONSTANT text := format;
    start_state text;
    lines text[];
BEGIN
    PERFORM once.require_name(machine_name, 'state machine');
    IF form IS NULL OR form NOT IN ('mermaid', 'dot') THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'format must be "mermaid" or "dot"';
    END IF;
    SELECT m.initial INTO start_state FROM once.machine AS m WHERE m.name = machine_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'ON031', MESSAGE = pg_catalog.format('state machine "%s" is not defined', machine_name);
    END IF;
    IF form = 'dot' THEN
        SELECT array_agg(pg_catalog.format('    %s -> %s [label=%s];', once.quote_dot(t.from_state),
                                once.quote_dot(t.to_state), once.quote_dot(t.event)) ORDER BY t.from_state, t.event)
            INTO lines FROM once.machine_transition AS t WHERE t.machine = machine_name;
        RETURN concat_ws(E'\n', pg_catalog.format('digraph %s {', once.quote_dot(machine_name)), '    rankdir=LR;',
            '    "" [shape=point];', pg_catalog.format('    "" -> %s;', once.quote_dot(start_state)),
            array_to_string(lines, E'\n'), '}');
    END IF;
    -- Mermaid takes only words as names of states: the others get an alias.
    WITH state AS (
        SELECT s.state, row_number() OVER (ORDER BY s.state) AS nth FROM (
            SELECT start_state AS state
            UNION SELECT unnest(ARRAY[t.from_state, t.to_state]) FROM once.machine_transition AS t WHERE t.machine = machine_name) AS s
    ), named AS (
        SELECT s.state, CASE WHEN plain THEN s.state ELSE 'state_' || s.nth END AS alias, plain FROM state AS s
        CROSS JOIN LATERAL (SELECT s.state ~ '^[A-Za-z][A-Za-z0-9_]*$' AND s.state !~ '^state_[0-9]+$' AND lower(s.state) NOT IN
            ('state', 'end', 'note', 'direction', 'as', 'class', 'classdef', 'style', 'fork', 'join', 'choice', 'click', 'default')) AS p(plain)
    ), line AS (
        SELECT 1 AS part, n.state AS a, '' AS b, pg_catalog.format('    state "%s" as %s', once.quote_mermaid(n.state), n.alias) AS line
            FROM named AS n WHERE NOT n.plain
        UNION ALL SELECT 2, '', '', '    [*] --> ' || n.alias FROM named AS n WHERE n.state = start_state
        UNION ALL SELECT 3, t.from_state, t.event, pg_catalog.format('    %s --> %s : %s', f.alias, g.alias, once.quote_mermaid(t.event))
            FROM once.machine_transition AS t JOIN named AS f ON f.state = t.from_state JOIN named AS g ON g.state = t.to_state
            WHERE t.machine = machine_name
    )
    SELECT array_agg(l.line ORDER BY l.part, l.a COLLATE "C", l.b COLLATE "C") INTO lines FROM line AS l;
    RETURN E'stateDiagram-v2\n' || array_to_string(lines, E'\n');
END $$;
COMMENT ON FUNCTION once.machine_graph(text, text) IS
'the state machine as a diagram: format mermaid or dot (Graphviz); ON031 unknown machine, 22023 unknown format; works on a standby';

CREATE OR REPLACE FUNCTION once.quote_dot(name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN '"' || replace(replace(name, E'\\', E'\\\\'), '"', E'\\"') || '"';
COMMENT ON FUNCTION once.quote_dot(text) IS 'internal: a name as a quoted identifier of Graphviz';

CREATE OR REPLACE FUNCTION once.quote_mermaid(name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN replace(replace(replace(replace(replace(name, '#', '#35;'), '"', '#quot;'), ':', '#58;'), '<', '#lt;'), '>', '#gt;');
COMMENT ON FUNCTION once.quote_mermaid(text) IS 'internal: a name as a label of Mermaid';
