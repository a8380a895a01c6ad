/*-------------------------------------------------------------------------
 *
 * ks_runner.c
 *	  The runner: a background worker without a database that executes
 *	  keystone.audit_anchor_command, once for each checkpoint that it is given.
 *
 * One in a cluster; the launcher starts it while the command is set.  What
 * must always hold:
 *
 *	- nothing that writes the log waits for a command: a checkpoint is handed
 *	  over through shared memory, its outcome goes back the same way;
 *	- a command is killed when its time is over, or the runner ends;
 *	- no message has the command's text: it may hold a token.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_runner.h"

#include <signal.h>

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_command.h"
#include "ks_event.h"
#include "ks_guc.h"

/* A command that keeps failing is reported so often. */
#define REPORT_INTERVAL		60000	/* milliseconds */

/* In case a wake-up was missed. */
#define LOOK_INTERVAL		5000	/* milliseconds */

StaticAssertDecl(KS_COMMAND_INPUT_MAX <= KS_COMMAND_STDIN_MAX,
				 "a checkpoint fits into a pipe");

static KsCommand command = KS_COMMAND_NONE;
static KsAnchorRequest request; /* of the command that runs */

/*
 * Reports a failure, not each of many in a row.
 */
static void
report_failure(const char *problem)
{
	static TimestampTz reported_at = DT_NOBEGIN;
	TimestampTz now = GetCurrentTimestamp();

	if (!TIMESTAMP_IS_NOBEGIN(reported_at) &&
		!TimestampDifferenceExceeds(reported_at, now, REPORT_INTERVAL))
		return;
	reported_at = now;
	ereport(LOG,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("keystone: keystone.audit_anchor_command %s", problem),
			 errdetail("The checkpoint of size %llu of database %u was not anchored.",
					   (unsigned long long) request.size, request.database)));
}

static void
finish(const char *problem)
{
	ks_event_anchor_done(request.database, request.size, problem == NULL,
						 problem != NULL ? problem : "");
	if (problem != NULL)
		report_failure(problem);
}

/*
 * One round: does what is due, then waits.
 */
static void
run_once(void)
{
	if (ks_command_watch(&command))
		finish(ks_command_problem(&command));

	while (command.pid == 0 && ks_event_next_anchor(&request))
	{
		const char *problem;

		command.timeout = ks_audit_anchor_timeout;
		problem = ks_command_start(&command, ks_audit_anchor_command, request.note,
								   strnlen(request.note, sizeof(request.note)));
		if (problem != NULL)
			finish(problem);
	}
	(void) ks_command_wait(&command, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_INTERVAL));
}

/*
 * Entry point.  The launcher, not the postmaster, starts the runner again, so
 * that its status does not matter.
 */
void
ks_runner_main(Datum arg pg_attribute_unused())
{
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	ks_command_init(&command);
	BackgroundWorkerUnblockSignals();
	ks_event_set_runner(true);

	context = AllocSetContextCreate(TopMemoryContext, "keystone runner", ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending && ks_audit_anchor_command[0] != '\0')
	{
		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		run_once();
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
	proc_exit(0);
}
