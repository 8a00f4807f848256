-- What the relay tells after a commit in Kafka. Arms the lane at the first one: from then on a missing position is
-- a lost one. The lane's row is written only when it changes, so that publishers keep what they know of it.
CREATE OR REPLACE FUNCTION once.report(lane int, incarnation uuid, cluster_id text, record jsonb, offset_hint bigint, info jsonb)
    RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known once.lane;
BEGIN
    PERFORM once.lane_assert(lane);
    SELECT * INTO known FROM once.lane l WHERE l.lane = report.lane;
    IF known.incarnation IS DISTINCT FROM report.incarnation THEN
        RAISE 'lane % has another incarnation than the relay', lane USING ERRCODE = 'ON040',
            DETAIL = format('The lane is %s, the relay worked for %s.', known.incarnation, report.incarnation);
    END IF;
    IF report.cluster_id IS NULL THEN
        RAISE 'cluster id must not be null' USING ERRCODE = '22004';
    END IF;
    IF known.armed AND known.cluster_id <> report.cluster_id THEN
        RAISE 'lane % belongs to another Kafka cluster', lane USING ERRCODE = 'ON040',
            DETAIL = format('The lane''s position is kept in %s, the relay is connected to %s.', known.cluster_id, report.cluster_id),
            HINT = 'once.rearm decides what to ship to another cluster.';
    END IF;
    IF NOT known.armed OR (known.mode IS NOT NULL AND known.mode = report.record ->> 'mode') THEN
        UPDATE once.lane l SET armed = true, cluster_id = report.cluster_id, replaced = '{}',
                               mode = CASE WHEN l.mode = report.record ->> 'mode' THEN NULL ELSE l.mode END
            WHERE l.lane = report.lane;
    END IF;
    INSERT INTO once.relay_report AS r (lane, incarnation, cluster_id, position, offset_hint, info, reported_at)
        VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
        ON CONFLICT ON CONSTRAINT relay_report_pkey DO UPDATE SET incarnation = EXCLUDED.incarnation,
            cluster_id = EXCLUDED.cluster_id, position = EXCLUDED.position, offset_hint = EXCLUDED.offset_hint,
            -- Topics that this process has not shipped to yet keep what was known of them.
            info = EXCLUDED.info || jsonb_build_object('partitions',
                       coalesce(r.info -> 'partitions', '{}') || coalesce(EXCLUDED.info -> 'partitions', '{}')),
            reported_at = EXCLUDED.reported_at;
END $$;
COMMENT ON FUNCTION once.report(int, uuid, text, jsonb, bigint, jsonb) IS
    'keeps the relay''s last committed position, arms the lane, ends a rearm mode once its position is reported; ON040 when the lane is of another incarnation or cluster';
