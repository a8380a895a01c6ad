-- part: once
CREATE DOMAIN keystone."text/plain" AS text;
COMMENT ON DOMAIN keystone."text/plain" IS 'text that PostgREST serves as media type text/plain';
