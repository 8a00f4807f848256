-- The relay's side of a redrive: stamp, ship what is stamped, take stamps back when it is refused again.
CREATE OR REPLACE FUNCTION once.redrive_next(lane int, redrive_no bigint, s_prev pg_snapshot, s_now pg_snapshot, slice_seq bigint,
        max_rows int, max_bytes bigint) RETURNS int
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    finished pg_snapshot := CASE WHEN slice_seq IS NULL THEN s_now ELSE s_prev END;
    first record;
    stamped int;
BEGIN
    PERFORM once.lane_assert(lane);
    -- An entry that was parked while its key was being asked for is wanted as well.
    UPDATE once.dead_letter d SET wanted = true
        WHERE d.lane = $1 AND NOT d.wanted AND d.stamp IS NULL AND d.key IS NOT NULL AND d.policy = 'hold_key'
          AND EXISTS (SELECT FROM once.dead_letter w WHERE w.lane = $1 AND w.wanted AND w.stamp IS NULL
                         AND w.topic = d.topic AND w.key = d.key AND w.seq < d.seq);
    SELECT d.topic, d.key INTO first FROM once.dead_letter d
        WHERE d.lane = $1 AND d.wanted AND d.stamp IS NULL
          AND (pg_visible_in_snapshot(d.xid, finished) OR pg_visible_in_snapshot(d.xid, s_now) AND d.seq <= slice_seq)
        ORDER BY d.seq LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    WITH entry AS (
        SELECT d.seq,
               row_number() OVER up AS rows,
               sum(coalesce(length(d.payload), 0) + coalesce(length(d.key), 0) + coalesce(length(d.headers::text), 0) + 100) OVER up AS bytes,
               bool_and(d.wanted AND coalesce(pg_visible_in_snapshot(d.xid, finished)
                        OR pg_visible_in_snapshot(d.xid, s_now) AND d.seq <= slice_seq, false)) OVER up AS passed
        FROM once.dead_letter d
        WHERE d.lane = $1 AND d.topic = first.topic AND d.key IS NOT DISTINCT FROM first.key AND d.stamp IS NULL
          AND (d.key IS NOT NULL OR d.wanted)
        WINDOW up AS (ORDER BY d.seq)
        ORDER BY d.seq LIMIT $6)
    UPDATE once.dead_letter d SET stamp = $2 FROM entry
        WHERE d.lane = $1 AND d.seq = entry.seq AND entry.passed AND (entry.bytes <= $7 OR entry.rows = 1);
    GET DIAGNOSTICS stamped = ROW_COUNT;
    RETURN stamped;
END $$;
COMMENT ON FUNCTION once.redrive_next(int, bigint, pg_snapshot, pg_snapshot, bigint, int, bigint) IS
    'stamps the first wanted entries of one key with redrive_no, in order, at most max_rows and max_bytes and only what the position (s_prev, s_now, slice_seq) has passed; returns how many';

CREATE OR REPLACE FUNCTION once.redrive_stamped(lane int, above bigint, OUT xid xid8, OUT seq bigint, OUT id uuid, OUT topic text,
        OUT key bytea, OUT payload bytea, OUT headers bytea, OUT partition int, OUT "time" timestamptz, OUT form "char", OUT stamp bigint) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.xid, d.seq, d.id, d.topic, d.key, d.payload, once.headers_bytes(d.headers), d.partition, d.time, d.form, d.stamp
    FROM once.dead_letter d WHERE d.lane = $1 AND d.stamp > $2 ORDER BY d.stamp, d.seq
$$;
COMMENT ON FUNCTION once.redrive_stamped(int, bigint) IS 'entries with a stamp above this, as events, in the order to ship';

CREATE OR REPLACE FUNCTION once.redrive_refused(lane int, seq bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    released bigint;
BEGIN
    UPDATE once.dead_letter d SET wanted = false, stamp = NULL
        FROM once.dead_letter r
        WHERE r.lane = $1 AND r.seq = $2 AND d.lane = $1 AND d.seq >= $2 AND d.topic = r.topic
          AND (d.seq = r.seq OR r.key IS NOT NULL AND d.key = r.key)
          -- One of an earlier redrive has been shipped: an entry with a lower seq can be parked after it.
          AND (d.stamp IS NULL OR d.stamp >= r.stamp);
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END $$;
COMMENT ON FUNCTION once.redrive_refused(int, bigint) IS 'the entry was refused again: it and all behind it of its key lose mark and stamp; returns how many';

CREATE OR REPLACE FUNCTION once.redrive_unstamp(lane int, ids uuid[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken bigint;
BEGIN
    UPDATE once.dead_letter d SET stamp = NULL, wanted = true WHERE d.lane = $1 AND d.id = ANY ($2) AND d.stamp IS NOT NULL;
    GET DIAGNOSTICS taken = ROW_COUNT;
    RETURN taken;
END $$;
COMMENT ON FUNCTION once.redrive_unstamp(int, uuid[]) IS 'rearm missing: these were stamped but the topics lack them, so they are to be shipped again; returns how many';
