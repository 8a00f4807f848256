CREATE OR REPLACE FUNCTION once.deliver_due(max_events int DEFAULT 200, max_bytes int DEFAULT 8388608) RETURNS int
    LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER AS 'MODULE_PATHNAME', 'once_deliver_due';
COMMENT ON FUNCTION once.deliver_due(int, int) IS
'moves events of once.scheduled that are due to the outbox, with their ids, earliest first; their order counts from then
ends at max_events or with the event that reaches max_bytes; returns how many: call again at once unless 0, which is also the answer while somebody else is at it; the relay calls it
READ COMMITTED; REPEATABLE READ, SERIALIZABLE: 40001 when one was unscheduled after the snapshot; standby: 25006';

CREATE OR REPLACE FUNCTION once.unschedule(id uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted CONSTANT uuid := id;
BEGIN
    IF wanted IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'id must not be null';
    END IF;
    DELETE FROM once.scheduled AS s WHERE s.id = wanted;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION once.unschedule(uuid) IS
'takes an event out of once.scheduled: true if it waited there, and then it is never delivered; false when it was delivered or is unknown; its dedup key stays used
waits for a transaction that is delivering it; REPEATABLE READ, SERIALIZABLE: 40001 when that committed after the snapshot; standby: 25006';
