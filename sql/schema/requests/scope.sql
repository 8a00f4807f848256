-- Settings of request scopes. A scope without a row has those of the first one's defaults, and costs nothing: what it
-- claims lies in the rings that all scopes share (sql/schema/generations/ring.sql).
CREATE TABLE once.scope (
    name text COLLATE "C" PRIMARY KEY,
    declared boolean NOT NULL DEFAULT true,
    lease interval NOT NULL DEFAULT '60 s',
    total_lease interval NOT NULL DEFAULT '24 h',
    keep interval NOT NULL DEFAULT '7 days',
    keep_failed interval,
    max_attempts int NOT NULL DEFAULT 0 CHECK (max_attempts >= 0),
    on_mismatch text NOT NULL DEFAULT 'refuse' CHECK (on_mismatch IN ('refuse', 'allow')),
    key_required boolean NOT NULL DEFAULT true,
    roles text[],
    class smallint NOT NULL DEFAULT 1 CHECK (class BETWEEN 0 AND 5),
    class_before smallint NOT NULL DEFAULT 1 CHECK (class_before BETWEEN 0 AND 5),
    classes int NOT NULL DEFAULT 2 CHECK ((classes >> class) & 1 = 1 AND (classes >> class_before) & 1 = 1),
    changed xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id()
) WITH (fillfactor = 85);
COMMENT ON TABLE once.scope IS 'settings of request scopes (once.scope_set, once.scope_grant)';
COMMENT ON COLUMN once.scope.declared IS 'false: dropped. The row stays for its classes: what was claimed is still looked for';
COMMENT ON COLUMN once.scope.keep_failed IS 'null: as keep';
COMMENT ON COLUMN once.scope.max_attempts IS '0: no limit';
COMMENT ON COLUMN once.scope.on_mismatch IS
    'another request under the key of a lapsed or released claim: refuse (verdict mismatch) or allow (takes the key over)';
COMMENT ON COLUMN once.scope.roles IS 'roles that may use it; null: everybody who may call once.claim';
COMMENT ON COLUMN once.scope.class IS 'the ring that takes what is written: claim_day, week, month, quarter, year, forever by number from 0';
COMMENT ON COLUMN once.scope.class_before IS 'the class before the last change. The transaction that changed it writes there until it commits: others look for a claim where they can know of';
COMMENT ON COLUMN once.scope.classes IS 'a bit for each class that it ever had: all these rings are looked into';
COMMENT ON COLUMN once.scope.changed IS 'the transaction that changed the class last';

SELECT pg_catalog.pg_extension_config_dump('once.scope', '');
