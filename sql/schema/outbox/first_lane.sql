-- Lane 0, of the default shape. After the functions: it is made by the one that makes every lane.
SELECT once.lane_create(0, 4, 250000);
INSERT INTO once.slot (slot, lane) SELECT slot, 0 FROM pg_catalog.generate_series(0, 255) AS slot;
