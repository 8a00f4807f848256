-- Events that wait for their time. Topic, payload and headers as they would stand in an event table.
CREATE TABLE once.scheduled (
    id uuid PRIMARY KEY,
    deliver_at timestamptz NOT NULL,
    topic text NOT NULL,
    key bytea,
    payload bytea,
    headers bytea,
    partition int,
    form "char" NOT NULL CHECK (form IN ('j', 't', 'b')),
    scheduled_at timestamptz NOT NULL
);
CREATE INDEX scheduled_due ON once.scheduled (deliver_at, id);
COMMENT ON TABLE once.scheduled IS 'events that once.publish(..., deliver_at) keeps until their time; once.unschedule takes one out';

SELECT pg_catalog.pg_extension_config_dump('once.scheduled', '');
