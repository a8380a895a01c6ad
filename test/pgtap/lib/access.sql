-- Read by tests with \ir after tenants.sql: API keys, a share and an
-- invitation, and more callers.
--
-- The owner of acme makes a key of each role, and one of an admin that is
-- limited to environment prod and provider cohere; there is a credential
-- within these limits.  The operator shares its personal credential with
-- ks_grantee, a viewer of acme.  The owner of globex makes an admin's key.
-- key_<role> is a caller like ks_<role>: see as_role() in tenants.sql.
\o /dev/null
CREATE ROLE ks_grantee LOGIN;		-- a viewer of acme, with whom is shared
CREATE ROLE ks_helper LOGIN;		-- a viewer of globex, with whom is shared
CREATE ROLE ks_worker LOGIN;		-- profile worker, a member of nothing
CREATE ROLE ks_logs LOGIN;			-- profile auditor
SELECT keystone.grant_access('ks_grantee', 'client'), keystone.grant_access('ks_helper', 'client'), keystone.grant_access('ks_worker', 'worker'), keystone.grant_access('ks_logs', 'auditor');
SELECT keystone.register_principal(r, db_role => r::name) FROM unnest(ARRAY['ks_grantee', 'ks_helper', 'ks_worker']) r;
SELECT pg_temp.do_as('ks_owner', format('SELECT keystone.add_member(%L, %L, %L)', 'acme', pg_temp.principal('ks_grantee'), 'viewer'));

SELECT pg_temp.do_as('ks_stranger', format('SELECT keystone.add_member(%L, %L, %L)', 'globex', pg_temp.principal('ks_helper'), 'viewer'));

SELECT pg_temp.do_as('ks_owner', $$SELECT keystone.store('acme', 'prod-cohere', 'value of prod-cohere, which is long', environment => 'prod', provider => 'cohere')$$);
SELECT pg_temp.do_as('ks_operator', format('SELECT keystone.share_credential(%L, %L)', pg_temp.credential('operators-own'), pg_temp.principal('ks_grantee')));
SELECT pg_temp.do_as('ks_owner', $$SELECT keystone.invite_member('acme', 'guest@example.com', 'viewer')$$);
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.invite_member('globex', 'guest@example.com', 'viewer')$$);

SELECT pg_temp.do_as('ks_stranger', format('SELECT keystone.share_credential(%L, %L)', pg_temp.credential('strangers-own'), pg_temp.principal('ks_helper')));

INSERT INTO pg_temp.tokens
SELECT 'key_' || r, pg_temp.do_as('ks_owner', format('SELECT api_key FROM keystone.create_api_key(%L, %L, %L)', 'acme', 'the ' || r, r))
FROM unnest(ARRAY['admin', 'operator', 'viewer', 'auditor', 'service']) r;
INSERT INTO pg_temp.tokens
SELECT 'key_limited', pg_temp.do_as('ks_owner', $$SELECT api_key FROM keystone.create_api_key('acme', 'the limited', 'admin', environments => '{prod}', providers => '{cohere}')$$);
INSERT INTO pg_temp.tokens
SELECT 'key_stranger', pg_temp.do_as('ks_stranger', $$SELECT api_key FROM keystone.create_api_key('globex', 'the foreign', 'admin')$$);
\o
