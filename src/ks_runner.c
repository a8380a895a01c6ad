/*-------------------------------------------------------------------------
 *
 * ks_runner.c
 *	  The runner: a background worker without a database that executes the
 *	  commands that the administrator has configured:
 *	  keystone.audit_anchor_command, once for each checkpoint that it is given,
 *	  and keystone.kms_command, once for each key that a customer's service is
 *	  to wrap or unwrap.
 *
 * One in a cluster; the launcher starts it while one of the commands is set.
 * What must always hold:
 *
 *	- nothing that writes the log waits for a command: a checkpoint is handed
 *	  over through shared memory, its outcome goes back the same way;
 *	- no command waits for another one: they run side by side;
 *	- a command is killed when its time is over, or the runner ends;
 *	- keys lie in secret buffers, and are wiped when a call is over;
 *	- no message has a command's text, its input or its output.
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
#include "ks_kms.h"
#include "ks_mem.h"
#include "ks_text.h"

/* A command that keeps failing is reported so often. */
#define REPORT_INTERVAL		60000	/* milliseconds */

/* In case a wake-up was missed. */
#define LOOK_INTERVAL		5000	/* milliseconds */

StaticAssertDecl(KS_COMMAND_INPUT_MAX <= KS_COMMAND_STDIN_MAX,
				 "a checkpoint fits into a pipe");
StaticAssertDecl(KS_KMS_BLOB_MAX <= KS_COMMAND_STDIN_MAX,
				 "a wrapped key fits into a pipe");
StaticAssertDecl(KS_KMS_RUNS + 1 <= KS_COMMANDS_MAX, "all may run at once");

/* A call of keystone.kms_command. */
typedef struct KmsRun
{
	KsCommand	command;
	KsKmsCall  *call;			/* a secret buffer */
	uint8	   *output;			/* the same, of KS_KMS_BLOB_MAX + 1 bytes */
	const char *environment[4];
} KmsRun;

static KsCommand anchor = KS_COMMAND_NONE;
static KsAnchorRequest request; /* of the command that runs */
static KmsRun kms_runs[KS_KMS_RUNS];


/*-------------------------------------------------------------------------
 * Checkpoints
 *-------------------------------------------------------------------------
 */

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
finish_anchor(const char *problem)
{
	ks_event_anchor_done(request.database, request.size, problem == NULL,
						 problem != NULL ? problem : "");
	if (problem != NULL)
		report_failure(problem);
}

static void
run_anchor(void)
{
	if (ks_command_watch(&anchor))
		finish_anchor(ks_command_problem(&anchor));

	while (anchor.pid == 0 && ks_audit_anchor_command[0] != '\0' && ks_event_next_anchor(&request))
	{
		const char *problem;

		anchor.timeout = ks_audit_anchor_timeout;
		problem = ks_command_start(&anchor, ks_audit_anchor_command, request.note,
								   strnlen(request.note, sizeof(request.note)));
		if (problem != NULL)
			finish_anchor(problem);
	}
}


/*-------------------------------------------------------------------------
 * Keys of customers
 *-------------------------------------------------------------------------
 */

static void
init_kms_runs(void)
{
	for (int i = 0; i < KS_KMS_RUNS; i++)
	{
		KmsRun	   *run = &kms_runs[i];

		run->command.fd = -1;
		run->call = ks_secret_alloc(TopMemoryContext, sizeof(KsKmsCall));
		run->output = ks_secret_alloc(TopMemoryContext, KS_KMS_BLOB_MAX + 1);
		ks_command_init(&run->command);
	}
}

/*
 * A circuit says once that it opened, and once that it closed.
 */
static void
report_turn(const KsKmsCall *call, KsKmsTurn turn, const char *problem)
{
	char		workspace[37];

	ks_text_from_uuid(call->workspace, workspace);
	if (turn == KS_KMS_OPENED)
		ereport(LOG,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("keystone: the key of a customer is not available: keystone.kms_command %s", problem),
				 errdetail("The key URI is \"%s\", of workspace %s.", call->uri, workspace)));
	else if (turn == KS_KMS_CLOSED_AGAIN)
		ereport(LOG,
				(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
				 errmsg("keystone: the key of a customer is available again"),
				 errdetail("The key URI is \"%s\", of workspace %s.", call->uri, workspace)));
}

/*
 * The call is over, one way or other.  One that took all of its time is not
 * tried again while its callers wait.
 */
static void
finish_kms(KmsRun *run, const char *problem, bool may_retry)
{
	KsKmsTurn	turn = ks_kms_call_done(run->call, &problem, may_retry, run->output, run->command.output_len);

	report_turn(run->call, turn, problem);
	ks_wipe(run->call, sizeof(KsKmsCall));
	ks_wipe(run->output, KS_KMS_BLOB_MAX + 1);
}

static void
watch_kms(KmsRun *run)
{
	const char *problem;
	bool		too_much;

	if (!ks_command_watch(&run->command))
		return;
	too_much = run->command.output_len > run->command.output_max;
	problem = too_much ? NULL : ks_command_problem(&run->command);
	finish_kms(run, problem, run->command.exited);
}

static void
start_kms(KmsRun *run)
{
	char		workspace[37];
	const char *problem;

	ks_text_from_uuid(run->call->workspace, workspace);
	run->environment[0] = run->call->wrap ? "KEYSTONE_KMS_OPERATION=wrap" : "KEYSTONE_KMS_OPERATION=unwrap";
	run->environment[1] = psprintf("KEYSTONE_KMS_URI=%s", run->call->uri);
	run->environment[2] = psprintf("KEYSTONE_KMS_WORKSPACE=%s", workspace);
	run->environment[3] = NULL;
	run->command.environment = run->environment;
	run->command.output = (char *) run->output;
	run->command.output_max = KS_KMS_BLOB_MAX;
	run->command.output_len = 0;
	run->command.timeout = ks_kms_timeout;
	problem = ks_command_start(&run->command, ks_kms_command, run->call->input, run->call->input_len);
	if (problem != NULL)
		finish_kms(run, problem, true);
}

/* Returns when to look again. */
static TimestampTz
run_kms(void)
{
	for (int i = 0; i < KS_KMS_RUNS; i++)
		watch_kms(&kms_runs[i]);
	for (int i = 0; i < KS_KMS_RUNS; i++)
	{
		if (kms_runs[i].command.pid != 0 || ks_kms_command[0] == '\0')
			continue;
		if (!ks_kms_next_call(kms_runs[i].call))
			break;
		start_kms(&kms_runs[i]);
	}
	return ks_kms_sweep();
}


/*-------------------------------------------------------------------------
 * The process
 *-------------------------------------------------------------------------
 */

/*
 * One round: does what is due, then waits.
 */
static void
run_once(void)
{
	TimestampTz next_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_INTERVAL);

	run_anchor();
	next_at = Min(next_at, run_kms());
	(void) ks_command_wait_all(next_at);
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
	ks_command_init(&anchor);
	init_kms_runs();
	BackgroundWorkerUnblockSignals();
	(void) ks_crypto_init();
	ks_event_set_runner(true);
	ks_kms_set_runner(true);

	context = AllocSetContextCreate(TopMemoryContext, "keystone runner", ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending && (ks_audit_anchor_command[0] != '\0' || ks_kms_command[0] != '\0'))
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
