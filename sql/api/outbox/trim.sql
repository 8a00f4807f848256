-- Empties every child table that is passed: it is not being written, does not hold the last passed event (the
-- history check needs it) and holds no row that the snapshot does not see. The lock comes first and the question
-- after it, under a fresh snapshot: a transaction that published into the child has then ended.
CREATE OR REPLACE FUNCTION once.trim(lane int, snapshot pg_snapshot) RETURNS int
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    l once.lane;
    drawn bigint;
    protected bigint[];
    trimmed int := 0;
BEGIN
    PERFORM once.lane_assert(lane);
    IF snapshot IS NULL THEN
        RAISE 'snapshot must not be null' USING ERRCODE = '22004';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'cannot trim in a % transaction', current_setting('transaction_isolation') USING ERRCODE = '25001',
            DETAIL = 'What is in a table must be asked after its lock is held.';
    END IF;
    SELECT * INTO l FROM once.lane x WHERE x.lane = trim.lane;
    EXECUTE format('SELECT last_value FROM once.%I', 'event_' || lane || '_seq') INTO drawn;
    -- The child being written is where the next number falls (after a rotate it is not that of the last one), unless
    -- that begins its generation: then what lies there is older.
    SELECT ARRAY[CASE WHEN (drawn + 1) % l.generation_rows <> 0 THEN (drawn + 1) / l.generation_rows % l.children END,
                 (r.position ->> 'last_seq')::bigint / l.generation_rows % l.children]
        INTO protected FROM (SELECT) one LEFT JOIN once.relay_report r ON r.lane = trim.lane;
    FOR k IN 0 .. l.children - 1 LOOP
        CONTINUE WHEN k = ANY (array_remove(protected, NULL));
        IF once.trim_child(lane, k, snapshot) THEN
            trimmed := trimmed + 1;
        END IF;
    END LOOP;
    PERFORM once.dead_letter_clean(lane);
    RETURN trimmed;
END $$;
COMMENT ON FUNCTION once.trim(int, pg_snapshot) IS 'empties the child tables whose events a committed position has all passed; snapshot: s_now of that position, s_prev while it is in the middle of slices; returns how many; protects the event named in the lane''s report';

CREATE OR REPLACE FUNCTION once.trim_child(lane int, child int, snapshot pg_snapshot) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    name text := format('once.event_%s_%s', lane, child);
    waiting text := format('SELECT EXISTS (SELECT FROM %s WHERE xid >= pg_snapshot_xmax($1)) OR '
                           'EXISTS (SELECT FROM %1$s WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($1))))', name);
    answer boolean;
BEGIN
    -- Cheap looks first: most calls find nothing to do, and a lock request makes publishers queue behind it.
    IF pg_relation_size(name::regclass) = 0 THEN
        RETURN false;
    END IF;
    EXECUTE waiting INTO answer USING snapshot;
    IF answer THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', name);
    EXECUTE waiting INTO answer USING snapshot;
    IF answer THEN
        RETURN false;
    END IF;
    EXECUTE format('TRUNCATE %s', name);
    RETURN true;
EXCEPTION
    WHEN lock_not_available THEN RETURN false;
END $$;
COMMENT ON FUNCTION once.trim_child(int, int, pg_snapshot) IS 'internal: empties one child table if the snapshot sees all of it; false when not, or when it is in use for longer than 100 ms';

-- An entry may go when its event is gone from the event tables (until then it keeps the event off the main path)
-- and its redrive is covered by a committed position.
CREATE OR REPLACE FUNCTION once.dead_letter_clean(lane int) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    covered bigint;
    cleaned bigint;
BEGIN
    SELECT (r.position ->> 'redrive_no')::bigint INTO covered FROM once.relay_report r WHERE r.lane = dead_letter_clean.lane;
    EXECUTE format('DELETE FROM once.dead_letter d WHERE d.lane = $1 AND d.stamp <= $2 '
                   'AND NOT EXISTS (SELECT FROM once.%I e WHERE e.seq = d.seq)', 'event_' || lane)
        USING lane, covered;
    GET DIAGNOSTICS cleaned = ROW_COUNT;
    RETURN cleaned;
END $$;
COMMENT ON FUNCTION once.dead_letter_clean(int) IS 'internal: removes entries that were shipped again and whose event is trimmed';
