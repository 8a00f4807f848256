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

-- Which topic an offset belongs to: one that is deleted and made again has the old name and another id. A topic that
-- another one has followed never comes back, so a broker that still tells of it is known to be late.
CREATE TABLE once.consumer_topic (
    grp         text COLLATE "C" NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    "partition" int NOT NULL,
    number      int NOT NULL,
    topic_id    text COLLATE "C" NOT NULL CHECK (pg_catalog.octet_length(topic_id) BETWEEN 1 AND 255),
    PRIMARY KEY (grp, topic, "partition", number),
    UNIQUE (grp, topic, "partition", topic_id)
);
COMMENT ON TABLE once.consumer_topic IS 'ids of the topics of one name that a group has read, in their order: the offset in once.consumer_offset counts in the last one';
COMMENT ON COLUMN once.consumer_topic.number IS '0: the first one that was known by its id; messages of later ones that have no id of their own are named after the topic''s id too';

SELECT pg_catalog.pg_extension_config_dump('once.consumer_offset', '');
SELECT pg_catalog.pg_extension_config_dump('once.consumer_topic', '');
