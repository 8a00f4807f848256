CREATE OR REPLACE FUNCTION once.bump(relation regclass, id text, expected bigint, key_column name DEFAULT 'id',
        version_column name DEFAULT 'version', OUT verdict once.bump_verdict, OUT version bigint)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key_type text;
    touched bigint;
BEGIN
    IF relation IS NULL OR id IS NULL OR expected IS NULL OR key_column IS NULL OR version_column IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'arguments of bump must not be null';
    END IF;
    -- Without its length: varchar(3) would cut 'abcd' to 'abc'.
    SELECT format_type(a.atttypid, -1) INTO key_type FROM pg_attribute AS a
        WHERE a.attrelid = relation AND a.attname = key_column AND a.attnum > 0 AND NOT a.attisdropped;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '42703',
            MESSAGE = format('column "%s" of relation "%s" does not exist', key_column, relation);
    END IF;
    FOR attempt IN 1 .. 100 LOOP
        EXECUTE format('UPDATE %1$s AS t SET %2$I = t.%2$I + 1 WHERE t.%3$I = $1::%4$s AND t.%2$I = $2 RETURNING t.%2$I',
                       relation, version_column, key_column, key_type) INTO version USING id, expected;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched > 1 THEN
            RAISE EXCEPTION USING ERRCODE = '21000', MESSAGE = format('column "%s" of relation "%s" is not unique', key_column, relation);
        ELSIF touched = 1 THEN
            verdict := 'ok';
            RETURN;
        END IF;
        EXECUTE format('SELECT t.%2$I FROM %1$s AS t WHERE t.%3$I = $1::%4$s', relation, version_column, key_column, key_type)
            INTO version USING id;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched = 0 THEN
            verdict := 'missing';
            RETURN;
        ELSIF version IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = format('column "%s" of relation "%s" is null', version_column, relation);
        ELSIF version <> expected THEN
            verdict := CASE WHEN version > expected THEN 'stale' ELSE 'ahead' END;
            RETURN;
        END IF; -- it came to the expected version in between: try again
    END LOOP;
    RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'could not bump version: too many concurrent updates';
END $$;
COMMENT ON FUNCTION once.bump(regclass, text, bigint, name, name) IS
'optimistic lock: adds 1 to the version of the row with this key if it is the expected one, in the UPDATE itself
ok: version is the new one · stale: the row is further · ahead: the row has not come that far · missing: no such row; else nothing is written
runs with the caller''s rights; waits for a transaction that changed the row
READ COMMITTED: decides on what is committed; REPEATABLE READ, SERIALIZABLE: 40001 when the row changed after the snapshot; standby: 25006';
