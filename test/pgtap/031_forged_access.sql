-- I4: rows that give rights, made, copied or edited by somebody with all rights
-- on the tables, by a superuser as a replica, and by one who has switched all
-- triggers off: they give nothing, and keystone.health names them.
BEGIN;
\ir lib/tenants.sql
\ir lib/access.sql
\o /dev/null
CREATE ROLE ks_tables LOGIN BYPASSRLS;
GRANT USAGE ON SCHEMA keystone, keystone_private TO ks_tables, PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA keystone, keystone_private TO ks_tables;

-- What is over: a key that was revoked, one that has expired, the former
-- secret of one that was rotated, a share, a member, a profile, a principal, an
-- invitation that was used and one that has expired.
INSERT INTO pg_temp.tokens
SELECT who, pg_temp.do_as('ks_owner', format('SELECT api_key FROM keystone.create_api_key(%L, %L, %L, clock_timestamp() + %L::interval)', 'acme', who, 'admin', lasts))
FROM (VALUES ('key_revoked', '1 day'), ('key_expired', '0.3 s'), ('key_rotated', '1 day')) k (who, lasts);
SELECT pg_temp.do_as('ks_owner', $$SELECT keystone.revoke_api_key('acme', 'key_revoked')$$);
SELECT pg_temp.do_as('ks_owner', $$SELECT id FROM keystone.rotate_api_key('acme', 'key_rotated', '0')$$);
SELECT pg_temp.do_as('ks_operator', format('SELECT keystone.share_credential(%L, %L, clock_timestamp() + %L::interval)', pg_temp.credential('operators-own'), pg_temp.principal('ks_service'), '0.3 s'));
SELECT pg_temp.do_as('ks_viewer', format('SELECT keystone.share_credential(%L, %L)', pg_temp.credential('viewers-own'), pg_temp.principal('ks_grantee')));
SELECT pg_temp.do_as('ks_viewer', format('SELECT keystone.unshare_credential(%L, %L)', pg_temp.credential('viewers-own'), pg_temp.principal('ks_grantee')));
-- Invitations are into another workspace: one that was joined gives nothing to
-- the transaction that did.
SELECT pg_temp.do_as('ks_owner', $$SELECT keystone.create_workspace('joined')$$);
SELECT pg_temp.do_as('ks_owner', format('SELECT keystone.add_member(%L, %L, %L)', 'joined', pg_temp.principal('ks_admin'), 'admin'));
CREATE TEMP TABLE invited AS
	SELECT w AS what, pg_temp.do_as('ks_owner', format('SELECT keystone.invite_member(%L, %L, %L, clock_timestamp() + %L::interval)', 'joined', w || '@example.com', 'viewer', lasts)) AS token
	FROM (VALUES ('used', '1 day'), ('expired', '0.3 s'), ('cancelled', '1 day'), ('open', '1 day'), ('other', '1 day'), ('once', '1 day')) i (w, lasts);
GRANT SELECT ON invited TO PUBLIC;
SELECT pg_temp.do_as('ks_owner', $$SELECT keystone.cancel_invitation('joined', 'cancelled@example.com')$$);
SELECT pg_temp.do_as('ks_helper', (SELECT format('SELECT keystone.accept_invitation(%L)', token) FROM invited WHERE what = 'used'));
SELECT pg_temp.do_as('ks_owner', format('SELECT keystone.add_member(%L, %L, %L)', 'acme', pg_temp.principal('ks_helper'), 'viewer'));
SELECT pg_temp.do_as('ks_owner', format('SELECT keystone.remove_member(%L, %L)', 'acme', pg_temp.principal('ks_helper')));
CREATE ROLE ks_disabled LOGIN;
CREATE ROLE ks_revoked LOGIN;
SELECT keystone.grant_access('ks_disabled', 'client'), keystone.grant_access('ks_revoked', 'client'), keystone.grant_access('ks_revoked', 'admin');
SELECT keystone.register_principal('Disabled', db_role => 'ks_disabled');
SELECT pg_temp.do_as('ks_owner', format('SELECT keystone.add_member(%L, %L, %L)', 'acme', pg_temp.principal('ks_disabled'), 'admin'));
SELECT keystone.disable_principal(pg_temp.principal('ks_disabled'));
SELECT keystone.revoke_access('ks_revoked', 'admin');
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.create_workspace('suspended')$$);
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.store('suspended', 'suspended-shared', 'value of suspended-shared')$$);
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.update_workspace('suspended', '{"status": "suspended"}')$$);
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.create_workspace('offboarded')$$);
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.store('offboarded', 'offboarded-shared', 'value of offboarded-shared')$$);
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.offboard_workspace('offboarded', confirm => 'offboarded')$$);
SELECT pg_sleep(0.4);

