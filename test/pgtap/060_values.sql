-- What happens to names, hints and metadata, as SQL shows it.
BEGIN;
\ir lib/tenants.sql

SELECT plan(72);

-- JSON merge patch: the cases of RFC 7396, appendix A.
SELECT is(keystone_private.json_merge_patch(target::jsonb, patch::jsonb), result::jsonb, format('RFC 7396: %s patched by %s', target, patch))
FROM (VALUES
	('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
	('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
	('{"a":"b"}', '{"a":null}', '{}'),
	('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
	('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
	('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
	('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
	('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
	('["a","b"]', '["c","d"]', '["c","d"]'),
	('{"a":"b"}', '["c"]', '["c"]'),
	('{"a":"foo"}', 'null', 'null'),
	('{"a":"foo"}', '"bar"', '"bar"'),
	('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
	('[1,2]', '{"a":"b","c":null}', '{"a":"b"}'),
	('{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
	-- and some of its text
	('{"a":{"b":1}}', '{"a":{}}', '{"a":{"b":1}}'),
	('"x"', '{}', '{}'),
	('{"a":1}', '{"":null,"a":null}', '{}')) v (target, patch, result);

-- The same through update_metadata(): metadata is merged, the rest replaced.
SELECT is(pg_temp.do_as('ks_owner', format($$SELECT keystone.update_metadata(%L, %L)::text$$, pg_temp.credential('acme-shared'), patch)), '', 'patch ' || patch)
FROM (VALUES ('{"metadata": {"a": {"b": 1, "c": 2}}, "tags": ["x"], "description": "d"}'), ('{"metadata": {"a": {"b": null}}, "tags": []}'), ('{"description": null}')) v (patch);
SELECT is((SELECT (metadata, tags, description)::text FROM keystone_private.credentials WHERE name = 'acme-shared'), '("{""a"": {""c"": 2}}",{},)', 'nested members are merged, a null clears');
SELECT is(pg_temp.value_as('ks_owner', $$SELECT keystone.reveal('acme', 'acme-shared')$$), 'value of acme-shared, which is long', 'I5 and the value opens with its new metadata');
SELECT is(pg_temp.as_role('ks_owner', format($$SELECT keystone.update_metadata(%L, %L)$$, pg_temp.credential('acme-shared'), patch)), '22023', 'I12 refused: ' || patch)
FROM (VALUES ('{"name": "x"}'), ('[]'), ('"x"'), ('{"metadata": []}'), ('{"tags": "x"}'), ('{"tags": [1]}'), ('{"description": 1}'), ('{"expires_at": 1}')) v (patch);
SELECT is(pg_temp.as_role('ks_owner', format($$SELECT keystone.update_metadata(%L, jsonb_build_object('metadata', (repeat('{"a":', 600) || '1' || repeat('}', 600))::jsonb))$$, pg_temp.credential('acme-shared'))),
	'1', 'I12 deeply nested metadata of allowed size is merged');

-- Names that a reader cannot tell apart are one name.
SELECT is(pg_temp.do_as('ks_owner', format($$SELECT action FROM keystone.store('acme', %L, 'value')$$, name)), action, format('%s: %s', action, what))
FROM (VALUES
	('Key', 'created', 'a name'),
	('KEY', 'rotated', 'ASCII letters of another case'),
	(E'\uFF2B\uFF25\uFF39', 'rotated', 'full-width letters (NFKC)'),
	(E'Caf\u00E9', 'created', 'a composed letter'),
	(E'Cafe\u0301', 'rotated', 'the same, decomposed'),
	(E'CAF\u00E9', 'rotated', 'ASCII part of another case'),
	(E'caf\u00C9', 'created', 'a letter beyond ASCII of another case is another name'),
	(E'\uFB01le', 'created', 'a ligature'),
	('file', 'rotated', 'its letters'),
	(E'a\u00A0b', 'created', 'a no-break space inside'),
	('a b', 'rotated', 'a space'),
	(E'\u0430bc', 'created', 'a Cyrillic letter'),
	('abc', 'created', 'a Latin one is another name')) v (name, action, what);
SELECT is((SELECT name FROM keystone_private.credentials WHERE folded_name = 'key'), 'Key', 'the name stays as it was stored first');
SELECT is((SELECT octet_length(name) FROM keystone_private.credentials WHERE folded_name = E'caf\u00E9'), 5, 'names are kept in NFC');
SELECT is(pg_temp.as_role('ks_owner', format($$SELECT keystone.store('acme', %L, 'value')$$, name)), '22023', 'I12 refused: ' || what)
FROM (VALUES ('', 'an empty name'), (' a', 'white space before'), ('a ', 'white space after'), (E'a\u3000', 'an ideographic space after'), (E'a\nb', 'a line feed'),
	(E'a\u0001', 'a control character'), (E'a\u200Bb', 'a zero-width space'), (E'a\u202Eb', 'a right-to-left override'), (E'\uFEFFa', 'a byte order mark'),
	(E'a\u0085', 'a C1 control'), (E'a\U000E0041', 'a tag character'), (repeat('a', 100000), 'a very long name')) v (name, what);

-- Hints: at most four characters of long values, by kind.
SELECT is(pg_temp.do_as('ks_owner', format($$SELECT action FROM keystone.store('acme', 'hint', %L, kind => %L)$$, value, kind)) ||
	coalesce(' ' || nullif(pg_temp.value_as('ks_viewer', $$SELECT hint FROM keystone.credentials WHERE name = 'hint'$$), '<null>'), ''), expected, format('I1 hint: %s of %s bytes', kind, length(value)))
FROM (VALUES
	('api_key', 'abcdefghijklmnopqrstuvw', 'created'),
	('api_key', 'abcdefghijklmnopqrstuvwx', 'rotated ****uvwx'),
	('api_key', repeat(E'\u00E9', 24), 'rotated ****' || repeat(E'\u00E9', 4)),
	('api_key', E'-----BEGIN KEY-----\nabcdefghijklmnopqrstuvwxyz', 'rotated'),
	('api_key', '{"password": "abcdefghijklmnopqrstuvwxyz"}', 'rotated'),
	('access_key', '{"access_key_id": "AKIAEXAMPLE", "secret_access_key": "abcdefghijklmnopqrstuvwxyz"}', 'rotated AKIAEXAMPLE'),
	('access_key', '{"secret_access_key": "abcdefghijklmnopqrstuvwxyz"}', 'rotated'),
	('connection_string', 'postgres://me:secret@db.example.com:5432/app', 'rotated db.example.com'),
	('connection_string', 'postgres://me:se/cret@db.example.com:5432/app', 'rotated'),
	('connection_string', 'postgres://me:sec@ret@db.example.com:5432/app', 'rotated'),
	('connection_string', 'host=db.example.com password=abcdefghijklmnopqrstuvwxyz', 'rotated'),
	('connection_string', 'postgres://db.example.com/app', 'rotated'),
	('connection_string', 'postgres://me:secret@[::1]/app', 'rotated')) v (kind, value, expected);
SELECT * FROM finish();
ROLLBACK;
