-- once.accept, accept_many: ids, types, batches, isolation levels, what a duplicate costs.
SELECT plan(103);

-- One statement's plan with ANALYZE and WAL, as JSON.
CREATE FUNCTION pg_temp.cost(statement text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, WAL, FORMAT JSON) ' || statement INTO plan;
    RETURN plan -> 0 -> 'Plan';
END $$;
-- verdicts
SELECT is(once.accept('billing', '018f3b1e-0000-7000-8000-000000000001'::uuid), 'new', 'E1 a fresh id');
SELECT is(once.accept('billing', '018f3b1e-0000-7000-8000-000000000001'::uuid), 'duplicate', 'E1 the same id');
SELECT is(once.accept('shipping', '018f3b1e-0000-7000-8000-000000000001'::uuid), 'new', 'E1 the same id, another consumer');
SELECT is(once.accept('shipping', '018f3b1e-0000-7000-8000-000000000001'::uuid), 'duplicate', 'E1 once each');
SELECT is(once.accept('n', x), v::once.verdict, format('E1 number %s', x))
    FROM (VALUES (0::bigint, 'new'), (-1, 'new'), (9223372036854775807, 'new'), (-9223372036854775808, 'new'), (-1, 'duplicate'), (0, 'duplicate')) AS t(x, v);
