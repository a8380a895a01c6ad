-- part: replay
\echo Use "CREATE EXTENSION keystone" to load this file. \quit

-- Whatever the caller's path is, names below mean pg_catalog's.
SET LOCAL search_path TO pg_catalog, pg_temp;
SET LOCAL client_min_messages TO warning;
