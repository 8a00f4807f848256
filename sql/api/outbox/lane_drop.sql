CREATE OR REPLACE FUNCTION once.lane_drop(lane int) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    children int;
BEGIN
    DELETE FROM once.lane l WHERE l.lane = lane_drop.lane RETURNING l.children INTO STRICT children;
    EXECUTE format('ALTER EXTENSION pg_once DROP VIEW once.%I', 'event_' || lane);
    EXECUTE format('DROP VIEW once.%I', 'event_' || lane);
    FOR k IN 0 .. children - 1 LOOP
        EXECUTE format('ALTER EXTENSION pg_once DROP TABLE once.%I', format('event_%s_%s', lane, k));
        EXECUTE format('DROP TABLE once.%I', format('event_%s_%s', lane, k));
    END LOOP;
    EXECUTE format('ALTER EXTENSION pg_once DROP SEQUENCE once.%I', 'event_' || lane || '_seq');
    EXECUTE format('DROP SEQUENCE once.%I', 'event_' || lane || '_seq');
END $$;
COMMENT ON FUNCTION once.lane_drop(int) IS 'internal: removes a lane that was never used; called by once.set_lanes';
