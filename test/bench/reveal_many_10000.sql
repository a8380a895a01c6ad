SELECT count(value) FROM keystone.reveal_many(ARRAY(SELECT c.id FROM keystone.credentials c, generate_series(1, 10) ORDER BY random() LIMIT 10000));
