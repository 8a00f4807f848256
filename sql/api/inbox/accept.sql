-- An argument that a driver leaves untyped is a text, and a text that spells a uuid or a number is that one.
CREATE OR REPLACE FUNCTION once.accept(consumer text, id text, sent_at timestamptz DEFAULT NULL) RETURNS once.verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_accept_text';
COMMENT ON FUNCTION once.accept(text, text, timestamptz) IS 'new, duplicate or too_old, in the transaction of the effect. What denotes the same id is the same id in every type and spelling. sent_at: when the id was made, for consumers that reject older ones; a uuid v7 says so itself. READ COMMITTED: waits for a transaction that accepts the same id. REPEATABLE READ and SERIALIZABLE: 40001 where it was accepted after the snapshot. 25006 when read only, ON010 invalid consumer or id, 22023 a time further ahead than ids are kept, 22004 null';

CREATE OR REPLACE FUNCTION once.accept(consumer text, id uuid, sent_at timestamptz DEFAULT NULL) RETURNS once.verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_accept_uuid';
COMMENT ON FUNCTION once.accept(text, uuid, timestamptz) IS 'new, duplicate or too_old, in the transaction of the effect. What denotes the same id is the same id in every type and spelling. sent_at: when the id was made, for consumers that reject older ones; a uuid v7 says so itself. READ COMMITTED: waits for a transaction that accepts the same id. REPEATABLE READ and SERIALIZABLE: 40001 where it was accepted after the snapshot. 25006 when read only, ON010 invalid consumer or id, 22023 a time further ahead than ids are kept, 22004 null';

CREATE OR REPLACE FUNCTION once.accept(consumer text, id bigint, sent_at timestamptz DEFAULT NULL) RETURNS once.verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_accept_bigint';
COMMENT ON FUNCTION once.accept(text, bigint, timestamptz) IS 'new, duplicate or too_old, in the transaction of the effect. What denotes the same id is the same id in every type and spelling. sent_at: when the id was made, for consumers that reject older ones; a uuid v7 says so itself. READ COMMITTED: waits for a transaction that accepts the same id. REPEATABLE READ and SERIALIZABLE: 40001 where it was accepted after the snapshot. 25006 when read only, ON010 invalid consumer or id, 22023 a time further ahead than ids are kept, 22004 null';

CREATE OR REPLACE FUNCTION once.accept(consumer text, id bytea, sent_at timestamptz DEFAULT NULL) RETURNS once.verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_accept_bytea';
COMMENT ON FUNCTION once.accept(text, bytea, timestamptz) IS 'new, duplicate or too_old, in the transaction of the effect. What denotes the same id is the same id in every type and spelling. sent_at: when the id was made, for consumers that reject older ones; a uuid v7 says so itself. READ COMMITTED: waits for a transaction that accepts the same id. REPEATABLE READ and SERIALIZABLE: 40001 where it was accepted after the snapshot. 25006 when read only, ON010 invalid consumer or id, 22023 a time further ahead than ids are kept, 22004 null';

CREATE OR REPLACE FUNCTION once.accept_event(consumer text, id text DEFAULT NULL, id_bytes bytea DEFAULT NULL, sent_at timestamptz DEFAULT NULL)
    RETURNS once.verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_accept_event';
COMMENT ON FUNCTION once.accept_event(text, text, bytea, timestamptz) IS 'as once.accept, without any overload, for callers that know parameters by name only: id (a uuid or a number as text, too) or id_bytes; 22023 for both, 22004 for none';

CREATE OR REPLACE FUNCTION once.accept_many(consumer text, ids text[], sent_at timestamptz[] DEFAULT NULL)
    RETURNS TABLE (ordinal int, verdict once.verdict)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'once_accept_many_text';
COMMENT ON FUNCTION once.accept_many(text, text[], timestamptz[]) IS 'verdict for each id, ordinals from 1 in input order; a repeat inside is a duplicate; works in the order of the ids, so overlapping batches do not deadlock. Isolation and errors as for once.accept';

CREATE OR REPLACE FUNCTION once.accept_many_uuid(consumer text, ids uuid[], sent_at timestamptz[] DEFAULT NULL)
    RETURNS TABLE (ordinal int, verdict once.verdict)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'once_accept_many_uuid';
COMMENT ON FUNCTION once.accept_many_uuid(text, uuid[], timestamptz[]) IS 'verdict for each id, ordinals from 1 in input order; a repeat inside is a duplicate; works in the order of the ids, so overlapping batches do not deadlock. Isolation and errors as for once.accept';

CREATE OR REPLACE FUNCTION once.accept_many_bigint(consumer text, ids bigint[], sent_at timestamptz[] DEFAULT NULL)
    RETURNS TABLE (ordinal int, verdict once.verdict)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'once_accept_many_bigint';
COMMENT ON FUNCTION once.accept_many_bigint(text, bigint[], timestamptz[]) IS 'verdict for each id, ordinals from 1 in input order; a repeat inside is a duplicate; works in the order of the ids, so overlapping batches do not deadlock. Isolation and errors as for once.accept';
