/*-------------------------------------------------------------------------
 *
 * ks_admin_sql.c
 *	  What the views for administrators stand on: version, seal, health.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "ks_approval.h"
#include "ks_args.h"
#include "ks_audit.h"
#include "ks_enforce.h"
#include "ks_error.h"
#include "ks_event.h"
#include "ks_guc.h"
#include "ks_jwks.h"
#include "ks_keyring.h"
#include "ks_keys.h"
#include "ks_kms.h"
#include "ks_rights.h"
#include "ks_rows.h"
#include "ks_signer.h"
#include "ks_sweep.h"
#include "ks_tenant.h"

/* Seconds after which something is late. */
#define START_TIME		30
#define OUTBOX_LAG		60

#define KEYS_NAMED		3		/* of damaged ones */

#define MANAGERS	(KS_PROFILE_ADMIN | KS_PROFILE_MONITOR)

PG_FUNCTION_INFO_V1(ks_fn_version);
/* version() returns text */
Datum
ks_fn_version(PG_FUNCTION_ARGS)
{
	KsCall		call;

	(void) fcinfo;
	ks_enter(&call, 0);			/* compares library and SQL */
	PG_RETURN_TEXT_P(cstring_to_text("keystone " KEYSTONE_VERSION " (SQL " KEYSTONE_VERSION ")"));
}

