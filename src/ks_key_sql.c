/*-------------------------------------------------------------------------
 *
 * ks_key_sql.c
 *	  Replacing, rewrapping and destroying keys as SQL functions, and how far
 *	  that is.
 *
 * Versions of a workspace's key are made and destroyed under the lock of its
 * row, so that the number of versions does not change under whoever destroys
 * them all.  Sealing takes no such lock: it holds the row of the key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_control.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#include "ks_error.h"
#include "ks_gate.h"
#include "ks_keycount.h"
#include "ks_keys.h"
#include "ks_reencrypt.h"
#include "ks_rewrap.h"
#include "ks_vault_args.h"

#define BATCH_MAX			100000
#define TELL_MS				5000	/* between notices of progress */
#define RETRY_MS			100 /* between looks at rows that others hold */
#define PAUSE_US_MAX		1000000
#define PAUSE_FACTOR		4	/* pauses by the time that is worked */
#define STEP				1	/* values in one transaction of
								 * reencrypt_all(): who reveals meanwhile
								 * waits for a processor no longer than one of
								 * them takes */
#define RETRIES_MAX			50

/* Versions of a workspace's key */

static Datum
rotate_workspace_key(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	text	   *workspace;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	workspace = ks_arg_get_text(fcinfo, 0, "workspace");
	ks_verb_extra(verb, fcinfo, 1);
	ks_begin_change();
	ks_tenant_lock_membership(&verb->call, workspace, verb->workspace, &member);
	ks_require(&member, KS_PERM_WORKSPACE);
	ks_gate_object(verb, &member, "rotate_workspace_key", "key", NULL, NULL);
	PG_RETURN_INT32(ks_keys_add_version(member.workspace));
}

PG_FUNCTION_INFO_V1(ks_fn_rotate_workspace_key);
/* rotate_workspace_key(workspace, approval, reason, context) returns int */
Datum
ks_fn_rotate_workspace_key(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_KEY_ROTATE, rotate_workspace_key);
}

static Datum
shred_workspace(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	text	   *workspace;
	char	   *confirm;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	workspace = ks_arg_get_text(fcinfo, 0, "workspace");
	confirm = text_to_cstring(ks_arg_get_text(fcinfo, 1, "confirm"));
	ks_verb_extra(verb, fcinfo, 2);
	ks_begin_change();
	ks_tenant_lock_membership(&verb->call, workspace, verb->workspace, &member);
	if (!member.owner || member.key)
		ks_error_denied("permission denied", "Only an owner of the workspace destroys its keys, and not through an API key.");
	ks_require(&member, KS_PERM_WORKSPACE);
	if (strcmp(confirm, member.slug) != 0)
		ks_error_invalid("confirm", "the slug of the workspace",
						 "Repeat the slug: no value of the workspace can be opened ever after.");

	/* Whoever has sealed something is waited for; what it adds is lost, too. */
	ks_keys_lock(member.workspace);
	if (ks_keys_current_version(member.workspace) == 0)
		ks_error_shredded(NULL);
	ks_gate_object(verb, &member, "shred_workspace", "workspace", NULL, NULL);
	ks_keys_shred(member.workspace);
	if (ks_keys_current_version(member.workspace) != 0)
		elog(ERROR, "a key was made while the workspace was locked");
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ks_fn_shred_workspace);
/* shred_workspace(workspace, confirm, approval, reason, context) returns void */
Datum
ks_fn_shred_workspace(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_KEY_SHRED, shred_workspace);
}

/* The root key */

static Datum
rotate_root_key(FunctionCallInfo fcinfo, KsVerb *verb)
{
	(void) fcinfo;
	ks_verb_enter(verb, KS_PROFILE_ADMIN);
	ks_begin_change();
	PG_RETURN_INT64(ks_rewrap_all(verb));
}

PG_FUNCTION_INFO_V1(ks_fn_rotate_root_key);
/* rotate_root_key() returns bigint */
Datum
ks_fn_rotate_root_key(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_KEY_REWRAP, rotate_root_key);
}

/* Encrypting again */

/* The workspace that is argument 0, for who holds workspace in it, or the
 * admin profile. */
