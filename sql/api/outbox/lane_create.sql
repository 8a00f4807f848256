-- Makes the tables, the sequence and the view of one lane, as parts of the extension (so that a dump leaves them
-- out: row contents are numbers of this server, which mean nothing elsewhere).
-- No autovacuum: rows are never updated or deleted, children are truncated whole, and a vacuum would only hold
-- back the truncation. (The one against xid wraparound still comes.)
CREATE OR REPLACE FUNCTION once.lane_create(lane int, children int, generation_rows bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child text;
    branches text[] := '{}';
    made regclass;
BEGIN
    INSERT INTO once.lane (lane, children, generation_rows)
        VALUES (lane_create.lane, lane_create.children, lane_create.generation_rows);
    EXECUTE format('CREATE SEQUENCE once.%I AS bigint START 1 CACHE 1 NO CYCLE', 'event_' || lane || '_seq');
    EXECUTE format('COMMENT ON SEQUENCE once.%I IS %L', 'event_' || lane || '_seq', 'order of the events of lane ' || lane);
    PERFORM once.member_add('SEQUENCE', 'event_' || lane || '_seq');
    FOR k IN 0 .. children - 1 LOOP
        child := format('event_%s_%s', lane, k);
        EXECUTE format('CREATE TABLE once.%I ('
            'xid xid8 NOT NULL, seq bigint NOT NULL, time timestamptz NOT NULL, id uuid NOT NULL, partition int, form "char" NOT NULL, '
            'topic text NOT NULL, key bytea, payload bytea, headers bytea, '
            'CONSTRAINT %I PRIMARY KEY (seq)) USING heap '
            'WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off)', child, child || '_seq');
        EXECUTE format('CREATE INDEX %I ON once.%I (xid, seq)', child || '_xid', child);
        EXECUTE format('COMMENT ON TABLE once.%I IS %L', child,
                       'events of lane ' || lane || '; written by once.publish alone, emptied whole by once.trim');
        PERFORM once.member_add('TABLE', child);
        branches := branches || format('SELECT xid, seq, id, topic, key, payload, headers, partition, time, form FROM once.%I', child);
    END LOOP;
    EXECUTE format('CREATE VIEW once.%I AS %s', 'event_' || lane, array_to_string(branches, ' UNION ALL '));
    EXECUTE format('COMMENT ON VIEW once.%I IS %L', 'event_' || lane, 'all events of lane ' || lane || ' that are not trimmed');
    PERFORM once.member_add('VIEW', 'event_' || lane);
    PERFORM once.lane_grant(lane);
END $$;
COMMENT ON FUNCTION once.lane_create(int, int, bigint) IS 'internal: makes a lane with its tables; called by the install script and by once.set_lanes';
