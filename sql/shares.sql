-- Acting for somebody: share_credential() and unshare_credential(), and what an API key is limited to.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_shares_' || name);
	PERFORM keystone.grant_access(('regress_keystone_shares_' || name)::name, 'client');
	RETURN keystone.register_principal('Shares ' || name, db_role => ('regress_keystone_shares_' || name)::name);
END $$;
-- the one value of a query, or its SQLSTATE
CREATE FUNCTION pg_temp.attempt(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE query INTO result;
	RETURN coalesce(result, '(null)');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
-- the same in a session of somebody
CREATE FUNCTION pg_temp.as_somebody(who text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('session_authorization', 'regress_keystone_shares_' || who, true);
	result := pg_temp.attempt(query);
	RESET SESSION AUTHORIZATION;
	RETURN result;
END $$;
SELECT pg_temp.person('owner') AS owner, pg_temp.person('admin') AS admin, pg_temp.person('ann') AS ann, pg_temp.person('viewer') AS viewer,
	   pg_temp.person('worker') AS worker, pg_temp.person('auditor') AS auditor, pg_temp.person('stranger') AS stranger \gset
SET SESSION AUTHORIZATION regress_keystone_shares_stranger;
SELECT keystone.create_workspace('shares-other') AS other_ws \gset
SELECT credential AS foreign FROM keystone.store('shares-other', 'token', 'foreign', personal => true) \gset
SET SESSION AUTHORIZATION regress_keystone_shares_owner;
SELECT keystone.create_workspace('shares') AS ws \gset
SELECT count(keystone.add_member('shares', p, r))
FROM (VALUES (:'admin'::uuid, 'admin'), (:'ann', 'operator'), (:'viewer', 'viewer'), (:'worker', 'service'), (:'auditor', 'auditor')) m (p, r);
SELECT credential AS shared FROM keystone.store('shares', 'team token', 'of the team', provider => 'gemini', environment => 'prod') \gset
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT credential AS own FROM keystone.store('shares', 'token', 'Ann''s secret value', provider => 'gemini', personal => true) \gset
SELECT version FROM keystone.store('shares', 'token', 'Ann''s second value', personal => true);
SELECT credential AS gone FROM keystone.store('shares', 'gone', 'g', personal => true) \gset
SELECT keystone.delete_credential(:'gone');

-- Only the owner of a personal credential shares it, with a member who has view
SELECT keystone.share_credential(:'own', :'ann');
SELECT keystone.share_credential(:'own', :'worker', now() - interval '1 second');
SELECT keystone.share_credential(:'own', :'worker', '-infinity');
SELECT keystone.share_credential(NULL, :'worker');
SELECT keystone.share_credential(:'own', NULL);
SELECT keystone.share_credential(:'own', :'stranger');
SELECT keystone.share_credential(:'own', :'auditor');
SELECT keystone.share_credential(:'own', '00000000-0000-4000-8000-000000000000');
SELECT keystone.share_credential(:'gone', :'worker');
SELECT keystone.share_credential(:'foreign', :'worker');
SELECT keystone.share_credential('00000000-0000-4000-8000-000000000000', :'worker');
\set VERBOSITY default
SELECT keystone.share_credential(:'shared', :'worker');
\set VERBOSITY sqlstate
SELECT keystone.unshare_credential(:'own', :'worker');
SELECT keystone.unshare_credential(:'shared', :'worker');
SELECT keystone.unshare_credential(:'foreign', :'worker');
SELECT keystone.unshare_credential(:'own', NULL);
RESET SESSION AUTHORIZATION;
SELECT who, pg_temp.as_somebody(who, format('SELECT keystone.share_credential(%L, %L)', :'own', :'viewer')) AS share,
	   pg_temp.as_somebody(who, format('SELECT keystone.unshare_credential(%L, %L)', :'own', :'viewer')) AS unshare
FROM unnest('{owner,admin,viewer,worker,auditor,stranger}'::text[]) who;

-- Before it is shared nobody has it
CREATE VIEW pg_temp.uses AS
	SELECT who, u.use, pg_temp.as_somebody(who, u.query) AS result
	FROM (VALUES (1, 'owner'), (2, 'admin'), (3, 'viewer'), (4, 'worker'), (5, 'auditor'), (6, 'stranger')) w (n, who)
	CROSS JOIN (VALUES
		(1, 'by name', $$SELECT keystone.reveal('shares', 'token', owner => id) FROM ids$$),
		(2, 'by id', $$SELECT keystone.reveal_by_id(own) FROM ids$$),
		(3, 'first version', $$SELECT keystone.reveal_by_id(own, 1) FROM ids$$),
		(4, 'among many', $$SELECT string_agg(coalesce(m.value, m.problem), ', ') FROM ids, keystone.reveal_many(ARRAY[own, shared]) m$$),
		(5, 'resolved', $$SELECT name || ', personal ' || personal FROM keystone.resolve('shares', 'gemini')$$),
		(6, 'seen', $$SELECT name || ', hint ' || coalesce(hint, '(null)') FROM ids, keystone.credentials WHERE credentials.id = own$$),
		(7, 'versions', $$SELECT count(*)::text FROM ids, keystone.credential_versions WHERE credential_id = own$$),
		(8, 'shares', $$SELECT count(*)::text FROM ids, keystone.credential_shares WHERE credential_id = own$$)) u (n, use, query)
	ORDER BY w.n, u.n;
CREATE TEMP TABLE ids AS SELECT :'ann'::uuid AS id, :'own'::uuid AS own, :'shared'::uuid AS shared;
GRANT SELECT ON ids TO PUBLIC;
SELECT * FROM pg_temp.uses;

-- Then the grantee sees and reveals it, and no more; a name alone does not find it, nor does a whole environment
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT keystone.share_credential(:'own', :'worker');
SELECT keystone.share_credential(:'own', :'viewer', now() + interval '1 hour');
SELECT grantee = :'worker' AS to_worker, owner = :'ann' AS by_ann, until IS NULL AS for_ever, revoked_at FROM keystone.credential_shares ORDER BY 1;
RESET SESSION AUTHORIZATION;
SELECT * FROM pg_temp.uses;
SELECT who, v.verb, pg_temp.as_somebody(who, format(v.call, :'own')) AS result
FROM unnest('{viewer,worker}'::text[]) who CROSS JOIN (VALUES
	('rotate', 'SELECT keystone.rotate(%L, ''x'')'), ('promote', 'SELECT keystone.promote(%L, 1)'),
	('rollback_to', 'SELECT keystone.rollback_to(%L, 1)'), ('mark_verified', 'SELECT keystone.mark_verified(%L, true)'),
	('rename', 'SELECT keystone.rename(%L, ''{"name": "x"}'')'), ('update_metadata', 'SELECT keystone.update_metadata(%L, ''{}'')'),
	('set_active', 'SELECT keystone.set_active(%L, false)'), ('delete', 'SELECT keystone.delete_credential(%L)'),
	('restore', 'SELECT keystone.restore_credential(%L)'), ('destroy', 'SELECT keystone.destroy_credential(%L)'),
	('destroy_version', 'SELECT keystone.destroy_version(%L, 1)'),
	('share', format('SELECT keystone.share_credential(%%L, %L)', :'admin')), ('unshare', format('SELECT keystone.unshare_credential(%%L, %L)', :'worker'))) v (verb, call)
ORDER BY 1, 2;
SELECT pg_temp.as_somebody('worker', $$SELECT keystone.reveal('shares', 'token')$$) AS by_name_alone,
	   pg_temp.as_somebody('worker', $$SELECT keystone.reveal('shares', 'token', scope => 'own')$$) AS own_scope,
	   pg_temp.as_somebody('worker', $$SELECT keystone.credential_id('shares', 'token', personal => true)$$) AS credential_id,
	   pg_temp.as_somebody('worker', $$SELECT count(*) FROM keystone.reveal_env('shares')$$) AS environment,
	   pg_temp.as_somebody('worker', $$SELECT problem FROM keystone.reveal_env('shares', names => '{token}')$$) AS named,
	   pg_temp.as_somebody('worker', $$SELECT keystone.export_env('shares')$$) AS export;
-- own before shared before somebody else's
SELECT pg_temp.as_somebody('worker', $$SELECT name FROM keystone.resolve('shares', 'gemini', environment => 'prod')$$) AS team_first;
SET SESSION AUTHORIZATION regress_keystone_shares_owner;
SELECT action FROM keystone.store('shares', 'team default', 'of the team', provider => 'gemini');
SET SESSION AUTHORIZATION regress_keystone_shares_worker;
SELECT name, personal FROM keystone.resolve('shares', 'gemini');
SELECT action FROM keystone.store('shares', 'my own', 'w', provider => 'gemini', personal => true);
SELECT name, personal FROM keystone.resolve('shares', 'gemini');
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT name, personal FROM keystone.resolve('shares', 'gemini');

-- Both names stand in the log; the credential's owner reads it
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT action, outcome, actor = :'ann' AS by_ann, actor = :'worker' AS by_worker, actor = :'viewer' AS by_viewer, on_behalf_of = :'ann' AS for_ann,
	   detail ->> 'grantee' = :'worker' AS to_worker, detail ->> 'name' AS name, detail ->> 'sqlstate' AS sqlstate, count(*)
FROM keystone.audit_log WHERE object = :'own' AND action ~ 'reveal|share' AND outcome = 'ok' OR (object = :'own' AND action = 'credential.rotate' AND outcome = 'denied')
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 ORDER BY 1, 2, 3, 4, 5, 6, 7;
SELECT keystone.reveal('shares', 'token') AS own;
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT count(*) AS own_use, count(on_behalf_of) AS on_behalf_of FROM keystone.audit_log WHERE object = :'own' AND action = 'credential.reveal' AND actor = :'ann';

-- Until when
SELECT keystone.share_credential(:'own', :'worker', clock_timestamp() + interval '300 milliseconds');
SELECT count(*) AS rows, count(until) AS with_end FROM keystone.credential_shares;
RESET SESSION AUTHORIZATION;
SELECT pg_sleep(0.4);
SELECT use, result FROM pg_temp.uses WHERE who = 'worker';
-- again, for good; then taken back
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT keystone.share_credential(:'own', :'worker');
RESET SESSION AUTHORIZATION;
SELECT use, result FROM pg_temp.uses WHERE who = 'worker' AND use ~ '^by';
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT keystone.unshare_credential(:'own', :'worker');
SELECT keystone.unshare_credential(:'own', :'worker');
SELECT grantee = :'viewer' AS to_viewer FROM keystone.credential_shares;
RESET SESSION AUTHORIZATION;
SELECT use, result FROM pg_temp.uses WHERE who = 'worker';
SELECT revoked_at IS NOT NULL AS tombstone, length(row_mac) FROM keystone.credential_shares WHERE grantee = :'worker';

-- A row that no function wrote gives nothing: made up, brought back to life, given to another
SELECT use, result FROM pg_temp.uses WHERE who = 'viewer' AND use = 'by id';
UPDATE keystone.credential_shares SET revoked_at = NULL WHERE grantee = :'worker';
SELECT use, result FROM pg_temp.uses WHERE who = 'worker' AND use ~ '^by|seen';
UPDATE keystone.credential_shares SET grantee = :'admin' WHERE grantee = :'viewer';
SELECT who, use, result FROM pg_temp.uses WHERE who IN ('viewer', 'admin') AND use = 'by id';
DELETE FROM keystone.credential_shares;

-- What ends it: a suspended workspace, a credential that is switched off, an owner or a grantee that leaves
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT keystone.share_credential(:'own', p) FROM unnest(ARRAY[:'worker', :'viewer']::uuid[]) p;
SELECT keystone.set_active(:'own', false);
RESET SESSION AUTHORIZATION;
SELECT use, result FROM pg_temp.uses WHERE who = 'worker' AND use ~ '^by|seen';
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT keystone.set_active(:'own', true);
SET SESSION AUTHORIZATION regress_keystone_shares_owner;
SELECT keystone.update_workspace('shares', '{"status": "suspended"}');
RESET SESSION AUTHORIZATION;
SELECT use, result FROM pg_temp.uses WHERE who = 'worker' AND use ~ '^by|seen';
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT keystone.share_credential(:'own', :'admin');
SELECT keystone.unshare_credential(:'own', :'viewer');
SET SESSION AUTHORIZATION regress_keystone_shares_owner;
SELECT keystone.update_workspace('shares', '{"status": "active"}');
SELECT keystone.remove_member('shares', :'worker');
RESET SESSION AUTHORIZATION;
SELECT use, result FROM pg_temp.uses WHERE who IN ('worker', 'viewer') AND use ~ '^by|seen';
SET SESSION AUTHORIZATION regress_keystone_shares_owner;
SELECT keystone.add_member('shares', :'worker', 'service');
RESET SESSION AUTHORIZATION;
SELECT use, result FROM pg_temp.uses WHERE who = 'worker' AND use ~ '^by|seen';
-- shared anew it is; the owner's leaving ends that as well, and it does not come back
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT keystone.share_credential(:'own', :'worker');
RESET SESSION AUTHORIZATION;
SELECT use, result FROM pg_temp.uses WHERE who = 'worker' AND use ~ '^by|seen';
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT keystone.remove_member('shares', :'ann');
RESET SESSION AUTHORIZATION;
SELECT use, result FROM pg_temp.uses WHERE who = 'worker' AND use ~ '^by|seen';
SET SESSION AUTHORIZATION regress_keystone_shares_owner;
SELECT keystone.add_member('shares', :'ann', 'operator');
RESET SESSION AUTHORIZATION;
SELECT use, result FROM pg_temp.uses WHERE who = 'worker' AND use ~ '^by|seen';
SELECT count(*) FILTER (WHERE revoked_at IS NULL) AS shares, count(*) > 0 AS tombstones FROM keystone.credential_shares WHERE owner = :'ann';

-- An API key within its limits
SET SESSION AUTHORIZATION regress_keystone_shares_owner;
SELECT count(keystone.store('shares', n, 'value of ' || n, environment => e, provider => p))
FROM (VALUES ('prod one', 'prod', 'gemini'), ('prod two', 'prod', 'cohere'), ('prod bare', 'prod', NULL), ('dev one', 'dev', 'gemini')) v (n, e, p);
SELECT count(keystone.provider_configure('shares', p)) FROM unnest('{gemini,cohere}'::text[]) p;
SELECT api_key AS key, id AS key_id FROM keystone.create_api_key('shares', 'limited', 'admin', environments => '{prod}', providers => '{gemini}') \gset
SELECT api_key AS prod_key, id AS prod_id FROM keystone.create_api_key('shares', 'prod', 'admin', environments => '{prod}') \gset
SELECT api_key AS free_key FROM keystone.create_api_key('shares', 'free', 'admin') \gset
SELECT name, environment, provider FROM keystone.credentials WHERE environment IN ('prod', 'dev') ORDER BY 1;
CREATE TEMP TABLE found AS SELECT name, id FROM keystone.credentials WHERE workspace = 'shares' AND environment IN ('prod', 'dev');
RESET SESSION AUTHORIZATION;
GRANT SELECT ON found TO PUBLIC;
CREATE ROLE regress_keystone_shares_app;
SELECT keystone.grant_access('regress_keystone_shares_app', 'client');
CREATE VIEW pg_temp.reach AS
	SELECT use, pg_temp.attempt(query) AS result FROM (VALUES
		(1, 'listed', $$SELECT string_agg(name, ', ' ORDER BY name) FROM keystone.credentials$$),
		(2, 'versions', $$SELECT string_agg(f.name, ', ' ORDER BY f.name) FROM keystone.credential_versions v JOIN found f ON f.id = v.credential_id$$),
		(3, 'summary', $$SELECT sum(credentials)::text FROM keystone.credential_summary$$),
		(4, 'provider configurations', $$SELECT string_agg(provider, ', ' ORDER BY provider) FROM keystone.provider_configs$$),
		(5, 'by id', $$SELECT string_agg(pg_temp.attempt(format('SELECT keystone.reveal_by_id(%L)', id)), ', ' ORDER BY name) FROM found$$),
		(6, 'by name', $$SELECT string_agg(pg_temp.attempt(format('SELECT keystone.reveal(''shares'', %L, %L)', name, split_part(name, ' ', 1))), ', ' ORDER BY name) FROM found WHERE name <> 'team token'$$),
		(7, 'many', $$SELECT string_agg(coalesce(value, problem), ', ' ORDER BY n) FROM (SELECT array_agg(id ORDER BY name) FROM found) f (ids), keystone.reveal_many(ids) WITH ORDINALITY r (credential, name, version, value, problem, n)$$),
		(8, 'prod', $$SELECT string_agg(name, ', ' ORDER BY name) FROM keystone.reveal_env('shares', 'prod') WHERE problem IS NULL$$),
		(9, 'dev', $$SELECT string_agg(name, ', ' ORDER BY name) FROM keystone.reveal_env('shares', 'dev')$$),
		(10, 'named', $$SELECT string_agg(concat_ws(' ', credential IS NOT NULL, name, problem), ', ') FROM keystone.reveal_env('shares', 'prod', '{prod one,prod two,missing}')$$),
		(11, 'exported', $$SELECT count(*)::text FROM regexp_matches(keystone.export_env('shares', 'prod'), '# ', 'g')$$),
		(12, 'resolved', $$SELECT string_agg(pg_temp.attempt(format('SELECT name FROM keystone.resolve(''shares'', %L, environment => %L)', p, e)), ', ') FROM unnest('{gemini,cohere}'::text[]) p, unnest('{prod,dev}'::text[]) e$$),
		(13, 'credential_id', $$SELECT string_agg(name, ', ' ORDER BY name) FROM found WHERE pg_temp.attempt(format('SELECT keystone.credential_id(''shares'', %L, %L)', name, split_part(name, ' ', 1))) = id::text$$),
		(14, 'store new', $$SELECT action FROM keystone.store('shares', 'k new', 'x', 'prod', 'gemini')$$),
		(15, 'store new, no provider', $$SELECT action FROM keystone.store('shares', 'k bare', 'x', 'prod')$$),
		(16, 'store new, other provider', $$SELECT action FROM keystone.store('shares', 'k other', 'x', 'prod', 'cohere')$$),
		(17, 'store new, other environment', $$SELECT action FROM keystone.store('shares', 'k dev', 'x', 'dev', 'gemini')$$),
		(18, 'store again', $$SELECT action FROM keystone.store('shares', 'prod one', 'value of prod one', 'prod')$$),
		(19, 'store over a hidden one', $$SELECT action FROM keystone.store('shares', 'prod two', 'x', 'prod', 'gemini')$$),
		(20, 'store personal', $$SELECT action FROM keystone.store('shares', 'k own', 'x', 'prod', 'gemini', personal => true)$$),
		(21, 'import', $$SELECT action FROM keystone.import_env('shares', 'K_ENV=x', 'prod')$$),
		(22, 'import elsewhere', $$SELECT action FROM keystone.import_env('shares', 'K_ENV=x', 'dev')$$),
		(23, 'rename out of the environment', $$SELECT keystone.rename(id, '{"environment": "dev"}') FROM found WHERE name = 'prod one'$$),
		(24, 'rename out of the provider', $$SELECT keystone.rename(id, '{"provider": null}') FROM found WHERE name = 'prod one'$$),
		(25, 'rename within', $$SELECT keystone.rename(id, '{"name": "prod one"}') FROM found WHERE name = 'prod one'$$),
		(26, 'rotate', $$SELECT (keystone.rotate(id, 'value of prod one')).version > 1 FROM found WHERE name = 'prod one'$$),
		(27, 'rotate hidden', $$SELECT keystone.rotate(id, 'x') FROM found WHERE name = 'dev one'$$),
		(28, 'delete', $$SELECT keystone.delete_credential(id) FROM found WHERE name = 'dev one'$$)) u (n, use, query)
	ORDER BY n;
GRANT SELECT ON pg_temp.reach TO PUBLIC;
SET SESSION AUTHORIZATION regress_keystone_shares_app;
BEGIN;
SELECT keystone.authenticate(:'key') = :'key_id' AS is_key;
SELECT * FROM pg_temp.reach;
ROLLBACK;
BEGIN;
SELECT keystone.authenticate(:'prod_key') = :'prod_id' AS is_key;
SELECT * FROM pg_temp.reach;
ROLLBACK;
BEGIN;
SELECT keystone.authenticate(:'free_key') IS NOT NULL AS is_key;
SELECT * FROM pg_temp.reach WHERE use ~ '^(listed|versions|by|dev|store new, other|store personal|rename out)';
ROLLBACK;

-- A share for a key counts within its limits; owner and creator stand in the log
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT credential AS ann_prod FROM keystone.store('shares', 'ann prod', 'Ann''s, of prod', 'prod', 'gemini', personal => true) \gset
SELECT credential AS ann_dev FROM keystone.store('shares', 'ann dev', 'Ann''s, of dev', 'dev', 'gemini', personal => true) \gset
SELECT keystone.share_credential(c, :'key_id') FROM unnest(ARRAY[:'ann_prod', :'ann_dev']::uuid[]) c;
SET SESSION AUTHORIZATION regress_keystone_shares_app;
BEGIN;
SELECT keystone.authenticate(:'key') IS NOT NULL AS is_key;
SELECT keystone.reveal('shares', 'ann prod', 'prod', owner => :'ann'), pg_temp.attempt(format('SELECT keystone.reveal_by_id(%L)', :'ann_dev')) AS outside;
SELECT name FROM keystone.credentials WHERE personal;
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_shares_ann;
SELECT action, object = :'ann_prod' AS object, on_behalf_of = :'ann' AS for_ann, detail ->> 'key_creator' = :'owner' AS made_by_owner
FROM keystone.audit_log WHERE object IN (:'ann_prod', :'ann_dev') ORDER BY seq;
