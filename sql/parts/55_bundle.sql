-- part: replay
-- A workspace moves to another server.  The bundle is sealed for the holder of
-- a private key; no key passes through SQL.

CREATE OR REPLACE FUNCTION keystone.export_bundle(workspace text, recipient bytea) RETURNS bytea
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000 AS 'MODULE_PATHNAME', 'ks_fn_export_bundle';
COMMENT ON FUNCTION keystone.export_bundle(text, bytea) IS
	'The workspace with its values, sealed for the X25519 public key of another server: what is shared, and the caller''s own personal credentials; one entry in the audit log stands for the reveal of all; owner only; 42501, PT404, 22023, PT423, PT424, PT429, 25006, 54000 above 1 GB';

CREATE OR REPLACE FUNCTION keystone.import_bundle(bundle bytea, slug text DEFAULT NULL) RETURNS uuid
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000 AS 'MODULE_PATHNAME', 'ks_fn_import_bundle';
COMMENT ON FUNCTION keystone.import_bundle(bytea, text) IS
	'Makes a new workspace of a bundle that is for the key in keystone.import_key_file; the caller becomes its owner; slug NULL keeps that of the bundle; all or nothing; 22023 unless the bundle is complete and unchanged, 23505 when the slug is taken, 55000 when the key cannot be read';
