-- The delta of a release that does not exist: a column more in every table that sessions with the old library go on
-- writing and reading, a new table, a type with a value more, a column more for a row type.
DO $$
DECLARE
    relation record;
BEGIN
    FOR relation IN SELECT c.oid::regclass AS name, c.relkind FROM pg_catalog.pg_class c
                    WHERE c.relnamespace = 'once'::regnamespace AND c.relkind = 'r' ORDER BY 1 LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s ADD COLUMN dummy bigint, ADD COLUMN dummy_note text', relation.name);
    END LOOP;
END $$;
ALTER TYPE once.message ADD ATTRIBUTE dummy text;
CREATE TABLE once.dummy (id int PRIMARY KEY, note text);
COMMENT ON TABLE once.dummy IS 'of a release that does not exist';
SELECT pg_catalog.pg_extension_config_dump('once.dummy', '');
