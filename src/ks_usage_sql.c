/*-------------------------------------------------------------------------
 *
 * ks_usage_sql.c
 *	  Usage and budgets as SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_period.h"
#include "ks_text.h"
#include "ks_usage.h"
#include "ks_vault_args.h"

/* usage_record() */

/* The event that a correction is about: "corrects" in the context. */
static const uint8 *
get_corrected(const Jsonb *context)
{
	char	   *word = ks_usage_context(context, "corrects");
	uint8	   *id = palloc(KS_ID_LEN);

	if (word == NULL || !ks_text_uuid(word, id))
		ks_error_invalid("context", "an object with the uuid of an event as \"corrects\" when the quantity is negative", NULL);
	return id;
}

/* Quantity and cost, which have one sign: what is used costs, and what is
 * taken back is given back. */
static void
get_amounts(FunctionCallInfo fcinfo, KsUsage *usage)
{
	if (PG_ARGISNULL(2))
		ks_error_null("quantity");
	usage->quantity = PG_GETARG_INT64(2);
	if (usage->quantity == 0)
		ks_error_invalid("quantity", "another number than 0", NULL);
	usage->has_cost = !PG_ARGISNULL(3);
	if (!usage->has_cost)
		return;
	usage->cost_micros = PG_GETARG_INT64(3);
	if (usage->quantity > 0 && usage->cost_micros < 0)
		ks_error_invalid("cost_micros", "0 or greater", "A correction has a negative quantity.");
	if (usage->quantity < 0 && usage->cost_micros > 0)
		ks_error_invalid("cost_micros", "0 or less in a correction", NULL);
}

/* On whose account it is: the caller's, or another member's. */
static void
get_principal(FunctionCallInfo fcinfo, const KsVerb *verb, KsUsage *usage)
{
	const uint8 *given = ks_arg_get_uuid_or_null(fcinfo, 4);

	usage->principal = verb->call.actor.principal;
	if (given == NULL || memcmp(given, usage->principal, KS_ID_LEN) == 0)
		return;
	if (ks_permissions_of(given, usage->workspace) == 0)
		ks_error_not_found("The principal is no member of the workspace.");
	usage->principal = given;
}

static Datum
usage_record(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	KsUsage		usage = {0};
	Jsonb	   *context;
	text	   *key = ks_arg_get_text_or_null(fcinfo, 6);
	uint8		id[KS_ID_LEN];

	ks_verb_enter_known(verb, KS_PROFILE_WORKER);
	usage.provider = ks_text_name("provider", ks_arg_get_text(fcinfo, 1, "provider"), KS_PROVIDER_MAX);
	get_amounts(fcinfo, &usage);
	context = ks_arg_get_jsonb(fcinfo, 5, "context");
	ks_verb_why(verb, NULL, context);
	usage.context = context;
	if (usage.quantity < 0)
		usage.corrects = get_corrected(context);
	usage.idempotency_key = key != NULL ? ks_text_name("idempotency_key", key, KS_NAME_MAX) : NULL;
	ks_begin_change();
	ks_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	usage.workspace = member.workspace;
	if (usage.corrects != NULL)
		ks_require(&member, KS_PERM_BILLING);
	else
		ks_require_any(&member, KS_PERM_REVEAL | KS_PERM_ROTATE);
	ks_require_usable(&member);
	member.environments = NULL; /* usage has none */
	ks_require_within(&member, NULL, usage.provider);
	get_principal(fcinfo, verb, &usage);
	ks_usage_record(&usage, id);
	return ks_uuid_datum(id);
}

PG_FUNCTION_INFO_V1(ks_fn_usage_record);
/* usage_record(workspace, provider, quantity, cost_micros, principal, context, idempotency_key) returns uuid */
Datum
ks_fn_usage_record(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_USAGE_RECORD, usage_record);
}

/* budget_set() */

static bool
get_micros(FunctionCallInfo fcinfo, int n, const char *name, int64 *micros)
{
	if (PG_ARGISNULL(n))
		return false;
	*micros = PG_GETARG_INT64(n);
	if (*micros < 0)
		ks_error_invalid(name, "0 or greater", NULL);
	return true;
}

static Datum
budget_set(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	KsBudget	budget = {0};
	KsPeriodKind kind;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	budget.has_soft = get_micros(fcinfo, 1, "soft_micros", &budget.soft_micros);
	budget.has_hard = get_micros(fcinfo, 2, "hard_micros", &budget.hard_micros);
	if (budget.has_soft && budget.has_hard && budget.soft_micros > budget.hard_micros)
		ks_error_invalid("soft_micros", "at most hard_micros", NULL);
	if (!ks_period_kind(text_to_cstring(ks_arg_get_text(fcinfo, 3, "period")), &kind))
		ks_error_invalid("period", "day, week or month", NULL);
	budget.period = ks_period_name(kind);
	ks_begin_change();
	ks_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	ks_require(&member, KS_PERM_BILLING);
	ks_require_usable(&member);
	budget.workspace = member.workspace;
	budget.by = verb->call.actor.principal;
	ks_usage_set_budget(&budget);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_budget_set);
/* budget_set(workspace, soft_micros, hard_micros, period) returns void */
Datum
ks_fn_budget_set(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_BUDGET_SET, budget_set);
}

PG_FUNCTION_INFO_V1(ks_fn_usage_guard);
/* keystone_private.usage_guard() returns trigger: BEFORE UPDATE OR DELETE, row, on usage_events */
Datum
ks_fn_usage_guard(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function was not called by a trigger"));
	ks_error_denied("events of usage are not changed",
					"Correct one with keystone.usage_record() and a negative quantity.");
}

PG_FUNCTION_INFO_V1(ks_fn_period_at);
/* keystone_private.period_at(period, anchor, moment) returns (period_start, period_end) */
Datum
ks_fn_period_at(PG_FUNCTION_ARGS)
{
	KsPeriodKind kind;
	KsPeriod	period;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (!ks_period_kind(text_to_cstring(ks_arg_get_text(fcinfo, 0, "period")), &kind))
		ks_error_invalid("period", "day, week or month", NULL);
	if (PG_ARGISNULL(1))
		ks_error_null("anchor");
	if (PG_ARGISNULL(2))
		ks_error_null("moment");
	ks_period_at(kind, PG_GETARG_TIMESTAMPTZ(1), PG_GETARG_TIMESTAMPTZ(2), &period);
	values[0] = TimestampTzGetDatum(period.start);
	values[1] = TimestampTzGetDatum(period.end);
	return ks_row_result(fcinfo, values, nulls);
}
