CREATE OR REPLACE FUNCTION once.park(lane int, seq bigint, error text, policy text, covered_redrive_no bigint DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    covered bigint;
    e record;
BEGIN
    PERFORM once.lane_assert(lane);
    IF seq IS NULL OR error IS NULL OR policy IS NULL THEN
        RAISE 'number, error and policy must not be null' USING ERRCODE = '22004';
    END IF;
    IF policy NOT IN ('hold_key', 'skip') THEN
        RAISE 'unknown policy "%"', policy USING ERRCODE = '22023', HINT = 'Use hold_key or skip.';
    END IF;
    IF EXISTS (SELECT FROM once.dead_letter d WHERE d.lane = park.lane AND d.seq = park.seq) THEN
        RETURN false;
    END IF;
    EXECUTE format('SELECT * FROM once.%I e WHERE e.seq = $1', 'event_' || lane) INTO e USING seq;
    IF e.seq IS NULL THEN
        RAISE 'event % of lane % does not exist', seq, lane USING ERRCODE = '22023';
    END IF;
    covered := coalesce(covered_redrive_no,
                        (SELECT (r.position ->> 'redrive_no')::bigint FROM once.relay_report r WHERE r.lane = park.lane), 0);
    -- Whoever asked for this key wants what comes behind it too, or it would wait for ever.
    INSERT INTO once.dead_letter (lane, seq, xid, id, topic, key, payload, headers, partition, form, time, error, policy, wanted)
        VALUES ($1, $2, e.xid, e.id, e.topic, e.key, e.payload, once.headers_json(e.headers), e.partition, e.form, e.time, $3, $4,
                e.key IS NOT NULL AND EXISTS (
                    SELECT FROM once.dead_letter d WHERE d.lane = $1 AND d.topic = e.topic AND d.key = e.key
                       AND d.wanted AND (d.stamp IS NULL OR d.stamp > covered)))
        ON CONFLICT ON CONSTRAINT dead_letter_pkey DO NOTHING;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION once.park(int, bigint, text, text, bigint) IS
    'copies an event to once.dead_letter and so keeps it off the main path; inherits the mark of its key; covered_redrive_no: the position''s (null: the last reported); false when it stands there already';

CREATE OR REPLACE FUNCTION once.parked_seqs(lane int, after bigint) RETURNS SETOF bigint
    LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.seq FROM once.dead_letter d WHERE d.lane = $1 AND d.seq > $2 ORDER BY d.seq
$$;
COMMENT ON FUNCTION once.parked_seqs(int, bigint) IS 'numbers above `after` that the main path must leave out, rising';

CREATE OR REPLACE FUNCTION once.held_keys(lane int, covered_redrive_no bigint, OUT topic text, OUT key bytea, OUT since bigint)
    RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.topic, d.key, min(d.seq) FROM once.dead_letter d
    WHERE d.lane = $1 AND d.policy = 'hold_key' AND d.key IS NOT NULL AND (d.stamp IS NULL OR d.stamp > coalesce($2, 0))
    GROUP BY d.topic, d.key
$$;
COMMENT ON FUNCTION once.held_keys(int, bigint) IS 'keys whose events after number `since` must be parked too: that entry is unstamped or stamped above the position''s number';
