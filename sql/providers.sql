-- Providers: what comes with the extension, what an administrator defines,
-- what a workspace configures, and what all of that means for a value.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_providers_' || name);
	PERFORM keystone.grant_access(('regress_keystone_providers_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_providers_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('viewer') AS viewer \gset
CREATE ROLE regress_keystone_providers_dba;
CREATE FUNCTION pg_temp.try(name text, value text, provider text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (keystone.store('providers', name, value, provider => provider)).action;
EXCEPTION WHEN others THEN
	RETURN sqlstate;
END $$;
SELECT keystone.grant_access('regress_keystone_providers_dba', 'admin');
SELECT name, category, default_kind, limits, enabled, is_builtin FROM keystone.providers WHERE is_builtin ORDER BY name COLLATE "C";
SELECT count(*) AS costs FROM keystone.providers WHERE is_builtin AND cost_micros IS NOT NULL;
SET SESSION AUTHORIZATION regress_keystone_providers_owner;
SELECT count(*) AS builtin FROM keystone.providers WHERE is_builtin;
SELECT keystone.create_workspace('providers') AS ws \gset
SELECT keystone.add_member('providers', :'viewer', 'viewer');
-- every pattern of the list takes what its provider gives out, and refuses something else
CREATE TEMP TABLE samples (provider text, good text);
INSERT INTO samples VALUES ('openai', 'sk-proj-0123456789abcdef'), ('anthropic', 'sk-ant-api03-0123456789abcdef'), ('sendgrid', 'SG.0123456789abcdef.0123456789'),
	('telegram', '123456789:AAabcdefghijklmnopqrstuvwxyz0123456'), ('slack', 'xoxb-0123456789-abc'), ('github', 'ghp_0123456789abcdefghij0123456789abcdef'),
	('stripe', 'sk_live_0123456789abcdef'), ('openrouter', 'sk-or-v1-0123456789abcdef');
SELECT p.name, pg_temp.try('good ' || p.name, s.good, p.name) AS good, pg_temp.try('bad ' || p.name, 'password', p.name) AS bad,
	   pg_temp.try('line ' || p.name, s.good || E'\nx', p.name) AS two_lines
FROM keystone.providers p LEFT JOIN samples s ON s.provider = p.name WHERE p.value_pattern IS NOT NULL ORDER BY p.name COLLATE "C";
-- the kind is the provider's, unless it is given
SELECT count(keystone.store('providers', n, 'postgres://u:p@h/d', provider => 'postgresql', kind => k)) FROM (VALUES ('db', NULL), ('db2', 'password')) v (n, k);
SELECT name, kind FROM keystone.credentials WHERE provider = 'postgresql' ORDER BY name;

-- provider_define: a new one, a replacement of a builtin one; only for the admin profile
SELECT keystone.provider_define('regress', 'shared_key');
SET SESSION AUTHORIZATION regress_keystone_providers_dba;
SELECT keystone.provider_define('regress', 'shared_key');
SELECT category, label, default_kind, value_pattern, limits, cost_micros, enabled, is_builtin FROM keystone.providers WHERE name = 'regress';
SELECT keystone.provider_define('regress', 'oauth', 'Regress', 'token', '^reg_[0-9]+$', '1/hour', 5, true);
SELECT category, label, default_kind, value_pattern, limits, cost_micros, enabled, is_builtin FROM keystone.providers WHERE name = 'regress';
SELECT keystone.provider_define('regress-free', 'no_auth', cost_micros => 0);
-- I12
SELECT keystone.provider_define('', 'oauth');
SELECT keystone.provider_define('regress', 'other');
SELECT keystone.provider_define('regress', 'oauth', cost_micros => -1);
SELECT keystone.provider_define('regress', 'oauth', value_pattern => '(');
SELECT keystone.provider_define('regress', 'oauth', label => '');
SELECT keystone.provider_define(repeat('p', 64), 'oauth');
SELECT category, cost_micros, value_pattern FROM keystone.providers WHERE name = 'regress';
-- the value pattern holds for store, rotate and import, for a credential that has the provider already too
SET SESSION AUTHORIZATION regress_keystone_providers_owner;
SELECT credential AS c FROM keystone.store('providers', 'r', 'reg_1', provider => 'regress') \gset
SELECT kind, category FROM keystone.credentials c JOIN keystone.providers p ON p.name = c.provider WHERE c.id = :'c';
SELECT keystone.store('providers', 'r', 'wrong');
SELECT keystone.rotate(:'c', 'wrong');
SELECT keystone.rotate(:'c', 'wrong', dry_run => true);
SELECT keystone.import_env('providers', 'r=wrong');
SELECT version FROM keystone.rotate(:'c', 'reg_2');
-- I1: the error holds neither the value nor a part of it
\set VERBOSITY default
SELECT keystone.store('providers', 'r', 'the secret');
\set VERBOSITY sqlstate

-- switched off: nothing new, what is there is revealed
SET SESSION AUTHORIZATION regress_keystone_providers_dba;
SELECT keystone.provider_define('regress', 'oauth', enabled => false);
SET SESSION AUTHORIZATION regress_keystone_providers_owner;
SELECT keystone.store('providers', 'r', 'reg_3');
SELECT keystone.store('providers', 'r2', 'reg_3', provider => 'regress');
SELECT keystone.rotate(:'c', 'reg_3');
SELECT keystone.reveal('providers', 'r');
SET SESSION AUTHORIZATION regress_keystone_providers_dba;
SELECT keystone.provider_define('regress', 'oauth');

-- provider_configure: a workspace's own settings, by holders of workspace
SET SESSION AUTHORIZATION regress_keystone_providers_owner;
SELECT keystone.provider_configure('providers', 'regress', config => '{"region": "eu"}');
SELECT provider, mode, config, enabled, updated_by = :'owner' AS by_owner FROM keystone.provider_configs;
SELECT keystone.provider_configure('providers', 'regress', enabled => false);
SELECT provider, mode, config, enabled FROM keystone.provider_configs;
SELECT keystone.store('providers', 'r2', 'x', provider => 'regress');
SELECT keystone.rotate(:'c', 'x');
SELECT name, mode FROM keystone.resolve('providers', 'regress', environment => 'default');
SELECT keystone.create_workspace('providers-2') IS NOT NULL AS created;
SELECT action FROM keystone.store('providers-2', 'r2', 'x', provider => 'regress');
SELECT keystone.provider_configure('providers', 'regress');
SELECT version FROM keystone.rotate(:'c', 'x');
SELECT keystone.provider_configure('providers', 'missing');
SELECT keystone.provider_configure('providers', 'regress', 'oauth');
SELECT keystone.provider_configure('providers', 'regress', 'other');
SELECT keystone.provider_configure('providers', 'regress', config => '[]');
SELECT keystone.provider_configure('providers', 'regress', config => jsonb_build_object('k', repeat('x', 17000)));
SELECT keystone.provider_configure('missing', 'regress');
SET SESSION AUTHORIZATION regress_keystone_providers_viewer;
SELECT keystone.provider_configure('providers', 'regress');
SELECT provider, mode, config, enabled FROM keystone.provider_configs;
SELECT keystone.provider_define('regress', 'oauth');

RESET SESSION AUTHORIZATION;
DROP TABLE samples;
DELETE FROM keystone_private.provider_definitions WHERE name LIKE 'regress%';
SELECT keystone.revoke_access('regress_keystone_providers_dba', 'admin');
DROP ROLE regress_keystone_providers_dba;

RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(('regress_keystone_providers_' || r)::name, 'client')) AS revoked FROM unnest('{owner,viewer}'::text[]) r;
DROP ROLE regress_keystone_providers_owner, regress_keystone_providers_viewer;
