CREATE OR REPLACE FUNCTION once.issue_token(scope text, ttl interval) RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fresh CONSTANT uuid := gen_random_uuid();
    generation smallint;
    keep CONSTANT interval := once.memory_keep('token');
BEGIN
    PERFORM once.require_name(scope, 'scope');
    SELECT m.generation INTO STRICT generation FROM once.memory AS m WHERE m.family = 'token';
    IF ttl IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'ttl must not be null';
    ELSIF ttl <= '0' OR ttl > keep THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('ttl must be above zero and at most %s', keep),
            HINT = 'once.memory_set changes how long tokens are remembered.';
    END IF;
    IF generation = 0 THEN
        INSERT INTO once.token_0 VALUES (fresh, scope, clock_timestamp() + ttl, NULL);
    ELSIF generation = 1 THEN
        INSERT INTO once.token_1 VALUES (fresh, scope, clock_timestamp() + ttl, NULL);
    ELSE
        INSERT INTO once.token_2 VALUES (fresh, scope, clock_timestamp() + ttl, NULL);
    END IF;
    RETURN fresh;
END $$;
COMMENT ON FUNCTION once.issue_token(text, interval) IS
'a random token to hand out before a form is shown, good for one once.redeem_token within ttl (at most what once.memory keeps)
valid once its transaction committed; the same under every isolation level; standby: 25006';

CREATE OR REPLACE FUNCTION once.redeem_token(scope text, token uuid) RETURNS once.token_verdict
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked_scope CONSTANT text := scope;
    asked CONSTANT uuid := token;
    redeemed boolean;
BEGIN
    PERFORM once.require_name(asked_scope, 'scope');
    IF asked IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'token must not be null';
    END IF;
    -- The check is in the UPDATE: of two at once the second waits and finds it redeemed. A token lies in one table.
    UPDATE once.token_0 AS t SET redeemed_at = clock_timestamp()
        WHERE t.token = asked AND t.scope = asked_scope AND t.redeemed_at IS NULL AND t.expires_at > clock_timestamp();
    IF NOT FOUND THEN
        UPDATE once.token_1 AS t SET redeemed_at = clock_timestamp()
            WHERE t.token = asked AND t.scope = asked_scope AND t.redeemed_at IS NULL AND t.expires_at > clock_timestamp();
    END IF;
    IF NOT FOUND THEN
        UPDATE once.token_2 AS t SET redeemed_at = clock_timestamp()
            WHERE t.token = asked AND t.scope = asked_scope AND t.redeemed_at IS NULL AND t.expires_at > clock_timestamp();
    END IF;
    IF FOUND THEN
        RETURN 'ok';
    END IF;
    SELECT t.redeemed_at IS NOT NULL INTO redeemed FROM (
        SELECT * FROM once.token_0 WHERE token_0.token = asked
        UNION ALL SELECT * FROM once.token_1 WHERE token_1.token = asked
        UNION ALL SELECT * FROM once.token_2 WHERE token_2.token = asked) AS t
        WHERE t.scope = asked_scope;
    RETURN CASE WHEN NOT FOUND THEN 'unknown' WHEN redeemed THEN 'duplicate' ELSE 'expired' END;
END $$;
COMMENT ON FUNCTION once.redeem_token(text, uuid) IS
'ok: the first to redeem it, together with what this transaction does · duplicate: it was redeemed · expired: its ttl passed, by the database''s clock · unknown: never issued in this scope, or forgotten
waits for a transaction that is redeeming it
READ COMMITTED: decides on what is committed; REPEATABLE READ, SERIALIZABLE: 40001 when it was redeemed after the snapshot, unknown when it was issued after it; standby: 25006';
