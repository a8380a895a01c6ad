/*-------------------------------------------------------------------------
 *
 * cedar_json.c
 *	  Functions in SQL for the rooms of Cedar's JSON form, which Keystone
 *	  itself has no function for.
 *
 * It is made of the rooms' sources, and is for tests only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "ks_cedar_json.h"
#include "ks_cedar_print.h"
#include "ks_cedar_text.h"
#include "ks_cedar_to_json.h"

PG_MODULE_MAGIC;

extern Datum ks_fn_cedar_policy_to_json(PG_FUNCTION_ARGS);
extern Datum ks_fn_cedar_policy_to_text(PG_FUNCTION_ARGS);
extern Datum ks_fn_cedar_expr_to_json(PG_FUNCTION_ARGS);
extern Datum ks_fn_cedar_expr_to_text(PG_FUNCTION_ARGS);
extern Datum ks_fn_cedar_again(PG_FUNCTION_ARGS);

static KsCedarPolicies *
parse(const char *source)
{
	KsCedarError error;
	KsCedarPolicies *policies = ks_cedar_parse(source, strlen(source), &error);

	if (policies == NULL)
		ks_cedar_raise("source", source, &error);
	return policies;
}

static text *
to_text(KsCedarString string)
{
	return cstring_to_text_with_len(string.data, (int) string.len);
}

/* cedar_policy_to_json(text) RETURNS jsonb: of the first policy */
PG_FUNCTION_INFO_V1(ks_fn_cedar_policy_to_json);
Datum
ks_fn_cedar_policy_to_json(PG_FUNCTION_ARGS)
{
	KsCedarPolicies *policies = parse(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (policies->npolicies == 0)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(ks_cedar_policy_to_json(&policies->policies[0]));
}

/* cedar_policy_to_text(jsonb) RETURNS text */
PG_FUNCTION_INFO_V1(ks_fn_cedar_policy_to_text);
Datum
ks_fn_cedar_policy_to_text(PG_FUNCTION_ARGS)
{
	KsCedarError error;
	KsCedarPolicies policies = {1, ks_cedar_policy_from_json(PG_GETARG_JSONB_P(0), &error)};

	if (policies.policies == NULL)
		ks_cedar_raise("source", NULL, &error);
	PG_RETURN_TEXT_P(to_text(ks_cedar_print(&policies)));
}

/* cedar_expr_to_json(text) RETURNS jsonb */
PG_FUNCTION_INFO_V1(ks_fn_cedar_expr_to_json);
Datum
ks_fn_cedar_expr_to_json(PG_FUNCTION_ARGS)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	KsCedarError error;
	KsCedarExpr *expr = ks_cedar_parse_expr(source, strlen(source), &error);

	if (expr == NULL)
		ks_cedar_raise("source", source, &error);
	PG_RETURN_JSONB_P(ks_cedar_expr_to_json(expr));
}

/* cedar_expr_to_text(jsonb) RETURNS text */
PG_FUNCTION_INFO_V1(ks_fn_cedar_expr_to_text);
Datum
ks_fn_cedar_expr_to_text(PG_FUNCTION_ARGS)
{
	KsCedarError error;
	KsCedarExpr *expr = ks_cedar_expr_from_json(PG_GETARG_JSONB_P(0), &error);

	if (expr == NULL)
		ks_cedar_raise("source", NULL, &error);
	PG_RETURN_TEXT_P(to_text(ks_cedar_print_expr(expr)));
}

/* Whether policies are the same when they are read from what is written. */
static const char *
compare_again(const KsCedarPolicies *policies, bool through_json)
{
	KsCedarString written = ks_cedar_print(policies);
	KsCedarPolicies *again = parse(written.data);

	if (again->npolicies != policies->npolicies)
		return "another number of policies";
	for (int i = 0; i < policies->npolicies; i++)
	{
		const KsCedarPolicy *policy = &policies->policies[i];
		KsCedarPolicies one = {1, NULL};
		KsCedarError error;

		if (!ks_cedar_policy_equal(policy, &again->policies[i]))
			return "another policy from text";
		if (!through_json)
			continue;
		one.policies = ks_cedar_policy_from_json(ks_cedar_policy_to_json(policy), &error);
		if (one.policies == NULL)
			return error.problem;
		if (!ks_cedar_policy_equal(policy, one.policies))
			return "another policy from JSON";
		if (strcmp(compare_again(&one, false), "same") != 0)
			return "another policy from text of JSON";
	}
	return "same";
}

/*
 * cedar_again(text) RETURNS text: "same" if text, tree, text, tree and text,
 * tree, JSON, tree, text, tree are all the same
 */
PG_FUNCTION_INFO_V1(ks_fn_cedar_again);
Datum
ks_fn_cedar_again(PG_FUNCTION_ARGS)
{
	KsCedarPolicies *policies = parse(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_TEXT_P(cstring_to_text(compare_again(policies, true)));
}
