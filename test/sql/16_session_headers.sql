-- once.headers: headers that a transaction gives to all of its events. The library is not loaded when the first of them is set.
SELECT plan(19);
BEGIN;
SET LOCAL once.headers = '{"traceparent": "00-aa"}';
CREATE FUNCTION pg_temp.last_headers() RETURNS jsonb LANGUAGE sql AS 'SELECT once.headers_json(headers) FROM once.event_0 ORDER BY seq DESC LIMIT 1';
SELECT once.publish_text('t', 'p') \g /dev/null
SELECT is(pg_temp.last_headers(), '{"traceparent": "00-aa"}', 'the first statement of a session');
SELECT once.publish_text('t', 'p', headers => '{"a": ["1", null], "traceparent": "own"}') \g /dev/null
SELECT is(pg_temp.last_headers(), '{"a": ["1", null], "traceparent": "own"}', 'what a call gives comes instead');
SELECT once.publish_text('t', 'p', headers => '{"a": 1}') \g /dev/null
SELECT is(pg_temp.last_headers(), '{"a": "1", "traceparent": "00-aa"}', 'what it does not give comes along');
SELECT once.publish_event('t', payload_text => 'p') \g /dev/null
SELECT is(pg_temp.last_headers(), '{"traceparent": "00-aa"}', 'publish_event');
SELECT once.publish_many_text('t', '{a,b}', headers => ARRAY['{"b": 2}'::jsonb, NULL]) \g /dev/null
SELECT results_eq('SELECT once.headers_json(headers) FROM once.event_0 ORDER BY seq DESC LIMIT 2',
    ARRAY['{"traceparent": "00-aa"}', '{"b": "2", "traceparent": "00-aa"}']::jsonb[], 'publish_many');
SELECT once.publish_text('t', 'later', deliver_at => clock_timestamp() + interval '20 ms') \g /dev/null
SAVEPOINT s;
SET LOCAL once.headers = '{"inner": {"$bytes": "00ff"}}';
SELECT once.publish_text('t', 'p') \g /dev/null
SELECT is(pg_temp.last_headers(), '{"inner": {"$bytes": "00ff"}}', 'another value');
ROLLBACK TO s;
SELECT once.publish_text('t', 'p') \g /dev/null
SELECT is(pg_temp.last_headers(), '{"traceparent": "00-aa"}', 'rolled back to the value before');
COMMIT;
SELECT once.publish_text('t', 'p') \g /dev/null
SELECT is(pg_temp.last_headers(), NULL, 'nothing of it in the next transaction');

SELECT pg_sleep(0.03) \g /dev/null
BEGIN;
SET LOCAL once.headers = '{"of": "somebody else"}';
SELECT is(once.deliver_due(), 1, 'what was scheduled goes out');
SELECT is(pg_temp.last_headers(), '{"traceparent": "00-aa"}', 'with the headers of the transaction that published it');
COMMIT;

-- without LOCAL
BEGIN;
SET once.headers = '{"traceparent": "00-bb"}';
SELECT once.publish_text('t', 'p') \g /dev/null
SELECT is(pg_temp.last_headers(), '{"traceparent": "00-bb"}', 'SET counts in its transaction');
COMMIT;
SELECT once.publish_text('t', 'p') \g /dev/null
SELECT is(pg_temp.last_headers(), NULL, 'and not in the next one, which may be another client''s');
SELECT set_config('once.headers', '{"one": "statement"}', false), once.publish_text('t', 'p') \g /dev/null
SELECT is(pg_temp.last_headers(), '{"one": "statement"}', 'a statement is a transaction');
SET ROLE NONE;
CREATE ROLE sender_of_headers;
SELECT once.grant_publisher('sender_of_headers') \g /dev/null
SET ROLE sender_of_headers;
BEGIN;
SET LOCAL once.headers = '{"a": "b"}';
SELECT lives_ok($$SELECT once.publish_text('t', 'p')$$, 'no right but the publisher''s is needed');
COMMIT;
RESET ROLE;

-- what cannot be a header
BEGIN; SET LOCAL once.headers = '{"traceparent": '; SELECT throws_ok($$SELECT once.publish_text('t', 'p')$$, '22P02', NULL, 'no JSON'); ROLLBACK;
BEGIN; SET LOCAL once.headers = '[1]'; SELECT throws_ok($$SELECT once.publish_text('t', 'p')$$, 'ON003', NULL, 'no object'); ROLLBACK;
BEGIN; SET LOCAL once.headers = '{"once-id": "x"}'; SELECT throws_ok($$SELECT once.publish_text('t', 'p')$$, 'ON003', NULL, 'a reserved name'); ROLLBACK;
BEGIN;
SET LOCAL once.headers = '{"one": "too many"}';
SELECT throws_ok($$SELECT once.publish_text('t', 'p', headers => (SELECT jsonb_object_agg(g::text, 'v') FROM generate_series(1, 64) g))$$, 'ON003', NULL,
    'too many together');
SELECT throws_ok($$SELECT once.publish_text('t', repeat('x', 921600))$$, 'ON002', NULL, 'they count against the limit of size');
COMMIT;
SELECT finish();
DROP OWNED BY sender_of_headers;
DROP ROLE sender_of_headers;
