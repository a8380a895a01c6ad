/*-------------------------------------------------------------------------
 *
 * ks_housekeeper.c
 *	  The housekeeper: the background process that does for a database what
 *	  can be done later.
 *
 * It publishes checkpoints outside the database, counts reveals, destroys what
 * was deleted long enough ago, and notes expiries in the audit log.  What must
 * always hold:
 *
 *	- each piece of work is one short transaction, and what it remembers of its
 *	  progress is written in the same one; nothing is lost or done twice,
 *	  wherever it is ended;
 *	- a checkpoint leaves the database only after the transaction that wrote it
 *	  is durable: it is read as others see it, and sent after that;
 *	- rows that a caller has locked are passed over, and no lock is waited for
 *	  longer than lock_timeout.
 *
 * A piece of work that fails is tried again later and later; the others go on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#include "ks_audit.h"
#include "ks_change.h"
#include "ks_guc.h"
#include "ks_housekeeper.h"
#include "ks_session.h"
#include "ks_signer.h"

#define PUBLISH_MS			1000	/* at most between looks for a checkpoint */
#define USAGE_BATCH			10000	/* entries in one transaction */
#define PURGE_BATCH			100 /* credentials in one transaction */
#define EXPIRE_BATCH		100
#define FAILURES_MAX		5	/* in a row */
#define BACK_OFF_MAX		6	/* times that a delay is doubled */

#define OWN_NAME			"keystone"	/* actor of entries that nobody caused */

/* A checkpoint, and the text that is published. */
typedef struct Checkpoint
{
	int32		epoch;			/* 0: none */
	int64		size;
	char		note[KS_NOTE_MAX + 1];
} Checkpoint;

/* A piece of work. */
typedef struct Task
{
	const char *activity;
	bool		(*run) (void);	/* in a transaction; returns whether there is
								 * more to do at once */
	void		(*committed) (void);	/* after it; may be NULL */
	bool		publishes;		/* is due every second at least */
	int			failures;		/* in a row */
	TimestampTz due;
} Task;

static int	slot;
static MemoryContext round_context;
static int	failures = 0;		/* of any task, since one succeeded */

/* The newest checkpoint, and what the log, the directory and the command have
 * got. */
static Checkpoint newest;
static Checkpoint announced;
static Checkpoint copied;
static Checkpoint requested;
static const char *copy_problem = NULL;


/*-------------------------------------------------------------------------
 * Checkpoints
 *-------------------------------------------------------------------------
 */

static bool
find_checkpoint(void)
{
	static KsPlan plan = {.sql =
		"SELECT epoch, size, note FROM keystone_private.audit_checkpoints"
		" ORDER BY epoch DESC, size DESC LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	newest.epoch = 0;
	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) == 1)
	{
		(void) ks_col_int(0, 1, &newest.epoch);
		(void) ks_col_bigint(0, 2, &newest.size);
		strlcpy(newest.note, ks_col_text(&spi, 0, 3), sizeof(newest.note));
	}
	ks_spi_end(&spi);
	return false;
}

static bool
is_newest(const Checkpoint *checkpoint)
{
	return checkpoint->epoch == newest.epoch && checkpoint->size == newest.size;
}

/* Writes a copy.  It is tried again until it succeeds. */
static void
copy_checkpoint(void)
{
	KsCheckpoint checkpoint;
	const char *problem;

	if (ks_checkpoint_parse(newest.note, strlen(newest.note), &checkpoint))
		problem = ks_anchor_publish(&checkpoint, newest.note);
	else
		problem = "the newest checkpoint in the database is damaged";

	if (problem == NULL)
		copied = newest;
	else if (copy_problem == NULL || strcmp(copy_problem, problem) != 0)
		ereport(WARNING,
				errcode(ERRCODE_IO_ERROR),
				errmsg("keystone: a checkpoint of the audit log could not be copied: %s", problem));
	copy_problem = problem;

	/* With a command, what is shown is how that fares. */
	if (ks_audit_anchor_command[0] == '\0')
		ks_event_anchor_done(MyDatabaseId, (uint64) newest.size, problem == NULL, problem);
}

static void
announce_checkpoint(void)
{
	ereport(LOG,
			errmsg("keystone: audit checkpoint"),
			errdetail_internal("%s", newest.note),
			errhidestmt(true));
	announced = newest;
}

