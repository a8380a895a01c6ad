/*-------------------------------------------------------------------------
 *
 * ks_policy_sql.c
 *	  Policies as SQL functions: putting, getting, dropping and asking them.
 *
 * A policy of the whole database lies in the nil workspace.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_approval.h"
#include "ks_gate.h"
#include "ks_policy_ask.h"
#include "ks_policy_store.h"
#include "ks_text.h"
#include "ks_vault_args.h"

#define SHOWN_PROBLEMS	3

static const uint8 nil[KS_ID_LEN] = {0};

/* Whose policies a call changes. */
typedef struct Owner
{
	uint8		workspace[KS_ID_LEN];	/* nil: the database's */
	bool		of_database;
	KsMembership member;		/* unless of_database */
} Owner;

/*
 * A workspace's are changed by holders of policy; those of the database (NULL)
 * by the profile admin.
 */
static void
lock_owner(KsVerb *verb, const text *workspace, Owner *owner)
{
	memset(owner, 0, sizeof(*owner));
	owner->of_database = workspace == NULL;
	if (owner->of_database)
	{
		if (!(verb->call.profiles & KS_PROFILE_ADMIN))
			ks_error_denied("permission denied", "A policy of the database needs the profile admin.");
		return;
	}
	ks_tenant_lock_membership(&verb->call, workspace, verb->workspace, &owner->member);
	ks_require(&owner->member, KS_PERM_POLICY);
	ks_require_usable(&owner->member);
	memcpy(owner->workspace, owner->member.workspace, KS_ID_LEN);
}

KS_NORETURN static void refuse_document(const KsPolicyProblems *problems) KS_NORETURN_END;

/* The first problems, for who did not validate before. */
static void
refuse_document(const KsPolicyProblems *problems)
{
	StringInfoData detail;
	int			shown = 0;

	initStringInfo(&detail);
	for (int i = 0; i < problems->n && shown < SHOWN_PROBLEMS; i++)
	{
		const KsPolicyProblem *problem = &problems->problems[i];

		if (problem->warning)
			continue;
		appendStringInfo(&detail, "%s\"%s\": %s", shown++ > 0 ? "; " : "", ks_escape_control(problem->path),
						 problem->message);
	}
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("document must be a policy document without errors"),
			errdetail("%s.", detail.data),
			errhint("keystone.policy_validate() lists all that is wrong."));
}

/* Reads a document that is to be put, and checks that it is put where its
 * scope says. */
static KsPolicyDoc *
read_document(const Jsonb *document, const Owner *owner, KsPolicyProblems *problems)
{
	KsPolicyDoc *doc = ks_policy_doc_read(document, problems);
	uint8		id[KS_ID_LEN];

	if (doc == NULL)
	{
		refuse_document(problems);
		return NULL;
	}
	if (owner->of_database != (doc->level == KS_LEVEL_SYSTEM))
		ks_error_invalid("document", owner->of_database ? "one of level system" : "one of level workspace, provider or secret",
						 "A policy of the whole database has the level system, and is put with a workspace that is NULL.");
	if (doc->level == KS_LEVEL_WORKSPACE && doc->scope_id != NULL &&
		strcmp(doc->scope_id, owner->member.slug) != 0 &&
		!(ks_text_uuid(doc->scope_id, id) && memcmp(id, owner->workspace, KS_ID_LEN) == 0))
		ks_error_invalid("document", "one whose scope is this workspace", NULL);
	return doc;
}

/* {"document": ...}: what an approval of putting it is bound to. */
static Jsonb *
make_parameters(const Jsonb *document)
{
	JsonbValue	value;

	value.type = jbvBinary;
	value.val.binary.data = unconstify(JsonbContainer *, &document->root);
	value.val.binary.len = (int) VARSIZE(document) - VARHDRSZ;
	return ks_gate_parameter(NULL, "document", &value);
}

static void
check_expected_policy(FunctionCallInfo fcinfo, int n, const KsStoredPolicy *before, bool found)
{
	int32		actual = found && !before->row.dropped ? before->row.version : 0;

	if (!PG_ARGISNULL(n) && PG_GETARG_INT32(n) != actual)
		ks_error_conflict(PG_GETARG_INT32(n), actual);
}

/* Who changed it, and when. */
static void
sign_row(const KsVerb *verb, KsPolicyRow *row)
{
	row->by_principal = verb->call.actor.source != KS_SOURCE_ANONYMOUS;
	if (row->by_principal)
		memcpy(row->updated_by, verb->call.actor.principal, KS_ID_LEN);
	row->updated_at = GetCurrentTimestamp();
}

/* Digest of the document, for the entry. */
static void
add_digest(KsVerb *verb, const Jsonb *document)
{
	uint8		digest[KS_DIGEST_LEN];
	char	   *hex = palloc0(2 * KS_DIGEST_LEN + 1);

	ks_document_digest(document, digest);
	(void) hex_encode((const char *) digest, KS_DIGEST_LEN, hex);
	ks_detail_add(&verb->detail, "document_sha256", hex);
}

