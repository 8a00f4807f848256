-- The lock that decides who works on a lane: a session advisory lock in a space of its own ("once" in ASCII) and of a class
-- that pg_advisory_lock does not reach, so that nobody but a relay can keep a lane.
-- It is politeness, not safety: what is shipped is fenced by Kafka's epochs.
CREATE OR REPLACE FUNCTION once.lane_try(lane int, whole_session boolean) RETURNS boolean
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_lane_try';
COMMENT ON FUNCTION once.lane_try(int, boolean) IS 'internal: takes the lock of a lane for the session, or until the transaction ends; false while another session has it';

CREATE OR REPLACE FUNCTION once.lane_holder(lane int) RETURNS int
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
    SELECT l.pid FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.classid = 1869505381 AND l.objid = $1::oid AND l.objsubid = 80 AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
$$;
COMMENT ON FUNCTION once.lane_holder(int) IS 'internal: pid of the session that holds the lock of a lane, or null';

-- A holder that is stopped or hangs in COPY survives every timeout of the server: whoever waits ends it, when it
-- started no statement for 15 s (a live one starts one at least every 5 s).
CREATE OR REPLACE FUNCTION once.lane_lock(lane int, OUT acquired boolean, OUT holder int, OUT holder_state text,
        OUT held_for interval, OUT evicted boolean)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF lane IS NULL THEN
        RAISE 'lane must not be null' USING ERRCODE = '22004';
    END IF;
    evicted := false;
    IF once.lane_holder(lane) = pg_backend_pid() OR once.lane_try(lane, true) THEN
        acquired := true;
        holder := pg_backend_pid();
        RETURN;
    END IF;
    acquired := false;
    PERFORM pg_stat_clear_snapshot();
    holder := once.lane_holder(lane);
    SELECT a.pid, a.state, clock_timestamp() - a.state_change,
           CASE WHEN a.usename = session_user AND clock_timestamp() - a.state_change > interval '15 s'
                THEN pg_terminate_backend(a.pid) ELSE false END
        INTO holder, holder_state, held_for, evicted
        FROM pg_stat_activity a WHERE a.pid = holder;
    evicted := coalesce(evicted, false);
END $$;
COMMENT ON FUNCTION once.lane_lock(int) IS 'tries to take a lane for this session; a holder of the same role that started nothing for 15 s is ended (evicted) and the next try gets the lane; held_for: since the holder''s last state change';

CREATE OR REPLACE FUNCTION once.lane_unlock(lane int) RETURNS boolean
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_lane_unlock';
COMMENT ON FUNCTION once.lane_unlock(int) IS 'gives the lane back; false, with PostgreSQL''s warning, if this session does not hold it';
