-- Kafka offsets, kept in the transaction of the effect. Progress and fence stand apart because a dump carries the
-- one and must not carry the other: a member of the old database would hold a valid fence in the new one.
CREATE TABLE once.consumer_offset (
    grp         text COLLATE "C" NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    "partition" int NOT NULL,
    next        bigint,
    PRIMARY KEY (grp, topic, "partition")
) WITH (fillfactor = 50);
COMMENT ON TABLE once.consumer_offset IS 'next Kafka offset to process per consumer group and partition';
COMMENT ON COLUMN once.consumer_offset.next IS 'null: claimed, but nothing stored yet';

CREATE TABLE once.offset_fence (
    grp         text COLLATE "C" NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    "partition" int NOT NULL,
    fence       bigint NOT NULL,
    PRIMARY KEY (grp, topic, "partition")
) WITH (fillfactor = 50);
COMMENT ON TABLE once.offset_fence IS 'fence of the newest owner of a partition; locked through its row in once.consumer_offset; never dumped';

SELECT pg_catalog.pg_extension_config_dump('once.consumer_offset', '');
