-- What every upgrade ends with: whoever had all rights of a kind has those that are new.
DO $$
DECLARE
    granted jsonb;
BEGIN
    FOR granted IN SELECT pg_catalog.jsonb_array_elements(pg_catalog.current_setting('pg_once_upgrade.granted')::jsonb) LOOP
        PERFORM once.grant_kind(granted ->> 0, pg_catalog.quote_ident(granted ->> 1)::regrole);
    END LOOP;
END $$;
