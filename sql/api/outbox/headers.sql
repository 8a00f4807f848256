-- The two forms of headers: bytes as in the event tables (extension/wire/column_headers.hpp) and jsonb for people.
CREATE OR REPLACE FUNCTION once.headers_json(headers bytea) RETURNS jsonb
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_headers_json';
COMMENT ON FUNCTION once.headers_json(bytea) IS 'headers of an event as a jsonb object: strings, null, arrays where a name comes several times, {"$bytes": hex digits} for what is no text; 22023 when the bytes are none';
CREATE OR REPLACE FUNCTION once.headers_bytes(headers jsonb) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_headers_bytes';
COMMENT ON FUNCTION once.headers_bytes(jsonb) IS 'a jsonb object as once.publish takes it as the headers of an event; null when it is empty; ON003 when it is no such thing';
