-- The raising forms take the transaction's effects down with them; the try_ forms only say what they found.

CREATE OR REPLACE FUNCTION once.complete(scope text, key text, token uuid, response jsonb DEFAULT NULL, status int DEFAULT NULL, body bytea DEFAULT NULL, keep interval DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_complete';
COMMENT ON FUNCTION once.complete(text, text, uuid, jsonb, int, bytea, interval) IS
    'stores the answer of a claim; keep only shortens what the scope keeps. ON020 when another owner has the claim, ON021 when it was settled otherwise, ON022 when there is none';
CREATE OR REPLACE FUNCTION once.try_complete(scope text, key text, token uuid, response jsonb DEFAULT NULL, status int DEFAULT NULL, body bytea DEFAULT NULL, keep interval DEFAULT NULL) RETURNS once.settle_verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_try_complete';
COMMENT ON FUNCTION once.try_complete(text, text, uuid, jsonb, int, bytea, interval) IS
    'complete that does not raise: ok, already (settled, the same answer), fenced (another owner), missing, mismatch (settled otherwise)';

CREATE OR REPLACE FUNCTION once.fail(scope text, key text, token uuid, error jsonb, status int DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_fail';
COMMENT ON FUNCTION once.fail(text, text, uuid, jsonb, int) IS
    'stores a definite failure: kept as long as the scope keeps failures. ON020 when another owner has the claim, ON021 when it was settled otherwise, ON022 when there is none';
CREATE OR REPLACE FUNCTION once.try_fail(scope text, key text, token uuid, error jsonb, status int DEFAULT NULL) RETURNS once.settle_verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_try_fail';
COMMENT ON FUNCTION once.try_fail(text, text, uuid, jsonb, int) IS
    'fail that does not raise: ok, already (settled, the same answer), fenced (another owner), missing, mismatch (settled otherwise)';

CREATE OR REPLACE FUNCTION once.release(scope text, key text, token uuid) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_release';
COMMENT ON FUNCTION once.release(text, text, uuid) IS
    'gives a claim back: the next caller gets new; attempts and fingerprint stay. ON020 when another owner has the claim, ON021 when it was settled otherwise, ON022 when there is none';
CREATE OR REPLACE FUNCTION once.try_release(scope text, key text, token uuid) RETURNS once.settle_verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_try_release';
COMMENT ON FUNCTION once.try_release(text, text, uuid) IS
    'release that does not raise: ok, already (settled, the same answer), fenced (another owner), missing, mismatch (settled otherwise)';

CREATE OR REPLACE FUNCTION once.renew(scope text, key text, token uuid, lease interval) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_renew';
COMMENT ON FUNCTION once.renew(text, text, uuid, interval) IS
    'extends the lease to now + lease, but never beyond claimed_at + total_lease. ON020 when another owner has the claim, ON021 when it was settled otherwise, ON022 when there is none';
CREATE OR REPLACE FUNCTION once.try_renew(scope text, key text, token uuid, lease interval) RETURNS once.settle_verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_try_renew';
COMMENT ON FUNCTION once.try_renew(text, text, uuid, interval) IS
    'renew that does not raise: ok, already (settled, the same answer), fenced (another owner), missing, mismatch (settled otherwise)';

CREATE OR REPLACE FUNCTION once.checkpoint(scope text, key text, token uuid, state jsonb) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_checkpoint';
COMMENT ON FUNCTION once.checkpoint(text, text, uuid, jsonb) IS
    'keeps a state for whoever reclaims; null clears it. ON020 when another owner has the claim, ON021 when it was settled otherwise, ON022 when there is none';
CREATE OR REPLACE FUNCTION once.try_checkpoint(scope text, key text, token uuid, state jsonb) RETURNS once.settle_verdict
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_try_checkpoint';
COMMENT ON FUNCTION once.try_checkpoint(text, text, uuid, jsonb) IS
    'checkpoint that does not raise: ok, already (settled, the same answer), fenced (another owner), missing, mismatch (settled otherwise)';
