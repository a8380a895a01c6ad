-- A tour of Keystone, run by "make quickstart" in a private cluster.
--
-- It needs a superuser, a database with the extension, and a server that has
-- no roles named ana, ben and cara yet.  It changes a setting of the server
-- (keystone.root_key_file) and puts it back.
--
-- Calls that must be refused are checked: the script fails if one is not.

\set ECHO none
\set QUIET on
\set ON_ERROR_STOP on
\set VERBOSITY terse
\pset pager off
\pset footer off
\pset null '-'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS keystone;

-- Compares what happened with what must happen, for this script only.
CREATE FUNCTION pg_temp.expect(got text, wanted text) RETURNS text
	LANGUAGE plpgsql AS $$
BEGIN
	IF got IS DISTINCT FROM wanted THEN
		RAISE EXCEPTION 'this step should have given %, not %', wanted, got;
	END IF;
	RETURN 'as expected: ' || got;
END
$$;

-- Waits up to 20 seconds until the vault is sealed, or open.
CREATE FUNCTION pg_temp.wait_until_sealed(wanted boolean) RETURNS void
	LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 200 LOOP
		IF (SELECT sealed FROM keystone.seal_status) = wanted THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.1);
	END LOOP;
	RAISE EXCEPTION 'the vault did not become %', CASE WHEN wanted THEN 'sealed' ELSE 'open' END;
END
$$;

\echo
\echo '== 1. The server'
\echo
\set ECHO queries
SELECT keystone.version();
SELECT sealed, current_root_key FROM keystone.seal_status;
\set ECHO none
SELECT pg_temp.expect((SELECT sealed::text FROM keystone.seal_status), 'false') \g /dev/null

\echo
\echo '== 2. Three people and two teams'
\echo
\echo 'A person is a login role with the profile client, and a principal bound to it.'
\echo 'Ana runs the team shop, Ben is an operator there, Cara runs the team data.'
\echo
\set ECHO queries
CREATE ROLE ana LOGIN;
CREATE ROLE ben LOGIN;
CREATE ROLE cara LOGIN;
SELECT keystone.grant_access(r, 'client') FROM unnest('{ana,ben,cara}'::name[]) r \g /dev/null
SELECT keystone.register_principal('Ana', db_role => 'ana') AS ana,
       keystone.register_principal('Ben', db_role => 'ben') AS ben,
       keystone.register_principal('Cara', db_role => 'cara') AS cara \gset

SET SESSION AUTHORIZATION ana;
SELECT keystone.create_workspace('shop', 'The web shop') \g /dev/null
SELECT keystone.add_member('shop', :'ben', 'operator') \g /dev/null

SET SESSION AUTHORIZATION cara;
SELECT keystone.create_workspace('data', 'Data team') \g /dev/null

RESET SESSION AUTHORIZATION;
SELECT w.slug, p.display_name, m.role
FROM keystone.members m
JOIN keystone.workspaces w ON w.id = m.workspace_id
JOIN keystone.principals p ON p.id = m.principal_id
ORDER BY 1, 2;
\set ECHO none

\echo
\echo '== 3. Ana imports her .env file'
\echo
\set ECHO queries
SET SESSION AUTHORIZATION ana;
SELECT * FROM keystone.import_env('shop', $env$
# These keys are made up.
APP_ENV=production
DATABASE_URL=postgres://shop:not-a-password@db.shop.example:5432/shop
REDIS_URL="redis://:not-a-password@cache.shop.example:6379/0"
SESSION_SECRET=fake0fake0fake0fake0fake0fake0fake0fake0

export OPENAI_API_KEY=sk-FAKEfakeFAKEfakeFAKEfakeFAKEfake1111
ANTHROPIC_API_KEY=sk-ant-FAKEfakeFAKEfakeFAKEfake2222
STRIPE_SECRET_KEY=sk_test_FAKEfakeFAKEfakeFAKE3333   # the test account
STRIPE_WEBHOOK_SECRET='whsec_FAKEfakeFAKEfakeFAKE4444'
SENDGRID_API_KEY=SG.FAKEfakeFAKEfakeFAKE.FAKEfake5555
GITHUB_TOKEN=ghp_FAKEfakeFAKEfakeFAKEfakeFAKE6666
AWS_ACCESS_KEY_ID=AKIAFAKEFAKEFAKE7777
AWS_SECRET_ACCESS_KEY="FAKE/fake+FAKE/fake+FAKE/fake+FAKE8888"
$env$, 'prod');
\set ECHO none

\echo
\echo 'What a list shows: no value, only a hint of long ones.'
\echo
\set ECHO queries
SELECT name, environment, current_version, hint FROM keystone.credentials
WHERE workspace = 'shop' ORDER BY name;
\set ECHO none
RESET SESSION AUTHORIZATION;
SELECT pg_temp.expect((SELECT count(*)::text FROM keystone.credentials), '12') \g /dev/null

