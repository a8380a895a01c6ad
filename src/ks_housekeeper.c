/*-------------------------------------------------------------------------
 *
 * ks_housekeeper.c
 *	  The housekeeper: the background process that does for a database what
 *	  can be done later.
 *
 * It publishes checkpoints outside the database, counts reveals and notes when
 * API keys were used, destroys what was deleted or offboarded long enough ago,
 * notes expiries and alerts in the audit log, gives back what was reserved of
 * quotas, closes periods, escalates requests for approval and marks those whose
 * time is over, and replaces keys whose time is over.  What must always hold:
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

#include "ks_approval.h"
#include "ks_audit.h"
#include "ks_change.h"
#include "ks_guc.h"
#include "ks_housekeeper.h"
#include "ks_keycare.h"
#include "ks_keys.h"
#include "ks_kms.h"
#include "ks_limits.h"
#include "ks_quota.h"
#include "ks_session.h"
#include "ks_signer.h"
#include "ks_sweep.h"
#include "ks_tenant.h"
#include "ks_text.h"
#include "ks_usage.h"

#define PUBLISH_MS			1000	/* at most between looks for a checkpoint */
#define USAGE_BATCH			10000	/* entries in one transaction */
#define PURGE_BATCH			100 /* credentials in one transaction */
#define OFFBOARD_BATCH		100 /* workspaces that are looked at in one
								 * transaction */
#define EXPIRE_BATCH		100
#define QUOTA_BATCH			100 /* reservations, or periods */
#define FAILURES_MAX		5	/* in a row */
#define BACK_OFF_MAX		6	/* times that a delay is doubled */

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
	const int  *interval;		/* milliseconds; NULL: housekeeper_interval */
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
 * Counting reveals, and noting the use of API keys
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

