-- Default privileges give away what is just being created: to roles, to PUBLIC, with every right. What is ours has the
-- rights that once.grant_* gave and no other, so each new object begins with its owner's alone. Row types are left to
-- PUBLIC, as PostgreSQL has it: whoever writes a handler names once.message.
CREATE OR REPLACE FUNCTION once.rights_reset(class regclass, object oid) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    what text;
    holder oid;
    acl aclitem[];
    row_type boolean := false;
    grantee record;
BEGIN
    CASE class
    WHEN 'pg_class'::regclass THEN
        SELECT format('%s %s', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass), relowner,
               coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
            INTO what, holder, acl FROM pg_class WHERE oid = object AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S');
    WHEN 'pg_proc'::regclass THEN
        SELECT format('FUNCTION %s', oid::regprocedure), proowner, coalesce(proacl, acldefault('f', proowner))
            INTO what, holder, acl FROM pg_proc WHERE oid = object;
    WHEN 'pg_type'::regclass THEN -- not arrays, nor the row types of tables: they follow others
        SELECT format('TYPE %s', t.oid::regtype), typowner, coalesce(typacl, acldefault('T', typowner)), typtype = 'c'
            INTO what, holder, acl, row_type FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
            WHERE t.oid = object AND typelem = 0 AND typtype IN ('b', 'c', 'd', 'e', 'r') AND coalesce(c.relkind, 'c') = 'c';
    WHEN 'pg_namespace'::regclass THEN
        SELECT format('SCHEMA %I', nspname), nspowner, coalesce(nspacl, acldefault('n', nspowner))
            INTO what, holder, acl FROM pg_namespace WHERE oid = object;
    END CASE;
    IF what IS NULL THEN
        RETURN;
    END IF;
    FOR grantee IN SELECT DISTINCT a.grantee AS id FROM aclexplode(acl) a
                   WHERE a.grantee <> holder AND (a.grantee <> 0 OR NOT row_type) LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', what,
                       CASE grantee.id WHEN 0 THEN 'PUBLIC' ELSE quote_ident((SELECT rolname FROM pg_roles WHERE oid = grantee.id)) END);
    END LOOP;
    EXECUTE format('GRANT ALL ON %s TO %I', what, (SELECT rolname FROM pg_roles WHERE oid = holder)); -- defaults can take that too
    IF row_type THEN
        EXECUTE format('REVOKE GRANT OPTION FOR ALL ON %s FROM PUBLIC', what);
        EXECUTE format('GRANT USAGE ON %s TO PUBLIC', what);
    END IF;
END $$;
COMMENT ON FUNCTION once.rights_reset(regclass, oid) IS 'internal: takes from everybody but the owner what default privileges gave away of a new object';
