CREATE OR REPLACE FUNCTION once.content_id(scope text, content jsonb, fields text[] DEFAULT NULL) RETURNS uuid
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'once_content_id';
COMMENT ON FUNCTION once.content_id(text, jsonb, text[]) IS
'an id made from content: the same scope and content give the same uuid (version 8, from SHA-256), whatever the order of keys or the spelling of numbers
fields: only these top-level fields of an object count, in any order; a missing one differs from null
collapses equal operations on purpose: put in what tells two of them apart; 22004 null, 22023 invalid scope, or fields of what is no object; works on a standby';
