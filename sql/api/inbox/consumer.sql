-- A stay begins with the next handover of the ring that the consumer is in: until then it can be changed again freely.
-- FOR SHARE keeps that handover back until we have committed, so that no snapshot shows the handover without the stay.
CREATE OR REPLACE FUNCTION once.consumer_move(c once.consumer_state, class smallint) RETURNS once.consumer_state
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names CONSTANT text[] := once.class_names();
    last int := cardinality(c.classes);
    here once.ring;
    there once.ring;
    endless CONSTANT bigint := 9223372036854775807;
BEGIN
    IF last > 1 OR c.classes[last] <> class THEN
        PERFORM once.ring_begin();
    END IF;
    IF last > 1 THEN
        SELECT * INTO STRICT here FROM once.ring AS r WHERE r.name = 'seen_' || names[c.classes[last - 1] + 1] FOR SHARE;
        IF here.open < c.until[last - 1] THEN -- the last change has not taken effect: take it back
            last := last - 1;
            c.classes := c.classes[:last];
            c.since := c.since[:last];
            c.until := c.until[:last];
            c.until[last] := endless;
        END IF;
    END IF;
    IF c.classes[last] = class THEN
        RETURN c;
    ELSIF names[c.classes[last] + 1] = 'forever' THEN
        RAISE EXCEPTION 'consumer "%" keeps ids for ever', c.name USING ERRCODE = '22023',
            DETAIL = 'What is kept for ever has no handover with which another class could take effect.';
    END IF;
    c := once.consumer_compact(c);
    last := cardinality(c.classes);
    IF last >= 12 THEN
        RAISE EXCEPTION 'consumer "%" has changed its class too often', c.name USING ERRCODE = '55000',
            HINT = 'Wait until ids of an earlier class have been forgotten.';
    END IF;
    SELECT * INTO STRICT here FROM once.ring AS r WHERE r.name = 'seen_' || names[c.classes[last] + 1] FOR SHARE;
    SELECT * INTO STRICT there FROM once.ring AS r WHERE r.name = 'seen_' || names[class + 1];
    c.until[last] := here.open + 1;
    c.classes := c.classes || class;
    c.since := c.since || (there.open - there.closing::int);
    c.until := c.until || endless;
    RETURN c;
END $$;
COMMENT ON FUNCTION once.consumer_move(once.consumer_state, smallint) IS 'internal: the row of a consumer whose class changes';

-- Stays that are forgotten whole leave only their horizon.
CREATE OR REPLACE FUNCTION once.consumer_compact(c once.consumer_state) RETURNS once.consumer_state
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    closed timestamptz;
BEGIN
    WHILE cardinality(c.classes) > 1
          AND c.until[1] <= (SELECT r.gone FROM once.ring AS r WHERE r.name = 'seen_' || (once.class_names())[c.classes[1] + 1]) LOOP
        SELECT max(g.closed_at) + interval '5 minutes' INTO closed FROM once.generation AS g
            WHERE g.ring = 'seen_' || (once.class_names())[c.classes[1] + 1] AND g.serial >= c.since[1] AND g.serial < c.until[1];
        c.horizon := greatest(c.horizon, closed);
        c.classes := c.classes[2:];
        c.since := c.since[2:];
        c.until := c.until[2:];
    END LOOP;
    RETURN c;
END $$;
COMMENT ON FUNCTION once.consumer_compact(once.consumer_state) IS 'internal: the row of a consumer without the stays that are forgotten';

-- The row of a consumer, locked; made when there is none. Its ids may be in every generation that is not forgotten.
CREATE OR REPLACE FUNCTION once.consumer_row(consumer text) RETURNS once.consumer_state
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c once.consumer_state;
BEGIN
    LOOP
        INSERT INTO once.consumer_state (name, since)
            VALUES (consumer, ARRAY[coalesce((SELECT r.oldest FROM once.ring AS r WHERE r.name = 'seen_week'), 1)])
            ON CONFLICT ON CONSTRAINT consumer_state_pkey DO NOTHING;
        SELECT * INTO c FROM once.consumer_state AS s WHERE s.name = consumer FOR UPDATE;
        EXIT WHEN FOUND; -- else it was dropped in between
    END LOOP;
    RETURN c;
END $$;
COMMENT ON FUNCTION once.consumer_row(text) IS 'internal: the locked row of a consumer';

CREATE OR REPLACE FUNCTION once.consumer_write(c once.consumer_state) RETURNS void
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE once.consumer_state AS s SET dropped = c.dropped, keep = c.keep, reject_older = c.reject_older, max_attempts = c.max_attempts,
        horizon = c.horizon, roles = c.roles, classes = c.classes, since = c.since, until = c.until
    WHERE s.name = c.name AND s IS DISTINCT FROM c
