CREATE OR REPLACE FUNCTION once.inbox_put(consumer text, id text, payload bytea, key text DEFAULT NULL,
        headers jsonb DEFAULT NULL) RETURNS once.verdict
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    verdict once.verdict;
BEGIN
    IF octet_length(id) > 1024 THEN
        RAISE EXCEPTION 'invalid id' USING ERRCODE = 'ON010', DETAIL = 'The id of an inbox row has 1 to 1024 bytes.';
    END IF;
    PERFORM once.consumer_check(consumer);
    verdict := once.accept(consumer, id);
    IF verdict = 'new' THEN
        INSERT INTO once.inbox AS i (consumer, id, payload, key, headers)
            VALUES (inbox_put.consumer, inbox_put.id, inbox_put.payload, inbox_put.key, inbox_put.headers)
            ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING;
        IF NOT FOUND THEN -- forgotten by the memory, but still waiting here
            verdict := 'duplicate';
        END IF;
    END IF;
    RETURN verdict;
END $$;
COMMENT ON FUNCTION once.inbox_put(text, text, bytea, text, jsonb) IS 'accepts the id and, when it is new, leaves the message for workers. Isolation and errors as for once.accept';

-- A row may be taken when no earlier row of its key waits: so who has the first row of a key locked has the key,
-- and may take the rows behind it too. A row that backs off, is parked or is in somebody''s hands holds its key.
--
-- First among the oldest rows. Where few keys fill these (in other hands, or thousands behind a parked one) a walk over
-- all rows would find nothing for a long time: the rest is looked for from key to key, from a random one on, so that
-- none waits for ever. The plans must not depend on how large the table was when they were made.
CREATE OR REPLACE FUNCTION once.inbox_take(consumer text, n int) RETURNS SETOF once.inbox
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    row once.inbox;
    oldest bigint; -- up to here all is looked at
    keys text[] := '{}';
    seqs bigint[] := '{}';
    taken int := 0;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    IF n IS NULL OR n < 1 OR n > 100000 THEN
        RAISE EXCEPTION 'n must be between 1 and 100000' USING ERRCODE = '22023';
    END IF;
    SELECT i.seq INTO oldest FROM once.inbox i WHERE i.consumer = inbox_take.consumer AND i.state = 'ready'
        ORDER BY i.seq OFFSET 200 + 2 * n LIMIT 1;
    FOR row IN
        SELECT * FROM once.inbox i
        WHERE i.consumer = inbox_take.consumer AND i.state = 'ready' AND i.next_at <= clock_timestamp()
          AND i.seq <= coalesce(oldest, 9223372036854775807)
          AND (i.key IS NULL OR NOT EXISTS (SELECT FROM once.inbox e
                                            WHERE e.consumer = i.consumer AND left(e.key, 512) = left(i.key, 512) AND e.seq < i.seq))
        ORDER BY i.seq LIMIT n FOR UPDATE OF i SKIP LOCKED
    LOOP
        taken := taken + 1;
        IF row.key IS NOT NULL THEN
            keys := keys || row.key;
            seqs := seqs || row.seq;
        END IF;
        RETURN NEXT row;
    END LOOP;
    FOR k IN 1 .. cardinality(keys) LOOP
        EXIT WHEN taken >= n;
        FOR row IN SELECT * FROM once.inbox_followers(consumer, keys[k], seqs[k], n - taken) LOOP
            taken := taken + 1;
            RETURN NEXT row;
        END LOOP;
    END LOOP;
    IF taken < n AND oldest IS NOT NULL THEN
        RETURN QUERY SELECT * FROM once.inbox_take_behind(consumer, n - taken, oldest);
    END IF;
END $$;
COMMENT ON FUNCTION once.inbox_take(text, int) IS 'locks up to n messages for the worker''s transaction, rows of one key in order and never in two hands; what others have is skipped. If the transaction ends without inbox_done or inbox_fail they come back. Fewer than n, or none, may come although more could be taken, where thousands of rows wait behind a key: ask again. READ COMMITTED; in REPEATABLE READ and SERIALIZABLE 40001 where another worker was quicker after the snapshot';

