-- H16: what the functions of requests, machines, guards and keys answer under REPEATABLE READ and SERIALIZABLE when another
-- session was quicker after the snapshot. A line: what others do before the snapshot, what they do after it, the call,
-- its answer at both levels. @ is a name of its own for each run. (The accept family: isolation/accept_levels.)
SELECT plan(91);
SET client_min_messages = warning;
CREATE EXTENSION dblink;
CREATE TABLE doc (id text PRIMARY KEY, version bigint NOT NULL DEFAULT 1);
CREATE TABLE token (id text PRIMARY KEY, token uuid);
CREATE TABLE orders (id text PRIMARY KEY, status text);
SELECT once.machine_set('order', 'new', '[{"from": "new", "event": "create", "to": "created"}, {"from": "created", "event": "pay", "to": "paid"},
    {"from": "created", "event": "cancel", "to": "cancelled"}]') \g /dev/null
SELECT once.scope_set('s') \g /dev/null
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION once.guard('order', 'status');
SELECT dblink_connect(name, format('dbname=%s host=%s port=%s', current_database(), current_setting('unix_socket_directories'), current_setting('port'))) AS done
    FROM (VALUES ('me'), ('other')) v(name) \g /dev/null
SELECT dblink_exec(name, 'SET client_min_messages = warning') AS done FROM (VALUES ('me'), ('other')) v(name) \g /dev/null