PG_FUNCTION_INFO_V1(ks_fn_seal_state);
/* keystone_private.seal_state() returns (sealed, current_root_key, reason, generation) */
Datum
ks_fn_seal_state(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsSealStatus status;
	Datum		values[4] = {0};
	bool		nulls[4] = {false, true, true, true};

	ks_enter(&call, 0);
	ks_keyring_status(&status);
	values[0] = BoolGetDatum(status.state != KS_SEAL_OPEN);
	if (call.profiles & MANAGERS)
	{
		values[1] = CStringGetTextDatum(status.current_root_key);
		nulls[1] = status.current_root_key[0] == '\0';
		values[2] = CStringGetTextDatum(status.state == KS_SEAL_LOADING ?
										"the root keyring is still being loaded" : status.reason);
		nulls[2] = status.state == KS_SEAL_OPEN;
		if (status.state == KS_SEAL_OPEN)
		{
			char	   *missing = ks_keys_missing_roots();

			nulls[2] = missing == NULL;
			values[2] = missing != NULL ? CStringGetTextDatum(missing) : (Datum) 0;
		}
		values[3] = Int64GetDatum((int64) status.generation);
		nulls[3] = false;
	}
	return ks_row_result(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_pending_rewraps);
/* keystone_private.pending_rewraps() returns bigint */
Datum
ks_fn_pending_rewraps(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsSealStatus status;

	ks_enter(&call, 0);
	ks_keyring_status(&status);
	if (status.state != KS_SEAL_OPEN || !(call.profiles & MANAGERS))
		PG_RETURN_NULL();
	PG_RETURN_INT64(ks_keys_pending_rewraps(status.current_root_key));
}

static void
add_check(KsSetResult *set, const char *name, bool ok, const char *detail)
{
	Datum		values[3] = {CStringGetTextDatum(name), BoolGetDatum(ok), CStringGetTextDatum(detail)};
	bool		nulls[3] = {false, false, false};

	ks_set_add(set, values, nulls);
}

/* The audit log. */

static long
seconds_since(TimestampTz time)
{
	return TimestampDifferenceMilliseconds(time, GetCurrentTimestamp()) / 1000;
}

/* What keeps a worker of this database from running, NULL when it runs. */
static const char *
worker_problem(const KsSlotStatus *slot, KsWorkerKind kind, const char *name)
{
	const KsWorkerStatus *worker = &slot->workers[kind];

	if (worker->pid != 0 || worker->starting)
		return NULL;
	if (slot->held_by != 0)
		return psprintf("the %s is kept out by process %d, until its statement ends", name, (int) slot->held_by);
	if (worker->failures == 0 && seconds_since(PgStartTime) < START_TIME)
		return NULL;
	return psprintf("the %s does not run%s%s", name, kind == KS_APPENDER && slot->problem[0] != '\0' ? ": " : "",
					kind == KS_APPENDER ? slot->problem : "");
}

/* slot NULL: this database has none. */
static void
check_workers(KsSetResult *set, const KsSlotStatus *slot, KsInstance instance)
{
	KsAnchorStatus anchor;
	pid_t		launcher;
	pid_t		runner;
	bool		too_few_workers;
	bool		too_few_slots;
	const char *problem = NULL;

	ks_event_launcher_status(&launcher, &too_few_workers, &too_few_slots);
	ks_event_anchor_status(MyDatabaseId, &anchor, &runner);
	if (launcher == 0)
		problem = "the launcher does not run; see the server log";
	else if (too_few_workers)
		problem = "max_worker_processes is too low";
	else if (slot == NULL && instance == KS_INSTANCE_OURS && !RecoveryInProgress())
		problem = "no process serves this database";
	else if (slot != NULL && !RecoveryInProgress())
	{
		problem = worker_problem(slot, KS_APPENDER, "appender");
		if (problem == NULL)
			problem = worker_problem(slot, KS_HOUSEKEEPER, "housekeeper");
		if (problem == NULL && ks_kms_command[0] != '\0' && runner == 0 && seconds_since(PgStartTime) > START_TIME)
			problem = "the runner does not run; see the server log";
		if (problem == NULL && ks_audit_anchor_command[0] != '\0' && runner == 0 && slot->log.checkpoint_at != 0 &&
			seconds_since(slot->log.checkpoint_at) > START_TIME)
			problem = "the runner does not run; see the server log";
	}
	add_check(set, "workers", problem == NULL,
			  problem != NULL ? problem : slot == NULL ? "the launcher runs; there is no log yet" :
			  RecoveryInProgress() ? "the launcher runs; the others run on the primary" :
			  "launcher, appender, housekeeper and, if there is a command for it, runner run");
}

static void
check_databases(KsSetResult *set)
{
	pid_t		launcher;
	bool		too_few_workers;
	bool		too_few_slots;
	int			taken = 0;

	ks_event_launcher_status(&launcher, &too_few_workers, &too_few_slots);
	for (int i = 0; i < ks_event_slots(); i++)
	{
		KsSlotStatus status;

		ks_event_slot_status(i, &status);
		taken += OidIsValid(status.database) ? 1 : 0;
	}
	add_check(set, "databases", !too_few_slots,
			  psprintf(too_few_slots ? "keystone.max_databases is too low: %d of %d are taken" :
					   "%d of %d of keystone.max_databases are taken", taken, ks_event_slots()));
}

static void
check_platform_service(KsSetResult *set)
{
	uint8		service[KS_ID_LEN];

	if (ks_platform_service[0] == '\0')
		add_check(set, "platform service", true, "none: keystone.platform_service is not set");
	else if (ks_tenant_platform_service(service))
		add_check(set, "platform service", true, "keystone.platform_service is added to every new workspace");
	else
		add_check(set, "platform service", false,
				  "keystone.platform_service names no principal, or a disabled or forged one: new workspaces come without it");
}

static void
check_instance(KsSetResult *set, KsInstance instance)
{
	add_check(set, "instance", instance != KS_INSTANCE_FOREIGN,
			  instance == KS_INSTANCE_OURS ? "this database's own" :
			  instance == KS_INSTANCE_NONE ? "none yet: the first change writes it" :
			  "a copy of another database: values are refused until keystone.accept_restore()");
}

/* The first table of which a trigger of ours is not fired always. */
static void
check_guards(KsSetResult *set)
{
	static KsPlan plan = {.sql =
		"SELECT format('trigger %I of table %s', t.tgname, t.tgrelid::regclass) FROM pg_trigger t"
		" JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid"
		" WHERE c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)"
		" AND NOT t.tgisinternal AND p.pronamespace = 'keystone_private'::regnamespace"
		" AND t.tgenabled <> 'A' LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	const char *off = NULL;

	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) > 0)
		off = ks_col_text(&spi, 0, 1);
	ks_spi_end(&spi);
	add_check(set, "guards", off == NULL,
			  off == NULL ? "every trigger of Keystone is fired always" : psprintf("%s is switched off", off));
}

