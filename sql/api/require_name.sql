-- The rule of design: names and keys have 1 to 255 bytes and no control characters. For functions in SQL.
CREATE OR REPLACE FUNCTION once.require_name(name text, what text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = format('%s must not be null', what);
    ELSIF octet_length(name) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%s must have 1 to 255 bytes', what),
            DETAIL = format('It has %s bytes.', octet_length(name));
    ELSIF name ~ '[\x01-\x1f\x7f]' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%s must not contain control characters', what);
    END IF;
END $$;
COMMENT ON FUNCTION once.require_name(text, text) IS 'internal: raises 22004 or 22023 unless the text is a name';
