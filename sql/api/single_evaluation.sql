-- Near the end, when all functions are there. What changes something for good, or until the transaction ends, must not
-- stand where PostgreSQL evaluates an expression again after it waited for a row.
CREATE OR REPLACE FUNCTION once.single_evaluation(internal) RETURNS internal
    LANGUAGE c STRICT VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_single_evaluation';
COMMENT ON FUNCTION once.single_evaluation(internal) IS 'internal: planner support; refuses (0A000) a call in a condition, new value or select list of UPDATE, DELETE, MERGE and SELECT with a row lock';
DO $$
DECLARE
    effect regprocedure;
BEGIN
    FOR effect IN SELECT DISTINCT p.oid::regprocedure FROM pg_catalog.pg_proc p
                  JOIN once.role_right r ON r.object = p.proname AND r.privilege = 'EXECUTE'
                  WHERE p.pronamespace = 'once'::regnamespace AND p.provolatile = 'v' AND r.kind IN ('publisher', 'consumer') LOOP
        EXECUTE pg_catalog.format('ALTER FUNCTION %s SUPPORT once.single_evaluation', effect);
    END LOOP;
END $$;
