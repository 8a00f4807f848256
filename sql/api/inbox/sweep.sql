-- One step of one consumer's generations, under the lock on its row. What a step relies on was committed before.
CREATE OR REPLACE FUNCTION once.generation_step(consumer once.consumer) RETURNS text[]
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    done text[] := '{}';
    g once.generation;
    counted bigint;
    newer bigint := 0;
    forgotten timestamptz;
BEGIN
    FOR g IN SELECT * FROM once.generation o WHERE o.consumer = consumer.no AND o.state IN ('closing', 'retired')
             ORDER BY o.slot LOOP
        IF greatest(g.mark, g.barrier) > once.last_xid() THEN
            -- Xids of another server: the rows were restored from a dump. The wait starts again with ours.
            UPDATE once.generation o SET mark = pg_current_xact_id(), barrier = NULL
                WHERE o.consumer = consumer.no AND o.slot = g.slot;
        ELSIF g.state = 'retired' AND once.all_ended(g.mark) THEN
            BEGIN
                EXECUTE format('TRUNCATE once.%I', format('key_%s_%s', consumer.no, g.slot));
                UPDATE once.generation o SET state = 'free', closed_at = NULL, keys = NULL, opened_at = NULL, mark = NULL
                    WHERE o.consumer = consumer.no AND o.slot = g.slot;
                done := done || 'truncated'::text;
            EXCEPTION WHEN lock_not_available THEN
                NULL; -- a dump, a vacuum: next time
            END;
        ELSIF g.state = 'closing' AND g.barrier IS NULL AND once.all_ended(g.mark) THEN
            -- Read after the check: nobody acts in the old way from here on, and who did has an xid up to this.
            UPDATE once.generation o SET barrier = once.last_xid() WHERE o.consumer = consumer.no AND o.slot = g.slot;
            done := done || 'barrier'::text;
        ELSIF g.state = 'closing' AND g.barrier IS NOT NULL AND once.all_ended(g.barrier) THEN
            EXECUTE format('SELECT count(*) FROM once.%I', format('key_%s_%s', consumer.no, g.slot)) INTO counted;
            UPDATE once.generation o SET state = 'read_only', closed_at = clock_timestamp(), keys = counted,
                    mark = NULL, barrier = NULL
                WHERE o.consumer = consumer.no AND o.slot = g.slot;
            done := done || 'read_only'::text;
        END IF;
    END LOOP;

    FOR g IN SELECT * FROM once.generation o WHERE o.consumer = consumer.no AND o.state = 'read_only'
             ORDER BY o.closed_at DESC LOOP
        IF (consumer.keep > interval '0' AND g.closed_at + consumer.keep <= clock_timestamp())
           OR (consumer.keep_count > 0 AND newer >= consumer.keep_count) THEN
            forgotten := greatest(forgotten, g.closed_at, once.newest_id_time(consumer, g.slot));
            UPDATE once.generation o SET state = 'retired', mark = pg_current_xact_id()
                WHERE o.consumer = consumer.no AND o.slot = g.slot;
            done := done || 'retired'::text;
        END IF;
        newer := newer + g.keys;
    END LOOP;

    IF once.hand_over(consumer) THEN
        done := done || 'closing'::text;
    END IF;
    IF done <> '{}' THEN
        UPDATE once.consumer c SET horizon = greatest(c.horizon, forgotten) WHERE c.no = consumer.no;
    END IF;
    RETURN done;
END $$;
COMMENT ON FUNCTION once.generation_step(once.consumer) IS 'internal: the next step of each generation of a consumer';

-- A sender whose clock runs ahead makes ids that are newer than the moment they were accepted: the horizon must
-- cover them too. Times in the future are no measure of anything.
CREATE OR REPLACE FUNCTION once.newest_id_time(consumer once.consumer, slot int) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    newest timestamptz;
BEGIN
    IF consumer.id_type = 'uuid' THEN
        EXECUTE format('SELECT max(t) FROM (SELECT once.uuid_time(id) AS t FROM once.%I) i WHERE t <= clock_timestamp()',
                       format('key_%s_%s', consumer.no, slot)) INTO newest;
    END IF;
    RETURN newest;
