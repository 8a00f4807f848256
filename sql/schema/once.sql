-- The schema belongs to the extension; nobody but its owner creates objects in it.
CREATE SCHEMA once;
COMMENT ON SCHEMA once IS 'pg_once: exactly-once messaging between PostgreSQL and Kafka';
