-- The rules that every object of the extension keeps, read from the catalog: no list to forget one in.
SELECT plan(12);

CREATE TEMP VIEW own_function AS
    SELECT p.* FROM pg_proc p
    WHERE p.pronamespace = 'once'::regnamespace;
CREATE TEMP VIEW own_relation AS
    SELECT c.* FROM pg_class c WHERE c.relnamespace = 'once'::regnamespace AND c.relkind IN ('r', 'v', 'S', 'p', 'm');

SELECT cmp_ok((SELECT count(*) FROM own_function), '>', 20::bigint, 'the rules are asked of functions that are there');

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM own_function p JOIN pg_language l ON l.oid = p.prolang
    WHERE l.lanname <> 'c' AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)
$$, 'every function that resolves names has search_path = pg_catalog, pg_temp');

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM own_function p JOIN pg_language l ON l.oid = p.prolang
    WHERE l.lanname NOT IN ('c', 'sql', 'plpgsql')
$$, 'no function is in another language than C, SQL and PL/pgSQL');

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM own_function p
    CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0
$$, 'no function is granted to PUBLIC');

SELECT is_empty($$
    SELECT c.oid::regclass FROM own_relation c
    CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner))) a
    WHERE a.grantee = 0
$$, 'no table, view or sequence is granted to PUBLIC');

SELECT is_empty($$
    SELECT t.oid::regtype FROM pg_type t
    CROSS JOIN LATERAL aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
    WHERE t.typnamespace = 'once'::regnamespace AND t.typtype IN ('e', 'd') AND a.grantee = 0
$$, 'no enum or domain is granted to PUBLIC');

SELECT is_empty($$
    SELECT nspname FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    WHERE nspname = 'once' AND a.grantee = 0
$$, 'the schema is not granted to PUBLIC');

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM own_function p WHERE obj_description(p.oid, 'pg_proc') IS NULL
$$, 'every function has a comment');

SELECT is_empty($$
    SELECT c.oid::regclass FROM own_relation c WHERE obj_description(c.oid, 'pg_class') IS NULL
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i' AND c.relkind = 'S')
$$, 'every table, view and sequence has a comment');

SELECT is_empty($$
    SELECT x.name FROM (
        SELECT p.oid::regprocedure::text AS name, 'pg_proc'::regclass AS classid, p.oid FROM own_function p
        UNION ALL SELECT c.oid::regclass::text, 'pg_class', c.oid FROM own_relation c) x
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = x.classid AND d.objid = x.oid AND d.deptype = 'e')
$$, 'everything in the schema belongs to the extension');

SELECT is_empty($$
    SELECT p.oid::regprocedure FROM own_function p WHERE p.prosecdef AND p.proname = ANY
        (SELECT proname FROM own_function WHERE obj_description(oid, 'pg_proc') LIKE 'internal:%' AND proacl IS NULL)
$$, 'no internal function with the rights of the owner is open');

SELECT is_empty($$
    SELECT r.kind, r.object FROM once.role_right r
    WHERE NOT EXISTS (SELECT FROM own_function p WHERE p.proname = r.object AND r.privilege = 'EXECUTE')
      AND NOT EXISTS (SELECT FROM own_relation c WHERE c.relname = r.object AND r.privilege = 'SELECT')
$$, 'every right that a role gets names an object that is there');

SELECT finish();