static void
add_uuids(KsArgs *args, Datum *uuids, int n)
{
	ks_arg_datum(args, true, UUIDARRAYOID,
				 PointerGetDatum(construct_array(uuids, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
}

static void
add_times(KsArgs *args, Datum *times, int n)
{
	ks_arg_datum(args, true, TIMESTAMPTZARRAYOID,
				 PointerGetDatum(construct_array(times, n, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL,
												 TYPALIGN_DOUBLE)));
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

	ks_spi_begin_write(&spi);
	add_uuids(&args, reveals->workspaces, reveals->n);
	add_uuids(&args, reveals->credentials, reveals->n);
	add_times(&args, reveals->times, reveals->n);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

/* When principals acted last, as some entries have it. */
typedef struct Uses
{
	int			n;
	Datum	   *principals;
	Datum	   *times;
} Uses;

/* The actor as the bytes have it; false when that is no principal. */
static bool
get_actor(const KsEntry *entry, uint8 principal[KS_ID_LEN])
{
	char		word[37];

	if (entry->actor_len != sizeof(word) - 1)
		return false;
	memcpy(word, entry->actor, entry->actor_len);
	word[entry->actor_len] = '\0';
	return ks_text_uuid(word, principal);
}

static void
add_use(Uses *uses, const uint8 *bytes, size_t len)
{
	KsEntry		entry;
	uint8		principal[KS_ID_LEN];

	if (bytes == NULL || !ks_entry_decode(bytes, len, &entry) || !get_actor(&entry, principal))
		return;
	uses->principals[uses->n] = make_uuid(principal);
	uses->times[uses->n] = TimestampTzGetDatum(entry.time - KS_UNIX_EPOCH_OFFSET);
	uses->n++;
}

/* Reads the entries of API keys after one entry up to another. */
static void
read_uses(int64 after, int64 last, Uses *uses)
{
	static KsPlan plan = {.sql =
		"SELECT e.entry FROM keystone_private.audit_entries e"
		" JOIN keystone_private.api_keys k ON k.id = e.actor_id"
		" WHERE e.seq > $1 AND e.seq <= $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			rows;

	uses->n = 0;
	ks_spi_begin(&spi);
	ks_arg_bigint(&args, true, after);
	ks_arg_bigint(&args, true, last);
	rows = (int) ks_spi_read(&plan, &args);
	MemoryContextSwitchTo(spi.caller);
	uses->principals = palloc((rows + 1) * sizeof(Datum));
	uses->times = palloc((rows + 1) * sizeof(Datum));
	for (int i = 0; i < rows; i++)
	{
		size_t		len = 0;
		uint8	   *bytes = ks_col_bytes(&spi, i, 1, &len);

		add_use(uses, bytes, len);
	}
	ks_spi_end(&spi);
}

static void
write_uses(const Uses *uses)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.principal_usage AS u (principal_id, last_used_at)"
		" SELECT k.id, max(r.at) FROM unnest($1, $2) AS r (principal_id, at)"
		" JOIN keystone_private.api_keys k ON k.id = r.principal_id GROUP BY k.id"
		" ON CONFLICT (principal_id) DO UPDATE SET last_used_at = greatest(u.last_used_at, excluded.last_used_at)"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	add_uuids(&args, uses->principals, uses->n);
	add_times(&args, uses->times, uses->n);
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
	Uses		uses;

	if (last <= position)
		return false;
	read_reveals(position, last, &reveals);
	if (reveals.n > 0)
		write_reveals(&reveals);
	read_uses(position, last, &uses);
	if (uses.n > 0)
		write_uses(&uses);
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
lock_credentials(KsPlan *plan, const KsArgs *args, KsCredential **credentials)
{
	KsSpi		spi;
	int			n;

	ks_spi_begin_write(&spi);
	n = (int) ks_spi_write(plan, args);
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
	KsArgs		args = {0};

	ks_arg_int(&args, true, PURGE_BATCH);
	return lock_credentials(&plan, &args, credentials);
}

/* Each gets one entry, credential.destroy. */
static void
destroy_all(KsVerb *verb, const KsCredential *credentials, int n)
{
	for (int i = 0; i < n; i++)
	{
		ks_verb_credential(verb, &credentials[i], 0);
		ks_change_begin(verb);
		ks_detail_add(&verb->detail, "source", "housekeeper");
		ks_store_destroy(&credentials[i], 0);
		ks_change_end(verb, &credentials[i], 0);
	}
}

static Datum
destroy_deleted(FunctionCallInfo fcinfo pg_attribute_unused(), KsVerb *verb)
{
	KsCredential *credentials;
	int			n = lock_deleted(&credentials);

	ks_verb_enter_own(verb);
	destroy_all(verb, credentials, n);
	return BoolGetDatum(n == PURGE_BATCH);
}

static bool
purge_deleted(void)
{
	return DatumGetBool(ks_verb_run(NULL, KS_ACTION_CREDENTIAL_DESTROY, destroy_deleted));
}


/*-------------------------------------------------------------------------
 * Workspaces whose time has come
 *-------------------------------------------------------------------------
 */

/* Ids of workspaces whose time is over, those longest so first; palloc'd. */
static int
find_offboarded(uint8 (**workspaces)[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT id, purge_after FROM keystone.workspaces"
		" WHERE purge_after IS NOT NULL AND purged_at IS NULL AND purge_after <= clock_timestamp()"
		" AND (purge_after, id) > ($2, $3) ORDER BY purge_after, id LIMIT $1"
	};
	static TimestampTz last_time = DT_NOBEGIN;
	static uint8 last_id[KS_ID_LEN];
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_int(&args, true, OFFBOARD_BATCH);
	ks_arg_time(&args, true, last_time);
	ks_arg_uuid(&args, last_id);
	n = (int) ks_spi_read(&plan, &args);
	*workspaces = MemoryContextAlloc(spi.caller, Max(n, 1) * KS_ID_LEN);
	for (int i = 0; i < n; i++)
		(void) ks_col_uuid(i, 1, (*workspaces)[i]);

	/* Those that somebody holds, or has forged, must not keep the others. */
	if (n < OFFBOARD_BATCH)
		last_time = DT_NOBEGIN;
	else
	{
		(void) ks_col_time(n - 1, 2, &last_time);
		memcpy(last_id, (*workspaces)[n - 1], KS_ID_LEN);
	}
	ks_spi_end(&spi);
	return n;
}

/*
 * Locks a workspace that is to be purged, and its keys: from then on nothing is
 * sealed for it.  False when somebody else holds one of these locks, when the
 * offboarding was cancelled meanwhile, and for a row that was changed by hand.
 */
static bool
lock_offboarded(const uint8 workspace[KS_ID_LEN], KsWorkspaceRow *row)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_WORKSPACE_COLUMNS " FROM keystone.workspaces w WHERE w.id = $1"
		" AND w.purge_after <= clock_timestamp() AND w.purged_at IS NULL FOR NO KEY UPDATE SKIP LOCKED"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		locked;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	locked = ks_spi_write(&plan, &args) == 1 && ks_workspace_read(&spi, 0, 1, row);
	ks_spi_end(&spi);
	return locked && ks_keys_try_lock(workspace);
}

/*
 * What of a workspace is left to destroy.  A batch begins where the last one
 * ended, so that what is destroyed already is not read again and again.  That
 * is no more than a hint: at the end it is forgotten.
 */
static int
lock_remaining(const uint8 workspace[KS_ID_LEN], int limit, KsCredential **credentials)
{
	static KsPlan plan = {.sql =
		"SELECT workspace_id, id FROM keystone_private.credentials"
		" WHERE workspace_id = $1 AND id > $2 AND destroyed_at IS NULL"
		" ORDER BY id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED"
	};
	static uint8 last_workspace[KS_ID_LEN];
	static uint8 last_id[KS_ID_LEN];
	KsArgs		args = {0};
	int			n;

	if (memcmp(last_workspace, workspace, KS_ID_LEN) != 0)
		memset(last_id, 0, KS_ID_LEN);
	memcpy(last_workspace, workspace, KS_ID_LEN);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, last_id);
	ks_arg_int(&args, true, limit);
	n = lock_credentials(&plan, &args, credentials);
	if (n == limit)
		memcpy(last_id, (*credentials)[n - 1].id, KS_ID_LEN);
	else
		memset(last_id, 0, KS_ID_LEN);
	return n;
}

/* Whether all of it is destroyed; what somebody has locked is not. */
static bool
is_empty(const uint8 workspace[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT 1 FROM keystone_private.credentials WHERE workspace_id = $1 AND destroyed_at IS NULL LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		empty;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	empty = ks_spi_read(&plan, &args) == 0;
	ks_spi_end(&spi);
	return empty;
}

/*
 * Destroys at most so many credentials of a workspace, and when none is left
 * its keys as well: then it is purged.  Returns how many.
 */
static int
purge_workspace(KsVerb *verb, const uint8 workspace[KS_ID_LEN], int limit)
{
	KsWorkspaceRow row;
	KsCredential *credentials;
	int			n;

	if (!lock_offboarded(workspace, &row))
		return 0;
	n = lock_remaining(workspace, limit, &credentials);
	destroy_all(verb, credentials, n);
	if (n < limit && is_empty(workspace))
	{
		ks_keys_shred(workspace);
		row.purged = true;
		row.purged_at = GetCurrentTimestamp();
		ks_tenant_write_workspace(&row, NULL);
	}
	return n;
}

static Datum
purge_workspaces(FunctionCallInfo fcinfo pg_attribute_unused(), KsVerb *verb)
{
	uint8		(*workspaces)[KS_ID_LEN];
	int			n = find_offboarded(&workspaces);
	int			left = PURGE_BATCH;

	ks_verb_enter_own(verb);
	for (int i = 0; i < n && left > 0; i++)
		left -= purge_workspace(verb, workspaces[i], left);
	return BoolGetDatum(left == 0);
}

/* Not in a sealed vault: rows are neither verified nor written there. */
static bool
purge_offboarded(void)
{
	if (!ks_keyring_has_mac_key())
		return false;
	return DatumGetBool(ks_verb_run(NULL, KS_ACTION_CREDENTIAL_DESTROY, purge_workspaces));
}


/*-------------------------------------------------------------------------
 * Credentials that expire
 *-------------------------------------------------------------------------
 */

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
	KsArgs		args = {0};

	ks_arg_int(&args, true, EXPIRE_BATCH);
	return lock_credentials(&plan, &args, credentials);
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

/* A time in ISO 8601, palloc'd. */
static char *
encode_time(TimestampTz time)
{
	static const int utc = 0;
	char	   *word = palloc(MAXDATELEN + 1);

	JsonEncodeDateTime(word, TimestampTzGetDatum(time), TIMESTAMPTZOID, &utc);
	return word;
}

static void
write_expiry(const KsCredential *credential)
{
	KsDraft		draft;

	ks_draft_begin_own(&draft, KS_ACTION_CREDENTIAL_EXPIRE);
	ks_draft_credential(&draft, credential);
	draft.event.version = credential->current_version;
	ks_detail_add(&draft.detail, "expires_at", encode_time(credential->expires_at));
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
 * Quotas
 *-------------------------------------------------------------------------
 */

static bool
release_reservations(void)
{
	return ks_quota_expire(QUOTA_BATCH) == QUOTA_BATCH;
}

static void
write_period(const KsClosedPeriod *period)
{
	KsDraft		draft;

	ks_draft_begin_own(&draft, KS_ACTION_PERIOD_CLOSE);
	memcpy(draft.event.workspace, period->workspace, KS_ID_LEN);
	memcpy(draft.event.object, period->workspace, KS_ID_LEN);
	ks_detail_add(&draft.detail, "meter", period->meter);
	ks_detail_add(&draft.detail, "period_start", encode_time(period->start));
	ks_detail_add(&draft.detail, "period_end", encode_time(period->end));
	ks_detail_add(&draft.detail, "used", psprintf(INT64_FORMAT, period->used));
	ks_detail_add(&draft.detail, "overage", psprintf(INT64_FORMAT, period->overage));
	ks_detail_add(&draft.detail, "cost_micros", psprintf(INT64_FORMAT, period->cost_micros));
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
}

static bool
close_periods(void)
{
	KsClosedPeriod *periods;
	int			n = ks_quota_close(QUOTA_BATCH, &periods);

	for (int i = 0; i < n; i++)
		write_period(&periods[i]);
	return n == QUOTA_BATCH;
}


/*-------------------------------------------------------------------------
 * Customers' keys that are not available
 *-------------------------------------------------------------------------
 */

static KsKmsFailure kms_failure;
static bool has_kms_failure;

static bool
note_kms_failure(void)
{
	KsDraft		draft;

	has_kms_failure = ks_kms_next_failure(&kms_failure);
	if (!has_kms_failure)
		return false;
	ks_draft_begin_own(&draft, KS_ACTION_KMS_FAIL);
	memcpy(draft.event.workspace, kms_failure.workspace, KS_ID_LEN);
	memcpy(draft.event.object, kms_failure.workspace, KS_ID_LEN);
	draft.event.outcome = KS_OUTCOME_ERROR;
	ks_detail_add(&draft.detail, "kms_uri", kms_failure.uri);
	ks_detail_add(&draft.detail, "failures", psprintf("%d", kms_failure.failures));
	ks_detail_add(&draft.detail, "since", encode_time(kms_failure.opened_at));
	ks_detail_add(&draft.detail, "problem", psprintf("keystone.kms_command %s", kms_failure.problem));
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
	return true;
}

/* After the commit: what was rolled back is noted again. */
static void
kms_failure_noted(void)
{
	if (has_kms_failure)
		ks_kms_failure_noted(&kms_failure);
}


/*-------------------------------------------------------------------------
 * The process
 *-------------------------------------------------------------------------
 */

static Task tasks[] = {
	{.activity = "publishing checkpoints", .run = find_checkpoint, .committed = publish_checkpoint, .publishes = true},
	{.activity = "counting reveals", .run = count_usage},
	{.activity = "destroying deleted credentials", .run = purge_deleted},
	{.activity = "purging offboarded workspaces", .run = purge_offboarded},
	{.activity = "noting expired credentials", .run = note_expiries},
	{.activity = "saving limits", .run = ks_limits_flush, .committed = ks_limits_flushed,
	.interval = &ks_limit_flush_interval},
	{.activity = "noting failures of customers' keys", .run = note_kms_failure, .committed = kms_failure_noted},
	{.activity = "releasing expired reservations", .run = release_reservations},
	{.activity = "closing periods of quotas", .run = close_periods},
	{.activity = "looking after requests for approval", .run = ks_approval_sweep},
	{.activity = "counting encryptions", .run = ks_keycare_save_counts, .committed = ks_keycare_counts_saved},
	{.activity = "replacing workspace keys", .run = ks_keycare_rotate},
	{.activity = "encrypting values again", .run = ks_keycare_reencrypt},
	{.activity = "dropping former wraps of keys", .run = ks_keycare_drop_former},
	{.activity = "noting thresholds that were reached", .run = ks_usage_note_alerts,
	.committed = ks_usage_alerts_noted},
	{.activity = "comparing rows with the audit log", .run = ks_sweep, .committed = ks_sweep_committed,
	.interval = &ks_sweep_pause},
};

static int
interval_of(const Task *task)
{
	if (task->interval != NULL)
		return *task->interval;
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
