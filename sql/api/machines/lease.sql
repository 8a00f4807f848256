CREATE OR REPLACE FUNCTION once.lease(name text, owner text, ttl interval,
        OUT verdict once.lease_verdict, OUT token bigint, OUT remaining interval)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lease_name CONSTANT text := name;
    applicant CONSTANT text := owner;
    kept boolean;
BEGIN
    PERFORM once.require_name(lease_name, 'lease'), once.require_name(applicant, 'owner');
    IF ttl IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'ttl must not be null';
    ELSIF ttl <= '0' OR ttl > '1 year' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'ttl must be above zero and at most a year';
    END IF;
    -- A look at what is not there reads its neighbours in the index: under SERIALIZABLE new names would abort each other.
    IF current_setting('transaction_isolation') = 'serializable' THEN
        INSERT INTO once.lease_state AS l (name, owner, token, expires_at) VALUES (lease_name, applicant, 1, clock_timestamp() + ttl)
            ON CONFLICT ON CONSTRAINT lease_state_pkey DO NOTHING
            RETURNING l.token, l.expires_at - clock_timestamp() INTO token, remaining;
        IF FOUND THEN
            verdict := 'acquired';
            RETURN;
        END IF;
    END IF;
    LOOP
        UPDATE once.lease_state AS l SET expires_at = clock_timestamp() + ttl
            WHERE l.name = lease_name AND l.owner = applicant AND l.expires_at > clock_timestamp()
            RETURNING l.token, l.expires_at - clock_timestamp() INTO token, remaining;
        IF FOUND THEN
            verdict := 'renewed';
            RETURN;
        END IF;
        -- Waits for who asserted the token (FOR KEY SHARE); a renewal does not.
        PERFORM FROM once.lease_state AS l
            WHERE l.name = lease_name AND (l.owner IS NULL OR l.expires_at <= clock_timestamp()) FOR UPDATE;
        IF FOUND THEN
            UPDATE once.lease_state AS l SET token = l.token + 1, owner = applicant, expires_at = clock_timestamp() + ttl
                WHERE l.name = lease_name RETURNING l.token, l.expires_at - clock_timestamp() INTO token, remaining;
        ELSE
            INSERT INTO once.lease_state AS l (name, owner, token, expires_at)
                SELECT lease_name, applicant, 1, clock_timestamp() + ttl
                WHERE NOT EXISTS (SELECT FROM once.lease_state AS s WHERE s.name = lease_name)
                ON CONFLICT ON CONSTRAINT lease_state_pkey DO NOTHING
                RETURNING l.token, l.expires_at - clock_timestamp() INTO token, remaining;
        END IF;
        IF token IS NOT NULL THEN
            verdict := 'acquired';
            RETURN;
        END IF;
        SELECT l.expires_at - clock_timestamp() INTO remaining FROM once.lease_state AS l
            WHERE l.name = lease_name AND l.owner <> applicant AND l.expires_at > clock_timestamp();
        IF FOUND THEN
            verdict := 'busy';
            RETURN;
        END IF; -- it was released or lapsed in between: try again
    END LOOP;
END $$;
COMMENT ON FUNCTION once.lease(text, text, interval) IS
'a lease with a fencing token, by the clock of the database and from the moment of the call, not of the transaction''s start
acquired: the token is new and greater than all before; renewed: this owner holds it, same token, ttl from now; busy: remaining says how long, token is null
commit before the token is used elsewhere; a take-over waits for transactions that asserted the token before
READ COMMITTED: decides on what is committed; REPEATABLE READ, SERIALIZABLE: 40001 when somebody else took or renewed it after the snapshot; standby: 25006';

CREATE OR REPLACE FUNCTION once.lease_release(name text, token bigint) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lease_name CONSTANT text := name;
    held CONSTANT bigint := token;
BEGIN
    PERFORM once.require_name(lease_name, 'lease');
    IF held IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'token must not be null';
    END IF;
    UPDATE once.lease_state AS l SET owner = NULL, expires_at = NULL
        WHERE l.name = lease_name AND l.token = held AND l.owner IS NOT NULL;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION once.lease_release(text, bigint) IS
'gives a lease back: true if the token is its newest and it was held; the next owner''s token is greater all the same
REPEATABLE READ, SERIALIZABLE: 40001 when it changed after the snapshot; standby: 25006';

CREATE OR REPLACE FUNCTION once.lease_assert(name text, token bigint) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_lease_assert';
COMMENT ON FUNCTION once.lease_assert(text, bigint) IS
'raises ON032 unless the token is the newest of the lease and the lease neither lapsed nor was released; nobody can take it over until the transaction ends
protects what this database commits, not effects elsewhere: those must compare tokens themselves
REPEATABLE READ, SERIALIZABLE: 40001 when it was taken over after the snapshot; standby: 25006';

CREATE OR REPLACE FUNCTION once.lease_assert() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_lease_assert_row';
COMMENT ON FUNCTION once.lease_assert() IS
'trigger function for columns with a fencing token (bigint): CREATE TRIGGER ... BEFORE INSERT OR UPDATE ON ... FOR EACH ROW EXECUTE FUNCTION once.lease_assert(lease, column)
raises ON032 as once.lease_assert(name, token) does, whoever writes the row; 42703 unknown column, 42804 column of another type, 39P01 declared in another way';
