-- Only a mark; the relay does the rest. Not STRICT: a null key is a key.
CREATE OR REPLACE FUNCTION once.redrive(topic text, key text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    marked bigint;
BEGIN
    IF topic IS NULL THEN
        RAISE 'topic must not be null' USING ERRCODE = '22004';
    END IF;
    UPDATE once.dead_letter d SET wanted = true
        WHERE d.topic = $1 AND d.key IS NOT DISTINCT FROM convert_to($2, 'UTF8') AND NOT d.wanted AND d.stamp IS NULL;
    GET DIAGNOSTICS marked = ROW_COUNT;
    RETURN marked;
END $$;
COMMENT ON FUNCTION once.redrive(text, text) IS 'asks the relay to ship the parked events of a key (null: those without key) again, in order; returns how many were not asked for before';

CREATE OR REPLACE FUNCTION once.redrive_all() RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    marked bigint;
BEGIN
    UPDATE once.dead_letter d SET wanted = true WHERE NOT d.wanted AND d.stamp IS NULL;
    GET DIAGNOSTICS marked = ROW_COUNT;
    RETURN marked;
END $$;
COMMENT ON FUNCTION once.redrive_all() IS 'asks the relay to ship every parked event again; returns how many were not asked for before';
