-- One row in an event table and nothing else: two publishers never wait for each other.
-- No name has overloads by the type of the payload: what a driver leaves untyped would be sent as something else than
-- it is. Overloads by the type of the key are safe: an untyped one is text, and Kafka gets the text of every type but bytea.
-- PostgREST and its like, which know names only, call once.publish_event.
CREATE OR REPLACE FUNCTION once.publish(topic text, payload jsonb, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_json_key_text';
CREATE OR REPLACE FUNCTION once.publish(topic text, payload jsonb, key bigint, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_json_key_number';
CREATE OR REPLACE FUNCTION once.publish(topic text, payload jsonb, key uuid, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_json_key_uuid';
CREATE OR REPLACE FUNCTION once.publish(topic text, payload jsonb, key bytea, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_json_key_bytes';
COMMENT ON FUNCTION once.publish(text, jsonb, text, jsonb, int, text, timestamptz, uuid) IS
    'adds an event to the outbox in the caller''s transaction and returns its id; errors: ON001 topic, ON002 size, ON003 header, ON004 backlog, 22004 null topic, 22023 partition, dedup_key or deliver_at, 25006 read only
payload: null is a tombstone; key: text, bigint, uuid or bytea of up to 2,000 bytes; headers: an object of strings, numbers, booleans, nulls, {"$bytes": hex digits} and arrays of these (a header several times)
dedup_key: a second call with the same one in a topic publishes nothing and returns the first id, for at least 7 days (once.memory_set); waits for a transaction that is publishing under it; REPEATABLE READ, SERIALIZABLE: 40001 when that committed after the snapshot
deliver_at: the event waits in once.scheduled until then (once.unschedule takes it out), is moved with the same id and ordered from then
id: what receivers see as once-id, for events that have one already; default: a new uuid of version 7';
COMMENT ON FUNCTION once.publish(text, jsonb, bigint, jsonb, int, text, timestamptz, uuid) IS
    'the same with a number as key: its decimal digits';
COMMENT ON FUNCTION once.publish(text, jsonb, uuid, jsonb, int, text, timestamptz, uuid) IS
    'the same with a uuid as key: its text';
COMMENT ON FUNCTION once.publish(text, jsonb, bytea, jsonb, int, text, timestamptz, uuid) IS
    'the same with a key of any bytes';
CREATE OR REPLACE FUNCTION once.publish_text(topic text, payload text, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_text_key_text';
CREATE OR REPLACE FUNCTION once.publish_text(topic text, payload text, key bigint, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_text_key_number';
CREATE OR REPLACE FUNCTION once.publish_text(topic text, payload text, key uuid, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_text_key_uuid';
CREATE OR REPLACE FUNCTION once.publish_text(topic text, payload text, key bytea, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_text_key_bytes';
COMMENT ON FUNCTION once.publish_text(text, text, text, jsonb, int, text, timestamptz, uuid) IS
    'as once.publish, for text: goes out as its bytes in UTF-8';
COMMENT ON FUNCTION once.publish_text(text, text, bigint, jsonb, int, text, timestamptz, uuid) IS
    'the same with a number as key: its decimal digits';
COMMENT ON FUNCTION once.publish_text(text, text, uuid, jsonb, int, text, timestamptz, uuid) IS
    'the same with a uuid as key: its text';
COMMENT ON FUNCTION once.publish_text(text, text, bytea, jsonb, int, text, timestamptz, uuid) IS
    'the same with a key of any bytes';
CREATE OR REPLACE FUNCTION once.publish_bytes(topic text, payload bytea, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_bytes_key_text';
CREATE OR REPLACE FUNCTION once.publish_bytes(topic text, payload bytea, key bigint, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_bytes_key_number';
CREATE OR REPLACE FUNCTION once.publish_bytes(topic text, payload bytea, key uuid, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_bytes_key_uuid';
CREATE OR REPLACE FUNCTION once.publish_bytes(topic text, payload bytea, key bytea, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_bytes_key_bytes';
COMMENT ON FUNCTION once.publish_bytes(text, bytea, text, jsonb, int, text, timestamptz, uuid) IS
    'as once.publish, for bytes';
COMMENT ON FUNCTION once.publish_bytes(text, bytea, bigint, jsonb, int, text, timestamptz, uuid) IS
    'the same with a number as key: its decimal digits';
COMMENT ON FUNCTION once.publish_bytes(text, bytea, uuid, jsonb, int, text, timestamptz, uuid) IS
    'the same with a uuid as key: its text';
COMMENT ON FUNCTION once.publish_bytes(text, bytea, bytea, jsonb, int, text, timestamptz, uuid) IS
    'the same with a key of any bytes';

CREATE OR REPLACE FUNCTION once.publish_event(topic text, payload jsonb DEFAULT NULL, payload_text text DEFAULT NULL,
        payload_bytes bytea DEFAULT NULL, key text DEFAULT NULL, key_bytes bytea DEFAULT NULL, headers jsonb DEFAULT NULL,
        partition int DEFAULT NULL, dedup_key text DEFAULT NULL, deliver_at timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_event';
COMMENT ON FUNCTION once.publish_event(text, jsonb, text, bytea, text, bytea, jsonb, int, text, timestamptz, uuid) IS
    'as once.publish, without any overload, for callers that know parameters by name only: one of payload, payload_text and payload_bytes, one of key and key_bytes (22023 for two of a kind)';
