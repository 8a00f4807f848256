-- 0.1 was a preview: what it stores, and what its functions are called, has no way to 0.2.
DO $$ BEGIN
    RAISE EXCEPTION 'pg_once 0.1 cannot be updated to 0.2'
        USING ERRCODE = '0A000', DETAIL = 'Storage, names and the form of messages are others.',
              HINT = 'Drain it (once-relay outbox --until-empty), then DROP EXTENSION pg_once CASCADE and CREATE EXTENSION pg_once.';
END $$;
