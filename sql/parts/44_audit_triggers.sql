-- part: replay
CREATE OR REPLACE FUNCTION keystone_private.approval_guard() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_approval_guard';
COMMENT ON FUNCTION keystone_private.approval_guard() IS 'For requests, votes and previews: refuses what Keystone itself does not write, and every change of what is over';

-- How changes come into the audit log: triggers on the vault's own tables, and
-- on tables of users.

CREATE OR REPLACE FUNCTION keystone_private.audit_row() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_row';
COMMENT ON FUNCTION keystone_private.audit_row() IS 'Writes a changed row of a table of Keystone to the outbox of the audit log; row trigger';

CREATE OR REPLACE FUNCTION keystone_private.audit_guard() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_guard';
COMMENT ON FUNCTION keystone_private.audit_guard() IS 'Refuses every change of a table of the audit log by a statement, but for restoring a dump; row trigger';

CREATE OR REPLACE FUNCTION keystone_private.audit_user_row() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_user_row';
COMMENT ON FUNCTION keystone_private.audit_user_row() IS 'Writes a changed row of a user''s table to the outbox of the audit log; its arguments are the columns whose values may stand there; trigger made by audit_table()';

CREATE OR REPLACE FUNCTION keystone_private.audit_flush() RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_flush';
COMMENT ON FUNCTION keystone_private.audit_flush() IS 'Waits until what is committed now stands in the audit log; PT424 when it cannot be written';

CREATE OR REPLACE FUNCTION keystone_private.claim_request(request uuid) RETURNS boolean
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_claim_request';
COMMENT ON FUNCTION keystone_private.claim_request(uuid) IS 'Claims a request for approval once and for all, whatever becomes of the transaction: true for the first claim only; admin profile; PT424';

CREATE OR REPLACE FUNCTION keystone.accept_restore(reason text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_accept_restore';
COMMENT ON FUNCTION keystone.accept_restore(text) IS 'Accepts a restored or copied database with the log it brought: until then its values are refused (PT423), from then on a new epoch of the log says why; admin profile';

CREATE OR REPLACE FUNCTION keystone.audit_table(target regclass, keep_values name[] DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_table';
COMMENT ON FUNCTION keystone.audit_table(regclass, name[]) IS 'From now on changes of a table stand in the audit log: which columns, and salted digests of their values, or the values themselves for the columns in keep_values; only for the owner of the table; calling it again replaces keep_values';

CREATE OR REPLACE FUNCTION keystone.audit_untable(target regclass) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_audit_untable';
COMMENT ON FUNCTION keystone.audit_untable(regclass) IS 'Ends what audit_table() began; only for the owner of the table';
