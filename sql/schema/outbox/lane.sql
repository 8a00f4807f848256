-- A lane is an independent ordered stream: its own event tables, sequence, position and transactional ids.
-- Its row is the identity of the stream and is never dumped: a restored copy is another stream.
CREATE TABLE once.lane (
    lane int PRIMARY KEY CHECK (lane BETWEEN 0 AND 63),
    incarnation uuid NOT NULL DEFAULT gen_random_uuid(),
    armed boolean NOT NULL DEFAULT false,
    cluster_id text,
    mode text CHECK (mode IN ('continue', 'all', 'none', 'missing')),
    redrive_floor bigint NOT NULL DEFAULT 0 CHECK (redrive_floor >= 0),
    children int NOT NULL CHECK (children BETWEEN 2 AND 64),
    generation_rows bigint NOT NULL CHECK (generation_rows BETWEEN 1 AND 100000000),
    replaced uuid[] NOT NULL DEFAULT '{}',
    decided_at pg_snapshot,
    CHECK (NOT armed OR cluster_id IS NOT NULL)
);
COMMENT ON TABLE once.lane IS 'one row per lane: the identity of its stream and the shape of its storage; written by once.set_lanes, once.report and once.rearm';
COMMENT ON COLUMN once.lane.armed IS 'a relay has reported a committed position of this incarnation: a missing position is a lost one';
COMMENT ON COLUMN once.lane.cluster_id IS 'the Kafka cluster that holds the position';
COMMENT ON COLUMN once.lane.mode IS 'what an operator decided by once.rearm, until the relay reports that it began so';
COMMENT ON COLUMN once.lane.decided_at IS 'what the last once.rearm saw: with mode none, exactly that is left out';
COMMENT ON COLUMN once.lane.redrive_floor IS 'highest redrive number given in earlier incarnations: the next one begins above it';
COMMENT ON COLUMN once.lane.replaced IS 'earlier incarnations whose producers no relay has fenced yet';
COMMENT ON COLUMN once.lane.children IS 'number of child tables once.event_<lane>_<k>; an event lies in child (seq / generation_rows) mod children';

-- Between key and lane: the hash of a key names its slot (extension/wire/lane_map.hpp), the slot's row its lane.
CREATE TABLE once.slot (
    slot smallint PRIMARY KEY CHECK (slot BETWEEN 0 AND 255),
    lane int NOT NULL REFERENCES once.lane ON DELETE CASCADE
);
COMMENT ON TABLE once.slot IS 'which lane takes the events of each of 256 slots of keys; written by once.set_lanes';

-- How many lanes and of which shape: a setting, so it is dumped; its trigger makes the lanes when it is restored.
CREATE TABLE once.lane_setting (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    lanes int NOT NULL CHECK (lanes BETWEEN 1 AND 64),
    children int NOT NULL CHECK (children BETWEEN 2 AND 64),
    generation_rows bigint NOT NULL CHECK (generation_rows BETWEEN 1 AND 100000000),
    CHECK (lanes * children <= 512)
);
COMMENT ON TABLE once.lane_setting IS 'number and shape of the lanes when once.set_lanes was called; empty: one lane of the default shape';
SELECT pg_catalog.pg_extension_config_dump('once.lane_setting', '');

-- What the relay told last. Behind the truth in Kafka by up to a report interval; never a position to start from.
CREATE TABLE once.relay_report (
    lane int PRIMARY KEY REFERENCES once.lane ON DELETE CASCADE,
    incarnation uuid,
    cluster_id text,
    position jsonb,
    offset_hint bigint,
    info jsonb,
    reported_at timestamptz,
    rotated_from bigint NOT NULL DEFAULT 0,
    rotated_to bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE once.relay_report IS 'the last report of the relay of each lane, and the numbers that once.rotate skipped last';
COMMENT ON COLUMN once.relay_report.position IS 'a committed position record as it stands in the topic once.positions; trimming protects its last_seq';
COMMENT ON COLUMN once.relay_report.offset_hint IS 'offset of that record in once.positions: where reading may begin';
COMMENT ON COLUMN once.relay_report.rotated_from IS 'numbers above this and up to rotated_to were drawn by once.rotate and belong to no event';
