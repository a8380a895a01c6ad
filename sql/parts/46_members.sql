-- part: replay
-- Invitations; what becomes of workspaces and principals.

CREATE OR REPLACE FUNCTION keystone.invite_member(workspace text, email text, role text, expires_at timestamptz DEFAULT NULL) RETURNS text
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_invite_member';
COMMENT ON FUNCTION keystone.invite_member(text, text, text, timestamptz) IS 'Invites somebody into a workspace with a role (admin, operator, viewer, auditor, service) and returns a token, which is shown once and which the application sends to the address; it can be accepted once, for 7 days unless another time of at most 90 days is given; replaces a pending one for the same address; needs workspace, and every permission of the role';

CREATE OR REPLACE FUNCTION keystone.accept_invitation(token text) RETURNS uuid
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_accept_invitation';
COMMENT ON FUNCTION keystone.accept_invitation(text) IS 'Makes the caller a member by the token of an invitation, and returns the workspace; PT404 for a token that is unknown, used, cancelled or expired, or whose inviter could not give the role any more; 23505 for who is a member already';

CREATE OR REPLACE FUNCTION keystone.cancel_invitation(workspace text, email text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_cancel_invitation';
COMMENT ON FUNCTION keystone.cancel_invitation(text, text) IS 'Takes a pending invitation back; PT404 when there is none for the address; needs workspace';

CREATE OR REPLACE FUNCTION keystone.update_workspace(workspace text, changes jsonb) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_update_workspace';
COMMENT ON FUNCTION keystone.update_workspace(text, jsonb) IS 'Merge patch of display_name, slug, contact (these need workspace) and status (active, trial, suspended, cancelled: the admin profile; an owner suspends, and ends what a member has suspended); a suspended workspace gives no value from the next statement on; 23505 when the slug is taken';

CREATE OR REPLACE FUNCTION keystone.offboard_workspace(workspace text, purge_after interval DEFAULT '30 days', confirm text DEFAULT NULL) RETURNS timestamptz
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_offboard_workspace';
COMMENT ON FUNCTION keystone.offboard_workspace(text, interval, text) IS 'Ends a workspace: it gives no value from now on, its API keys are revoked, its invitations cancelled, and when the time is over its keys and ciphertext are destroyed; confirm repeats the slug; returns that time; needs an owner or the admin profile';

CREATE OR REPLACE FUNCTION keystone.cancel_offboarding(workspace text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_cancel_offboarding';
COMMENT ON FUNCTION keystone.cancel_offboarding(text) IS 'Takes an offboarding back, before its time is over; API keys stay revoked; PT404 when there is none; needs an owner, or the admin profile where that offboarded';

CREATE OR REPLACE FUNCTION keystone.disable_principal(principal uuid) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_disable_principal';
COMMENT ON FUNCTION keystone.disable_principal(uuid) IS 'Ends everything that a principal may do, and what it gave to others, at once and everywhere; PT404 when there is none; admin profile';

CREATE OR REPLACE FUNCTION keystone.enable_principal(principal uuid) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_enable_principal';
COMMENT ON FUNCTION keystone.enable_principal(uuid) IS 'Gives a disabled principal back what it had; PT404 when there is none; admin profile';

CREATE OR REPLACE FUNCTION keystone.link_auth_users() RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_link_auth_users';
COMMENT ON FUNCTION keystone.link_auth_users() IS 'Makes a deletion from Supabase''s table auth.users disable the principal of that id; 55000 where there is no such table; admin profile';

CREATE OR REPLACE FUNCTION keystone_private.auth_user_deleted() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_auth_user_deleted';
COMMENT ON FUNCTION keystone_private.auth_user_deleted() IS 'Disables the principal of a user that was deleted; row trigger on auth.users, made by link_auth_users()';
