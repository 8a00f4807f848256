-- Called by functions that run as their owner: the role that is asked about is the one outside of them.
CREATE OR REPLACE FUNCTION once.scope_check(scope text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_scope_check';
COMMENT ON FUNCTION once.scope_check(text) IS 'internal: 22023 or 22004 unless it is a name, 42501 where the scope is restricted and the role has no right to it';

-- A generation is given up a day after what its class says, and until then a claim may be renewed.
CREATE OR REPLACE FUNCTION once.claim_class(longest interval) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(min(n) - 1, cardinality(once.class_names()) - 1)::smallint
        FROM unnest(once.class_names()) WITH ORDINALITY AS c(name, n) WHERE once.class_span(name) + interval '24 hours' >= longest
$$;
COMMENT ON FUNCTION once.claim_class(interval) IS 'internal: the shortest class, by number, whose claims are kept so long after they were last written';

-- Takes no lock but the one on the scope's row, which no claim waits for.
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
    INSERT INTO once.scope (name) VALUES (scope) ON CONFLICT ON CONSTRAINT scope_pkey DO NOTHING;
    UPDATE once.scope s SET
        declared = true,
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
    PERFORM once.scope_classify(scope);
END $$;
COMMENT ON FUNCTION once.scope_set(text, interval, interval, interval, interval, int, text, boolean) IS
    'declares a scope or changes what is given. lease (60 s): how long a claim without its own lives. total_lease (24 h): longest that renewals may reach. keep (7 days): how long an answer is known; a longer one does not extend claims that exist. keep_failed (as keep): the same for failures. max_attempts (0: no limit). on_mismatch: refuse or allow another request on a lapsed or released claim. key_required (true): false lets a null key through, unchecked. A months'' interval has 30 days a month. Makes no table and holds up no claim';

-- The class that the settings need. Who changed it in a transaction that still runs goes on to write where it was
-- (class_before, see extension/requests/scope.hpp), however often it changes it.
CREATE OR REPLACE FUNCTION once.scope_classify(scope text) RETURNS void
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE once.scope s SET class = w.class, classes = s.classes | (1 << w.class), changed = pg_current_xact_id(),
            class_before = CASE WHEN s.changed = pg_current_xact_id() THEN s.class_before ELSE s.class END
        FROM (SELECT o.name, once.claim_class(greatest(o.keep, o.keep_failed) + o.total_lease) AS class
              FROM once.scope o WHERE o.name = scope) w
        WHERE s.name = w.name AND s.class <> w.class
$$;
COMMENT ON FUNCTION once.scope_classify(text) IS 'internal: gives a scope the class that its settings need';

CREATE OR REPLACE FUNCTION once.scope_drop(scope text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM once.scope_check(scope);
    UPDATE once.scope s SET declared = false, lease = DEFAULT, total_lease = DEFAULT, keep = DEFAULT, keep_failed = DEFAULT,
        max_attempts = DEFAULT, on_mismatch = DEFAULT, key_required = DEFAULT, roles = NULL WHERE s.name = scope AND s.declared;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM once.scope_classify(scope);
    RETURN true;
END $$;
COMMENT ON FUNCTION once.scope_drop(text) IS
    'takes settings and rights from a scope: true if it was declared. What it claimed is known as long as an undeclared scope keeps it; without the ids two transactions could both claim a key as new';
