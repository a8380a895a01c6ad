/*-------------------------------------------------------------------------
 *
 * cedar_text.c
 *	  Fuzzes Cedar's text: whatever is read as policies or as an expression
 *	  is written as text that is read back as the same, and written the same
 *	  again; what is not read has a problem at a place within the text.
 *
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "ks_cedar_print.h"
#include "ks_cedar_text.h"

static void
check_error(const KsCedarError *error, size_t size)
{
	REQUIRE(error->problem != NULL);
	REQUIRE(error->position >= 0 && (size_t) error->position <= size);
}

static void
check_expr(const char *text, size_t size)
{
	KsCedarError error;
	KsCedarExpr *expr = ks_cedar_parse_expr(text, size, &error);
	KsCedarString written;
	KsCedarString rewritten;
	KsCedarExpr *again;
	char	   *exact;

	if (expr == NULL)
	{
		check_error(&error, size);
		return;
	}
	REQUIRE(error.problem == NULL && expr->depth <= KS_CEDAR_DEPTH_MAX);
	written = ks_cedar_print_expr(expr);
	exact = fuzz_copy(written.data, written.len);
	again = ks_cedar_parse_expr(exact, written.len, &error);
	REQUIRE(again != NULL && ks_cedar_expr_equal(expr, again));
	rewritten = ks_cedar_print_expr(again);
	REQUIRE(ks_cedar_string_equal(written, rewritten));
	free(exact);
}

static void
check_policies(const char *text, size_t size)
{
	KsCedarError error;
	KsCedarPolicies *policies = ks_cedar_parse(text, size, &error);
	KsCedarString written;
	KsCedarPolicies *again;
	char	   *exact;

	if (policies == NULL)
	{
		check_error(&error, size);
		return;
	}
	REQUIRE(error.problem == NULL);
	written = ks_cedar_print(policies);
	exact = fuzz_copy(written.data, written.len);
	again = ks_cedar_parse(exact, written.len, &error);
	REQUIRE(again != NULL && again->npolicies == policies->npolicies);
	for (int i = 0; i < policies->npolicies; i++)
		REQUIRE(ks_cedar_policy_equal(&policies->policies[i], &again->policies[i]));
	REQUIRE(ks_cedar_string_equal(written, ks_cedar_print(again)));
	free(exact);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text = fuzz_copy(data, size);

	check_expr(text, size);
	check_policies(text, size);
	ks_cedar_release();
	REQUIRE(size == 0 || memcmp(text, data, size) == 0);
	free(text);
	return 0;
}
