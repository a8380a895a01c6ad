/*-------------------------------------------------------------------------
 *
 * ks_begin.c
 *	  Beginning the audit log of a database.
 *
 * The first change of all may be made in a transaction that reveals a value,
 * too, or is rolled back.  The reveal must be in the log whatever becomes of
 * the transaction, so the log must have begun: a background process that lives
 * for this writes the instance row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/extension.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/lmgr.h"
#include "utils/timestamp.h"

#include "ks_audit.h"
#include "ks_begin.h"
#include "ks_bulk.h"
#include "ks_session.h"

void
ks_begin_log(void)
{
	BackgroundWorker worker = {
		.bgw_name = "keystone log beginner",
		.bgw_type = "keystone log beginner",
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = "keystone",
		.bgw_function_name = "ks_begin_main",
		.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId),
		.bgw_notify_pid = MyProcPid,
	};
	BackgroundWorkerHandle *handle;

	if (RegisterDynamicBackgroundWorker(&worker, &handle))
		(void) WaitForBackgroundWorkerShutdown(handle);
}

static void
write_instance(void)
{
	Datum		values[5] = {BoolGetDatum(true)};
	bool		nulls[5] = {false, false, false, false, true};
	int64		system_id;
	int64		database;
	int32		timeline;

	ks_audit_identity(&system_id, &database, &timeline);
	values[1] = Int64GetDatum(system_id);
	values[2] = Int64GetDatum(database);
	values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
	ks_bulk_insert("instance", values, nulls);
}

/* Of two that begin at once the second finds the row of the first. */
void
ks_begin_main(Datum database)
{
	ks_session_signals();
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
	ks_session_force();
	ks_session_begin();
	if (OidIsValid(get_extension_oid("keystone", true)))
	{
		LockRelationOid(ks_bulk_table("instance"), ShareRowExclusiveLock);
		if (ks_audit_instance(NULL, NULL) == KS_INSTANCE_NONE)
			write_instance();
	}
	ks_session_commit();
}
