-- A credential's life beside its values: rename(), update_metadata(), set_active(),
-- credential_id(), resolve(), delete, restore, destroy.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_lifecycle_' || name);
	PERFORM keystone.grant_access(('regress_keystone_lifecycle_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_lifecycle_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('service') AS service \gset
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
SET SESSION AUTHORIZATION regress_keystone_lifecycle_owner;
SELECT keystone.create_workspace('lifecycle') AS ws \gset
SELECT keystone.add_member('lifecycle', :'viewer', 'viewer');
SELECT keystone.add_member('lifecycle', :'service', 'service');
SELECT credential AS c FROM keystone.store('lifecycle', 'token', 'sk-0123456789abcdef01', provider => 'openai', metadata => '{"a": 1}') \gset
SELECT version FROM keystone.store('lifecycle', 'token', 'sk-0123456789abcdef02');
SELECT version FROM keystone.store('lifecycle', 'token', 'sk-0123456789abcdef03', state => 'pending');
SELECT credential AS taken FROM keystone.store('lifecycle', 'Taken', 'x') \gset
RESET SESSION AUTHORIZATION;
-- the envelopes, to see that they were made anew
CREATE TEMP TABLE sealed AS SELECT credential_id, version, envelope FROM keystone_private.ciphertext WHERE credential_id = :'c';
CREATE FUNCTION pg_temp.resealed() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	n text;
BEGIN
	SELECT count(*) FILTER (WHERE s.envelope <> t.envelope) || ' of ' || count(*) INTO n
	FROM sealed s JOIN keystone_private.ciphertext t USING (credential_id, version);
	UPDATE sealed s SET envelope = t.envelope FROM keystone_private.ciphertext t WHERE t.credential_id = s.credential_id AND t.version = s.version;
	RETURN n;
END $$;
CREATE FUNCTION pg_temp.values(credential uuid) RETURNS text LANGUAGE sql AS
	$$ SELECT string_agg(right(keystone.reveal_by_id(credential, v), 2), ' ' ORDER BY v) FROM generate_series(1, 3) v $$;

-- rename: name, environment, provider, kind; every version is sealed again and opens (I5)
SET SESSION AUTHORIZATION regress_keystone_lifecycle_owner;
SELECT keystone.rename(:'c', '{"name": "Key", "environment": "prod", "provider": "openrouter", "kind": "bearer"}');
SELECT name, environment, provider, kind, current_version FROM keystone.credentials WHERE id = :'c';
SELECT pg_temp.resealed(), pg_temp.values(:'c');
SELECT keystone.reveal('lifecycle', 'KEY', 'prod');
SELECT keystone.reveal('lifecycle', 'token');
SELECT keystone.rename(:'c', '{"provider": null}');
SELECT name, environment, provider, kind FROM keystone.credentials WHERE id = :'c';
SELECT pg_temp.resealed(), pg_temp.values(:'c');
-- its own name in another spelling; nothing; the same
SELECT keystone.rename(:'c', '{"name": "KEY"}');
SELECT name, pg_temp.resealed() FROM keystone.credentials WHERE id = :'c';
SELECT keystone.rename(:'c', '{}');
SELECT keystone.rename(:'c', '{"name": "KEY", "kind": "bearer"}');
SELECT pg_temp.resealed();
-- I12
SELECT keystone.rename(:'c', '{"name": "taken", "environment": "default"}');
SELECT keystone.rename(:'c', '{"nom": "x"}');
SELECT keystone.rename(:'c', '{"name": "new", "owner": "x"}');
SELECT keystone.rename(:'c', '{"name": null}');
SELECT keystone.rename(:'c', '{"environment": null}');
SELECT keystone.rename(:'c', '{"kind": null}');
SELECT keystone.rename(:'c', '{"name": 1}');
SELECT keystone.rename(:'c', '{"name": {"a": "b"}}');
SELECT keystone.rename(:'c', '{"name": ["a"]}');
SELECT keystone.rename(:'c', '{"name": ""}');
SELECT keystone.rename(:'c', '{"provider": "no-such-provider"}');
SELECT keystone.rename(:'c', '[]');
SELECT keystone.rename(:'c', '"name"');
SELECT keystone.rename(:'c', 'null');
SELECT keystone.rename('00000000-0000-4000-8000-000000000000', '{}');
SELECT name, environment, provider, kind, pg_temp.resealed() FROM keystone.credentials WHERE id = :'c';

-- update_metadata: merge patch of description, tags, metadata, expires_at
SELECT keystone.update_metadata(:'c', '{"description": "d", "tags": ["x", "y"], "expires_at": "2100-01-01T00:00:00Z"}');
SELECT description, tags, metadata, expires_at FROM keystone.credentials WHERE id = :'c';
SELECT pg_temp.resealed(), pg_temp.values(:'c');
-- what is not in the address needs no new seal
SELECT keystone.update_metadata(:'c', '{"description": "e", "tags": ["z"]}');
SELECT description, tags, metadata, expires_at, pg_temp.resealed() FROM keystone.credentials WHERE id = :'c';
SELECT keystone.update_metadata(:'c', '{}');
SELECT keystone.update_metadata(:'c', '{"description": null, "tags": null, "metadata": null, "expires_at": null}');
SELECT description, tags, metadata, expires_at FROM keystone.credentials WHERE id = :'c';
SELECT pg_temp.resealed(), pg_temp.values(:'c');
-- RFC 7396, appendix A, where target and patch are objects
RESET SESSION AUTHORIZATION;
CREATE TEMP TABLE rfc (n int, target jsonb, patch jsonb, result jsonb);
GRANT SELECT ON rfc TO PUBLIC;
INSERT INTO rfc VALUES
	(1, '{"a":"b"}', '{"a":"c"}', '{"a":"c"}'), (2, '{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'), (3, '{"a":"b"}', '{"a":null}', '{}'),
	(4, '{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'), (5, '{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'), (6, '{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
	(7, '{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'), (8, '{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
	(13, '{"e":null}', '{"a":1}', '{"e":null,"a":1}'), (15, '{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
	(16, '{"a":"foo"}', '{"a":{"b":{"c":1}}}', '{"a":{"b":{"c":1}}}');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_owner;
DO $$
DECLARE
	r record;
	id uuid;
BEGIN
	FOR r IN SELECT * FROM rfc LOOP
		SELECT credential INTO id FROM keystone.store('lifecycle', 'rfc ' || r.n, 'value ' || r.n, 'rfc', metadata => r.target);
		PERFORM keystone.update_metadata(id, jsonb_build_object('metadata', r.patch));
	END LOOP;
END $$;
SELECT r.n, c.metadata, c.metadata = r.result AS as_rfc, keystone.reveal('lifecycle', c.name, 'rfc')
FROM rfc r JOIN keystone.credentials c ON c.name = 'rfc ' || r.n AND c.environment = 'rfc' ORDER BY r.n;
-- I12
SELECT keystone.update_metadata(:'c', '{"note": "x"}');
SELECT keystone.update_metadata(:'c', '{"description": "x", "name": "y"}');
SELECT keystone.update_metadata(:'c', '[]');
SELECT keystone.update_metadata(:'c', '{"metadata": []}');
SELECT keystone.update_metadata(:'c', '{"metadata": "x"}');
SELECT keystone.update_metadata(:'c', jsonb_build_object('metadata', jsonb_build_object('k', repeat('m', 16384))));
SELECT keystone.update_metadata(:'c', '{"tags": "x"}');
SELECT keystone.update_metadata(:'c', '{"tags": {"x": "y"}}');
SELECT keystone.update_metadata(:'c', '{"tags": [1]}');
SELECT keystone.update_metadata(:'c', '{"tags": [["x"]]}');
SELECT keystone.update_metadata(:'c', '{"tags": [""]}');
SELECT keystone.update_metadata(:'c', jsonb_build_object('tags', array_fill('t'::text, '{51}')));
SELECT keystone.update_metadata(:'c', '{"description": 5}');
SELECT keystone.update_metadata(:'c', jsonb_build_object('description', repeat('d', 4097)));
SELECT keystone.update_metadata(:'c', '{"expires_at": 5}');
SELECT keystone.update_metadata('00000000-0000-4000-8000-000000000000', '{}');
SELECT description, tags, metadata, expires_at, pg_temp.resealed() FROM keystone.credentials WHERE id = :'c';

-- Who: store for shared ones; one's own with view; nobody else's personal ones
SELECT credential AS owners FROM keystone.store('lifecycle', 'personal', 'the owner''s', personal => true) \gset
SET SESSION AUTHORIZATION regress_keystone_lifecycle_viewer;
SELECT keystone.rename(:'c', '{"name": "x"}');
SELECT keystone.update_metadata(:'c', '{"description": "x"}');
SELECT keystone.set_active(:'c', false);
SELECT keystone.delete_credential(:'c');
SELECT keystone.destroy_credential(:'c');
SELECT keystone.rename(:'owners', '{"name": "x"}');
SELECT keystone.set_active(:'owners', false);
SELECT keystone.delete_credential(:'owners');
SELECT keystone.destroy_credential(:'owners');
SELECT credential AS viewers FROM keystone.store('lifecycle', 'personal', 'the viewer''s', personal => true) \gset
SELECT keystone.rename(:'viewers', '{"name": "mine"}');
SELECT keystone.update_metadata(:'viewers', '{"description": "mine"}');
SELECT keystone.reveal('lifecycle', 'mine');
-- a holder of workspace disables and deletes a personal one, and does not change or see it (I4)
SET SESSION AUTHORIZATION regress_keystone_lifecycle_owner;
SELECT name, description, personal FROM keystone.credentials WHERE id = :'viewers';
SELECT keystone.rename(:'viewers', '{"name": "x"}');
SELECT keystone.update_metadata(:'viewers', '{"description": "x"}');
SELECT keystone.rotate(:'viewers', 'x');
SELECT keystone.reveal_by_id(:'viewers');
SELECT keystone.destroy_credential(:'viewers');
SELECT keystone.destroy_version(:'viewers', 1);
SELECT keystone.mark_verified(:'viewers', true);
SELECT keystone.set_active(:'viewers', false);
SET SESSION AUTHORIZATION regress_keystone_lifecycle_viewer;
SELECT keystone.reveal('lifecycle', 'mine');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_owner;
SELECT keystone.set_active(:'viewers', true);
SELECT keystone.delete_credential(:'viewers');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_viewer;
SELECT keystone.reveal('lifecycle', 'mine');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_owner;
SELECT keystone.restore_credential(:'viewers');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_viewer;
SELECT keystone.reveal('lifecycle', 'mine');

-- delete: gone for every verb, in the list as deleted, its name free; restore brings all of it back
SET SESSION AUTHORIZATION regress_keystone_lifecycle_owner;
SELECT keystone.delete_credential(:'c', '1 day');
SELECT name, deleted_at IS NOT NULL AS deleted, destroy_after - deleted_at BETWEEN '23:59' AND '24:01' AS in_a_day, destroyed_at FROM keystone.credentials WHERE id = :'c';
SELECT keystone.credential_id('lifecycle', 'key', 'prod');
SELECT keystone.reveal_by_id(:'c');
SELECT keystone.rotate(:'c', 'x');
SELECT keystone.promote(:'c', 3);
SELECT keystone.rollback_to(:'c', 1);
SELECT keystone.rename(:'c', '{"name": "x"}');
SELECT keystone.update_metadata(:'c', '{}');
SELECT keystone.set_active(:'c', true);
SELECT keystone.mark_verified(:'c', true);
SELECT keystone.delete_credential(:'c');
SELECT action, credential <> :'c' AS another FROM keystone.store('lifecycle', 'key', 'a new one', 'prod');
SELECT keystone.restore_credential(:'c');
SELECT keystone.delete_credential(keystone.credential_id('lifecycle', 'key', 'prod'), '0');
SELECT keystone.restore_credential(:'c');
SELECT keystone.reveal('lifecycle', 'key', 'prod'), pg_temp.values(:'c'), pg_temp.resealed();
SELECT deleted_at, destroy_after FROM keystone.credentials WHERE id = :'c';
SELECT keystone.restore_credential(:'c');
-- when the recovery time is over it is over
SELECT keystone.restore_credential(id) FROM keystone.credentials WHERE workspace = 'lifecycle' AND environment = 'prod' AND deleted_at IS NOT NULL;
SELECT keystone.delete_credential(:'c', '-1 second');
SELECT keystone.delete_credential(:'c', NULL);
SELECT keystone.restore_credential('00000000-0000-4000-8000-000000000000');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_viewer;
SELECT keystone.restore_credential(:'c');

-- destroy: the ciphertext is gone for good, deleted or not, and the name is free
SET SESSION AUTHORIZATION regress_keystone_lifecycle_owner;
SELECT keystone.destroy_credential(:'c');
SELECT keystone.destroy_credential('00000000-0000-4000-8000-000000000000');
SELECT name, current_version, hint, deleted_at IS NOT NULL AS deleted, destroyed_at IS NOT NULL AS destroyed FROM keystone.credentials WHERE id = :'c';
SELECT version, state, destroyed_at IS NOT NULL AS destroyed FROM keystone.credential_versions WHERE credential_id = :'c' ORDER BY version;
SELECT keystone.restore_credential(:'c');
SELECT keystone.reveal_by_id(:'c', 1);
SELECT action FROM keystone.store('lifecycle', 'KEY', 'x', 'prod');
SELECT keystone.delete_credential(:'taken');
SELECT keystone.destroy_credential(:'taken');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_viewer;
SELECT keystone.destroy_credential(:'viewers');
RESET SESSION AUTHORIZATION;
SELECT count(*) AS ciphertext FROM keystone_private.ciphertext WHERE credential_id IN (:'c', :'taken', :'viewers');

-- credential_id and resolve: which one an app would use; own before shared, then the one rotated last
SET SESSION AUTHORIZATION regress_keystone_lifecycle_service;
SELECT keystone.credential_id('lifecycle', 'missing');
SELECT keystone.credential_id('lifecycle', 'key', 'prod', personal => true);
SELECT keystone.credential_id('lifecycle', 'key', 'prod') IS NOT NULL AS found;
SELECT keystone.resolve('lifecycle', 'openai');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_owner;
SELECT count(keystone.store('lifecycle', n, 'sk-0123456789abcdef' || n, provider => 'openai', kind => k)) FROM (VALUES ('old', 'api_key'), ('new', 'api_key'), ('admin', 'admin_key')) v (n, k);
SELECT name, version, personal, mode FROM keystone.resolve('lifecycle', 'openai');
SELECT name FROM keystone.resolve('lifecycle', 'openai', 'api_key');
SELECT version FROM keystone.store('lifecycle', 'old', 'sk-0123456789abcdefold2');
SELECT name, version FROM keystone.resolve('lifecycle', 'openai');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_service;
SELECT version FROM keystone.store('lifecycle', 'own', 'sk-0123456789abcdefown', provider => 'openai', personal => true);
SELECT name, version, personal FROM keystone.resolve('lifecycle', 'openai');
SELECT name, personal FROM keystone.resolve('lifecycle', 'openai', 'admin_key');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_viewer;
SELECT name, personal FROM keystone.resolve('lifecycle', 'openai');
SET SESSION AUTHORIZATION regress_keystone_lifecycle_owner;
SELECT keystone.set_active(keystone.credential_id('lifecycle', 'old'), false);
SELECT keystone.update_metadata(keystone.credential_id('lifecycle', 'new'), '{"expires_at": "2000-01-01"}');
SELECT name FROM keystone.resolve('lifecycle', 'openai');
SELECT keystone.delete_credential(keystone.credential_id('lifecycle', 'admin'));
SELECT keystone.resolve('lifecycle', 'openai');
SELECT keystone.resolve('lifecycle', 'openai', environment => 'prod');
SELECT keystone.resolve('lifecycle', 'no-such-provider');
SELECT keystone.resolve('missing', 'openai');
SELECT count(*) AS not_ok FROM keystone.verify_all('lifecycle') WHERE NOT ok;

RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(('regress_keystone_lifecycle_' || r)::name, 'client')) AS revoked FROM unnest('{owner,viewer,service}'::text[]) r;
DROP TABLE sealed, rfc;
DROP ROLE regress_keystone_lifecycle_owner, regress_keystone_lifecycle_viewer, regress_keystone_lifecycle_service;
