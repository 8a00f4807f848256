-- Waits for new work without NOTIFY, which would cost every commit.
CREATE OR REPLACE FUNCTION once.wait(lane int, after pg_snapshot, timeout_ms int) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_wait';
COMMENT ON FUNCTION once.wait(int, pg_snapshot, int) IS 'true as soon as the lane has an event that is visible now and was not in `after`, false after timeout_ms; ask for a second at a time';
