-- One row in an event table and nothing else: two publishers never wait for each other.
-- An untyped literal is text. Payload null is a tombstone. Keys are Kafka keys: any text up to 2,000 bytes.
CREATE OR REPLACE FUNCTION once.publish(topic text, payload jsonb, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_jsonb';
CREATE OR REPLACE FUNCTION once.publish(topic text, payload json, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_text';
CREATE OR REPLACE FUNCTION once.publish(topic text, payload text, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_text';
CREATE OR REPLACE FUNCTION once.publish(topic text, payload bytea, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_bytea';
COMMENT ON FUNCTION once.publish(text, jsonb, text, jsonb, int, text, timestamptz) IS
    'adds an event to the outbox in the caller''s transaction and returns its id; errors: ON001 topic, ON002 size, ON003 header, ON004 backlog, 22004 null topic, 22023 partition, dedup_key or deliver_at, 25006 read only
dedup_key: a second call with the same one in a topic publishes nothing and returns the first id, for at least 7 days (once.memory_set); waits for a transaction that is publishing under it; REPEATABLE READ, SERIALIZABLE: 40001 when that committed after the snapshot
deliver_at: the event waits in once.scheduled until then (once.unschedule takes it out), is moved with the same id and ordered from then';
COMMENT ON FUNCTION once.publish(text, json, text, jsonb, int, text, timestamptz) IS 'the same for json: goes out as it was written';
COMMENT ON FUNCTION once.publish(text, text, text, jsonb, int, text, timestamptz) IS 'the same for text: goes out as its bytes in UTF-8';
COMMENT ON FUNCTION once.publish(text, bytea, text, jsonb, int, text, timestamptz) IS 'the same for bytes';
