CREATE OR REPLACE VIEW once.topics AS
    SELECT t.topic, t.max_bytes, t.max_backlog FROM once.topic t;
COMMENT ON VIEW once.topics IS 'topics with limits of their own; see once.topic_set';

CREATE OR REPLACE FUNCTION once.topic_set(topic text, max_bytes int DEFAULT NULL, max_backlog bigint DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF topic IS NULL THEN
        RAISE 'topic must not be null' USING ERRCODE = '22004';
    END IF;
    IF topic !~ '^[A-Za-z0-9._-]{1,249}$' OR topic IN ('.', '..') THEN
        RAISE 'invalid topic name' USING ERRCODE = 'ON001', DETAIL = 'A topic is 1 to 249 of A-Z a-z 0-9 . _ - and neither "." nor "..".';
    END IF;
    IF topic IN ('once.positions', '__consumer_offsets', '__transaction_state', '__share_group_state', '__cluster_metadata') THEN
        RAISE 'topic "%" is reserved', topic USING ERRCODE = 'ON001', DETAIL = 'It belongs to Kafka or to the relay.';
    END IF;
    IF max_bytes <= 0 OR max_backlog NOT BETWEEN 1 AND 1000000000000 THEN
        RAISE 'limits of topic "%" must be positive, and max_backlog at most 10^12', topic USING ERRCODE = '22023';
    END IF;
    INSERT INTO once.topic AS t VALUES ($1, $2, $3)
        ON CONFLICT ON CONSTRAINT topic_pkey DO UPDATE SET max_bytes = EXCLUDED.max_bytes, max_backlog = EXCLUDED.max_backlog;
END $$;
COMMENT ON FUNCTION once.topic_set(text, int, bigint) IS 'declares a topic and its limits (null: the general one); sessions follow at their next statement; ON001 invalid or reserved name, 22023 limit';

CREATE OR REPLACE FUNCTION once.topic_drop(topic text) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (DELETE FROM once.topic t WHERE t.topic = $1 RETURNING 1)
    SELECT EXISTS (SELECT FROM gone)
$$;
COMMENT ON FUNCTION once.topic_drop(text) IS 'takes back what once.topic_set declared; false if there was nothing; events of the topic stay';