static void
write_policy(KsVerb *verb, const KsPolicyRow *row)
{
	KsApprovalStandings before;
	int			superseded;

	ks_approval_note_standings(row->workspace, &before);
	if (!ks_policy_store_put(row))
		ks_error_conflict(row->version - 1, row->version);
	superseded = ks_approval_supersede(row->workspace, &before);
	if (superseded > 0)
		ks_detail_add(&verb->detail, "superseded", psprintf("%d", superseded));
}

static void
check_room(const uint8 *workspace, bool is_new)
{
	KsStoredPolicy *policies;

	if (is_new && ks_policy_store_list(workspace, &policies) >= KS_POLICIES_OF_WORKSPACE_MAX)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("there are %d policies already", KS_POLICIES_OF_WORKSPACE_MAX),
				errhint("Drop some with keystone.policy_drop()."));
}

/* Warns of approvals that nobody could give. */
static void
warn_of_approvals(const KsPolicyDoc *doc, const Owner *owner, KsPolicyProblems *problems)
{
	for (int i = 0; i < doc->n_rules && !owner->of_database; i++)
	{
		for (int j = 0; j < doc->rules[i].n_obligations; j++)
		{
			const KsObligation *obligation = &doc->rules[i].obligations[j];
			KsApprovalNeed need = {0};

			need.n_factors = obligation->n_factors;
			need.factors = obligation->factors;
			if (obligation->type != KS_OBLIGE_APPROVAL ||
				ks_approval_is_satisfiable(owner->workspace, &need, NULL))
				continue;
			problems->problems = problems->problems == NULL ? palloc(sizeof(KsPolicyProblem)) :
				repalloc(problems->problems, (problems->n + 1) * sizeof(KsPolicyProblem));
			problems->problems[problems->n].path = psprintf("/rules/%d/obligations/%d", i, j);
			problems->problems[problems->n].warning = true;
			problems->problems[problems->n++].message = "there are not enough members who could approve";
		}
	}
}

/*
 * A workspace's policies are under policy.  The database's own are not: there
 * is nobody who could approve, and a rule that asked for it would stay for ever.
 */
static void
ask_policy(KsVerb *verb, const Owner *owner, const char *action, const char *id, const Jsonb *parameters)
{
	if (!owner->of_database)
		ks_gate_object(verb, &owner->member, action, "policy", id, parameters);
	else if (verb->has_approval)
		ks_error_invalid("approval", "NULL for a policy of the database", NULL);
}

/* Notes that a policy that nobody can read is replaced, or dropped. */
static void
note_damage(KsVerb *verb, const KsStoredPolicy *policy)
{
	if (!policy->row.dropped && !ks_policy_is_readable(policy))
		ks_detail_add(&verb->detail, "damaged", "true");
}

static Datum
policy_put(FunctionCallInfo fcinfo, KsVerb *verb)
{
	const Jsonb *document = ks_arg_get_jsonb(fcinfo, 1, "document");
	KsPolicyProblems problems;
	KsStoredPolicy before;
	KsPolicyRow row = {0};
	KsPolicyDoc *doc;
	Owner		owner;
	Datum		values[3];
	bool		nulls[3] = {false};
	bool		found;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	ks_verb_extra(verb, fcinfo, 3);
	ks_begin_change();
	lock_owner(verb, ks_arg_get_text_or_null(fcinfo, 0), &owner);
	doc = read_document(document, &owner, &problems);
	found = ks_policy_store_get(owner.workspace, doc->id, &before);
	check_expected_policy(fcinfo, 2, &before, found);
	check_room(owner.workspace, !found || before.row.dropped);
	if (found)
		note_damage(verb, &before);
	ask_policy(verb, &owner, "policy_put", doc->id,
			   make_parameters(document));

	memcpy(row.workspace, owner.workspace, KS_ID_LEN);
	row.id = doc->id;
	row.version = found ? before.row.version + 1 : 1;
	row.level = ks_policy_level_name(doc->level);
	row.enforcement = doc->shadow ? "shadow" : "enforce";
	row.document = document;
	sign_row(verb, &row);
	add_digest(verb, document);
	write_policy(verb, &row);
	warn_of_approvals(doc, &owner, &problems);
	values[0] = CStringGetTextDatum(row.id);
	values[1] = Int32GetDatum(row.version);
	values[2] = JsonbPGetDatum(ks_policy_problems_json(&problems, true));
	return ks_row_result(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_policy_put);
/* policy_put(workspace, document, expected_version, approval, reason, context) returns record */
Datum
ks_fn_policy_put(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_POLICY_PUT, policy_put);
}

/*
 * The profile admin drops a workspace's damaged policy, whoever is a member:
 * it denies everything there, and those who would have to agree may be gone.
 * False when it is no such call.
 */
