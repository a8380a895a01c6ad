/*-------------------------------------------------------------------------
 *
 * ks_approval_sql.c
 *	  Approvals as SQL functions: asking for them, voting, using them for work
 *	  outside of the database, emergencies, previews.
 *
 * A request that somebody has nothing to do with is not found.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "ks_approval.h"
#include "ks_error.h"
#include "ks_gate_args.h"
#include "ks_guc.h"
#include "ks_jsonb.h"
#include "ks_policy_ask.h"
#include "ks_policy_store.h"
#include "ks_text.h"
#include "ks_vault_args.h"

#define DETAIL_MAX		1024	/* bytes of a text that somebody reports */
#define PREVIEW_MAX		16384	/* as jsonb text */

/*-------------------------------------------------------------------------
 * Asking
 *-------------------------------------------------------------------------
 */

/* The other arguments of the call; values are no part of it. */
static const Jsonb *
get_parameters(FunctionCallInfo fcinfo, int n)
{
	const Jsonb *parameters = ks_arg_get_jsonb(fcinfo, n, "parameters");

	if (!JB_ROOT_IS_OBJECT(parameters) || VARSIZE(parameters) > KS_POLICY_BYTES_MAX + KS_CONTEXT_MAX)
		ks_error_invalid("parameters", "a JSON object", NULL);
	return parameters;
}

/* As the function for questions about policy reads it, which has three of the
 * arguments. */
static void
get_ask(FunctionCallInfo fcinfo, KsPolicyAsk *ask)
{
	LOCAL_FCINFO(question, 3);

	InitFunctionCallInfoData(*question, fcinfo->flinfo, 3, fcinfo->fncollation, NULL, NULL);
	for (int i = 0; i < 3; i++)
		question->args[i] = fcinfo->args[i];
	ks_policy_ask_args(question, ask, NULL, false);
}

static void
put_field(StringInfo json, const char *key, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(json, ", \"%s\": ", key);
	escape_json(json, value);
}

