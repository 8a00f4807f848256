-- Role × object × right, from the catalog, against what was reviewed last: rights.txt. A line that is missing or
-- new fails; `make rights` writes the file anew, and its difference is what a reviewer reads.
SELECT plan(6);
\ir rights.psql
CREATE TEMP TABLE reviewed (line text);
\copy reviewed FROM 'rights.txt'

SELECT cmp_ok((SELECT count(*) FROM reviewed), '>', 100::bigint, 'there is something to compare');
SELECT is_empty('SELECT line FROM right_line EXCEPT SELECT line FROM reviewed ORDER BY 1', 'no right that nobody has reviewed');
SELECT is_empty('SELECT line FROM reviewed EXCEPT SELECT line FROM right_line ORDER BY 1', 'no right is gone');
SELECT is_empty($$SELECT line FROM right_line WHERE line ~ 'GRANT OPTION|CREATE|INSERT|UPDATE|DELETE|TRUNCATE|REFERENCES|TRIGGER'$$,
                'whatever the file says: nobody writes a table, makes an object or passes a right on');
SELECT is_empty($$SELECT line FROM right_line WHERE line ~ 'nothing' AND line !~ '^type'$$, 'nor has one who was granted nothing');
-- Whoever owned a table or a definer function alone could use it to act as our owner.
SELECT is((SELECT count(DISTINCT owner) FROM (SELECT proowner AS owner FROM pg_proc WHERE pronamespace = 'once'::regnamespace
           UNION ALL SELECT relowner FROM pg_class WHERE relnamespace = 'once'::regnamespace
           UNION ALL SELECT nspowner FROM pg_namespace WHERE nspname = 'once') o), 1::bigint, 'one owner owns everything');
SELECT * FROM finish();
SELECT format('DROP OWNED BY %I', rolname) FROM pg_roles WHERE rolname LIKE 'once\_r\_%' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname LIKE 'once\_r\_%' \gexec
