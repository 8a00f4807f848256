-- A Kafka message as a handler of once-relay inbox gets it.
CREATE TYPE once.message AS (
    topic       text,
    "partition" int,
    log_offset  bigint,
    key         text,
    payload     bytea,
    headers     jsonb,
    id          text,
    source      text,
    pos         bigint,
    sent_at     timestamptz
);
COMMENT ON TYPE once.message IS 'a message for a handler: id is once-id or what stands for it, source and pos are for once.accept_position';

CREATE SEQUENCE once.inbox_seq_seq;
COMMENT ON SEQUENCE once.inbox_seq_seq IS 'order in which messages came into once.inbox';

-- Work that waits. A row lives until inbox_done; that its id came before is remembered by the consumer's key memory.
CREATE TABLE once.inbox (
    consumer    text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL CHECK (pg_catalog.octet_length(id) BETWEEN 1 AND 1024),
    seq         bigint NOT NULL DEFAULT once.next_number('once.inbox_seq_seq'),
    source      text,
    topic       text,
    "partition" int,
    log_offset  bigint,
    key         text COLLATE "C",
    payload     bytea,
    headers     jsonb,
    received_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    state       text COLLATE "C" NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'parked')),
    attempts    int NOT NULL DEFAULT 0,
    next_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    error       text,
    pos         bigint,
    sent_at     timestamptz,
    PRIMARY KEY (consumer, id)
);
CREATE INDEX inbox_ready ON once.inbox (consumer, seq) WHERE state = 'ready';
CREATE INDEX inbox_keyless ON once.inbox (consumer, seq) WHERE state = 'ready' AND key IS NULL;
-- Kafka's keys may be longer than an entry of an index: keys that begin with the same 512 characters count as one.
CREATE INDEX inbox_key ON once.inbox (consumer, pg_catalog.left(key, 512), seq) WHERE key IS NOT NULL;
COMMENT ON TABLE once.inbox IS 'messages that wait for workers: once.inbox_take, then once.inbox_done or once.inbox_fail in the same transaction';
COMMENT ON COLUMN once.inbox.seq IS 'order of arrival; rows of one key are taken in it';
COMMENT ON COLUMN once.inbox.state IS 'ready, or parked after too many failures: then it holds its key until inbox_redrive or inbox_done';
COMMENT ON COLUMN once.inbox.next_at IS 'not taken before';

SELECT pg_catalog.pg_extension_config_dump('once.inbox', '');
SELECT pg_catalog.pg_extension_config_dump('once.inbox_seq_seq', '');