/*
 * The triggers of link_auth_users(), if there are any: the owner of the table
 * may drop them or switch them off.
 */
static void
check_auth_users(KsSetResult *set)
{
	static KsPlan plan = {.sql =
		"SELECT t.tgrelid::regclass::text, count(DISTINCT t.tgfoid) FILTER (WHERE t.tgenabled = 'A') = 2"
		" FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
		" WHERE c.relnamespace NOT IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)"
		" AND t.tgfoid IN ('keystone_private.auth_user_deleted()'::regprocedure,"
		" 'keystone_private.refuse_truncate()'::regprocedure)"
		" GROUP BY t.tgrelid ORDER BY 2 LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	const char *table = NULL;
	bool		good = false;

	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) > 0)
	{
		table = ks_col_text(&spi, 0, 1);
		good = ks_col_bool(0, 2);
	}
	ks_spi_end(&spi);
	if (table != NULL)
		add_check(set, "auth users", good,
				  psprintf(good ? "a deletion from %s disables the principal" :
						   "a trigger of %s is missing or not fired always: call keystone.link_auth_users() again", table));
}

static void
check_log(KsSetResult *set, const KsLogStatus *log, const char *failure, KsInstance instance)
{
	int64		lag;
	int64		rows = ks_audit_outbox(&lag);

	if (failure[0] != '\0')
		add_check(set, "audit log", false, psprintf("the last batch failed: %s", failure));
	else if (log->state != KS_LOG_BEGUN && instance == KS_INSTANCE_OURS && !RecoveryInProgress())
		add_check(set, "audit log", false, "the appender has not begun, so that nothing can be revealed");
	else if (log->state != KS_LOG_BEGUN)
		add_check(set, "audit log", lag <= OUTBOX_LAG,
				  psprintf("not begun; " INT64_FORMAT " changes wait, the first for " INT64_FORMAT " s", rows, lag));
	else
		add_check(set, "audit log", lag <= OUTBOX_LAG,
				  psprintf(UINT64_FORMAT " entries, " UINT64_FORMAT " failed batches; " INT64_FORMAT
						   " changes wait, the first for " INT64_FORMAT " s", log->entries, log->failures, rows, lag));
}

static void
check_checkpoints(KsSetResult *set, const KsLogStatus *log)
{
	if (log->state != KS_LOG_BEGUN)
		add_check(set, "audit checkpoints", true, "none: the log is not begun");
	else if (ks_audit_key_dir[0] == '\0')
		add_check(set, "audit checkpoints", true, "nothing is signed: keystone.audit_key_dir is not set");
	else if (log->key_problem[0] != '\0')
		add_check(set, "audit checkpoints", false, psprintf("nothing is signed: %s", log->key_problem));
	else if (log->checkpoint_at == 0)
		add_check(set, "audit checkpoints", seconds_since(log->committed_at) < START_TIME, "none yet");
	else
		add_check(set, "audit checkpoints", seconds_since(log->checkpoint_at) <= 2 * ks_audit_heartbeat + START_TIME,
				  psprintf("the last one is %ld s old and covers " UINT64_FORMAT " entries of the epoch",
						   seconds_since(log->checkpoint_at), log->checkpoint_size));
}

/* Text about keystone.audit_anchor_command, in *ok whether it is well. */
static const char *
anchor_command_state(bool *ok)
{
	KsAnchorStatus status;
	pid_t		runner;

	ks_event_anchor_status(MyDatabaseId, &status, &runner);
	*ok = status.failures == 0;
	if (status.failures > 0)
		return psprintf("the command has failed " UINT64_FORMAT " times in a row: %s", status.failures, status.problem);
	if (status.at == 0)
		return "the command has not run yet";
	return psprintf("the command last succeeded %ld s ago, with " UINT64_FORMAT " entries", seconds_since(status.at),
					status.size);
}

