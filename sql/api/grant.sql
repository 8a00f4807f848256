-- Rights come from here and never from PUBLIC. The lists are in once.role_right.
CREATE OR REPLACE FUNCTION once.grant_kind(kind text, role regrole) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    grantee text := quote_ident((SELECT r.rolname FROM pg_roles r WHERE r.oid = grant_kind.role));
    object record;
BEGIN
    IF grantee IS NULL THEN
        RAISE 'role must be given and exist' USING ERRCODE = CASE WHEN role IS NULL THEN '22004' ELSE '42704' END;
    END IF;
    INSERT INTO once.role_grant (kind, role)
        SELECT grant_kind.kind, r.rolname FROM pg_roles r WHERE r.oid = grant_kind.role
        ON CONFLICT ON CONSTRAINT role_grant_pkey DO NOTHING;
    EXECUTE format('GRANT USAGE ON SCHEMA once TO %s', grantee);
    -- Only what is missing: each GRANT is a new version of a row that a TRUNCATE by the relay may be writing.
    FOR object IN SELECT p.oid::regprocedure AS name FROM once.role_right r
                  JOIN pg_proc p ON p.proname = r.object AND p.pronamespace = 'once'::regnamespace
                  WHERE r.kind = grant_kind.kind AND r.privilege = 'EXECUTE' AND NOT EXISTS (
                      SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = grant_kind.role AND a.privilege_type = 'EXECUTE')
                  ORDER BY 1 LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', object.name, grantee);
    END LOOP;
    FOR object IN SELECT c.oid::regclass AS name FROM once.role_right r
                  JOIN pg_class c ON c.relname = r.object AND c.relnamespace = 'once'::regnamespace
                  WHERE r.kind = grant_kind.kind AND r.privilege = 'SELECT' AND NOT EXISTS (
                      SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = grant_kind.role AND a.privilege_type = 'SELECT')
                  ORDER BY 1 LOOP
        EXECUTE format('GRANT SELECT ON %s TO %s', object.name, grantee);
    END LOOP;
    IF kind = 'relay' THEN
        PERFORM once.lane_grant(l.lane) FROM once.lane l;
    END IF;
END $$;
COMMENT ON FUNCTION once.grant_kind(text, regrole) IS 'internal: gives a role what once.role_right lists for its kind';

CREATE OR REPLACE FUNCTION once.grant_publisher(role regrole) RETURNS void
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT once.grant_kind('publisher', $1)
$$;
COMMENT ON FUNCTION once.grant_publisher(regrole) IS 'lets a role publish';
CREATE OR REPLACE FUNCTION once.grant_relay(role regrole) RETURNS void
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT once.grant_kind('relay', $1)
$$;
COMMENT ON FUNCTION once.grant_relay(regrole) IS 'lets a role run once-relay';
CREATE OR REPLACE FUNCTION once.grant_consumer(role regrole) RETURNS void
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT once.grant_kind('consumer', $1)
$$;
COMMENT ON FUNCTION once.grant_consumer(regrole) IS 'lets a role receive: once.accept and its family';
CREATE OR REPLACE FUNCTION once.grant_admin(role regrole) RETURNS void
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT once.grant_kind('admin', $1)
$$;
COMMENT ON FUNCTION once.grant_admin(regrole) IS 'lets a role set topics and lanes, redrive, rearm and grant the other kinds';
