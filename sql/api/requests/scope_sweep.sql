CREATE OR REPLACE FUNCTION once.claim_truncate(store int, generation int, scope text) RETURNS boolean
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_claim_truncate';
COMMENT ON FUNCTION once.claim_truncate(int, int, text) IS
    'internal: truncates a generation in which everything has expired; waits for nobody, false when it did not';

-- Two steps for each scope: truncate what has expired whole, and let the next generation take new claims when the
-- present one is half as old as what is kept. Which generation a claim goes to is a matter of storage only: every
-- lookup asks all three, so nothing has to wait for a handover.
CREATE OR REPLACE FUNCTION once.scope_sweep(scope text DEFAULT NULL) RETURNS TABLE (name text, truncated int, rotated boolean)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s once.scope;
    slot int;
    free int;
BEGIN
    FOR s IN SELECT * FROM once.scope o WHERE scope_sweep.scope IS NULL OR o.name = scope_sweep.scope
             ORDER BY o.name FOR UPDATE SKIP LOCKED LOOP
        name := s.name;
        truncated := 0;
        rotated := false;
        free := NULL;
        FOR slot IN 0..2 LOOP
            CONTINUE WHEN slot = s.generation;
            IF pg_relation_size(format('once.claim_%s_%s', s.store, slot)::regclass) = 0 THEN
                free := coalesce(free, slot);
            ELSIF once.claim_truncate(s.store, slot, s.name) THEN
                truncated := truncated + 1;
                free := coalesce(free, slot);
            END IF;
        END LOOP;
        -- Truncated for its lock: nobody looks into the next generation before every session is told that it is one.
        IF free IS NOT NULL AND s.opened_at + greatest(s.keep, s.keep_failed) / 2 <= clock_timestamp()
           AND pg_relation_size(format('once.claim_%s_%s', s.store, s.generation)::regclass) > 0
           AND once.claim_truncate(s.store, free, s.name) THEN
            UPDATE once.scope o SET generation = free, opened_at = clock_timestamp() WHERE o.name = s.name;
            rotated := true;
        END IF;
        IF truncated > 0 OR rotated THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION once.scope_sweep(text) IS
    'gives back the storage of expired claims of all scopes, or of one, a generation at a time; what changed comes back. Call it every minute or so. It waits for nobody, and without it nothing wrong is ever answered: expiry is decided on read';