\echo
\echo '== 4. Ana reveals a value'
\echo
SET SESSION AUTHORIZATION ana;
\set ECHO queries
SELECT keystone.reveal('shop', 'OPENAI_API_KEY', 'prod');
\set ECHO none
SELECT keystone.reveal('shop', 'OPENAI_API_KEY', 'prod') AS got \gset
RESET SESSION AUTHORIZATION;
SELECT pg_temp.expect(:'got', 'sk-FAKEfakeFAKEfakeFAKEfakeFAKEfake1111') \g /dev/null

\echo
\echo 'On disk there is an envelope, not the value.'
\echo
\set ECHO queries
SELECT length(envelope) AS bytes, left(encode(envelope, 'hex'), 48) || '...' AS envelope
FROM keystone_private.ciphertext LIMIT 1;
\set ECHO none

\echo
\echo '== 5. Who may not'
\echo
\echo 'Ben is an operator: he sees that the key is there, and may not read it.'
\echo
SET SESSION AUTHORIZATION ben;
\set ON_ERROR_STOP off
\set ECHO queries
SELECT keystone.reveal('shop', 'OPENAI_API_KEY', 'prod');
\set ECHO none
\set got :SQLSTATE
\set ON_ERROR_STOP on
RESET SESSION AUTHORIZATION;
SELECT pg_temp.expect(:'got', '42501') AS "SQLSTATE";

\echo 'Cara is of another team: for her there is no such key, and no such team.'
\echo
SET SESSION AUTHORIZATION cara;
\set ON_ERROR_STOP off
\set ECHO queries
SELECT keystone.reveal('shop', 'OPENAI_API_KEY', 'prod');
\set ECHO none
\set got :SQLSTATE
\set ON_ERROR_STOP on
RESET SESSION AUTHORIZATION;
SELECT pg_temp.expect(:'got', 'PT404') AS "SQLSTATE";

\echo
\echo '== 6. Ben rotates the key that he cannot read'
\echo
SET SESSION AUTHORIZATION ben;
\set ECHO queries
SELECT * FROM keystone.rotate(keystone.credential_id('shop', 'OPENAI_API_KEY', 'prod'),
                              'sk-FAKEfakeFAKEfakeFAKEfakeFAKEfake9999', expected_version => 1);
\set ECHO none

\echo 'The new key does not work.  Ben puts the old one back, as a new version.'
\echo
\set ECHO queries
SELECT keystone.rollback_to(keystone.credential_id('shop', 'OPENAI_API_KEY', 'prod'), 1) AS version;
SELECT version, state, source_version FROM keystone.credential_versions
WHERE credential_id = keystone.credential_id('shop', 'OPENAI_API_KEY', 'prod') ORDER BY version;
\set ECHO none
SET SESSION AUTHORIZATION ana;
SELECT keystone.reveal('shop', 'OPENAI_API_KEY', 'prod') AS got \gset
RESET SESSION AUTHORIZATION;
SELECT pg_temp.expect(:'got', 'sk-FAKEfakeFAKEfakeFAKEfakeFAKEfake1111') AS "the current value";

