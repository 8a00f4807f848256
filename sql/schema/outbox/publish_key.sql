-- Dedup keys of once.publish in generations (once.memory), and events that wait for their time.
CREATE TABLE once.publish_key_0 (
    topic text COLLATE "C" NOT NULL,
    dedup_key text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    PRIMARY KEY (topic, dedup_key)
);
CREATE TABLE once.publish_key_1 (LIKE once.publish_key_0 INCLUDING ALL);
CREATE TABLE once.publish_key_2 (LIKE once.publish_key_0 INCLUDING ALL);
COMMENT ON TABLE once.publish_key_0 IS 'dedup keys of once.publish and the ids of their events, one of three generations';
COMMENT ON TABLE once.publish_key_1 IS 'the second';
COMMENT ON TABLE once.publish_key_2 IS 'the third';

-- Topic, payload and headers as they would stand in an event table.
CREATE TABLE once.scheduled (
    id uuid PRIMARY KEY,
    deliver_at timestamptz NOT NULL,
    topic text NOT NULL,
    key text,
    payload bytea,
    headers bytea,
    partition int,
    scheduled_at timestamptz NOT NULL
);
CREATE INDEX scheduled_due ON once.scheduled (deliver_at, id);
COMMENT ON TABLE once.scheduled IS 'events that once.publish(…, deliver_at) keeps until their time; once.unschedule takes one out';

SELECT pg_catalog.pg_extension_config_dump('once.publish_key_0', '');
SELECT pg_catalog.pg_extension_config_dump('once.publish_key_1', '');
SELECT pg_catalog.pg_extension_config_dump('once.publish_key_2', '');
SELECT pg_catalog.pg_extension_config_dump('once.scheduled', '');