CREATE FUNCTION pg_temp.by(session text, statement text) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(answer, ' ') FROM dblink(session, 'SELECT (' || statement || ')::text') AS t(answer text) $$;
CREATE FUNCTION pg_temp.outcome(level text, before text, meanwhile text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text; BEGIN
    PERFORM pg_temp.by('other', before) WHERE before IS NOT NULL;
    PERFORM dblink_exec('me', 'BEGIN ISOLATION LEVEL ' || level);
    PERFORM pg_temp.by('me', 'SELECT count(*) FROM doc');
    PERFORM pg_temp.by('other', meanwhile) WHERE meanwhile IS NOT NULL;
    BEGIN
        answer := pg_temp.by('me', call);
    EXCEPTION WHEN OTHERS THEN
        answer := SQLSTATE;
    END;
    PERFORM dblink_exec('me', 'ROLLBACK');
    RETURN answer;
END $$;
-- A claim whose token the other session writes down.
CREATE FUNCTION claimed(key text, lease interval DEFAULT '1 h') RETURNS text LANGUAGE sql AS $$
    WITH c AS MATERIALIZED (SELECT * FROM once.claim('s', key, lease => lease)), t AS (
        INSERT INTO token SELECT key, c.token FROM c WHERE c.token IS NOT NULL ON CONFLICT (id) DO UPDATE SET token = excluded.token)
    SELECT verdict::text FROM c $$;

CREATE TEMP TABLE line (no int GENERATED ALWAYS AS IDENTITY, before text, meanwhile text, call text, answer text);
INSERT INTO line (before, meanwhile, call, answer) VALUES
    -- requests: the answer is the present one
    (NULL, $$claimed('@')$$, $$SELECT verdict FROM once.claim('s', '@')$$, 'in_progress'),
    ($$claimed('@')$$, $$SELECT once.try_complete('s', '@', token, '1') FROM token WHERE id = '@'$$, $$SELECT verdict FROM once.claim('s', '@')$$, 'replay'),
    ($$claimed('@')$$, $$SELECT once.try_release('s', '@', token) FROM token WHERE id = '@'$$, $$SELECT verdict FROM once.claim('s', '@')$$, 'new'),
    (NULL, $$claimed('@', '1 us')$$, $$SELECT verdict FROM once.claim('s', '@')$$, 'reclaimed'),
    (NULL, $$claimed('@')$$, $$SELECT differs IS NULL FROM once.claim_bytes('s', '@', '\x01') WHERE verdict = 'mismatch'$$, 'true'),
    ($$claimed('@')$$, $$SELECT once.try_checkpoint('s', '@', token, '1') FROM token WHERE id = '@'$$, $$SELECT once.try_complete('s', '@', token) FROM token WHERE id = '@'$$, 'ok'),
    ($$claimed('@')$$, $$SELECT once.try_complete('s', '@', token, '1') FROM token WHERE id = '@'$$, $$SELECT once.try_complete('s', '@', token, '2') FROM token WHERE id = '@'$$, 'mismatch'),
    ($$claimed('@', '1 us')$$, $$SELECT verdict FROM once.claim('s', '@')$$, $$SELECT once.try_complete('s', '@', token) FROM token WHERE id = '@'$$, 'fenced'),
    ($$claimed('@', '1 us')$$, $$SELECT verdict FROM once.claim('s', '@')$$, $$SELECT once.complete('s', '@', token) FROM token WHERE id = '@'$$, 'ON020'),
    ($$claimed('@', '1 us')$$, $$SELECT verdict FROM once.claim('s', '@')$$, $$SELECT once.try_fail('s', '@', token, '1') FROM token WHERE id = '@'$$, 'fenced'),
    ($$claimed('@', '1 us')$$, $$SELECT verdict FROM once.claim('s', '@')$$, $$SELECT once.try_release('s', '@', token) FROM token WHERE id = '@'$$, 'fenced'),
    ($$claimed('@', '1 us')$$, $$SELECT verdict FROM once.claim('s', '@')$$, $$SELECT once.try_renew('s', '@', token, '1 s') FROM token WHERE id = '@'$$, 'fenced'),
    ($$claimed('@', '1 us')$$, $$SELECT verdict FROM once.claim('s', '@')$$, $$SELECT once.try_checkpoint('s', '@', token, '1') FROM token WHERE id = '@'$$, 'fenced'),
    ($$claimed('@')$$, $$SELECT once.try_release('s', '@', token) FROM token WHERE id = '@'$$, $$SELECT once.try_complete('s', '@', token) FROM token WHERE id = '@'$$, 'missing'),
    ($$claimed('@')$$, $$SELECT once.try_complete('s', '@', token, '1') FROM token WHERE id = '@'$$, $$SELECT state FROM once.describe('s', '@')$$, 'completed'),
    (NULL, $$once.scope_set('s', keep => '7 days')$$, $$once.scope_set('s', keep => '6 days')$$, '40001'),
    (NULL, NULL, $$once.scope_set('@')$$, ''),
    ($$once.scope_set('s')$$, $$once.scope_drop('s')$$, $$once.scope_drop('s')$$, '40001'),
    (NULL, $$once.scope_set('s')$$, $$once.scope_set('s', keep => '6 days')$$, '40001'),
    (NULL, $$once.scope_set('s', keep => '7 days')$$, $$once.scope_grant('s', 'public')$$, '40001'),
    -- machines: 40001 where an answer would rest on an older state; refusals describe the snapshot
    ($$SELECT verdict FROM once.transition('order', '@', 'create')$$, $$SELECT verdict FROM once.transition('order', '@', 'pay')$$, $$SELECT verdict FROM once.transition('order', '@', 'cancel')$$, '40001'),
    ($$SELECT verdict FROM once.transition('order', '@', 'create')$$, $$SELECT verdict FROM once.transition('order', '@', 'pay', '@')$$, $$SELECT verdict FROM once.transition('order', '@', 'pay', '@')$$, '40001'),
    (NULL, $$SELECT verdict FROM once.transition('order', '@', 'create')$$, $$SELECT verdict FROM once.transition('order', '@', 'create')$$, '40001'),
    (NULL, $$SELECT verdict FROM once.transition('order', '@', 'create')$$, $$SELECT verdict FROM once.transition('order', '@', 'pay')$$, 'unknown_entity'),
    ($$SELECT verdict FROM once.transition('order', '@', 'create')$$, $$SELECT verdict FROM once.transition('order', '@', 'pay')$$, $$SELECT version FROM once.transition('order', '@', 'pay', NULL, 2) WHERE verdict = 'stale'$$, '1'),
    (NULL, $$once.machine_set('@', 'a', '[{"from": "a", "event": "e", "to": "b"}]')$$, $$SELECT to_state FROM once.transition('@', '1', 'e')$$, 'b'),
    (NULL, $$once.machine_set('@', 'a', '[{"from": "a", "event": "e", "to": "b"}]')$$, $$once.machine_set('@', 'a', '[{"from": "a", "event": "e", "to": "c"}]')$$, '40001'),
    ($$once.machine_set('@', 'a', '[{"from": "a", "event": "e", "to": "b"}]')$$, NULL, $$once.machine_set('@', 'a', '[{"from": "a", "event": "e", "to": "c"}]')$$, '0A000'),
    ($$once.machine_set('@', 'a', '[{"from": "a", "event": "e", "to": "b"}]')$$, $$once.machine_history_set('@', true)$$, $$once.machine_history_set('@', false)$$, '40001'),
    -- once.guard knows the newest definition (H10): the answer stands in the RETURNING of a statement, see below
    -- guards and keys
    ($$SELECT count(*) FROM new_doc('@')$$, $$SELECT verdict FROM once.bump('doc', '@', 1)$$, $$SELECT verdict FROM once.bump('doc', '@', 1)$$, '40001'),
    ($$SELECT count(*) FROM new_doc('@')$$, $$SELECT verdict FROM once.bump('doc', '@', 1)$$, $$SELECT verdict || version::text FROM once.bump('doc', '@', 2)$$, 'ahead1'),
    (NULL, $$SELECT verdict FROM once.lease('@', 'a', '1 h')$$, $$SELECT verdict FROM once.lease('@', 'b', '1 h')$$, '40001'),
    ($$SELECT verdict FROM once.lease('@', 'a', '1 us')$$, $$SELECT verdict FROM once.lease('@', 'b', '1 h')$$, $$SELECT verdict FROM once.lease('@', 'c', '1 h')$$, '40001'),
    ($$SELECT verdict FROM once.lease('@', 'a', '1 h')$$, $$SELECT verdict FROM once.lease('@', 'a', '1 h')$$, $$once.lease_release('@', 1)$$, '40001'),
    ($$SELECT verdict FROM once.lease('@', 'a', '1 us')$$, $$SELECT verdict FROM once.lease('@', 'b', '1 h')$$, $$once.lease_assert('@', 1)$$, '40001'),
    (NULL, $$SELECT count(*) FROM issue('@')$$, $$SELECT once.redeem_token('f', token) FROM (SELECT * FROM dblink('dbname=' || current_database() || ' host=' || current_setting('unix_socket_directories') || ' port=' || current_setting('port'),
        'SELECT token FROM token WHERE id = ''@''') AS t(token uuid)) AS t$$, 'unknown'),
    ($$SELECT count(*) FROM issue('@')$$, $$SELECT once.redeem_token('f', token) FROM token WHERE id = '@'$$, $$SELECT once.redeem_token('f', token) FROM token WHERE id = '@'$$, '40001'),
    (NULL, NULL, $$SELECT once.issue_token('f', '1 h') IS NOT NULL$$, 'true'),
    (NULL, NULL, $$once.lock('@')$$, 'locked'),
    (NULL, NULL, $$once.try_lock('@')$$, 'locked'),
    (NULL, $$SELECT count(*) FROM draw('@')$$, $$SELECT once.key_next_ordered('p') > last_value - 1 AND once.key_next('p') < lower(once.key_block('p', 3)) FROM once.key_seq$$, 'true'),
    -- publishing
    (NULL, $$SELECT count(once.publish_text('t', 'x', dedup_key => '@'))$$, $$SELECT count(once.publish_text('t', 'x', dedup_key => '@'))$$, '40001'),
    ($$SELECT count(*) FROM later('@')$$, $$SELECT once.unschedule(token) FROM token WHERE id = '@'$$, $$SELECT once.unschedule(token) FROM token WHERE id = '@'$$, '40001'),
    (NULL, NULL, $$SELECT count(once.publish_text('t', 'x', deliver_at => now() + interval '1 h'))$$, '1'),
    -- what reads alone
    (NULL, NULL, $$SELECT once.content_id('s', '1') = once.content_id('s', '1.0')$$, 'true');
CREATE FUNCTION new_doc(id text) RETURNS SETOF text LANGUAGE sql AS $$ INSERT INTO doc (id) VALUES (id) RETURNING id $$;
CREATE FUNCTION issue(id text) RETURNS SETOF text LANGUAGE sql AS $$ INSERT INTO token SELECT id, once.issue_token('f', '1 h') RETURNING id $$;
CREATE FUNCTION later(id text) RETURNS SETOF text LANGUAGE sql AS $$ INSERT INTO token SELECT id, once.publish_text('t', 'x', deliver_at => now() + interval '1 h') RETURNING id $$;
CREATE FUNCTION draw(id text) RETURNS SETOF bigint LANGUAGE sql AS $$ SELECT once.key_next('p') $$;

SELECT is(pg_temp.outcome(level, replace(before, '@', name), replace(meanwhile, '@', name), replace(call, '@', name)), answer,
          format('H16 %s: %s: %s', level, left(regexp_replace(coalesce(meanwhile, '-'), '\s+', ' ', 'g'), 50), left(regexp_replace(call, '\s+', ' ', 'g'), 60)))
    FROM (SELECT *, 'n' || no || left(level, 1) AS name FROM line, (VALUES ('REPEATABLE READ'), ('SERIALIZABLE')) AS l(level) ORDER BY no, level) AS run;

-- once.guard: the newest definition, whatever the snapshot
INSERT INTO orders VALUES ('1', 'new');
SELECT dblink_exec('me', 'BEGIN ISOLATION LEVEL REPEATABLE READ') AS done, pg_temp.by('me', 'SELECT count(*) FROM orders') \g /dev/null
SELECT pg_temp.by('other', $$once.machine_set('order', 'new', '[{"from": "new", "event": "create", "to": "created"}, {"from": "created", "event": "pay", "to": "paid"},
    {"from": "created", "event": "cancel", "to": "cancelled"}, {"from": "new", "event": "drop", "to": "cancelled"}]')$$) \g /dev/null
SELECT lives_ok($$ SELECT dblink_exec('me', 'UPDATE orders SET status = ''cancelled''') $$, 'H16 REPEATABLE READ: once.guard knows a definition that is newer than the snapshot');
SELECT dblink_exec('me', 'ROLLBACK') AS done \g /dev/null
SELECT dblink_disconnect(name) AS done FROM (VALUES ('me'), ('other')) v(name) \g /dev/null
SELECT * FROM finish();