/* What it is about, as the server knows it. */
static Jsonb *
describe(const KsPolicyRequest *request)
{
	static const uint8 nil[KS_ID_LEN] = {0};
	const KsCredential *credential = request->credential;
	StringInfoData json;
	char		id[37];

	initStringInfo(&json);
	appendStringInfo(&json, "{\"type\": \"%s\"", request->resource_type);
	if (credential == NULL)
		put_field(&json, "name", request->name);
	else
	{
		ks_text_from_uuid(credential->id, id);
		if (memcmp(credential->id, nil, KS_ID_LEN) != 0)
			put_field(&json, "credential", id);
		put_field(&json, "name", credential->name);
		put_field(&json, "environment", credential->environment);
		put_field(&json, "provider", credential->provider);
		if (memcmp(credential->id, nil, KS_ID_LEN) == 0)
			put_field(&json, "kind", credential->kind);
		appendStringInfo(&json, ", \"version\": %d", request->version);
	}
	appendStringInfoChar(&json, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

/* {"decision": ..., "reasons": [...]}, as the gate's refusals have it. */
static char *
reasons_of(const KsDecision *decision)
{
	return psprintf("{\"decision\": \"%s\", \"reasons\": %s}", ks_decision_name(decision->kind),
					JsonbToCString(NULL, &decision->reasons->root, 0));
}

/* What the question comes to, when it is one that an approval helps. */
static void
decide(const KsPolicyAsk *ask, KsDecision *decision)
{
	ks_policy_ask_decide(ask, NULL, decision);
	if (ask->refused != NULL)
		ks_error_denied("permission denied", "The call would not be permitted with an approval, either.");
	if (decision->kind == KS_DENY)
		ks_error_policy(reasons_of(decision), NULL);
	if (decision->approval.n_factors == 0)
		ks_error_invalid("action", "one that policy wants approved for this resource",
						 "No approval is needed of this call.");
}

static void
require_possible(const KsPolicyAsk *ask, const KsDecision *decision)
{
	if (ks_approval_is_satisfiable(ask->member.workspace, &decision->approval, ask->caller.actor.principal))
		return;
	ks_error_precondition(KS_POLICY_REQUIRES,
						  "{\"decision\": \"require\", \"problem\": \"there are not enough members who could approve\"}",
						  "Neither who asks, nor whom it has made, nor services and API keys approve.");
}

/* The row of a request, as far as it is the same for all. */
static void
make_row(const KsPolicyAsk *ask, const KsDecision *decision, const char *reason, KsApprovalRow *row)
{
	memset(row, 0, sizeof(*row));
	if (ks_random_uuid(row->id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	memcpy(row->workspace, ask->member.workspace, KS_ID_LEN);
	memcpy(row->requester, ask->caller.actor.principal, KS_ID_LEN);
	row->action = ask->action->name;
	row->resource = describe(&ask->request);
	row->parameters = ask->request.parameters;
	row->reason = reason;
	memcpy(row->request_hash, decision->request_hash, KS_DIGEST_LEN);
	row->need = ks_need_to_json(&decision->approval);
	row->created_at = GetCurrentTimestamp();
}

/* Reads the arguments and decides. */
static void
ask_for(FunctionCallInfo fcinfo, KsVerb *verb, KsPolicyAsk *ask, KsDecision *decision)
{
	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_verb_why(verb, ks_arg_get_text_or_null(fcinfo, 4), ks_empty_object());
	ks_begin_change();
	get_ask(fcinfo, ask);
	memcpy(verb->workspace, ask->member.workspace, KS_ID_LEN);
	ks_require_usable(&ask->member);
	ask->request.parameters = get_parameters(fcinfo, 3);
	ks_gate_args_refuse_secrets(ask->request.action, ask->request.parameters);
	ks_gate_args_check(&ask->request);
	ask->refused = ks_policy_ask_refuses(ask);
	ask->request.reason = verb->reason;
	decide(ask, decision);
	ks_tenant_ensure_principal(&verb->call);
}

static Datum
request_approval(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsPolicyAsk ask;
	KsDecision	decision;
	KsApprovalRow row;

	ask_for(fcinfo, verb, &ask, &decision);
	ks_approval_require_room(ask.member.workspace, verb->call.actor.principal);
	require_possible(&ask, &decision);
	make_row(&ask, &decision, verb->reason, &row);
	row.state = "pending";
	row.expires_at = row.created_at + decision.approval.timeout;
	ks_approval_insert(&row);
	ks_approval_notify(&row, "requested");
	return ks_uuid_datum(row.id);
}

PG_FUNCTION_INFO_V1(ks_fn_request_approval);
/* request_approval(workspace, action, resource, parameters, reason) returns uuid */
Datum
ks_fn_request_approval(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APPROVAL_REQUEST, request_approval);
}


/*-------------------------------------------------------------------------
 * Voting
 *-------------------------------------------------------------------------
 */

/* Finds a request that the caller has to do with: it is its own, or it may
 * vote.  Locks it.  why receives why the caller may not vote. */
static void
lock_request(FunctionCallInfo fcinfo, KsVerb *verb, KsApprovalRow *row, const char **why)
{
	const uint8 *id = ks_arg_get_uuid(fcinfo, 0, "request");
	const uint8 *caller;
	KsMembership member;
	bool		stranger;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	ks_begin_change();
	caller = verb->call.actor.principal;
	memcpy(verb->object, id, KS_ID_LEN);
	if (!ks_approval_find(id, row) || !ks_membership_of(&verb->call, row->workspace, &member))
		ks_error_not_found(NULL);
	*why = ks_approval_refuses(row, caller, &stranger);
	if (stranger || !ks_approval_lock(id, row))
		ks_error_not_found(NULL);
	memcpy(verb->workspace, row->workspace, KS_ID_LEN);
}

static void
check_comment(KsVerb *verb, FunctionCallInfo fcinfo)
{
	text	   *comment = ks_arg_get_text_or_null(fcinfo, 1);

	verb->reason = comment != NULL ? ks_text_free("comment", comment, KS_REASON_MAX) : NULL;
}

/* What the voter was shown is this request: its hash, when the caller gives
 * one. */
static void
check_shown(FunctionCallInfo fcinfo, const KsApprovalRow *row)
{
	bytea	   *shown;

	if (PG_ARGISNULL(2))
		return;
	shown = PG_GETARG_BYTEA_PP(2);
	if (VARSIZE_ANY_EXHDR(shown) != KS_DIGEST_LEN)
		ks_error_invalid("request_hash", psprintf("%d bytes long", KS_DIGEST_LEN), NULL);
	if (!ks_equal(VARDATA_ANY(shown), row->request_hash, KS_DIGEST_LEN))
		ks_error_other_request();
}

static bool
is_pending(const KsApprovalRow *row)
{
	return strcmp(row->state, "pending") == 0;
}

static bool
is_approved(const KsApprovalRow *row)
{
	return strcmp(row->state, "approved") == 0;
}

/*
 * A vote.  The same one once more is as good as the first; one on what is over
 * changes nothing.  Both tell the state.
 */
static Datum
vote(FunctionCallInfo fcinfo, KsVerb *verb, const char *vote)
{
	KsApprovalRow row;
	KsMembership member;
	const char *before;
	const char *why;

	check_comment(verb, fcinfo);
	lock_request(fcinfo, verb, &row, &why);
	if (why != NULL)
		ks_error_denied("permission denied", why);
	if (!ks_membership_of(&verb->call, row.workspace, &member))
		ks_error_not_found(NULL);
	ks_require_usable(&member);
	check_shown(fcinfo, &row);
	before = ks_approval_vote_of(&row, verb->call.actor.principal);
	if ((is_pending(&row) || is_approved(&row)) && (before == NULL || strcmp(before, vote) != 0))
		ks_approval_vote(&row, verb->call.actor.principal, vote, verb->reason);
	return CStringGetTextDatum(row.state);
}

static Datum
approve(FunctionCallInfo fcinfo, KsVerb *verb)
{
	return vote(fcinfo, verb, "approve");
}

PG_FUNCTION_INFO_V1(ks_fn_approve);
/* approve(request, comment, request_hash) returns text */
Datum
ks_fn_approve(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APPROVAL_APPROVE, approve);
}

static Datum
reject(FunctionCallInfo fcinfo, KsVerb *verb)
{
	return vote(fcinfo, verb, "reject");
}

PG_FUNCTION_INFO_V1(ks_fn_reject);
/* reject(request, comment, request_hash) returns text */
Datum
ks_fn_reject(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APPROVAL_REJECT, reject);
}

/* For what only who made it may do. */
static void
lock_own_request(FunctionCallInfo fcinfo, KsVerb *verb, KsApprovalRow *row)
{
	const char *why;

	lock_request(fcinfo, verb, row, &why);
	if (memcmp(row->requester, verb->call.actor.principal, KS_ID_LEN) != 0)
		ks_error_denied("permission denied", "Only who made the request may do this.");
}

static Datum
cancel_request(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsApprovalRow row;

	lock_own_request(fcinfo, verb, &row);
	if (is_pending(&row) || is_approved(&row))
	{
		ks_approval_move(&row, "cancelled", NULL);
		ks_approval_notify(&row, "cancelled");
	}
	return CStringGetTextDatum(row.state);
}

PG_FUNCTION_INFO_V1(ks_fn_cancel_request);
/* cancel_request(request) returns text */
Datum
ks_fn_cancel_request(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APPROVAL_CANCEL, cancel_request);
}


