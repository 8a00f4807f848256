-- Rows of rings that have none yet: what was made and never swept, or restored without them. Tables with rows that no
-- state accounts for are of unknown age: they count from now.
CREATE OR REPLACE FUNCTION once.ring_begin() RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO once.ring AS o (name, open, oldest, gone, opened_at, closed_at, closed_for, counted_at, monotonic, system_identifier, database)
    SELECT r.ring, 4, f.first, f.first, clock_timestamp(), f.closed, f.aged, clock_timestamp(), once.monotonic_us(),
           (SELECT c.system_identifier FROM pg_control_system() AS c), (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    FROM once.rings() AS r
         CROSS JOIN LATERAL (
             SELECT coalesce(min(s) FILTER (WHERE filled), 4) AS first,
                    array_agg(CASE WHEN s <> 4 AND filled THEN clock_timestamp() END ORDER BY s % 4) AS closed,
                    array_agg(CASE WHEN s <> 4 AND filled THEN interval '0' END ORDER BY s % 4) AS aged
             FROM (SELECT t.s, t.s = 4 OR NOT once.ring_empty(format('once.%I', r.ring || '_' || t.s % 4)::regclass) AS filled
                   FROM generate_series(1, 4) AS t(s)) AS slots) AS f
    ON CONFLICT ON CONSTRAINT ring_pkey DO NOTHING;
END $$;
COMMENT ON FUNCTION once.ring_begin() IS 'internal: gives each ring its row';

-- Time passes as far as both clocks say so: a wall clock that jumps forward forgets nothing, a monotonic one that started
-- anew has run at least since then.
CREATE OR REPLACE FUNCTION once.ring_passed(r once.ring) RETURNS interval
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
    SELECT greatest(interval '0', least(clock_timestamp() - r.counted_at,
        interval '1 microsecond' * (m - CASE WHEN m >= r.monotonic THEN r.monotonic ELSE 0 END))) FROM once.monotonic_us() AS m
$$;
COMMENT ON FUNCTION once.ring_passed(once.ring) IS 'internal: time since the ages of a ring were counted';

CREATE OR REPLACE FUNCTION once.ring_is_ours(r once.ring) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.system_identifier = c.system_identifier AND r.database = d.oid
           AND coalesce(greatest(r.switched, r.barrier, r.retired) <= once.last_xid(), true)
    FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION once.ring_is_ours(once.ring) IS 'internal: false for the row of another server: xids of there say nothing here, nor do ages';

-- What is due for a ring; null: nothing. No decision reads rows of the generations: emptiness is asked of the file, age of
-- the clocks.
CREATE OR REPLACE FUNCTION once.ring_next(r once.ring, span interval) RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    passed CONSTANT interval := once.ring_passed(r);
BEGIN
    IF NOT once.ring_is_ours(r) THEN
        RETURN 'adopted';
    ELSIF r.closing AND r.barrier IS NULL AND once.all_ended(r.switched) THEN
        RETURN 'barrier';
    ELSIF r.closing AND once.all_ended(r.barrier) THEN
        RETURN 'read_only';
    ELSIF r.gone < r.oldest AND once.all_ended(r.retired) THEN
        RETURN 'truncated';
    ELSIF r.gone = r.oldest AND r.oldest < r.open - r.closing::int AND r.closed_for[r.oldest % 4 + 1] + passed >= span THEN
        RETURN 'retired';
    ELSIF NOT r.closing AND r.open - r.gone < 3 AND r.open_for + passed >= span / 2 THEN
        IF NOT once.ring_empty(format('once.%I', r.name || '_' || (r.open + 1) % 4)::regclass) THEN
            RETURN 'found';
        ELSIF NOT once.ring_empty(format('once.%I', r.name || '_' || r.open % 4)::regclass) THEN
            RETURN 'closing';
        END IF;
    END IF;
    RETURN CASE WHEN clock_timestamp() NOT BETWEEN r.counted_at - interval '1 minute' AND r.counted_at + interval '1 hour' THEN 'counted' END;
END $$;
COMMENT ON FUNCTION once.ring_next(once.ring, interval) IS 'internal: the step that is due for a ring';

-- The row of a ring after a step, under the lock on it; null: a table is in use. What a step relies on was committed before.
CREATE OR REPLACE FUNCTION once.ring_step(r once.ring, step text) RETURNS once.ring
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
    passed CONSTANT interval := once.ring_passed(r);
    slot int;
BEGIN
    r.counted_at := now;
    r.monotonic := once.monotonic_us();
    r.open_for := r.open_for + passed;
    r.closed_for := ARRAY(SELECT f + passed FROM unnest(r.closed_for) WITH ORDINALITY AS a(f, n) ORDER BY n);
    CASE step
    WHEN 'adopted' THEN
        SELECT c.system_identifier, d.oid INTO r.system_identifier, r.database
            FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database();
        r.open_for := '0';
        r.closed_at := ARRAY(SELECT CASE WHEN c IS NOT NULL THEN now END FROM unnest(r.closed_at) WITH ORDINALITY AS a(c, n) ORDER BY n);
        r.closed_for := ARRAY(SELECT CASE WHEN c IS NOT NULL THEN interval '0' END FROM unnest(r.closed_at) WITH ORDINALITY AS a(c, n) ORDER BY n);
        r.switched := CASE WHEN r.closing THEN pg_current_xact_id() END;
        r.barrier := NULL;
        r.retired := CASE WHEN r.gone < r.oldest THEN pg_current_xact_id() END;
    WHEN 'barrier' THEN
        -- Read after the check: nobody acts in the old way from here on, and who did has an xid up to this.
        r.barrier := once.last_xid();
    WHEN 'read_only' THEN
        slot := (r.open - 1) % 4;
        INSERT INTO once.generation (ring, serial, opened_at, closed_at)
            VALUES (r.name, r.open - 1, least(r.opened_at, now), now) ON CONFLICT ON CONSTRAINT generation_pkey DO NOTHING;
        r.closing := false;
        r.switched := NULL;
        r.barrier := NULL;
        r.closed_at[slot + 1] := now;
        r.closed_for[slot + 1] := '0';
    WHEN 'truncated' THEN
        slot := r.gone % 4;
        IF NOT once.ring_truncate(format('once.%I', r.name || '_' || slot)::regclass) THEN
            RETURN NULL;
        END IF;
        r.closed_at[slot + 1] := NULL;
        r.closed_for[slot + 1] := NULL;
        r.gone := r.gone + 1;
        r.retired := CASE WHEN r.gone < r.oldest THEN r.retired END;
    WHEN 'retired' THEN
        r.horizon := greatest(r.horizon, r.closed_at[r.oldest % 4 + 1] + interval '5 minutes');
        r.oldest := r.oldest + 1;
        r.retired := pg_current_xact_id();
    WHEN 'found' THEN
        -- Rows in a table that should have none are of unknown age: they count from now.
        FOR serial IN r.open - 3 .. r.oldest - 1 LOOP
            r.closed_at[serial % 4 + 1] := now;
            r.closed_for[serial % 4 + 1] := '0';
        END LOOP;
        r.oldest := r.open - 3;
        r.gone := r.open - 3;
    WHEN 'closing' THEN
        r := once.ring_turned(r);
    ELSE
        NULL; -- counted
    END CASE;
    RETURN r;
END $$;
COMMENT ON FUNCTION once.ring_step(once.ring, text) IS 'internal: the row of a ring after a step; null when a table is in use';

CREATE OR REPLACE FUNCTION once.ring_free(r once.ring) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT r.closing AND r.open - r.gone < 3 AND once.ring_empty(format('once.%I', r.name || '_' || (r.open + 1) % 4)::regclass)
$$;
COMMENT ON FUNCTION once.ring_free(once.ring) IS 'internal: whether the next generation can be opened';

CREATE OR REPLACE FUNCTION once.ring_turned(r once.ring) RETURNS once.ring
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    r.open := r.open + 1;
    r.closing := true;
    r.switched := pg_current_xact_id();
    r.barrier := NULL;
    r.opened_at := clock_timestamp();
    r.open_for := '0';
    RETURN r;
END $$;
COMMENT ON FUNCTION once.ring_turned(once.ring) IS 'internal: the row of a ring after a handover';

CREATE OR REPLACE FUNCTION once.ring_write(r once.ring) RETURNS void
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE once.ring AS o SET open = r.open, closing = r.closing, oldest = r.oldest, gone = r.gone, horizon = r.horizon,
        opened_at = r.opened_at, closed_at = r.closed_at, open_for = r.open_for, closed_for = r.closed_for,
        counted_at = r.counted_at, monotonic = r.monotonic, switched = r.switched, barrier = r.barrier, retired = r.retired,
        system_identifier = r.system_identifier, database = r.database
    WHERE o.name = r.name
$$;
COMMENT ON FUNCTION once.ring_write(once.ring) IS 'internal: writes the row of a ring';

-- One step of one ring in the caller's transaction. A procedure that commits by itself could be neither SECURITY DEFINER
-- nor have settings, so the caller goes round.
CREATE OR REPLACE FUNCTION once.sweep(OUT ring text, OUT step text) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one once.ring;
    kept interval;
BEGIN
    PERFORM once.require_writable('sweep');
    IF (SELECT count(*) FROM once.ring) < (SELECT count(*) FROM once.rings()) THEN
        BEGIN -- a consumer_set that is under way may just be doing it
            LOCK TABLE once.ring IN SHARE ROW EXCLUSIVE MODE NOWAIT;
            PERFORM once.ring_begin();
        EXCEPTION WHEN lock_not_available THEN
            RETURN;
        END;
        ring := 'all';
        step := 'begun';
        RETURN NEXT;
        RETURN;
    END IF;
    FOR ring, kept IN SELECT k.ring, k.span FROM once.rings() AS k ORDER BY k.ring LOOP
        SELECT * INTO one FROM once.ring AS o WHERE o.name = ring;
        CONTINUE WHEN once.ring_next(one, kept) IS NULL; -- no lock, no xid, no WAL while nothing is due
        SELECT * INTO one FROM once.ring AS o WHERE o.name = ring FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        step := once.ring_next(one, kept);
        CONTINUE WHEN step IS NULL;
        one := once.ring_step(one, step);
        CONTINUE WHEN one.name IS NULL;
        PERFORM once.ring_write(one);
        RETURN NEXT;
        RETURN;
    END LOOP;
END $$;
COMMENT ON FUNCTION once.sweep() IS
'one step of one ring: handover, expiry, truncation. Call it again until no row comes back, each time in a transaction of its own, every few seconds to minutes
queues for no lock and never stops anybody; its cost depends neither on how many keys there are nor on how many consumers, scopes, topics or machines; standby: 25006';

CREATE OR REPLACE FUNCTION once.ring_turn(ring text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one once.ring;
BEGIN
    IF ring IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'ring must not be null';
    ELSIF NOT EXISTS (SELECT FROM once.rings() AS k WHERE k.ring = ring_turn.ring AND k.span IS NOT NULL) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('ring "%s" has no handovers', ring),
            HINT = 'once.memory lists the rings.';
    END IF;
    PERFORM once.ring_begin();
    SELECT * INTO one FROM once.ring AS o WHERE o.name = ring FOR UPDATE;
    IF NOT once.ring_free(one) THEN
        RETURN false;
    END IF;
    PERFORM once.ring_write(once.ring_turned(one));
    RETURN true;
END $$;
COMMENT ON FUNCTION once.ring_turn(text) IS 'begins a handover of a ring now, whatever the age of its open generation; false while one is under way or no table is free. A consumer''s change of class takes effect with it';