/* The same about keystone.audit_anchor_dir. */
static const char *
anchor_dir_state(bool *ok)
{
	KsEpoch		epoch;
	KsCheckpoint newest;
	bool		found = false;
	const char *problem;

	*ok = true;
	if (!ks_audit_epoch(&epoch))
		return "the directory has nothing yet";
	problem = ks_anchor_newest(epoch.origin, &newest, &found);
	*ok = problem == NULL;
	if (problem != NULL)
		return psprintf("the directory cannot be read: %s", problem);
	if (!found)
		return "the directory has nothing of this epoch";
	return psprintf("the directory has a checkpoint of " UINT64_FORMAT " entries", newest.size);
}

static void
check_anchors(KsSetResult *set)
{
	bool		command_ok = true;
	bool		dir_ok = true;
	const char *command = ks_audit_anchor_command[0] != '\0' ? anchor_command_state(&command_ok) : NULL;
	const char *dir = ks_audit_anchor_dir[0] != '\0' ? anchor_dir_state(&dir_ok) : NULL;

	if (command == NULL && dir == NULL)
		add_check(set, "audit anchors", true,
				  "none: neither keystone.audit_anchor_dir nor keystone.audit_anchor_command is set");
	else
		add_check(set, "audit anchors", command_ok && dir_ok,
				  psprintf("%s%s%s", dir != NULL ? dir : "", dir != NULL && command != NULL ? "; " : "",
						   command != NULL ? command : ""));
}

/* Who has approved a call of its own is to be asked why. */
static void
check_emergencies(KsSetResult *set)
{
	char	   *named;
	int64		n = ks_approval_overdue(&named);

	add_check(set, "emergencies", n == 0,
			  n == 0 ? "none waits for its review for more than a day" :
			  psprintf(INT64_FORMAT " uses of break_glass() wait for their review for more than a day: %s", n, named));
}

static void
check_rows(KsSetResult *set)
{
	bool		ok;
	char	   *found = ks_sweep_health(&ok);

	add_check(set, "reconcile", ok, found);
}

static void
check_audit(KsSetResult *set)
{
	KsSlotStatus status;
	int			slot = ks_event_slot_of(MyDatabaseId, false);
	KsInstance	instance = ks_audit_instance(NULL, NULL);

	memset(&status, 0, sizeof(status));
	if (slot >= 0)
		ks_event_slot_status(slot, &status);
	check_workers(set, slot >= 0 ? &status : NULL, instance);
	check_databases(set);
	check_instance(set, instance);
	check_guards(set);
	check_auth_users(set);
	check_log(set, &status.log, status.problem, instance);
	check_checkpoints(set, &status.log);
	check_anchors(set);
	check_rows(set);
	check_emergencies(set);
}

/*
 * Who may create roles could make one that is listed, and does not exist yet,
 * one that serves others.
 */
static void
check_authenticators(KsSetResult *set)
{
	char	   *setting = pstrdup(ks_authenticators);
	List	   *names = NIL;
	ListCell   *cell;
	StringInfoData missing;

	initStringInfo(&missing);
	(void) SplitIdentifierString(setting, ',', &names);
	foreach(cell, names)
	{
		if (!OidIsValid(get_role_oid(lfirst(cell), true)))
			appendStringInfo(&missing, "%s%s", missing.len > 0 ? ", " : "", (char *) lfirst(cell));
	}
	add_check(set, "authenticators", missing.len == 0,
			  missing.len > 0 ? psprintf("no role has the name %s: whoever creates it serves others", missing.data) :
			  names == NIL ? "none" : psprintf("%d, and each is a role", list_length(names)));
	list_free(names);
}

/* Only somebody who writes the table by hand gets windows into it that cannot
 * be read. */
static void
check_provider_limits(KsSetResult *set)
{
	const char *names = ks_enforce_unreadable();

	add_check(set, "provider limits", names == NULL,
			  names == NULL ? "each can be read" :
			  psprintf("those of %s cannot be read: users reveal nothing of these providers until keystone.provider_define() has set others", names));
}

