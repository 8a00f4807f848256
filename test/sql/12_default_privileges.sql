-- BE2: default privileges of every kind, for roles, for PUBLIC, with grant options, and taken from the owner himself: what is installed
-- and what is made later has the rights of rights.txt and no other.
SELECT plan(9);
CREATE ROLE once_hostile;
DROP EXTENSION pg_once;

ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO once_hostile WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO once_hostile WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO once_hostile WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO once_hostile WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO once_hostile WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM CURRENT_USER;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM CURRENT_USER;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM CURRENT_USER;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM CURRENT_USER;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM CURRENT_USER;
CREATE EXTENSION pg_once;
\ir rights.psql
CREATE TEMP TABLE reviewed (line text);
\copy reviewed FROM 'rights.txt'

SELECT is_empty('SELECT line FROM right_line EXCEPT SELECT line FROM reviewed ORDER BY 1', 'BE2 no right that nobody has reviewed');
SELECT is_empty('SELECT line FROM reviewed EXCEPT SELECT line FROM right_line ORDER BY 1', 'BE2 no right is gone');

-- Whatever kind of object there is, whoever the grantee: everything that an access list names is the owner or was granted by once.grant_*.
CREATE TEMP VIEW listed AS
    SELECT 'pg_class'::regclass AS class, oid, relname::text AS name, relowner AS owner, relacl AS acl FROM pg_class WHERE relnamespace = 'once'::regnamespace
    UNION ALL SELECT 'pg_proc', oid, proname, proowner, proacl FROM pg_proc WHERE pronamespace = 'once'::regnamespace
    UNION ALL SELECT 'pg_type', oid, typname, typowner, typacl FROM pg_type WHERE typnamespace = 'once'::regnamespace
    UNION ALL SELECT 'pg_namespace', oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = 'once';
SELECT is_empty($$SELECT class, name, acl FROM listed, aclexplode(acl) a WHERE a.grantee = 'once_hostile'::regrole OR a.is_grantable AND a.grantee <> owner$$,
    'BE2 a role that default privileges name has nothing');
SELECT is_empty($$SELECT class, name, acl FROM listed, aclexplode(acl) a WHERE a.grantee = 0 AND NOT (class = 'pg_type'::regclass AND a.privilege_type = 'USAGE')$$,
    'BE2 nor has PUBLIC, but for row types');
SELECT is_empty($$SELECT class, name FROM listed l WHERE acl IS NOT NULL AND class <> 'pg_type'::regclass AND NOT EXISTS (
    SELECT FROM aclexplode(acl) a WHERE a.grantee = owner)$$, 'BE2 the owner has what is his');
SELECT is_empty($$SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'once'::regnamespace AND attacl IS NOT NULL$$,
    'BE2 no column has a list of its own');

-- What is made later, by each function that makes something.
SELECT once.publish('t', '1'::jsonb, dedup_key => 'k'), once.accept('made', 1::bigint), once.claim('other', 'k'), once.claim('s', 'k2') \g /dev/null
SELECT once.consumer_set('third') \g /dev/null
SELECT once.scope_set('fourth') \g /dev/null
SELECT is_empty($$SELECT class, name, acl FROM listed, aclexplode(acl) a WHERE a.grantee = 'once_hostile'::regrole OR a.is_grantable AND a.grantee <> owner
    OR a.grantee = 0 AND class <> 'pg_type'::regclass$$, 'BE2 nor on what is made at run time');
SET ROLE once_hostile;
SELECT throws_ok($$SELECT once.grant_admin('once_hostile')$$, '42501', NULL, 'BE2 it cannot make itself an administrator');
SELECT throws_ok('SELECT * FROM once.event_0', '42501', NULL, 'BE2 nor read what is published');
RESET ROLE;
DROP OWNED BY once_hostile;
SELECT * FROM finish();
SELECT format('DROP OWNED BY %I', rolname) FROM pg_roles WHERE rolname LIKE 'once\_r\_%' OR rolname = 'once_hostile' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname LIKE 'once\_r\_%' OR rolname = 'once_hostile' \gexec
