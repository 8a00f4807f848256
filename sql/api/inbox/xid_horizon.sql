CREATE OR REPLACE FUNCTION once.all_ended(xid xid8) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'once_all_ended';
COMMENT ON FUNCTION once.all_ended(xid8) IS 'true when every transaction up to this xid has ended, prepared ones too, and every snapshot of this database was taken after that; 25006 on a standby';

CREATE OR REPLACE FUNCTION once.last_xid() RETURNS xid8
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'once_last_xid';
COMMENT ON FUNCTION once.last_xid() IS 'last xid that was handed out; every transaction that has one has this or a lower one; 25006 on a standby';
