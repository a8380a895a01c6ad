/*-------------------------------------------------------------------------
 *
 * ks_args.h
 *	  Arguments and results of SQL functions.
 *
 * A NULL for a parameter that needs a value is 22004 with its name.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_ARGS_H
#define KS_ARGS_H

#include "keystone.h"

#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/tuplestore.h"

extern text *ks_arg_get_text(FunctionCallInfo fcinfo, int n, const char *name);
extern text *ks_arg_get_text_or_null(FunctionCallInfo fcinfo, int n);
extern const uint8 *ks_arg_get_uuid(FunctionCallInfo fcinfo, int n, const char *name);
extern const uint8 *ks_arg_get_uuid_or_null(FunctionCallInfo fcinfo, int n);
extern bool ks_arg_get_bool(FunctionCallInfo fcinfo, int n, const char *name);
extern Jsonb *ks_arg_get_jsonb(FunctionCallInfo fcinfo, int n, const char *name);

/* A version number: 0 for NULL, 22023 unless it is positive. */
extern int32 ks_arg_get_version(FunctionCallInfo fcinfo, int n, const char *name);

/* A number of an audit entry: otherwise for NULL, 22023 unless it is positive. */
extern int64 ks_arg_get_seq(FunctionCallInfo fcinfo, int n, const char *name, int64 otherwise);

/* Elements of a text or uuid array of one dimension without NULLs: 22023. */
extern int	ks_arg_get_array(Datum array, Oid type, const char *name, Datum **elements);

/*
 * A secret argument.  If it had to be decompressed or fetched, the copy is
 * wiped when the caller's memory context is reset.
 */
typedef struct KsSecretArg
{
	const char *data;
	size_t		len;
} KsSecretArg;

extern void ks_arg_get_secret(FunctionCallInfo fcinfo, int n, const char *name, KsSecretArg *secret);

extern Datum ks_uuid_datum(const uint8 uuid[KS_ID_LEN]);

/* The result of a function with OUT parameters. */
extern Datum ks_row_result(FunctionCallInfo fcinfo, Datum *values, bool *nulls);

/*
 * Begins the result of a set-returning function.  secret: it holds values
 * that must not reach a temporary file, so it stays in memory whatever its
 * size.
 */
typedef struct KsSetResult
{
	Tuplestorestate *store;
	TupleDesc	desc;
} KsSetResult;

extern void ks_set_begin(FunctionCallInfo fcinfo, bool secret, KsSetResult *set);
extern void ks_set_add(KsSetResult *set, Datum *values, bool *nulls);

#endif							/* KS_ARGS_H */
