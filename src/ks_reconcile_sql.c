/*-------------------------------------------------------------------------
 *
 * ks_reconcile_sql.c
 *	  audit_reconcile().
 *
 * Everything is read with one snapshot.  What is wrong is a row of the result,
 * never an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "ks_args.h"
#include "ks_error.h"
#include "ks_readlog.h"
#include "ks_reconcile.h"
#include "ks_tenant.h"

/* What the result will have. */
typedef struct Found
{
	MemoryContext context;
	int			n;
	int			room;
	KsDiscrepancy *discrepancies;
	bool		broken;			/* KS_LOG_BROKEN is among them */
} Found;

/* That the log is broken is said when it is found and when a round begins. */
static void
add_found(void *arg, const KsDiscrepancy *discrepancy, bool reported)
{
	Found	   *found = arg;
	MemoryContext old;

	(void) reported;
	if (discrepancy->kind == KS_LOG_BROKEN && found->broken)
		return;
	found->broken |= discrepancy->kind == KS_LOG_BROKEN;
	old = MemoryContextSwitchTo(found->context);
	if (found->n == found->room)
	{
		found->room *= 2;
		found->discrepancies = repalloc_huge(found->discrepancies, found->room * sizeof(KsDiscrepancy));
	}
	found->discrepancies[found->n] = *discrepancy;
	found->discrepancies[found->n++].problem = pstrdup(discrepancy->problem);
	MemoryContextSwitchTo(old);
}

/* What is in the log as found is no news. */
static void
drop_found(void *arg, const KsDiscrepancy *discrepancy, bool reported)
{
	Found	   *found = arg;

	(void) reported;
	for (int i = 0; i < found->n; i++)
	{
		KsDiscrepancy *other = &found->discrepancies[i];

		if (other->kind != discrepancy->kind || memcmp(other->key, discrepancy->key, KS_ROW_KEY_LEN) != 0)
			continue;
		if (other->kind == KS_LOG_BROKEN)
			found->broken = false;
		*other = found->discrepancies[--found->n];
		return;
	}
}

/* Which workspace, and whether the caller may: PT404, 42501.  False for all. */
static bool
select_workspace(KsVerb *verb, const text *name, uint8 workspace[KS_ID_LEN])
{
	bool		manages = (verb->call.profiles & (KS_PROFILE_AUDITOR | KS_PROFILE_ADMIN)) != 0;
	KsMembership member;

	if (name == NULL && !manages)
		ks_error_denied("permission denied",
						"All rows need the profile auditor or admin; name a workspace in which you have the permission \"audit\".");
	if (name == NULL)
		return false;
	if (manages)
	{
		if (!ks_tenant_find_workspace(name, workspace))
			ks_error_not_found(NULL);
	}
	else
	{
		ks_membership(&verb->call, name, &member);
		memcpy(verb->workspace, member.workspace, KS_ID_LEN);
		if (!(member.permissions & KS_PERM_AUDIT))
			ks_require(&member, KS_PERM_AUDIT);
		memcpy(workspace, member.workspace, KS_ID_LEN);
	}
	memcpy(verb->workspace, workspace, KS_ID_LEN);
	return true;
}

/* Returns how many rows were compared. */
static int64
reconcile_all(const uint8 *workspace, Found *found, char **uncovered)
{
	const KsReconcileObserver observer = {.found = add_found, .settled = drop_found, .arg = found};
	KsReconcile *reconcile = ks_reconcile_make(workspace, &observer);
	Snapshot	snapshot = ks_spi_take_snapshot();
	int64		compared;

	(void) ks_reconcile_follow(reconcile, snapshot, INT_MAX);
	ks_reconcile_begin_round(reconcile);
	while (!ks_reconcile_compare(reconcile, snapshot))
		;
	ks_spi_drop_snapshot(snapshot);
	compared = ks_reconcile_compared(reconcile);
	*uncovered = ks_reconcile_uncovered(reconcile) == 0 ? NULL :
		psprintf(INT64_FORMAT " rows were not compared: the log begins after their last change",
				 ks_reconcile_uncovered(reconcile));
	ks_reconcile_free(reconcile);
	return compared;
}

static void
add_row(KsSetResult *set, const uint8 *credential, const char *problem)
{
	Datum		values[2] = {0};
	bool		nulls[2] = {credential == NULL, false};

	if (credential != NULL)
		values[0] = ks_uuid_datum(credential);
	values[1] = CStringGetTextDatum(problem);
	ks_set_add(set, values, nulls);
}

static Datum
audit_reconcile(FunctionCallInfo fcinfo, KsVerb *verb)
{
	uint8		workspace[KS_ID_LEN];
	bool		of_workspace;
	Found		found = {.context = CurrentMemoryContext, .room = 16};
	char	   *uncovered;
	KsSetResult set;
	int64		compared;

	ks_verb_enter(verb, KS_READLOG_PROFILES);
	of_workspace = select_workspace(verb, ks_arg_get_text_or_null(fcinfo, 0), workspace);
	found.discrepancies = palloc(found.room * sizeof(KsDiscrepancy));
	compared = reconcile_all(of_workspace ? workspace : NULL, &found, &uncovered);

	ks_detail_add(&verb->detail, "checked", psprintf(INT64_FORMAT, compared));
	if (found.n > 0)
		ks_detail_add(&verb->detail, "problem", psprintf("%d differences", found.n));
	ks_readlog_record(verb, 0);

	ks_set_begin(fcinfo, false, &set);
	for (int i = 0; i < found.n; i++)
		add_row(&set, found.discrepancies[i].has_credential ? found.discrepancies[i].credential : NULL,
				found.discrepancies[i].problem);
	if (uncovered != NULL)
		add_row(&set, NULL, uncovered);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(ks_fn_audit_reconcile);
/* audit_reconcile(workspace) returns setof (credential uuid, problem text) */
Datum
ks_fn_audit_reconcile(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_AUDIT_RECONCILE, audit_reconcile);
}