static bool
repairs(KsVerb *verb, const text *workspace, const char *id, Owner *owner)
{
	KsStoredPolicy policy;
	uint8		of[KS_ID_LEN];

	if (workspace == NULL || !(verb->call.profiles & KS_PROFILE_ADMIN) || !ks_tenant_find_workspace(workspace, of))
		return false;
	ks_tenant_lock(of);
	if (!ks_policy_store_get(of, id, &policy) || policy.row.dropped || ks_policy_is_readable(&policy))
		return false;
	if (verb->has_approval)
		ks_error_invalid("approval", "NULL for the profile admin", NULL);
	memset(owner, 0, sizeof(*owner));
	memcpy(owner->workspace, of, KS_ID_LEN);
	memcpy(verb->workspace, of, KS_ID_LEN);
	return true;
}

/* One that was changed by hand can be dropped, too. */
static Datum
policy_drop(FunctionCallInfo fcinfo, KsVerb *verb)
{
	char	   *id = text_to_cstring(ks_arg_get_text(fcinfo, 1, "id"));
	KsStoredPolicy policy;
	Owner		owner;
	bool		alone;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	ks_verb_extra(verb, fcinfo, 2);
	ks_begin_change();
	alone = repairs(verb, ks_arg_get_text_or_null(fcinfo, 0), id, &owner);
	if (!alone)
		lock_owner(verb, ks_arg_get_text_or_null(fcinfo, 0), &owner);
	if (!ks_policy_store_get(owner.workspace, id, &policy) || policy.row.dropped)
		ks_error_not_found("There is no policy of that id.");
	note_damage(verb, &policy);
	if (!alone)
		ask_policy(verb, &owner, "policy_drop", id, NULL);
	policy.row.version++;
	policy.row.dropped = true;
	sign_row(verb, &policy.row);
	policy.row.dropped_at = policy.row.updated_at;
	write_policy(verb, &policy.row);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_policy_drop);
/* policy_drop(workspace, id, approval, reason, context) returns void */
Datum
ks_fn_policy_drop(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_POLICY_DROP, policy_drop);
}

PG_FUNCTION_INFO_V1(ks_fn_policy_get);
/* policy_get(workspace, id) returns jsonb */
Datum
ks_fn_policy_get(PG_FUNCTION_ARGS)
{
	text	   *workspace = ks_arg_get_text_or_null(fcinfo, 0);
	char	   *id = text_to_cstring(ks_arg_get_text(fcinfo, 1, "id"));
	const uint8 *of = nil;
	KsStoredPolicy policy;
	KsMembership member;
	KsCall		call;

	ks_enter(&call, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN | KS_PROFILE_AUDITOR);
	if (workspace != NULL)
	{
		ks_membership(&call, workspace, &member);
		if (!(member.permissions & KS_PERM_AUDIT))
			ks_require(&member, KS_PERM_POLICY);
		of = member.workspace;
	}
	else if (!(call.profiles & (KS_PROFILE_ADMIN | KS_PROFILE_AUDITOR)))
		ks_error_denied("permission denied", "The policies of the database are for the profiles admin and auditor.");
	if (!ks_policy_store_get(of, id, &policy) || policy.row.dropped || policy.row.document == NULL)
		ks_error_not_found("There is no policy of that id.");
	PG_RETURN_JSONB_P(unconstify(Jsonb *, policy.row.document));
}

/* (decision, reasons, obligations, errors, not_before, request_hash) */
static Datum
make_decision(FunctionCallInfo fcinfo, const KsDecision *decision)
{
	bytea	   *hash = palloc(VARHDRSZ + KS_DIGEST_LEN);
	Datum		values[6];
	bool		nulls[6] = {false, false, false, false, decision->not_before == 0, false};

	SET_VARSIZE(hash, VARHDRSZ + KS_DIGEST_LEN);
	memcpy(VARDATA(hash), decision->request_hash, KS_DIGEST_LEN);
	values[0] = CStringGetTextDatum(ks_decision_name(decision->kind));
	values[1] = JsonbPGetDatum(decision->reasons);
	values[2] = JsonbPGetDatum(decision->obligations);
	values[3] = JsonbPGetDatum(decision->errors);
	values[4] = TimestampTzGetDatum(decision->not_before);
	values[5] = PointerGetDatum(hash);
	return ks_row_result(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_policy_evaluate);
/* policy_evaluate(workspace, action, resource, context, principal) returns decision */
Datum
ks_fn_policy_evaluate(PG_FUNCTION_ARGS)
{
	KsPolicyAsk ask;
	KsDecision	decision;

	ks_policy_ask_args(fcinfo, &ask, ks_arg_get_uuid_or_null(fcinfo, 4), false);
	ks_policy_ask_decide(&ask, NULL, &decision);
	return make_decision(fcinfo, &decision);
}

PG_FUNCTION_INFO_V1(ks_fn_policy_allowed);
/* policy_allowed(workspace, action, resource, context) returns boolean */
Datum
ks_fn_policy_allowed(PG_FUNCTION_ARGS)
{
	KsPolicyAsk ask;
	KsDecision	decision;

	ks_policy_ask_args(fcinfo, &ask, NULL, false);
	ks_policy_ask_decide(&ask, NULL, &decision);
	PG_RETURN_BOOL(decision.kind == KS_PERMIT);
}
