CREATE OR REPLACE FUNCTION once.bump(relation regclass, id text, expected bigint, key_column name DEFAULT 'id',
        version_column name DEFAULT 'version', OUT verdict once.bump_verdict, OUT version bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_bump';
COMMENT ON FUNCTION once.bump(regclass, text, bigint, name, name) IS
'optimistic lock: adds 1 to the version of the row with this key if it is the expected one, in the UPDATE itself
ok: version is the new one; stale: the row is further; ahead: the row has not come that far; missing: no such row; else nothing is written
keys are equal as the unique index of key_column says; triggers of the table run as under an UPDATE of the caller''s own, with his search_path
runs with the caller''s rights; waits for a transaction that changed the row
READ COMMITTED: decides on what is committed; REPEATABLE READ, SERIALIZABLE: 40001 when the row changed after the snapshot; standby: 25006';
