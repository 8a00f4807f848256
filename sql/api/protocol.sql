-- In SQL, not in C: it must tell what the functions of this script mean, whichever library a session has loaded. With a
-- search_path it is never inlined, so a prepared statement of a running relay asks anew each time.
CREATE OR REPLACE FUNCTION once.protocol(OUT oldest int, OUT newest int)
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'SELECT 2, 2';
COMMENT ON FUNCTION once.protocol() IS 'the protocols that this extension speaks with once-relay: the relay goes on where the two ranges meet, and ends with exit code 3 where they do not';
