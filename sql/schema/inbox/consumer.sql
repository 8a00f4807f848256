-- A consumer: whoever acts on messages and keeps a memory of their ids. Its keys stand in tables of its own,
-- once.key_<no>_<slot>, which once.consumer_declare creates. The first columns are read by number in
-- extension/inbox/key_memory.cpp: change both.
CREATE SEQUENCE once.consumer_no AS int;
COMMENT ON SEQUENCE once.consumer_no IS 'numbers of the consumers: they name the tables of their keys';

CREATE TABLE once.consumer (
    no           int NOT NULL UNIQUE DEFAULT pg_catalog.nextval('once.consumer_no'),
    version      uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    name         text COLLATE "C" PRIMARY KEY,
    id_type      text COLLATE "C" CHECK (id_type IN ('bigint', 'uuid', 'text', 'bytea')),
    reject_older boolean NOT NULL DEFAULT false,
    horizon      timestamptz,
    keep         interval,
    keep_count   bigint,
    max_attempts int NOT NULL DEFAULT 10
);
COMMENT ON TABLE once.consumer IS 'receivers and how long each remembers ids; changed by once.consumer_set and once.sweep';
COMMENT ON COLUMN once.consumer.version IS 'replaced by every change of this row or of the consumer''s generations: sessions cache what they read under it';
COMMENT ON COLUMN once.consumer.horizon IS 'ids made up to here may have been forgotten: stored when a generation is given up, never computed from settings';
COMMENT ON COLUMN once.consumer.keep IS 'ids are known for at least this long; null or zero: no limit by time';
COMMENT ON COLUMN once.consumer.keep_count IS 'at least this many of the newest ids are known; null or zero: no limit by count';
COMMENT ON COLUMN once.consumer.max_attempts IS 'an inbox row is parked when it has failed this often';

-- Replacing the version is what makes a change visible to sessions that have the old one cached.
CREATE FUNCTION once.consumer_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.version := gen_random_uuid();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION once.consumer_changed() IS 'trigger: replaces the version of a changed consumer';
CREATE TRIGGER version BEFORE UPDATE ON once.consumer FOR EACH ROW EXECUTE FUNCTION once.consumer_changed();

SELECT pg_catalog.pg_extension_config_dump('once.consumer', '');
SELECT pg_catalog.pg_extension_config_dump('once.consumer_no', '');
