/*-------------------------------------------------------------------------
 *
 * ks_gate.c
 *	  Where verbs obey policy.
 *
 * The common case, no document that could bind, costs two look-ups in the
 * cache of policies.  Otherwise the request is made, decided, and what its
 * duties want is looked for: an approval is claimed last, when nothing else is
 * missing, since a claim is spent whatever comes after it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "ks_approval.h"
#include "ks_gate.h"
#include "ks_jsonb.h"
#include "ks_policy_store.h"
#include "ks_text.h"

#define NOTIFY_CHANNEL	"keystone_policy"
#define PARAMETERS_MAX	4000	/* bytes of JSON in an error */
#define POLICIES_MAX	1000	/* bytes of the names of policies in an entry */
#define PAYLOAD_MAX		7900	/* bytes of a notification; the server takes
								 * 7999 */

static const uint8 nil[KS_ID_LEN] = {0};

/* What is still missing, and what becomes of the request. */
typedef struct Outcome
{
	KsDecision	decision;
	KsDecisionKind kind;
	Jsonb	   *missing;		/* obligations that are not met */
	bool		wants_approval; /* missing are, among others: */
	bool		wants_preview;
	bool		wants_reason;
	bool		wants_mfa;
	const char *problem;		/* of the approval that was given; NULL: none */
	TimestampTz not_before;		/* 0: not told */
} Outcome;


/*-------------------------------------------------------------------------
 * What is missing
 *-------------------------------------------------------------------------
 */

/* The member "type" of an obligation. */
static char *
type_of(const JsonbValue *obligation)
{
	char	   *type = obligation->type != jbvBinary ? NULL : ks_jsonb_text(obligation->val.binary.data, "type");

	return type != NULL ? type : pstrdup("");
}

/* Whether an obligation is missing still; notes which kind it is of. */
static bool
is_missing(Outcome *outcome, const char *type, bool has_preview, bool has_approval)
{
	if (strcmp(type, ks_policy_obligation_name(KS_OBLIGE_PREVIEW)) == 0)
		return outcome->wants_preview = !has_preview;
	if (strcmp(type, ks_policy_obligation_name(KS_OBLIGE_APPROVAL)) == 0 ||
		strcmp(type, ks_policy_obligation_name(KS_OBLIGE_WAIT)) == 0)
		return outcome->wants_approval = !has_approval;
	if (strcmp(type, ks_policy_obligation_name(KS_OBLIGE_REASON)) == 0)
		outcome->wants_reason = true;
	else if (strcmp(type, ks_policy_obligation_name(KS_OBLIGE_MFA)) == 0)
		outcome->wants_mfa = true;
	return true;
}

/* The obligations that are not met by what was given, as an array. */
static void
find_missing(Outcome *outcome, bool has_preview, bool has_approval)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator = JsonbIteratorInit(&outcome->decision.obligations->root);
	JsonbValue	item;
	JsonbIteratorToken token;
	JsonbValue *result;
	int			n = 0;

	outcome->wants_approval = outcome->wants_preview = false;
	outcome->wants_reason = outcome->wants_mfa = false;
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM || !is_missing(outcome, type_of(&item), has_preview, has_approval))
			continue;
		(void) pushJsonbValue(&state, WJB_ELEM, &item);
		n++;
	}
	result = pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	outcome->missing = JsonbValueToJsonb(result);
	outcome->kind = n > 0 ? KS_REQUIRE : KS_PERMIT;
}

/* Uses the approval that was given, or only looks at it. */
static void
use_approval(KsVerb *verb, const KsPolicyRequest *request, Outcome *outcome, bool has_preview)
{
	KsApprovalAnswer answer;

	answer = verb->dry_run ? ks_approval_check(request, &outcome->decision, &outcome->not_before) :
		ks_approval_claim(verb, request, &outcome->decision, &outcome->not_before);
	if (answer == KS_APPROVAL_OK)
		return;
	find_missing(outcome, has_preview, false);
	outcome->problem = ks_approval_answer_text(answer);
	outcome->kind = KS_REQUIRE;
	if (answer != KS_APPROVAL_WAIT)
		outcome->not_before = 0;
}

