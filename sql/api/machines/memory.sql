CREATE OR REPLACE FUNCTION once.memory_keep(family text) RETURNS interval
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT s.keep FROM once.memory_setting AS s WHERE s.family = $1), '7 days')
$$;
COMMENT ON FUNCTION once.memory_keep(text) IS 'internal: how long a family of ids is remembered at least';

CREATE OR REPLACE FUNCTION once.memory_set(family text, keep interval) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF family IS NULL OR keep IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'family and keep must not be null';
    ELSIF keep <= '0' OR keep > '1000 years' OR family NOT IN ('machine_event', 'publish_key', 'token') THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'family must be machine_event, publish_key or token, and keep above zero and at most 1000 years';
    END IF;
    INSERT INTO once.memory_setting AS s VALUES (family, keep)
        ON CONFLICT ON CONSTRAINT memory_setting_pkey DO UPDATE SET keep = excluded.keep;
END $$;
COMMENT ON FUNCTION once.memory_set(text, interval) IS
'how long ids are remembered at least, and twice as long at most: machine_event, publish_key or token; standby: 25006';

-- One step of one family. Each step relies only on what earlier ones committed.
CREATE OR REPLACE FUNCTION once.memory_step(wheel once.memory) RETURNS text[]
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    done text[] := '{}';
    keep CONSTANT interval := once.memory_keep(wheel.family);
    upcoming CONSTANT smallint := (wheel.generation + 1) % 3;
    filled boolean[] := '{f,f,f}';
    found_one boolean;
BEGIN
    FOR g IN 0 .. 2 LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM once.%I)', wheel.family || '_' || g) INTO found_one;
        filled[g + 1] := found_one;
        CONTINUE WHEN g = wheel.generation OR wheel.closing_xid IS NOT NULL;
        IF wheel.retired_at[g + 1] IS NULL AND filled[g + 1] THEN -- restored from a dump: its age is not known
            wheel.retired_at[g + 1] := clock_timestamp();
            done := done || 'retired'::text;
        ELSIF wheel.retired_at[g + 1] + keep <= clock_timestamp() THEN
            BEGIN
                EXECUTE format('TRUNCATE once.%I', wheel.family || '_' || g);
                wheel.retired_at[g + 1] := NULL;
                filled[g + 1] := false;
                done := done || 'truncated'::text;
            EXCEPTION WHEN lock_not_available THEN
                NULL; -- somebody looked into it and is still at work: next time
            END;
        END IF;
    END LOOP;
    IF wheel.closing_xid IS NULL THEN
        IF filled[wheel.generation + 1] AND NOT filled[upcoming + 1] AND wheel.retired_at[upcoming + 1] IS NULL
            AND wheel.opened_at + keep <= clock_timestamp() THEN
            wheel.closing_xid := pg_current_xact_id();
            done := done || 'closing'::text;
        END IF;
    ELSIF wheel.barrier_xid IS NULL THEN
        IF once.all_ended(wheel.closing_xid) THEN
            wheel.barrier_xid := once.last_xid();
            done := done || 'barrier'::text;
        END IF;
    ELSIF once.all_ended(wheel.barrier_xid) THEN
        wheel.retired_at[wheel.generation + 1] := clock_timestamp();
        wheel.generation := upcoming;
        wheel.opened_at := clock_timestamp();
        wheel.closing_xid := NULL;
        wheel.barrier_xid := NULL;
        done := done || 'opened'::text;
    END IF;
    IF done <> '{}' THEN
        UPDATE once.memory AS m SET generation = wheel.generation, opened_at = wheel.opened_at,
                closing_xid = wheel.closing_xid, barrier_xid = wheel.barrier_xid, retired_at = wheel.retired_at
            WHERE m.family = wheel.family;
    END IF;
    RETURN done;
END $$;
COMMENT ON FUNCTION once.memory_step(once.memory) IS 'internal: the next step of the generations of one family';

CREATE OR REPLACE FUNCTION once.memory_sweep() RETURNS TABLE (name text, steps text[])
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    wheel once.memory;
BEGIN
    FOR wheel IN SELECT * FROM once.memory AS m ORDER BY m.family FOR UPDATE SKIP LOCKED LOOP
        steps := once.memory_step(wheel);
        IF steps <> '{}' THEN
            name := wheel.family;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION once.memory_sweep() IS
'moves the generations of event ids, dedup keys and tokens on by one step each: handover, expiry, truncation; call it every few minutes, each time in a transaction of its own
waits at most 0.1 s for a table that somebody looked into; returns what changed; standby: 25006';
