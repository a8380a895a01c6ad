-- part: replay
-- Columns of an application's own: encrypting, decrypting, searching.

CREATE OR REPLACE FUNCTION keystone.encrypt(workspace text, plaintext bytea, context bytea DEFAULT '') RETURNS bytea
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_encrypt';
COMMENT ON FUNCTION keystone.encrypt(text, bytea, bytea) IS
	'Encrypts bytes for a column, bound to the workspace and to a context of at most 1024 bytes; needs store; 42501, PT404, PT423, 25006';

CREATE OR REPLACE FUNCTION keystone.decrypt(workspace text, ciphertext bytea, context bytea DEFAULT '') RETURNS bytea
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_decrypt';
COMMENT ON FUNCTION keystone.decrypt(text, bytea, bytea) IS
	'Decrypts what encrypt() made for the same workspace and context, recorded first, in blocks of rows; needs reveal; 22023 for other bytes, 42501, PT404, PT423, PT424, PT429, 25006';

CREATE OR REPLACE FUNCTION keystone.encrypt_text(workspace text, plaintext text, context text DEFAULT '') RETURNS text
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_encrypt_text';
COMMENT ON FUNCTION keystone.encrypt_text(text, text, text) IS
	'encrypt() for text: ks1: and the envelope in base64url; needs store; 42501, PT404, PT423, 25006';

CREATE OR REPLACE FUNCTION keystone.decrypt_text(workspace text, ciphertext text, context text DEFAULT '') RETURNS text
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_decrypt_text';
COMMENT ON FUNCTION keystone.decrypt_text(text, text, text) IS
	'decrypt() for what encrypt_text() made; needs reveal; 22023 for other texts, 42501, PT404, PT423, PT424, PT429, 25006';

CREATE OR REPLACE FUNCTION keystone.blind_index(workspace text, plaintext text, context text DEFAULT '') RETURNS bytea
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_blind_index';
COMMENT ON FUNCTION keystone.blind_index(text, text, text) IS
	'16 bytes that are the same for the same text, workspace and context, for searching encrypted columns; shows which rows are equal; needs store; 42501, PT404, PT423';
