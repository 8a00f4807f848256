-- What the install script creates belongs to the extension by itself; what is created later is added here, and has its
-- owner's rights alone from then on.
CREATE OR REPLACE FUNCTION once.member_add(kind text, name text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made regclass := format('once.%I', name);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_depend
                   WHERE classid = 'pg_class'::regclass AND objid = made
                     AND refclassid = 'pg_extension'::regclass AND deptype = 'e') THEN
        EXECUTE format('ALTER EXTENSION pg_once ADD %s once.%I', kind, name);
    END IF;
    PERFORM once.rights_reset('pg_class', made);
END $$;
COMMENT ON FUNCTION once.member_add(text, text) IS 'internal: makes a table, sequence or view of the schema once part of the extension';
