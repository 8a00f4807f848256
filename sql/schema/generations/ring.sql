-- Rings: what is remembered for a time and then given up whole. A ring has four tables, once.<ring>_0 to _3, made
-- here; nothing makes a table at run time. Nothing in them is deleted row by row.
--
--   free --> open --> closing --> read_only --> retired --> free
--
-- open       what is new is written here. Exactly one.
-- closing    written first, waiting on conflict, and then the open one. Whoever still acts under an older snapshot
--            writes here alone, and here the two meet.
-- read_only  looked into under the reader's snapshot. Reached only when every snapshot taken before the switch is gone
--            and every transaction that acted under one has ended: so the snapshot that shows this state shows
--            everything that is in here.
-- retired    nobody looks here any more. It is truncated when every snapshot that showed it as read_only is gone:
--            TRUNCATE obeys no snapshot.
--
-- A generation has a serial, which is never used again; the one with serial s lies in table s % 4. The states follow
-- from three numbers: open; oldest, the first that is read_only (or closing, or open); gone, the first that has not been
-- truncated. A reader takes the row under the snapshot of its lookups, so one row says all of it. The next handover
-- starts only when the last one is finished, so there is at most one closing generation.
--
-- A ring without a row is as it was made: serial 4, table 0, is open. So a restored database has the rows of its dump
-- and none of the script's. A free table that has rows all the same (restored by hand) is looked into.
CREATE TABLE once.ring (
    name text COLLATE "C" PRIMARY KEY,
    open bigint NOT NULL,
    closing boolean NOT NULL DEFAULT false,
    oldest bigint NOT NULL,
    gone bigint NOT NULL,
    horizon timestamptz,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz[] NOT NULL DEFAULT '{NULL,NULL,NULL,NULL}',
    open_for interval NOT NULL DEFAULT '0',
    closed_for interval[] NOT NULL DEFAULT '{NULL,NULL,NULL,NULL}',
    counted_at timestamptz NOT NULL,
    monotonic bigint NOT NULL,
    switched xid8,
    barrier xid8,
    retired xid8,
    system_identifier bigint NOT NULL,
    database oid NOT NULL,
    CHECK (gone <= oldest AND oldest <= open AND open - gone <= 3)
);
COMMENT ON TABLE once.ring IS 'rings and the states of their generations, told in sql/schema/generations/ring.sql; changed by once.sweep, shown by once.memory';
COMMENT ON COLUMN once.ring.open IS 'serial of the generation that takes what is new; serial s lies in table s % 4';
COMMENT ON COLUMN once.ring.closing IS 'open - 1 still takes what transactions with older snapshots write';
COMMENT ON COLUMN once.ring.oldest IS 'the oldest serial that is looked into; those below are forgotten';
COMMENT ON COLUMN once.ring.gone IS 'the oldest serial that is not truncated';
COMMENT ON COLUMN once.ring.horizon IS 'what is not newer may have been forgotten: when the newest forgotten generation closed, and 5 minutes for senders whose clock is ahead';
COMMENT ON COLUMN once.ring.closed_at IS 'by table: when the last writer from before the switch had ended; nothing came in later';
COMMENT ON COLUMN once.ring.open_for IS 'age of the open generation at counted_at: of the wall clock and the monotonic one the time that both agree on';
COMMENT ON COLUMN once.ring.closed_for IS 'by table: time since it closed, measured in the same way';
COMMENT ON COLUMN once.ring.counted_at IS 'when the ages were counted, by the wall clock';
COMMENT ON COLUMN once.ring.monotonic IS 'the same by the monotonic clock, in microseconds';
COMMENT ON COLUMN once.ring.switched IS 'transaction that opened the present generation, while the one before is closing';
COMMENT ON COLUMN once.ring.barrier IS 'last xid that was given out when the last snapshot from before the switch had gone';
COMMENT ON COLUMN once.ring.retired IS 'transaction that retired the newest forgotten generation, until it is truncated';
COMMENT ON COLUMN once.ring.system_identifier IS 'the server that the xids are of: in a restored database they mean nothing, and ages start anew';

-- One row for each generation that closed. Who left a ring asks here when its last generation did: a row or two a week,
-- never removed.
CREATE TABLE once.generation (
    ring text COLLATE "C" NOT NULL,
    serial bigint NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz NOT NULL,
    PRIMARY KEY (ring, serial)
);
COMMENT ON TABLE once.generation IS 'when the generations of each ring were open: a log, never removed';

-- How long the rings that belong to no class are kept.
CREATE TABLE once.memory_setting (
    ring text COLLATE "C" PRIMARY KEY CHECK (ring IN ('publish_key', 'token', 'machine_event')),
    keep interval NOT NULL CHECK (keep > '0')
);
COMMENT ON TABLE once.memory_setting IS 'how long the ring of dedup keys, of tokens or of events of state machines is kept at least; without a row 7 days';

SELECT pg_catalog.pg_extension_config_dump('once.ring', '');
SELECT pg_catalog.pg_extension_config_dump('once.generation', '');
SELECT pg_catalog.pg_extension_config_dump('once.memory_setting', '');

-- ids of consumers, by class                  owner: the consumer       id: wire/message_key.hpp
-- ids of events that moved an entity          owner: the state machine  id: digest of entity and event id
-- times that senders told from the future     owner: the consumer       id: extension/inbox/key_memory.cpp
-- dedup keys of once.publish                  owner: the topic          id: digest of the key
-- tokens                                      owner: the scope          id: the token
DO $$
DECLARE
    ring text;
    kept text;
    further text;
    slot int;
BEGIN
    FOR ring, kept, further IN VALUES
        ('seen_day', 'ids of consumers', ''), ('seen_week', 'ids of consumers', ''), ('seen_month', 'ids of consumers', ''),
        ('seen_quarter', 'ids of consumers', ''), ('seen_year', 'ids of consumers', ''), ('seen_forever', 'ids of consumers', ''),
        ('machine_event', 'ids of events that moved an entity', ''),
        ('ahead', 'times ahead of the server''s clock, as senders gave them', ''),
        ('publish_key', 'dedup keys of once.publish and the ids of their events', 'event uuid NOT NULL, '),
        ('token', 'issued tokens', 'expires_at timestamptz NOT NULL, redeemed_at timestamptz, ')
    LOOP
        FOR slot IN 0..3 LOOP
            EXECUTE pg_catalog.format('CREATE TABLE once.%I (owner bigint NOT NULL, id uuid NOT NULL, %s PRIMARY KEY (owner, id)) USING heap',
                                      ring || '_' || slot, further);
            EXECUTE pg_catalog.format('COMMENT ON TABLE once.%I IS %L', ring || '_' || slot,
                                      pg_catalog.format('ring %s, one of four generations: %s', ring, kept));
            PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('once.%I', ring || '_' || slot)::pg_catalog.regclass, '');
        END LOOP;
    END LOOP;
END $$;
