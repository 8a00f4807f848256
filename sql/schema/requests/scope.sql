-- Settings of request scopes, and where each scope keeps its claims. The row with the empty name stands for all
-- scopes that scope_set has not declared; they share one store.
CREATE TABLE once.scope (
    name text COLLATE "C" PRIMARY KEY,
    store int NOT NULL UNIQUE,
    generation int NOT NULL DEFAULT 0 CHECK (generation BETWEEN 0 AND 2),
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease interval NOT NULL DEFAULT '60 s',
    total_lease interval NOT NULL DEFAULT '24 h',
    keep interval NOT NULL DEFAULT '7 days',
    keep_failed interval,
    max_attempts int NOT NULL DEFAULT 0 CHECK (max_attempts >= 0),
    on_mismatch text NOT NULL DEFAULT 'refuse' CHECK (on_mismatch IN ('refuse', 'allow')),
    key_required boolean NOT NULL DEFAULT true,
    restricted boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE once.scope IS 'settings of request scopes (once.scope_set); the empty name: every scope not declared';
COMMENT ON COLUMN once.scope.store IS 'its claims are in claim_<store>_0 to claim_<store>_2';
COMMENT ON COLUMN once.scope.generation IS 'which of the three takes new claims; changed by once.scope_sweep';
COMMENT ON COLUMN once.scope.keep_failed IS 'null: as keep';
COMMENT ON COLUMN once.scope.max_attempts IS '0: no limit';
COMMENT ON COLUMN once.scope.on_mismatch IS
    'another request under the key of a lapsed or released claim: refuse (verdict mismatch) or allow (takes the key over)';
INSERT INTO once.scope (name, store) VALUES ('', 0);

CREATE TABLE once.scope_right (
    scope text COLLATE "C" NOT NULL,
    role name NOT NULL,
    PRIMARY KEY (scope, role)
);
COMMENT ON TABLE once.scope_right IS 'roles that may use a restricted scope (once.scope_grant)';

SELECT pg_catalog.pg_extension_config_dump('once.scope', $$WHERE name <> ''$$);
SELECT pg_catalog.pg_extension_config_dump('once.scope_right', '');
