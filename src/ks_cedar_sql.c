/*-------------------------------------------------------------------------
 *
 * ks_cedar_sql.c
 *	  Cedar as an SQL function.
 *
 * Policies and entities that are the same as in the call before are not read
 * again, so that a query that asks for many requests is fast.  "The same" is
 * compared byte by byte: a hash could be made to collide.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "ks_args.h"
#include "ks_cedar_ast.h"
#include "ks_cedar_data.h"
#include "ks_cedar_eval.h"
#include "ks_cedar_text.h"

/* An argument that was read, and what it was read into, which points into it. */
typedef struct Kept
{
	MemoryContext context;		/* NULL: nothing is kept */
	struct varlena *source;
	union
	{
		KsCedarPrepared *policies;
		KsCedarEntities *entities;
	}			of;
	Datum	   *names;			/* of the policies */
} Kept;

/* Of one call site; fn_extra. */
typedef struct Cache
{
	Kept		policies;
	Kept		entities;
	TupleDesc	desc;
} Cache;

static Cache *
get_cache(FunctionCallInfo fcinfo)
{
	Cache	   *cache = fcinfo->flinfo->fn_extra;
	MemoryContext old;
	TupleDesc	desc;

	if (cache != NULL)
		return cache;
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	cache = palloc0(sizeof(Cache));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "function does not return a row");
	cache->desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = cache;
	return cache;
}

static bool
is_kept(const Kept *kept, const void *source)
{
	return kept->context != NULL && VARSIZE_ANY_EXHDR(kept->source) == VARSIZE_ANY_EXHDR(source) &&
		memcmp(VARDATA_ANY(kept->source), VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source)) == 0;
}

/*
 * Forgets what is kept and begins to keep another: gives the context for it,
 * which is the call's until end_to_keep().
 */
static MemoryContext
begin_to_keep(Kept *kept)
{
	MemoryContext context = kept->context;

	kept->context = NULL;
	if (context != NULL)
		MemoryContextDelete(context);
	return AllocSetContextCreate(CurrentMemoryContext, "keystone cedar", ALLOCSET_SMALL_SIZES);
}

static void
end_to_keep(FunctionCallInfo fcinfo, Kept *kept, MemoryContext context)
{
	MemoryContextSetParent(context, fcinfo->flinfo->fn_mcxt);
	kept->context = context;
}

/* Also followed by a NUL, for the place of an error. */
static struct varlena *
copy_source(const void *source)
{
	char	   *copy = palloc0(VARSIZE_ANY(source) + 1);

	memcpy(copy, source, VARSIZE_ANY(source));
	return (struct varlena *) copy;
}

static void
read_policies(FunctionCallInfo fcinfo, Kept *kept, const text *source)
{
	MemoryContext context = begin_to_keep(kept);
	MemoryContext old = MemoryContextSwitchTo(context);
	KsCedarError error = {.position = -1};
	KsCedarPolicies *policies;

	kept->source = copy_source(source);
	policies = ks_cedar_parse(VARDATA_ANY(kept->source), VARSIZE_ANY_EXHDR(kept->source), &error);
	if (policies == NULL)
	{
		MemoryContextSwitchTo(old);
		ks_cedar_raise("policies", VARDATA_ANY(kept->source), &error);
	}
	kept->of.policies = ks_cedar_prepare(policies);
	kept->names = palloc_extended(sizeof(Datum) * (policies->npolicies + 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < policies->npolicies; i++)
		kept->names[i] = PointerGetDatum(cstring_to_text_with_len(policies->policies[i].id.data,
																  (int) policies->policies[i].id.len));
	MemoryContextSwitchTo(old);
	end_to_keep(fcinfo, kept, context);
}

static void
read_entities(FunctionCallInfo fcinfo, Kept *kept, const Jsonb *source)
{
	MemoryContext context = begin_to_keep(kept);
	MemoryContext old = MemoryContextSwitchTo(context);
	KsCedarError error = {.position = -1};

	kept->source = copy_source(source);
	kept->of.entities = ks_cedar_entities_from_json((const Jsonb *) kept->source, &error);
	MemoryContextSwitchTo(old);
	if (kept->of.entities == NULL)
		ks_cedar_raise("entities", NULL, &error);
	end_to_keep(fcinfo, kept, context);
}

static Datum
make_names(const Kept *policies, const int *numbers, int n)
{
	Datum	   *names = palloc_extended(sizeof(Datum) * (n + 1), MCXT_ALLOC_HUGE);

	for (int i = 0; i < n; i++)
		names[i] = policies->names[numbers[i]];
	if (n == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* cedar_authorize(policies text, entities jsonb, request jsonb) */
PG_FUNCTION_INFO_V1(ks_fn_cedar_authorize);
Datum
ks_fn_cedar_authorize(PG_FUNCTION_ARGS)
{
	text	   *policies = ks_arg_get_text(fcinfo, 0, "policies");
	Jsonb	   *entities = ks_arg_get_jsonb(fcinfo, 1, "entities");
	Jsonb	   *json = ks_arg_get_jsonb(fcinfo, 2, "request");
	Cache	   *cache = get_cache(fcinfo);
	KsCedarError error = {.position = -1};
	KsCedarRequest request;
	KsCedarAnswer answer;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (!is_kept(&cache->policies, policies))
		read_policies(fcinfo, &cache->policies, policies);
	if (!is_kept(&cache->entities, entities))
		read_entities(fcinfo, &cache->entities, entities);
	if (!ks_cedar_request_from_json(json, cache->entities.of.entities, &request, &error))
		ks_cedar_raise("request", NULL, &error);

	ks_cedar_authorize(cache->policies.of.policies, &request, &answer);
	values[0] = CStringGetTextDatum(answer.allow ? "allow" : "deny");
	values[1] = make_names(&cache->policies, answer.reasons, answer.nreasons);
	values[2] = make_names(&cache->policies, answer.errors, answer.nerrors);
	return HeapTupleGetDatum(heap_form_tuple(cache->desc, values, nulls));
}
