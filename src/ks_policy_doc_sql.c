/*-------------------------------------------------------------------------
 *
 * ks_policy_doc_sql.c
 *	  Policy documents as SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "ks_args.h"
#include "ks_policy_doc.h"

PG_FUNCTION_INFO_V1(ks_fn_policy_validate);
/* policy_validate(document jsonb) returns setof (path text, severity text, message text) */
Datum
ks_fn_policy_validate(PG_FUNCTION_ARGS)
{
	const Jsonb *document = ks_arg_get_jsonb(fcinfo, 0, "document");
	KsPolicyProblems problems;
	KsSetResult set;

	ks_set_begin(fcinfo, false, &set);
	(void) ks_policy_doc_read(document, &problems);
	for (int i = 0; i < problems.n; i++)
	{
		const KsPolicyProblem *problem = &problems.problems[i];
		Datum		values[] = {
			CStringGetTextDatum(problem->path),
			CStringGetTextDatum(problem->warning ? "warning" : "error"),
			CStringGetTextDatum(problem->message)
		};
		bool		nulls[] = {false, false, false};

		ks_set_add(&set, values, nulls);
	}
	return (Datum) 0;
}