static void
publish_checkpoint(void)
{
	if (newest.epoch == 0)
		return;
	if (!is_newest(&announced))
		announce_checkpoint();
	if (ks_audit_anchor_dir[0] != '\0' && !is_newest(&copied))
		copy_checkpoint();
	if (ks_audit_anchor_command[0] != '\0' && !is_newest(&requested) &&
		ks_event_request_anchor(MyDatabaseId, newest.note, (uint64) newest.size))
		requested = newest;
}


/*-------------------------------------------------------------------------
 * Counting reveals
 *-------------------------------------------------------------------------
 */

/* Successful reveals among some entries. */
typedef struct Reveals
{
	int			n;
	Datum	   *workspaces;
	Datum	   *credentials;
	Datum	   *times;
} Reveals;

static int64
usage_position(void)
{
	static KsPlan plan = {.sql =
		"SELECT position FROM keystone_private.housekeeping WHERE task = 'usage'"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		position = 0;

	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) == 1)
		(void) ks_col_bigint(0, 1, &position);
	ks_spi_end(&spi);
	return position;
}

static void
set_usage_position(int64 position)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.housekeeping (task, position, done_at)"
		" VALUES ('usage', $1, clock_timestamp())"
		" ON CONFLICT (task) DO UPDATE SET position = excluded.position, done_at = excluded.done_at"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_bigint(&args, true, position);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

static Datum
make_uuid(const uint8 id[KS_ID_LEN])
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	memcpy(uuid->data, id, KS_ID_LEN);
	return UUIDPGetDatum(uuid);
}

/* The bytes of an entry count, not the copies beside them. */
static void
add_reveal(Reveals *reveals, const uint8 *bytes, size_t len)
{
	KsEntry		entry;

	if (bytes == NULL || !ks_entry_decode(bytes, len, &entry) ||
		entry.kind != KS_ACTION_CREDENTIAL_REVEAL || entry.outcome != KS_OUTCOME_OK)
		return;
	reveals->workspaces[reveals->n] = make_uuid(entry.workspace);
	reveals->credentials[reveals->n] = make_uuid(entry.object);
	reveals->times[reveals->n] = TimestampTzGetDatum(entry.time - KS_UNIX_EPOCH_OFFSET);
	reveals->n++;
}

