-- The library of this session must know what this script declares. It may be newer, by a release.
CREATE OR REPLACE FUNCTION once.library_version() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_library_version';
COMMENT ON FUNCTION once.library_version() IS 'internal: the version of the library that this session has loaded; the extension''s is in pg_extension';
DO $$
DECLARE
    library text := once.library_version();
BEGIN
    IF pg_catalog.string_to_array(pg_catalog.substring(library, '^[0-9.]+'), '.')::int[]
            < pg_catalog.string_to_array(pg_catalog.substring('@VERSION@', '^[0-9.]+'), '.')::int[] THEN
        RAISE EXCEPTION 'library of pg_once % is older than its script @VERSION@', library
            USING ERRCODE = '55000', DETAIL = 'A session keeps the library that it loaded first.',
                  HINT = 'Install both of one version, then open a new session.';
    END IF;
END $$;
