/*-------------------------------------------------------------------------
 *
 * ks_session.c
 *	  What the background processes that are connected to a database have in
 *	  common: signals, forced settings, transactions.
 *
 * A background process reads the settings of its database, ALTER DATABASE SET
 * included.  None of them may make what it reports as durable less so, end it
 * in the middle of its work, keep its triggers from firing, or lead a name to
 * another schema.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "ks_crypto.h"
#include "ks_error.h"
#include "ks_session.h"

/* Longer than this no process waits for somebody else's lock. */
#define LOCK_TIMEOUT_MS		"1000"

static bool is_worker = false;

/*
 * SIGINT.  A lock timeout raises it in its own process, after setting its
 * indicator.  Any other comes from pg_cancel_backend(), which must not make
 * the log lose a batch.
 */
static void
cancel_after_lock_timeout(SIGNAL_ARGS)
{
	if (get_timeout_indicator(LOCK_TIMEOUT, false))
		StatementCancelHandler(postgres_signal_arg);
}

void
ks_session_signals(void)
{
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, cancel_after_lock_timeout);
}

static void
force(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

void
ks_session_force(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"session_replication_role", "origin"},
		{"lock_timeout", LOCK_TIMEOUT_MS},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
	};

	is_worker = true;
	for (size_t i = 0; i < lengthof(settings); i++)
		force(settings[i][0], settings[i][1]);

	/* PostgreSQL 17 has it. */
	if (GetConfigOption("transaction_timeout", true, false) != NULL)
		force("transaction_timeout", "0");

	force("synchronous_commit",
		  synchronous_commit >= SYNCHRONOUS_COMMIT_REMOTE_APPLY ? "remote_apply" : "on");

	if (!ks_crypto_init())
		ks_error_crypto("initialise libcrypto");
}

bool
ks_session_is_worker(void)
{
	return is_worker;
}

/*
 * The security context must be set within a transaction, since an abort puts
 * back what was there when it began; a commit does not.
 */
void
ks_session_begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, SECURITY_RESTRICTED_OPERATION);
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
ks_session_commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* only now: what is deferred to the commit ran restricted, too */
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, 0);
}
