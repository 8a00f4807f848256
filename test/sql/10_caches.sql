-- What a session remembers of our tables must not outlive them: each family is called, the tables change under the
-- session (made again, rewritten, cut short, truncated), and it is called again.
SELECT plan(25);

CREATE FUNCTION pg_temp.call_all() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    call text;
BEGIN
    PERFORM once.machine_set('m', 'a', '[{"from": "a", "event": "go", "to": "b"}, {"from": "b", "event": "go", "to": "a"}]');
    FOREACH call IN ARRAY ARRAY[
        'once.publish_text(''t'', ''x'', key => ''k'')', 'once.publish_text(''t'', ''x'', dedup_key => gen_random_uuid()::text)',
        'once.publish_text(''t'', ''x'', deliver_at => now() + interval ''1 h'')', 'once.publish_many_text(''t'', ARRAY[''x'', ''y''])',
        'once.accept(''numbers'', (random() * 1e9)::bigint)', 'once.inbox_put(''texts'', gen_random_uuid()::text, ''x'')',
        'once.accept_position(''numbers'', ''s'', 1)', 'once.accept_window(''numbers'', ''s'', 1)', 'once.accept_offset(''g'', ''t'', 0, 0, 1)',
        'once.claim(''s'', gen_random_uuid()::text)', 'once.transition(''m'', ''e'', ''go'')', 'once.lease(''l'', ''o'', ''1 min'')',
        'once.key_next(''p'')', 'once.redeem_token(''s'', once.issue_token(''s'', ''1 min''))'] LOOP
        BEGIN
            EXECUTE 'SELECT ' || call;
        EXCEPTION WHEN OTHERS THEN
            RETURN NEXT call || ': ' || SQLSTATE || ' ' || SQLERRM;
        END;
    END LOOP;
END $$;
PREPARE publish AS SELECT once.publish_text('t', $1::text, key => $1);

SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'every family answers');
SELECT lives_ok('EXECUTE publish(''x'')', 'and so does a prepared statement');

SET once.drop_unshipped = on;
DROP EXTENSION pg_once CASCADE;
SELECT throws_ok('EXECUTE publish(''x'')', '3F000', NULL, 'gone is gone');
CREATE EXTENSION pg_once;
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'the extension was made again');
SELECT lives_ok('EXECUTE publish(''x'')', 'and a prepared statement finds the new tables');
SELECT is((SELECT count(*) FROM once.event_0), 5::bigint, 'where all events are');

SET once.drop_unshipped = on;
DROP EXTENSION pg_once CASCADE;
CREATE EXTENSION pg_once;
SELECT once.set_lanes(3, 4, 100) \g /dev/null
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'made again with other lanes');
SELECT lives_ok('EXECUTE publish(''x'')', 'a prepared statement follows');
SELECT is((SELECT sum(backlog) FROM once.status()), 5::numeric, 'all events are in some lane');

-- The row of a consumer wanders to a later page, is remembered there, and the table is cut short.
SELECT count(once.consumer_set('numbers', keep => make_interval(days => 3 + n % 2))) FROM generate_series(1, 200) n \g /dev/null
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'a consumer that was changed often');
SELECT cmp_ok((SELECT max((ctid::text::point)[0])::int FROM once.consumer_state), '>', 0, 'its row is not on the first page');
VACUUM FULL once.consumer_state;
VACUUM FULL once.ring;
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'the table of consumers became shorter');

VACUUM FULL once.event_0_0;
VACUUM FULL once.event_1_0;
VACUUM FULL once.event_2_0;
REINDEX TABLE once.event_0_0;
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'event tables were rewritten');
SET enable_seqscan = off;
SELECT is((SELECT count(*) FROM once.event_0 WHERE seq > 0) + (SELECT count(*) FROM once.event_1 WHERE seq > 0)
        + (SELECT count(*) FROM once.event_2 WHERE seq > 0), 17::bigint, 'their indexes have every event');
RESET enable_seqscan;
TRUNCATE once.event_0_0, once.event_1_0, once.event_2_0;
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'event tables were truncated');
SELECT cmp_ok(once.rotate(), '>', 0, 'lanes that hold something move on');
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'to their next tables');
SELECT once.rearm(lane, 'all') FROM generate_series(0, 2) lane \g /dev/null
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'lanes were rearmed');
REINDEX SCHEMA CONCURRENTLY once;
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'every index was replaced by another one');

-- An index that somebody added is written too; without one of its own nothing is written that the relay would not find.
SELECT count(*) AS before FROM (SELECT FROM once.event_0 UNION ALL SELECT FROM once.event_1 UNION ALL SELECT FROM once.event_2) e \gset
SELECT format('CREATE UNIQUE INDEX %I ON once.%I (id) WHERE topic <> %L', relname || '_by_id', relname, '') FROM pg_class
    WHERE relnamespace = 'once'::regnamespace AND relkind = 'r' AND relname ~ '^event_\d+_\d+$' \gexec
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'event tables have an index of somebody else''s');
SET enable_seqscan = off;
SELECT is((SELECT count(*) FROM (SELECT id, topic FROM once.event_0 UNION ALL SELECT id, topic FROM once.event_1
                                 UNION ALL SELECT id, topic FROM once.event_2) e
           WHERE id >= '00000000-0000-0000-0000-000000000000' AND topic <> ''), (:before + 4)::bigint, 'which has every event');
RESET enable_seqscan;
BEGIN;
SELECT format('DROP INDEX once.%I', relname) FROM pg_class
    WHERE relnamespace = 'once'::regnamespace AND relkind = 'i' AND relname ~ '^event_\d+_\d+_xid$' \gexec
SELECT throws_ok('EXECUTE publish(''x'')', '55000', NULL, 'event tables without their index (xid, seq)');
ROLLBACK;
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'and with it again');

-- Who follows a table by triggers would miss what is written past the executor.
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
SELECT format('CREATE TRIGGER follow AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION follow()', oid::regclass) FROM pg_class
    WHERE relnamespace = 'once'::regnamespace AND relkind = 'r' AND relname ~ '^(event_\d+|seen_\w+|claim_\w+)_\d$' \gexec
SELECT results_eq($$ SELECT DISTINCT substring(c, '^once\.(\w+)') || ' ' || substring(c, ': (\d{5}) ') FROM pg_temp.call_all() c ORDER BY 1 $$,
    ARRAY['accept 55000', 'claim 55000', 'inbox_put 55000', 'publish_many_text 55000', 'publish_text 55000'], 'tables with triggers are refused');
DROP FUNCTION follow() CASCADE;
SELECT is_empty('SELECT * FROM pg_temp.call_all()', 'and written again without them');
SELECT finish();
