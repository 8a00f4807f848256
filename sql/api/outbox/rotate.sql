-- Numbers are drawn, never set: setval would give a number twice under publishers.
CREATE OR REPLACE FUNCTION once.rotate_lane(lane int, OUT drawn_from bigint, OUT drawn_to bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_rotate_lane';
COMMENT ON FUNCTION once.rotate_lane(int) IS 'internal: draws numbers up to the end of the generation; nulls when the child that is being written is empty';

CREATE OR REPLACE FUNCTION once.rotate(lane int DEFAULT NULL) RETURNS int
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    each int;
    drawn record;
    rotated int := 0;
BEGIN
    IF lane IS NOT NULL THEN
        PERFORM once.lane_assert(lane);
    END IF;
    FOR each IN SELECT l.lane FROM once.lane l WHERE rotate.lane IS NULL OR l.lane = rotate.lane ORDER BY 1 LOOP
        SELECT * INTO drawn FROM once.rotate_lane(each);
        CONTINUE WHEN drawn.drawn_to IS NULL;
        rotated := rotated + 1;
        INSERT INTO once.relay_report AS r (lane, rotated_from, rotated_to) VALUES (each, drawn.drawn_from, drawn.drawn_to)
            ON CONFLICT ON CONSTRAINT relay_report_pkey DO UPDATE
            SET rotated_from = EXCLUDED.rotated_from, rotated_to = EXCLUDED.rotated_to;
    END LOOP;
    RETURN rotated;
END $$;
COMMENT ON FUNCTION once.rotate(int) IS 'moves a lane (null: all) on to its next child table, so that the present one can be trimmed although the database is quiet; returns how many lanes moved';
