-- BE1: a C symbol of a released version keeps its signature, and is still in the library: a changed function has a new symbol.
-- sql/upgrade/symbols.txt is written at a release (make symbols); before the first one it is empty.
SELECT plan(3);
\ir symbols.psql
CREATE TEMP TABLE released (symbol text, signature text);
\copy released FROM '../../sql/upgrade/symbols.txt'
SELECT cmp_ok((SELECT count(*) FROM symbol), '>', 50::bigint, 'BE1 there is something to compare');
SELECT is_empty('SELECT r.symbol, r.signature, s.signature FROM released r JOIN symbol s USING (symbol)
    WHERE NOT EXISTS (SELECT FROM symbol same WHERE same.symbol = r.symbol AND same.signature = r.signature)',
    'BE1 no released symbol has another signature');
CREATE FUNCTION pg_temp.is_there(symbol text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE FUNCTION pg_temp.probe() RETURNS void LANGUAGE c AS %L, %L', '$libdir/pg_once', symbol);
    DROP FUNCTION pg_temp.probe();
    RETURN true;
EXCEPTION WHEN undefined_function THEN
    RETURN false;
END $$;
SELECT is_empty('SELECT DISTINCT symbol FROM released WHERE NOT pg_temp.is_there(symbol)', 'BE1 and each is still there');
SELECT * FROM finish();
