CREATE OR REPLACE FUNCTION once.inbox_put(consumer text, id text, payload bytea, key text DEFAULT NULL,
        headers jsonb DEFAULT NULL) RETURNS once.verdict
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    verdict once.verdict;
BEGIN
    IF octet_length(id) > 1024 THEN
        RAISE EXCEPTION 'invalid id' USING ERRCODE = 'ON010', DETAIL = 'The id of an inbox row has 1 to 1024 bytes.';
    END IF;
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
CREATE OR REPLACE FUNCTION once.inbox_take(consumer text, n int) RETURNS SETOF once.inbox
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head once.inbox;
    follower once.inbox;
    keys text[] := '{}';
    seqs bigint[] := '{}';
    taken int := 0;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    IF n IS NULL OR n < 1 OR n > 100000 THEN
        RAISE EXCEPTION 'n must be between 1 and 100000' USING ERRCODE = '22023';
    END IF;
    FOR head IN
        SELECT * FROM once.inbox i
        WHERE i.consumer = inbox_take.consumer AND i.state = 'ready' AND i.next_at <= clock_timestamp()
          AND (i.key IS NULL OR NOT EXISTS (SELECT FROM once.inbox e
                                            WHERE e.consumer = i.consumer AND e.key = i.key AND e.seq < i.seq))
        ORDER BY i.seq LIMIT n FOR UPDATE OF i SKIP LOCKED
    LOOP
        taken := taken + 1;
        IF head.key IS NOT NULL THEN
            keys := keys || head.key;
            seqs := seqs || head.seq;
        END IF;
        RETURN NEXT head;
    END LOOP;
    FOR k IN 1 .. cardinality(keys) LOOP
        EXIT WHEN taken >= n;
        FOR follower IN
            SELECT * FROM once.inbox i
            WHERE i.consumer = inbox_take.consumer AND i.key = keys[k] AND i.seq > seqs[k]
            ORDER BY i.seq LIMIT n - taken FOR UPDATE
        LOOP
            EXIT WHEN follower.state <> 'ready' OR follower.next_at > clock_timestamp();
            taken := taken + 1;
            RETURN NEXT follower;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION once.inbox_take(text, int) IS 'locks up to n messages for the worker''s transaction, rows of one key in order and never in two hands; what others have is skipped. If the transaction ends without inbox_done or inbox_fail they come back. READ COMMITTED; above it 40001 is possible';

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
COMMENT ON FUNCTION once.inbox_done(text, text[]) IS 'ends these messages, parked ones too; how many there were';

-- 1 s, 2 s, 4 s … at most an hour.
CREATE OR REPLACE FUNCTION once.inbox_fail(consumer text, id text, error text, retry_in interval DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most int;
    outcome text;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    IF retry_in < interval '0' THEN
        RAISE EXCEPTION 'retry_in must not be negative' USING ERRCODE = '22023';
    END IF;
    SELECT c.max_attempts INTO most FROM once.consumer c WHERE c.name = inbox_fail.consumer;
    UPDATE once.inbox i SET attempts = i.attempts + 1, error = inbox_fail.error,
            state = CASE WHEN i.attempts + 1 >= coalesce(most, 10) THEN 'parked' ELSE 'ready' END,
            next_at = clock_timestamp() + coalesce(retry_in, least(interval '1 hour', interval '1 s' * 2 ^ least(i.attempts, 12)))
        WHERE i.consumer = inbox_fail.consumer AND i.id = inbox_fail.id AND i.state = 'ready'
        RETURNING i.state INTO outcome;
    RETURN outcome;
END $$;
COMMENT ON FUNCTION once.inbox_fail(text, text, text, interval) IS 'counts a failed attempt and stores its error: ready again after retry_in (default 1 s, doubled each time, at most an hour), or parked after the consumer''s max_attempts. Returns the new state, null where there is no such ready message';

CREATE OR REPLACE FUNCTION once.inbox_redrive(consumer text, id text DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    revived bigint;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    UPDATE once.inbox i SET state = 'ready', attempts = 0, next_at = clock_timestamp()
        WHERE i.consumer = inbox_redrive.consumer AND i.state = 'parked' AND (inbox_redrive.id IS NULL OR i.id = inbox_redrive.id);
    GET DIAGNOSTICS revived = ROW_COUNT;
    RETURN revived;
END $$;
COMMENT ON FUNCTION once.inbox_redrive(text, text) IS 'makes parked messages of a consumer, or one of them, ready again; how many';
