-- dotenv text: import_env(), export_env(), and the way from one to the other.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_dotenv_' || name);
	PERFORM keystone.grant_access(('regress_keystone_dotenv_' || name)::name, 'client');
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_dotenv_' || name)::name);
END $$;
SELECT pg_temp.person('owner') AS owner \gset
SELECT pg_temp.person('viewer') AS viewer \gset
SELECT pg_temp.person('writer') AS writer \gset
SET SESSION AUTHORIZATION regress_keystone_dotenv_owner;
SELECT keystone.create_workspace('dotenv') AS ws \gset
SELECT keystone.add_member('dotenv', :'viewer', 'viewer');
SELECT keystone.add_member('dotenv', :'writer', 'viewer', '{store}');
SELECT E'# a comment\n\nPLAIN=abc\n  export SPACED = a b  # comment\nHASH=a#b\nSINGLE=\'a "b" \\n $X\' # comment\nDOUBLE="a\\nb\\t\\"c\\" \\\\ \\$X"\r\nMULTI="line 1\nline 2"\nlower.case-name=x\nURL=postgres://u:p@h/d?a=b\n' AS env \gset
SELECT name, action FROM keystone.import_env('dotenv', :'env');
SELECT name, value FROM keystone.reveal_env('dotenv') ORDER BY name COLLATE "C";
-- again: nothing is new; one line changed: one new version
SELECT name, action FROM keystone.import_env('dotenv', :'env');
SELECT name, action FROM keystone.import_env('dotenv', E'PLAIN=abcd\nHASH=a#b\nNEW=1');
SELECT name, current_version FROM keystone.credentials WHERE workspace = 'dotenv' AND name IN ('PLAIN', 'HASH', 'NEW') ORDER BY name;
-- who may not reveal does not learn whether a value is the same
SET SESSION AUTHORIZATION regress_keystone_dotenv_writer;
SELECT name, action FROM keystone.import_env('dotenv', E'HASH=a#b\nNEW=2\nNEWER=3');
SET SESSION AUTHORIZATION regress_keystone_dotenv_viewer;
SELECT keystone.import_env('dotenv', 'HASH=x');
SELECT keystone.export_env('dotenv');
SET SESSION AUTHORIZATION regress_keystone_dotenv_writer;
SELECT keystone.export_env('dotenv');

-- I12: all or nothing, and the error names the line, not the text
SET SESSION AUTHORIZATION regress_keystone_dotenv_owner;
\set VERBOSITY terse
SELECT keystone.import_env('dotenv', E'GOOD=1\nBAD LINE=2');
SELECT keystone.import_env('dotenv', E'GOOD=1\n\nnothing');
SELECT keystone.import_env('dotenv', E'GOOD=1\nOPEN="abc\n\nX=1\n');
SELECT keystone.import_env('dotenv', E'GOOD=1\nAFTER="abc" def');
SELECT keystone.import_env('dotenv', E'1BAD=x');
SELECT keystone.import_env('dotenv', E'=x');
SELECT keystone.import_env('dotenv', E'GOOD=1\nLONG=' || repeat('x', 65537));
\set VERBOSITY sqlstate
SELECT keystone.import_env('dotenv', E'GOOD=1\nBAD');
SELECT keystone.import_env('dotenv', 'GOOD=' || repeat('x', 65537));
SELECT keystone.import_env('dotenv', repeat('N', 256) || '=x');
SELECT keystone.import_env('missing', 'GOOD=1');
SELECT count(*) AS good FROM keystone.credentials WHERE name = 'GOOD';
SELECT count(*) AS none FROM keystone.import_env('dotenv', E'\n# only a comment\n');
SELECT count(*) AS none FROM keystone.import_env('dotenv', '');
-- an empty value is none: it is named, and stores nothing
SELECT name, action FROM keystone.import_env('dotenv', E'EMPTY=\nQUOTED=""\nHASH=\nFULL=1', 'empty');
SELECT name FROM keystone.credentials WHERE workspace = 'dotenv' AND environment = 'empty';
-- the same name twice: the last one stays
SELECT name, action FROM keystone.import_env('dotenv', E'TWICE=1\ntwice=2', 'twice');
SELECT keystone.reveal('dotenv', 'TWICE', 'twice');
-- a BOM and CR LF of another system
SELECT name, action FROM keystone.import_env('dotenv', E'\ufeffBOM=1\r\nCRLF=2\r\n', 'windows');
SELECT name, value = '1' OR value = '2' AS clean FROM keystone.reveal_env('dotenv', 'windows');
-- a provider's pattern holds here too
SELECT action FROM keystone.store('dotenv', 'OPENAI', 'sk-0123456789abcdef', 'provider', provider => 'openai');
SELECT keystone.import_env('dotenv', 'OPENAI=wrong', 'provider');
SELECT name, action FROM keystone.import_env('dotenv', 'OPENAI=sk-1123456789abcdef', 'provider');

-- Round trip: what is exported reads back as the same values.
SELECT count(keystone.store('dotenv', 'V' || n, v, 'trip')) FROM unnest(ARRAY[E'a\nb\r\nc', E'\t"quoted" ''single'' \\back\\ \\n', '$HOME ${X} `x`', ' spaces ', '#', E'Zürich \u20ac',
	E'-----BEGIN KEY-----\nabc\n-----END KEY-----\n', '=', '\', '"', 'export X=1']) WITH ORDINALITY AS x (v, n);
SELECT keystone.export_env('dotenv', 'trip') AS exported \gset
SELECT name, action FROM keystone.import_env('dotenv', :'exported', 'trip') WHERE action <> 'unchanged';
SELECT count(*) AS imported FROM keystone.import_env('dotenv', :'exported', 'back') WHERE action = 'created';
SELECT count(*) AS pairs, bool_and(a.value = b.value) AS same FROM keystone.reveal_env('dotenv', 'trip') a JOIN keystone.reveal_env('dotenv', 'back') b USING (name);
SELECT keystone.export_env('dotenv', 'back') = :'exported' AS same_text;
SELECT pg_typeof(keystone.export_env('dotenv', 'back'));
-- What does not go into the file is named in it; own before shared (I11)
SELECT count(keystone.store('dotenv', n, 'v', 'named')) FROM unnest('{A,with space,export X,off,old,Z}'::text[]) n;
SELECT keystone.set_active(keystone.credential_id('dotenv', 'off', 'named'), false);
SELECT keystone.update_metadata(keystone.credential_id('dotenv', 'old', 'named'), '{"expires_at": "2000-01-01"}');
SELECT action FROM keystone.store('dotenv', 'a', 'mine', 'named', personal => true);
SELECT keystone.export_env('dotenv', 'named');
SELECT keystone.export_env('dotenv', 'nothing');
SELECT keystone.export_env('dotenv', '');

RESET SESSION AUTHORIZATION;
SELECT count(keystone.revoke_access(('regress_keystone_dotenv_' || r)::name, 'client')) AS revoked FROM unnest('{owner,viewer,writer}'::text[]) r;
DROP ROLE regress_keystone_dotenv_owner, regress_keystone_dotenv_viewer, regress_keystone_dotenv_writer;