/* Decides, and finds what is missing. */
static void
decide(KsVerb *verb, const KsPolicyRequest *request, Outcome *outcome)
{
	KsDecision *decision = &outcome->decision;
	bool		has_preview;

	memset(outcome, 0, sizeof(*outcome));
	ks_policy_evaluate(request, decision);
	outcome->kind = decision->kind;
	outcome->missing = decision->obligations;
	outcome->not_before = decision->not_before;
	if (decision->kind == KS_DENY || decision->kind == KS_DEFER)
		return;
	has_preview = decision->approval.preview && request->credential != NULL &&
		ks_approval_has_preview(request->credential, decision->approval.preview_age, request->now);
	find_missing(outcome, has_preview, request->approval != NULL);
	if (outcome->kind == KS_PERMIT && request->approval != NULL)
		use_approval(verb, request, outcome, has_preview);
}


/*-------------------------------------------------------------------------
 * What the log says
 *-------------------------------------------------------------------------
 */

static const JsonbValue *
find_member(const JsonbValue *object, const char *key, JsonbValue *room)
{
	return object->type != jbvBinary ? NULL :
		ks_jsonb_member(object->val.binary.data, key, room);
}

/* "policy@version", for each policy whose rules the outcome is of, once. */
static char *
policies_of(const Jsonb *reasons)
{
	JsonbIterator *iterator = JsonbIteratorInit(unconstify(JsonbContainer *, &reasons->root));
	StringInfoData list;
	JsonbValue	item;
	JsonbIteratorToken token;
	char	   *last = NULL;

	initStringInfo(&list);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		JsonbValue	room[2];
		const JsonbValue *policy = token == WJB_ELEM ? find_member(&item, "policy", &room[0]) : NULL;
		const JsonbValue *version = token == WJB_ELEM ? find_member(&item, "version", &room[1]) : NULL;
		char	   *name;

		if (policy == NULL || policy->type != jbvString || version == NULL || version->type != jbvNumeric)
			continue;
		name = psprintf("%.*s@%s", policy->val.string.len, policy->val.string.val,
						DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(version->val.numeric))));
		if (last != NULL && strcmp(last, name) == 0)
			continue;			/* its rules stand together */
		if (list.len + strlen(name) + 1 > POLICIES_MAX)
			break;
		appendStringInfo(&list, "%s%s", list.len > 0 ? "," : "", name);
		last = name;
	}
	return list.data;
}

/*
 * What a verb's entry says of policy.  Nothing when no rule is about the
 * request and no approval was used.
 */
static void
note(KsVerb *verb, const KsPolicyRequest *request, const Outcome *outcome)
{
	KsDetail   *detail = &verb->detail;
	char	   *approval;

	ks_detail_add(detail, "policies", policies_of(outcome->decision.reasons));
	if (outcome->kind != KS_PERMIT)
		ks_detail_add(detail, "decision", ks_decision_name(outcome->kind));
	if (request->approval != NULL)
	{
		approval = palloc(37);
		ks_text_from_uuid(request->approval, approval);
		ks_detail_add(detail, "approval", approval);
	}
	if (outcome->decision.notify != NULL)
		ks_detail_add(detail, "notify", JsonbToCString(NULL, &outcome->decision.notify->root, 0));
	if (outcome->decision.shadow != NULL)
		ks_detail_add(detail, "shadow", ks_jsonb_text(&outcome->decision.shadow->root, "decision"));
}

/*
 * Tells who listens: ids, and the channels by the names that the policies give
 * them, but no name of a credential or person, since anybody may.  When the
 * queue of the server is nearly full nobody is told; the log has it in any
 * case.
 */
