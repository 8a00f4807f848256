-- The generations of a consumer's key memory, one row for each of its four tables.
--
--   free ──▶ open ──▶ closing ──▶ read_only ──▶ retired ──▶ free
--
-- open       accept inserts here. Exactly one.
-- closing    accept inserts here first, waiting on conflict, and then into the open one. Whoever still acts under
--            an older snapshot inserts here alone, and here the two meet.
-- read_only  accept looks here under its snapshot, and inserts into the open one. Reached only when every
--            snapshot taken before the switch is gone and every transaction that acted under one has ended: so
--            the snapshot that shows this state shows every key that is in here.
-- retired    nobody looks here any more; the consumer's horizon says up to when ids may have been in here. It is
--            truncated when every snapshot that showed it as read_only is gone: TRUNCATE obeys no snapshot.
--
-- A transaction reads the states under the snapshot of its lookups. The next handover starts only when the
-- last one is finished, so there is at most one closing generation. The first columns are read by number in
-- extension/inbox/key_memory.cpp: change both.
CREATE TABLE once.generation (
    consumer  int NOT NULL REFERENCES once.consumer (no) ON DELETE CASCADE,
    slot      smallint NOT NULL CHECK (slot BETWEEN 0 AND 3),
    state     text COLLATE "C" NOT NULL CHECK (state IN ('free', 'open', 'closing', 'read_only', 'retired')),
    closed_at timestamptz,
    keys      bigint,
    opened_at timestamptz,
    mark      xid8,
    barrier   xid8,
    PRIMARY KEY (consumer, slot)
);
COMMENT ON TABLE once.generation IS 'generations of the key memory: states and their order are told in sql/schema/inbox/generation.sql';
COMMENT ON COLUMN once.generation.closed_at IS 'when it became read only: no key came in later';
COMMENT ON COLUMN once.generation.keys IS 'keys in it, counted when it became read only';
COMMENT ON COLUMN once.generation.mark IS 'transaction that made it closing or retired';
COMMENT ON COLUMN once.generation.barrier IS 'last xid that was given out when the last snapshot from before the mark had gone';

SELECT pg_catalog.pg_extension_config_dump('once.generation', '');