static void
get_workspace(FunctionCallInfo fcinfo, KsVerb *verb)
{
	text	   *workspace = ks_arg_get_text(fcinfo, 0, "workspace");
	KsMembership member;

	if (verb->call.profiles & KS_PROFILE_ADMIN)
	{
		if (!ks_tenant_find_workspace(workspace, verb->workspace))
			ks_error_not_found(NULL);
		return;
	}
	ks_membership(&verb->call, workspace, &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	ks_require(&member, KS_PERM_WORKSPACE);
}

static int32
get_batch(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		ks_error_null("batch");
	if (PG_GETARG_INT32(1) < 1 || PG_GETARG_INT32(1) > BATCH_MAX)
		ks_error_invalid("batch", psprintf("1 to %d", BATCH_MAX), NULL);
	return PG_GETARG_INT32(1);
}

static void
tell_locked(int64 locked)
{
	if (locked > 0)
		ereport(NOTICE,
				errmsg(INT64_FORMAT " values were left, since other transactions hold them", locked),
				errhint("Call it again when they have ended."));
}

static Datum
reencrypt(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsReencrypted result;
	int32		batch;

	ks_verb_enter(verb, KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	batch = get_batch(fcinfo);
	(void) ks_arg_get_text(fcinfo, 0, "workspace");
	ks_begin_change();
	get_workspace(fcinfo, verb);
	ks_reencrypt_batch(verb, verb->workspace, batch, NULL, NULL, &result);
	tell_locked(result.locked);
	PG_RETURN_INT64(result.done);
}

PG_FUNCTION_INFO_V1(ks_fn_reencrypt);
/* reencrypt(workspace, batch) returns bigint */
Datum
ks_fn_reencrypt(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_KEY_REENCRYPT, reencrypt);
}

/* One call of reencrypt_all(); in fn_extra, across its transactions. */
typedef struct Run
{
	bool		all;			/* every workspace, not the one that is named */
	bool		finished;
	bool		in_workspace;	/* workspace has more to do */
	uint8		workspace[KS_ID_LEN];
	int64		total;			/* that were to do at the beginning */
	int64		done;
	int64		failed;
	int64		locked;			/* that are left for good */
	int			retries;		/* of the workspace */
	TimestampTz started;
	TimestampTz told;
	KsReencryptAhead ahead;
} Run;

/* What follows when a batch has found nothing that it could do. */
static void
leave_workspace(Run *run, int64 locked)
{
	if (locked > 0 && run->retries++ < RETRIES_MAX)
		return;
	run->locked += locked;
	run->retries = 0;
	run->in_workspace = false;
	run->finished = !run->all;
}

/* A batch is what is looked for at a time; each value is done by itself. */
static KsReencryptAhead *
look_ahead(FunctionCallInfo fcinfo, Run *run)
{
	run->ahead.max = Min(get_batch(fcinfo), KS_REENCRYPT_AHEAD);
	return &run->ahead;
}

static void
batch_of_named(FunctionCallInfo fcinfo, KsVerb *verb, Run *run)
{
	KsReencrypted result;

	get_workspace(fcinfo, verb);
	ks_reencrypt_batch(verb, verb->workspace, STEP, NULL, look_ahead(fcinfo, run), &result);
	run->done += result.done;
	run->failed += result.failed;
	if (result.done > 0)
		run->retries = 0;
	else
		leave_workspace(run, result.locked);
}

/* A workspace whose keys cannot be used does not keep the others. */
static void
batch_of_all(FunctionCallInfo fcinfo, KsVerb *verb, Run *run)
{
	KsReencrypted result;
	char	   *problem;

	if (!run->in_workspace && !ks_reencrypt_next(run->workspace, true, true))
	{
		run->finished = true;
		return;
	}
	run->in_workspace = true;
	memcpy(verb->workspace, run->workspace, KS_ID_LEN);
	if (!ks_reencrypt_try_batch(verb, run->workspace, STEP, NULL, look_ahead(fcinfo, run), &result, &problem))
	{
		ereport(WARNING,
				errcode(KS_ERRCODE_SEALED),
				errmsg("values of a workspace could not be encrypted again: %s", problem),
				errdetail("The workspace is %s.",
						  DatumGetCString(DirectFunctionCall1(uuid_out, ks_uuid_datum(run->workspace)))));
		run->in_workspace = false;
		return;
	}
	run->done += result.done;
	run->failed += result.failed;
	if (result.done > 0)
		run->retries = 0;
	else
		leave_workspace(run, result.locked);
}

/* Who calls is looked at again for each batch. */
static Datum
reencrypt_step(FunctionCallInfo fcinfo, KsVerb *verb)
{
	Run		   *run = fcinfo->flinfo->fn_extra;
	bool		first = run->started == 0;

	ks_verb_enter(verb, PG_ARGISNULL(0) ? KS_PROFILE_ADMIN : KS_PROFILE_CLIENT | KS_PROFILE_ADMIN);
	(void) get_batch(fcinfo);
	ks_begin_change();
	if (first)
	{
		run->all = PG_ARGISNULL(0);
		if (!run->all)
			get_workspace(fcinfo, verb);
		run->total = ks_reencrypt_pending(run->all ? NULL : verb->workspace);
		run->started = run->told = GetCurrentTimestamp();
	}
	else if (run->all)
		batch_of_all(fcinfo, verb, run);
	else
		batch_of_named(fcinfo, verb, run);
	PG_RETURN_VOID();
}

static void
tell_progress(Run *run)
{
	TimestampTz now = GetCurrentTimestamp();
	double		seconds = (double) (now - run->started) / USECS_PER_SEC;
	double		rate = seconds > 0 ? (double) run->done / seconds : 0;

	if (!run->finished && !TimestampDifferenceExceeds(run->told, now, TELL_MS))
		return;
	run->told = now;
	if (run->finished)
		ereport(NOTICE,
				errmsg(INT64_FORMAT " values encrypted again in %.1f s", run->done, seconds),
				run->failed > 0 ?
				errdetail(INT64_FORMAT " did not open and were left as they are.", run->failed) : 0);
	else if (rate > 0)
		ereport(NOTICE,
				errmsg(INT64_FORMAT " of " INT64_FORMAT " values encrypted again, %.0f a second, about %.0f s left",
					   run->done, Max(run->total, run->done), rate, (double) Max(run->total - run->done, 0) / rate));
}

/* Latches know milliseconds only. */
static void
pause_us(int64 us)
{
	if (us < 1000)
	{
		pg_usleep(us);
		return;
	}
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, us / 1000, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/*
 * Commits a step.  Only the last one waits for the disk and for a standby, and
 * with it for all before it: what a crash takes back is done again.  The setting
 * is the transaction's own: variables that are assigned to directly would keep
 * what the caller has set for his first transaction only.
 */
static void
commit_step(bool last)
{
	if (last)
	{
		/* A transaction that has written nothing waits for nothing. */
		(void) GetTopTransactionId();
		XLogBeginInsert();
		(void) XLogInsert(RM_XLOG_ID, XLOG_NOOP);
	}
	else
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	ks_spi_commit();
}

/*
 * Each step is a transaction of its own, and is followed by a pause four
 * times as long as it took: so that who reveals hardly notices.
 */
static void
run_steps(FunctionCallInfo fcinfo, Run *run)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone reencrypt_all",
											   ALLOCSET_DEFAULT_SIZES);

	while (!run->finished)
	{
		MemoryContext old = MemoryContextSwitchTo(work);
		TimestampTz began = GetCurrentTimestamp();

		(void) ks_verb_run(fcinfo, KS_ACTION_KEY_REENCRYPT, reencrypt_step);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
		commit_step(run->finished);
		tell_progress(run);
		if (run->retries > 0)
			pause_us(RETRY_MS * 1000);
		else if (!run->finished)
			pause_us(Min(PAUSE_FACTOR * (GetCurrentTimestamp() - began), PAUSE_US_MAX));
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(work);
}

PG_FUNCTION_INFO_V1(ks_fn_reencrypt_all);
/* procedure reencrypt_all(workspace, batch) */
Datum
ks_fn_reencrypt_all(PG_FUNCTION_ARGS)
{
	Run			run = {0};

	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				errmsg("reencrypt_all() commits, and cannot run within a transaction block"),
				errhint("Within a transaction call keystone.reencrypt() until it returns 0."));
	fcinfo->flinfo->fn_extra = &run;
	ks_spi_begin_procedure();
	run_steps(fcinfo, &run);
	tell_locked(run.locked);
	ks_spi_end_procedure();
	fcinfo->flinfo->fn_extra = NULL;
	PG_RETURN_VOID();
}

