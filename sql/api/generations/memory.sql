-- What is kept where, how large it is and when it goes. A function, because what a ring waits for is for its owner to see.
CREATE OR REPLACE FUNCTION once.memory_rows() RETURNS TABLE (ring text, slot int, serial bigint, state text, bytes bigint, estimated_rows bigint,
        opened_at timestamptz, closed_at timestamptz, next_step text, next_at timestamptz, waits_for int)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER ROWS 64 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    span interval;
    r once.ring;
    opened bigint;
    oldest bigint;
    gone bigint;
BEGIN
    FOR ring, span IN SELECT k.ring, k.span FROM once.rings() AS k LOOP
        SELECT * INTO r FROM once.ring AS o WHERE o.name = ring;
        opened := coalesce(r.open, 4);
        oldest := coalesce(r.oldest, 4);
        gone := coalesce(r.gone, 4);
        FOR n IN 0..3 LOOP
            slot := n;
            serial := opened - (opened - slot) % 4;
            state := CASE WHEN serial = opened THEN 'open' WHEN r.closing AND serial = opened - 1 THEN 'closing'
                          WHEN serial >= oldest THEN 'read_only' WHEN serial >= gone THEN 'retired' ELSE 'free' END;
            bytes := pg_total_relation_size(format('once.%I', ring || '_' || slot)::regclass);
            estimated_rows := (SELECT CASE WHEN once.ring_empty(c.oid) THEN 0
                                           WHEN c.relpages > 0 THEN c.reltuples / c.relpages * (pg_relation_size(c.oid) / 8192)
                                           ELSE pg_relation_size(c.oid) / 52 END
                               FROM pg_class AS c WHERE c.oid = format('once.%I', ring || '_' || slot)::regclass);
            opened_at := CASE WHEN serial = opened THEN r.opened_at
                              WHEN state <> 'free' THEN (SELECT g.opened_at FROM once.generation AS g WHERE g.ring = memory_rows.ring AND g.serial = memory_rows.serial) END;
            closed_at := CASE WHEN state IN ('read_only', 'retired') THEN r.closed_at[slot + 1] END;
            next_step := CASE state WHEN 'open' THEN 'closing' WHEN 'closing' THEN 'read_only' WHEN 'read_only' THEN 'retired'
                                    WHEN 'retired' THEN 'truncated' END;
            next_at := CASE state WHEN 'open' THEN now() + span / 2 - r.open_for - once.ring_passed(r)
                                  WHEN 'read_only' THEN now() + span - r.closed_for[slot + 1] - once.ring_passed(r) END;
            waits_for := CASE WHEN state IN ('closing', 'retired') THEN
                (SELECT a.pid FROM pg_stat_activity AS a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
                        AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
                 ORDER BY greatest(age(a.backend_xmin), age(a.backend_xid)) DESC NULLS LAST LIMIT 1) END;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION once.memory_rows() IS 'internal: what once.memory shows';

CREATE OR REPLACE VIEW once.memory AS SELECT * FROM once.memory_rows();
COMMENT ON VIEW once.memory IS 'rings of what is remembered for a time: each generation, its state and size, and when the next thing happens to it';
COMMENT ON COLUMN once.memory.ring IS 'seen_<class>: ids of consumers; claim_<class>: claims; publish_key: dedup keys; machine_event: event ids of state machines; token: tokens; ahead: times that senders told from the future';
COMMENT ON COLUMN once.memory.slot IS 'its table is once.<ring>_<slot>';
COMMENT ON COLUMN once.memory.serial IS 'number of the generation, never used again';
COMMENT ON COLUMN once.memory.state IS 'open: takes what is new; closing: still takes what old transactions write; read_only: looked into; retired: forgotten, to be truncated; free';
COMMENT ON COLUMN once.memory.bytes IS 'with its indexes';
COMMENT ON COLUMN once.memory.next_at IS 'when its next step is due if nothing holds it back; null: when nothing older runs any more';
COMMENT ON COLUMN once.memory.waits_for IS 'the session (pid) with the oldest transaction or snapshot, which a closing or retired generation waits for; a prepared transaction has none';
