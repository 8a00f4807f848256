-- The fingerprint of a request: what is the same one, what is not, what a mismatch tells (cases C).
SELECT plan(77);
SET client_min_messages = warning;

CREATE FUNCTION pg_temp.age(key text, past interval) RETURNS void LANGUAGE sql AS
    $$ UPDATE once.claim_week_0 c SET claimed_at = claimed_at - past, lease_until = lease_until - past, settled_at = settled_at - past WHERE c.key = age.key $$;
-- The verdict for a request after another one was completed under the same key.
CREATE SEQUENCE pg_temp.keys;
CREATE FUNCTION pg_temp.after(first jsonb, second jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    key text := 'k' || nextval('pg_temp.keys');
    r once.claim_result;
BEGIN
    r := once.claim('c', key, first);
    PERFORM once.complete('c', key, r.token, '"first"');
    r := once.claim('c', key, second);
    RETURN concat_ws(' ', r.verdict, r.response, r.differs);
END $$;

SELECT is(pg_temp.after('{"a": 1}', '{"a": 2}'), 'mismatch {a}', 'C1 another request, completed: mismatch, no stored answer');
SELECT is(pg_temp.after('{"a": 1, "b": {"x": [1, 2]}, "c": null}', '{"b": {"x": [1, 3]}, "d": null, "a": 1}'), 'mismatch {b,c,d}', 'C1 it names the fields that differ, of either side');

SELECT * FROM once.claim('c', 'c2', '{"a": 1}') \gset
SELECT results_eq($$ SELECT verdict::text, token, attempt, lease_left, checkpoint, differs FROM once.claim('c', 'c2', '{"a": 2}') $$,
    $$ VALUES ('mismatch', NULL::uuid, NULL::int, NULL::interval, NULL::jsonb, '{a}'::text[]) $$, 'C2 still in progress: mismatch before in_progress');
SELECT pg_temp.age('c2', '2 min');
SELECT is((SELECT verdict::text FROM once.claim('c', 'c2', '{"a": 2}')), 'mismatch', 'C3 lapsed: still mismatch');
SELECT once.fail('c', 'c2', :'token', '"no"');
SELECT is((SELECT verdict || coalesce(error::text, '') FROM once.claim('c', 'c2', '{"a": 2}')), 'mismatch', 'C1 failed: mismatch, no stored error');

SELECT once.scope_set('lenient', on_mismatch => 'allow');
SELECT * FROM once.claim('lenient', 'c3', '{"a": 1}') \gset
SELECT once.checkpoint('lenient', 'c3', :'token', '"half"');
SELECT is((SELECT verdict::text FROM once.claim('lenient', 'c3', '{"a": 2}')), 'mismatch', 'C3 allowed, but it lives: mismatch');
UPDATE once.claim_week_0 SET lease_until = clock_timestamp() - interval '1 s' WHERE key = 'c3';
SELECT results_eq($$ SELECT verdict::text, attempt, checkpoint FROM once.claim('lenient', 'c3', '{"a": 2}') $$, $$ VALUES ('reclaimed', 1, NULL::jsonb) $$,
    'C3 lapsed and the scope allows it: taken over, without attempts and checkpoint of the other');
SELECT is((SELECT verdict::text FROM once.claim('lenient', 'c3', '{"a": 1}')), 'mismatch', 'C3 now the first one is the other');
SELECT token FROM once.claim_week_0 WHERE key = 'c3' \gset
SELECT once.complete('lenient', 'c3', :'token');
SELECT is((SELECT verdict::text FROM once.claim('lenient', 'c3', '{"a": 1}')), 'mismatch', 'C3 allowed, but completed: mismatch');

-- equal
SELECT is(once.fingerprint(a::jsonb), once.fingerprint(b::jsonb), format('%s %s = %s', id, left(a, 40), left(b, 40)))
    FROM (VALUES ('C4', '{"a":1,"bb":[1,2,{"x":null}]}', E'{ "bb" : [1,2,\n{"x":null}], "a":1}'), ('C4', '{"b":{"d":1,"c":2},"a":3}', '{"a":3,"b":{"c":2,"d":1}}'),
                 ('C4', '{"a":1,"a":2}', '{"a":2}'), ('C4', '"\u00e9"', '"é"'), ('C4', '[]', ' [ ] '),
                 ('C5', '1', '1.0'), ('C5', '1', '1e0'), ('C5', '1.0', '1e0'), ('C5', '100', '1e2'), ('C5', '0.001', '1e-3'), ('C5', '0', '-0'), ('C5', '0', '0.000'), ('C5', '0', '0e10'),
                 ('C5', '-1.50', '-15e-1'), ('C5', '10000', '1.0000e4'), ('C5', '12345678901234567890.10', '1234567890123456789010e-2'),
                 ('C5', '{"n":[1.0,{"m":2.50}]}', '{"n":[1,{"m":2.5}]}'), ('C7', '1e131071', '10e131070'), ('C7', '1e-16383', '0.1e-16382')) v(id, a, b);
-- different
SELECT isnt(once.fingerprint(a::jsonb), once.fingerprint(b::jsonb), format('%s %s <> %s', id, left(a, 40), left(b, 40)))
    FROM (VALUES ('C1', '1', '2'), ('C1', '1', '-1'), ('C1', '1', '"1"'), ('C1', '1', '[1]'), ('C1', '[]', '{}'), ('C1', '[[]]', '[]'), ('C1', '[[1],2]', '[[1,2]]'), ('C1', '[1,[2]]', '[[1],2]'),
                 ('C1', '[1,2]', '[2,1]'), ('C1', '["ab","c"]', '["a","bc"]'), ('C1', '{"ab":"c"}', '{"a":"bc"}'), ('C1', '{"a":{"b":1}}', '{"a":1,"b":1}'), ('C1', '{"a":"b"}', '["a","b"]'),
                 ('C1', 'null', 'false'), ('C1', 'true', 'false'), ('C1', '""', 'null'), ('C1', '0', 'null'), ('C1', '{"a":null}', '{}'), ('C5', '10000', '1'), ('C5', '1', '0.0001'), ('C5', '123456', '1234560000'),
                 ('C5', '1e131071', '1e131070'), ('C6', '"é"', U&'"e\0301"'), ('C6', '{"é":1}', U&'{"e\0301":1}'), ('C4', '"a"', '"A"'), ('C4', '"a"', '"a "')) v(id, a, b);
SELECT is(get_byte(once.fingerprint('{}'), 0), 1, 'C9 the first byte is the version');
SELECT is(length(once.fingerprint('{}')), 33, 'C9 then 32 bytes of SHA-256');
SELECT isnt(once.fingerprint('"a"'), once.fingerprint_bytes('"a"'), 'C8 bytes are not the JSON they spell');

-- C7: nothing is expanded
CREATE FUNCTION pg_temp.seconds(statement text) RETURNS float LANGUAGE plpgsql AS $$
DECLARE started timestamptz := clock_timestamp(); BEGIN
    EXECUTE statement;
    RETURN extract(epoch FROM clock_timestamp() - started);
END $$;
CREATE TABLE wide AS SELECT ('[' || repeat('1e131071,', 100000) || '1]')::jsonb AS request;
SELECT cmp_ok(pg_temp.seconds('SELECT once.fingerprint(request) FROM wide'), '<', 5::float, 'C7 100,000 numbers of 131,072 digits each take milliseconds');
SELECT is((SELECT verdict::text FROM once.claim('c', 'c7', '{"a":1e131071}')), 'new', 'C7 such a request is claimed');
SELECT is((SELECT verdict::text FROM once.claim('c', 'c7', '{"a":1e131071}')), 'in_progress', 'C7 and known again');
SELECT cmp_ok((SELECT pg_column_size(c.*) FROM once.claim_week_0 c WHERE key = 'c7'), '<', 300, 'C7 in a row of its usual size');
SELECT lives_ok($$ SELECT once.fingerprint((repeat('[', 3000) || repeat(']', 3000))::jsonb) $$, 'C7 deep nesting');

-- what is kept of a request is bounded, and no value
SELECT * FROM once.claim('c', 'fields', (SELECT jsonb_object_agg('field' || g, 'secret' || g) FROM generate_series(1, 1000) g)) \gset
SELECT cmp_ok((SELECT length(fields) FROM once.claim_week_0 WHERE key = 'fields'), '<', 4400, 'C1 a request of 1,000 fields: a bounded digest of them');
SELECT ok((SELECT strpos(encode(fields, 'escape'), 'secret') = 0 FROM once.claim_week_0 WHERE key = 'fields'), 'C1 without values');
SELECT is((SELECT verdict::text FROM once.claim('c', 'fields', (SELECT jsonb_object_agg('field' || g, 'secret' || (g + (g = 1000)::int)) FROM generate_series(1, 1000) g))), 'mismatch', 'C1 the last of them differs: mismatch all the same');
CREATE FUNCTION pg_temp.fields(first int, last int) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_object_agg('f' || to_char(g, 'FM000'), g) FROM generate_series(first, last) g $$;
SELECT is(pg_temp.after(pg_temp.fields(1, 80), pg_temp.fields(2, 80)), 'mismatch {f001}', 'C1 more fields than are kept, one gone: it is named, and none that is the same');
SELECT is(pg_temp.after(pg_temp.fields(2, 80), pg_temp.fields(1, 80)), 'mismatch {f001}', 'C1 nor when it comes in');
SELECT is(pg_temp.after(pg_temp.fields(1, 80), pg_temp.fields(1, 80) || '{"x": 1, "f003": 0}'), 'mismatch {f003,x}', 'C1 what stands before the end of the list is told');
SELECT is(pg_temp.after('[1]', '[2]'), 'mismatch', 'C1 no objects: nothing to name');
SELECT is(pg_temp.after('{"a": 1}', '[2]'), 'mismatch {a}', 'C1 an object before, none now');

-- C9
SELECT * FROM once.claim('c', 'c9', '{"a": 1}') \gset
SELECT once.complete('c', 'c9', :'token', '"x"');
UPDATE once.claim_week_0 SET fingerprint = set_byte(fingerprint, 0, 9) WHERE key = 'c9';
SELECT is((SELECT verdict || coalesce(response::text, '') FROM once.claim('c', 'c9', '{"a": 1}')), 'mismatch', 'C9 a fingerprint of an unknown version: mismatch, never a replay');
UPDATE once.claim_week_0 SET fingerprint = '\x' WHERE key = 'c9';
SELECT is((SELECT verdict || coalesce(response::text, '') FROM once.claim('c', 'c9', NULL)), 'mismatch', 'C9 nor is an empty one "no request"');

-- C10
SELECT is(pg_temp.after(NULL, NULL), 'replay "first"', 'C10 no request on both sides: no check');
SELECT is(pg_temp.after(NULL, '{"a": 1}'), 'mismatch {a}', 'C10 none before, one now');
SELECT is(pg_temp.after('{"a": 1}', NULL), 'mismatch {a}', 'C10 one before, none now');
SELECT is(pg_temp.after('null', NULL), 'mismatch', 'C10 JSON null is a request');
SELECT is(pg_temp.after('null', 'null'), 'replay "first"', 'C10 and the same one');
SELECT * FROM finish();