/*-------------------------------------------------------------------------
 * Work outside of the database
 *-------------------------------------------------------------------------
 */

/* The first obligation that an approval does not meet, and that is not met
 * otherwise; NULL when there is none. */
static char *
find_unmet(const KsPolicyRequest *request, const KsDecision *decision)
{
	JsonbContainer *array = &decision->obligations->root;

	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *obligation = getIthJsonbValueFromContainer(array, i);
		char	   *name = obligation->type != jbvBinary ? NULL : ks_jsonb_text(obligation->val.binary.data, "type");

		if (name == NULL)
			name = pstrdup("unknown");
		if (strcmp(name, ks_policy_obligation_name(KS_OBLIGE_APPROVAL)) == 0 ||
			strcmp(name, ks_policy_obligation_name(KS_OBLIGE_WAIT)) == 0 ||
			(strcmp(name, ks_policy_obligation_name(KS_OBLIGE_PREVIEW)) == 0 && request->credential != NULL &&
			 ks_approval_has_preview(request->credential, decision->approval.preview_age, request->now)))
			continue;
		return name;
	}
	return NULL;
}

KS_NORETURN static void refuse_use(const char *problem) KS_NORETURN_END;

/* problem: a constant phrase, or the type of an obligation. */
static void
refuse_use(const char *problem)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"decision\": \"require\"");
	put_field(&json, "problem", problem);
	appendStringInfoChar(&json, '}');
	ks_error_precondition(KS_POLICY_REQUIRES, json.data, NULL);
}

/* The requester could make the call still, but for policy. */
static void
require_role(KsVerb *verb, const KsPolicyAction *action, const KsAsked *asked)
{
	KsPolicyAsk ask = {
		.caller = verb->call,
		.call = verb->call,
		.action = action,
		.member = asked->member,
		.request = asked->request,
	};

	if (ks_policy_ask_refuses(&ask) != NULL)
		ks_error_denied("permission denied", NULL);
}

