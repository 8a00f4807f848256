-- Sessions keep the settings of scopes in memory; whatever changes the tables tells them at commit.
CREATE OR REPLACE FUNCTION once.scope_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_scope_changed';
COMMENT ON FUNCTION once.scope_changed() IS 'internal: makes every session read the settings of scopes again';
CREATE OR REPLACE TRIGGER scope_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON once.scope
    FOR EACH STATEMENT EXECUTE FUNCTION once.scope_changed();
CREATE OR REPLACE TRIGGER scope_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON once.scope_right
    FOR EACH STATEMENT EXECUTE FUNCTION once.scope_changed();
COMMENT ON TRIGGER scope_changed ON once.scope IS 'makes every session read the settings again';
COMMENT ON TRIGGER scope_changed ON once.scope_right IS 'makes every session read the rights again';

-- Called by functions that run as their owner: the role that is asked about is the one outside of them.
CREATE OR REPLACE FUNCTION once.scope_check(scope text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_scope_check';
COMMENT ON FUNCTION once.scope_check(text) IS 'internal: 22023 or 22004 unless it is a name, 42501 where the scope is restricted and the role has no right to it';

-- Gives a scope tables of its own. What it claimed while it was undeclared moves along: the lock waits for
-- claims that are under way, and who waits for us finds the new tables.
CREATE OR REPLACE FUNCTION once.scope_declare(scope text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    SET default_tablespace = '' SET default_table_access_method = heap AS $$
DECLARE
    store int;
    generation int;
    child text;
BEGIN
    LOCK TABLE once.scope IN SHARE ROW EXCLUSIVE MODE;
    LOCK TABLE once.claim_0_0, once.claim_0_1, once.claim_0_2 IN SHARE ROW EXCLUSIVE MODE;
    -- The snapshot must be younger than the locks, or a claim that committed in between would be left behind.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'cannot declare a scope in a % transaction', current_setting('transaction_isolation')
            USING ERRCODE = '25001', HINT = 'Use READ COMMITTED.';
    END IF;
    IF EXISTS (SELECT FROM once.scope s WHERE s.name = scope) THEN
        RETURN;
    END IF;
    SELECT max(s.store) + 1 INTO store FROM once.scope s;
    FOR generation IN 0..2 LOOP
        child := format('claim_%s_%s', store, generation);
        IF to_regclass('once.' || child) IS NOT NULL THEN -- of a dump without rows: no scope has this store
            EXECUTE format('DROP TABLE once.%I', child);
        END IF;
        EXECUTE format('CREATE TABLE once.%I (LIKE once.claim_0_0 INCLUDING ALL) WITH (fillfactor = 85)', child);
        PERFORM once.rights_reset('pg_class', format('once.%I', child)::regclass);
        EXECUTE format('COMMENT ON TABLE once.%I IS %L', child, format('claims of scope "%s", one of three generations', scope));
        EXECUTE format('INSERT INTO once.%I SELECT * FROM once.%I c WHERE c.scope = $1', child, 'claim_0_' || generation)
            USING scope;
        EXECUTE format('DELETE FROM once.%I c WHERE c.scope = $1', 'claim_0_' || generation) USING scope;
    END LOOP;
    INSERT INTO once.scope (name, store) VALUES (scope, store);
END $$;
COMMENT ON FUNCTION once.scope_declare(text) IS 'internal: gives a scope its own tables; 25001 outside READ COMMITTED';

CREATE OR REPLACE FUNCTION once.scope_set(scope text, lease interval DEFAULT NULL, total_lease interval DEFAULT NULL,
        keep interval DEFAULT NULL, keep_failed interval DEFAULT NULL, max_attempts int DEFAULT NULL,
        on_mismatch text DEFAULT NULL, key_required boolean DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given interval;
BEGIN
    PERFORM once.scope_check(scope);
    FOREACH given IN ARRAY ARRAY[lease, total_lease, keep, keep_failed] LOOP
        IF given <= interval '0' OR given > interval '1000 years' THEN
            RAISE EXCEPTION 'intervals of a scope must be above zero and at most 1000 years' USING ERRCODE = '22023';
        END IF;
    END LOOP;
    IF max_attempts < 0 THEN
        RAISE EXCEPTION 'max_attempts must not be negative' USING ERRCODE = '22023', HINT = 'Zero takes the limit away.';
    END IF;
    IF on_mismatch NOT IN ('refuse', 'allow') THEN
        RAISE EXCEPTION 'invalid on_mismatch "%"', on_mismatch USING ERRCODE = '22023', HINT = 'Values are refuse and allow.';
    END IF;
    IF NOT EXISTS (SELECT FROM once.scope s WHERE s.name = scope) THEN
        PERFORM once.scope_declare(scope);
    END IF;
    UPDATE once.scope s SET
        lease = coalesce(scope_set.lease, least(s.lease, scope_set.total_lease)),
        total_lease = coalesce(scope_set.total_lease, greatest(s.total_lease, scope_set.lease)),
        keep = coalesce(scope_set.keep, s.keep),
        keep_failed = coalesce(scope_set.keep_failed, s.keep_failed),
        max_attempts = coalesce(scope_set.max_attempts, s.max_attempts),
        on_mismatch = coalesce(scope_set.on_mismatch, s.on_mismatch),
        key_required = coalesce(scope_set.key_required, s.key_required)
        WHERE s.name = scope;
    IF EXISTS (SELECT FROM once.scope s WHERE s.name = scope AND s.lease > s.total_lease) THEN
        RAISE EXCEPTION 'lease must not exceed total_lease' USING ERRCODE = '22023';
    END IF;
END $$;
COMMENT ON FUNCTION once.scope_set(text, interval, interval, interval, interval, int, text, boolean) IS
    'declares a scope or changes what is given. lease (60 s): how long a claim without its own lives. total_lease (24 h): longest that renewals may reach. keep (7 days): how long an answer is known. keep_failed (as keep): the same for failures. max_attempts (0: no limit). on_mismatch: refuse or allow another request on a lapsed or released claim. key_required (true): false lets a null key through, unchecked. A months'' interval has 30 days a month. The first call for a scope creates tables: before its first claim is best';
