/*-------------------------------------------------------------------------
 *
 * ks_args.c
 *	  Arguments and results of SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/uuid.h"

#include "ks_args.h"
#include "ks_error.h"
#include "ks_mem.h"

text *
ks_arg_get_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ks_error_null(name);
	return PG_GETARG_TEXT_PP(n);
}

text *
ks_arg_get_text_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n);
}

const uint8 *
ks_arg_get_uuid(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ks_error_null(name);
	return PG_GETARG_UUID_P(n)->data;
}

const uint8 *
ks_arg_get_uuid_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_UUID_P(n)->data;
}

bool
ks_arg_get_bool(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ks_error_null(name);
	return PG_GETARG_BOOL(n);
}

Jsonb *
ks_arg_get_jsonb(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ks_error_null(name);
	return PG_GETARG_JSONB_P(n);
}

int32
ks_arg_get_version(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		return 0;
	if (PG_GETARG_INT32(n) < 1)
		ks_error_invalid(name, "1 or greater", NULL);
	return PG_GETARG_INT32(n);
}

int64
ks_arg_get_seq(FunctionCallInfo fcinfo, int n, const char *name, int64 otherwise)
{
	if (PG_ARGISNULL(n))
		return otherwise;
	if (PG_GETARG_INT64(n) < 1)
		ks_error_invalid(name, "1 or greater", NULL);
	return PG_GETARG_INT64(n);
}

int
ks_arg_get_array(Datum array, Oid type, const char *name, Datum **elements)
{
	ArrayType  *value = DatumGetArrayTypeP(array);
	int			n;
	bool		is_text = type == TEXTOID;

	if (ARR_NDIM(value) > 1 || array_contains_nulls(value))
		ks_error_invalid(name, "an array of one dimension without NULLs", NULL);
	deconstruct_array(value, type, is_text ? -1 : UUID_LEN, false,
					  is_text ? TYPALIGN_INT : TYPALIGN_CHAR, elements, NULL, &n);
	return n;
}

void
ks_arg_get_secret(FunctionCallInfo fcinfo, int n, const char *name, KsSecretArg *secret)
{
	struct varlena *given;
	struct varlena *plain;

	if (PG_ARGISNULL(n))
		ks_error_null(name);
	given = (struct varlena *) DatumGetPointer(PG_GETARG_DATUM(n));
	plain = PG_GETARG_TEXT_PP(n);
	secret->len = VARSIZE_ANY_EXHDR(plain);
	if (plain == given)
		secret->data = VARDATA_ANY(plain);
	else
	{
		char	   *copy = ks_secret_alloc(CurrentMemoryContext, Max(secret->len, 1));

		memcpy(copy, VARDATA_ANY(plain), secret->len);
		ks_wipe(VARDATA_ANY(plain), secret->len);
		pfree(plain);
		secret->data = copy;
	}
}

Datum
ks_uuid_datum(const uint8 uuid[KS_ID_LEN])
{
	pg_uuid_t  *copy = palloc(sizeof(pg_uuid_t));

	memcpy(copy->data, uuid, KS_ID_LEN);
	return UUIDPGetDatum(copy);
}

Datum
ks_row_result(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "function does not return a row");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

void
ks_set_begin(FunctionCallInfo fcinfo, bool secret, KsSetResult *set)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	TupleDesc	desc;

	if (info == NULL || !IsA(info, ReturnSetInfo) || !(info->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("set-returning function called in a context that cannot accept a set"));

	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	switch (get_call_result_type(fcinfo, NULL, &desc))
	{
		case TYPEFUNC_COMPOSITE:
			desc = CreateTupleDescCopy(desc);
			break;
		case TYPEFUNC_SCALAR:
			desc = CreateTupleDescCopy(info->expectedDesc);
			break;
		default:
			elog(ERROR, "function returns no set of rows");
	}
	set->desc = desc;
	set->store = tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0,
									   false, secret ? MAX_KILOBYTES : work_mem);
	info->returnMode = SFRM_Materialize;
	info->setResult = set->store;
	info->setDesc = set->desc;
	MemoryContextSwitchTo(old);
}

void
ks_set_add(KsSetResult *set, Datum *values, bool *nulls)
{
	tuplestore_putvalues(set->store, set->desc, values, nulls);
}