/* The exact call, evaluated as it is made now. */
static void
decide_now(KsVerb *verb, const KsApprovalRow *row, const Jsonb *parameters, KsDecision *decision)
{
	const KsPolicyAction *action = ks_policy_action(row->action);
	KsAsked		asked;
	char	   *unmet;

	if (action == NULL || !ks_approval_restore(row, &asked))
	{
		refuse_use(ks_approval_answer_text(KS_APPROVAL_OTHER_CALL));
		return;
	}
	ks_require_usable(&asked.member);
	asked.request.call = &verb->call;
	asked.request.parameters = parameters;
	asked.request.mfa_at = verb->call.actor.mfa_at;
	if (asked.request.credential != NULL && !ks_policy_names_version(action))
		asked.request.version = asked.credential.current_version;
	require_role(verb, action, &asked);
	ks_policy_evaluate(&asked.request, decision);
	if (decision->kind == KS_DENY)
		ks_error_policy(reasons_of(decision), NULL);
	if (decision->kind == KS_DEFER)
		ks_error_precondition(KS_POLICY_DEFERS, reasons_of(decision), NULL);
	unmet = find_unmet(&asked.request, decision);
	if (unmet != NULL)
		refuse_use(unmet);
}

/*
 * A claim for work that is done elsewhere: it is durable when this returns, and
 * stays so after ROLLBACK.
 */
static Datum
claim_approval(FunctionCallInfo fcinfo, KsVerb *verb)
{
	const Jsonb *parameters = get_parameters(fcinfo, 1);
	KsApprovalAnswer answer;
	KsApprovalRow row;
	KsDecision	decision;
	TimestampTz not_before;

	/* The work is not undone by ROLLBACK, as the policy would be. */
	if (ks_policy_store_loosened_here())
		ks_error_denied("a policy was changed in this transaction", "Commit first.");
	lock_own_request(fcinfo, verb, &row);
	ks_gate_args_refuse_secrets(row.action, parameters);
	decide_now(verb, &row, parameters, &decision);
	ks_approval_lock_voters(&row);
	answer = ks_approval_judge(&row, decision.request_hash, &decision.approval, &not_before);
	if (answer != KS_APPROVAL_OK)
		refuse_use(ks_approval_answer_text(answer));
	if (!ks_approval_spend(verb, &row))
		refuse_use(ks_approval_answer_text(KS_APPROVAL_SPENT));
	ks_approval_move(&row, "claimed", NULL);
	return CStringGetTextDatum(row.state);
}

PG_FUNCTION_INFO_V1(ks_fn_claim_approval);
/* claim_approval(request, parameters) returns text */
Datum
ks_fn_claim_approval(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APPROVAL_CLAIM, claim_approval);
}

static Datum
complete_approval(FunctionCallInfo fcinfo, KsVerb *verb)
{
	bool		ok = ks_arg_get_bool(fcinfo, 1, "ok");
	text	   *detail = ks_arg_get_text_or_null(fcinfo, 2);
	char	   *report = detail != NULL ? ks_text_free("detail", detail, DETAIL_MAX) : NULL;
	KsApprovalRow row;

	lock_own_request(fcinfo, verb, &row);
	if (strcmp(row.state, "claimed") == 0)
		ks_approval_move(&row, ok ? "executed" : "failed", report);
	else if (is_pending(&row) || is_approved(&row))
		refuse_use("It was not claimed.");
	return CStringGetTextDatum(row.state);
}

PG_FUNCTION_INFO_V1(ks_fn_complete_approval);
/* complete_approval(request, ok, detail) returns text */
Datum
ks_fn_complete_approval(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APPROVAL_COMPLETE, complete_approval);
}


/*-------------------------------------------------------------------------
 * Emergencies
 *-------------------------------------------------------------------------
 */

/* Whether keystone.break_glass_roles names a role. */
static bool
may_break_glass(const char *role)
{
	char	   *setting = pstrdup(ks_break_glass_roles);
	List	   *names = NIL;
	ListCell   *cell;

	if (!SplitIdentifierString(setting, ',', &names))
		return false;
	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), role) == 0 && (strcmp(role, "owner") == 0 || strcmp(role, "admin") == 0))
			return true;
	}
	return false;
}

