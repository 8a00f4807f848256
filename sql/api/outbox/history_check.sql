-- The timelines of this server: null when nothing that was flushed at `lsn` on `timeline` was lost here, else why.
CREATE OR REPLACE FUNCTION once.timeline_fault(timeline int, lsn pg_lsn, OUT reason text, OUT detail text)
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'once_timeline_fault';
COMMENT ON FUNCTION once.timeline_fault(int, pg_lsn) IS 'internal: why a position on this timeline cannot be of this history (timeline, lsn), or null; reads the timeline history of the server';

-- One behind the last transaction that it sees. Those that it names behind that had begun and not finished: a crash may
-- have left no trace of them, and their ids are given again.
CREATE OR REPLACE FUNCTION once.snapshot_end(snapshot pg_snapshot) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.xmax - (SELECT count(*) FROM (SELECT x::text::numeric AS xid, row_number() OVER (ORDER BY x DESC) AS nr
                                           FROM pg_snapshot_xip(snapshot) x) running WHERE xid = s.xmax - nr)
    FROM (SELECT pg_snapshot_xmax(snapshot)::text::numeric AS xmax) s
$$;
COMMENT ON FUNCTION once.snapshot_end(pg_snapshot) IS 'internal: the first transaction id behind all that the snapshot sees';

CREATE OR REPLACE FUNCTION once.history_check(lane int, incarnation uuid, database_oid oid, system_identifier bigint,
        timeline int, lsn pg_lsn, s_now pg_snapshot, last_seq bigint, last_id uuid,
        OUT ok boolean, OUT reason text, OUT detail text)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    here record;
    found_id uuid;
BEGIN
    SELECT * INTO here FROM once.identity(lane);
    ok := false;
    IF here.in_recovery THEN
        reason := 'standby';
        detail := 'The server is in recovery.';
    ELSIF here.incarnation IS DISTINCT FROM history_check.incarnation THEN
        reason := 'incarnation';
        detail := format('The lane is %s, the position is of %s.', here.incarnation, history_check.incarnation);
    ELSIF here.database_oid IS DISTINCT FROM history_check.database_oid THEN
        reason := 'database';
        detail := format('The database has oid %s, the position is of %s: this is a copy.', here.database_oid, history_check.database_oid);
    ELSIF here.system_identifier IS DISTINCT FROM history_check.system_identifier THEN
        reason := 'system';
        detail := format('The server is %s, the position is of %s.', here.system_identifier, history_check.system_identifier);
    ELSIF s_now IS NOT NULL AND here.next_xid::text::numeric < once.snapshot_end(s_now) THEN
        reason := 'xid';
        detail := format('The next transaction is %s, the position has seen all before %s.', here.next_xid, once.snapshot_end(s_now));
    END IF;
    IF reason IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT t.reason, t.detail INTO reason, detail FROM once.timeline_fault(history_check.timeline, history_check.lsn) t;
    IF reason IS NULL AND last_seq IS NOT NULL THEN
        EXECUTE format('SELECT id FROM once.%I WHERE seq = $1', 'event_' || lane) INTO found_id USING last_seq;
        IF found_id IS DISTINCT FROM last_id THEN
            reason := 'event';
            detail := format('The last event passed was number %s with id %s, here that number has %s.', last_seq, last_id,
                             coalesce(found_id::text, 'no event'));
        END IF;
    END IF;
    ok := reason IS NULL;
END $$;
COMMENT ON FUNCTION once.history_check(int, uuid, oid, bigint, int, pg_lsn, pg_snapshot, bigint, uuid) IS
    'whether a position is of this lane''s own history, nothing of which was lost; reason: standby, incarnation, database, system, xid, timeline, lsn, event; last_seq null: nothing passed yet';