-- A name of each thing, for the statements below: {ks_x} principals, {key_x}
-- keys, {prefix_x} the newest prefix of one, credentials and workspaces.
CREATE FUNCTION pg_temp.fill(what text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	named record;
BEGIN
	FOR named IN SELECT slug AS name, id::text FROM keystone.workspaces UNION ALL SELECT name, id::text FROM keystone_private.credentials
		UNION ALL SELECT db_role, id::text FROM keystone.principals WHERE db_role IS NOT NULL
		UNION ALL SELECT replace(name, 'the ', 'key_'), id::text FROM keystone_private.api_keys
		UNION ALL SELECT replace(replace(name, 'the ', 'prefix_'), 'key_', 'prefix_'), prefix FROM keystone_private.api_keys
	LOOP
		what := replace(what, '{' || named.name || '}', named.id);
	END LOOP;
	RETURN what;
END
$$;
-- Statements that give two keys each other's name, of which each is unique.
CREATE FUNCTION pg_temp.exchange(a text, b text) RETURNS text LANGUAGE sql AS $$
	SELECT format('UPDATE keystone_private.api_keys SET name = name || id WHERE id IN (%L, %L); UPDATE keystone_private.api_keys k SET name = replace(o.name, o.id::text, '''') FROM keystone_private.api_keys o
		WHERE k.id IN (%1$L, %2$L) AND o.id IN (%1$L, %2$L) AND k.id <> o.id', a, b)
$$;
CREATE TEMP TABLE tampering (place int GENERATED ALWAYS AS IDENTITY, what text, changed text, statement text, who text, query text, gets text);
INSERT INTO tampering (what, changed, statement, who, query, gets) VALUES
	-- members
	('a membership made', 'members {acme}/{ks_stranger}', $$INSERT INTO keystone.members (workspace_id, principal_id, role, row_mac) VALUES ('{acme}', '{ks_stranger}', 'owner', decode(repeat('00', 32), 'hex'))$$,
		'ks_stranger', $$SELECT keystone.reveal('acme', 'acme-shared')$$, 'PT404'),
	('a membership copied to another principal', 'members {acme}/{ks_stranger}', $$INSERT INTO keystone.members SELECT workspace_id, '{ks_stranger}', role, extra_permissions, added_by, created_at, updated_at, removed_at, row_mac
		FROM keystone.members WHERE principal_id = '{ks_admin}' AND workspace_id = '{acme}'$$, 'ks_stranger', $$SELECT keystone.reveal('acme', 'acme-shared')$$, 'PT404'),
	('a membership copied to another workspace', 'members {acme}/{ks_stranger}', $$INSERT INTO keystone.members SELECT '{acme}', principal_id, role, extra_permissions, added_by, created_at, updated_at, removed_at, row_mac
		FROM keystone.members WHERE principal_id = '{ks_stranger}' AND workspace_id = '{globex}'$$, 'ks_stranger', $$SELECT keystone.reveal('acme', 'acme-shared')$$, 'PT404'),
	('a role edited', 'members {acme}/{ks_viewer}', $$UPDATE keystone.members SET role = 'admin' WHERE principal_id = '{ks_viewer}'$$, 'ks_viewer', $$SELECT keystone.reveal('acme', 'acme-shared')$$, 'PT404'),
	('a member who was removed put back', 'members {acme}/{ks_helper}', $$UPDATE keystone.members SET removed_at = NULL WHERE principal_id = '{ks_helper}' AND workspace_id = '{acme}'$$,
		'ks_helper', $$SELECT count(*) FROM keystone.credentials WHERE workspace = 'acme'$$, '0'),
	('a member made for an API key', 'members {acme}/{key_viewer}', $$INSERT INTO keystone.members SELECT workspace_id, '{key_viewer}', role, extra_permissions, added_by, created_at, updated_at, removed_at, row_mac
		FROM keystone.members WHERE principal_id = '{ks_admin}' AND workspace_id = '{acme}'$$, 'key_viewer', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	-- principals
	('a login role edited', 'principals {ks_owner}', $$UPDATE keystone.principals SET db_role = 'ks_anonymous' WHERE id = '{ks_owner}'$$, 'ks_anonymous', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a login role exchanged with its MAC', 'principals {ks_owner}', $$WITH gone AS (UPDATE keystone.principals SET db_role = NULL WHERE id = '{ks_stranger}' RETURNING row_mac)
		UPDATE keystone.principals SET db_role = 'ks_anonymous', row_mac = gone.row_mac FROM gone WHERE id = '{ks_owner}'$$, 'ks_anonymous', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a principal enabled by hand', 'principals {ks_disabled}', $$UPDATE keystone.principals SET disabled_at = NULL WHERE id = '{ks_disabled}'$$, 'ks_disabled', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('an API key made a user', 'principals {key_viewer}', $$UPDATE keystone.principals SET kind = 'user', db_role = 'ks_anonymous' WHERE id = '{key_viewer}'$$, 'ks_anonymous', $$SELECT count(*) FROM keystone.credentials$$, '0'),
	('an API key''s principal enabled', 'principals {key_admin}', $$UPDATE keystone.principals SET disabled_at = now() - interval '1 s' WHERE id = '{key_admin}'$$, 'key_admin', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	-- profiles
	('a profile made', 'profile_grants ks_anonymous/admin', $$INSERT INTO keystone_private.profile_grants (role_name, profile, granted_by, row_mac) SELECT 'ks_anonymous', profile, granted_by, row_mac FROM keystone_private.profile_grants WHERE role_name = 'ks_dba'$$,
		'ks_anonymous', $$SELECT keystone_private.has_profile('admin')$$, 'false'),
	('a profile that was revoked put back', 'profile_grants ks_revoked/admin', $$UPDATE keystone_private.profile_grants SET revoked_at = NULL WHERE role_name = 'ks_revoked' AND profile = 'admin'$$,
		'ks_revoked', $$SELECT keystone_private.has_profile('admin')$$, 'false'),
	('a profile edited', 'profile_grants ks_anonymous/auditor', $$UPDATE keystone_private.profile_grants SET profile = 'auditor' WHERE role_name = 'ks_anonymous'$$,
		'ks_anonymous', $$SELECT count(*) FROM keystone.audit_log$$, '0'),
	-- external ids
	('an external id made', 'external_ids {ks_owner}', $$INSERT INTO keystone_private.external_ids VALUES ('{ks_owner}', 'role:anon', '\x00')$$, 'ks_anonymous', 'SELECT source FROM keystone.whoami()', 'anonymous'),
	-- workspaces
	('a suspended workspace made active', 'workspaces {suspended}', $$UPDATE keystone.workspaces SET status = 'active' WHERE slug = 'suspended'$$, 'ks_stranger', $$SELECT keystone.reveal('suspended', 'suspended-shared')$$, 'PT404'),
	('an offboarding taken back', 'workspaces {offboarded}', $$UPDATE keystone.workspaces SET status = 'active', purge_after = NULL WHERE slug = 'offboarded'$$, 'ks_stranger', $$SELECT keystone.reveal('offboarded', 'offboarded-shared')$$, 'PT404'),
	('an offboarding put off', 'workspaces {offboarded}', $$UPDATE keystone.workspaces SET purge_after = purge_after + interval '1 year' WHERE slug = 'offboarded'$$, 'ks_stranger', $$SELECT keystone.cancel_offboarding('offboarded')$$, 'PT404'),
	('a workspace named as another', 'workspaces {acme}', $$WITH other AS (UPDATE keystone.workspaces SET slug = 'acme-was' WHERE slug = 'acme') UPDATE keystone.workspaces SET slug = 'acme-too' WHERE slug = 'globex'$$,
		'ks_stranger', $$SELECT keystone.reveal('acme-too', 'globex-shared')$$, 'PT404'),
	('who suspended a workspace', 'workspaces {suspended}', $$UPDATE keystone.workspaces SET status_set_by = '{ks_owner}' WHERE slug = 'suspended'$$, 'ks_stranger', $$SELECT keystone.update_workspace('suspended', '{"status": "active"}')$$, 'PT404'),
	-- API keys
	('a key''s role edited', 'api_keys {acme}/{key_viewer}', $$UPDATE keystone_private.api_keys SET role = 'admin' WHERE id = '{key_viewer}'$$, 'key_viewer', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a key''s role exchanged with its MAC', 'api_keys {acme}/{key_viewer}', $$UPDATE keystone_private.api_keys k SET role = o.role, updated_at = o.updated_at, row_mac = o.row_mac FROM keystone_private.api_keys o WHERE k.id = '{key_viewer}' AND o.id = '{key_admin}'$$,
		'key_viewer', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('the names of two keys exchanged', 'api_keys {acme}/{key_viewer}', pg_temp.exchange('{key_admin}', '{key_viewer}'), 'key_viewer', $$SELECT count(*) FROM keystone.credentials$$, '42501'),
	('the same, the other one', 'api_keys {acme}/{key_admin}', pg_temp.exchange('{key_admin}', '{key_viewer}'), 'key_admin', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a key''s prefix edited', 'api_keys {acme}/{key_admin}', $$UPDATE keystone_private.api_keys SET prefix = '00112233aabb' WHERE id = '{key_admin}'$$, 'key_admin', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a key''s environments edited', 'api_keys {acme}/{key_limited}', $$UPDATE keystone_private.api_keys SET environments = NULL WHERE id = '{key_limited}'$$, 'key_limited', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a key''s environments emptied', 'api_keys {acme}/{key_limited}', $$UPDATE keystone_private.api_keys SET environments = '{}' WHERE id = '{key_limited}'$$, 'key_limited', $$SELECT keystone.reveal('acme', 'prod-cohere', 'prod')$$, '42501'),
	('a key''s environments with a NULL', 'api_keys {acme}/{key_limited}', $$UPDATE keystone_private.api_keys SET environments = '{prod,NULL}' WHERE id = '{key_limited}'$$, 'key_limited', $$SELECT keystone.reveal('acme', 'prod-cohere', 'prod')$$, '42501'),
	('a key''s environments in two dimensions', 'api_keys {acme}/{key_limited}', $$UPDATE keystone_private.api_keys SET environments = '{{prod,default}}' WHERE id = '{key_limited}'$$, 'key_limited', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('very many environments of a key', 'api_keys {acme}/{key_limited}', $$UPDATE keystone_private.api_keys SET environments = (SELECT array_agg(repeat('x', 1000) || i) FROM generate_series(1, 5000) i) WHERE id = '{key_limited}'$$, 'key_limited', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a key''s environments and providers exchanged', 'api_keys {acme}/{key_limited}', $$UPDATE keystone_private.api_keys SET environments = providers, providers = environments WHERE id = '{key_limited}'$$, 'key_limited', $$SELECT count(*) FROM keystone.credentials$$, '42501'),
	('a key''s providers edited', 'api_keys {acme}/{key_limited}', $$UPDATE keystone_private.api_keys SET providers = NULL WHERE id = '{key_limited}'$$, 'key_limited', $$SELECT keystone.reveal('acme', 'prod-cohere', 'prod')$$, '42501'),
	('an expired key prolonged', 'api_keys {acme}/{key_expired}', $$UPDATE keystone_private.api_keys SET expires_at = NULL WHERE id = '{key_expired}'$$, 'key_expired', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a revoked key put back', 'api_keys {acme}/{key_revoked}', $$UPDATE keystone_private.api_keys SET revoked_at = NULL WHERE id = '{key_revoked}'$$, 'key_revoked', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a key said to be another''s', 'api_keys {globex}/{key_foreign}', $$UPDATE keystone_private.api_keys SET created_by = '{ks_owner}' WHERE id = '{key_foreign}'$$, 'key_stranger', $$SELECT keystone.reveal('globex', 'globex-shared')$$, '42501'),
	('a key moved to another workspace', 'api_keys {acme}/{key_foreign}', $$WITH s AS (DELETE FROM keystone_private.api_key_secrets WHERE key_id = '{key_foreign}' RETURNING *),
		k AS (DELETE FROM keystone_private.api_keys WHERE id = '{key_foreign}' RETURNING *),
		n AS (INSERT INTO keystone_private.api_keys SELECT '{acme}', k.id, k.name, k.prefix, k.role, k.environments, k.providers, '{ks_owner}', k.created_at, k.updated_at, k.expires_at, k.revoked_at, k.row_mac FROM k)
		INSERT INTO keystone_private.api_key_secrets SELECT '{acme}', s.prefix, s.key_id, s.secret_mac, s.created_at, s.valid_until, s.row_mac FROM s$$,
		'key_stranger', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a key made for a member', 'api_keys {acme}/{ks_stranger}', $$INSERT INTO keystone_private.api_keys SELECT workspace_id, '{ks_stranger}', 'n', prefix, role, environments, providers, created_by, created_at, updated_at, expires_at, revoked_at, row_mac
		FROM keystone_private.api_keys WHERE id = '{key_admin}'$$, 'ks_stranger', $$SELECT keystone.reveal('acme', 'acme-shared')$$, 'PT404'),
	-- their secrets
	('a secret that was rotated out put back', 'api_key_secrets {acme}/', $$UPDATE keystone_private.api_key_secrets SET valid_until = NULL WHERE key_id = '{key_rotated}' AND valid_until IS NOT NULL$$, 'key_rotated', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a secret given to another key', 'api_key_secrets {acme}/{prefix_viewer}', $$UPDATE keystone_private.api_key_secrets SET key_id = '{key_admin}' WHERE prefix = '{prefix_viewer}'$$, 'key_viewer', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a secret''s HMAC copied to another key', 'api_key_secrets {acme}/{prefix_admin}', $$UPDATE keystone_private.api_key_secrets a SET secret_mac = v.secret_mac FROM keystone_private.api_key_secrets v WHERE a.prefix = '{prefix_admin}' AND v.prefix = '{prefix_viewer}'$$,
		'key_as_admin', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	('a secret''s prefix edited', 'api_key_secrets {acme}/00112233aabb', $$UPDATE keystone_private.api_key_secrets SET prefix = '00112233aabb' WHERE prefix = '{prefix_admin}'$$, 'key_admin', $$SELECT keystone.reveal('acme', 'acme-shared')$$, '42501'),
	-- invitations
	('an invitation''s role edited', 'invitations {joined}/', $$UPDATE keystone.invitations SET role = 'admin' WHERE email = 'open@example.com'$$, 'ks_worker', $$SELECT keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'open'))$$, 'PT404'),
	('an invitation''s address edited', 'invitations {joined}/', $$UPDATE keystone.invitations SET email = 'worker@example.com' WHERE email = 'open@example.com'$$, 'ks_worker', $$SELECT keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'open'))$$, 'PT404'),
	('an expired invitation prolonged', 'invitations {joined}/', $$UPDATE keystone.invitations SET expires_at = now() + interval '1 day' WHERE email = 'expired@example.com'$$, 'ks_worker', $$SELECT keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'expired'))$$, 'PT404'),
	('a used invitation made new', 'invitations {joined}/', $$UPDATE keystone.invitations SET accepted_at = NULL, accepted_by = NULL WHERE email = 'used@example.com'$$, 'ks_worker', $$SELECT keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'used'))$$, 'PT404'),
	('a cancelled invitation made new', 'invitations {joined}/', $$UPDATE keystone.invitations SET cancelled_at = NULL WHERE email = 'cancelled@example.com'$$, 'ks_worker', $$SELECT keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'cancelled'))$$, 'PT404'),
	('an invitation of somebody else', 'invitations {joined}/', $$UPDATE keystone.invitations SET invited_by = '{ks_admin}' WHERE email = 'open@example.com'$$, 'ks_worker', $$SELECT keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'open'))$$, 'PT404'),
	('an invitation with another''s token', 'invitations {joined}/', $$WITH gone AS (UPDATE keystone.invitations SET token_mac = '\x00' WHERE email = 'other@example.com' RETURNING (SELECT i.token_mac FROM keystone.invitations i WHERE i.email = 'other@example.com') AS token_mac)
		UPDATE keystone.invitations i SET token_mac = gone.token_mac || ''::bytea FROM gone WHERE i.email = 'expired@example.com'$$, 'ks_worker', $$SELECT keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'other'))$$, 'PT404'),
	('an invitation into another workspace', 'invitations {globex}/', $$UPDATE keystone.invitations SET workspace_id = '{globex}' WHERE email = 'open@example.com'$$, 'ks_worker', $$SELECT keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'open'))$$, 'PT404'),
	-- shares
	('a share made', 'credential_shares {acme}/{viewers-own}/{ks_service}', $$INSERT INTO keystone.credential_shares (workspace_id, credential_id, grantee, owner, created_at, updated_at, row_mac) VALUES ('{acme}', '{viewers-own}', '{ks_service}', '{ks_viewer}', now(), now(), '\x00')$$,
		'ks_service', $$SELECT keystone.reveal_by_id('{viewers-own}')$$, 'PT404'),
	('a share with somebody else', 'credential_shares {acme}/{operators-own}/{ks_auditor}', $$UPDATE keystone.credential_shares SET grantee = '{ks_auditor}' WHERE grantee = '{ks_grantee}' AND credential_id = '{operators-own}'$$, 'ks_auditor', $$SELECT keystone.reveal_by_id('{operators-own}')$$, 'PT404'),
	('a share copied to another credential', 'credential_shares {acme}/{viewers-own}/{ks_grantee}', $$UPDATE keystone.credential_shares v SET revoked_at = NULL, updated_at = o.updated_at, row_mac = o.row_mac FROM keystone.credential_shares o
		WHERE v.credential_id = '{viewers-own}' AND o.credential_id = '{operators-own}' AND o.grantee = '{ks_grantee}'$$, 'ks_grantee', $$SELECT keystone.reveal_by_id('{viewers-own}')$$, 'PT404'),
	('a share that was taken back put back', 'credential_shares {acme}/{viewers-own}/{ks_grantee}', $$UPDATE keystone.credential_shares SET revoked_at = NULL WHERE credential_id = '{viewers-own}'$$, 'ks_grantee', $$SELECT keystone.reveal_by_id('{viewers-own}')$$, 'PT404'),
	('a share that is over prolonged', 'credential_shares {acme}/{operators-own}/{ks_service}', $$UPDATE keystone.credential_shares SET until = NULL WHERE grantee = '{ks_service}'$$, 'ks_service', $$SELECT keystone.reveal_by_id('{operators-own}')$$, 'PT404'),
	('a share by another owner', 'credential_shares {acme}/{operators-own}/{ks_grantee}', $$UPDATE keystone.credential_shares SET owner = '{ks_admin}' WHERE grantee = '{ks_grantee}' AND credential_id = '{operators-own}'$$, 'ks_grantee', $$SELECT keystone.reveal_by_id('{operators-own}')$$, 'PT404');
-- The viewer's secret under the admin's prefix.
INSERT INTO pg_temp.tokens
SELECT 'key_as_admin', overlay(v.token PLACING substr(a.token, 4, 12) FROM 4) FROM pg_temp.tokens v, pg_temp.tokens a WHERE v.who = 'key_viewer' AND a.who = 'key_admin';

-- Tampers in one way, and returns what is got, and what health says.
CREATE FUNCTION pg_temp.tamper(t tampering, way text, OUT got text, OUT named boolean) LANGUAGE plpgsql AS $$
DECLARE
	n int;
	c regclass;
BEGIN
	BEGIN
		-- what was there before is known to this backend
		PERFORM pg_temp.value_as(t.who, pg_temp.fill(t.query));
		IF way = 'dba' THEN
			SET LOCAL SESSION AUTHORIZATION ks_tables;
		ELSIF way = 'replica' THEN
			SET LOCAL session_replication_role = replica;
		ELSE
			-- not the log's, which is written meanwhile
			FOR c IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
				AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'row_mac')
			LOOP
				EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', c);
			END LOOP;
		END IF;
		EXECUTE t.statement;
		GET DIAGNOSTICS n = ROW_COUNT;
		RESET SESSION AUTHORIZATION;
		SET LOCAL session_replication_role = origin;
		IF n = 0 THEN RAISE EXCEPTION 'nothing was tampered with: %', t.statement; END IF;
		got := pg_temp.value_as(t.who, pg_temp.fill(t.query));
		named := (SELECT position(t.changed IN detail) > 0 FROM keystone.health WHERE check_name = 'row macs' AND NOT ok);
		RAISE EXCEPTION USING ERRCODE = 'KSOUT';
	EXCEPTION WHEN SQLSTATE 'KSOUT' THEN RETURN;
	END;
END
$$;
UPDATE tampering SET statement = pg_temp.fill(statement), changed = pg_temp.fill(changed);
\o

SELECT plan((SELECT 3 * count(*)::int FROM tampering) + 10);

SELECT is(pg_temp.forged(), 0, 'to begin with, no row is forged');
SELECT is(pg_temp.value_as('key_admin', $$SELECT keystone.reveal('acme', 'acme-shared')$$), 'value of acme-shared, which is long', 'a key that is good');
SELECT is(pg_temp.value_as('key_revoked', $$SELECT keystone.reveal('acme', 'acme-shared')$$), '42501', 'I4 a key that was revoked');
SELECT is(pg_temp.value_as('key_expired', $$SELECT keystone.reveal('acme', 'acme-shared')$$), '42501', 'I4 a key that has expired');
SELECT is(pg_temp.value_as('key_rotated', $$SELECT keystone.reveal('acme', 'acme-shared')$$), '42501', 'I4 the former secret of a key');
SELECT is(pg_temp.value_as('key_as_admin', $$SELECT keystone.reveal('acme', 'acme-shared')$$), '42501', 'I4 a secret under another prefix');
SELECT is(pg_temp.value_as('ks_worker', $$SELECT keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'once')) = keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'once'))$$), 'PT404', 'I4 an invitation is good once');
SELECT is(pg_temp.value_as('ks_worker', $$SELECT keystone.accept_invitation((SELECT token FROM pg_temp.invited WHERE what = 'once')) IS NOT NULL$$), 'true', 'which it is');
SELECT is((SELECT count(*) FROM tampering WHERE statement ~ '\{[a-z_]+[-}]' OR changed ~ '[{}]'), 0::bigint, 'the statements are whole');

-- After many wrong tokens they get PT429, which a valid one never does.
SELECT is(format('%s, %s', replace(r.got, 'PT429', '42501'), CASE WHEN r.named THEN 'named' ELSE 'not named' END), t.gets || ', named', format('I4 %s (%s)', t.what, w.way))
FROM tampering t CROSS JOIN unnest(ARRAY['dba', 'replica', 'triggers off']) w (way) CROSS JOIN LATERAL pg_temp.tamper(t, w.way) r
ORDER BY t.place, w.way;

SELECT is(pg_temp.value_as('key_admin', $$SELECT keystone.reveal('acme', 'acme-shared')$$), 'value of acme-shared, which is long', 'and afterwards a key is as good as before');
SELECT * FROM finish();
ROLLBACK;
