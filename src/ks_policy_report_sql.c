/*-------------------------------------------------------------------------
 *
 * ks_policy_report_sql.c
 *	  Reports on policies as SQL functions: why something is decided, who can
 *	  do it, which rules are odd, and what a document would have changed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_action.h"
#include "ks_args.h"
#include "ks_error.h"
#include "ks_jsonb.h"
#include "ks_policy_ask.h"

#define ENTRIES_MAX		10000	/* of the log that are looked at */

static void
put_key(JsonbParseState **state, const char *key)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = (int) strlen(key);
	(void) pushJsonbValue(state, WJB_KEY, &value);
}

/* Nothing for NULL. */
static void
put_text(JsonbParseState **state, const char *key, const char *text)
{
	JsonbValue	value;

	if (text == NULL)
		return;
	put_key(state, key);
	value.type = jbvString;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = (int) strlen(text);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

static void
put_json(JsonbParseState **state, const char *key, const Jsonb *json)
{
	JsonbValue	value;

	if (json == NULL)
		return;
	put_key(state, key);
	value.type = jbvBinary;
	value.val.binary.data = unconstify(JsonbContainer *, &json->root);
	value.val.binary.len = (int) VARSIZE(json) - VARHDRSZ;
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

static void
put_settings(JsonbParseState **state, const KsPolicySettings *settings)
{
	JsonbValue	value;

	put_key(state, "settings");
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	put_key(state, "auto_redeploy");
	value.type = jbvBool;
	value.val.boolean = settings->auto_redeploy;
	(void) pushJsonbValue(state, WJB_VALUE, &value);
	value.type = jbvNumeric;
	if (settings->soft_limit > 0)
	{
		put_key(state, "soft_limit");
		value.val.numeric = int64_to_numeric(settings->soft_limit);
		(void) pushJsonbValue(state, WJB_VALUE, &value);
	}
	if (settings->hard_limit > 0)
	{
		put_key(state, "hard_limit");
		value.val.numeric = int64_to_numeric(settings->hard_limit);
		(void) pushJsonbValue(state, WJB_VALUE, &value);
	}
	if (settings->max_secret_age > 0)
		put_text(state, "max_secret_age", ks_policy_duration_text(settings->max_secret_age));
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* What the rules were asked about. */
static void
put_request(JsonbParseState **state, const KsPolicyAsk *ask)
{
	const KsCredential *credential = ask->request.credential;

	put_key(state, "request");
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	put_text(state, "action", ask->action->name);
	put_text(state, "role", ask->member.role);
	put_text(state, "type", ask->request.resource_type);
	put_text(state, "name", credential != NULL ? credential->name : ask->request.name);
	put_text(state, "environment", credential != NULL ? credential->environment : NULL);
	put_text(state, "provider", credential != NULL ? credential->provider : NULL);
	put_text(state, "kind", credential != NULL ? credential->kind : NULL);
	put_text(state, "at", timestamptz_to_str(ask->request.now));
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

PG_FUNCTION_INFO_V1(ks_fn_policy_explain);
/* policy_explain(workspace, action, resource, context, principal) returns jsonb */
Datum
ks_fn_policy_explain(PG_FUNCTION_ARGS)
{
	char		hash[2 * KS_DIGEST_LEN + 1];
	JsonbParseState *state = NULL;
	KsPolicyRules rules;
	KsPolicyAsk ask;
	KsDecision	decision;

	ks_policy_ask_args(fcinfo, &ask, ks_arg_get_uuid_or_null(fcinfo, 4), true);
	ks_policy_rules(ask.member.workspace, &rules);
	ks_policy_ask_decide(&ask, &rules, &decision);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	put_text(&state, "decision", ks_decision_name(decision.kind));
	put_json(&state, "reasons", decision.reasons);
	put_json(&state, "obligations", decision.obligations);
	put_json(&state, "errors", decision.errors);
	put_json(&state, "notify", decision.notify);
	put_json(&state, "shadow", decision.shadow);
	if (decision.not_before != 0)
		put_text(&state, "not_before", timestamptz_to_str(decision.not_before));
	hash[hex_encode((const char *) decision.request_hash, KS_DIGEST_LEN, hash)] = '\0';
	put_text(&state, "request_hash", hash);
	put_settings(&state, &decision.settings);
	put_request(&state, &ask);
	put_json(&state, "rules", ks_policy_explain_rules(&ask.request, &rules));
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* Ids of a workspace's members, palloc'd; those that count are found out by
 * asking about them. */
static int
list_members(const uint8 *workspace, uint8 (**ids)[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT m.principal_id FROM keystone.members m WHERE m.workspace_id = $1 AND m.removed_at IS NULL ORDER BY 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	n = (int) ks_spi_read(&plan, &args);
	*ids = MemoryContextAlloc(spi.caller, (Size) Max(n, 1) * KS_ID_LEN);
	for (int i = 0; i < n; i++)
		(void) ks_col_uuid(i, 1, (*ids)[i]);
	ks_spi_end(&spi);
	return n;
}

PG_FUNCTION_INFO_V1(ks_fn_policy_who_can);
/* policy_who_can(workspace, action, resource) returns setof uuid */
Datum
ks_fn_policy_who_can(PG_FUNCTION_ARGS)
{
	uint8		(*ids)[KS_ID_LEN];
	KsSetResult set;
	KsPolicyAsk ask;
	MemoryContext work;
	int			n;

	ks_policy_ask_args(fcinfo, &ask, NULL, true);
	n = list_members(ask.member.workspace, &ids);
	ks_set_begin(fcinfo, false, &set);

	/* A decision has the reasons of all rules that match. */
	work = AllocSetContextCreate(CurrentMemoryContext, "keystone who can", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(work);
		KsDecision	decision = {.kind = KS_DENY};
		Datum		value = ks_uuid_datum(ids[i]);
		bool		null = false;

		CHECK_FOR_INTERRUPTS();
		if (ks_policy_ask_about(&ask, ids[i]))
			ks_policy_ask_decide(&ask, NULL, &decision);
		if (decision.kind <= KS_REQUIRE)
			ks_set_add(&set, &value, &null);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
	return (Datum) 0;
}

/* What there is that rules could match. */
typedef struct Facts
{
	int			n_credentials;
	KsCredential *credentials;
	int			n_members;
	uint8		(*members)[KS_ID_LEN];
	const char **roles;			/* of the members */
} Facts;

static void
read_credentials(const uint8 *workspace, Facts *facts)
{
	static KsPlan plan = {.sql =
		"SELECT c.id, c.name, c.environment, c.provider FROM keystone_private.credentials c"
		" WHERE c.workspace_id = $1 AND c.deleted_at IS NULL"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	facts->n_credentials = (int) ks_spi_read(&plan, &args);
	facts->credentials = MemoryContextAllocExtended(spi.caller, Max(facts->n_credentials, 1) * sizeof(KsCredential),
													MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < facts->n_credentials; i++)
	{
		KsCredential *credential = &facts->credentials[i];

		(void) ks_col_uuid(i, 1, credential->id);
		credential->name = ks_col_text(&spi, i, 2);
		credential->environment = ks_col_text(&spi, i, 3);
		credential->provider = ks_col_text(&spi, i, 4);
	}
	ks_spi_end(&spi);
}

static void
read_facts(KsPolicyAsk *ask, const uint8 *workspace, Facts *facts)
{
	memset(facts, 0, sizeof(*facts));
	read_credentials(workspace, facts);
	facts->n_members = list_members(workspace, &facts->members);
	facts->roles = palloc0(Max(facts->n_members, 1) * sizeof(char *));
	for (int i = 0; i < facts->n_members; i++)
	{
		if (ks_policy_ask_about(ask, facts->members[i]))
			facts->roles[i] = ask->member.role;
	}
}

static bool
is_about(const KsPolicyDoc *doc, const KsPolicyRule *rule, const KsCredential *credential)
{
	return ks_policy_doc_is_about(doc, credential->id, credential->name, credential->provider) &&
		ks_glob_list_match(&rule->env, credential->environment) &&
		ks_glob_list_match(&rule->provider, credential->provider) &&
		ks_glob_list_match(&rule->secret, credential->name);
}

/* Why a rule matches nothing that exists; NULL when it may. */
static const char *
find_missing(const Facts *facts, const KsPolicyDoc *doc, const KsPolicyRule *rule)
{
	bool		wants_credential = doc->level > KS_LEVEL_WORKSPACE || rule->env.n > 0 || rule->provider.n > 0 ||
	rule->secret.n > 0;
	bool		found = !wants_credential;

	for (int i = 0; i < facts->n_credentials && !found; i++)
	{
		CHECK_FOR_INTERRUPTS();
		found = is_about(doc, rule, &facts->credentials[i]);
	}
	if (!found)
		return "matches nothing: there is no such credential in the workspace";
	found = rule->roles.n == 0;
	for (int i = 0; i < facts->n_members && !found; i++)
		found = facts->roles[i] != NULL && ks_glob_list_match(&rule->roles, facts->roles[i]);
	if (!found)
		return "matches nothing: no member has such a role";
	found = rule->all_principals;
	for (int i = 0; i < facts->n_members && !found; i++)
		found = ks_policy_rule_has_principal(rule, facts->members[i]);
	return found ? NULL : "matches nothing: none of its principals is a member";
}

/* Whether whatever a list matches the other one matches, too, as far as that
 * can be told from the patterns. */
static bool
list_covers(const KsGlobList *wide, const KsGlobList *narrow)
{
	if (wide->n == 0)
		return true;
	for (int i = 0; i < narrow->n; i++)
	{
		const KsGlob *glob = &narrow->globs[i];
		bool		covered = false;

		for (int j = 0; j < wide->n && !covered; j++)
			covered = strcmp(wide->globs[j].pattern, glob->pattern) == 0 || strcmp(wide->globs[j].pattern, "**") == 0 ||
				(glob->literal && ks_glob_match(&wide->globs[j], glob->pattern, glob->len));
		if (!covered)
			return false;
	}
	return narrow->n > 0;
}

static bool
is_unconditional(const KsPolicyRule *rule)
{
	return rule->when == NULL && rule->unless == NULL && rule->n_allow == 0 && rule->n_deny == 0;
}

/* Whether a rule denies all that the other one could match. */
static bool
denies_all_of(const KsIndexedRule *one, const KsIndexedRule *other)
{
	const KsPolicyRule *a = one->rule;
	const KsPolicyRule *b = other->rule;

	return one != other && a->effect == KS_EFFECT_FORBID && is_unconditional(a) && !one->doc->shadow &&
		one->doc->level <= KS_LEVEL_WORKSPACE && a->all_principals &&
		!(b->effect == KS_EFFECT_FORBID && is_unconditional(b) && one > other) &&
		list_covers(&a->actions, &b->actions) && list_covers(&a->env, &b->env) &&
		list_covers(&a->provider, &b->provider) && list_covers(&a->secret, &b->secret) &&
		list_covers(&a->roles, &b->roles);
}

/* What is odd about a rule by itself; NULL when nothing. */
static const char *
find_odd(const KsPolicyRule *rule)
{
	if ((rule->when != NULL && rule->when->kind == KS_CEDAR_BOOL && !rule->when->of.boolean) ||
		(rule->unless != NULL && rule->unless->kind == KS_CEDAR_BOOL && rule->unless->of.boolean))
		return "unreachable: its condition is never true";
	if (rule->effect == KS_EFFECT_PERMIT && rule->n_obligations == 0 && rule->n_allow == 0 && rule->n_deny == 0)
		return "has no effect: what the role permits is permitted anyway";
	if (rule->effect == KS_EFFECT_PERMIT && !is_unconditional(rule) && (rule->when != NULL || rule->unless != NULL))
		return "its duties are lost when its condition fails; those of an oblige are not";
	return NULL;
}

static void
add_finding(KsSetResult *set, const KsIndexedRule *indexed, const char *finding)
{
	Datum		values[4];
	bool		nulls[4] = {false};

	if (finding == NULL)
		return;
	values[0] = CStringGetTextDatum(indexed->doc->id);
	values[1] = CStringGetTextDatum(indexed->rule->id);
	values[2] = CStringGetTextDatum("warning");
	values[3] = CStringGetTextDatum(finding);
	ks_set_add(set, values, nulls);
}

/* Which rule of the sets denies all that one could match. */
static const char *
find_shadowing(const KsPolicyRules *rules, const KsIndexedRule *indexed)
{
	for (int i = 0; i < rules->n_sets; i++)
	{
		const KsIndexedRule *others;
		int			n = ks_policy_rules_of(rules, i, &others);

		for (int j = 0; j < n; j++)
		{
			CHECK_FOR_INTERRUPTS();
			if (denies_all_of(&others[j], indexed))
				return psprintf("shadowed: rule \"%s\" of policy \"%s\" denies all that it could match",
								others[j].rule->id, others[j].doc->id);
		}
	}
	return NULL;
}

PG_FUNCTION_INFO_V1(ks_fn_policy_lint);
/* policy_lint(workspace) returns setof record */
Datum
ks_fn_policy_lint(PG_FUNCTION_ARGS)
{
	const KsIndexedRule *own;
	KsPolicyAsk ask = {.action = ks_policy_action("reveal")};
	KsPolicyRules rules;
	KsMembership member;
	KsSetResult set;
	Facts		facts;
	int			n;

	ks_enter_known(&ask.caller, KS_PROFILE_CLIENT);
	ks_membership(&ask.caller, ks_arg_get_text(fcinfo, 0, "workspace"), &member);
	ks_require(&member, KS_PERM_POLICY);
	ask.member = member;
	ask.request.call = &ask.call;
	ask.request.member = &ask.member;
	read_facts(&ask, member.workspace, &facts);
	ks_set_begin(fcinfo, false, &set);
	ks_policy_rules(member.workspace, &rules);
	n = ks_policy_rules_of(&rules, rules.n_sets - 1, &own);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_finding(&set, &own[i], find_odd(own[i].rule));
		add_finding(&set, &own[i], find_missing(&facts, own[i].doc, own[i].rule));
		add_finding(&set, &own[i], find_shadowing(&rules, &own[i]));
	}
	return (Datum) 0;
}

/* Which verb has made an entry. */
static const struct
{
	KsAction	kind;
	const char *action;
}			kinds[] = {
	{KS_ACTION_CREDENTIAL_CREATE, "store"}, {KS_ACTION_CREDENTIAL_ROTATE, "rotate"},
	{KS_ACTION_CREDENTIAL_REVEAL, "reveal"}, {KS_ACTION_CREDENTIAL_RENAME, "rename"},
	{KS_ACTION_CREDENTIAL_UPDATE, "update_metadata"}, {KS_ACTION_CREDENTIAL_DELETE, "delete_credential"},
	{KS_ACTION_CREDENTIAL_RESTORE, "restore_credential"}, {KS_ACTION_CREDENTIAL_DESTROY, "destroy_credential"},
	{KS_ACTION_CREDENTIAL_DESTROY_VERSION, "destroy_version"}, {KS_ACTION_CREDENTIAL_PROMOTE, "promote"},
	{KS_ACTION_CREDENTIAL_ROLLBACK, "rollback_to"}, {KS_ACTION_MEMBER_ADD, "add_member"},
	{KS_ACTION_MEMBER_ROLE, "set_member_role"}, {KS_ACTION_MEMBER_REMOVE, "remove_member"},
	{KS_ACTION_POLICY_PUT, "policy_put"}, {KS_ACTION_POLICY_DROP, "policy_drop"},
	{KS_ACTION_KEY_ROTATE, "rotate_workspace_key"}, {KS_ACTION_KEY_SHRED, "shred_workspace"},
	{KS_ACTION_KEY_EXPORT, "export_bundle"}, {KS_ACTION_DECRYPT, "decrypt"},
};

/* An entry that is decided anew. */
typedef struct LogEntry
{
	int64		seq;
	TimestampTz at;
	const char *action;
	bool		has_object;
	uint8		object[KS_ID_LEN];
	uint8		actor[KS_ID_LEN];
} LogEntry;

static int
read_entries(const uint8 *workspace, TimestampTz since, LogEntry **entries)
{
	static KsPlan plan = {.sql =
		"SELECT e.seq, e.at, e.kind, e.object_id, e.actor_id FROM keystone_private.audit_entries e"
		" WHERE e.workspace_id = $1 AND e.at >= $2 AND e.actor_id IS NOT NULL ORDER BY e.seq DESC LIMIT $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			rows;
	int			n = 0;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_time(&args, true, since);
	ks_arg_int(&args, true, ENTRIES_MAX);
	rows = (int) ks_spi_read(&plan, &args);
	*entries = MemoryContextAllocZero(spi.caller, Max(rows, 1) * sizeof(LogEntry));
	for (int i = rows - 1; i >= 0; i--)
	{
		LogEntry   *entry = &(*entries)[n];
		int32		kind;

		(void) ks_col_int(i, 3, &kind);
		entry->action = NULL;
		for (size_t j = 0; j < lengthof(kinds); j++)
		{
			if ((int32) kinds[j].kind == kind)
				entry->action = kinds[j].action;
		}
		if (entry->action == NULL)
			continue;
		(void) ks_col_bigint(i, 1, &entry->seq);
		(void) ks_col_time(i, 2, &entry->at);
		entry->has_object = ks_col_uuid(i, 4, entry->object);
		(void) ks_col_uuid(i, 5, entry->actor);
		n++;
	}
	ks_spi_end(&spi);
	return n;
}

/* The request that an entry was made for, with what its credential and actor
 * are now; false when one of them is gone. */
static bool
make_request(KsPolicyAsk *ask, const uint8 *workspace, const LogEntry *entry, KsCredential *credential)
{
	ask->action = ks_policy_action(entry->action);
	memset(&ask->request, 0, sizeof(ask->request));
	ask->request.call = &ask->call;
	ask->request.member = &ask->member;
	ask->request.action = ask->action->name;
	ask->request.resource_type = ask->action->resource_type;
	ask->request.now = entry->at;
	ask->request.past = true;
	memcpy(ask->member.workspace, workspace, KS_ID_LEN);
	if (strcmp(ask->action->resource_type, "credential") == 0)
	{
		if (!entry->has_object || !ks_store_find_id(entry->object, 0, credential, NULL) ||
			memcmp(credential->workspace, workspace, KS_ID_LEN) != 0)
			return false;
		ask->request.credential = credential;
		ask->request.version = credential->current_version;
	}
	return ks_policy_ask_about(ask, entry->actor);
}

/* "policy/rule" of the first reason, NULL when there is none. */
static char *
first_reason(const Jsonb *reasons)
{
	JsonbContainer *array = unconstify(JsonbContainer *, &reasons->root);
	JsonbValue *first = getIthJsonbValueFromContainer(array, 0);
	bool		is_object = first != NULL && first->type == jbvBinary;
	char	   *policy = is_object ? ks_jsonb_text(first->val.binary.data, "policy") : NULL;
	char	   *rule = is_object ? ks_jsonb_text(first->val.binary.data, "rule") : NULL;

	return policy != NULL && rule != NULL ? psprintf("%s/%s", policy, rule) : NULL;
}

static void
add_simulated(KsSetResult *set, const LogEntry *entry, const KsDecision *before, const KsDecision *after)
{
	bool		same = before->kind == after->kind;
	char	   *rule = same ? NULL : first_reason(after->kind > before->kind ? after->reasons : before->reasons);
	Datum		values[4];
	bool		nulls[4] = {false, false, false, rule == NULL};

	values[0] = Int64GetDatum(entry->seq);
	values[1] = CStringGetTextDatum(ks_decision_name(before->kind));
	values[2] = CStringGetTextDatum(ks_decision_name(after->kind));
	values[3] = rule != NULL ? CStringGetTextDatum(rule) : (Datum) 0;
	ks_set_add(set, values, nulls);
}

/* The document to try; 22023 when it is none of a workspace. */
static KsPolicyDoc *
get_document(const Jsonb *document)
{
	KsPolicyProblems problems;
	KsPolicyDoc *doc = ks_policy_doc_read(document, &problems);

	if (doc == NULL || doc->level == KS_LEVEL_SYSTEM)
		ks_error_invalid("document", "a policy document of a workspace, without errors",
						 "keystone.policy_validate() lists all that is wrong.");
	return doc;
}

static TimestampTz
get_since(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ks_error_null("since");
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
												   TimestampTzGetDatum(GetCurrentTimestamp()), PG_GETARG_DATUM(n)));
}

PG_FUNCTION_INFO_V1(ks_fn_policy_simulate);
/* policy_simulate(workspace, document, since) returns setof record */
Datum
ks_fn_policy_simulate(PG_FUNCTION_ARGS)
{
	const Jsonb *document = ks_arg_get_jsonb(fcinfo, 1, "document");
	TimestampTz since = get_since(fcinfo, 2);
	KsPolicyAsk ask = {0};
	KsPolicyRules before;
	KsPolicyRules after;
	KsMembership member;
	KsSetResult set;
	LogEntry   *entries;
	MemoryContext work;
	int			n;

	ks_enter_known(&ask.caller, KS_PROFILE_CLIENT);
	ks_membership(&ask.caller, ks_arg_get_text(fcinfo, 0, "workspace"), &member);
	ks_require(&member, KS_PERM_POLICY);
	n = read_entries(member.workspace, since, &entries);
	ks_set_begin(fcinfo, false, &set);
	ks_policy_rules(member.workspace, &before);
	ks_policy_rules_with(member.workspace, &before, get_document(document), &after);
	work = AllocSetContextCreate(CurrentMemoryContext, "keystone simulation", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(work);
		KsCredential credential;
		KsDecision	was;
		KsDecision	is;

		CHECK_FOR_INTERRUPTS();
		if (make_request(&ask, member.workspace, &entries[i], &credential))
		{
			ks_policy_ask_decide(&ask, &before, &was);
			ks_policy_ask_decide(&ask, &after, &is);
			add_simulated(&set, &entries[i], &was, &is);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
	return (Datum) 0;
}
