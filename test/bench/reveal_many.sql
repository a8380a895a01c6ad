SELECT count(value) FROM keystone.reveal_many(ARRAY(SELECT id FROM keystone.credentials));