-- What may be taken behind the first row of a key, which the caller has locked.
CREATE OR REPLACE FUNCTION once.inbox_followers(consumer text, key text, head bigint, n int) RETURNS SETOF once.inbox
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row once.inbox;
BEGIN
    FOR row IN SELECT * FROM once.inbox i
               WHERE i.consumer = inbox_followers.consumer AND left(i.key, 512) = left(inbox_followers.key, 512) AND i.seq > head
               ORDER BY i.seq LIMIT n FOR UPDATE LOOP
        EXIT WHEN row.state <> 'ready' OR row.next_at > clock_timestamp();
        RETURN NEXT row;
    END LOOP;
END $$;
COMMENT ON FUNCTION once.inbox_followers(text, text, bigint, int) IS 'internal: locks the rows behind the first one of a key, for once.inbox_take';

CREATE OR REPLACE FUNCTION once.inbox_take_behind(consumer text, n int, oldest bigint) RETURNS SETOF once.inbox
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row once.inbox;
    somewhere bigint;
    start text COLLATE "C"; -- the random key
    at text COLLATE "C";    -- the key looked at last
    wrapped boolean := false;
    taken int := 0;
BEGIN
    FOR row IN SELECT * FROM once.inbox i
               WHERE i.consumer = inbox_take_behind.consumer AND i.state = 'ready' AND i.key IS NULL AND i.seq > oldest
                 AND i.next_at <= clock_timestamp()
               ORDER BY i.seq LIMIT n FOR UPDATE SKIP LOCKED LOOP
        taken := taken + 1;
        RETURN NEXT row;
    END LOOP;
    SELECT oldest + floor(random() * (i.seq - oldest)) INTO somewhere FROM once.inbox i
        WHERE i.consumer = inbox_take_behind.consumer AND i.state = 'ready' ORDER BY i.seq DESC LIMIT 1;
    SELECT left(i.key, 512) INTO start FROM once.inbox i
        WHERE i.consumer = inbox_take_behind.consumer AND i.state = 'ready' AND i.seq > somewhere ORDER BY i.seq LIMIT 1;
    FOR step IN 1 .. 1000 + 10 * n LOOP
        EXIT WHEN taken >= n;
        IF at IS NULL THEN -- the first one of all, or of the second half of the round
            SELECT * INTO row FROM once.inbox i
                WHERE i.consumer = inbox_take_behind.consumer AND left(i.key, 512) >= CASE WHEN wrapped THEN '' ELSE coalesce(start, '') END
                ORDER BY left(i.key, 512), i.seq LIMIT 1;
        ELSE
            SELECT * INTO row FROM once.inbox i
                WHERE i.consumer = inbox_take_behind.consumer AND left(i.key, 512) > at ORDER BY left(i.key, 512), i.seq LIMIT 1;
        END IF;
        EXIT WHEN wrapped AND (NOT FOUND OR left(row.key, 512) >= start);
        IF NOT FOUND THEN
            EXIT WHEN start IS NULL;
            wrapped := true;
            at := NULL;
            CONTINUE;
        END IF;
        at := left(row.key, 512);
        CONTINUE WHEN row.seq <= oldest; -- looked at before
        SELECT * INTO row FROM once.inbox i
            WHERE i.consumer = inbox_take_behind.consumer AND left(i.key, 512) = at AND i.seq = row.seq AND i.state = 'ready'
              AND i.next_at <= clock_timestamp()
            FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        taken := taken + 1;
        RETURN NEXT row;
        FOR row IN SELECT * FROM once.inbox_followers(consumer, at, row.seq, n - taken) LOOP
            taken := taken + 1;
            RETURN NEXT row;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION once.inbox_take_behind(text, int, bigint) IS 'internal: what may be taken above a seq, keyless rows and then key after key, for once.inbox_take';

