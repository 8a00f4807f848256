CREATE OR REPLACE FUNCTION once.server_identity(OUT system_identifier bigint, OUT timeline int, OUT in_recovery boolean,
        OUT next_xid xid8, OUT database_oid oid, OUT encoding text)
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'once_server_identity';
COMMENT ON FUNCTION once.server_identity() IS 'internal: what tells this server and database from another; the timeline is the one WAL is written on (pg_control lags behind after a promotion), null in recovery';

CREATE OR REPLACE FUNCTION once.identity(lane int, OUT incarnation uuid, OUT armed boolean, OUT cluster_id text, OUT mode text,
        OUT redrive_floor bigint, OUT database_oid oid, OUT system_identifier bigint, OUT timeline int,
        OUT in_recovery boolean, OUT next_xid xid8, OUT encoding text, OUT offset_hint bigint, OUT report jsonb,
        OUT replaced uuid[], OUT decided_at pg_snapshot)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM once.lane_assert(lane);
    SELECT l.incarnation, l.armed, l.cluster_id, l.mode, l.redrive_floor, s.database_oid, s.system_identifier, s.timeline,
           s.in_recovery, s.next_xid, s.encoding, r.offset_hint,
           CASE WHEN r.incarnation IS NOT NULL THEN to_jsonb(r) - 'rotated_from' - 'rotated_to' END,
           l.replaced, l.decided_at
        INTO incarnation, armed, cluster_id, mode, redrive_floor, database_oid, system_identifier, timeline,
             in_recovery, next_xid, encoding, offset_hint, report, replaced, decided_at
        FROM once.lane l CROSS JOIN once.server_identity() s LEFT JOIN once.relay_report r USING (lane)
        WHERE l.lane = identity.lane;
END $$;
COMMENT ON FUNCTION once.identity(int) IS 'what the relay compares with the position it finds in Kafka, and where to look for it; 22023 no such lane';

CREATE OR REPLACE FUNCTION once.lane_assert(lane int) RETURNS void
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF lane IS NULL THEN
        RAISE 'lane must not be null' USING ERRCODE = '22004';
    END IF;
    IF NOT EXISTS (SELECT FROM once.lane l WHERE l.lane = lane_assert.lane) THEN
        RAISE 'lane % does not exist', lane USING ERRCODE = '22023', HINT = 'once.set_lanes sets their number, before first use.';
    END IF;
END $$;
COMMENT ON FUNCTION once.lane_assert(int) IS 'internal: raises 22004 or 22023 when there is no such lane';
