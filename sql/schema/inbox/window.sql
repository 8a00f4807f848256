-- For sources that deliver out of order: the highest position seen and a bit for it and each of the 8,191 below.
-- The bitmap is plain storage: compressing a kilobyte on each change would cost more than it saves.
CREATE TABLE once.position_window (
    consumer text COLLATE "C" NOT NULL,
    source   text COLLATE "C" NOT NULL,
    highest  bigint NOT NULL,
    seen     bytea NOT NULL,
    PRIMARY KEY (consumer, source)
) WITH (fillfactor = 50);
ALTER TABLE once.position_window ALTER COLUMN seen SET STORAGE PLAIN;
COMMENT ON TABLE once.position_window IS 'sliding window of accepted positions per consumer and source (RFC 6479)';
COMMENT ON COLUMN once.position_window.seen IS '1,024 bytes; position p stands at bit p mod 8192, lowest bit first';

SELECT pg_catalog.pg_extension_config_dump('once.position_window', '');
