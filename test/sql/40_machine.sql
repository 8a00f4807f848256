-- State machines: once.machine_set, once.transition, once.machine_graph.
SELECT plan(68);

CREATE FUNCTION pg_temp.step(entity text, event text, event_id text DEFAULT NULL, expected bigint DEFAULT NULL) RETURNS text
    LANGUAGE sql AS $$ SELECT concat_ws(' ', verdict, coalesce(from_state, '-'), coalesce(to_state, '-'), coalesce(version::text, '-'))
                       FROM once.transition('order', entity, event, event_id, expected) $$;
CREATE FUNCTION pg_temp.placed() RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(entity || '=' || state || '@' || version, ' ' ORDER BY entity) FROM once.machine_entity $$;

-- definition
SELECT lives_ok($$ SELECT once.machine_set('order', 'new', '[
    {"from": "new", "event": "create", "to": "created"}, {"from": "created", "event": "pay", "to": "paid"},
    {"from": "created", "event": "cancel", "to": "cancelled"}, {"from": "paid", "event": "ship", "to": "shipped"},
    {"from": "paid", "event": "note", "to": "paid"}, {"from": "shipped", "event": "note", "to": "shipped"}]') $$, 'H1 a definition');
SELECT throws_ok($$ SELECT once.machine_set('bad', 'a', '[{"from": "a", "event": "e", "to": "b"}, {"from": "a", "event": "e", "to": "c"}]') $$,
    'ON031', NULL, 'H6 two targets for one event in one state');
SELECT is((SELECT count(*) FROM once.machine WHERE name = 'bad'), 0::bigint, 'H6 nothing of it is stored');
SELECT lives_ok($$ SELECT once.machine_set('twice', 'a', '[{"from": "a", "event": "e", "to": "b"}, {"to": "b", "event": "e", "from": "a"}]') $$,
    'H6 the same transition twice is one');
SELECT throws_ok($$ SELECT once.machine_set('bad', 'z', '[{"from": "a", "event": "e", "to": "b"}]') $$, 'ON031', NULL, 'H6 nothing leads out of the initial state');
SELECT throws_ok($$ SELECT once.machine_set('bad', 'a', '[]') $$, 'ON031', NULL, 'H6 no transitions');
SELECT throws_ok(format('SELECT once.machine_set(%L, %L, %L)', n, i, t), s, NULL, format('H6 refused: %s, %s, %s', n, i, t))
    FROM (VALUES (NULL, 'a', '[]', '22004'), ('', 'a', '[]', '22023'), (repeat('x', 256), 'a', '[]', '22023'), (E'a\nb', 'a', '[]', '22023'),
                 ('m', NULL, '[]', '22004'), ('m', '', '[]', '22023'), ('m', 'a', NULL, '22004'), ('m', 'a', '{}', '22023'), ('m', 'a', '1', '22023'),
                 ('m', 'a', 'null', '22023'), ('m', 'a', '[1]', '22023'), ('m', 'a', '[{}]', '22023'), ('m', 'a', '[{"from": "a", "event": "e"}]', '22023'),
                 ('m', 'a', '[{"from": "a", "event": "e", "to": "b", "x": 1}]', '22023'), ('m', 'a', '[{"from": "a", "event": 1, "to": "b"}]', '22023'),
                 ('m', 'a', '[{"from": "a", "event": null, "to": "b"}]', '22023'), ('m', 'a', '[{"from": "a", "event": "", "to": "b"}]', '22023'),
                 ('m', 'a', '[{"from": "a", "event": "\u0001", "to": "b"}]', '22023')) AS v(n, i, t, s);

-- verdicts
SELECT is(pg_temp.step('42', 'create'), 'moved new created 1', 'H1 the first event moves an unseen entity out of the initial state');
SELECT is(pg_temp.step('42', 'pay', 'e1'), 'moved created paid 2', 'H1 legal: moved, with from and to');
SELECT is(pg_temp.step('42', 'pay', 'e1'), 'duplicate paid - 2', 'H2 the same event id again');
SELECT is(pg_temp.step('42', 'note', 'e1'), 'duplicate paid - 2', 'H2 also where another event would be legal');
SELECT is(pg_temp.step('42', 'nonsense', 'e1'), 'duplicate paid - 2', 'H2 also with an event that is not declared');
SELECT is(pg_temp.step('43', 'create', 'e1'), 'moved new created 1', 'H2 an event may move several entities');
SELECT is(pg_temp.step('42', 'note', 'e2'), 'moved paid paid 3', 'H2 another id moves, also along a loop');
SELECT is(pg_temp.step('42', 'note', 'e2'), 'duplicate paid - 3', 'H2 a loop is taken once per id');
SELECT is(pg_temp.step('42', 'create', 'e3'), 'late paid - 3', 'H3 legal in a state before');
SELECT is(pg_temp.step('42', 'cancel', 'e4'), 'late paid - 3', 'H3 legal in a state from which the present one is reachable');
SELECT is(pg_temp.step('43', 'ship', 'e5'), 'illegal created - 1', 'H4 never legal on the way here');
SELECT is(pg_temp.step('43', 'nonsense', 'e5'), 'unknown_event created - 1', 'H4 undeclared');
SELECT is(pg_temp.step('99', 'nonsense'), 'unknown_event - - -', 'H4 undeclared, entity unseen');
SELECT is(pg_temp.step('99', 'pay', 'e5'), 'unknown_entity - - -', 'H4 unseen, and the event does not lead out of the initial state');
SELECT is(pg_temp.step('43', 'pay', 'e5'), 'moved created paid 2', 'H7 a refused event id was not remembered');
SELECT is(pg_temp.step('42', 'ship', 'e6', 1), 'stale paid - 3', 'H9 expected version too low');
SELECT is(pg_temp.step('42', 'ship', NULL, 9), 'stale paid - 3', 'H9 expected version too high');
SELECT is(pg_temp.step('42', 'ship', 'e6', 3), 'moved paid shipped 4', 'H9 expected version right');
SELECT is(pg_temp.step('42', 'note', NULL, 4), 'moved shipped shipped 5', 'H9 expected version right, without an id');
SELECT is(pg_temp.step('50', 'create', NULL, 1), 'stale - - -', 'H9 unseen is version 0');
SELECT is(pg_temp.step('50', 'create', NULL, 0), 'moved new created 1', 'H9 unseen is version 0');
SELECT throws_ok($$ SELECT once.transition('nobody', '1', 'e') $$, 'ON031', NULL, 'H4 unknown machine');
SELECT throws_ok(format('SELECT once.transition(%L, %L, %L, %L)', m, e, v, i), s, NULL, format('H7 refused: %s', why))
    FROM (VALUES (NULL, '1', 'pay', NULL, '22004', 'machine null'), ('order', NULL, 'pay', NULL, '22004', 'entity null'),
                 ('order', '1', NULL, NULL, '22004', 'event null'), ('order', '', 'pay', NULL, '22023', 'entity empty'),
                 ('order', '1', 'pay', '', '22023', 'event id empty'), ('order', repeat('é', 128), 'pay', NULL, '22023', 'entity of 256 bytes'),
                 ('order', '1', E'\t', NULL, '22023', 'control character')) AS v(m, e, v, i, s, why);

-- refusals write nothing
SELECT pg_temp.placed() AS before \gset
BEGIN;
SELECT pg_temp.step('42', 'pay'), pg_temp.step('42', 'pay', 'e9'), pg_temp.step('42', 'create', 'e1'), pg_temp.step('99', 'ship', 'e9'), pg_temp.step('42', 'x', 'y') \g /dev/null
SELECT is(pg_current_xact_id_if_assigned()::text, NULL, 'H7 a refused transition burns no transaction id');
COMMIT;
SELECT is(pg_temp.placed(), :'before', 'H7 a refused transition writes nothing');

-- savepoints
BEGIN;
SAVEPOINT s;
SELECT pg_temp.step('60', 'create', 'e1') \g /dev/null
ROLLBACK TO s;
SELECT is(pg_temp.step('60', 'create', 'e1'), 'moved new created 1', 'H18 a rolled back savepoint takes move and event id along');
COMMIT;

-- redefinition
SELECT throws_matching($$ SELECT once.machine_set('order', 'new', '[{"from": "new", "event": "create", "to": "created"}]') $$,
    'strand', 'H8 states in which entities stand cannot be removed');
DO $$ DECLARE named text; BEGIN
    PERFORM once.machine_set('order', 'new', '[{"from": "new", "event": "create", "to": "created"}]');
EXCEPTION WHEN SQLSTATE 'ON031' THEN GET STACKED DIAGNOSTICS named = PG_EXCEPTION_DETAIL; PERFORM set_config('test.named', named, false); END $$;
SELECT is(current_setting('test.named'), 'They stand in removed states: 42 (shipped), 43 (paid).', 'H8 and are named');
SELECT is(pg_temp.step('43', 'note'), 'moved paid paid 3', 'H8 the old definition still holds');
BEGIN;
SELECT once.machine_set('order', 'new', '[{"from": "new", "event": "create", "to": "created"}, {"from": "created", "event": "pay", "to": "paid"},
    {"from": "paid", "event": "ship", "to": "shipped"}, {"from": "shipped", "event": "return", "to": "paid"}]') \g /dev/null
SELECT is(pg_temp.step('42', 'return'), 'moved shipped paid 6', 'H1 a definition counts at once in its own transaction');
ROLLBACK;
SELECT is(pg_temp.step('42', 'return'), 'unknown_event shipped - 5', 'H1 and is forgotten when it rolls back');

-- history
SELECT once.machine_history_set('order', true) \g /dev/null
SELECT pg_temp.step('70', 'create', 'h1'), pg_temp.step('70', 'pay'), pg_temp.step('70', 'pay') \g /dev/null
SELECT results_eq($$ SELECT version, event, event_id, from_state, to_state FROM once.machine_history ORDER BY entity, version $$,
    $$ VALUES (1::bigint, 'create', 'h1', 'new', 'created'), (2, 'pay', NULL, 'created', 'paid') $$, 'H1 history on request, one row per move');
SELECT throws_ok($$ SELECT once.machine_history_set('nobody', true) $$, 'ON031', NULL, 'H1 history of an unknown machine');

-- graph
SELECT is(once.machine_graph('twice'), E'stateDiagram-v2\n    [*] --> a\n    a --> b : e', 'H1 graph: mermaid');
SELECT is(once.machine_graph('twice', 'dot'), E'digraph "twice" {\n    rankdir=LR;\n    "" [shape=point];\n    "" -> "a";\n    "a" -> "b" [label="e"];\n}', 'H1 graph: dot');
SELECT once.machine_set('odd', 'in "x"', '[{"from": "in \"x\"", "event": "a: b", "to": "end"}]') \g /dev/null
SELECT is(once.machine_graph('odd'), E'stateDiagram-v2\n    state "end" as state_1\n    state "in #quot;x#quot;" as state_2\n    [*] --> state_2\n    state_2 --> state_1 : a#58; b', 'H1 graph: odd names');
SELECT throws_ok($$ SELECT once.machine_graph('odd', 'svg') $$, '22023', NULL, 'H1 graph: unknown format');
SELECT throws_ok($$ SELECT once.machine_graph('nobody') $$, 'ON031', NULL, 'H1 graph: unknown machine');

SELECT * FROM finish();