SELECT is(once.accept('t', 'order-1'), 'new', 'E1 an untyped literal is text');
SELECT is(once.accept('t', 'order-1'::text), 'duplicate', 'E1 text again');
SELECT is(once.accept('t', 'Order-1'), 'new', 'E1 case matters');
SELECT is(once.accept('b', '\x00ff'::bytea), 'new', 'E1 bytes');
SELECT is(once.accept('b', '\x00ff'::bytea), 'duplicate', 'E1 bytes again');
SELECT is(once.accept('t', repeat('x', 60000)), 'new', 'E1 a long text id');
SELECT is(once.accept('t', repeat('x', 60000)), 'duplicate', 'E1 a long text id again');
SELECT results_eq(format('SELECT once.accept(%L, x) FROM unnest(ARRAY[1, 1]::bigint[]) x', c), $$ VALUES ('new'::once.verdict), ('duplicate') $$,
                  'E1 a consumer of another name: ' || c)
    FROM (VALUES ('a"b''c'), ('%I %s $1 \'), (' '), ('größe 😀'), (repeat('x', 255)), ('seen_week_0')) AS t(c);
SELECT results_eq($$ SELECT once.accept('same', x) FROM unnest(ARRAY[7, 8, 7]::bigint[]) x $$,
    $$ VALUES ('new'::once.verdict), ('new'), ('duplicate') $$, 'E1 several in a consumer''s first statement');

-- one space of ids
SELECT is(once.accept('billing', '018F3B1E-0000-7000-8000-000000000001'), 'duplicate', 'E1 a uuid as text, in capitals');
SELECT is(once.accept('billing', x), 'duplicate', 'E1 a uuid spelled ' || x)
    FROM unnest(ARRAY['018f3b1e-0000-7000-8000-000000000001', '{018f3b1e-0000-7000-8000-000000000001}', '018f3b1e000070008000000000000001',
                      '018f-3b1e-0000-7000-8000-0000-0000-0001', '{018F3B1E000070008000000000000001}']) x;
SELECT is(once.accept('n', x), v::once.verdict, 'E1 a number as text: ' || x)
    FROM (VALUES ('-1', 'duplicate'), ('0', 'duplicate'), ('9223372036854775807', 'duplicate'), ('-9223372036854775808', 'duplicate'), ('-0', 'new'),
                 ('00', 'new'), ('+0', 'new'), (' 0', 'new'), ('0.0', 'new'), ('9223372036854775808', 'new'), ('5', 'new')) AS t(x, v);
SELECT is(once.accept('n', 5::bigint), 'duplicate', 'E1 and the other way round');
SELECT is(once.accept('n', 5::smallint), 'duplicate', 'E1 a smaller type of number');
SELECT is(once.accept('n', '5'::varchar), 'duplicate', 'E1 another type of text');
SELECT is(once.accept('mixed', md5('x')), 'new', 'E1 an MD5 in hexadecimal digits');
SELECT is(once.accept('mixed', md5('x')::uuid), 'duplicate', 'E1 is the uuid of the same digits');
SELECT is(once.accept('mixed', decode(md5('x'), 'hex')), 'new', 'E1 and not its bytes');
SELECT is(once.accept('mixed', '42'), 'new', 'E1 a number as text');
SELECT is(once.accept('mixed', '42'::bytea), 'new', 'E1 bytes are not that number');
SELECT is(once.accept('b', '\x00ff'), 'new', 'E1 an untyped \x00ff is a text');
SELECT is(once.accept('mixed', 'eeeeeeee-eeee-8eee-8eee-eeeeeeeeeeee'::uuid), 'new', 'E1 a uuid of version 8');
SELECT is(once.accept('mixed', '{EEEEEEEE-eeee-8eee-8eee-eeeeeeeeeeee}'), 'duplicate', 'E1 in every spelling');
PREPARE untyped AS SELECT once.accept('mixed', $1);
PREPARE untyped_many AS SELECT count(*)::text FROM once.accept_many('mixed', $1) WHERE verdict = 'new';
SELECT results_eq($$ EXECUTE untyped('018f3b1e-0000-7000-8000-000000000009') $$, ARRAY['new'::once.verdict], 'E1 an untyped parameter is a text');
SELECT results_eq($$ EXECUTE untyped_many('{018F3B1E-0000-7000-8000-000000000009,43}') $$, ARRAY['1'], 'E1 in a batch, too');

-- by name, without overloads
SELECT is(once.accept_event(consumer => 'named', id => '42'), 'new', 'E1 by name');
SELECT is(once.accept('named', 42), 'duplicate', 'E1 by name: a number as text is the number');
SELECT is(once.accept_event(consumer => 'named', id_bytes => '\x00ff'), 'new', 'E1 by name: bytes');
SELECT is(once.accept('named', '\x00ff'::bytea), 'duplicate', 'E1 by name: the same bytes');
SELECT throws_ok($$ SELECT once.accept_event('named') $$, '22004', NULL, 'E9 by name: no id');
SELECT throws_ok($$ SELECT once.accept_event('named', '1', '\x01') $$, '22023', NULL, 'E9 by name: two ids');
SELECT is(count(*), 1::bigint, 'E1 one function of that name') FROM pg_proc WHERE proname = 'accept_event' AND pronamespace = 'once'::regnamespace;

-- bad input
SELECT throws_ok(format('SELECT once.accept(%s, %s)', c, i), s, NULL, format('E9 refused: %s, %s', left(c, 20), left(i, 20)))
    FROM (VALUES ('NULL', '42', '22004'), ('''n''', 'NULL::bigint', '22004'), ('''t''', 'NULL::text', '22004'), ('''billing''', 'NULL::uuid', '22004'),
                 ('''b''', 'NULL::bytea', '22004'), ('''''', '42', 'ON010'),
                 (quote_literal(repeat('x', 256)), '42', 'ON010'), (quote_literal(E'a\tb'), '42', 'ON010'), ('''t''', '''''', 'ON010'),
                 ('''t''', quote_literal(repeat('x', 65536)), 'ON010')) AS t(c, i, s);
SELECT throws_ok($$ SELECT once.accept_many_bigint('n', ARRAY[1, NULL]::bigint[]) $$, '22004', NULL, 'E9 null inside a batch');
SELECT throws_ok($$ SELECT once.accept_many_bigint(NULL, ARRAY[1]::bigint[]) $$, '22004', NULL, 'E9 a batch of nobody');
SELECT is_empty($$ SELECT once.accept_many_uuid('nobody', '{}'::uuid[]) $$, 'E3 an empty batch');
SELECT is_empty($$ SELECT FROM once.consumer $$, 'E1 no consumer needs a row');

-- batches
SELECT results_eq($$ SELECT * FROM once.accept_many_bigint('n', ARRAY[100, 0, 50]::bigint[]) $$,
    $$ VALUES (1, 'new'::once.verdict), (2, 'duplicate'), (3, 'new') $$, 'E3 names exactly the known one');
-- 1,000 ids in an order of their own, three of them twice; 1 to 100 are known. What each of them is to say is worked out here.
CREATE TEMP TABLE e4 AS SELECT row_number() OVER (ORDER BY md5(copy || 'x' || n)) AS ordinal, n
    FROM (SELECT n, 1 AS copy FROM generate_series(1, 997) n UNION ALL VALUES (101, 2), (500, 2), (997, 2)) i;
CREATE TEMP TABLE e4_expected AS SELECT ordinal::int, CASE WHEN n <= 100 OR row_number() OVER (PARTITION BY n ORDER BY ordinal) > 1
                                                   THEN 'duplicate' ELSE 'new' END::once.verdict AS verdict FROM e4;
CREATE TEMP TABLE e4_type AS SELECT * FROM (VALUES ('_bigint', '(n * 7919 % 1009)::bigint'), ('_uuid', 'md5(n::text)::uuid'), ('', '''order '' || n')) v(type, id);
SELECT results_eq(format('SELECT verdict, count(*) FROM once.accept_many%s(''e4 '' || %L, (SELECT array_agg(%s) FROM generate_series(1, 100) n)) GROUP BY 1', type, type, id),
                  $$ VALUES ('new'::once.verdict, 100::bigint) $$, 'E4 a hundred ids: ' || type) FROM e4_type;
SELECT results_eq($$ SELECT verdict, count(*) FROM e4_expected GROUP BY 1 ORDER BY 1 $$, $$ VALUES ('new'::once.verdict, 897::bigint), ('duplicate', 103) $$,
                  'E4 1,000 ids, 3 repeats inside, 100 known');
SELECT results_eq(format('SELECT * FROM once.accept_many%s(''e4 '' || %L, (SELECT array_agg(%s ORDER BY ordinal) FROM e4)) ORDER BY ordinal', type, type, id),
                  'SELECT * FROM e4_expected ORDER BY ordinal', 'E4 each ordinal has its verdict: ' || type) FROM e4_type;
SELECT results_eq($$ SELECT verdict::text FROM once.accept_many_bigint('n', ARRAY[3000, 1, 3000, 2]::bigint[]) ORDER BY ordinal $$,
    ARRAY['new', 'new', 'duplicate', 'new'], 'E4 the first of equal ids decides');

-- what a duplicate costs (each verdict of pgTAP writes, so the figures are taken first)
BEGIN;
SELECT pg_temp.cost($$ SELECT once.accept('n', -1) $$) ->> 'WAL Records' AS one,
       pg_temp.cost($$ SELECT * FROM once.accept_many_bigint('n', ARRAY[-1, 0]::bigint[]) $$) ->> 'WAL Records' AS few,
       pg_temp.cost($$ SELECT * FROM once.accept_many_uuid('e4 _uuid', (SELECT array_agg(md5(n::text)::uuid) FROM e4)) $$) ->> 'WAL Records' AS many \gset
SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none') AS xid \gset
SELECT pg_temp.cost($$ SELECT once.accept('n', -2) $$) ->> 'WAL Records' AS fresh \gset
SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none') AS fresh_xid \gset
SELECT is(:one, 0, 'E7 a duplicate writes no WAL');
SELECT is(:few, 0, 'E7 nor do a few of them');
SELECT is(:many, 0, 'E7 nor does a batch of a thousand');
SELECT is(:'xid'::text, 'none', 'E7 and burns no xid');
SELECT isnt(:fresh, 0, 'E7 (a new one does)');
SELECT isnt(:'fresh_xid'::text, 'none', 'E7 (and has an xid)');
COMMIT;
CREATE TABLE effect (id int PRIMARY KEY);
BEGIN;
SELECT is(once.accept('n', 77), 'new', 'E8 accepted');
INSERT INTO effect VALUES (1);
SAVEPOINT s;
SELECT throws_ok('INSERT INTO effect VALUES (1)', '23505', NULL, 'E6 a unique violation of the application surfaces');
SELECT is(once.accept('n', 77), 'duplicate', 'E7 after a duplicate');
INSERT INTO effect VALUES (2);
ROLLBACK;
SELECT is(once.accept('n', 77), 'new', 'E8 the effect failed: redelivery is new');
BEGIN;
SAVEPOINT s;
SELECT once.accept('n', 78) \g /dev/null
ROLLBACK TO s;
SELECT is(once.accept('n', 78), 'new', 'H18 a savepoint rolled back: the id is new');
COMMIT;

-- isolation levels
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(once.accept('n', 80), 'new', 'H16 REPEATABLE READ: new');
SELECT is(once.accept('n', 80), 'duplicate', 'H16 REPEATABLE READ: its own id is a duplicate');
SELECT is(once.accept('n', 0), 'duplicate', 'H16 REPEATABLE READ: a visible one too');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is(once.accept('n', 81), 'new', 'H16 SERIALIZABLE: new');
SELECT is(once.accept('n', 81), 'duplicate', 'H16 SERIALIZABLE: its own id is a duplicate');
SELECT is(once.accept('fresh', 1), 'new', 'H16 SERIALIZABLE: the first id of a consumer');
SELECT is(once.accept('fresh', 1), 'duplicate', 'H16 SERIALIZABLE: and sees it');
COMMIT;
BEGIN READ ONLY;
SELECT throws_ok($$ SELECT once.accept('n', 0) $$, '25006', NULL, 'H17 read only: 25006, even for a duplicate');
ROLLBACK;
SELECT * FROM finish();
