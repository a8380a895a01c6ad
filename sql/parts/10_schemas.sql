-- part: once
CREATE SCHEMA keystone;
COMMENT ON SCHEMA keystone IS 'Keystone: functions, views and tables for clients, all under row-level security';

CREATE SCHEMA keystone_private;
COMMENT ON SCHEMA keystone_private IS 'Keystone: ciphertext, wrapped keys and internal state; not for clients';
