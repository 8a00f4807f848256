-- Names in the script itself (defaults, CHECK constraints) are the server's, whatever schema the extension is put into.
SET LOCAL search_path = pg_catalog, pg_temp;
-- Whoever creates or updates the extension may have other defaults: rows are written past the executor, as those of heap.
SET LOCAL default_tablespace = '';
SET LOCAL default_table_access_method = heap;

-- The schema belongs to the extension; nobody but its owner creates objects in it.
SELECT pg_catalog.set_config('pg_once_upgrade.before', '', true); -- nothing: api/revoke.sql
CREATE SCHEMA once;
COMMENT ON SCHEMA once IS 'pg_once: exactly-once messaging between PostgreSQL and Kafka';