\echo
\echo '== 7. Somebody edits a row'
\echo
\echo 'A superuser changes one byte of a ciphertext.'
\echo
\set ECHO queries
UPDATE keystone_private.ciphertext t
SET envelope = set_byte(envelope, 40, get_byte(envelope, 40) # 1)
FROM keystone.credentials c
WHERE c.id = t.credential_id AND c.name = 'STRIPE_SECRET_KEY';

SET SESSION AUTHORIZATION ana;
\set ON_ERROR_STOP off
SELECT keystone.reveal('shop', 'STRIPE_SECRET_KEY', 'prod');
\set ECHO none
\set got :SQLSTATE
\set ON_ERROR_STOP on
RESET SESSION AUTHORIZATION;
SELECT pg_temp.expect(:'got', 'XX001') AS "SQLSTATE";

\echo 'One bad row stays one bad row: the others open.'
\echo
SET SESSION AUTHORIZATION ana;
\set ECHO queries
SELECT count(value) AS opened, count(problem) AS problems
FROM keystone.reveal_env('shop', 'prod');

SELECT c.name, v.version, v.problem
FROM keystone.verify_all('shop') v JOIN keystone.credentials c ON c.id = v.credential
WHERE NOT v.ok;
\set ECHO none
SELECT string_agg(c.name, ',') AS bad
FROM keystone.verify_all('shop') v JOIN keystone.credentials c ON c.id = v.credential
WHERE NOT v.ok \gset
SELECT count(value) || ' opened' AS opened FROM keystone.reveal_env('shop', 'prod') \gset
RESET SESSION AUTHORIZATION;
SELECT pg_temp.expect(:'bad', 'STRIPE_SECRET_KEY'), pg_temp.expect(:'opened', '11 opened') \g /dev/null

\echo 'Ana stores the value anew, and destroys the version that is damaged.'
\echo
SET SESSION AUTHORIZATION ana;
\set ECHO queries
SELECT version, action FROM keystone.store('shop', 'STRIPE_SECRET_KEY', 'sk_test_FAKEfakeFAKEfakeFAKE3333', 'prod');
SELECT keystone.destroy_version(keystone.credential_id('shop', 'STRIPE_SECRET_KEY', 'prod'), 1) \g /dev/null
SELECT count(*) AS versions, count(*) FILTER (WHERE NOT ok) AS bad FROM keystone.verify_all('shop');
\set ECHO none
SELECT (count(*) FILTER (WHERE NOT ok)) || ' bad' AS got FROM keystone.verify_all('shop') \gset
RESET SESSION AUTHORIZATION;
SELECT pg_temp.expect(:'got', '0 bad') \g /dev/null

\echo
\echo '== 8. The root key is taken away'
\echo
\set ECHO queries
ALTER SYSTEM SET keystone.root_key_file = '/nonexistent/root_keys';
SELECT pg_reload_conf() \g /dev/null
SELECT pg_temp.wait_until_sealed(true) \g /dev/null
SELECT sealed, reason FROM keystone.seal_status;

SET SESSION AUTHORIZATION ana;
\set ON_ERROR_STOP off
SELECT keystone.reveal('shop', 'OPENAI_API_KEY', 'prod');
\set ECHO none
\set got :SQLSTATE
\set ON_ERROR_STOP on
RESET SESSION AUTHORIZATION;
SELECT pg_temp.expect(:'got', 'PT423') AS "SQLSTATE";

\echo 'Lists still work while the vault is sealed.'
\echo
SET SESSION AUTHORIZATION ana;
\set ECHO queries
SELECT count(*) AS credentials FROM keystone.credentials;
\set ECHO none
RESET SESSION AUTHORIZATION;

\echo
\echo '== 9. The root key is put back, without a restart'
\echo
\set ECHO queries
ALTER SYSTEM RESET keystone.root_key_file;
SELECT pg_reload_conf() \g /dev/null
SELECT pg_temp.wait_until_sealed(false) \g /dev/null

SET SESSION AUTHORIZATION ana;
SELECT keystone.reveal('shop', 'OPENAI_API_KEY', 'prod');
\set ECHO none
SELECT keystone.reveal('shop', 'OPENAI_API_KEY', 'prod') AS got \gset
RESET SESSION AUTHORIZATION;
SELECT pg_temp.expect(:'got', 'sk-FAKEfakeFAKEfakeFAKEfakeFAKEfake1111') \g /dev/null

\echo
\echo '== 10. What the audit log has of it'
\echo
\echo 'Each reveal was in the log before its value was given, each refusal before its error;'
\echo 'so are the changes that were committed.'
\echo
SELECT keystone_private.audit_flush() \g /dev/null
\set ECHO queries
SET SESSION AUTHORIZATION ana;
SELECT seq, action, detail ->> 'name' AS name, version, outcome, db_role FROM keystone.audit_log
WHERE workspace = 'shop' AND (outcome <> 'ok' OR action ~ 'rotate|verify|delete') ORDER BY seq;
RESET SESSION AUTHORIZATION;
SELECT ok, verdict FROM keystone.audit_verify();
\set ECHO none
SELECT pg_temp.expect((SELECT ok::text FROM keystone.audit_verify()), 'true') \g /dev/null
SELECT pg_temp.expect((SELECT count(*) > 0 FROM keystone.audit_log WHERE action = 'credential.reveal' AND outcome = 'denied')::text, 'true') \g /dev/null
\echo
\echo 'Not even a superuser deletes from it, unless the guard is taken away; then verification finds it.'
\echo
\set ON_ERROR_STOP off
\set ECHO queries
DELETE FROM keystone_private.audit_entries;
\set ECHO none
\set ON_ERROR_STOP on
SELECT pg_temp.expect(:'SQLSTATE', '42501') \g /dev/null

\echo
\echo '== 11. Health'
\echo
\set ECHO queries
SELECT * FROM keystone.health;
\set ECHO none
SELECT pg_temp.expect((SELECT count(*)::text FROM keystone.health WHERE NOT ok), '0') \g /dev/null
\echo
\echo 'All steps gave what they should.'
\echo 'To act as one of the three: SET SESSION AUTHORIZATION ana;'
