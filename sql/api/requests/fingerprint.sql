CREATE OR REPLACE FUNCTION once.fingerprint(request jsonb) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_fingerprint';
COMMENT ON FUNCTION once.fingerprint(jsonb) IS
    'version byte and SHA-256 of the canonical form: key order, white space and number spelling do not matter';

CREATE OR REPLACE FUNCTION once.fingerprint_bytes(request bytea) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_fingerprint_bytes';
COMMENT ON FUNCTION once.fingerprint_bytes(bytea) IS 'version byte and SHA-256 of the bytes as they are';
