-- Lane 0, of the default shape. After the functions: it is made by the one that makes every lane.
SELECT once.lane_create(0, 4, 250000);
