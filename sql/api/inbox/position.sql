CREATE OR REPLACE FUNCTION once.accept_position(consumer text, source text, pos bigint, expected_previous bigint DEFAULT NULL)
    RETURNS once.position_verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_accept_position';
COMMENT ON FUNCTION once.accept_position(text, text, bigint, bigint) IS 'new above the stored position, which it then is; duplicate at or below it; gap, and nothing stored, where expected_previous is another than the stored one (densely numbered sources only). READ COMMITTED: waits for who advances the same source. REPEATABLE READ and SERIALIZABLE: 40001 where somebody advanced it after the snapshot. ON012 negative, ON010 invalid name, 22004 null, 25006 read only';

CREATE OR REPLACE FUNCTION once.accept_positions(consumer text, source text, pos bigint[])
    RETURNS TABLE (ordinal int, verdict once.position_verdict)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'once_accept_positions';
COMMENT ON FUNCTION once.accept_positions(text, text, bigint[]) IS 'verdict for each position, ordinals from 1 in input order: above the stored position new, once each, in whatever order they stand; the row is touched once. Isolation and errors as for once.accept_position';

CREATE OR REPLACE FUNCTION once.accept_window(consumer text, source text, pos bigint) RETURNS once.window_verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_accept_window';
COMMENT ON FUNCTION once.accept_window(text, text, bigint) IS 'for sources that deliver out of order: exact for the highest position seen and the 8,191 below it, too_old further below. ON012 negative or more than 2^40 above the highest. Isolation and other errors as for once.accept_position';
