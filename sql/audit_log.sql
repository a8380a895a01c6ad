-- The audit log, as callers see it: who sees which entries, verification,
-- proofs and export without a signing key, and the errors.
\set VERBOSITY sqlstate
\pset format unaligned
\pset null (null)
\pset footer off
CREATE FUNCTION pg_temp.person(name text, profile text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE ROLE %I', 'regress_keystone_log_' || name);
	PERFORM keystone.grant_access(('regress_keystone_log_' || name)::name, profile);
	RETURN keystone.register_principal(initcap(name), db_role => ('regress_keystone_log_' || name)::name);
END $$;
SELECT pg_temp.person('owner', 'client') AS owner \gset
SELECT pg_temp.person('viewer', 'client') AS viewer \gset
SELECT pg_temp.person('inspector', 'client') AS inspector \gset
SELECT pg_temp.person('stranger', 'client') AS stranger \gset
CREATE ROLE regress_keystone_log_auditor;
SELECT keystone.grant_access('regress_keystone_log_auditor', 'auditor');
CREATE ROLE regress_keystone_log_admin;
SELECT keystone.grant_access('regress_keystone_log_admin', 'admin');
CREATE ROLE regress_keystone_log_nobody;

SET SESSION AUTHORIZATION regress_keystone_log_owner;
SELECT keystone.create_workspace('log-a') AS a \gset
SELECT keystone.add_member('log-a', :'viewer', 'viewer');
SELECT keystone.add_member('log-a', :'inspector', 'auditor');
SELECT version, action FROM keystone.store('log-a', 'shared', 'a value that is long', reason => 'a reason', context => '{"workflow": "w", "node": "n", "run": "r", "request_id": "q", "more": 1}');
SELECT keystone.reveal('log-a', 'shared', reason => 'needed', context => '{"workflow": "w2"}');
SET SESSION AUTHORIZATION regress_keystone_log_viewer;
SELECT version, action FROM keystone.store('log-a', 'mine', 'a value that is long', personal => true);
SELECT keystone.reveal('log-a', 'mine');
SELECT keystone.reveal('log-a', 'shared');
SET SESSION AUTHORIZATION regress_keystone_log_stranger;
SELECT keystone.create_workspace('log-b') AS b \gset
SELECT keystone.reveal('log-a', 'shared');
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SELECT set_config('log.a', :'a', false) IS NULL AS ignored, set_config('log.b', :'b', false) IS NULL AS ignored2 \gset
SELECT min(seq) AS first, max(seq) AS last FROM keystone.audit_log WHERE workspace_id = :'a' \gset
SELECT seq AS reveal FROM keystone.audit_log WHERE workspace_id = :'a' AND action = 'credential.reveal' AND outcome = 'ok' AND reason = 'needed' \gset
SELECT seq AS denied FROM keystone.audit_log WHERE workspace_id = :'a' AND action = 'credential.reveal' AND outcome = 'denied' \gset

-- What the view shows: entry and detail, read from their bytes (T10).
CREATE FUNCTION pg_temp.name_of(principal text) RETURNS text LANGUAGE sql AS
	$$SELECT coalesce((SELECT display_name FROM keystone.principals WHERE id::text = principal), principal)$$;
SELECT action, outcome, workspace, pg_temp.name_of(actor) AS actor, db_role, version, workflow, node, run, request_id, reason,
	client_addr IS NOT NULL AS addr, on_behalf_of, user_agent, detail ->> 'name' AS name, detail ->> 'environment' AS environment, detail ->> 'sqlstate' AS sqlstate
FROM keystone.audit_log WHERE workspace_id = :'a' ORDER BY seq;
SELECT bool_and(jsonb_typeof(detail) = 'object'), bool_and(at > now() - interval '1 hour'), bool_and(epoch = 1) FROM keystone.audit_log;
SELECT count(*) FROM keystone.audit_log WHERE detail::text ~ 'a value that is long';

-- Who sees which entries of a workspace: holders of audit all, others what
-- they did, and what was done with their own credentials.
SELECT format('SET SESSION AUTHORIZATION regress_keystone_log_%1$s; SELECT %1$L AS who, count(*) FILTER (WHERE workspace_id = current_setting(''log.a'')::uuid) AS in_a,
	count(*) FILTER (WHERE workspace_id = current_setting(''log.b'')::uuid) AS in_b, count(*) FILTER (WHERE workspace_id IS NULL) > 0 AS of_none,
	string_agg(DISTINCT workspace, '' '' ORDER BY workspace) FILTER (WHERE workspace ~ ''^log-'') AS slugs FROM keystone.audit_log; RESET SESSION AUTHORIZATION', r)
FROM unnest('{owner,inspector,viewer,stranger,auditor}'::text[]) r \gexec
SET SESSION AUTHORIZATION regress_keystone_log_viewer;
SELECT action, outcome, pg_temp.name_of(actor) AS actor, detail ->> 'name' AS name FROM keystone.audit_log WHERE workspace_id = :'a' ORDER BY seq;
SET SESSION AUTHORIZATION regress_keystone_log_admin;
SELECT count(*) FROM keystone.audit_log;
SET SESSION AUTHORIZATION regress_keystone_log_nobody;
SELECT count(*) FROM keystone.audit_log;
-- nobody writes it
SET SESSION AUTHORIZATION regress_keystone_log_auditor;
DELETE FROM keystone.audit_log;
UPDATE keystone.audit_log SET reason = 'another';
SELECT count(*) FROM keystone_private.audit_entries;

-- Use of one's own credential by somebody else: an administrator deletes it.
SET SESSION AUTHORIZATION regress_keystone_log_owner;
SELECT keystone.delete_credential(id) FROM keystone.credentials WHERE name = 'mine';
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
SET SESSION AUTHORIZATION regress_keystone_log_viewer;
SELECT action, actor = keystone.current_principal()::text AS me FROM keystone.audit_log WHERE action = 'credential.delete';

-- An audited table: its owner and the auditor profile.
RESET SESSION AUTHORIZATION;
CREATE SCHEMA regress_keystone_log AUTHORIZATION regress_keystone_log_stranger;
SET SESSION AUTHORIZATION regress_keystone_log_stranger;
CREATE TABLE regress_keystone_log."Odd table" (id int);
SELECT keystone.audit_table('regress_keystone_log."Odd table"');
INSERT INTO regress_keystone_log."Odd table" VALUES (1);
RESET SESSION AUTHORIZATION;
SELECT keystone_private.audit_flush();
ALTER TABLE regress_keystone_log."Odd table" OWNER TO regress_keystone_log_viewer;
SELECT format('SET SESSION AUTHORIZATION regress_keystone_log_%1$s; SELECT %1$L AS who, string_agg(action, '' '' ORDER BY seq) FROM keystone.audit_log WHERE detail ->> ''table'' ~ ''Odd''; RESET SESSION AUTHORIZATION', r)
FROM unnest('{stranger,viewer,owner,auditor}'::text[]) r \gexec

-- Verification (T15: it stands in the log itself).
SET SESSION AUTHORIZATION regress_keystone_log_auditor;
SELECT ok, checked > 20 AS checked, first_bad, problem, verdict FROM keystone.audit_verify();
SELECT ok, checked, verdict FROM keystone.audit_verify(:first, :first + 3);
SELECT ok, checked, verdict FROM keystone.audit_verify(to_seq => 3);
SELECT ok, checked, problem, verdict FROM keystone.audit_verify(1000001, 1000002);
SELECT action, outcome, db_role FROM keystone.audit_log WHERE actor = 'regress_keystone_log_auditor' ORDER BY seq LIMIT 1;
SELECT keystone.audit_verify(0);
SELECT keystone.audit_verify(5, 4);
SET SESSION AUTHORIZATION regress_keystone_log_inspector;
SELECT ok, verdict FROM keystone.audit_verify();
SET SESSION AUTHORIZATION regress_keystone_log_admin;
SELECT ok, verdict FROM keystone.audit_verify();
SET SESSION AUTHORIZATION regress_keystone_log_viewer;
SELECT keystone.audit_verify();
SET SESSION AUTHORIZATION regress_keystone_log_nobody;
SELECT keystone.audit_verify();

-- Without keystone.audit_key_dir nothing is signed.
SET SESSION AUTHORIZATION regress_keystone_log_auditor;
SELECT keystone.audit_checkpoint();
SELECT keystone.audit_inclusion(:reveal);
SELECT count(*) FROM keystone.audit_public_keys();
\set VERBOSITY default
SELECT keystone.audit_checkpoint();
\set VERBOSITY sqlstate
SELECT keystone.audit_inclusion(1000000000);
SELECT keystone.audit_inclusion(NULL);
SET SESSION AUTHORIZATION regress_keystone_log_viewer;
SELECT keystone.audit_checkpoint();
SELECT keystone.audit_inclusion(:reveal);
SELECT keystone.audit_inclusion(:denied);
SELECT keystone.audit_consistency(1, 2);

-- Consistency of the tree with itself: shapes, and nonsense.
SET SESSION AUTHORIZATION regress_keystone_log_auditor;
SELECT regexp_replace(keystone.audit_consistency(4, 8)::text, '[A-Za-z0-9+/]{43}=', 'HASH', 'g');
SELECT regexp_replace(keystone.audit_consistency(3, 7)::text, '[A-Za-z0-9+/]{43}=', 'HASH', 'g');
SELECT keystone.audit_consistency(8, 4);
SELECT keystone.audit_consistency(-1, 4);
SELECT keystone.audit_consistency(4, 1000000000);
SELECT keystone.audit_consistency(NULL, 4);
SELECT keystone.audit_consistency(4, NULL);

-- Export: a manifest, entries, keys; JSON without backslashes and control characters.
CREATE FUNCTION pg_temp.shape(line jsonb) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(key || ' ' || jsonb_typeof(value), ', ' ORDER BY key) FROM jsonb_each(line)$$;
SELECT pg_temp.shape(l::jsonb) AS shape, count(*) > 0 AS some FROM keystone.audit_export(from_seq => :first, to_seq => :last) l GROUP BY shape ORDER BY count(*), shape;
SELECT bool_or(l ~ '[\\[:cntrl:]]') AS bad, count(l::jsonb) = count(*) AS json FROM keystone.audit_export() l;
SELECT (l::jsonb ->> 'entries')::int = :last - :first + 1 AS entries, l::jsonb ->> 'keystone_audit_export' AS format, l::jsonb ->> 'workspace' AS workspace
FROM keystone.audit_export(from_seq => :first, to_seq => :last) l LIMIT 1;
SELECT count(*) FILTER (WHERE decode(l::jsonb ->> 'leaf', 'hex') = sha256('\x00'::bytea || decode(l::jsonb ->> 'entry', 'base64'))) = count(*) AS leaves,
	count(*) FILTER (WHERE substr(decode(l::jsonb ->> 'entry', 'base64'), length(decode(l::jsonb ->> 'entry', 'base64')) - 31)
		= sha256(convert_to('keystone.audit.detail.v1', 'UTF8') || '\x00'::bytea || decode(l::jsonb ->> 'salt', 'base64') || decode(l::jsonb ->> 'detail', 'base64'))) = count(*) - count(l::jsonb -> 'erased_in') AS commitments
FROM keystone.audit_export() l WHERE l ~ '^."seq"';
-- odd texts
SET application_name = E'quote " backslash \\ percent %';
SELECT ok FROM keystone.audit_verify();
SELECT l::jsonb -> 'decoded' -> 'detail' ->> 'application_name' AS name FROM keystone.audit_export() l WHERE l ~ 'audit.verify' AND l ~ 'percent';
RESET application_name;
-- a workspace, for a holder of audit there: its counter shows that nothing is missing
SET SESSION AUTHORIZATION regress_keystone_log_inspector;
SELECT count(*) > 5 AS entries, max((l::jsonb -> 'decoded' ->> 'workspace_seq')::int) = count(*) AS complete,
	count(DISTINCT l::jsonb -> 'decoded' ->> 'workspace') AS workspaces, bool_and(l::jsonb -> 'proof' = 'null') AS unsigned
FROM keystone.audit_export(workspace => 'log-a') l WHERE l ~ '^."seq"';
SELECT count(*) FROM keystone.audit_export(workspace => 'log-a', since => now() + interval '1 day') l WHERE l ~ '^."seq"';
SELECT count(*) FROM keystone.audit_export(workspace => 'log-a', until => now() - interval '1 day') l WHERE l ~ '^."seq"';
SELECT keystone.audit_export();
SELECT keystone.audit_export(workspace => 'log-b');
SELECT keystone.audit_export('csv', 'log-a');
SELECT keystone.audit_export(NULL, 'log-a');
SELECT keystone.audit_export(workspace => 'log-a', from_seq => 5, to_seq => 4);
SELECT keystone.audit_export(workspace => 'log-a', from_seq => 0);
SELECT keystone.audit_export(workspace => 'log-a', since => 'tomorrow', until => 'today');
SET SESSION AUTHORIZATION regress_keystone_log_viewer;
SELECT keystone.audit_export(workspace => 'log-a');
SET SESSION AUTHORIZATION regress_keystone_log_auditor;
SELECT keystone.audit_export(workspace => 'no-such-workspace');
SELECT action, count(*) > 0 AS some FROM keystone.audit_log WHERE action IN ('audit.verify', 'audit.export', 'audit.checkpoint') AND outcome = 'ok' GROUP BY action ORDER BY action COLLATE "C";
SELECT DISTINCT action, detail ->> 'sqlstate' AS sqlstate FROM keystone.audit_log WHERE action IN ('audit.verify', 'audit.export', 'audit.checkpoint') AND outcome = 'denied' ORDER BY 1, 2;

RESET SESSION AUTHORIZATION;
DROP SCHEMA regress_keystone_log CASCADE;
