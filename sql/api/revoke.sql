-- PostgreSQL grants EXECUTE and USAGE on new functions and types to PUBLIC. Rights come from once.grant_* only.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA once FROM PUBLIC;
DO $$
DECLARE type regtype;
BEGIN
    FOR type IN SELECT oid::regtype FROM pg_catalog.pg_type
                WHERE typnamespace = 'once'::regnamespace AND typelem = 0 AND typtype IN ('e', 'd') LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON TYPE %s FROM PUBLIC', type);
    END LOOP;
END $$;
