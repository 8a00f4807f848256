-- The event views come and go with the lanes, so they cannot stand in role_right: whoever may lock a lane as a
-- relay may read them.
CREATE OR REPLACE FUNCTION once.lane_grant(lane int) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    grantee oid;
BEGIN
    FOR grantee IN SELECT DISTINCT a.grantee FROM pg_proc p, aclexplode(p.proacl) a
                   WHERE p.pronamespace = 'once'::regnamespace AND p.proname = 'lane_lock'
                     AND a.grantee NOT IN (0, p.proowner) AND NOT EXISTS (
                         SELECT FROM pg_class v, aclexplode(v.relacl) has
                         WHERE v.oid = format('once.%I', 'event_' || lane)::regclass AND has.grantee = a.grantee AND has.privilege_type = 'SELECT') LOOP
        EXECUTE format('GRANT SELECT ON once.%I TO %s', 'event_' || lane, grantee::regrole);
    END LOOP;
END $$;
COMMENT ON FUNCTION once.lane_grant(int) IS 'internal: lets the relay roles read the event view of a lane';
