-- once.content_id: the same content, the same id (H22, and C4 to C7 for its canonical form).
SELECT plan(24);

SELECT is(once.content_id('s', '{"a": 1, "b": [true, null]}'), once.content_id('s', '{"b":[true,null],"a":1}'), 'H22 C4 key order and white space do not matter');
SELECT is(once.content_id('s', '[1, 1.0, 1e0, 100]'), once.content_id('s', '[1.00, 1, 10e-1, 1e2]'), 'H22 C5 number spelling does not matter');
SELECT isnt(once.content_id('s', '1'), once.content_id('t', '1'), 'H22 scope does');
SELECT isnt(once.content_id('s', '"1"'), once.content_id('s', '1'), 'H22 type does');
SELECT isnt(once.content_id('s', '[1, 2]'), once.content_id('s', '[2, 1]'), 'H22 order in arrays does');
SELECT isnt(once.content_id('s', '{"a": null}'), once.content_id('s', '{}'), 'H22 null is not nothing');
SELECT isnt(once.content_id('s', '[[1], 2]'), once.content_id('s', '[[1, 2]]'), 'H22 nesting does');
SELECT isnt(once.content_id('s', '[]'), once.content_id('s', '{}'), 'H22 array or object does');
SELECT isnt(once.content_id('s', '[1]'), once.content_id('s', '1'), 'H22 an array of one is no scalar');
SELECT isnt(once.content_id('s', to_jsonb(U&'\00E9'::text)), once.content_id('s', to_jsonb(U&'e\0301'::text)), 'H22 C6 NFC and NFD are different');
SELECT isnt(once.content_id('s', '0'), once.content_id('s', '-1'), 'H22 sign does');
SELECT is(once.content_id('s', '-0.0'), once.content_id('s', '0'), 'H22 zero is zero');
SELECT lives_ok($$ SELECT once.content_id('s', '{"a": 1e131071}') $$, 'H22 C7 a huge exponent costs nothing');
SELECT is(substr(once.content_id('s', '1')::text, 15, 1), '8', 'H22 a uuid of version 8');
SELECT ok(substr(once.content_id('s', '1')::text, 20, 1) IN ('8', '9', 'a', 'b'), 'H22 of the variant of RFC 9562');
-- A stored id must stay what it is: these change only with a new version of the canonical form.
SELECT is(once.content_id('orders', '{"customer": "é", "lines": [{"sku": "x", "n": 2.50}], "ok": true, "ref": null}'),
    '9ba7231d-430f-8f95-b728-ea86913b2c9e', 'H22 is stable over versions');
SELECT is(once.content_id('s', '{"a": 1, "b": 2, "c": 3}', '{a,b}'), once.content_id('s', '{"a": 1, "b": 2, "c": 4}', '{b,a,b}'), 'H22 only the fields asked for count, in any order');
SELECT isnt(once.content_id('s', '{"a": 1, "b": 2}', '{a,b}'), once.content_id('s', '{"a": 1, "b": 3}', '{a,b}'), 'H22 those do');
SELECT isnt(once.content_id('s', '{"a": 1}', '{a,b}'), once.content_id('s', '{"a": 1, "b": null}', '{a,b}'), 'H22 a missing field is not null');
SELECT isnt(once.content_id('s', '{"a": 1}', '{a}'), once.content_id('s', '{"b": 1}', '{b}'), 'H22 the names of the fields count');
SELECT throws_ok(format('SELECT once.content_id(%L, %L, %L)', s, c, f), e, NULL, format('H22 refused: %s %s %s', s, c, f))
    FROM (VALUES (NULL, '1', NULL, '22004'), ('s', NULL, NULL, '22004'), ('', '1', NULL, '22023'), ('s', '[1]', '{a}', '22023')) AS v(s, c, f, e);

SELECT * FROM finish();
