-- Every PL/pgSQL function under plpgsql_check: names, columns and types that are not there, also in branches that no test
-- takes. What it cannot know is the shape of a row that comes out of EXECUTE.
SELECT plan(2);
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'plpgsql_check') AS here \gset
\if :here
CREATE EXTENSION plpgsql_check;
CREATE TEMP TABLE checked AS
    SELECT DISTINCT p.oid, coalesce(t.tgrelid, 0) AS relation
    FROM pg_proc p LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND NOT t.tgisinternal
    WHERE p.pronamespace = 'once'::regnamespace AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')
      AND (p.prorettype <> 'trigger'::regtype OR t.oid IS NOT NULL);
SELECT cmp_ok((SELECT count(*) FROM checked), '>', 20::bigint, 'there are functions to be checked');
SELECT is_empty($$
    SELECT c.oid::regprocedure, said.lineno, said.message, said.query
    FROM checked c, LATERAL plpgsql_check_function_tb(c.oid, c.relation, performance_warnings => false, other_warnings => false,
                                                      extra_warnings => false) said
    WHERE said.level = 'error' AND said.message !~ '^record ".*" is not assigned yet$'
$$, 'no function names what is not there');
\else
SELECT skip('plpgsql_check is not installed', 2);
\endif
