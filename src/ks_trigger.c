/*-------------------------------------------------------------------------
 *
 * ks_trigger.c
 *	  Triggers on Keystone's own tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "utils/rel.h"

#include "ks_error.h"
#include "ks_rights.h"

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function was not called by a trigger"));
	return (TriggerData *) fcinfo->context;
}

PG_FUNCTION_INFO_V1(ks_fn_invalidate);
/* keystone_private.invalidate() returns trigger: AFTER, statement, on tables that give rights */
Datum
ks_fn_invalidate(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	ks_rights_changed(RelationGetRelid(data->tg_relation));
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(ks_fn_refuse_truncate);
/* keystone_private.refuse_truncate() returns trigger: BEFORE TRUNCATE, on every table */
Datum
ks_fn_refuse_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo);

	ks_error_denied(psprintf("table \"%s\" cannot be truncated", RelationGetRelationName(data->tg_relation)),
					NULL);
}
