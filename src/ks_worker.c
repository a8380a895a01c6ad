/*-------------------------------------------------------------------------
 *
 * ks_worker.c
 *	  The launcher: a background worker that loads the root keyring and the
 *	  keys for tokens, at start and at each reload, and supervises the other
 *	  workers.
 *
 * It is connected to no database, so that it is in nobody's way, but to the
 * shared catalogs.  What must always hold:
 *
 *	- the main loop never blocks but in its one wait, so that the launcher
 *	  answers to the postmaster while a key command runs;
 *	- an error in supervision leaves the keys alone, an error in a load of the
 *	  keyring seals, one in a load of keys for tokens leaves none of these;
 *	- nobody can cancel it, only end it, and it ends with status 1: the
 *	  postmaster would not start a worker again that ends with 0.
 *
 * The work is done in ks_launcher_keys.c, ks_launcher_jwks.c and
 * ks_supervise.c.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_worker.h"

#include <signal.h>

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_launcher_jwks.h"
#include "ks_launcher_keys.h"
#include "ks_supervise.h"

#define RESTART_SECONDS		5

static MemoryContext loop_context = NULL;	/* of one round */

/*
 * Reports an error that was caught.  The caller puts its own house in order.
 */
static void
report_error(void)
{
	MemoryContextSwitchTo(loop_context);
	EmitErrorReport();
	FlushErrorState();
}

static void
reload_settings(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	ks_launcher_jwks_reload();
	ks_launcher_keys_reload();
}

/* Without knowing the settings nothing is known of any key. */
static void
fail_loads(void)
{
	ks_launcher_jwks_fail();
	ks_launcher_keys_fail();
}

/*
 * Runs what fail() puts in order after an error.
 */
static void
run_guarded(void (*run) (void), void (*fail) (void))
{
	PG_TRY();
	{
		run();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		report_error();
		fail();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
}

/*
 * Returns when the next round is due.
 */
static TimestampTz
run_supervision(bool woken)
{
	volatile TimestampTz next_at = DT_NOBEGIN;

	PG_TRY();
	{
		next_at = ks_supervise(woken);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		report_error();
		ks_supervise_fail();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	return next_at;
}

/*
 * ALTER ROLE and ALTER SYSTEM may have set what would end or delay a
 * transaction.
 */
static void
force_settings(void)
{
	static const char *const timeouts[] = {
		"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"
	};

	for (size_t i = 0; i < lengthof(timeouts); i++)
	{
		if (GetConfigOption(timeouts[i], true, false) != NULL)
			SetConfigOption(timeouts[i], "0", PGC_SUSET, PGC_S_OVERRIDE);
	}
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Entry point.
 */
void
ks_launcher_main(Datum arg pg_attribute_unused())
{
	bool		woken = true;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, SIG_IGN);
	ks_launcher_keys_init();
	ks_launcher_jwks_init();
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(InvalidOid, InvalidOid, 0);
	force_settings();
	ks_supervise_init();

	loop_context = AllocSetContextCreate(TopMemoryContext, "keystone launcher",
										 ALLOCSET_DEFAULT_SIZES);

	while (!ShutdownRequestPending)
	{
		TimestampTz next_at;

		MemoryContextSwitchTo(loop_context);
		MemoryContextReset(loop_context);
		run_guarded(reload_settings, fail_loads);
		run_guarded(ks_launcher_jwks_run, ks_launcher_jwks_fail);
		run_guarded(ks_launcher_keys_run, ks_launcher_keys_fail);
		next_at = run_supervision(woken);
		woken = ks_command_wait(ks_launcher_keys_command(), next_at);
		CHECK_FOR_INTERRUPTS();
	}
	proc_exit(1);
}

/*
 * Registers the launcher: from the consistent state on, so that a hot standby
 * can tell whether it holds the right keys.
 */
void
ks_worker_init(void)
{
	BackgroundWorker worker = {
		.bgw_name = "keystone launcher",
		.bgw_type = "keystone launcher",
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_ConsistentState,
		.bgw_restart_time = RESTART_SECONDS,
		.bgw_library_name = "keystone",
		.bgw_function_name = "ks_launcher_main",
	};

	RegisterBackgroundWorker(&worker);
}
