-- encrypt(), decrypt() and blind_index(): bound to workspace and context, no
-- oracle for credentials and the other way round, who may, every error.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text, profile text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_encrypt_' || name);
	PERFORM keystone.grant_access(('regress_keystone_encrypt_' || name)::name, profile);
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_encrypt_' || name)::name);
END $$;
SELECT pg_temp.person('owner', 'worker') AS owner \gset
SELECT pg_temp.person('service', 'worker') AS service \gset
SELECT pg_temp.person('viewer', 'worker') AS viewer \gset
SELECT pg_temp.person('client', 'client') AS client \gset
SELECT pg_temp.person('stranger', 'worker') AS stranger \gset
CREATE FUNCTION pg_temp.attempt(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE query INTO result;
	RETURN coalesce(result, '(null)');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SET SESSION AUTHORIZATION regress_keystone_encrypt_owner;
SELECT keystone.create_workspace('encrypt') AS ws \gset
SELECT keystone.create_workspace('encrypt-other') AS other \gset
SELECT count(keystone.add_member('encrypt', p, r)) FROM (VALUES (:'service'::uuid, 'service'), (:'viewer', 'viewer'), (:'client', 'admin')) m (p, r);

-- there and back, any bytes, any length; by slug and by id
SELECT n, length(keystone.encrypt('encrypt', v)) - n AS overhead,
	   keystone.decrypt('encrypt', keystone.encrypt('encrypt', v)) = v AS back,
	   keystone.decrypt(:'ws', keystone.encrypt('encrypt', v, 'c'), 'c') = v AS by_id
FROM unnest('{0,1,15,16,17,64,100000}'::int[]) n CROSS JOIN LATERAL (SELECT decode(repeat('00ff', n), 'hex')) b (b)
CROSS JOIN LATERAL (SELECT substr(b.b, 1, n)) v (v);
-- the envelope of DESIGN: format, algorithm, version of the key; a nonce of its own
SELECT substr(c, 1, 6), c <> keystone.encrypt('encrypt', 'same') AS differs FROM keystone.encrypt('encrypt', 'same') c;
-- text
SELECT t, keystone.decrypt_text('encrypt', c, 'ctx') = t AS back, c ~ '^ks1:[A-Za-z0-9_-]+$' AS form
FROM unnest('{"",a,ab,abc,grüße,"😀 x"}'::text[]) t CROSS JOIN LATERAL keystone.encrypt_text('encrypt', t, 'ctx') c;
-- the same envelope as of bytes
SELECT convert_from(keystone.decrypt('encrypt', decode(translate(substr(c, 5), '-_', '+/') || repeat('=', (4 - length(substr(c, 5)) % 4) % 4), 'base64')), 'UTF8')
FROM keystone.encrypt_text('encrypt', 'as bytes') c;

-- one answer to whatever is no envelope of this workspace and context
CREATE TEMP TABLE sealed AS SELECT keystone.encrypt('encrypt', 'secret', 'row 1') AS c, keystone.encrypt('encrypt-other', 'secret', 'row 1') AS other,
	keystone.encrypt_text('encrypt', 'secret', 'row 1') AS t;
SELECT pg_temp.attempt(format('SELECT keystone.decrypt(%L, %L, %L)', w, b, x)) AS answer, string_agg(what, ', ') FROM sealed, LATERAL (VALUES
	('another context', 'encrypt', c, 'row 2'), ('no context', 'encrypt', c, ''), ('another workspace', 'encrypt-other', c, 'row 1'),
	('of another workspace', 'encrypt', other, 'row 1'), ('empty', 'encrypt', '', 'row 1'), ('no envelope', 'encrypt', 'secret', 'row 1'),
	('cut', 'encrypt', substr(c, 1, length(c) - 1), 'row 1'), ('longer', 'encrypt', c || '\x00', 'row 1'),
	('header only', 'encrypt', substr(c, 1, 46), 'row 1'), ('a bit', 'encrypt', set_bit(c, 300, 1 - get_bit(c, 300)), 'row 1'),
	('the nonce', 'encrypt', set_bit(c, 60, 1 - get_bit(c, 60)), 'row 1'), ('the tag', 'encrypt', set_bit(c, 8 * length(c) - 1, 1 - get_bit(c, 8 * length(c) - 1)), 'row 1'),
	('another version of the key', 'encrypt', overlay(c PLACING '\x00000002' FROM 3), 'row 1'), ('version 0', 'encrypt', overlay(c PLACING '\x00000000' FROM 3), 'row 1'),
	('the greatest version', 'encrypt', overlay(c PLACING '\xffffffff' FROM 3), 'row 1'), ('another algorithm', 'encrypt', overlay(c PLACING '\x02' FROM 2), 'row 1'),
	('another format', 'encrypt', overlay(c PLACING '\x02' FROM 1), 'row 1')) v (what, w, b, x) GROUP BY 1;
SELECT pg_temp.attempt(format('SELECT keystone.decrypt_text(%L, %L, %L)', 'encrypt', b, 'row 1')) AS answer, string_agg(what, ', ') FROM sealed, LATERAL (VALUES
	('no mark', substr(t, 5)), ('mark only', 'ks1:'), ('nothing', ''), ('another mark', overlay(t PLACING '2' FROM 3)), ('padded', t || '='),
	('a blank', t || ' '), ('a letter more', t || 'A'), ('no letter', overlay(t PLACING '+' FROM 20)), ('bytes that are no text',
	'ks1:' || rtrim(translate(encode(keystone.encrypt('encrypt', '\xff00', 'row 1'), 'base64'), E'+/\n', '-_'), '='))) v (what, b) GROUP BY 1;
SELECT convert_from(keystone.decrypt('encrypt', c, 'row 1'), 'UTF8'), keystone.decrypt_text('encrypt', t, 'row 1') FROM sealed;

-- I5: no oracle: what one has sealed the other does not open
SELECT credential AS c FROM keystone.store('encrypt', 'token', 'the value') \gset
RESET SESSION AUTHORIZATION;
SELECT envelope AS e FROM keystone_private.ciphertext WHERE credential_id = :'c' \gset
SET SESSION AUTHORIZATION regress_keystone_encrypt_owner;
SELECT pg_temp.attempt(format('SELECT keystone.decrypt(%L, %L)', 'encrypt', :'e'));
SELECT keystone.encrypt('encrypt', :'e') AS mine \gset
RESET SESSION AUTHORIZATION;
BEGIN;
UPDATE keystone_private.ciphertext SET envelope = :'mine' WHERE credential_id = :'c';
SET LOCAL SESSION AUTHORIZATION regress_keystone_encrypt_owner;
SELECT keystone.reveal_by_id(:'c');
ROLLBACK;

-- who may
CREATE TEMP TABLE callers (who text);
INSERT INTO callers VALUES ('owner'), ('service'), ('viewer'), ('client'), ('stranger');
GRANT SELECT ON sealed, callers TO PUBLIC;
CREATE FUNCTION pg_temp.as_role(who text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('session_authorization', 'regress_keystone_encrypt_' || who, true);
	EXECUTE query INTO result;
	RAISE EXCEPTION USING ERRCODE = 'KSOUT', MESSAGE = coalesce(result, '(null)');
EXCEPTION
	WHEN SQLSTATE 'KSOUT' THEN RETURN SQLERRM;
	WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
SELECT who, pg_temp.as_role(who, $$SELECT length(keystone.encrypt('encrypt', 'x'))$$) AS encrypt,
	   pg_temp.as_role(who, $$SELECT length(keystone.encrypt_text('encrypt', 'x'))$$) AS encrypt_text,
	   pg_temp.as_role(who, $$SELECT length(keystone.blind_index('encrypt', 'x'))$$) AS blind_index,
	   pg_temp.as_role(who, $$SELECT keystone.decrypt('encrypt', c, 'row 1') FROM sealed$$) AS decrypt,
	   pg_temp.as_role(who, $$SELECT keystone.decrypt_text('encrypt', t, 'row 1') FROM sealed$$) AS decrypt_text FROM callers;

-- a view lends nothing: it decrypts for who may
CREATE TEMP VIEW opened AS SELECT keystone.decrypt_text('encrypt', t, 'row 1') AS t FROM sealed;
GRANT SELECT ON opened TO PUBLIC;
SELECT who, pg_temp.as_role(who, 'SELECT t FROM opened') FROM callers;

-- bad arguments
SET SESSION AUTHORIZATION regress_keystone_encrypt_owner;
SELECT query, pg_temp.attempt(query) FROM (VALUES
	($$SELECT keystone.encrypt(NULL, 'x')$$), ($$SELECT keystone.encrypt('encrypt', NULL)$$), ($$SELECT keystone.encrypt('encrypt', 'x', NULL)$$),
	($$SELECT keystone.decrypt('encrypt', NULL)$$), ($$SELECT keystone.decrypt_text('encrypt', 'x', NULL)$$), ($$SELECT keystone.blind_index('encrypt', NULL)$$),
	($$SELECT keystone.encrypt('Not a slug', 'x')$$), ($$SELECT keystone.encrypt(repeat('x', 100), 'x')$$), ($$SELECT keystone.encrypt('no-such', 'x')$$), ($$SELECT keystone.decrypt('no-such', 'x')$$),
	($$SELECT length(keystone.encrypt('encrypt', 'x', repeat('c', 1024)::bytea))$$), ($$SELECT keystone.encrypt('encrypt', 'x', repeat('c', 1025)::bytea)$$),
	($$SELECT keystone.blind_index('encrypt', 'x', repeat('c', 1025))$$)) q (query);

-- blind indexes: stable, by workspace, text and context; 16 bytes
SELECT a = keystone.blind_index('encrypt', 'ana@example.com', 'email') AS same, a = keystone.blind_index(:'ws', 'ana@example.com', 'email') AS by_id, length(a),
	   a = keystone.blind_index('encrypt', 'Ana@example.com', 'email') AS other_text, a = keystone.blind_index('encrypt', 'ana@example.com') AS other_context,
	   a = keystone.blind_index('encrypt-other', 'ana@example.com', 'email') AS other_workspace,
	   keystone.blind_index('encrypt', 'bc', 'a') = keystone.blind_index('encrypt', 'c', 'ab') AS moved
FROM keystone.blind_index('encrypt', 'ana@example.com', 'email') a;
-- an index serves the search
CREATE TEMP TABLE people (email_index bytea);
CREATE INDEX ON people (email_index);
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT FROM people WHERE email_index = keystone.blind_index('encrypt', 'ana@example.com', 'email');
RESET enable_seqscan;

-- several workspaces and contexts in one statement
SELECT i, w, convert_from(keystone.decrypt(w, keystone.encrypt(w, ('value ' || i)::bytea)), 'UTF8') FROM (SELECT i, CASE WHEN i % 2 = 0 THEN 'encrypt' ELSE 'encrypt-other' END AS w FROM generate_series(1, 4) i) x;
SELECT i, convert_from(keystone.decrypt('encrypt', c, i::text::bytea), 'UTF8') FROM (SELECT i, keystone.encrypt('encrypt', ('value ' || i)::bytea, i::text::bytea) AS c FROM generate_series(1, 3) i OFFSET 0) x;
SELECT pg_temp.attempt($$SELECT count(keystone.encrypt(w, 'x')) FROM unnest('{encrypt,no-such}'::text[]) w$$);

-- keys: an older version still opens, the index stays, a destroyed key opens nothing
CREATE TEMP TABLE before AS SELECT keystone.encrypt('encrypt', 'old') AS c, keystone.blind_index('encrypt', 'x') AS b;
SELECT keystone.rotate_workspace_key('encrypt');
SELECT substr(keystone.encrypt('encrypt', 'new'), 1, 6), convert_from(keystone.decrypt('encrypt', c), 'UTF8'), b = keystone.blind_index('encrypt', 'x') AS same FROM before;
-- in one transaction, in one function, what is rotated is used
\set VERBOSITY terse
DO $$
DECLARE
	c bytea[];
BEGIN
	FOR i IN 1..3 LOOP
		IF i = 2 THEN PERFORM keystone.rotate_workspace_key('encrypt'); END IF;
		c[i] := keystone.encrypt('encrypt', 'x');
	END LOOP;
	RAISE NOTICE '% % %', substr(c[1], 3, 4), substr(c[2], 3, 4), substr(c[3], 3, 4);
END $$;
\set VERBOSITY sqlstate

-- a suspended workspace gives and takes nothing
SELECT keystone.update_workspace('encrypt', '{"status": "suspended"}');
SELECT pg_temp.attempt($$SELECT keystone.encrypt('encrypt', 'x')$$), pg_temp.attempt($$SELECT keystone.decrypt('encrypt', c) FROM before$$), pg_temp.attempt($$SELECT keystone.blind_index('encrypt', 'x')$$);
SELECT keystone.update_workspace('encrypt', '{"status": "active"}');

-- a destroyed key: at once in the same transaction, and in the same statement of a function
RESET SESSION AUTHORIZATION;
CREATE FUNCTION pg_temp.shred() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$DELETE FROM keystone_private.workspace_keys WHERE workspace_id = (SELECT id FROM keystone.workspaces WHERE slug = 'encrypt')$$;
SET SESSION AUTHORIZATION regress_keystone_encrypt_owner;
\set VERBOSITY terse
BEGIN;
DO $$
DECLARE
	c bytea := (SELECT b.c FROM pg_temp.before b);
BEGIN
	FOR i IN 1..4 LOOP
		BEGIN
			IF i = 3 THEN PERFORM pg_temp.shred(); END IF;
			RAISE NOTICE 'row %: %', i, convert_from(keystone.decrypt('encrypt', c), 'UTF8');
		EXCEPTION WHEN OTHERS THEN
			RAISE NOTICE 'row %: %', i, SQLSTATE;
			IF i = 3 THEN PERFORM pg_temp.shred(); END IF;
		END;
	END LOOP;
END $$;
SELECT pg_temp.attempt($$SELECT keystone.encrypt('encrypt', 'x')$$), pg_temp.attempt($$SELECT keystone.blind_index('encrypt', 'x')$$);
ROLLBACK;
\set VERBOSITY sqlstate

-- I2: what the log says: bounds before the rows, and how many they were
RESET SESSION AUTHORIZATION;
CREATE TEMP TABLE mark AS SELECT 0::bigint AS seq;
CREATE FUNCTION pg_temp.logged() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM keystone_private.audit_flush();
	SELECT string_agg(CASE WHEN l.outcome <> 'ok' THEN l.outcome WHEN l.detail ? 'up_to' THEN '<=' || (l.detail ->> 'up_to') ELSE '=' || (l.detail ->> 'decrypted') END, ' ' ORDER BY l.seq)
		INTO result FROM keystone.audit_log l, mark WHERE l.action = 'decrypt' AND l.workspace IN ('encrypt', 'encrypt-other') AND l.seq > mark.seq;
	UPDATE mark SET seq = (SELECT max(seq) FROM keystone_private.audit_entries);
	RETURN result;
END $$;
SET SESSION AUTHORIZATION regress_keystone_encrypt_owner;
CREATE TEMP TABLE rows AS SELECT i, keystone.encrypt('encrypt', i::text::bytea) AS c, keystone.encrypt('encrypt-other', i::text::bytea) AS o FROM generate_series(1, 70) i;
\set owner 'SET SESSION AUTHORIZATION regress_keystone_encrypt_owner'
\set logged 'RESET SESSION AUTHORIZATION; SELECT pg_temp.logged()'
:logged IS NOT NULL AS something;
-- 70 rows; encrypting and searching are not recorded
:owner;
SELECT count(keystone.decrypt('encrypt', c)) FROM rows;
SELECT count(keystone.encrypt('encrypt', c)), count(keystone.blind_index('encrypt', i::text)) FROM rows;
:logged;
-- each place in a statement, and each workspace, for itself
:owner;
SELECT count(keystone.decrypt('encrypt', c)), count(keystone.decrypt('encrypt-other', o)) FROM rows WHERE i <= 2;
SELECT count(keystone.decrypt(w, CASE w WHEN 'encrypt' THEN c ELSE o END)) FROM rows, unnest('{encrypt,encrypt-other}'::text[]) w WHERE i <= 2;
:logged;
-- a part that is rolled back, an exception block: they count
:owner;
BEGIN;
SAVEPOINT s;
SELECT count(keystone.decrypt('encrypt', c)) FROM rows WHERE i <= 5;
ROLLBACK TO s;
DO $$
BEGIN
	FOR i IN 1..3 LOOP
		BEGIN
			PERFORM keystone.decrypt('encrypt', c) FROM rows WHERE rows.i <= 2;
			RAISE EXCEPTION 'undo';
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
	END LOOP;
END $$;
COMMIT;
:logged;
-- in a function's loop
:owner;
DO $$
DECLARE
	r record;
	v bytea;
BEGIN
	FOR r IN SELECT c FROM rows LOOP
		v := keystone.decrypt('encrypt', r.c);
	END LOOP;
END $$;
:logged;
-- a cursor, read in part
:owner;
BEGIN;
DECLARE d CURSOR FOR SELECT convert_from(keystone.decrypt('encrypt', c), 'UTF8') FROM rows ORDER BY i;
FETCH 2 FROM d;
FETCH 1 FROM d;
CLOSE d;
COMMIT;
:logged;
-- what fails is no row; nothing is reserved for what is no envelope at all
:owner;
SELECT keystone.decrypt('encrypt', 'x');
SELECT pg_temp.attempt($$SELECT count(keystone.decrypt('encrypt', CASE WHEN i = 3 THEN o ELSE c END)) FROM rows$$);
:logged;
-- an abort leaves the bound
:owner;
BEGIN;
SELECT count(keystone.decrypt('encrypt', c)) FROM rows WHERE i <= 5;
ROLLBACK;
:logged;
-- refusals
:owner;
SELECT keystone.decrypt('no-such', 'x');
SET SESSION AUTHORIZATION regress_keystone_encrypt_viewer;
SELECT keystone.decrypt('encrypt', c) FROM sealed;
:logged;
-- limits on reveals count a call site as one attempt
RESET SESSION AUTHORIZATION;
SELECT keystone.grant_access('regress_keystone_encrypt_owner', 'admin');
:owner;
SELECT keystone.limit_define('few', '2/hour', 'encrypt', '{"enforce": {"action": "reveal"}}');
SELECT pg_temp.attempt($$SELECT count(keystone.decrypt('encrypt', c)) FROM rows$$) FROM generate_series(1, 3);
SELECT keystone.limit_drop('few', 'encrypt');
RESET SESSION AUTHORIZATION;