static void
notify(const KsPolicyRequest *request, const Jsonb *channels)
{
	StringInfoData json;
	char		id[37];

	if (DatumGetFloat8(DirectFunctionCall1(pg_notification_queue_usage, (Datum) 0)) > 0.9)
		return;
	initStringInfo(&json);
	ks_text_from_uuid(ks_policy_request_workspace(request), id);
	appendStringInfo(&json, "{\"workspace\": \"%s\", \"action\": \"%s\"", id, request->action);
	if (request->credential != NULL && memcmp(request->credential->id, nil, KS_ID_LEN) != 0)
	{
		ks_text_from_uuid(request->credential->id, id);
		appendStringInfo(&json, ", \"credential\": \"%s\"", id);
	}
	ks_text_from_uuid(request->call->actor.principal, id);
	appendStringInfo(&json, ", \"principal\": \"%s\", \"channels\": %s}", id,
					 JsonbToCString(NULL, unconstify(JsonbContainer *, &channels->root), 0));
	if (json.len < PAYLOAD_MAX)
		Async_Notify(NOTIFY_CHANNEL, json.data);
	pfree(json.data);
}


/*-------------------------------------------------------------------------
 * What the caller is told
 *-------------------------------------------------------------------------
 */

static void
put_id(StringInfo json, const char *key, const uint8 *id)
{
	char		word[37];

	ks_text_from_uuid(id, word);
	appendStringInfo(json, "\"%s\": \"%s\"", key, word);
}

static void
put_text(StringInfo json, const char *key, const char *text)
{
	if (text == NULL)
		return;
	appendStringInfo(json, "%s\"%s\": ", json->data[json->len - 1] == '{' ? "" : ", ", key);
	escape_json(json, text);
}

