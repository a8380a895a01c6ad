-- Names: normal form, what counts as the same name, what is refused.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_names_' || name);
	PERFORM keystone.grant_access(('regress_keystone_names_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_names_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('other') AS other \gset
CREATE FUNCTION pg_temp.try(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE sql INTO result;
	RETURN result;
EXCEPTION WHEN others THEN
	RETURN sqlstate;
END $$;
SET SESSION AUTHORIZATION regress_keystone_names_owner;
SELECT keystone.create_workspace('names') AS ws \gset
SELECT keystone.add_member('names', :'other', 'admin');

-- One name per workspace, environment, owner and folded form: these pairs are one ...
CREATE TEMP TABLE pairs (n int, what text, a text, b text);
INSERT INTO pairs VALUES
	(1, 'ASCII case', 'Token', 'tOKEN'),
	(2, 'NFC and NFD', E'caf\u00e9', E'cafe\u0301'),
	(3, 'compatibility: ligature', E'\ufb01le', 'file'),
	(4, 'compatibility: full width', E'\uff21\uff22c', 'abc'),
	(5, 'compatibility: Kelvin sign', E'\u212a1', 'k1'),
	(6, 'compatibility: no-break space', E'x\u00a0y', 'x y'),
	(7, 'Hangul', E'\ud55c', E'\u1112\u1161\u11ab');
SELECT n, what, (SELECT action FROM keystone.store('names', a, 'v')) AS first, (SELECT action FROM keystone.store('names', b, 'w')) AS second
FROM pairs ORDER BY n;
SELECT n, keystone.reveal('names', a) AS a, keystone.reveal('names', b) AS b, keystone.credential_id('names', a) = keystone.credential_id('names', b) AS same FROM pairs ORDER BY n;
-- The first spelling stays, in NFC
SELECT n, c.name = normalize(p.a, NFC) AS first_spelling_in_nfc FROM pairs p JOIN keystone.credentials c ON c.id = keystone.credential_id('names', p.a) ORDER BY n;
SELECT name IS NFC NORMALIZED AS nfc, count(*) FROM keystone.credentials WHERE workspace = 'names' GROUP BY 1;
-- ... and these are two: case outside ASCII, other letters, inner spaces
TRUNCATE pairs;
INSERT INTO pairs VALUES (1, 'case outside ASCII', E'\u00c9cole', E'\u00e9cole'), (2, 'Cyrillic a', 'paypal', E'p\u0430ypal'), (3, 'spaces', 'a b', 'a  b');
SELECT n, what, (SELECT action FROM keystone.store('names', a, 'v')) AS first, (SELECT action FROM keystone.store('names', b, 'w')) AS second FROM pairs ORDER BY n;
-- environments compare as they are
SELECT (SELECT action FROM keystone.store('names', 'env', 'v', 'prod')) AS prod, (SELECT action FROM keystone.store('names', 'env', 'v', 'Prod')) AS "Prod",
	   (SELECT action FROM keystone.store('names', 'env', 'v', 'prod')) AS again;
-- shared, one's own, another's own: three credentials of one name
SELECT credential AS shared FROM keystone.store('names', 'three', 'shared') \gset
SELECT credential AS mine FROM keystone.store('names', 'THREE', 'the owner''s', personal => true) \gset
SET SESSION AUTHORIZATION regress_keystone_names_other;
SELECT credential AS theirs FROM keystone.store('names', 'Three', 'the other''s', personal => true) \gset
SELECT :'shared' <> :'mine' AND :'mine' <> :'theirs' AND :'shared' <> :'theirs' AS three;
SELECT keystone.reveal('names', 'three') AS any, keystone.reveal('names', 'three', scope => 'own') AS own, keystone.reveal('names', 'three', scope => 'shared') AS shared;
SELECT keystone.credential_id('names', 'three') = :'shared' AS shared, keystone.credential_id('names', 'three', personal => true) = :'theirs' AS own;
SET SESSION AUTHORIZATION regress_keystone_names_owner;
SELECT keystone.reveal('names', 'three') AS any;
-- and the same name in another workspace
SELECT keystone.create_workspace('names-2') IS NOT NULL AS created;
SELECT action FROM keystone.store('names-2', 'three', 'elsewhere');
SELECT keystone.reveal('names-2', 'three');

-- I12: refused wherever a name is given
CREATE TEMP TABLE bad (n int, what text, name text);
INSERT INTO bad VALUES
	(1, 'empty', ''), (2, 'blank', ' '), (3, 'space before', ' x'), (4, 'space after', 'x '), (5, 'no-break space after', E'x\u00a0'), (6, 'ideographic space before', E'\u3000x'),
	(7, 'line feed', E'a\nb'), (8, 'tab', E'a\tb'), (9, 'U+0001', E'a\u0001b'), (10, 'DEL', E'a\u007fb'), (11, 'C1', E'a\u0085b'),
	(12, 'soft hyphen', E'a\u00adb'), (13, 'zero width space', E'a\u200bb'), (14, 'zero width joiner', E'a\u200db'), (15, 'right-to-left override', E'a\u202eb'),
	(16, 'line separator', E'a\u2028b'), (17, 'BOM', E'\ufeffab'), (18, 'tag letter', E'a\U000E0041b'), (19, '256 bytes', repeat('n', 256)),
	(20, '128 letters of 2 bytes', repeat(E'\u00e9', 128)), (21, '255 bytes that grow in NFC', repeat(E'\U0001d15e', 63) || 'abc');
SELECT n, what, pg_temp.try(format('SELECT action FROM keystone.store(''names'', %L, ''v'')', name)) AS store,
	   pg_temp.try(format('SELECT action FROM keystone.store(''names'', ''bad'', ''v'', environment => %L)', left(name, 200))) AS environment,
	   pg_temp.try(format('SELECT action FROM keystone.store(''names'', ''bad'', ''v'', kind => %L)', left(name, 200))) AS kind,
	   pg_temp.try(format('SELECT action FROM keystone.store(''names'', ''bad'', ''v'', tags => ARRAY[%L])', left(name, 200))) AS tag,
	   pg_temp.try(format('SELECT keystone.reveal(''names'', %L)', name)) AS reveal,
	   pg_temp.try(format('SELECT keystone.credential_id(''names'', %L)', name)) AS credential_id,
	   pg_temp.try(format('SELECT keystone.rename(%L, %L)', :'shared', jsonb_build_object('name', name))) AS rename,
	   pg_temp.try(format('SELECT * FROM keystone.reveal_env(''names'', names => ARRAY[%L])', name)) AS reveal_env
FROM bad ORDER BY n;
SELECT count(*) AS bad FROM keystone.credentials WHERE name = 'bad' OR name IN (SELECT name FROM bad);
-- the longest
SELECT octet_length(n) AS bytes, pg_temp.try(format('SELECT action FROM keystone.store(''names'', %L, ''v'')', n)) AS store
FROM unnest(ARRAY[repeat('n', 255), repeat(E'\u00e9', 127)]) n;
-- I12: a name cannot reach SQL or a format string
SELECT n, pg_temp.try(format('SELECT action FROM keystone.store(''names'', %L, ''v'')', n)) AS store, keystone.reveal('names', n)
FROM unnest(ARRAY['''; DROP TABLE x; --', '%s%n', '$1', '\x41', 'a"b', '{}']) n;

DROP TABLE pairs, bad;
RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(('regress_keystone_names_' || r)::name, 'client')) AS revoked FROM unnest('{owner,other}'::text[]) r;
DROP ROLE regress_keystone_names_owner, regress_keystone_names_other;

