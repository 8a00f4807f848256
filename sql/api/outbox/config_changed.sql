-- Sessions keep lanes and topics in memory. Whatever changes their tables tells them, at commit, through the
-- server's own invalidation messages.
CREATE OR REPLACE FUNCTION once.config_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'once_config_changed';
COMMENT ON FUNCTION once.config_changed() IS 'internal: makes every session read lanes and topics again';
CREATE OR REPLACE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON once.lane
    FOR EACH STATEMENT EXECUTE FUNCTION once.config_changed();
CREATE OR REPLACE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON once.topic
    FOR EACH STATEMENT EXECUTE FUNCTION once.config_changed();
CREATE OR REPLACE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON once.slot
    FOR EACH STATEMENT EXECUTE FUNCTION once.config_changed();
COMMENT ON TRIGGER config_changed ON once.slot IS 'makes every session read the slots again';
COMMENT ON TRIGGER config_changed ON once.lane IS 'makes every session read the lanes again';
COMMENT ON TRIGGER config_changed ON once.topic IS 'makes every session read the topics again';
