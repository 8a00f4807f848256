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


SELECT pg_catalog.pg_extension_config_dump('once.lease_state', '');
SELECT pg_catalog.pg_extension_config_dump('once.key_seq', '');
