-- The end of a batch. The snapshot first, then everything that it sees made durable, here and on the synchronous
-- standbys: otherwise an event could be shipped whose transaction a crash or failover takes back.
CREATE OR REPLACE FUNCTION once.cut(lane int, OUT snapshot pg_snapshot, OUT lsn pg_lsn, OUT timeline int, OUT seq bigint)
    LANGUAGE c VOLATILE PARALLEL UNSAFE SET synchronous_commit = on AS 'MODULE_PATHNAME', 'once_cut';
COMMENT ON FUNCTION once.cut(int) IS 'a fresh snapshot, all of which is durable up to lsn; events of transactions from xmax(snapshot) on have higher numbers than seq; 25006 on a standby, 57014 when the wait for standbys was cancelled';
