-- Read by tests with \ir: roles, tenants and credentials that belong to the
-- test's transaction, and ways to act as somebody.
--
-- Workspace acme has one member of each role, globex another owner.  In acme
-- there are a shared credential, and personal ones of the operator and the
-- viewer; in globex a shared and a personal one.
\o /dev/null
SET client_min_messages = warning;

CREATE ROLE ks_owner LOGIN;			CREATE ROLE ks_admin LOGIN;
CREATE ROLE ks_operator LOGIN;		CREATE ROLE ks_viewer LOGIN;
CREATE ROLE ks_auditor LOGIN;		CREATE ROLE ks_service LOGIN;
CREATE ROLE ks_stranger LOGIN;		-- owner of globex
CREATE ROLE ks_anonymous LOGIN;		-- profile client, no principal
CREATE ROLE ks_nobody LOGIN;		-- no profile
CREATE ROLE ks_dba LOGIN;			-- profile admin
CREATE ROLE ks_monitor LOGIN;		-- profile monitor

-- Callers who are no login roles, with their tokens: see access.sql.
CREATE TEMP TABLE tokens (who text PRIMARY KEY, token text NOT NULL);

-- Begins to be somebody: a session of that role, or in that of a client who
-- is nobody a proof by the token of that name.  What comes before the end of
-- the subtransaction is done by that one.
CREATE FUNCTION pg_temp.become(who text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	proof text := (SELECT t.token FROM pg_temp.tokens t WHERE t.who OPERATOR(pg_catalog.=) become.who);
BEGIN
	PERFORM set_config('session_authorization', CASE WHEN proof IS NULL THEN who ELSE 'ks_anonymous' END, true);
	IF proof IS NOT NULL THEN PERFORM keystone.authenticate(proof); END IF;
END
$$;

-- Runs a statement as who, undoes it, and returns the number of rows or the
-- SQLSTATE.
CREATE FUNCTION pg_temp.as_role(who text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	PERFORM pg_temp.become(who);
	EXECUTE query;
	GET DIAGNOSTICS n = ROW_COUNT;
	RAISE EXCEPTION USING ERRCODE = 'KSOUT', MESSAGE = n;
EXCEPTION
	WHEN SQLSTATE 'KSOUT' THEN RETURN SQLERRM;
	WHEN OTHERS THEN RETURN SQLSTATE;
END
$$;

-- The same, and returns the one value that the query gives.
CREATE FUNCTION pg_temp.value_as(who text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	value text;
BEGIN
	PERFORM pg_temp.become(who);
	EXECUTE query INTO value;
	RAISE EXCEPTION USING ERRCODE = 'KSOUT', MESSAGE = coalesce(value, '<null>');
EXCEPTION
	WHEN SQLSTATE 'KSOUT' THEN RETURN SQLERRM;
	WHEN OTHERS THEN RETURN SQLSTATE;
END
$$;

-- The same by a login role, but what was done stays, and an error is one.
CREATE FUNCTION pg_temp.do_as(who text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	value text;
BEGIN
	PERFORM set_config('session_authorization', who, true);
	EXECUTE query INTO value;
	RESET SESSION AUTHORIZATION;
	RETURN value;
END
$$;

-- The principal of a login role, the credential of a name.
CREATE FUNCTION pg_temp.principal(who text) RETURNS uuid LANGUAGE sql AS
	'SELECT id FROM keystone.principals WHERE db_role OPERATOR(pg_catalog.=) $1::name';
CREATE FUNCTION pg_temp.credential(called text) RETURNS uuid LANGUAGE sql AS
	'SELECT id FROM keystone_private.credentials WHERE name OPERATOR(pg_catalog.=) $1';
CREATE FUNCTION pg_temp.workspace(called text) RETURNS uuid LANGUAGE sql AS
	'SELECT id FROM keystone.workspaces WHERE slug OPERATOR(pg_catalog.=) $1';

-- What keystone.health says of rows without a valid MAC.
CREATE FUNCTION pg_temp.forged() RETURNS int LANGUAGE sql AS
	$$SELECT CASE WHEN ok THEN 0 ELSE substring(detail FROM '^(\d+) rows')::int END
	  FROM keystone.health WHERE check_name = 'row macs'$$;

SELECT keystone.grant_access(rolname, 'client') FROM pg_roles
WHERE rolname ~ '^ks_' AND rolname NOT IN ('ks_nobody', 'ks_dba', 'ks_monitor');
SELECT keystone.grant_access('ks_dba', 'admin'), keystone.grant_access('ks_monitor', 'monitor');
SELECT keystone.register_principal(rolname, db_role => rolname) FROM pg_roles
WHERE rolname ~ '^ks_' AND rolname NOT IN ('ks_anonymous', 'ks_nobody', 'ks_dba', 'ks_monitor');

SELECT pg_temp.do_as('ks_owner', $$SELECT keystone.create_workspace('acme')$$);
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.create_workspace('globex')$$);
SELECT pg_temp.do_as('ks_owner', format('SELECT keystone.add_member(%L, %L, %L)', 'acme', pg_temp.principal('ks_' || r), r))
FROM unnest(ARRAY['admin', 'operator', 'viewer', 'auditor', 'service']) r;
SELECT pg_temp.do_as('ks_owner', $$SELECT keystone.provider_configure('acme', 'openai')$$);
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.provider_configure('globex', 'openai')$$);

SELECT pg_temp.do_as('ks_owner', $$SELECT keystone.store('acme', 'acme-shared', 'value of acme-shared, which is long')$$);
SELECT pg_temp.do_as('ks_operator', $$SELECT keystone.store('acme', 'operators-own', 'value of operators-own, which is long', personal => true)$$);
SELECT pg_temp.do_as('ks_viewer', $$SELECT keystone.store('acme', 'viewers-own', 'value of viewers-own, which is long', personal => true)$$);
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.store('globex', 'globex-shared', 'value of globex-shared, which is long')$$);
SELECT pg_temp.do_as('ks_stranger', $$SELECT keystone.store('globex', 'strangers-own', 'value of strangers-own, which is long', personal => true)$$);
\o
