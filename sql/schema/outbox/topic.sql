-- Limits by topic. An unknown topic is simply used, unless once.strict_topics is on: publishing writes nothing here.
CREATE TABLE once.topic (
    topic text PRIMARY KEY CHECK (topic ~ '^[A-Za-z0-9._-]{1,249}$' AND topic NOT IN ('.', '..')),
    max_bytes int CHECK (max_bytes > 0),
    max_backlog bigint CHECK (max_backlog BETWEEN 1 AND 1000000000000)
);
COMMENT ON TABLE once.topic IS 'topics with limits of their own; written by once.topic_set and once.topic_drop';
COMMENT ON COLUMN once.topic.max_bytes IS 'largest key + payload + headers of one event in bytes; null: once.max_event_bytes';
COMMENT ON COLUMN once.topic.max_backlog IS 'publishing is refused (ON004) while more events than this wait in the lane; null: once.max_backlog';
SELECT pg_catalog.pg_extension_config_dump('once.topic', '');
