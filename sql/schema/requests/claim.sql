CREATE TYPE once.claim_verdict AS ENUM ('new', 'reclaimed', 'in_progress', 'replay', 'mismatch', 'failed', 'exhausted');
COMMENT ON TYPE once.claim_verdict IS 'what once.claim found';
CREATE TYPE once.settle_verdict AS ENUM ('ok', 'already', 'fenced', 'missing', 'mismatch');
COMMENT ON TYPE once.settle_verdict IS 'what once.try_complete and its relatives found';

CREATE TYPE once.claim_result AS (
    verdict once.claim_verdict, token uuid, attempt int, lease_left interval, status int, response jsonb, body bytea,
    error jsonb, checkpoint jsonb, differs text[]
);
COMMENT ON TYPE once.claim_result IS 'answer of once.claim: the token only to the owner, the stored answer only to the same request';

-- A claim is one row. What has a fixed width comes first: the sweep reads no further. Times come from
-- clock_timestamp(), keep is in microseconds. extension/requests/claim_row.hpp has the same columns in the same order.
CREATE TABLE once.claim_0_0 (
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
    PRIMARY KEY (key, scope)
) WITH (fillfactor = 85);
CREATE TABLE once.claim_0_1 (LIKE once.claim_0_0 INCLUDING ALL) WITH (fillfactor = 85);
CREATE TABLE once.claim_0_2 (LIKE once.claim_0_0 INCLUDING ALL) WITH (fillfactor = 85);
COMMENT ON TABLE once.claim_0_0 IS 'claims of undeclared scopes, one of three generations: truncated whole, never swept row by row';
COMMENT ON TABLE once.claim_0_1 IS 'claims of undeclared scopes, one of three generations: truncated whole, never swept row by row';
COMMENT ON TABLE once.claim_0_2 IS 'claims of undeclared scopes, one of three generations: truncated whole, never swept row by row';

SELECT pg_catalog.pg_extension_config_dump('once.claim_0_0', '');
SELECT pg_catalog.pg_extension_config_dump('once.claim_0_1', '');
SELECT pg_catalog.pg_extension_config_dump('once.claim_0_2', '');
