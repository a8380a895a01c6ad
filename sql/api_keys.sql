-- API keys: made and shown once, listed, limited, cut to what their creator
-- has, rotated, revoked, over; what they prove, and what forged rows do not.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_keys_' || name);
	PERFORM keystone.grant_access(('regress_keystone_keys_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_keys_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('maker') AS maker \gset
SELECT pg_temp.person('operator') AS operator \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('stranger') AS stranger \gset
SELECT pg_temp.person('leaver') AS leaver \gset
-- a program's login role: no principal, and a key of its own
CREATE ROLE regress_keystone_keys_app;
SELECT keystone.grant_access('regress_keystone_keys_app', 'client');

-- What a query gives to who has a key: a text or an SQLSTATE.  What it did is
-- undone, the proof too, so that the next one may be somebody else.
CREATE FUNCTION keys_do(key text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM keystone.authenticate(key);
	EXECUTE query INTO result;
	RETURN result;
END $$;
CREATE FUNCTION keys_with(key text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	result := keys_do(key, query);
	RAISE EXCEPTION USING ERRCODE = 'KEYS0';
EXCEPTION
	WHEN SQLSTATE 'KEYS0' THEN RETURN result;
	WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
CREATE FUNCTION keys_permissions(key text) RETURNS text LANGUAGE sql AS $$
	SELECT keys_with($1, 'SELECT string_agg(p, '' '') FROM unnest(''{view,reveal,store,rotate,approve,audit,policy,workspace,billing}''::text[]) p
		WHERE keystone.has_permission(''keys'', p)') $$;

-- Entries since the last look, with names for ids.
CREATE TEMP TABLE seen AS SELECT 0::bigint AS seq;
CREATE FUNCTION pg_temp.name_of(id text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((SELECT display_name FROM keystone.principals WHERE principals.id::text = $1),
		(SELECT name FROM keystone_private.credentials WHERE credentials.id::text = $1), replace($1, session_user, 'superuser')) $$;
CREATE FUNCTION pg_temp.news(OUT actor text, OUT on_behalf_of text, OUT action text, OUT outcome text, OUT object text, OUT detail jsonb)
	RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keystone_private.audit_flush();
	RETURN QUERY SELECT pg_temp.name_of(l.actor), pg_temp.name_of(l.on_behalf_of::text), l.action, l.outcome, pg_temp.name_of(l.object::text),
		(SELECT jsonb_object_agg(key, value) FROM jsonb_each(l.detail)
		 WHERE key IN ('api_key', 'key_role', 'environments', 'providers', 'source', 'table', 'operation', 'token', 'why', 'name', 'changed', 'sqlstate'))
	FROM keystone.audit_log l
	WHERE l.seq > (SELECT s.seq FROM seen s) AND l.action !~ '^log\.' ORDER BY l.seq;
	UPDATE seen SET seq = (SELECT max(l.seq) FROM keystone.audit_log l);
END $$;

SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT keystone.create_workspace('keys') AS ws \gset
SELECT keystone.create_workspace('keys-other') AS other \gset
SELECT keystone.add_member('keys', :'maker', 'admin');
SELECT keystone.add_member('keys', :'operator', 'operator');
SELECT keystone.add_member('keys', :'viewer', 'viewer', '{workspace}');
SELECT action FROM keystone.store('keys', 'db', 'the value', environment => 'prod');
SELECT action FROM keystone.store('keys', 'db', 'another value', environment => 'dev');
SELECT action FROM keystone.store('keys-other', 'db', 'a foreign value');
RESET SESSION AUTHORIZATION;
SELECT count(*) > 0 AS began FROM pg_temp.news();

-- Made, and shown once
SET SESSION AUTHORIZATION regress_keystone_keys_maker;
SELECT *, expires_at IS NULL AS for_ever FROM keystone.create_api_key('keys', 'ci') \gset ci_
SELECT :'ci_api_key' ~ '^ks_[0-9a-f]{12}_[0-9a-f]{64}$' AS shape, :'ci_api_key' LIKE 'ks\_' || :'ci_prefix' || '\_%' AS has_prefix, :'ci_for_ever' AS for_ever;
SELECT * FROM keystone.create_api_key(:'ws', 'deploy', 'admin', now() + interval '1 day', '{prod,staging}', '{openai}') \gset deploy_
SELECT name, workspace, prefix = :'deploy_prefix' AS same_prefix, role, environments, providers, created_by = :'maker' AS of_maker,
	expires_at - created_at BETWEEN '22 hours' AND '26 hours' AS for_a_day, revoked_at, last_used_at
FROM keystone.api_keys WHERE id = :'deploy_id';
RESET SESSION AUTHORIZATION;
SELECT kind, display_name, db_role FROM keystone.principals WHERE id IN (:'ci_id', :'deploy_id') ORDER BY 2;
SELECT * FROM pg_temp.news();

-- No table has the secret, as text, as bytes, or as text in bytes; the prefix they have.
CREATE FUNCTION pg_temp.tables_with(word text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
	found boolean;
BEGIN
	PERFORM keystone_private.audit_flush();
	FOR t IN SELECT c.oid FROM pg_class c WHERE c.relkind = 'r'
		AND c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace) ORDER BY c.relname COLLATE "C"
	LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM %s t WHERE position($1 IN t::text) > 0 OR position(encode(convert_to($1, ''UTF8''), ''hex'') IN t::text) > 0)', t)
			INTO found USING word;
		IF found THEN RETURN NEXT t::text; END IF;
	END LOOP;
END $$;
SELECT pg_temp.tables_with(:'ci_prefix');
SELECT pg_temp.tables_with(split_part(:'ci_api_key', '_', 3));

-- What it proves
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keystone.reveal('keys', 'db', 'prod');
SELECT keystone.reveal('keys', 'db', 'prod') FROM keystone.authenticate(:'ci_api_key');
SELECT w.principal = :'ci_id' AS is_key, w.source, w.display_name, jsonb_array_length(w.workspaces) AS workspaces
FROM keystone.authenticate(:'ci_api_key') a, LATERAL keystone.whoami() w;
SELECT keys_permissions(:'ci_api_key');
SELECT keys_with(:'ci_api_key', 'SELECT keystone.reveal(''keys-other'', ''db'')');
SELECT keystone.reveal('keys', 'db', 'prod');
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.news();

-- Unknown, wrong, cut and empty ones get the same answer.
\set VERBOSITY default
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keystone.authenticate('ks_000000000000_' || split_part(:'ci_api_key', '_', 3));
SELECT keystone.authenticate('ks_' || :'ci_prefix' || '_' || repeat('0', 64));
SELECT keystone.authenticate(left(:'ci_api_key', -1));
SELECT keystone.authenticate(upper(:'ci_api_key'));
RESET SESSION AUTHORIZATION;
\set VERBOSITY sqlstate
SELECT keystone_private.audit_flush();
SELECT action, outcome, detail->>'key_prefix' = :'ci_prefix' AS names_prefix, detail->>'why' AS why, position(split_part(:'ci_api_key', '_', 3) IN detail::text) AS secret_at
FROM keystone.audit_log WHERE action = 'auth.fail' AND seq > (SELECT seq FROM seen) ORDER BY seq;
SELECT count(*) > 0 AS news FROM pg_temp.news();

-- Who sees which: holders of workspace all, others their own, a key itself.
SET SESSION AUTHORIZATION regress_keystone_keys_viewer;
SELECT expires_at FROM keystone.create_api_key('keys', 'look', 'viewer');
SELECT string_agg(name, ' ' ORDER BY name) AS viewer_with_workspace FROM keystone.api_keys;
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT string_agg(name, ' ' ORDER BY name) AS owner FROM keystone.api_keys;
SELECT keystone.set_member_role('keys', :'viewer', 'viewer');
SET SESSION AUTHORIZATION regress_keystone_keys_viewer;
SELECT string_agg(name, ' ' ORDER BY name) AS viewer FROM keystone.api_keys;
SET SESSION AUTHORIZATION regress_keystone_keys_operator;
SELECT string_agg(name, ' ' ORDER BY name) AS operator FROM keystone.api_keys;
SET SESSION AUTHORIZATION regress_keystone_keys_stranger;
SELECT string_agg(name, ' ' ORDER BY name) AS stranger FROM keystone.api_keys;
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT string_agg(name, ' ' ORDER BY name) AS anonymous FROM keystone.api_keys;
SELECT keys_with(:'ci_api_key', 'SELECT string_agg(name, '' '') FROM keystone.api_keys') AS ci;
-- ... nobody what keys are recognised by
SELECT count(*) FROM keystone_private.api_key_secrets;
RESET SESSION AUTHORIZATION;

-- Who may make one, and with what
SET SESSION AUTHORIZATION regress_keystone_keys_operator;
SELECT keystone.create_api_key('keys', 'mine', 'viewer');
SELECT keystone.revoke_api_key('keys', 'ci');
SELECT keystone.revoke_api_key('keys', 'none');
SELECT keystone.rotate_api_key('keys', 'ci');
SELECT keystone.rotate_api_key('keys', 'none');
SET SESSION AUTHORIZATION regress_keystone_keys_stranger;
SELECT keystone.create_api_key('keys', 'mine', 'viewer');
SELECT keystone.create_api_key('none-such', 'mine', 'viewer');
SELECT keystone.revoke_api_key('keys', 'ci');
SELECT keystone.rotate_api_key('keys', 'ci');
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT keystone.set_member_role('keys', :'viewer', 'viewer', '{workspace}');
SET SESSION AUTHORIZATION regress_keystone_keys_viewer;
-- nobody gives more than they have: a viewer has no reveal, audit or rotate
SELECT keystone.create_api_key('keys', 'more');
SELECT keystone.create_api_key('keys', 'more', 'auditor');
SELECT keystone.create_api_key('keys', 'more', 'operator');
SELECT keystone.rotate_api_key('keys', 'ci');
SELECT keystone.revoke_api_key('keys', 'look');
SET SESSION AUTHORIZATION regress_keystone_keys_maker;
SELECT keystone.create_api_key('keys', 'x', 'owner');
SELECT keystone.create_api_key('keys', 'x', 'boss');
SELECT keystone.create_api_key('keys', 'x', 'member');
SELECT keystone.create_api_key('keys', 'ci');
SELECT keystone.create_api_key('keys', '');
SELECT keystone.create_api_key('keys', ' x');
SELECT keystone.create_api_key('keys', repeat('x', 256));
SELECT keystone.create_api_key('keys', 'x', expires_at => now());
SELECT keystone.create_api_key('keys', 'x', expires_at => '-infinity');
SELECT keystone.create_api_key('keys', 'x', environments => '{}');
SELECT keystone.create_api_key('keys', 'x', environments => '{prod,NULL}');
SELECT keystone.create_api_key('keys', 'x', environments => '{{prod},{dev}}');
SELECT keystone.create_api_key('keys', 'x', environments => '{prod,""}');
SELECT keystone.create_api_key('keys', 'x', environments => ARRAY[repeat('x', 64)]);
SELECT keystone.create_api_key('keys', 'x', environments => array_fill('prod'::text, '{33}'));
SELECT keystone.create_api_key('keys', 'x', providers => '{}');
SELECT keystone.create_api_key('keys', 'x', providers => ARRAY[repeat('x', 64)]);
SELECT keystone.create_api_key(NULL, 'x');
SELECT keystone.create_api_key('keys', NULL);
SELECT keystone.create_api_key('keys', 'x', NULL);
SELECT keystone.revoke_api_key(NULL, 'x');
SELECT keystone.revoke_api_key('keys', NULL);
SELECT keystone.rotate_api_key(NULL, 'x');
SELECT keystone.rotate_api_key('keys', NULL);
SELECT keystone.rotate_api_key('keys', 'ci', NULL);
SELECT keystone.rotate_api_key('keys', 'ci', '-1 second');
SELECT keystone.rotate_api_key('keys', 'ci', '31 days');
SELECT keystone.rotate_api_key('keys', 'none');
SELECT keystone.revoke_api_key('keys', 'none');
BEGIN READ ONLY;
SELECT keystone.create_api_key('keys', 'x');
ROLLBACK;
-- the longest lists there are
SELECT api_key FROM keystone.create_api_key('keys', 'lists', environments => ARRAY(SELECT repeat('e', 61) || to_char(n, 'FM00') FROM generate_series(1, 32) n),
	providers => ARRAY(SELECT repeat('p', 61) || to_char(n, 'FM00') FROM generate_series(1, 32) n)) \gset lists_
SELECT keys_with(:'lists_api_key', 'SELECT array_length(environments, 1) || '' '' || array_length(providers, 1) FROM keystone.api_keys');
SELECT keystone.revoke_api_key('keys', 'lists');
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keystone.create_api_key('keys', 'x');

-- A key makes none, rotates itself only, and revokes where it holds workspace.
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT * FROM keystone.create_api_key('keys', 'root', 'admin') \gset root_
SELECT id IS NOT NULL AS made FROM keystone.create_api_key('keys', 'victim');
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keys_permissions(:'root_api_key') AS root, keys_permissions(:'deploy_api_key') AS limited;
SELECT keys_with(:'root_api_key', 'SELECT keystone.create_api_key(''keys'', ''child'', ''viewer'')') AS make,
	keys_with(:'ci_api_key', 'SELECT keystone.create_api_key(''keys'', ''child'', ''viewer'')') AS make_without_workspace;
SELECT keys_with(:'root_api_key', 'SELECT keystone.rotate_api_key(''keys'', ''victim'')') AS rotate_another,
	keys_with(:'ci_api_key', 'SELECT keystone.rotate_api_key(''keys'', ''victim'')') AS without_workspace,
	keys_with(:'ci_api_key', 'SELECT keystone.rotate_api_key(''keys-other'', ''ci'')') AS elsewhere;
SELECT keys_with(:'ci_api_key', 'SELECT keystone.revoke_api_key(''keys'', ''victim'')') AS revoke_without_workspace;
SELECT keys_do(:'root_api_key', 'SELECT keystone.revoke_api_key(''keys'', ''victim'')') AS revoke;
SELECT keys_do(:'ci_api_key', 'SELECT api_key FROM keystone.rotate_api_key(''keys'', ''ci'')') AS second \gset ci_
SELECT :'ci_second' ~ '^ks_[0-9a-f]{12}_[0-9a-f]{64}$' AS shape, :'ci_second' <> :'ci_api_key' AS another;
SELECT keys_permissions(:'ci_api_key') AS older, keys_permissions(:'ci_second') AS newer,
	keys_with(:'ci_second', 'SELECT keystone.current_principal()') = :'ci_id' AS same_principal;
-- An older secret, which somebody may have stolen, gets no new one.
SELECT keys_with(:'ci_api_key', 'SELECT keystone.rotate_api_key(''keys'', ''ci'', ''0'')') AS by_the_older,
	keys_with(:'ci_second', 'SELECT (keystone.rotate_api_key(''keys'', ''ci'', ''0'')).id') = :'ci_id' AS by_the_newest;
-- What a secret proved ends with it, also in the transaction that is under way.
BEGIN;
SELECT keystone.authenticate(:'ci_second') = :'ci_id' AS proved;
SAVEPOINT s;
SELECT (keystone.rotate_api_key('keys', 'ci', '1 hour')).id = :'ci_id' AS rotated;
SELECT keystone.has_permission('keys', 'reveal') AS in_the_overlap;
ROLLBACK TO s;
SELECT (keystone.rotate_api_key('keys', 'ci', '0')).id = :'ci_id' AS rotated;
SELECT keystone.has_permission('keys', 'reveal') AS over, source, reason FROM keystone.whoami();
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT string_agg(DISTINCT action, ' ') FROM pg_temp.news();

-- Rotation: older secrets end with the overlap, and never later than they did.
SET SESSION AUTHORIZATION regress_keystone_keys_maker;
SELECT *, id = :'ci_id' AS same_id FROM keystone.rotate_api_key('keys', 'ci', '2 seconds') \gset third_
SELECT :'third_same_id' AS same_id, prefix = :'third_prefix' AS newest FROM keystone.api_keys WHERE name = 'ci';
SELECT keys_with(:'ci_api_key', 'SELECT 1') AS first, keys_with(:'ci_second', 'SELECT 2') AS second, keys_with(:'third_api_key', 'SELECT 3') AS third;
SELECT * FROM keystone.create_api_key('keys', 'short', expires_at => clock_timestamp() + interval '2 seconds') \gset short_
SET SESSION AUTHORIZATION regress_keystone_keys_app;
BEGIN;
SELECT keystone.authenticate(:'short_api_key') = :'short_id' AS short;
SELECT keystone.has_permission('keys', 'reveal');
SELECT pg_sleep(2.1);
-- over in the middle of a transaction
SELECT keystone.has_permission('keys', 'reveal');
COMMIT;
SELECT keys_with(:'short_api_key', 'SELECT 1') AS expired, keys_with(:'ci_api_key', 'SELECT 1') AS first, keys_with(:'ci_second', 'SELECT 2') AS second,
	keys_with(:'third_api_key', 'SELECT 3') AS third;
SET SESSION AUTHORIZATION regress_keystone_keys_maker;
SELECT keystone.rotate_api_key('keys', 'short');
SELECT keystone.create_api_key('keys', 'short');
SELECT keystone.revoke_api_key('keys', 'short');
SELECT * FROM keystone.rotate_api_key('keys', 'ci', '30 days') \gset fourth_
SELECT * FROM keystone.rotate_api_key('keys', 'ci', '0') \gset ci_
RESET SESSION AUTHORIZATION;
SELECT bool_and(valid_until <= clock_timestamp()) AS over, count(*) FROM keystone_private.api_key_secrets WHERE key_id = :'ci_id' AND valid_until IS NOT NULL;
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keys_with(:'third_api_key', 'SELECT 3') AS third, keys_with(:'fourth_api_key', 'SELECT 4') AS fourth, keys_with(:'ci_api_key', 'SELECT 5') AS fifth;
RESET SESSION AUTHORIZATION;
SELECT action, object, detail->>'changed' AS changed FROM pg_temp.news() WHERE action ~ '^apikey' AND object = 'ci' AND detail->>'changed' IS NOT NULL;

SELECT s AS "tables with a secret" FROM unnest(ARRAY[:'ci_api_key', :'ci_second', :'third_api_key', :'fourth_api_key', :'deploy_api_key', :'root_api_key']) k,
	LATERAL pg_temp.tables_with(split_part(k, '_', 3)) s;

-- Limited to environments and providers: the rest is not there.
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT * FROM keystone.create_api_key('keys', 'prod', environments => '{prod}') \gset prod_
SELECT keys_with(:'prod_api_key', 'SELECT keystone.reveal(''keys'', ''db'', ''prod'')') AS prod, keys_with(:'prod_api_key', 'SELECT keystone.reveal(''keys'', ''db'', ''dev'')') AS dev,
	keys_with(:'deploy_api_key', 'SELECT keystone.reveal(''keys'', ''db'', ''prod'')') AS without_provider;
RESET SESSION AUTHORIZATION;

-- It has what its creator still has: demoted, disabled, and back.
SET SESSION AUTHORIZATION regress_keystone_keys_maker;
SELECT * FROM keystone.create_api_key('keys', 'broad', 'admin') \gset broad_
SELECT keys_permissions(:'broad_api_key') AS whole;
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT keystone.set_member_role('keys', :'maker', 'operator');
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keys_permissions(:'broad_api_key') AS of_operator, keys_permissions(:'ci_api_key') AS service_of_operator,
	keys_with(:'ci_api_key', 'SELECT keystone.reveal(''keys'', ''db'', ''prod'')') AS reveal;
RESET SESSION AUTHORIZATION;
SELECT keystone.disable_principal(:'maker');
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keys_permissions(:'broad_api_key') AS of_disabled, keys_with(:'broad_api_key', 'SELECT keystone.reveal(''keys'', ''db'', ''prod'')') AS reveal;
RESET SESSION AUTHORIZATION;
SELECT keystone.enable_principal(:'maker');
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT keystone.set_member_role('keys', :'maker', 'admin');
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keys_permissions(:'broad_api_key') AS of_admin_again;
-- Who is removed, or leaves, leaves no key behind, also not for later.
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT keystone.add_member('keys', :'leaver', 'admin');
SET SESSION AUTHORIZATION regress_keystone_keys_leaver;
SELECT * FROM keystone.create_api_key('keys', 'left', 'admin') \gset left_
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keys_permissions(:'left_api_key') AS of_member;
RESET SESSION AUTHORIZATION;
SELECT count(*) > 0 AS news FROM pg_temp.news();
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT keystone.remove_member('keys', :'leaver');
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keys_permissions(:'left_api_key') AS of_removed, keys_with(:'left_api_key', 'SELECT keystone.reveal(''keys'', ''db'', ''prod'')') AS reveal,
	keys_with(:'left_api_key', 'SELECT count(*) FROM keystone.api_keys') AS keys;
SET SESSION AUTHORIZATION regress_keystone_keys_leaver;
SELECT count(*) AS keys_seen_by_removed FROM keystone.api_keys;
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT name, revoked_at IS NOT NULL AS revoked FROM keystone.api_keys WHERE id IN (:'left_id', :'broad_id') ORDER BY name;
SELECT keystone.add_member('keys', :'leaver', 'admin');
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keys_permissions(:'left_api_key') AS of_member_again;
SET SESSION AUTHORIZATION regress_keystone_keys_leaver;
SELECT * FROM keystone.create_api_key('keys', 'left', 'viewer') \gset left_
SELECT keystone.remove_member('keys', :'leaver');
SET SESSION AUTHORIZATION regress_keystone_keys_app;
SELECT keys_permissions(:'left_api_key') AS of_who_left;
RESET SESSION AUTHORIZATION;
SELECT actor, action, object FROM pg_temp.news() WHERE action IN ('apikey.revoke', 'member.remove');
-- the key as a principal of its own can be disabled, too
RESET SESSION AUTHORIZATION;
SELECT keystone.disable_principal(:'broad_id');
SELECT keys_with(:'broad_api_key', 'SELECT 1') AS disabled;
SELECT keystone.enable_principal(:'broad_id');
SELECT keys_with(:'broad_api_key', 'SELECT 1') AS enabled;

-- Revoked at once, the row stays, the name is free.
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT keystone.revoke_api_key('keys', 'broad');
SELECT keys_with(:'broad_api_key', 'SELECT 1') AS revoked;
SELECT keystone.revoke_api_key('keys', 'broad');
SELECT keystone.rotate_api_key('keys', 'broad');
SELECT api_key <> :'broad_api_key' AS another, id <> :'broad_id' AS another_id FROM keystone.create_api_key('keys', 'broad', 'viewer');
SELECT name, role, revoked_at IS NOT NULL AS revoked FROM keystone.api_keys ORDER BY name, role;

-- In a suspended workspace keys are revoked, and none made or rotated.
SELECT keystone.update_workspace('keys', '{"status": "suspended"}');
SELECT keystone.create_api_key('keys', 'x', 'viewer');
SELECT keystone.rotate_api_key('keys', 'broad');
SELECT keystone.revoke_api_key('keys', 'broad');
SELECT keys_with(:'ci_api_key', 'SELECT keystone.rotate_api_key(''keys'', ''ci'')') AS rotate, keys_with(:'ci_api_key', 'SELECT keystone.reveal(''keys'', ''db'', ''prod'')') AS reveal;
SELECT keystone.update_workspace('keys', '{"status": "active"}');
RESET SESSION AUTHORIZATION;
SELECT count(*) > 0 AS news FROM pg_temp.news();

-- I4: rows made, edited or moved by hand give nothing, and health names them.
CREATE FUNCTION pg_temp.forged() RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN ok THEN 'none' ELSE array_to_string(ARRAY(SELECT DISTINCT m[1] FROM regexp_matches(detail, '(\w+) [0-9a-f]{8}-', 'g') m), ' ') END
	FROM keystone.health WHERE check_name = 'row macs' $$;
SELECT pg_temp.forged();
-- a secret under another prefix, or that ends later
INSERT INTO keystone_private.api_key_secrets
SELECT workspace_id, 'ffffffffffff', key_id, secret_mac, created_at, valid_until, row_mac FROM keystone_private.api_key_secrets WHERE prefix = :'ci_prefix';
SELECT keys_with('ks_ffffffffffff_' || split_part(:'ci_api_key', '_', 3), 'SELECT 1') AS other_prefix, pg_temp.forged();
DELETE FROM keystone_private.api_key_secrets WHERE prefix = 'ffffffffffff';
SELECT valid_until AS ended FROM keystone_private.api_key_secrets WHERE prefix = :'fourth_prefix' \gset
UPDATE keystone_private.api_key_secrets SET valid_until = NULL WHERE prefix = :'fourth_prefix';
SELECT keys_with(:'fourth_api_key', 'SELECT 1') AS prolonged, pg_temp.forged();
UPDATE keystone_private.api_key_secrets SET valid_until = :'ended' WHERE prefix = :'fourth_prefix';
-- a secret of somebody's own choice: that of one key for another one
UPDATE keystone_private.api_key_secrets s SET key_id = :'ci_id' WHERE prefix = :'root_prefix';
SELECT keys_with(:'root_api_key', 'SELECT 1') AS other_key, pg_temp.forged();
UPDATE keystone_private.api_key_secrets s SET key_id = :'root_id' WHERE prefix = :'root_prefix';
SELECT keys_with(:'root_api_key', 'SELECT 1') AS as_it_was;
-- a key with another role, without its limits, without its end, unrevoked
UPDATE keystone_private.api_keys SET role = 'admin' WHERE id = :'ci_id';
SELECT keys_with(:'ci_api_key', 'SELECT 1') AS other_role, pg_temp.forged();
UPDATE keystone_private.api_keys SET role = 'service' WHERE id = :'ci_id';
UPDATE keystone_private.api_keys SET environments = NULL WHERE id = :'deploy_id';
SELECT keys_with(:'deploy_api_key', 'SELECT 1') AS no_limit, pg_temp.forged();
UPDATE keystone_private.api_keys SET environments = '{prod,staging}' WHERE id = :'deploy_id';
UPDATE keystone_private.api_keys SET created_by = :'owner' WHERE id = :'ci_id';
SELECT keys_with(:'ci_api_key', 'SELECT 1') AS other_creator, pg_temp.forged();
UPDATE keystone_private.api_keys SET created_by = :'maker' WHERE id = :'ci_id';
SELECT keys_with(:'ci_api_key', 'SELECT 1') AS as_it_was, pg_temp.forged();
-- both rows in another workspace, of which the creator is the owner
WITH moved AS (UPDATE keystone_private.api_key_secrets SET workspace_id = :'other' WHERE key_id = :'root_id')
UPDATE keystone_private.api_keys SET workspace_id = :'other' WHERE id = :'root_id';
SELECT keys_with(:'root_api_key', 'SELECT 1') AS moved, pg_temp.forged();
WITH moved AS (UPDATE keystone_private.api_key_secrets SET workspace_id = :'ws' WHERE key_id = :'root_id')
UPDATE keystone_private.api_keys SET workspace_id = :'ws' WHERE id = :'root_id';
-- a forged key cannot be rotated; revoking it repairs, whatever it says
UPDATE keystone_private.api_keys SET environments = array_fill('x'::text, '{1000}') || NULL::text, providers = '{{a,b}}' WHERE id = :'root_id';
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT keystone.rotate_api_key('keys', 'root');
SELECT keystone.revoke_api_key('keys', 'root');
RESET SESSION AUTHORIZATION;
SELECT keys_with(:'root_api_key', 'SELECT 1') AS repaired, pg_temp.forged();
UPDATE keystone_private.api_keys SET revoked_at = NULL WHERE id = :'root_id';
SELECT keys_with(:'root_api_key', 'SELECT 1') AS unrevoked, pg_temp.forged();
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT keystone.revoke_api_key('keys', 'root');
RESET SESSION AUTHORIZATION;
SELECT pg_temp.forged();
-- by hand, the log says so
SELECT DISTINCT actor, action, detail->>'table' AS "table", detail->>'operation' AS operation FROM pg_temp.news() WHERE detail->>'source' = 'direct' ORDER BY 2, 3, 4;

-- What is shared with a key is shared with who has it: its creator may rotate
-- it, and an administrator who does gets nothing of that.
SET SESSION AUTHORIZATION regress_keystone_keys_operator;
SELECT credential AS mine FROM keystone.store('keys', 'mine', 'a personal value', personal => true) \gset
SELECT keystone.share_credential(:'mine', :'ci_id');
SET SESSION AUTHORIZATION regress_keystone_keys_maker;
SELECT * FROM keystone.rotate_api_key('keys', 'ci', '0') \gset ci_
SELECT keys_with(:'ci_api_key', format('SELECT keystone.reveal_by_id(%L)', :'mine')) AS rotated_by_its_creator;
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT * FROM keystone.rotate_api_key('keys', 'ci', '0') \gset ci_
SELECT keys_with(:'ci_api_key', format('SELECT keystone.reveal_by_id(%L)', :'mine')) AS rotated_by_an_administrator;
-- Who rotates somebody else's key is its creator from then on.
SELECT created_by = :'owner' AS of_owner FROM keystone.api_keys WHERE id = :'ci_id';
SELECT keystone.set_member_role('keys', :'maker', 'viewer');
SELECT keys_with(:'ci_api_key', 'SELECT keystone.reveal(''keys'', ''db'', ''prod'')') AS former_creator_demoted;
SELECT keystone.set_member_role('keys', :'maker', 'admin');
SET SESSION AUTHORIZATION regress_keystone_keys_maker;
SELECT * FROM keystone.rotate_api_key('keys', 'ci', '0') \gset ci_
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT created_by = :'maker' AS of_maker FROM keystone.api_keys WHERE id = :'ci_id';
SELECT keystone.set_member_role('keys', :'maker', 'viewer');
SELECT keys_with(:'ci_api_key', 'SELECT keystone.reveal(''keys'', ''db'', ''prod'')') AS creator_demoted, keys_permissions(:'ci_api_key') AS has;
SELECT keystone.set_member_role('keys', :'maker', 'admin');
RESET SESSION AUTHORIZATION;
SELECT action, actor FROM pg_temp.news() WHERE action IN ('credential.share', 'credential.unshare');

-- One secret for two purposes is none: a key's is no invitation, and a token's text no key.
SET SESSION AUTHORIZATION regress_keystone_keys_stranger;
SELECT keystone.accept_invitation(:'ci_api_key');
RESET SESSION AUTHORIZATION;

-- Offboarding revokes all keys of a workspace, and none of another one.
SET SESSION AUTHORIZATION regress_keystone_keys_owner;
SELECT * FROM keystone.create_api_key('keys-other', 'one', 'admin') \gset one_
SELECT * FROM keystone.create_api_key('keys-other', 'two', 'viewer') \gset two_
SELECT keystone.offboard_workspace('keys-other', confirm => 'keys-other') IS NOT NULL AS offboarded;
SELECT keys_with(:'one_api_key', 'SELECT 1') AS one, keys_with(:'two_api_key', 'SELECT 1') AS two, keys_with(:'ci_api_key', 'SELECT 1') AS ci;
RESET SESSION AUTHORIZATION;
SELECT count(*) FILTER (WHERE revoked_at IS NULL) AS kept, count(*) AS keys FROM keystone_private.api_keys WHERE workspace_id = :'other';
SELECT pg_temp.forged();

DROP FUNCTION keys_permissions(text), keys_with(text, text), keys_do(text, text);
SELECT keystone.revoke_access(('regress_keystone_keys_' || r)::name, 'client') FROM unnest('{owner,maker,operator,viewer,stranger,leaver,app}'::text[]) r;
DROP ROLE regress_keystone_keys_owner, regress_keystone_keys_maker, regress_keystone_keys_operator, regress_keystone_keys_viewer,
	regress_keystone_keys_stranger, regress_keystone_keys_leaver, regress_keystone_keys_app;
