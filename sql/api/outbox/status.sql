-- One row per lane. The backlog is counted up to 100,000 events; beyond that it is the distance of numbers.
CREATE OR REPLACE FUNCTION once.status(OUT lane int, OUT incarnation uuid, OUT armed boolean, OUT mode text, OUT cluster_id text,
        OUT backlog bigint, OUT backlog_exact boolean, OUT oldest_unshipped interval, OUT parked bigint, OUT wanted bigint,
        OUT holder int, OUT holder_application text, OUT report_age interval, OUT report jsonb, OUT size_bytes bigint,
        OUT trim_blockers jsonb) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    l once.lane;
    r once.relay_report;
BEGIN
    PERFORM pg_stat_clear_snapshot();
    FOR l IN SELECT * FROM once.lane x ORDER BY x.lane LOOP
        SELECT * INTO r FROM once.relay_report x WHERE x.lane = l.lane;
        lane := l.lane; incarnation := l.incarnation; armed := l.armed; mode := l.mode; cluster_id := l.cluster_id;
        SELECT b.events, b.exact, b.oldest INTO backlog, backlog_exact, oldest_unshipped FROM once.lane_backlog(l.lane) b;
        SELECT count(*), count(*) FILTER (WHERE d.wanted) INTO parked, wanted FROM once.dead_letter d
            WHERE d.lane = l.lane AND (d.stamp IS NULL OR d.stamp > coalesce((r.position ->> 'redrive_no')::bigint, 0));
        holder := once.lane_holder(l.lane);
        holder_application := (SELECT a.application_name FROM pg_stat_activity a WHERE a.pid = holder);
        report_age := clock_timestamp() - r.reported_at;
        report := CASE WHEN r.incarnation IS NOT NULL THEN to_jsonb(r) - 'rotated_from' - 'rotated_to' END;
        SELECT sum(pg_total_relation_size(format('once.event_%s_%s', l.lane, k)::regclass)) INTO size_bytes
            FROM generate_series(0, l.children - 1) k;
        trim_blockers := once.trim_blockers(l.lane);
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION once.status() IS 'per lane: what waits (as of the relay''s last report), for how long, what is parked, who holds the lane, what the relay reported, and which transactions hold back trimming (pid, or gid when prepared)';

CREATE OR REPLACE FUNCTION once.lane_backlog(lane int, OUT events bigint, OUT exact boolean, OUT oldest interval)
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r once.relay_report;
    passed pg_snapshot;
    first_time timestamptz;
    drawn bigint;
BEGIN
    SELECT * INTO r FROM once.relay_report x WHERE x.lane = lane_backlog.lane;
    passed := coalesce(CASE WHEN r.position ->> 'slice_seq' IS NULL THEN r.position ->> 's_now' ELSE r.position ->> 's_prev' END, '1:1:');
    EXECUTE format('SELECT count(*), min(time) FROM (SELECT e.time FROM once.%1$I e '
                   'WHERE (e.xid >= pg_snapshot_xmax($1) OR e.xid = ANY (ARRAY(SELECT pg_snapshot_xip($1)))) '
                   'AND NOT (coalesce(e.seq <= $2, false) AND pg_visible_in_snapshot(e.xid, $3)) LIMIT 100001) waiting',
                   'event_' || lane)
        INTO events, first_time
        USING passed, (r.position ->> 'slice_seq')::bigint, coalesce(r.position ->> 's_now', '1:1:')::pg_snapshot;
    exact := events <= 100000;
    oldest := clock_timestamp() - first_time;
    IF NOT exact THEN
        EXECUTE format('SELECT last_value FROM once.%I', 'event_' || lane || '_seq') INTO drawn;
        events := greatest(events, drawn - coalesce((r.position ->> 'last_seq')::bigint, 0));
    END IF;
END $$;
COMMENT ON FUNCTION once.lane_backlog(int) IS 'internal: events that the last reported position has not passed, in what the caller''s snapshot shows';

CREATE OR REPLACE FUNCTION once.trim_blockers(lane int) RETURNS jsonb
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_agg(DISTINCT jsonb_strip_nulls(jsonb_build_object('pid', k.pid, 'gid', p.gid, 'state', a.state,
               'application', a.application_name, 'since', coalesce(a.xact_start, p.prepared))))
    FROM once.lane l
    CROSS JOIN generate_series(0, l.children - 1) child
    JOIN pg_locks k ON k.locktype = 'relation' AND k.relation = format('once.event_%s_%s', l.lane, child)::regclass
    LEFT JOIN pg_stat_activity a ON a.pid = k.pid
    -- A prepared transaction has no pid; what ties its locks together is the id they were taken under.
    LEFT JOIN pg_locks x ON k.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid'
                        AND x.virtualtransaction = k.virtualtransaction
    LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
    WHERE l.lane = $1 AND k.granted AND k.pid IS DISTINCT FROM pg_backend_pid()
      AND k.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;
COMMENT ON FUNCTION once.trim_blockers(int) IS 'internal: transactions that have published or read and still hold a child table of the lane';

-- As of the relay's last report, like the backlog, but only as far as it matters. STABLE: what the caller's snapshot shows.
CREATE OR REPLACE FUNCTION once.lane_waiting(lane int, up_to bigint) RETURNS bigint
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r once.relay_report;
    passed pg_snapshot;
    events bigint;
BEGIN
    SELECT * INTO r FROM once.relay_report x WHERE x.lane = lane_waiting.lane;
    passed := coalesce(CASE WHEN r.position ->> 'slice_seq' IS NULL THEN r.position ->> 's_now' ELSE r.position ->> 's_prev' END, '1:1:');
    EXECUTE format('SELECT count(*) FROM (SELECT FROM once.%1$I e '
                   'WHERE (e.xid >= pg_snapshot_xmax($1) OR e.xid = ANY (ARRAY(SELECT pg_snapshot_xip($1)))) '
                   'AND NOT (coalesce(e.seq <= $2, false) AND pg_visible_in_snapshot(e.xid, $3)) LIMIT $4 + 1) waiting',
                   'event_' || lane)
        INTO events
        USING passed, (r.position ->> 'slice_seq')::bigint, coalesce(r.position ->> 's_now', '1:1:')::pg_snapshot, up_to;
    RETURN events;
END $$;
COMMENT ON FUNCTION once.lane_waiting(int, bigint) IS 'internal: events that the last reported position has not passed, counted up to one more than this; for the limit of once.publish';
