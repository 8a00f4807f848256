-- DROP EXTENSION takes the outbox along: refused while events wait in it, unless asked for. And the extension hangs on no schema of the user's.
CREATE SCHEMA tap;
ALTER EXTENSION pgtap SET SCHEMA tap;
SET search_path = tap, public;
SELECT plan(11);
SELECT is((SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_once'), 'pg_catalog', 'the extension stands in no schema of the user''s');
SELECT once.publish('t', '1'::jsonb) \g /dev/null
SELECT throws_ok('DROP EXTENSION pg_once', '55006', NULL, 'events wait');
SELECT throws_ok('DROP EXTENSION IF EXISTS pgtap, pg_once CASCADE', '55006', NULL, 'whatever else is dropped with it');
SELECT lives_ok('DROP SCHEMA public CASCADE', 'the schema public goes without it');
CREATE SCHEMA public;
SELECT is((SELECT count(*) FROM once.event_0), 1::bigint, 'and the outbox is there');

SET once.drop_unshipped = on;
SELECT lives_ok('DROP EXTENSION pg_once', 'asked for, they go along');
SELECT is((SELECT count(*) FROM pg_event_trigger WHERE evtname = 'pg_once_drop_guard'), 0::bigint, 'nothing is left that guards');
CREATE EXTENSION pg_once;
RESET once.drop_unshipped;
SELECT once.publish('t', '1'::jsonb, deliver_at => now() + interval '1 day') \g /dev/null
SELECT throws_ok('DROP EXTENSION pg_once', '55006', NULL, 'so do scheduled ones');
DELETE FROM once.scheduled;
CREATE EXTENSION hstore SCHEMA public;
SELECT lives_ok('DROP EXTENSION hstore', 'another extension is none of our business');
SELECT lives_ok('DROP EXTENSION pg_once', 'nothing waits');
SET session_replication_role = replica;
CREATE EXTENSION pg_once;
SELECT once.publish('t', '1'::jsonb) \g /dev/null
SELECT throws_ok('DROP EXTENSION pg_once', '55006', NULL, 'in the replica role, too');
RESET session_replication_role;
SELECT * FROM finish();