/* Reads the reveals after one entry up to another. */
static void
read_reveals(int64 after, int64 last, Reveals *reveals)
{
	static KsPlan plan = {.sql =
		"SELECT entry FROM keystone_private.audit_entries WHERE seq > $1 AND seq <= $2 AND kind = $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			rows;

	reveals->n = 0;
	ks_spi_begin(&spi);
	ks_arg_bigint(&args, true, after);
	ks_arg_bigint(&args, true, last);
	ks_arg_int(&args, true, KS_ACTION_CREDENTIAL_REVEAL);
	rows = (int) ks_spi_read(&plan, &args);
	MemoryContextSwitchTo(spi.caller);
	reveals->workspaces = palloc((rows + 1) * sizeof(Datum));
	reveals->credentials = palloc((rows + 1) * sizeof(Datum));
	reveals->times = palloc((rows + 1) * sizeof(Datum));
	for (int i = 0; i < rows; i++)
	{
		size_t		len = 0;
		uint8	   *bytes = ks_col_bytes(&spi, i, 1, &len);

		add_reveal(reveals, bytes, len);
	}
	ks_spi_end(&spi);
}

/*
 * Adds them to the counters.  Credentials that are gone are left out.
 */
static void
write_reveals(const Reveals *reveals)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.credential_usage AS u (workspace_id, credential_id, usage_count, last_used_at)"
		" SELECT r.workspace_id, r.credential_id, count(*), max(r.at)"
		" FROM unnest($1, $2, $3) AS r (workspace_id, credential_id, at)"
		" JOIN keystone_private.credentials c ON c.workspace_id = r.workspace_id AND c.id = r.credential_id"
		" GROUP BY r.workspace_id, r.credential_id"
		" ON CONFLICT (workspace_id, credential_id) DO UPDATE SET"
		" usage_count = u.usage_count + excluded.usage_count,"
		" last_used_at = greatest(u.last_used_at, excluded.last_used_at)"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n = reveals->n;

	ks_spi_begin_write(&spi);
	ks_arg_datum(&args, true, UUIDARRAYOID,
				 PointerGetDatum(construct_array(reveals->workspaces, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	ks_arg_datum(&args, true, UUIDARRAYOID,
				 PointerGetDatum(construct_array(reveals->credentials, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	ks_arg_datum(&args, true, TIMESTAMPTZARRAYOID,
				 PointerGetDatum(construct_array(reveals->times, n, TIMESTAMPTZOID, sizeof(TimestampTz),
												 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

static bool
count_usage(void)
{
	int64		position = usage_position();
	int64		newest_seq = ks_audit_last_seq();
	int64		last = Min(newest_seq, position + USAGE_BATCH);
	Reveals		reveals;

	if (last <= position)
		return false;
	read_reveals(position, last, &reveals);
	if (reveals.n > 0)
		write_reveals(&reveals);
	set_usage_position(last);
	return last < newest_seq;
}


/*-------------------------------------------------------------------------
 * Credentials whose time has come
 *-------------------------------------------------------------------------
 */

/*
 * Locks the credentials that a plan selects and reads them.  *credentials is
 * palloc'd.  Returns how many.
 */
static int
lock_credentials(KsPlan *plan, int limit, KsCredential **credentials)
{
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin_write(&spi);
	ks_arg_int(&args, true, limit);
	n = (int) ks_spi_write(plan, &args);
	*credentials = MemoryContextAllocZero(spi.caller, Max(n, 1) * sizeof(KsCredential));
	for (int i = 0; i < n; i++)
	{
		(void) ks_col_uuid(i, 1, (*credentials)[i].workspace);
		(void) ks_col_uuid(i, 2, (*credentials)[i].id);
	}
	ks_spi_end(&spi);

	for (int i = 0; i < n; i++)
	{
		if (!ks_store_lock(&(*credentials)[i]))
			elog(ERROR, "a locked row is gone");
	}
	return n;
}

static int
lock_deleted(KsCredential **credentials)
{
	static KsPlan plan = {.sql =
		"SELECT workspace_id, id FROM keystone_private.credentials"
		" WHERE deleted_at IS NOT NULL AND destroyed_at IS NULL AND destroy_after < clock_timestamp()"
		" ORDER BY destroy_after LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED"
	};

	return lock_credentials(&plan, PURGE_BATCH, credentials);
}

/*
 * A verb of ours: each credential gets one entry, credential.destroy.
 */
static Datum
destroy_deleted(FunctionCallInfo fcinfo pg_attribute_unused(), KsVerb *verb)
{
	KsCredential *credentials;
	int			n = lock_deleted(&credentials);

	ks_identity_actor(&verb->call.actor);
	verb->entered = true;
	for (int i = 0; i < n; i++)
	{
		ks_verb_credential(verb, &credentials[i], 0);
		ks_change_begin(verb);
		ks_detail_add(&verb->detail, "source", "housekeeper");
		ks_store_destroy(&credentials[i], 0);
		ks_change_end(verb, &credentials[i], 0);
	}
	return BoolGetDatum(n == PURGE_BATCH);
}

static bool
purge_deleted(void)
{
	return DatumGetBool(ks_verb_run(NULL, KS_ACTION_CREDENTIAL_DESTROY, destroy_deleted));
}

static int
lock_expired(KsCredential **credentials)
{
	static KsPlan plan = {.sql =
		"SELECT c.workspace_id, c.id FROM keystone_private.credentials c"
		" LEFT JOIN keystone_private.credential_usage u ON u.workspace_id = c.workspace_id AND u.credential_id = c.id"
		" WHERE c.expires_at <= clock_timestamp() AND c.deleted_at IS NULL"
		" AND c.expires_at IS DISTINCT FROM u.expiry_noticed"
		" ORDER BY c.expires_at LIMIT $1 FOR NO KEY UPDATE OF c SKIP LOCKED"
	};

	return lock_credentials(&plan, EXPIRE_BATCH, credentials);
}

static void
mark_noticed(const KsCredential *credential)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.credential_usage (workspace_id, credential_id, expiry_noticed)"
		" VALUES ($1, $2, $3)"
		" ON CONFLICT (workspace_id, credential_id) DO UPDATE SET expiry_noticed = excluded.expiry_noticed"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	ks_arg_time(&args, true, credential->expires_at);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

/* Nobody has made it expire: the entry's actor is the log's own. */
static void
write_expiry(const KsCredential *credential)
{
	static const int utc = 0;
	char		expires_at[MAXDATELEN + 1];
	KsDraft		draft;

	ks_draft_begin(&draft, KS_ACTION_CREDENTIAL_EXPIRE, NULL);
	strlcpy(draft.actor, OWN_NAME, sizeof(draft.actor));
	strlcpy(draft.role, OWN_NAME, sizeof(draft.role));
	ks_draft_credential(&draft, credential);
	draft.event.version = credential->current_version;
	JsonEncodeDateTime(expires_at, TimestampTzGetDatum(credential->expires_at), TIMESTAMPTZOID, &utc);
	ks_detail_add(&draft.detail, "expires_at", expires_at);
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
}

static bool
note_expiries(void)
{
	KsCredential *credentials;
	int			n = lock_expired(&credentials);

	for (int i = 0; i < n; i++)
	{
		mark_noticed(&credentials[i]);
		write_expiry(&credentials[i]);
	}
	return n == EXPIRE_BATCH;
}


/*-------------------------------------------------------------------------
 * The process
 *-------------------------------------------------------------------------
 */

static Task tasks[] = {
	{.activity = "publishing checkpoints", .run = find_checkpoint, .committed = publish_checkpoint, .publishes = true},
	{.activity = "counting reveals", .run = count_usage},
	{.activity = "destroying deleted credentials", .run = purge_deleted},
	{.activity = "noting expired credentials", .run = note_expiries},
};

static int
interval_of(const Task *task)
{
	return task->publishes ? Min(PUBLISH_MS, ks_housekeeper_interval) : ks_housekeeper_interval;
}

static void
make_all_due(void)
{
	for (size_t i = 0; i < lengthof(tasks); i++)
	{
		if (tasks[i].failures == 0)
			tasks[i].due = 0;
	}
}

/* Notes that a task failed, and is to be tried later. */
static void
recover(Task *task)
{
	int			doublings = Min(task->failures, BACK_OFF_MAX);

	HOLD_INTERRUPTS();
	EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(round_context);
	MemoryContextReset(round_context);
	RESUME_INTERRUPTS();

	task->failures++;
	task->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) interval_of(task) << doublings);
	if (++failures >= FAILURES_MAX)
		proc_exit(1);
}

static void
run_task(Task *task)
{
	bool		more;

	pgstat_report_activity(STATE_RUNNING, task->activity);
	ks_session_begin();
	more = task->run();
	ks_session_commit();
	if (task->committed != NULL)
		task->committed();

	task->failures = failures = 0;
	task->due = more ? 0 : TimestampTzPlusMilliseconds(GetCurrentTimestamp(), interval_of(task));
	ks_event_worker_ok(slot, KS_HOUSEKEEPER);
}

static void
try_task(Task *task)
{
	MemoryContextSwitchTo(round_context);
	PG_TRY();
	{
		run_task(task);
	}
	PG_CATCH();
	{
		recover(task);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(round_context);
	MemoryContextReset(round_context);
}

static void
exit_if_gone(void)
{
	bool		present;

	ks_session_begin();
	present = OidIsValid(get_extension_oid("keystone", true));
	ks_session_commit();
	if (!present)
		proc_exit(1);
}

/* Another directory or command gets the newest checkpoint, too. */
static void
reload(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	copied.epoch = requested.epoch = 0;
	copy_problem = NULL;
	make_all_due();
}

/* Milliseconds until the next task is due. */
static long
until_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long		wait = PUBLISH_MS;

	for (size_t i = 0; i < lengthof(tasks); i++)
		wait = Min(wait, TimestampDifferenceMilliseconds(now, tasks[i].due));
	return wait;
}

/*
 * Does a piece of each task that is due.  A task with more to do gets its turn
 * again after the others.
 */
static void
one_round(void)
{
	if (ConfigReloadPending)
		reload();
	exit_if_gone();
	for (size_t i = 0; i < lengthof(tasks); i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (ks_event_log_begun() && tasks[i].due <= GetCurrentTimestamp())
			try_task(&tasks[i]);
	}
}

static void
wait_for_work(void)
{
	long		timeout = ks_event_log_begun() ? until_due() : PUBLISH_MS;

	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	if ((WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout,
				   PG_WAIT_EXTENSION) & WL_LATCH_SET) != 0)
		make_all_due();
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Entry point; main_arg is the slot.  The launcher starts it again; the
 * postmaster does not.
 */
void
ks_housekeeper_main(Datum main_arg)
{
	KsSlotStatus status;

	slot = DatumGetInt32(main_arg);
	ks_session_signals();
	BackgroundWorkerUnblockSignals();
	ks_event_slot_status(slot, &status);
	if (!OidIsValid(status.database))
		proc_exit(1);
	BackgroundWorkerInitializeConnectionByOid(status.database, InvalidOid, 0);
	if (!ks_event_worker_started(slot, KS_HOUSEKEEPER))
		proc_exit(1);
	ks_session_force();
	SetConfigOption("application_name", "keystone housekeeper", PGC_USERSET, PGC_S_OVERRIDE);

	round_context = AllocSetContextCreate(TopMemoryContext, "keystone housekeeper", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		one_round();
		wait_for_work();
	}
}