END $$;
COMMENT ON FUNCTION once.newest_id_time(once.consumer, int) IS 'internal: highest time in the uuid v7 of a generation';

CREATE OR REPLACE FUNCTION once.uuid_time(id uuid) RETURNS timestamptz
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_uuid_time';
COMMENT ON FUNCTION once.uuid_time(uuid) IS 'time in a uuid v7, null for any other';

-- Two to three read-only generations cover the retention: each is half as long or as large as what is kept.
CREATE OR REPLACE FUNCTION once.hand_over(consumer once.consumer, forced boolean DEFAULT false) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old once.generation;
    next_slot int;
    keys bigint;
BEGIN
    SELECT * INTO old FROM once.generation o WHERE o.consumer = consumer.no AND o.state = 'open';
    SELECT min(o.slot) INTO next_slot FROM once.generation o WHERE o.consumer = consumer.no AND o.state = 'free';
    IF old IS NULL OR next_slot IS NULL
       OR EXISTS (SELECT FROM once.generation o WHERE o.consumer = consumer.no AND o.state = 'closing') THEN
        RETURN false;
    END IF;
    keys := once.generation_keys(consumer, old.slot);
    IF keys = 0 OR NOT (forced
            OR coalesce(consumer.keep > interval '0' AND old.opened_at + consumer.keep / 2 <= clock_timestamp(), false)
            OR coalesce(consumer.keep_count > 0 AND keys * 2 >= consumer.keep_count, false)) THEN
        RETURN false;
    END IF;
    UPDATE once.generation o SET state = 'closing', mark = pg_current_xact_id()
        WHERE o.consumer = consumer.no AND o.slot = old.slot;
    UPDATE once.generation o SET state = 'open', opened_at = clock_timestamp()
        WHERE o.consumer = consumer.no AND o.slot = next_slot;
    RETURN true;
END $$;
COMMENT ON FUNCTION once.hand_over(once.consumer, boolean) IS 'internal: opens the next generation when the present one is half as old or as large as what is kept';

-- Exact while it is small, afterwards from the file's size: 36 bytes a number, 44 any other key.
CREATE OR REPLACE FUNCTION once.generation_keys(consumer once.consumer, slot int) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text := format('once.%I', format('key_%s_%s', consumer.no, slot));
    bytes bigint := pg_relation_size(name::regclass);
    keys bigint;
BEGIN
    IF bytes > 1024 * 1024 THEN
        RETURN bytes / CASE consumer.id_type WHEN 'bigint' THEN 36.25 ELSE 44.3 END;
    END IF;
    EXECUTE format('SELECT count(*) FROM %s', name) INTO keys;
    RETURN keys;
END $$;
COMMENT ON FUNCTION once.generation_keys(once.consumer, int) IS 'internal: about how many keys a generation has';

CREATE OR REPLACE FUNCTION once.sweep(consumer text DEFAULT NULL) RETURNS TABLE (name text, steps text[])
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    one once.consumer;
BEGIN
    FOR one IN SELECT * FROM once.consumer c WHERE c.id_type IS NOT NULL AND (sweep.consumer IS NULL OR c.name = sweep.consumer)
               ORDER BY c.no FOR UPDATE SKIP LOCKED LOOP
        steps := once.generation_step(one);
        IF steps <> '{}' THEN
            name := one.name;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION once.sweep(text) IS 'moves the generations of all consumers, or of one, on by one step each: handover, expiry, truncation. Call it every few seconds to minutes, each time in a transaction of its own; it waits for nobody and never stops an accept. What changed comes back; 25006 on a standby';

CREATE OR REPLACE FUNCTION once.generation_turn(consumer text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one once.consumer;
    turned boolean;
BEGIN
    SELECT * INTO one FROM once.consumer c WHERE c.name = consumer FOR UPDATE;
    IF one.id_type IS NULL THEN
        RETURN false;
    END IF;
    turned := once.hand_over(one, true);
    IF turned THEN
        UPDATE once.consumer c SET horizon = c.horizon WHERE c.no = one.no; -- a new version
    END IF;
    RETURN turned;
END $$;
COMMENT ON FUNCTION once.generation_turn(text) IS 'begins a handover now, whatever the age of the open generation; false when one is under way, nothing is in it or no table is free';
