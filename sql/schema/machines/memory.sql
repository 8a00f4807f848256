-- What is remembered for a time lies in three tables per family, of which one is written:
--   machine_event   ids of the events that moved an entity (once.transition)
--   publish_key     dedup keys of once.publish
--   token           issued tokens (once.issue_token)
-- Nothing is deleted row by row: a table is truncated when the youngest of what it may hold is older than what is
-- kept. once.memory_sweep turns the wheel:
--
--   open(g) ──▶ closing(g): old writers may still be at work on g ──▶ open(g+1), g is retired ──▶ g is truncated
--
-- While g is closing dedup keys are written into g and g+1: who acts under an older snapshot writes only g, who acts
-- under a newer one only looks into g. The state and what follows from it are read under one snapshot or a newer one.
CREATE TABLE once.memory (
    family text COLLATE "C" PRIMARY KEY CHECK (family IN ('machine_event', 'publish_key', 'token')),
    generation smallint NOT NULL DEFAULT 0 CHECK (generation BETWEEN 0 AND 2),
    opened_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    closing_xid xid8,
    barrier_xid xid8,
    retired_at timestamptz[] NOT NULL DEFAULT '{NULL,NULL,NULL}'
);
COMMENT ON TABLE once.memory IS 'generations of remembered ids: which table of each family is written now';
COMMENT ON COLUMN once.memory.closing_xid IS 'transaction that began the handover to the next generation';
COMMENT ON COLUMN once.memory.barrier_xid IS 'last xid that was given out when the last snapshot from before closing_xid had gone';
COMMENT ON COLUMN once.memory.retired_at IS 'when the last writer of each generation was gone; null: empty, or being written';
INSERT INTO once.memory (family) VALUES ('machine_event'), ('publish_key'), ('token');

-- Apart from the state, which a restored database starts anew.
CREATE TABLE once.memory_setting (
    family text COLLATE "C" PRIMARY KEY REFERENCES once.memory,
    keep interval NOT NULL CHECK (keep > '0')
);
COMMENT ON TABLE once.memory_setting IS 'how long a family of ids is remembered at least; without a row 7 days';
SELECT pg_catalog.pg_extension_config_dump('once.memory_setting', '');
