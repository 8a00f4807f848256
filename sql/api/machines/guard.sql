CREATE OR REPLACE FUNCTION once.guard() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_guard';
COMMENT ON FUNCTION once.guard() IS
'trigger function for state columns: CREATE TRIGGER ... BEFORE INSERT OR UPDATE ON ... FOR EACH ROW EXECUTE FUNCTION once.guard(machine, column)
raises ON030 when a new row is not in the initial state, or an update goes where no declared transition of the present state leads; rows whose state stays are left alone
an AFTER trigger judges what other BEFORE triggers made of the row, and lets an INSERT ... ON CONFLICT DO UPDATE propose another state than the initial one
partitioned tables and partitions: BEFORE only (39P01), for UPDATE without WHEN and OF, so that a row which moves to another partition is known by what it was; ON031 unknown machine, 42703 unknown column, 39P01 declared in another way
the same under every isolation level: the newest definition counts';
