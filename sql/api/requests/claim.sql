CREATE OR REPLACE FUNCTION once.claim(scope text, key text, request jsonb DEFAULT NULL, lease interval DEFAULT NULL,
        wait interval DEFAULT NULL) RETURNS once.claim_result
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_claim';
COMMENT ON FUNCTION once.claim(text, text, jsonb, interval, interval) IS
    'takes a request key or says what became of it. new, reclaimed: the caller owns it, settle with the token. in_progress: somebody else does, for lease_left. replay, failed: the stored answer. mismatch: the key was used for another request, differs names the top-level fields. exhausted: max_attempts runs, no answer. An uncommitted claim is waited for like a row lock, a committed one for at most wait. The answer is the present committed state at every isolation level. 22004, 22023 bad argument; 42501 no right to the scope; 25006 read-only or standby';

CREATE OR REPLACE FUNCTION once.claim_bytes(scope text, key text, request bytea, lease interval DEFAULT NULL,
        wait interval DEFAULT NULL) RETURNS once.claim_result
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_claim_bytes';
COMMENT ON FUNCTION once.claim_bytes(text, text, bytea, interval, interval) IS
    'claim for a request that is no JSON: its bytes are compared as they are, and differs stays null';
