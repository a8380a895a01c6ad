INSERT INTO chained_log (actor, object, body) VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', decode(repeat('ab', 626), 'hex'));
