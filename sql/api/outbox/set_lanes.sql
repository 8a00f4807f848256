-- Only before first use: a slot that moved to another lane would let two events of one key pass each other.
-- At most 512 child tables: each is five relations, and creating, dumping or dropping them locks all of them at once,
-- for which a server of default settings has room for about 6,400.
CREATE OR REPLACE FUNCTION once.set_lanes(n int, children int DEFAULT 4, generation_rows bigint DEFAULT 250000)
    RETURNS void LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET default_tablespace = '' SET default_table_access_method = heap AS $$
BEGIN
    IF n IS NULL OR children IS NULL OR generation_rows IS NULL THEN
        RAISE 'number of lanes, children and generation rows must not be null' USING ERRCODE = '22004';
    END IF;
    IF n NOT BETWEEN 1 AND 64 OR children NOT BETWEEN 2 AND 64 OR generation_rows NOT BETWEEN 1 AND 100000000
        OR n * children > 512 THEN
        RAISE 'invalid shape of lanes: % lanes, % children, % generation rows', n, children, generation_rows
            USING ERRCODE = '22023', HINT = 'Lanes 1 to 64, children 2 to 64, together at most 512 tables, generation rows 1 to 100,000,000.';
    END IF;
    INSERT INTO once.lane_setting (lanes, children, generation_rows) VALUES (n, $2, $3)
        ON CONFLICT (only_row) DO UPDATE SET lanes = EXCLUDED.lanes, children = EXCLUDED.children,
                                             generation_rows = EXCLUDED.generation_rows;
END $$;
COMMENT ON FUNCTION once.set_lanes(int, int, bigint) IS 'sets the number of lanes, the child tables of each and the rows of a generation; at most 512 child tables together; only before first use (55000)';

-- Runs for set_lanes and when a dump is restored.
CREATE OR REPLACE FUNCTION once.lane_setting_apply() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET default_tablespace = '' SET default_table_access_method = heap AS $$
DECLARE
    l once.lane;
    used boolean;
BEGIN
    LOCK TABLE once.lane IN EXCLUSIVE MODE;
    FOR l IN SELECT * FROM once.lane ORDER BY lane LOOP
        -- A publisher holds this lock until its transaction ends, and looks at the lanes again once it has it.
        FOR k IN 0 .. l.children - 1 LOOP
            EXECUTE format('LOCK TABLE once.%I IN ACCESS EXCLUSIVE MODE', format('event_%s_%s', l.lane, k));
        END LOOP;
        EXECUTE format('SELECT is_called FROM once.%I', 'event_' || l.lane || '_seq') INTO STRICT used;
        IF used OR l.armed OR l.mode IS NOT NULL THEN
            RAISE 'cannot change the lanes: lane % has been used', l.lane USING ERRCODE = '55000',
                HINT = 'once.set_lanes works before the first event is published.';
        END IF;
        PERFORM once.lane_drop(l.lane);
    END LOOP;
    FOR i IN 0 .. NEW.lanes - 1 LOOP
        PERFORM once.lane_create(i, NEW.children, NEW.generation_rows);
    END LOOP;
    DELETE FROM once.slot; -- the foreign key's cascade does not run under session_replication_role = replica
    INSERT INTO once.slot (slot, lane) SELECT slot, slot % NEW.lanes FROM generate_series(0, 255) AS slot;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION once.lane_setting_apply() IS 'internal: makes the lanes that once.lane_setting asks for';
CREATE OR REPLACE TRIGGER lane_setting_apply AFTER INSERT OR UPDATE ON once.lane_setting
    FOR EACH ROW EXECUTE FUNCTION once.lane_setting_apply();
COMMENT ON TRIGGER lane_setting_apply ON once.lane_setting IS 'makes the lanes, also when a dump is restored';
