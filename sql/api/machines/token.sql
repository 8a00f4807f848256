-- A token lies in one generation of its ring: it is issued into the open one, redeemed where it is found.
CREATE OR REPLACE FUNCTION once.owner_of(kind text, name text) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_owner_of';
COMMENT ON FUNCTION once.owner_of(text, text) IS 'internal: whose ids they are in the rings: the first 8 bytes of SHA-256 over kind (consumer, machine, scope, token, topic) and name';

CREATE OR REPLACE FUNCTION once.issue_token(scope text, ttl interval) RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fresh CONSTANT uuid := gen_random_uuid();
    keep CONSTANT interval := (SELECT r.span FROM once.rings() AS r WHERE r.ring = 'token');
BEGIN
    PERFORM once.require_name(scope, 'scope');
    IF ttl IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'ttl must not be null';
    ELSIF ttl <= '0' OR ttl > keep THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('ttl must be above zero and at most %s', keep),
            HINT = 'once.memory_set changes how long tokens are remembered.';
    END IF;
    EXECUTE format('INSERT INTO once.%I (owner, id, expires_at) VALUES ($1, $2, $3)',
                   'token_' || coalesce((SELECT r.open FROM once.ring AS r WHERE r.name = 'token'), 4) % 4)
        USING once.owner_of('token', scope), fresh, clock_timestamp() + ttl;
    RETURN fresh;
END $$;
COMMENT ON FUNCTION once.issue_token(text, interval) IS
'a random token to hand out before a form is shown, good for one once.redeem_token within ttl (at most what once.memory keeps)
valid once its transaction committed; the same under every isolation level; standby: 25006';

CREATE OR REPLACE FUNCTION once.redeem_token(scope text, token uuid) RETURNS once.token_verdict
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    its_owner bigint;
    ring once.ring;
    redeemed boolean;
    changed int;
BEGIN
    PERFORM once.require_writable('redeem_token');
    PERFORM once.require_name(scope, 'scope');
    IF token IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'token must not be null';
    END IF;
    its_owner := once.owner_of('token', scope);
    SELECT * INTO ring FROM once.ring AS r WHERE r.name = 'token';
    FOR serial IN REVERSE coalesce(ring.open, 4) .. coalesce(ring.open, 4) - 3 LOOP
        CONTINUE WHEN serial >= ring.gone AND serial < ring.oldest; -- forgotten: to be truncated
        CONTINUE WHEN once.ring_empty(format('once.%I', 'token_' || serial % 4)::regclass);
        -- The check is in the UPDATE: of two at once the second waits and finds it redeemed.
        EXECUTE format('UPDATE once.%I SET redeemed_at = clock_timestamp() '
                       'WHERE owner = $1 AND id = $2 AND redeemed_at IS NULL AND expires_at > clock_timestamp()', 'token_' || serial % 4)
            USING its_owner, token;
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed > 0 THEN
            RETURN 'ok';
        END IF;
        EXECUTE format('SELECT redeemed_at IS NOT NULL FROM once.%I WHERE owner = $1 AND id = $2', 'token_' || serial % 4)
            INTO redeemed USING its_owner, token;
        IF redeemed IS NOT NULL THEN
            RETURN CASE WHEN redeemed THEN 'duplicate' ELSE 'expired' END;
        END IF;
    END LOOP;
    RETURN 'unknown';
END $$;
COMMENT ON FUNCTION once.redeem_token(text, uuid) IS
'ok: the first to redeem it, together with what this transaction does; duplicate: it was redeemed; expired: its ttl passed, by the database''s clock; unknown: never issued in this scope, or forgotten
waits for a transaction that is redeeming it
READ COMMITTED: decides on what is committed; REPEATABLE READ, SERIALIZABLE: 40001 when it was redeemed after the snapshot, unknown when it was issued after it; standby: 25006';
