-- The operator's decision after the relay refused a history.
CREATE OR REPLACE FUNCTION once.rearm(lane int, mode text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    highest bigint;
BEGIN
    PERFORM once.lane_assert(lane);
    IF mode IS NULL THEN
        RAISE 'mode must not be null' USING ERRCODE = '22004';
    END IF;
    IF mode NOT IN ('continue', 'all', 'none', 'missing') THEN
        RAISE 'unknown mode "%"', mode USING ERRCODE = '22023', HINT = 'Use continue, all, none or missing.';
    END IF;
    -- Until this transaction ends, so that no relay begins between the decision and its commit.
    IF NOT once.lane_try(lane, false) THEN
        RAISE 'lane % is held by a relay', lane USING ERRCODE = '55006', HINT = 'Stop the relay first.';
    END IF;
    IF mode = 'continue' THEN
        UPDATE once.lane l SET mode = 'continue' WHERE l.lane = rearm.lane;
        RETURN;
    END IF;
    SELECT max(d.stamp) INTO highest FROM once.dead_letter d WHERE d.lane = rearm.lane;
    UPDATE once.lane l SET incarnation = gen_random_uuid(), armed = false, cluster_id = NULL, mode = rearm.mode,
                           replaced = l.replaced || l.incarnation, decided_at = pg_current_snapshot(),
                           redrive_floor = greatest(l.redrive_floor, highest)
        WHERE l.lane = rearm.lane;
    DELETE FROM once.relay_report r WHERE r.lane = rearm.lane;
    IF mode = 'all' THEN
        UPDATE once.dead_letter d SET stamp = NULL, wanted = true WHERE d.lane = rearm.lane AND d.stamp IS NOT NULL;
    END IF;
END $$;
COMMENT ON FUNCTION once.rearm(int, text) IS
    'lets a lane go on after its history was refused: continue (same transactions, verified by somebody), all (ship everything again), none (begin with what commits from now on), missing (ship what the topics lack); 55006 while a relay holds the lane';

CREATE OR REPLACE FUNCTION once.passed_over(lane int, snapshot pg_snapshot) RETURNS bigint
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    events bigint;
BEGIN
    PERFORM once.lane_assert(lane);
    EXECUTE format('SELECT count(*) FROM once.%I e WHERE pg_visible_in_snapshot(e.xid, $1)', 'event_' || lane)
        INTO events USING snapshot;
    RETURN events;
END $$;
COMMENT ON FUNCTION once.passed_over(int, pg_snapshot) IS 'events of a lane that a snapshot sees: those that rearm with none leaves out';
