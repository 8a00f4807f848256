CREATE OR REPLACE FUNCTION once.check_name(what text, name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_check_name';
COMMENT ON FUNCTION once.check_name(text, text) IS 'internal: 22004 for null, ON010 unless 1 to 255 bytes without control characters';
