-- A C function that only the new library has, a function in SQL, and rights for both.
CREATE OR REPLACE FUNCTION once.dummy() RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_dummy_2';
COMMENT ON FUNCTION once.dummy() IS 'internal: of a release that does not exist';
CREATE OR REPLACE VIEW once.dummies AS SELECT id, note FROM once.dummy;
COMMENT ON VIEW once.dummies IS 'of a release that does not exist';
INSERT INTO once.role_right (kind, privilege, object) VALUES ('publisher', 'EXECUTE', 'dummy'), ('admin', 'SELECT', 'dummies');
