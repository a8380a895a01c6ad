-- part: replay
CREATE OR REPLACE VIEW keystone.providers WITH (security_invoker = true) AS
	SELECT d.name, d.category, d.label, d.default_kind, d.value_pattern, d.limits, d.cost_micros, d.enabled, false AS is_builtin
	FROM keystone_private.provider_definitions d
	UNION ALL
	SELECT c.name, c.category, c.label, c.default_kind, c.value_pattern, c.limits, c.cost_micros, c.enabled, true
	FROM keystone_private.provider_catalogue c
	WHERE NOT EXISTS (SELECT FROM keystone_private.provider_definitions d WHERE d.name OPERATOR(pg_catalog.=) c.name);
COMMENT ON VIEW keystone.providers IS 'Services that credentials are for: those of this version, and those that an administrator defined';

-- Who sees a credential sees its workspace.  The join is an outer one so that
-- a list which does not ask for the slug is made without it.  What stands in
-- credential_usage is asked for beside the credential's own row: a condition
-- on a plain column of it would be shown rows of credentials nobody sees.
CREATE OR REPLACE VIEW keystone.credentials WITH (security_invoker = true) AS
	SELECT c.id, c.workspace_id, w.slug AS workspace, c.name, c.environment, c.owner, (c.owner IS NOT NULL) AS personal,
		   c.provider, c.kind, c.current_version,
		   CASE WHEN c.owner IS NULL OR c.owner OPERATOR(pg_catalog.=) (SELECT keystone.current_principal()) THEN c.hint END AS hint,
		   c.description, c.tags, c.metadata, c.is_active, c.is_verified, c.verified_at, c.verified_detail,
		   CASE WHEN u.credential_id OPERATOR(pg_catalog.=) c.id THEN u.last_used_at END AS last_used_at,
		   CASE WHEN u.credential_id OPERATOR(pg_catalog.=) c.id THEN u.usage_count ELSE 0 END AS usage_count, c.last_rotated_at, c.expires_at,
		   c.created_by, c.created_at, c.updated_at, c.deleted_at, c.destroy_after, c.destroyed_at
	FROM keystone_private.credentials c
	LEFT JOIN keystone.workspaces w ON w.id OPERATOR(pg_catalog.=) c.workspace_id
	LEFT JOIN keystone_private.credential_usage u
		ON u.workspace_id OPERATOR(pg_catalog.=) c.workspace_id AND u.credential_id OPERATOR(pg_catalog.=) c.id;
COMMENT ON VIEW keystone.credentials IS 'Credentials that the caller may see, without their values';

CREATE OR REPLACE VIEW keystone.credential_summary WITH (security_invoker = true) AS
	SELECT c.workspace_id, c.workspace, c.environment, c.provider,
		   count(*) AS credentials,
		   count(*) FILTER (WHERE c.personal) AS personal,
		   count(*) FILTER (WHERE NOT c.is_active) AS inactive,
		   count(*) FILTER (WHERE c.expires_at OPERATOR(pg_catalog.<=) clock_timestamp()) AS expired,
		   count(*) FILTER (WHERE c.is_verified IS FALSE) AS failing,
		   min(c.last_rotated_at) AS oldest_rotation,
		   min(c.expires_at) FILTER (WHERE c.expires_at OPERATOR(pg_catalog.>) clock_timestamp()) AS next_expiry
	FROM keystone.credentials c
	WHERE c.deleted_at IS NULL
	GROUP BY c.workspace_id, c.workspace, c.environment, c.provider;
COMMENT ON VIEW keystone.credential_summary IS 'Visible credentials that are not deleted, counted per workspace, environment and provider';

CREATE OR REPLACE VIEW keystone.audit_log WITH (security_invoker = true) AS
	SELECT e.seq, d.at, w.slug AS workspace, d.workspace_id, d.actor, d.on_behalf_of, d.db_role, d.action, d.object, d.version,
		   d.outcome, d.client_addr, d.claimed_addr, d.user_agent, d.application_name, d.workflow, d.node, d.run, d.request_id, d.reason, d.epoch,
		   d.details AS detail, e.erased_in
	FROM keystone_private.audit_entries e
	CROSS JOIN LATERAL keystone_private.audit_decode(e.entry, e.detail) d
	LEFT JOIN keystone.workspaces w ON w.id OPERATOR(pg_catalog.=) d.workspace_id;
COMMENT ON VIEW keystone.audit_log IS 'Entries of the audit log that the caller may see, as their bytes say';

CREATE OR REPLACE VIEW keystone.seal_status AS
	SELECT s.sealed, s.current_root_key, s.reason, keystone_private.pending_rewraps() AS pending_rewraps
	FROM keystone_private.seal_state() s;
COMMENT ON VIEW keystone.seal_status IS 'Whether values can be opened, the root key that wraps, why sealed, and how many keys another root key still wraps; clients see the first column only';

CREATE OR REPLACE VIEW keystone.key_progress AS
	SELECT p.workspace, p.workspace_id, p.key_version, p.key_versions, p.key_created_at, p.encryptions, p.oldest_in_use,
		   p.values_total, p.values_current, p.values_pending, p.values_failed
	FROM keystone_private.key_progress() p;
