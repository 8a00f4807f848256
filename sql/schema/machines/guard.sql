-- Versions, locks, leases, keys and tokens.
CREATE TYPE once.bump_verdict AS ENUM ('ok', 'stale', 'missing', 'ahead');
CREATE TYPE once.lock_verdict AS ENUM ('locked', 'already', 'busy');
CREATE TYPE once.lease_verdict AS ENUM ('acquired', 'renewed', 'busy');
CREATE TYPE once.token_verdict AS ENUM ('ok', 'duplicate', 'unknown', 'expired');

-- One row per lease, never deleted: its token must rise for ever. A released lease has no owner and no end.
CREATE TABLE once.lease_state (
    name text COLLATE "C" PRIMARY KEY,
    owner text COLLATE "C",
    token bigint NOT NULL,
    expires_at timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE once.lease_state IS 'leases: who holds each, its newest fencing token, until when';

CREATE SEQUENCE once.key_seq CACHE 1;
COMMENT ON SEQUENCE once.key_seq IS 'numbers of once.key_next, key_block and key_next_ordered';

-- Tokens in generations that are truncated whole; a token is redeemed in the table it was issued into.
CREATE TABLE once.token_0 (token uuid PRIMARY KEY, scope text NOT NULL, expires_at timestamptz NOT NULL, redeemed_at timestamptz) WITH (fillfactor = 80);
CREATE TABLE once.token_1 (LIKE once.token_0 INCLUDING ALL) WITH (fillfactor = 80);
CREATE TABLE once.token_2 (LIKE once.token_0 INCLUDING ALL) WITH (fillfactor = 80);
COMMENT ON TABLE once.token_1 IS 'as once.token_0: the next generation';
COMMENT ON TABLE once.token_2 IS 'as once.token_0: the next generation';
COMMENT ON TABLE once.token_0 IS 'issued tokens, one of three generations';

SELECT pg_catalog.pg_extension_config_dump('once.lease_state', '');
SELECT pg_catalog.pg_extension_config_dump('once.key_seq', '');
SELECT pg_catalog.pg_extension_config_dump('once.token_0', '');
SELECT pg_catalog.pg_extension_config_dump('once.token_1', '');
SELECT pg_catalog.pg_extension_config_dump('once.token_2', '');
