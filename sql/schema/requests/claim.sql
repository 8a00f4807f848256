CREATE TYPE once.claim_verdict AS ENUM ('new', 'reclaimed', 'in_progress', 'replay', 'mismatch', 'failed', 'exhausted');
COMMENT ON TYPE once.claim_verdict IS 'what once.claim found';
CREATE TYPE once.settle_verdict AS ENUM ('ok', 'already', 'fenced', 'missing', 'mismatch');
COMMENT ON TYPE once.settle_verdict IS 'what once.try_complete and its relatives found';

CREATE TYPE once.claim_result AS (
    verdict once.claim_verdict, token uuid, attempt int, lease_left interval, status int, response jsonb, body bytea,
    error jsonb, checkpoint jsonb, differs text[]
);
COMMENT ON TYPE once.claim_result IS 'answer of once.claim: the token only to the owner, the stored answer only to the same request';

-- Rings of claims, one for each class. A claim is one row. Times come from clock_timestamp(), keep is in microseconds.
-- owner is a digest of the scope and finds its rows; the scope is compared whole. The key's lock makes a key unique over
-- all generations of all rings, the primary key only within one table.
DO $$
DECLARE
    ring text;
    name text;
BEGIN
    FOREACH ring IN ARRAY ARRAY['claim_day', 'claim_week', 'claim_month', 'claim_quarter', 'claim_year', 'claim_forever'] LOOP
        FOR slot IN 0..3 LOOP
            name := ring || '_' || slot;
            EXECUTE pg_catalog.format($table$CREATE TABLE once.%I (
                owner bigint NOT NULL,
                claimed_at timestamptz NOT NULL,
                lease_until timestamptz NOT NULL,
                settled_at timestamptz,
                keep bigint,
                token uuid,
                attempt int NOT NULL,
                status int,
                state "char" NOT NULL,
                key text COLLATE "C" NOT NULL,
                scope text COLLATE "C" NOT NULL,
                fingerprint bytea,
                fields bytea,
                response jsonb,
                body bytea,
                error jsonb,
                checkpoint jsonb,
                PRIMARY KEY (owner, key)
            ) USING heap WITH (fillfactor = 85)$table$, name);
            EXECUTE pg_catalog.format('COMMENT ON TABLE once.%I IS %L', name,
                                      pg_catalog.format('ring %s, one of four generations: claims of API requests', ring));
            PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('once.%I', name)::pg_catalog.regclass, '');
        END LOOP;
    END LOOP;
END $$;
