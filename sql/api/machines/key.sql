CREATE OR REPLACE FUNCTION once.key_next(producer text) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_key_next';
COMMENT ON FUNCTION once.key_next(text) IS
'a number greater than all drawn before in this database, which nobody else gets; a gap means nothing (rollbacks, crashes, other producers)
waits for nobody''s transaction, so a smaller one may commit later: see once.key_next_ordered
the same under every isolation level; standby: 25006';

CREATE OR REPLACE FUNCTION once.key_block(producer text, n int) RETURNS int8range
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_key_block';
COMMENT ON FUNCTION once.key_block(text, int) IS
'n successive numbers as once.key_next draws them, as [first, last + 1)
the same under every isolation level; standby: 25006';

CREATE OR REPLACE FUNCTION once.key_next_ordered(producer text) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_key_next_ordered';
COMMENT ON FUNCTION once.key_next_ordered(text) IS
'as once.key_next, and keys of this producer become visible in their order: who saw n never later sees a smaller new one (if all are drawn by this function)
holds the producer until the transaction ends; other callers wait
the same under every isolation level; standby: 25006';
