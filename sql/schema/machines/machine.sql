-- State machines: definitions, where each entity stands, and what it is remembered by.
CREATE TYPE once.transition_verdict AS ENUM
    ('moved', 'duplicate', 'late', 'illegal', 'unknown_event', 'unknown_entity', 'stale');

CREATE TABLE once.machine (
    name text COLLATE "C" PRIMARY KEY,
    initial text COLLATE "C" NOT NULL,
    keep_history boolean NOT NULL DEFAULT false,
    defined_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE once.machine IS 'state machines, written by once.machine_set; every session forgets its copy when a change commits';

CREATE TABLE once.machine_transition (
    machine text COLLATE "C" NOT NULL REFERENCES once.machine,
    from_state text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    to_state text COLLATE "C" NOT NULL,
    PRIMARY KEY (machine, from_state, event)
);
COMMENT ON TABLE once.machine_transition IS 'declared transitions; the key makes two targets for one event in one state impossible';

-- Room on the page and no index over what changes: a transition is a heap-only update.
CREATE TABLE once.machine_entity (
    machine text COLLATE "C" NOT NULL,
    entity text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    previous text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (machine, entity)
) WITH (fillfactor = 80);
COMMENT ON TABLE once.machine_entity IS 'where each entity stands; version counts its transitions';

CREATE TABLE once.machine_history (
    machine text COLLATE "C" NOT NULL,
    entity text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    event text NOT NULL,
    event_id text,
    from_state text NOT NULL,
    to_state text NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by name NOT NULL,
    PRIMARY KEY (machine, entity, version)
);
COMMENT ON TABLE once.machine_history IS 'every transition of the machines whose history is kept (once.machine_history_set); kept until an operator truncates it';

SELECT pg_catalog.pg_extension_config_dump('once.machine', '');
SELECT pg_catalog.pg_extension_config_dump('once.machine_transition', '');
SELECT pg_catalog.pg_extension_config_dump('once.machine_entity', '');
SELECT pg_catalog.pg_extension_config_dump('once.machine_history', '');
