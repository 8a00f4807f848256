-- Many events of one topic in one call, in the order of the arrays. Cheaper per event than once.publish.
CREATE OR REPLACE FUNCTION once.publish_many(topic text, payloads jsonb[], keys text[] DEFAULT NULL, headers jsonb[] DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_array_json';
CREATE OR REPLACE FUNCTION once.publish_many_text(topic text, payloads text[], keys text[] DEFAULT NULL, headers jsonb[] DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_array_text';
CREATE OR REPLACE FUNCTION once.publish_many_bytes(topic text, payloads bytea[], keys text[] DEFAULT NULL, headers jsonb[] DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_publish_array_bytes';
COMMENT ON FUNCTION once.publish_many(text, jsonb[], text[], jsonb[]) IS
    'adds one event per element, in order, and returns their number; keys and headers may be null as a whole or by element; errors as once.publish, 22023 when the arrays differ in length';
COMMENT ON FUNCTION once.publish_many_text(text, text[], text[], jsonb[]) IS
    'as once.publish_many, for text';
COMMENT ON FUNCTION once.publish_many_bytes(text, bytea[], text[], jsonb[]) IS
    'as once.publish_many, for bytes';
