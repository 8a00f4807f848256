-- Events that the broker refused, and later ones of their keys. A (lane, seq) that stands here never ships on the
-- main path, whatever becomes of the entry. Not dumped: the numbers mean nothing in a restored copy.
CREATE TABLE once.dead_letter (
    lane int NOT NULL REFERENCES once.lane ON DELETE CASCADE,
    seq bigint NOT NULL,
    xid xid8 NOT NULL,
    id uuid NOT NULL,
    topic text NOT NULL,
    key bytea,
    payload bytea,
    headers jsonb,
    partition int,
    form "char" NOT NULL CHECK (form IN ('j', 't', 'b')),
    time timestamptz NOT NULL,
    error text NOT NULL,
    policy text NOT NULL CHECK (policy IN ('hold_key', 'skip')),
    wanted boolean NOT NULL DEFAULT false,
    stamp bigint,
    parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (lane, seq)
);
CREATE INDEX dead_letter_key ON once.dead_letter (lane, topic, key, seq);
CREATE INDEX dead_letter_wanted ON once.dead_letter (lane, seq) WHERE wanted AND stamp IS NULL;
CREATE INDEX dead_letter_stamp ON once.dead_letter (lane, stamp) WHERE stamp IS NOT NULL;
CREATE INDEX dead_letter_id ON once.dead_letter (id);
COMMENT ON TABLE once.dead_letter IS 'events that were refused for good or wait behind such a one; see once.redrive';
COMMENT ON COLUMN once.dead_letter.key IS 'the Kafka key: text, numbers and uuids as text in UTF-8';
COMMENT ON COLUMN once.dead_letter.form IS 'what was published: j jsonb, t text, b bytes';
COMMENT ON COLUMN once.dead_letter.policy IS 'hold_key: later events of the same (topic, key) wait here too; skip: they went on';
COMMENT ON COLUMN once.dead_letter.wanted IS 'marked by once.redrive: the relay ships it as soon as it can';
COMMENT ON COLUMN once.dead_letter.stamp IS 'number of the redrive that ships or shipped it; shipped when the position carries this number or a higher one';