/* How far it is */

/* The workspaces whose keys the caller may look after, as a uuid[]; 0 for all. */
static Datum
visible_workspaces(const KsCall *call)
{
	KsMembership *members;
	Datum	   *ids;
	int			n;
	int			found = 0;

	if (call->profiles & (KS_PROFILE_ADMIN | KS_PROFILE_MONITOR))
		return 0;
	n = ks_memberships(call, &members);
	ids = palloc(Max(n, 1) * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		if (members[i].permissions & KS_PERM_WORKSPACE)
			ids[found++] = ks_uuid_datum(members[i].workspace);
	}
	return PointerGetDatum(construct_array(ids, found, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* Encryptions that are not saved yet. */
static int64
unsaved_encryptions(const KsKeyCount *counts, int n, const uint8 *workspace, int32 version)
{
	for (int i = 0; i < n; i++)
	{
		if (counts[i].version == (uint32) version && memcmp(counts[i].workspace, workspace, KS_ID_LEN) == 0)
			return (int64) counts[i].n;
	}
	return 0;
}

/* Columns of the query below and of the function. */
enum
{
	PROGRESS_WORKSPACE = 1,
	PROGRESS_SLUG,
	PROGRESS_VERSION,
	PROGRESS_VERSIONS,
	PROGRESS_CREATED_AT,
	PROGRESS_ENCRYPTIONS,
	PROGRESS_OLDEST,
	PROGRESS_TOTAL,
	PROGRESS_CURRENT,
	PROGRESS_PENDING,
	PROGRESS_FAILED
};

static void
add_progress(KsSetResult *set, const KsSpi *spi, uint64 row, const KsKeyCount *counts, int ncounts)
{
	Datum		values[PROGRESS_FAILED] = {0};
	bool		nulls[PROGRESS_FAILED];
	uint8		workspace[KS_ID_LEN];
	int32		version = 0;
	TimestampTz time;

	memset(nulls, true, sizeof(nulls));
	(void) ks_col_uuid(row, PROGRESS_WORKSPACE, workspace);
	values[PROGRESS_WORKSPACE - 1] = ks_uuid_datum(workspace);
	values[PROGRESS_SLUG - 1] = CStringGetTextDatum(ks_col_text(spi, row, PROGRESS_SLUG));
	nulls[PROGRESS_WORKSPACE - 1] = nulls[PROGRESS_SLUG - 1] = false;
	nulls[PROGRESS_VERSION - 1] = !ks_col_int(row, PROGRESS_VERSION, &version);
	values[PROGRESS_VERSION - 1] = Int32GetDatum(version);
	nulls[PROGRESS_CREATED_AT - 1] = !ks_col_time(row, PROGRESS_CREATED_AT, &time);
	if (!nulls[PROGRESS_CREATED_AT - 1])
		values[PROGRESS_CREATED_AT - 1] = TimestampTzGetDatum(time);
	for (int i = PROGRESS_VERSIONS; i <= PROGRESS_FAILED; i++)
	{
		int64		n = 0;

		if (i == PROGRESS_CREATED_AT)
			continue;
		nulls[i - 1] = !ks_col_bigint(row, i, &n);
		if (i == PROGRESS_ENCRYPTIONS)
			n += unsaved_encryptions(counts, ncounts, workspace, version);
		values[i - 1] = Int64GetDatum(n);
	}
	ks_set_add(set, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_key_progress);
/* keystone_private.key_progress() returns setof (workspace_id, workspace, key_version, ...) */
Datum
ks_fn_key_progress(PG_FUNCTION_ARGS)
{
	static KsPlan plan = {.sql =
		"SELECT w.id, w.slug, k.newest, k.versions,"
		" (SELECT n.created_at FROM keystone_private.workspace_keys n WHERE n.workspace_id = w.id AND n.version = k.newest),"
		" coalesce(u.encryptions, 0), c.oldest::bigint, c.total, c.under_newest,"
		" CASE WHEN k.newest IS NULL THEN 0 ELSE c.total - c.under_newest - f.failed END, f.failed"
		" FROM keystone.workspaces w"
		" CROSS JOIN LATERAL (SELECT max(version) AS newest, count(*) AS versions"
		"  FROM keystone_private.workspace_keys WHERE workspace_id = w.id) k"
		" CROSS JOIN LATERAL (SELECT count(*) AS total, count(*) FILTER (WHERE key_version = k.newest) AS under_newest,"
		"  min(key_version) AS oldest FROM keystone_private.ciphertext WHERE workspace_id = w.id) c"
		" CROSS JOIN LATERAL (SELECT count(*) AS failed FROM keystone_private.reencrypt_failures r"
		"  JOIN keystone_private.ciphertext x ON x.workspace_id = r.workspace_id AND x.credential_id = r.credential_id"
		"  AND x.version = r.version WHERE r.workspace_id = w.id AND x.key_version IS DISTINCT FROM k.newest) f"
		" LEFT JOIN keystone_private.key_usage u ON u.workspace_id = w.id AND u.version = k.newest"
		" WHERE $1 IS NULL OR w.id = ANY ($1)"
	};
	KsKeyCount *counts = palloc(KS_KEYCOUNT_MAX * sizeof(KsKeyCount));
	KsArgs		args = {0};
	KsCall		call;
	KsSpi		spi;
	KsSetResult set;
	Datum		visible;
	int			ncounts;
	uint64		rows;

	ks_enter(&call, KS_PROFILE_CLIENT | KS_PROFILE_WORKER | KS_PROFILE_ADMIN | KS_PROFILE_MONITOR);
	visible = visible_workspaces(&call);
	ncounts = ks_keycount_read(counts);
	ks_set_begin(fcinfo, false, &set);
	ks_arg_datum(&args, visible != 0, UUIDARRAYOID, visible);
	ks_spi_begin(&spi);
	rows = ks_spi_read(&plan, &args);
	for (uint64 i = 0; i < rows; i++)
		add_progress(&set, &spi, i, counts, ncounts);
	ks_spi_end(&spi);
	return (Datum) 0;
}
