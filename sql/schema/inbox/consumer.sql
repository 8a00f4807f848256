-- What is said of a consumer: whoever acts on messages and keeps a memory of their ids. A consumer that nobody declared
-- has no row and needs none: its ids are found by the digest of its name. One row says all, so that it is read under the
-- snapshot of the lookups.
--
-- The stays tell in which rings (by class, from 0: day) its ids are: from `since` it may have written there, from
-- `until` on generations are not its any more. The last one has no end. Every consumer begins in the ring of a week.
CREATE TABLE once.consumer_state (
    name text COLLATE "C" PRIMARY KEY,
    dropped boolean NOT NULL DEFAULT false,
    keep interval NOT NULL DEFAULT '7 days',
    reject_older boolean NOT NULL DEFAULT false,
    max_attempts int NOT NULL DEFAULT 10,
    horizon timestamptz,
    roles text[],
    classes smallint[] NOT NULL DEFAULT '{1}',
    since bigint[] NOT NULL,
    until bigint[] NOT NULL DEFAULT '{9223372036854775807}'
);
COMMENT ON TABLE once.consumer_state IS 'consumers that were declared (once.consumer_set), and where the ids of dropped ones are; once.consumer shows it';
COMMENT ON COLUMN once.consumer_state.dropped IS 'nothing is declared any more, but ids are in other rings than those of an undeclared consumer';
COMMENT ON COLUMN once.consumer_state.keep IS 'ids are known for at least this long; zero: for ever';
COMMENT ON COLUMN once.consumer_state.reject_older IS 'ids that may have been forgotten are too_old instead of new';
COMMENT ON COLUMN once.consumer_state.max_attempts IS 'an inbox row is parked when it has failed this often';
COMMENT ON COLUMN once.consumer_state.horizon IS 'ids made up to here may have been forgotten in stays that are not listed any more';
COMMENT ON COLUMN once.consumer_state.roles IS 'who may use it; null: every role that may receive';
COMMENT ON COLUMN once.consumer_state.classes IS 'the classes of its stays in their order, by number';
COMMENT ON COLUMN once.consumer_state.since IS 'by stay: the oldest serial that it may have written in the ring';
COMMENT ON COLUMN once.consumer_state.until IS 'by stay: the first serial that it does not write; written under FOR SHARE of the ring''s row, so who sees the handover sees it';

SELECT pg_catalog.pg_extension_config_dump('once.consumer_state', '');

CREATE VIEW once.consumer AS
    SELECT name, keep, reject_older, max_attempts, roles,
           (ARRAY['day', 'week', 'month', 'quarter', 'year', 'forever'])[classes[pg_catalog.cardinality(classes)] + 1] AS class
    FROM once.consumer_state WHERE NOT dropped;
COMMENT ON VIEW once.consumer IS 'receivers that were declared, and how long each remembers ids';
COMMENT ON COLUMN once.consumer.class IS 'how long its ids are really kept: the shortest class that holds keep';
