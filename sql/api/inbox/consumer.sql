-- Called by once.accept at first use, and by consumer_set. Creates the tables, so it runs as the owner; who calls
-- it second waits for the first one's transaction.
CREATE OR REPLACE FUNCTION once.consumer_declare(consumer text, id_type text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number int;
    slot int;
    child text;
BEGIN
    INSERT INTO once.consumer (name, keep) VALUES (consumer, '7 days') ON CONFLICT (name) DO NOTHING;
    UPDATE once.consumer c SET id_type = consumer_declare.id_type
        WHERE c.name = consumer AND c.id_type IS NULL RETURNING no INTO number;
    IF number IS NULL THEN
        RETURN;
    END IF;
    FOR slot IN 0..3 LOOP
        child := format('key_%s_%s', number, slot);
        IF to_regclass('once.' || child) IS NOT NULL THEN -- of a dump without rows: nobody has this number
            EXECUTE format('DROP TABLE once.%I', child);
        END IF;
        EXECUTE format('CREATE TABLE once.%I (id %s PRIMARY KEY)', child,
                       CASE id_type WHEN 'bigint' THEN 'bigint' ELSE 'uuid' END);
        EXECUTE format('COMMENT ON TABLE once.%I IS %L', child,
                       format('key memory of consumer "%s", one of its generations', consumer));
    END LOOP;
    INSERT INTO once.generation (consumer, slot, state, opened_at)
        SELECT number, s, CASE s WHEN 0 THEN 'open' ELSE 'free' END, CASE s WHEN 0 THEN clock_timestamp() END
        FROM generate_series(0, 3) s;
END $$;
COMMENT ON FUNCTION once.consumer_declare(text, text) IS 'internal: gives a consumer its id type and its tables';

CREATE OR REPLACE FUNCTION once.consumer_set(consumer text, id_type text DEFAULT NULL, keep interval DEFAULT NULL,
        keep_count bigint DEFAULT NULL, reject_older boolean DEFAULT NULL, max_attempts int DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stored text;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    IF id_type NOT IN ('bigint', 'uuid', 'text', 'bytea') THEN
        RAISE EXCEPTION 'invalid id type "%"', id_type
            USING ERRCODE = '22023', HINT = 'Id types are bigint, uuid, text and bytea.';
    END IF;
    IF keep < interval '0' OR keep_count < 0 THEN
        RAISE EXCEPTION 'keep and keep_count must not be negative' USING ERRCODE = '22023';
    ELSIF keep > interval '1000 years' THEN
        RAISE EXCEPTION 'keep must be at most 1000 years' USING ERRCODE = '22023', HINT = 'Zero: no limit.';
    END IF;
    IF max_attempts < 1 THEN
        RAISE EXCEPTION 'max_attempts must be at least 1' USING ERRCODE = '22023';
    END IF;
    INSERT INTO once.consumer (name, keep)
        VALUES (consumer, CASE WHEN keep IS NULL AND keep_count IS NULL THEN interval '7 days' END)
        ON CONFLICT (name) DO NOTHING;
    IF id_type IS NOT NULL THEN
        PERFORM once.consumer_declare(consumer, id_type);
        SELECT c.id_type INTO stored FROM once.consumer c WHERE c.name = consumer;
        IF stored <> id_type THEN
            RAISE EXCEPTION 'consumer "%" has ids of type %', consumer, stored USING ERRCODE = 'ON011';
        END IF;
    END IF;
    UPDATE once.consumer c SET keep = coalesce(consumer_set.keep, c.keep),
            keep_count = coalesce(consumer_set.keep_count, c.keep_count),
            reject_older = coalesce(consumer_set.reject_older, c.reject_older),
            max_attempts = coalesce(consumer_set.max_attempts, c.max_attempts)
        WHERE c.name = consumer;
END $$;
COMMENT ON FUNCTION once.consumer_set(text, text, interval, bigint, boolean, int) IS 'declares a consumer or changes what is given: id type (bigint, uuid, text, bytea; never changed again, ON011), how long and how many ids are known at least (default 7 days; zero: no such limit), whether older ids are too_old instead of new. An id is forgotten when any limit lets it go. max_attempts (10): a message in once.inbox that has failed so often is parked';