/* The resource as request_approval() takes it. */
static char *
resource_json(const KsPolicyRequest *request)
{
	const KsCredential *credential = request->credential;
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	if (credential != NULL && memcmp(credential->id, nil, KS_ID_LEN) != 0)
	{
		put_id(&json, "credential", credential->id);
		if (request->version != credential->current_version)
			appendStringInfo(&json, ", \"version\": %d", request->version);
	}
	else if (credential != NULL)
	{
		put_text(&json, "name", credential->name);
		put_text(&json, "environment", credential->environment);
		put_text(&json, "provider", credential->provider);
		put_text(&json, "kind", credential->kind);
		if (credential->personal)
			appendStringInfoString(&json, ", \"personal\": true");
	}
	else if (request->name != NULL)
	{
		put_text(&json, "type", request->resource_type);
		put_text(&json, "name", request->name);
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* The parameters as request_approval() takes them; NULL when they are too long
 * to be told, as a policy's document may be. */
static char *
parameters_json(const KsPolicyRequest *request)
{
	char	   *json;

	if (request->parameters == NULL)
		return pstrdup("{}");
	json = JsonbToCString(NULL, unconstify(JsonbContainer *, &request->parameters->root), 0);
	return strlen(json) <= PARAMETERS_MAX ? json : NULL;
}

/* The arguments of request_approval(), as PostgREST takes them. */
static void
put_body(StringInfo json, const KsPolicyRequest *request)
{
	char	   *parameters = parameters_json(request);

	appendStringInfoString(json, ", \"request_approval\": {");
	put_id(json, "workspace", ks_policy_request_workspace(request));
	appendStringInfo(json, ", \"action\": \"%s\", \"resource\": %s", request->action, resource_json(request));
	if (parameters != NULL)
		appendStringInfo(json, ", \"parameters\": %s", parameters);
	appendStringInfoChar(json, '}');
}

/* DETAIL. */
static char *
detail_of(const KsVerb *verb, const KsPolicyRequest *request, const Outcome *outcome)
{
	StringInfoData json;
	char		time[MAXDATELEN + 1];
	const int	utc = 0;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"decision\": \"%s\", \"action\": \"%s\", \"reasons\": %s",
					 ks_decision_name(outcome->kind), request->action,
					 JsonbToCString(NULL, &outcome->decision.reasons->root, 0));
	if (outcome->kind == KS_REQUIRE)
		appendStringInfo(&json, ", \"obligations\": %s", JsonbToCString(NULL, &outcome->missing->root, 0));
	if (outcome->kind == KS_DEFER || outcome->not_before != 0)
	{
		if (outcome->not_before != 0)
			(void) JsonEncodeDateTime(time, TimestampTzGetDatum(outcome->not_before), TIMESTAMPTZOID, &utc);
		put_text(&json, "not_before", outcome->not_before != 0 ? time : NULL);
	}
	put_text(&json, "approval", outcome->problem);
	if (outcome->wants_approval && verb->takes_approval)
		put_body(&json, request);
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* The call that asks for approval. */
static void
put_call(StringInfo hint, const KsPolicyRequest *request)
{
	char	   *parameters = parameters_json(request);
	char		workspace[37];

	ks_text_from_uuid(ks_policy_request_workspace(request), workspace);
	appendStringInfo(hint, "SELECT keystone.request_approval('%s', '%s', %s, %s);", workspace, request->action,
					 quote_literal_cstr(resource_json(request)),
					 parameters != NULL ? quote_literal_cstr(parameters) : "jsonb_build_object(...)");
}

/* HINT: what meets the obligations, a line for each. */
static char *
hint_of(const KsVerb *verb, const KsPolicyRequest *request, const Outcome *outcome)
{
	StringInfoData hint;
	char		id[37];

	initStringInfo(&hint);
	if (outcome->wants_approval && verb->takes_approval && outcome->not_before == 0)
		put_call(&hint, request);
	if (outcome->wants_preview && request->credential != NULL)
	{
		ks_text_from_uuid(request->credential->id, id);
		appendStringInfo(&hint, "%sSELECT keystone.record_preview('%s', '{\"effect\": \"what would happen\"}');",
						 hint.len > 0 ? "\n" : "", id);
	}
	if (outcome->wants_reason && verb->takes_reason)
		appendStringInfo(&hint, "%sSay why: reason => '...'.", hint.len > 0 ? "\n" : "");
	if (outcome->wants_mfa)
		appendStringInfo(&hint, "%sSign in again with a second factor.", hint.len > 0 ? "\n" : "");
	return hint.len > 0 ? hint.data : NULL;
}

/* Whether the verb has no parameter that could meet what is missing. */
static bool
is_out_of_reach(const KsVerb *verb, const Outcome *outcome)
{
	return (outcome->wants_approval && !verb->takes_approval) || (outcome->wants_reason && !verb->takes_reason);
}

#define OUT_OF_REACH_HINT	"Policy requires what this function has no parameter for."
#define TARGET_HINT	"Policy requires an approval for what the credential would become; make that another credential."

KS_NORETURN static void refuse(const KsVerb *verb, const KsPolicyRequest *request,
							   const Outcome *outcome) KS_NORETURN_END;

static void
refuse(const KsVerb *verb, const KsPolicyRequest *request, const Outcome *outcome)
{
	char	   *detail = detail_of(verb, request, outcome);

	if (outcome->kind == KS_DENY)
		ks_error_policy(detail, NULL);
	if (outcome->kind == KS_DEFER)
		ks_error_precondition(KS_POLICY_DEFERS, detail, NULL);
	if (is_out_of_reach(verb, outcome))
		ks_error_policy(detail, OUT_OF_REACH_HINT);
	ks_error_precondition(KS_POLICY_REQUIRES, detail, hint_of(verb, request, outcome));
}


/*-------------------------------------------------------------------------
 * Verbs
 *-------------------------------------------------------------------------
 */

/* What a caller keeps although its transaction is rolled back. */
static bool
gives_values(const char *action)
{
	return strcmp(action, "reveal") == 0 || strcmp(action, "decrypt") == 0 || strcmp(action, "export_bundle") == 0;
}

bool
ks_gate_is_silent(const KsVerb *verb, const uint8 workspace[KS_ID_LEN], const char *action)
{
	if (gives_values(action) && ks_policy_store_loosened_here())
		ks_error_denied("a policy was changed in this transaction", "Commit first.");
	return !verb->has_approval && ks_policy_is_silent(workspace, action);
}

void
ks_gate(KsVerb *verb, const KsPolicyRequest *request)
{
	Outcome		outcome;

	if (ks_gate_is_silent(verb, ks_policy_request_workspace(request), request->action))
		return;
	decide(verb, request, &outcome);
	note(verb, request, &outcome);
	if (outcome.kind != KS_PERMIT)
		refuse(verb, request, &outcome);
	if (outcome.decision.notify != NULL && !verb->dry_run)
		notify(request, outcome.decision.notify);
}

/* What a verb has of a request. */
static void
make_request(const KsVerb *verb, const char *action, const char *resource_type, KsPolicyRequest *request)
{
	memset(request, 0, sizeof(*request));
	request->call = &verb->call;
	request->action = action;
	request->resource_type = resource_type;
	request->claimed = verb->context;
	request->reason = verb->reason;
	request->approval = verb->has_approval ? verb->approval : NULL;
	request->now = GetCurrentTimestamp();
	request->mfa_at = verb->call.actor.mfa_at;
}

void
ks_gate_credential(KsVerb *verb, const KsMembership *member, const char *action,
				   const KsCredential *credential, int32 version, const Jsonb *parameters)
{
	KsPolicyRequest request;
	KsMembership found;

	if (ks_gate_is_silent(verb, credential->workspace, action))
		return;
	make_request(verb, action, "credential", &request);
	if (member == NULL && ks_membership_of(&verb->call, credential->workspace, &found))
		member = &found;
	request.member = member;
	request.credential = credential;
	request.version = version;
	request.parameters = parameters;
	ks_gate(verb, &request);
}

static bool
is_same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/*
 * What a credential is to become must be permitted by itself.  Its duties are
 * met by what is given for the change, which is asked for as a change of what
 * it is now: request is about that.
 */
static void
check_target(KsVerb *verb, const KsPolicyRequest *request, const KsCredential *after)
{
	KsPolicyRequest target = *request;
	KsDecision	now;
	Outcome		outcome = {.not_before = 0};
	KsDecision *decision = &outcome.decision;
	KsApprovalAnswer answer = KS_APPROVAL_OK;
	bool		has_preview;

	target.credential = after;
	ks_policy_evaluate(&target, decision);
	ks_policy_evaluate(request, &now);
	memcpy(decision->request_hash, now.request_hash, KS_DIGEST_LEN);
	outcome.kind = decision->kind;
	outcome.missing = decision->obligations;
	outcome.not_before = decision->not_before;
	if (outcome.kind == KS_PERMIT || outcome.kind == KS_REQUIRE)
	{
		has_preview = decision->approval.preview &&
			ks_approval_has_preview(request->credential, decision->approval.preview_age, request->now);
		find_missing(&outcome, has_preview, request->approval != NULL);
		if (outcome.kind == KS_PERMIT && decision->approval.n_factors > 0)
			answer = ks_approval_check(request, decision, &outcome.not_before);
		if (answer != KS_APPROVAL_OK)
		{
			find_missing(&outcome, has_preview, false);
			outcome.problem = ks_approval_answer_text(answer);
		}
	}
	if (outcome.kind == KS_PERMIT)
		return;
	note(verb, request, &outcome);
	if (outcome.wants_approval && now.approval.n_factors == 0 && now.kind != KS_DENY)
		ks_error_policy(detail_of(verb, request, &outcome), TARGET_HINT);
	refuse(verb, request, &outcome);
}

void
ks_gate_change(KsVerb *verb, const char *action, const KsCredential *before, const KsCredential *after,
			   const Jsonb *parameters)
{
	KsPolicyRequest request;
	KsMembership member;

	if (ks_gate_is_silent(verb, before->workspace, action))
		return;
	make_request(verb, action, "credential", &request);
	if (ks_membership_of(&verb->call, before->workspace, &member))
		request.member = &member;
	request.credential = before;
	request.version = before->current_version;
	request.parameters = parameters;
	if (strcmp(before->name, after->name) != 0 || strcmp(before->environment, after->environment) != 0 ||
		!is_same_text(before->kind, after->kind) || !is_same_text(before->provider, after->provider))
		check_target(verb, &request, after);
	ks_gate(verb, &request);
}

void
ks_gate_object(KsVerb *verb, const KsMembership *member, const char *action,
			   const char *resource_type, const char *name, const Jsonb *parameters)
{
	KsPolicyRequest request;

	if (ks_gate_is_silent(verb, member != NULL ? member->workspace : nil, action))
		return;
	make_request(verb, action, resource_type, &request);
	request.member = member;
	request.name = name;
	request.parameters = parameters;
	ks_gate(verb, &request);
}

bool
ks_gate_row(KsVerb *verb, const KsCredential *credential, int32 version, KsProblem *problem)
{
	KsPolicyRequest request;
	KsMembership member;
	Outcome		outcome;

	if (ks_gate_is_silent(verb, credential->workspace, "reveal"))
		return true;
	make_request(verb, "reveal", "credential", &request);
	if (ks_membership_of(&verb->call, credential->workspace, &member))
		request.member = &member;
	request.credential = credential;
	request.version = version;
	decide(verb, &request, &outcome);
	note(verb, &request, &outcome);
	if (outcome.kind == KS_PERMIT)
	{
		if (outcome.decision.notify != NULL)
			notify(&request, outcome.decision.notify);
		return true;
	}
	problem->sqlstate = outcome.kind == KS_DENY ? ERRCODE_INSUFFICIENT_PRIVILEGE : KS_ERRCODE_PRECONDITION;
	problem->message = outcome.kind == KS_DENY ? KS_POLICY_DENIES :
		outcome.kind == KS_DEFER ? KS_POLICY_DEFERS : KS_POLICY_REQUIRES;
	problem->detail = detail_of(verb, &request, &outcome);
	problem->policy = true;
	return false;
}


/*-------------------------------------------------------------------------
 * Parameters
 *-------------------------------------------------------------------------
 */

Jsonb *
ks_gate_parameter(const Jsonb *object, const char *key, const JsonbValue *value)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;
	JsonbValue *result;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (object != NULL)
	{
		iterator = JsonbIteratorInit(unconstify(JsonbContainer *, &object->root));
		while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
		{
			if (token == WJB_KEY || token == WJB_VALUE)
				(void) pushJsonbValue(&state, token, &item);
		}
	}
	item.type = jbvString;
	item.val.string.val = unconstify(char *, key);
	item.val.string.len = (int) strlen(key);
	(void) pushJsonbValue(&state, WJB_KEY, &item);
	item = *value;
	(void) pushJsonbValue(&state, WJB_VALUE, &item);
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(result);
}

Jsonb *
ks_gate_text_parameter(const Jsonb *object, const char *key, const char *value)
{
	JsonbValue	text;

	text.type = jbvString;
	text.val.string.val = unconstify(char *, value);
	text.val.string.len = (int) strlen(value);
	return ks_gate_parameter(object, key, &text);
}

Jsonb *
ks_gate_texts_parameter(const Jsonb *object, const char *key, Datum array)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;
	JsonbValue *result;
	Jsonb	   *texts;
	Datum	   *elements;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		value.type = jbvString;
		value.val.string.val = TextDatumGetCString(elements[i]);
		value.val.string.len = (int) strlen(value.val.string.val);
		(void) pushJsonbValue(&state, WJB_ELEM, &value);
	}
	result = pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	texts = JsonbValueToJsonb(result);
	value.type = jbvBinary;
	value.val.binary.data = &texts->root;
	value.val.binary.len = (int) (VARSIZE(texts) - VARHDRSZ);
	return ks_gate_parameter(object, key, &value);
}
