-- As an installation begins (schema/once.sql): names are the server's, and what a delta creates is of heap, where the
-- database is, whatever the defaults of the caller.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL default_tablespace = '';
SET LOCAL default_table_access_method = heap;
-- What every upgrade begins with: it remembers what is there and who was granted what, for revoke.sql and end.sql.
SELECT pg_catalog.set_config('pg_once_upgrade.before', (SELECT pg_catalog.string_agg(pg_catalog.concat(d.classid, ':', d.objid), ' ')
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
    WHERE e.extname = 'pg_once' AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'), true);
-- A role has its kind still when it has every right of it.
SELECT pg_catalog.set_config('pg_once_upgrade.granted', coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(g.kind, g.role))::text
    FROM once.role_grant g JOIN pg_catalog.pg_roles r ON r.rolname = g.role
    WHERE NOT EXISTS (SELECT FROM once.role_right w JOIN pg_catalog.pg_proc p ON p.proname = w.object AND p.pronamespace = 'once'::regnamespace
        WHERE w.kind = g.kind AND w.privilege = 'EXECUTE'
          AND NOT pg_catalog.aclcontains(coalesce(p.proacl, '{}'), pg_catalog.makeaclitem(r.oid, p.proowner, 'EXECUTE', false)))), '[]'), true);
-- The list of rights is made anew: right.sql of each wing fills it again.
DELETE FROM once.role_right;
