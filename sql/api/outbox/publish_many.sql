-- Many events of one topic in one call, in the order of the arrays. Cheaper per event than once.publish.
CREATE OR REPLACE FUNCTION once.publish_many(topic text, keys text[], payloads jsonb[], headers jsonb[] DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_many_jsonb';
CREATE OR REPLACE FUNCTION once.publish_many(topic text, keys text[], payloads text[], headers jsonb[] DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_many_text';
CREATE OR REPLACE FUNCTION once.publish_many(topic text, keys text[], payloads bytea[], headers jsonb[] DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_many_bytea';
COMMENT ON FUNCTION once.publish_many(text, text[], jsonb[], jsonb[]) IS
    'adds one event per element, in order, and returns their number; keys and headers may be null as a whole or by element; errors as once.publish, 22023 when the arrays differ in length';
COMMENT ON FUNCTION once.publish_many(text, text[], text[], jsonb[]) IS 'the same for text';
COMMENT ON FUNCTION once.publish_many(text, text[], bytea[], jsonb[]) IS 'the same for bytes';
