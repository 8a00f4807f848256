-- The rule of design: names and keys have 1 to 255 bytes and no control characters. For functions in SQL.
CREATE OR REPLACE FUNCTION once.require_name(name text, what text, code text DEFAULT '22023') RETURNS void
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_require_name';
COMMENT ON FUNCTION once.require_name(text, text, text) IS 'internal: 22004 for null, the code unless the text is a name';
