-- One number for each source of a consumer: everything up to it has been accepted.
CREATE TABLE once.position (
    consumer text COLLATE "C" NOT NULL,
    source   text COLLATE "C" NOT NULL,
    pos      bigint NOT NULL,
    PRIMARY KEY (consumer, source)
) WITH (fillfactor = 50);
COMMENT ON TABLE once.position IS 'highest accepted position per consumer and source';

SELECT pg_catalog.pg_extension_config_dump('once.position', '');
