-- What each kind of role may do. grant_publisher, grant_relay, grant_consumer and grant_admin read this list;
-- a feature adds its own lines where it creates its objects. An object is a function (all of its overloads)
-- or a table or view of the schema once.
CREATE TABLE once.role_right (
    kind text NOT NULL CHECK (kind IN ('publisher', 'relay', 'consumer', 'admin')),
    privilege text NOT NULL CHECK (privilege IN ('EXECUTE', 'SELECT')),
    object name NOT NULL,
    PRIMARY KEY (kind, object)
);
-- Who was granted a kind, by name: an upgrade grants what is new to those that still have all the rest.
CREATE TABLE once.role_grant (
    kind text NOT NULL CHECK (kind IN ('publisher', 'relay', 'consumer', 'admin')),
    role name NOT NULL,
    PRIMARY KEY (kind, role)
);
COMMENT ON TABLE once.role_grant IS 'roles that once.grant_publisher, grant_relay, grant_consumer or grant_admin was called for';
SELECT pg_catalog.pg_extension_config_dump('once.role_grant', '');
COMMENT ON TABLE once.role_right IS 'what once.grant_publisher, grant_relay, grant_consumer and grant_admin give: one line per object';
