-- What once-relay inbox writes to once.inbox: batches for workers, and messages put aside behind a failing one.
SELECT plan(19);

CREATE FUNCTION pg_temp.message(id text, key text, n int) RETURNS once.message LANGUAGE sql
    RETURN ROW('orders', 0, n, key, convert_to('payload ' || n, 'UTF8'), '{"a": "1"}', id, 'orders/0', n, '2026-01-31 12:00+00')::once.message;
CREATE FUNCTION pg_temp.store(ids text[]) RETURNS bigint LANGUAGE sql BEGIN ATOMIC
    SELECT once.inbox_store('shop', array_agg('orders'::text), array_agg(0), array_agg(n), array_agg('k' || n), array_agg('\x00ff'::bytea),
                            array_agg(NULL::jsonb), array_agg(id), array_agg('orders/0'::text), array_agg(n), array_agg(now()))
    FROM unnest(ids) WITH ORDINALITY u(id, n);
END;

SELECT is(pg_temp.store('{a,b,c}'), 3::bigint, 'E10 a batch is stored');
SELECT is((SELECT string_agg(id, ' ' ORDER BY seq) FROM once.inbox WHERE consumer = 'shop'), 'a b c', 'E10 in the order of the batch');
SELECT is(pg_temp.store('{c,d,a,e}'), 2::bigint, 'E3 only what is not waiting already');
SELECT is((SELECT string_agg(id, ' ' ORDER BY seq) FROM once.inbox WHERE consumer = 'shop'), 'a b c d e', 'E3 what waits keeps its place');

SELECT is(once.inbox_park('billing', pg_temp.message('1', 'k', 1), 'boom', 5), true, 'E10 a failed message is parked');
SELECT is(once.inbox_park('billing', pg_temp.message('2', 'k', 2), NULL, 0), true, 'E10 one behind it waits');
SELECT is(once.inbox_park('billing', pg_temp.message('1', 'k', 1), 'boom', 5), false, 'E10 once');
SELECT is_empty($$SELECT * FROM once.inbox_take('billing', 10)$$, 'E10 nothing passes a parked message of its key');
SELECT once.inbox_redrive('billing');
SELECT results_eq($$SELECT (id, state, pos, sent_at, error, headers, convert_from(payload, 'UTF8'))::text FROM once.inbox_take('billing', 10)$$,
                  $$VALUES ((ROW('1', 'ready', 1::bigint, '2026-01-31 12:00+00'::timestamptz, 'boom', '{"a": "1"}'::jsonb, 'payload 1'))::text),
                           ((ROW('2', 'ready', 2::bigint, '2026-01-31 12:00+00'::timestamptz, NULL::text, '{"a": "1"}'::jsonb, 'payload 2'))::text)$$,
                  'E10 set free, it comes first, whole');

-- US10: what may heal comes back by itself, in its place; what does not is parked.
SELECT once.inbox_park('later', pg_temp.message('1', 'k', 1), 'no parent yet', 1, 60);
SELECT once.inbox_park('later', pg_temp.message('2', 'k', 2), NULL, 0);
SELECT is_empty($$ SELECT * FROM once.inbox_take('later', 10) $$, 'US10 not before its time, and what follows waits');
SELECT is((SELECT state || attempts || (next_at - clock_timestamp() BETWEEN interval '30 s' AND interval '1 min')::text FROM once.inbox WHERE consumer = 'later' AND id = '1'),
          'ready1true', 'US10 after the pause');
UPDATE once.inbox SET next_at = clock_timestamp() WHERE consumer = 'later';
SELECT is((SELECT string_agg(id, ' ' ORDER BY seq) FROM once.inbox_take('later', 10)), '1 2', 'US10 then in its order');
SELECT once.inbox_again('later', '1', repeat('x', 5000), 10);
SELECT is((SELECT state || attempts || length(error) FROM once.inbox WHERE consumer = 'later' AND id = '1'), 'ready22000', 'US10 US13 again, with an error that is bounded');
SELECT once.inbox_again('later', '1', 'still', NULL);
SELECT is((SELECT state || attempts FROM once.inbox WHERE consumer = 'later' AND id = '1'), 'parked3', 'US10 the last pause is over');

-- US10 repair: by id, topic, key and time, and for good.
SELECT once.inbox_park('repair', pg_temp.message(n::text, 'k' || n % 2, n), 'boom', 5) FROM generate_series(1, 6) n \g /dev/null
UPDATE once.inbox SET received_at = '2026-01-01' WHERE consumer = 'repair' AND id IN ('1', '2');
SELECT is(once.inbox_redrive('repair', until => '2026-02-01'), 2::bigint, 'US10 redrive by time');
SELECT is(once.inbox_redrive('repair', topic => 'orders', key => 'k1'), 2::bigint, 'US10 redrive by topic and key');
SELECT is(once.inbox_discard('repair', 'sent twice by hand', id => '4'), 1::bigint, 'US5 given up');
SELECT throws_ok($$ SELECT once.inbox_discard('repair', ' ', id => '6') $$, '22023', NULL, 'US5 not without a reason');
SELECT throws_ok($$ SELECT once.inbox_discard('repair', 'all of it') $$, '22004', NULL, 'US5 not without saying which');
SELECT * FROM finish();
