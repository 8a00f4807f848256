-- BE15: what the server says reaches the caller under its own SQLSTATE, wherever our functions were when it came: a timeout of a
-- statement (57014) or of a lock (55P03) is never one of our answers, and nobody goes on behind it.
SELECT plan(19);
SET client_min_messages = warning;
CREATE EXTENSION dblink;
SELECT dblink_connect('other', format('host=%s port=%s dbname=%s user=postgres', split_part(current_setting('unix_socket_directories'), ',', 1),
    current_setting('port'), current_database())) \g /dev/null

-- Another session has written the row and goes on: each of these waits for it, and not for long.
SELECT once.machine_set('order', 'new', '[{"from": "new", "event": "pay", "to": "paid"}]') \g /dev/null
SELECT dblink_exec('other', 'BEGIN') \g /dev/null
SELECT * FROM dblink('other', $$
    SELECT once.accept('c', 42::bigint)::text, once.accept_position('c', 's', 7)::text, once.accept_window('w', 's', 7)::text,
        once.publish_text('t', 'p', dedup_key => 'd')::text, (once.claim('s', 'k')).verdict::text, (once.lease('l', 'o', '1 h')).verdict::text,
        (once.transition('order', 'e', 'pay')).verdict::text, once.inbox_put('i', 'm', 'x')::text$$)
    t(a text, b text, c text, d text, e text, f text, g text, h text) \g /dev/null
CREATE TABLE waiting (call text);
INSERT INTO waiting VALUES ($$once.accept('c', 42::bigint)$$), ($$count(*) FROM once.accept_many_bigint('c', ARRAY(SELECT generate_series(1, 100)))$$),
    ($$once.accept_position('c', 's', 8)$$), ($$once.accept_window('w', 's', 8)$$), ($$once.publish_text('t', 'p', dedup_key => 'd')$$),
    ($$once.claim('s', 'k')$$), ($$once.lease('l', 'p', '1 h')$$), ($$once.transition('order', 'e', 'pay')$$), ($$once.inbox_put('i', 'm', 'x')$$);
SET lock_timeout = '20 ms';
SELECT throws_ok('SELECT ' || call, '55P03', NULL, 'BE15 lock_timeout: ' || call) FROM waiting;
RESET lock_timeout;
-- throws_ok lets a cancelled query through, as every handler that names no conditions does.
CREATE FUNCTION pg_temp.sqlstate_of(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'SELECT ' || call;
    RETURN '00000';
EXCEPTION WHEN query_canceled OR OTHERS THEN
    RETURN SQLSTATE;
END $$;
SET statement_timeout = '50 ms';
SELECT format('SELECT is(pg_temp.sqlstate_of(%L), ''57014'', %L)', call, 'BE15 statement_timeout: ' || call) FROM waiting \gexec
RESET statement_timeout;
SELECT dblink_exec('other', 'ROLLBACK') \g /dev/null

-- No handler of ours takes an error that it did not ask for by name.
SELECT is(array_agg(proname::text), NULL, 'BE15 no function catches what it does not name') FROM pg_proc
    WHERE pronamespace = 'once'::regnamespace AND prosrc ~* 'when\s+(others|query_canceled|operator_intervention|assert_failure)';
SELECT finish();
