CREATE OR REPLACE FUNCTION once.all_ended(xid xid8) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'once_all_ended';
COMMENT ON FUNCTION once.all_ended(xid8) IS 'true when every transaction up to this xid has ended, prepared ones too, and every snapshot of this database was taken after that; 25006 on a standby';

CREATE OR REPLACE FUNCTION once.last_xid() RETURNS xid8
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'once_last_xid';
COMMENT ON FUNCTION once.last_xid() IS 'last xid that was handed out; every transaction that has one has this or a lower one; 25006 on a standby';

CREATE OR REPLACE FUNCTION once.monotonic_us() RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_monotonic_us';
COMMENT ON FUNCTION once.monotonic_us() IS 'internal: a clock that nobody sets, in microseconds; starts anew with the machine';

CREATE OR REPLACE FUNCTION once.require_writable(function text) RETURNS void
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE EXCEPTION 'cannot execute once.%() in a read-only transaction', function USING ERRCODE = '25006';
    END IF;
END $$;
COMMENT ON FUNCTION once.require_writable(text) IS 'internal: 25006 in a read-only transaction and on a standby';

CREATE OR REPLACE FUNCTION once.ring_empty("table" regclass) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'once_ring_empty';
COMMENT ON FUNCTION once.ring_empty(regclass) IS 'internal: whether the file of a table has no blocks; no row is read';

CREATE OR REPLACE FUNCTION once.ring_truncate("table" regclass) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_ring_truncate';
COMMENT ON FUNCTION once.ring_truncate(regclass) IS 'internal: truncates a table unless somebody has it locked; false when somebody has. Queues for no lock';

-- Classes in their order: a consumer's or scope's keep is rounded up to one.
CREATE OR REPLACE FUNCTION once.class_names() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY['day', 'week', 'month', 'quarter', 'year', 'forever']
$$;
COMMENT ON FUNCTION once.class_names() IS 'internal: the classes, shortest first; they are stored by number from 0';

CREATE OR REPLACE FUNCTION once.class_span(class text) RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE class WHEN 'day' THEN interval '1 day' WHEN 'week' THEN '7 days' WHEN 'month' THEN '31 days'
                      WHEN 'quarter' THEN '92 days' WHEN 'year' THEN '366 days' END
$$;
COMMENT ON FUNCTION once.class_span(text) IS 'internal: how long a generation of a class is kept after it closed; null: for ever';

CREATE OR REPLACE FUNCTION once.class_of(keep interval) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN keep <= interval '0' THEN 'forever' WHEN keep <= interval '1 day' THEN 'day' WHEN keep <= interval '7 days' THEN 'week'
                WHEN keep <= interval '31 days' THEN 'month' WHEN keep <= interval '92 days' THEN 'quarter'
                WHEN keep <= interval '366 days' THEN 'year' ELSE 'forever' END
$$;
COMMENT ON FUNCTION once.class_of(interval) IS 'internal: the shortest class that keeps as long; zero: for ever';

-- Every ring, and how long a generation is kept after it closed; null: for ever. What is claimed may be renewed for a
-- while: a generation of claims is kept a day longer than its class says.
CREATE OR REPLACE FUNCTION once.rings() RETURNS TABLE (ring text, span interval)
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 16 SET search_path = pg_catalog, pg_temp AS $$
    SELECT kind || '_' || class, once.class_span(class) + CASE kind WHEN 'claim' THEN interval '24 hours' ELSE '0' END
        FROM unnest(ARRAY['seen', 'claim']) AS kind, unnest(once.class_names()) AS class
    UNION ALL
    SELECT single, coalesce((SELECT s.keep FROM once.memory_setting AS s WHERE s.ring = single), '7 days')
        FROM unnest(ARRAY['publish_key', 'token', 'machine_event']) AS single
    UNION ALL
    SELECT 'ahead', '1100 days' -- three times the longest class: until the horizon has passed what is told here
$$;
COMMENT ON FUNCTION once.rings() IS 'internal: the rings and how long a generation of each is kept after it closed';

CREATE OR REPLACE FUNCTION once.memory_set(ring text, keep interval) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF ring IS NULL OR keep IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'ring and keep must not be null';
    ELSIF keep <= '0' OR keep > '1000 years' OR ring NOT IN ('machine_event', 'publish_key', 'token') THEN
        RAISE EXCEPTION USING ERRCODE = '22023',
            MESSAGE = 'ring must be machine_event, publish_key or token, and keep above zero and at most 1000 years';
    END IF;
    INSERT INTO once.memory_setting AS s VALUES (ring, keep)
        ON CONFLICT ON CONSTRAINT memory_setting_pkey DO UPDATE SET keep = excluded.keep;
END $$;
COMMENT ON FUNCTION once.memory_set(text, interval) IS
'how long the ring of dedup keys (publish_key), of tokens (token) or of events of state machines (machine_event) is kept at least, and twice as long at most; standby: 25006';
