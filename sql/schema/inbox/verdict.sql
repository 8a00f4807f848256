-- Verdicts of the receiving functions, a type for each family. A duplicate is a value, never an error.
CREATE TYPE once.verdict AS ENUM ('new', 'duplicate', 'too_old');
COMMENT ON TYPE once.verdict IS 'answer of once.accept, once.accept_many and once.inbox_put';
CREATE TYPE once.position_verdict AS ENUM ('new', 'duplicate', 'gap');
COMMENT ON TYPE once.position_verdict IS 'answer of once.accept_position and once.accept_positions';
CREATE TYPE once.window_verdict AS ENUM ('new', 'duplicate', 'too_old');
COMMENT ON TYPE once.window_verdict IS 'answer of once.accept_window';
CREATE TYPE once.offset_verdict AS ENUM ('new', 'duplicate', 'fenced');
COMMENT ON TYPE once.offset_verdict IS 'answer of once.accept_offset';
