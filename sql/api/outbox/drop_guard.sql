-- DROP EXTENSION pg_once takes the outbox with it: refused (55006) while something waits in it, unless
-- once.drop_unshipped is on.
CREATE OR REPLACE FUNCTION once.unshipped() RETURNS bigint
    LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found bigint := (SELECT count(*) FROM once.scheduled);
    l once.lane;
BEGIN
    FOR l IN SELECT * FROM once.lane LOOP
        found := found + (SELECT b.events FROM once.lane_backlog(l.lane) b)
            + (SELECT count(*) FROM once.dead_letter d WHERE d.lane = l.lane AND d.stamp IS NULL);
    END LOOP;
    RETURN found;
END $$;
COMMENT ON FUNCTION once.unshipped() IS 'internal: events that wait in the outbox, as of the relay''s last reports: in event tables, parked, scheduled';

CREATE OR REPLACE FUNCTION once.drop_guard() RETURNS event_trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'once_drop_guard';
COMMENT ON FUNCTION once.drop_guard() IS 'internal: refuses (55006) to drop the extension, by whatever statement, while events wait, unless once.drop_unshipped is on';
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'pg_once_drop_guard') THEN
        CREATE EVENT TRIGGER pg_once_drop_guard ON ddl_command_start 
            WHEN TAG IN ('DROP EXTENSION', 'DROP OWNED', 'DROP SCHEMA', 'DROP LANGUAGE') EXECUTE FUNCTION once.drop_guard();
        ALTER EVENT TRIGGER pg_once_drop_guard ENABLE ALWAYS;
    END IF;
END $$;
COMMENT ON EVENT TRIGGER pg_once_drop_guard IS 'refuses to drop pg_once while events wait';
