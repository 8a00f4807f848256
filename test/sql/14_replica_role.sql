-- BE7: restores, migration tools and apply workers work with session_replication_role = replica, where ordinary triggers do not fire.
-- What a change of our tables must bring about it brings about there too.
SELECT plan(8);
SELECT is_empty($$SELECT tgrelid::regclass, tgname FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
    WHERE relnamespace = 'once'::regnamespace AND NOT tgisinternal AND tgenabled <> 'A'$$, 'BE7 every trigger of ours fires always');
SELECT cmp_ok((SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'once'::regnamespace AND NOT tgisinternal),
    '>', 4::bigint, 'BE7 there are some');

CREATE ROLE once_r_consumer;
SELECT once.grant_consumer('once_r_consumer') \g /dev/null
SET once.strict_topics = on;
SELECT once.topic_set('t') \g /dev/null
SELECT once.machine_set('m', 'a', '[{"from": "a", "event": "go", "to": "b"}]') \g /dev/null
SELECT once.scope_set('s') \g /dev/null
-- Sessions remember: this one does from here on.
SELECT lives_ok($$SELECT once.publish('t', '1'::jsonb), once.transition('m', 'e', 'go'), once.claim('s', 'k')$$, 'BE7 all is known to the session');
SET ROLE once_r_consumer;
SELECT lives_ok($$SELECT once.claim('s', 'k2')$$, 'BE7 whoever may receive may claim in an open scope');
RESET ROLE;

SET session_replication_role = replica;
SELECT once.topic_drop('t') \g /dev/null
SELECT once.machine_set('m', 'x', '[{"from": "a", "event": "go", "to": "b"}, {"from": "x", "event": "other", "to": "y"}]') \g /dev/null
SELECT once.scope_grant('s', 'pg_monitor') \g /dev/null
SELECT throws_ok($$SELECT once.publish('t', '1'::jsonb)$$, 'ON001', NULL, 'BE7 a topic that was dropped is not known any more');
SELECT is((once.transition('m', 'new', 'other')).verdict::text, 'moved', 'BE7 a machine that was changed is known as it is');
SET ROLE once_r_consumer;
SELECT throws_ok($$SELECT once.claim('s', 'k3')$$, '42501', NULL, 'BE7 a scope that was closed is closed');
RESET ROLE;
SET once.drop_unshipped = on;
DROP EXTENSION pg_once CASCADE;
CREATE EXTENSION pg_once;
INSERT INTO once.lane_setting (lanes, children, generation_rows) VALUES (3, 4, 1000);
SELECT is((SELECT count(*) FROM once.lane), 3::bigint, 'BE7 restored settings make the lanes');
RESET session_replication_role;
SELECT * FROM finish();
DROP OWNED BY once_r_consumer;
DROP ROLE once_r_consumer;