COMMENT ON VIEW keystone.key_progress IS 'The keys of each workspace, and how far its values are encrypted by the newest: of workspaces in which the caller holds workspace, of all for the admin and monitor profiles';

CREATE OR REPLACE VIEW keystone.health AS
	SELECT h.check_name, h.ok, h.detail FROM keystone_private.health_checks() h;
COMMENT ON VIEW keystone.health IS 'One row a check; ok is false where something needs attention';

CREATE OR REPLACE VIEW keystone.settings AS
	SELECT s.name, s.setting AS value, s.unit, s.boot_val AS default_value, s.context, s.short_desc AS meaning
	FROM pg_catalog.pg_settings s
	WHERE s.name OPERATOR(pg_catalog.~~) 'keystone.%' AND (SELECT keystone_private.has_profile('monitor') OR keystone_private.has_profile('admin'));
COMMENT ON VIEW keystone.settings IS 'Each setting of Keystone with value and meaning; paths and commands only for roles that may read them';

DO $$
DECLARE
	c record;
	meaning jsonb := '{
		"providers": {"name": "short name", "category": "no_auth, shared_key or oauth", "label": "a name for people",
			"default_kind": "kind of a credential stored without one", "value_pattern": "regular expression that a value must match; NULL for any",
			"limits": "default rate limit windows", "cost_micros": "price of one operation in millionths of the currency unit",
			"enabled": "false: nothing new is stored for it", "is_builtin": "true: comes with the extension"},
		"credentials": {"id": "the credential", "workspace_id": "the workspace", "workspace": "slug of the workspace", "name": "name, in Unicode normalisation form NFC",
			"environment": "environment, such as prod", "owner": "the principal whose personal credential this is; NULL when shared",
			"personal": "true when it has an owner", "provider": "name of the provider", "kind": "what the value is, such as api_key",
			"current_version": "the version that reveal() gives", "hint": "the part of the current value that is kept in the clear; of a personal credential for its owner only",
			"description": "free text", "tags": "free labels", "metadata": "free JSON object", "is_active": "false: not revealed",
			"is_verified": "whether the current value worked when last tried", "verified_at": "when it was last tried", "verified_detail": "what was found",
			"last_used_at": "when it was last revealed, as the audit log has it", "usage_count": "number of reveals, as the audit log has it",
			"last_rotated_at": "when it got its current value", "expires_at": "from then on not revealed", "created_by": "the principal who stored it first",
			"created_at": "when it was stored first", "updated_at": "when it was changed last", "deleted_at": "when it was deleted",
			"destroy_after": "until then a deleted credential can be restored", "destroyed_at": "when its ciphertext was removed for good"},
		"credential_summary": {"workspace_id": "the workspace", "workspace": "slug of the workspace", "environment": "environment", "provider": "name of the provider",
			"credentials": "how many there are", "personal": "how many of them are personal", "inactive": "how many are switched off", "expired": "how many are expired",
			"failing": "how many did not work when last tried", "oldest_rotation": "the longest time ago that one got its value", "next_expiry": "when the next one expires"},
		"api_keys": {"id": "the principal that the key is", "workspace_id": "the workspace", "workspace": "slug of the workspace",
			"name": "its name, unique among the workspace''s keys that are not revoked", "prefix": "the public part of its newest secret",
			"role": "admin, operator, viewer, auditor or service; cut to what its creator has", "environments": "the environments that it is limited to; NULL for all",
			"providers": "the providers that it is limited to; NULL for all", "created_by": "the principal who made it, and without whose membership it is worth nothing",
			"created_at": "when it was made", "expires_at": "from then on it is worth nothing; NULL for never", "revoked_at": "when it was revoked",
			"last_used_at": "when it was used last, as the audit log has it"},
		"audit_log": {"seq": "number of the entry, from 1", "at": "when it was written", "workspace": "slug of the workspace, if the caller sees that",
			"workspace_id": "the workspace", "actor": "who acted: the uuid of a principal, or the name of a role without one",
			"on_behalf_of": "for whom, if somebody else", "db_role": "the current role of the session", "action": "what was done, such as credential.reveal",
			"object": "what it was done to, such as the id of a credential", "version": "version of the object", "outcome": "ok, denied or error",
			"client_addr": "address of the client, or local", "claimed_addr": "where the request came from first, as its headers claim", "user_agent": "what the client calls itself, as it claims", "application_name": "name of the application, as the client claims",
			"workflow": "context of the call, as the caller claims", "node": "context of the call, as the caller claims", "run": "context of the call, as the caller claims",
			"request_id": "context of the call, as the caller claims", "reason": "why, as the caller claims", "epoch": "epoch of the log",
			"detail": "everything that the detail of the entry says, keys and texts", "erased_in": "the entry that says why the detail was erased; NULL where it was not"},
		"seal_status": {"sealed": "true: no value can be stored or revealed", "current_root_key": "id of the root key that wraps", "reason": "why sealed; or which root keys the keyring lacks that single workspaces need",
			"pending_rewraps": "keys that another root key still wraps"},
		"key_progress": {"workspace": "slug of the workspace", "workspace_id": "the workspace",
			"key_version": "the version of its key that encrypts; NULL when its keys were destroyed", "key_versions": "how many versions there are",
			"key_created_at": "when the newest was made", "encryptions": "how often the newest has encrypted, about",
			"oldest_in_use": "the oldest version that a value needs", "values_total": "versions of values",
			"values_current": "those that the newest has encrypted", "values_pending": "those that are to be encrypted again",
			"values_failed": "those that did not open when they were to be, and are as they were"},
		"kms_status": {"workspace": "slug of the workspace", "workspace_id": "the workspace", "key_uri": "URI of the customer''s key",
			"keys": "how many versions of the workspace''s key it wraps",
			"state": "closed: it is available; open: it is not, and calls fail at once; half-open: the next call tries again; unknown: not asked since the server started",
			"failures": "failed calls in a row", "last_success_at": "when the key management service last answered", "last_failure_at": "when it last failed",
			"last_problem": "how it last failed", "retry_at": "before then it is not asked again", "cached_until": "until then a key that was unwrapped serves"},
		"health": {"check_name": "what is checked", "ok": "false where something needs attention", "detail": "what was found"},
		"usage_summary": {"workspace": "slug of the workspace", "workspace_id": "the workspace", "principal_id": "on whose account",
			"provider": "name of the provider", "workflow": "the workflow that the context named", "day": "the day in UTC",
			"month": "first day of its month", "operations": "how many operations, or units such as tokens; corrections are taken off",
			"cost_micros": "what they cost, in millionths of the currency unit", "events": "how many calls recorded them"},
		"budget_status": {"workspace": "slug of the workspace", "workspace_id": "the workspace", "period": "day, week or month",
			"period_start": "beginning of the running period", "period_end": "its end, which does not belong to it",
			"spent_micros": "what was spent in it, in millionths of the currency unit",
			"soft_micros": "from then on there are warnings; NULL for none", "hard_micros": "from then on usage is refused; NULL for never",
			"projected_micros": "what will be spent at its end when it goes on like this", "state": "ok, soft or hard: what was reached"},
		"alerts": {"workspace": "slug of the workspace; NULL for a limit of the whole database",
			"workspace_id": "the workspace; the nil uuid for a limit of the whole database", "kind": "limit, quota, budget or break_glass",
			"subject": "name of the limit and its window, meter, period of the budget, or the request", "period_start": "the period in which it was reached",
			"threshold": "in per cent", "used": "how much was used then", "allowed": "of how much", "created_at": "when it was noticed"},
		"metrics": {"name": "name of the sample", "labels": "its labels", "value": "its value", "kind": "counter, gauge or histogram",
			"help": "what it is"},
		"limits": {"workspace_id": "the workspace; the nil uuid for the whole database", "workspace": "slug of the workspace; NULL for the whole database",
			"name": "its name", "windows": "how many in which time", "options": "the options of limit_define(), as they hold",
			"created_by": "who defined it first: a principal, or the name of a role without one", "created_at": "when it was defined first",
			"updated_at": "when it was defined last"},
		"policies": {"workspace_id": "the workspace; the nil uuid for the whole database", "workspace": "slug of the workspace; NULL for the whole database",
			"id": "name of the policy", "version": "number of the version that holds", "level": "system, workspace, provider or secret",
			"enforcement": "enforce; shadow: evaluated and reported, not obeyed", "document": "the document", "created_by": "the principal who put version 1",
			"created_at": "when that was", "updated_by": "the principal who put this version", "updated_at": "when that was"},
		"policy_versions": {"workspace_id": "the workspace; the nil uuid for the whole database", "workspace": "slug of the workspace; NULL for the whole database",
			"id": "name of the policy", "version": "number of the version", "document": "its document; NULL for the version that dropped the policy",
			"created_by": "the principal who put it", "created_at": "when that was"},
		"limit_stats": {"entries": "counters in use, of all databases", "capacity": "how many there may be", "in_database": "those of this database",
			"blocked": "keys and windows that are blocked", "allowed": "attempts that were allowed since the server started",
			"denied": "attempts that were refused", "overflowed": "attempts for which there was no counter of their own",
			"dirty": "counters that changed since they were saved last"},
		"settings": {"name": "name of the setting", "value": "its value", "unit": "its unit", "default_value": "its default", "context": "when it can be changed, as in pg_settings", "meaning": "what it does"}
	}';
BEGIN
	FOR c IN
		SELECT v.relname, a.attname FROM pg_class v JOIN pg_attribute a ON a.attrelid = v.oid
		WHERE v.relkind = 'v' AND v.relnamespace = 'keystone'::regnamespace AND a.attnum > 0
	LOOP
		EXECUTE format('COMMENT ON COLUMN keystone.%I.%I IS %L', c.relname, c.attname, meaning -> c.relname ->> c.attname);
	END LOOP;
END
$$;