static void
check_jwt_keys(KsSetResult *set)
{
	const char *problem;
	int			nkeys = ks_jwks_status(&problem);

	if (ks_jwt_keys_file[0] == '\0')
		add_check(set, "jwt keys", true, "not configured");
	else if (nkeys == 0)
		add_check(set, "jwt keys", false,
				  psprintf("keystone.jwt_keys_file %s", problem != NULL ? problem : "was not read yet"));
	else
		add_check(set, "jwt keys", true, psprintf(nkeys == 1 ? "%d key" : "%d keys", nkeys));
}

/* Keys of workspaces that the root keys do not open. */
static void
check_workspace_keys(KsSetResult *set)
{
	KsDamagedKey *keys;
	int			n = ks_keys_damaged(NULL, &keys);
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < Min(n, KEYS_NAMED); i++)
		appendStringInfo(&text, "%s%s", i > 0 ? "; " : "", ks_keys_damage_text(&keys[i]));
	if (n > KEYS_NAMED)
		appendStringInfo(&text, "; and %d more", n - KEYS_NAMED);
	add_check(set, "workspace keys", n == 0, n == 0 ? "none is damaged" : text.data);
}

/* Keys that customers hold, if there are any. */
static void
check_customer_keys(KsSetResult *set)
{
	KsCustomerKey *keys;
	int			n = ks_keys_customers(&keys);
	int			open = ks_kms_count_open();

	if (n == 0)
		return;
	if (ks_kms_command[0] == '\0')
		add_check(set, "customer keys", false,
				  psprintf("%d are in use, and keystone.kms_command is not set", n));
	else
		add_check(set, "customer keys", open == 0,
				  open == 0 ? psprintf("%d are in use", n) :
				  psprintf("%d of %d are not available: keystone.kms_status says why", open, n));
}

PG_FUNCTION_INFO_V1(ks_fn_health_checks);
/* keystone_private.health_checks() returns setof (check_name, ok, detail) */
Datum
ks_fn_health_checks(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsSealStatus status;
	KsSetResult set;
	bool		open;
	char	   *foreign;

	ks_enter(&call, MANAGERS);
	ks_keyring_status(&status);
	open = status.state == KS_SEAL_OPEN;
	ks_set_begin(fcinfo, false, &set);

	add_check(&set, "library", true, "library and SQL have version " KEYSTONE_VERSION);
	add_check(&set, "launcher", status.state != KS_SEAL_LOADING,
			  status.state != KS_SEAL_LOADING ? "the root keyring was loaded at least once" :
			  "the launcher has not loaded the root keyring; see the server log");
	add_check(&set, "seal", open,
			  open ? psprintf("open; root key \"%s\" wraps", status.current_root_key) : status.reason);
	if (open)
	{
		int64		pending = ks_keys_pending_rewraps(status.current_root_key);
		char	   *missing = ks_keys_missing_roots();

		add_check(&set, "root keys", pending == 0,
				  psprintf(INT64_FORMAT " keys are wrapped by another root key than the first of the keyring%s%s", pending,
						   missing != NULL ? "; " : "", missing != NULL ? missing : ""));
	}
	if (open)
	{
		char	   *named;
		int64		forged = ks_rows_count_forged(&named);

		add_check(&set, "row macs", forged == 0,
				  psprintf(INT64_FORMAT " rows that give rights have no valid MAC and give nothing%s%s", forged,
						   forged > 0 ? ": " : "", named));
	}
	if (open)
		check_workspace_keys(&set);
	check_customer_keys(&set);
	check_authenticators(&set);
	check_provider_limits(&set);
	if (open)
		check_platform_service(&set);
	foreign = ks_spi_foreign_object();
	add_check(&set, "foreign objects", foreign == NULL,
			  foreign == NULL ? "no table has a trigger or cascading foreign key of somebody else" :
			  psprintf("%s: nothing is written until it is dropped", foreign));
	check_jwt_keys(&set);
	check_audit(&set);
	add_check(&set, "role", true, RecoveryInProgress() ? "standby: metadata can be read, values not" : "primary");
	return (Datum) 0;
}