static Datum
break_glass(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsPolicyAsk ask;
	KsDecision	decision;
	KsApprovalRow row;
	char		id[37];

	if (PG_ARGISNULL(4))
		ks_error_null("reason");
	(void) ks_text_name("reason", PG_GETARG_TEXT_PP(4), KS_REASON_MAX);
	ask_for(fcinfo, verb, &ask, &decision);
	if (verb->call.actor.delegated || !may_break_glass(ask.member.role))
		ks_error_denied("permission denied", "keystone.break_glass_roles says whose roles may do this; no API key may.");
	make_row(&ask, &decision, verb->reason, &row);
	row.break_glass = true;
	row.state = "approved";
	row.decided = true;
	row.decided_at = row.created_at;
	row.expires_at = row.created_at + ks_break_glass_time * USECS_PER_SEC;
	ks_approval_insert(&row);
	ks_approval_alert(&row);
	ks_approval_notify(&row, "break_glass");
	ks_text_from_uuid(row.id, id);
	ereport(LOG,
			errmsg("keystone: an emergency was declared"),
			errdetail_log("Request %s.", id));
	return ks_uuid_datum(row.id);
}

PG_FUNCTION_INFO_V1(ks_fn_break_glass);
/* break_glass(workspace, action, resource, parameters, reason) returns uuid */
Datum
ks_fn_break_glass(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APPROVAL_BREAK_GLASS, break_glass);
}

static Datum
review_break_glass(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsApprovalRow row;
	KsMembership member;
	const char *why;

	if (PG_ARGISNULL(1))
		ks_error_null("comment");
	(void) ks_text_name("comment", PG_GETARG_TEXT_PP(1), KS_REASON_MAX);
	check_comment(verb, fcinfo);
	lock_request(fcinfo, verb, &row, &why);
	if (!row.break_glass)
		ks_error_invalid("request", "an emergency", NULL);
	if (!ks_membership_of(&verb->call, row.workspace, &member) ||
		!(member.permissions & (KS_PERM_APPROVE | KS_PERM_AUDIT)) ||
		!ks_approval_is_other(&row, verb->call.actor.principal))
		ks_error_denied("permission denied", "Somebody else reviews it, who holds approve or audit, and whom the requester has not made.");
	if (!row.reviewed)
	{
		ks_approval_set_reviewed(&row, verb->call.actor.principal, verb->reason);
		ks_approval_notify(&row, "reviewed");
	}
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_review_break_glass);
/* review_break_glass(request, comment) returns void */
Datum
ks_fn_review_break_glass(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_APPROVAL_REVIEW, review_break_glass);
}


/*-------------------------------------------------------------------------
 * Previews
 *-------------------------------------------------------------------------
 */

static void
check_preview(const Jsonb *detail)
{
	StringInfoData json;

	if (!JB_ROOT_IS_OBJECT(detail))
		ks_error_invalid("detail", "a JSON object", NULL);
	initStringInfo(&json);
	(void) JsonbToCString(&json, unconstify(JsonbContainer *, &detail->root), (int) VARSIZE(detail));
	if (json.len > PREVIEW_MAX)
		ks_error_invalid("detail", psprintf("at most %d bytes long", PREVIEW_MAX), NULL);
	pfree(json.data);
}

static Datum
record_preview(FunctionCallInfo fcinfo, KsVerb *verb)
{
	const Jsonb *detail;
	KsCredential credential;
	KsPreviewRow row = {.created_at = GetCurrentTimestamp()};

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	detail = ks_arg_get_jsonb(fcinfo, 1, "detail");
	check_preview(detail);
	ks_begin_change();
	ks_lock_live_credential(verb, ks_arg_get_uuid(fcinfo, 0, "credential"), KS_ACCESS_ROTATE, &credential);
	ks_tenant_ensure_principal(&verb->call);
	if (ks_random_uuid(row.id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	memcpy(row.workspace, credential.workspace, KS_ID_LEN);
	memcpy(row.credential, credential.id, KS_ID_LEN);
	row.version = credential.current_version;
	memcpy(row.created_by, verb->call.actor.principal, KS_ID_LEN);
	ks_approval_insert_preview(&row, detail);
	return ks_uuid_datum(row.id);
}

PG_FUNCTION_INFO_V1(ks_fn_record_preview);
/* record_preview(credential, detail) returns uuid */
Datum
ks_fn_record_preview(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_CREDENTIAL_PREVIEW, record_preview);
}
