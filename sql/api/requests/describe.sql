CREATE OR REPLACE FUNCTION once.describe(scope text, key text, OUT state text, OUT attempt int, OUT lease_left interval,
        OUT keep_left interval, OUT status int, OUT response jsonb, OUT body bytea, OUT error jsonb, OUT checkpoint jsonb)
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'once_describe';
COMMENT ON FUNCTION once.describe(text, text) IS
    'what is known about a key, also on a standby: in_progress, lapsed, released, completed, failed, exhausted or missing; the committed state, waits for nobody. 42501 no right to the scope';
