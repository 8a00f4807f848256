-- What once-relay inbox hands over: a batch comes as an array for each field of once.message.
CREATE OR REPLACE FUNCTION once.inbox_messages(topics text[], partitions int[], log_offsets bigint[], keys text[], payloads bytea[],
        headers jsonb[], ids text[], sources text[], positions bigint[], sent timestamptz[]) RETURNS once.message[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_inbox_messages';
COMMENT ON FUNCTION once.inbox_messages(text[], int[], bigint[], text[], bytea[], jsonb[], text[], text[], bigint[], timestamptz[]) IS 'internal: the messages of a batch, for a handler';

-- The fast way into once.inbox; false where the table has something that only INSERT serves, and nothing was done.
CREATE OR REPLACE FUNCTION once.inbox_append(consumer text, topics text[], partitions int[], log_offsets bigint[], keys text[],
        payloads bytea[], headers jsonb[], ids text[], sources text[], positions bigint[], sent timestamptz[]) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_inbox_append';
COMMENT ON FUNCTION once.inbox_append(text, text[], int[], bigint[], text[], bytea[], jsonb[], text[], text[], bigint[], timestamptz[]) IS 'internal: writes rows of once.inbox without SQL; 23505 when one is there already';

-- The ids are accepted before, in the same transaction.
CREATE OR REPLACE FUNCTION once.inbox_store(consumer text, topics text[], partitions int[], log_offsets bigint[], keys text[],
        payloads bytea[], headers jsonb[], ids text[], sources text[], positions bigint[], sent timestamptz[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    stored bigint;
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    -- ON CONFLICT costs a lookup and a WAL record for each row, and a row that is there already is rare: the memory
    -- forgot it, but it still waits here.
    BEGIN
        IF once.inbox_append(consumer, topics, partitions, log_offsets, keys, payloads, headers, ids, sources, positions, sent) THEN
            RETURN cardinality(ids);
        END IF;
    EXCEPTION WHEN unique_violation THEN
        NULL;
    END;
    -- unnest hands them out in their order, which becomes the order of seq.
    INSERT INTO once.inbox (consumer, topic, "partition", log_offset, key, payload, headers, id, source, pos, sent_at)
        SELECT inbox_store.consumer, m.*
        FROM unnest(topics, partitions, log_offsets, keys, payloads, inbox_store.headers, ids, sources, positions, sent) m
        ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING;
    GET DIAGNOSTICS stored = ROW_COUNT;
    RETURN stored;
END $$;
COMMENT ON FUNCTION once.inbox_store(text, text[], int[], bigint[], text[], bytea[], jsonb[], text[], text[], bigint[], timestamptz[]) IS 'internal: leaves a batch for workers; how many of them were not there';

CREATE OR REPLACE FUNCTION once.inbox_park(consumer text, message once.message, error text, attempts int,
        retry_in_s bigint DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    INSERT INTO once.inbox (consumer, topic, "partition", log_offset, key, payload, headers, id, source, pos, sent_at,
                            error, attempts, state, next_at)
        SELECT inbox_park.consumer, message.*, left(inbox_park.error, 2000), inbox_park.attempts,
               CASE WHEN inbox_park.error IS NULL OR retry_in_s IS NOT NULL THEN 'ready' ELSE 'parked' END,
               clock_timestamp() + make_interval(secs => coalesce(retry_in_s, 0))
        ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION once.inbox_park(text, once.message, text, int, bigint) IS 'internal: puts a message aside whose handler failed (parked, or ready again after retry_in_s), or one that waits behind it (error null: ready as soon as it is the first of its key)';

CREATE OR REPLACE FUNCTION once.inbox_again(consumer text, id text, error text, retry_in_s bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM once.require_name(consumer, 'consumer', 'ON010');
    UPDATE once.inbox i SET attempts = i.attempts + 1, error = left(inbox_again.error, 2000),
            state = CASE WHEN retry_in_s IS NULL THEN 'parked' ELSE 'ready' END,
            next_at = clock_timestamp() + make_interval(secs => coalesce(retry_in_s, 0))
        WHERE i.consumer = inbox_again.consumer AND i.id = inbox_again.id AND i.state = 'ready';
END $$;
COMMENT ON FUNCTION once.inbox_again(text, text, text, bigint) IS 'internal: a message that was put aside failed again: ready after retry_in_s, parked when that is null';