$$;
COMMENT ON FUNCTION once.consumer_write(once.consumer_state) IS 'internal: writes the row of a consumer';

CREATE OR REPLACE FUNCTION once.consumer_set(consumer text, keep interval DEFAULT NULL, reject_older boolean DEFAULT NULL,
        max_attempts int DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c once.consumer_state;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    IF keep < interval '0' THEN
        RAISE EXCEPTION 'keep must not be negative' USING ERRCODE = '22023', HINT = 'Zero: for ever.';
    ELSIF keep > interval '1000 years' THEN
        RAISE EXCEPTION 'keep must be at most 1000 years' USING ERRCODE = '22023', HINT = 'Zero: for ever.';
    ELSIF max_attempts < 1 THEN
        RAISE EXCEPTION 'max_attempts must be at least 1' USING ERRCODE = '22023';
    END IF;
    c := once.consumer_row(consumer);
    c.dropped := false;
    c.keep := coalesce(consumer_set.keep, c.keep);
    c.reject_older := coalesce(consumer_set.reject_older, c.reject_older);
    c.max_attempts := coalesce(consumer_set.max_attempts, c.max_attempts);
    PERFORM once.consumer_write(once.consumer_move(c, (array_position(once.class_names(), once.class_of(c.keep)) - 1)::smallint));
END $$;
COMMENT ON FUNCTION once.consumer_set(text, interval, boolean, int) IS
'declares a consumer or changes what is given. keep (7 days; zero: for ever): ids are known for at least as long, rounded up to a day, a week, a month, a quarter, a year or for ever. reject_older (false): ids that may have been forgotten are too_old instead of new, from now on. max_attempts (10): a message in once.inbox that has failed so often is parked
a shorter keep takes effect with the next handover of the ring that the consumer is in, a longer one for all ids from now on; what is kept for ever stays so (22023)
ON010 invalid name; standby: 25006';

CREATE OR REPLACE FUNCTION once.consumer_drop(consumer text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c once.consumer_state;
    forever CONSTANT smallint := array_position(once.class_names(), 'forever') - 1;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    SELECT * INTO c FROM once.consumer_state AS s WHERE s.name = consumer AND NOT s.dropped FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    c.dropped := true;
    c.keep := '7 days';
    c.reject_older := false;
    c.max_attempts := 10;
    c.roles := NULL;
    IF c.classes[cardinality(c.classes)] <> forever THEN
        c := once.consumer_compact(once.consumer_move(c, 1::smallint));
    END IF;
    -- The ids stay, and with them the knowledge in which rings they are: an accept before and one after must meet.
    IF c.classes = '{1}' THEN
        DELETE FROM once.consumer_state AS s WHERE s.name = consumer;
    ELSE
        PERFORM once.consumer_write(c);
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION once.consumer_drop(text) IS
'removes the settings and rights of a consumer, never its ids: they are forgotten in their time. False when it was not declared; standby: 25006';

CREATE OR REPLACE FUNCTION once.consumer_grant(consumer text, role text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c once.consumer_state;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    IF role IS NULL THEN
        RAISE EXCEPTION 'role must not be null' USING ERRCODE = '22004';
    ELSIF role <> 'public' AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704';
    END IF;
    c := once.consumer_row(consumer);
    c.dropped := false;
    c.roles := CASE WHEN role <> 'public' THEN array_remove(coalesce(c.roles, '{}'), role) || role END;
    PERFORM once.consumer_write(c);
END $$;
COMMENT ON FUNCTION once.consumer_grant(text, text) IS
'restricts a consumer to roles: the first grant closes it to everybody else (42501), ''public'' opens it again. Members of a granted role may use it too. Declares the consumer';

CREATE OR REPLACE FUNCTION once.consumer_revoke(consumer text, role text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF consumer IS NULL OR role IS NULL THEN
        RAISE EXCEPTION 'consumer and role must not be null' USING ERRCODE = '22004';
    END IF;
    UPDATE once.consumer_state AS s SET roles = array_remove(s.roles, role) WHERE s.name = consumer AND role = ANY (s.roles);
END $$;
COMMENT ON FUNCTION once.consumer_revoke(text, text) IS 'takes back what once.consumer_grant gave; the consumer stays closed to everybody else';

-- Called by functions that run as their owner: the role that is asked about is the one outside of them.
CREATE OR REPLACE FUNCTION once.consumer_check(consumer text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_consumer_check';
COMMENT ON FUNCTION once.consumer_check(text) IS 'internal: ON010 or 22004 unless it is a name, ON010 where it must be declared, 42501 where the role has no right to it';
