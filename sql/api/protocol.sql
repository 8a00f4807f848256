CREATE OR REPLACE FUNCTION once.protocol() RETURNS int
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_protocol';
COMMENT ON FUNCTION once.protocol() IS 'number of the protocol between extension and relay; the relay refuses another than its own';