CREATE OR REPLACE FUNCTION once.inbox_done(consumer text, ids text[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    done bigint;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    DELETE FROM once.inbox i WHERE i.consumer = inbox_done.consumer AND i.id = ANY (ids);
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END $$;
COMMENT ON FUNCTION once.inbox_done(text, text[]) IS 'ends these messages, parked ones too; how many there were. READ COMMITTED: waits for who has one of them; above it 40001 where they were changed after the snapshot';

-- 1 s, 2 s, 4 s ... at most an hour.
CREATE OR REPLACE FUNCTION once.inbox_fail(consumer text, id text, error text, retry_in interval DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most int;
    outcome text;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    IF id IS NULL THEN
        RAISE EXCEPTION 'id must not be null' USING ERRCODE = '22004';
    END IF;
    IF retry_in < interval '0' THEN
        RAISE EXCEPTION 'retry_in must not be negative' USING ERRCODE = '22023';
    END IF;
    SELECT c.max_attempts INTO most FROM once.consumer c WHERE c.name = inbox_fail.consumer;
    UPDATE once.inbox i SET attempts = i.attempts + 1, error = left(inbox_fail.error, 2000),
            state = CASE WHEN i.attempts + 1 >= coalesce(most, 10) THEN 'parked' ELSE 'ready' END,
            next_at = clock_timestamp() + coalesce(retry_in, least(interval '1 hour', interval '1 s' * 2 ^ least(i.attempts, 12)))
        WHERE i.consumer = inbox_fail.consumer AND i.id = inbox_fail.id AND i.state = 'ready'
        RETURNING i.state INTO outcome;
    RETURN outcome;
END $$;
COMMENT ON FUNCTION once.inbox_fail(text, text, text, interval) IS 'counts a failed attempt and stores its error (the first 2,000 characters): ready again after retry_in (default 1 s, doubled each time, at most an hour), or parked after the consumer''s max_attempts. Returns the new state, null where there is no such ready message. Isolation as for once.inbox_done';

-- A message cannot pass those of its key that stand before it: they are set free with it.
CREATE OR REPLACE FUNCTION once.inbox_redrive(consumer text, id text DEFAULT NULL, topic text DEFAULT NULL, key text DEFAULT NULL,
        since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    revived bigint;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    WITH wanted AS (
        SELECT i.seq, i.key FROM once.inbox i
        WHERE i.consumer = inbox_redrive.consumer AND i.state = 'parked'
              AND (inbox_redrive.id IS NULL OR i.id = inbox_redrive.id) AND (inbox_redrive.topic IS NULL OR i.topic = inbox_redrive.topic)
              AND (inbox_redrive.key IS NULL OR i.key = inbox_redrive.key)
              AND (since IS NULL OR i.received_at >= since) AND (until IS NULL OR i.received_at < until))
    UPDATE once.inbox i SET state = 'ready', attempts = 0, next_at = clock_timestamp()
        WHERE i.consumer = inbox_redrive.consumer AND i.state = 'parked'
              AND (i.seq IN (SELECT w.seq FROM wanted w)
                   OR EXISTS (SELECT FROM wanted w WHERE left(w.key, 512) = left(i.key, 512) AND i.seq < w.seq));
    GET DIAGNOSTICS revived = ROW_COUNT;
    RETURN revived;
END $$;
COMMENT ON FUNCTION once.inbox_redrive(text, text, text, text, timestamptz, timestamptz) IS 'makes parked messages of a consumer ready again: all, or those with this id, of this topic, of this key, received from since to before until; with each of them those of its key that stand before it, which it cannot pass; how many. Isolation as for once.inbox_done';

CREATE OR REPLACE FUNCTION once.inbox_discard(consumer text, reason text, id text DEFAULT NULL, topic text DEFAULT NULL, key text DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    discarded bigint;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    IF id IS NULL AND topic IS NULL AND key IS NULL THEN
        RAISE EXCEPTION 'id, topic and key must not all be null' USING ERRCODE = '22004',
            HINT = 'Say which messages are to be given up.';
    END IF;
    IF reason IS NULL OR reason !~ '[^[:space:]]' OR octet_length(reason) > 4096 THEN
        RAISE EXCEPTION 'invalid reason' USING ERRCODE = '22023', DETAIL = 'A reason has 1 to 4096 bytes.';
    END IF;
    DELETE FROM once.inbox i
        WHERE i.consumer = inbox_discard.consumer AND i.state = 'parked' AND (inbox_discard.id IS NULL OR i.id = inbox_discard.id)
              AND (inbox_discard.topic IS NULL OR i.topic = inbox_discard.topic) AND (inbox_discard.key IS NULL OR i.key = inbox_discard.key);
    GET DIAGNOSTICS discarded = ROW_COUNT;
    RETURN discarded;
END $$;
COMMENT ON FUNCTION once.inbox_discard(text, text, text, text, text) IS 'gives parked messages of a consumer up for good, with the reason: the one with this id, or those of this topic or key; how many. What waits behind them goes on, their ids stay known. 22023 no reason, 22004 nothing that says which. Isolation as for once.inbox_done';
