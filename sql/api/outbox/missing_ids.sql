-- Reads the lane's tables once: for a refused history, not for daily use.
CREATE OR REPLACE FUNCTION once.missing_ids(lane int, ids uuid[]) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    missing uuid[];
BEGIN
    PERFORM once.lane_assert(lane);
    EXECUTE format('SELECT array_agg(w.id ORDER BY w.ordinality) FROM unnest($1) WITH ORDINALITY AS w(id) '
                   'WHERE NOT EXISTS (SELECT FROM once.%I e WHERE e.id = w.id) '
                   'AND NOT EXISTS (SELECT FROM once.dead_letter d WHERE d.id = w.id)', 'event_' || lane)
        INTO missing USING ids;
    RETURN coalesce(missing, '{}');
END $$;
COMMENT ON FUNCTION once.missing_ids(int, uuid[]) IS 'which of these ids neither the lane''s events nor once.dead_letter have, in the given order';
