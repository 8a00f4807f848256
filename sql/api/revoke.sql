-- PostgreSQL grants EXECUTE and USAGE on new functions and types to PUBLIC, and default privileges whatever an
-- administrator once wrote. Rights come from once.grant_* only. An upgrade leaves alone what was there before it: what
-- was granted stays.
DO $$
DECLARE
    new record;
BEGIN
    FOR new IN SELECT d.classid::regclass AS class, d.objid AS object
               FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
               WHERE e.extname = 'pg_once' AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
                 AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass)
                 AND NOT pg_catalog.concat(d.classid, ':', d.objid) = ANY (pg_catalog.string_to_array(
                     coalesce(pg_catalog.current_setting('pg_once_upgrade.before', true), ''), ' '))
               ORDER BY 1, 2 LOOP
        PERFORM once.rights_reset(new.class, new.object);
    END LOOP;
END $$;
