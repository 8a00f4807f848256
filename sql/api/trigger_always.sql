-- Our triggers carry correctness: what sessions remember is forgotten by them, and lanes are made. An ordinary trigger does
-- not fire in a session with session_replication_role = replica (restores, migration tools, apply workers). Behind all
-- that make one, because CREATE OR REPLACE TRIGGER makes it an ordinary one again.
DO $$
DECLARE
    ordinary record;
BEGIN
    FOR ordinary IN SELECT t.tgrelid::regclass AS on_table, t.tgname AS name
                    FROM pg_catalog.pg_trigger t
                    JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid AND c.relnamespace = 'once'::regnamespace
                    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid AND p.pronamespace = 'once'::regnamespace
                    WHERE NOT t.tgisinternal AND t.tgenabled <> 'A' ORDER BY 1, 2 LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', ordinary.on_table, ordinary.name);
    END LOOP;
END $$;
