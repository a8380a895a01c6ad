/*-------------------------------------------------------------------------
 *
 * ks_append.c
 *	  Writing the audit log.
 *
 * The end of the log is kept in memory: the compact range of the tree, the
 * last leaf, the hashes of the tiles that are not full yet, the counters of
 * workspaces.  All of it is read anew after a transaction that did not commit,
 * rather than undone.
 *
 * Nothing is looked up but the log's own tables, and no lock is taken but on
 * them: a caller may hold any other while it waits for us.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ks_action.h"
#include "ks_append.h"
#include "ks_audit.h"
#include "ks_bulk.h"
#include "ks_eraser.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_mem.h"
#include "ks_signer.h"

#define WORKSPACES_MAX			100000	/* kept in memory */
#define CHECKPOINT_ENTRIES		4096	/* a checkpoint after so many,
										 * whatever the interval */
#define SALTS					256 /* drawn at once */
#define KEY_RETRY_SECONDS		5
#define LOOK_SECONDS			300 /* between looks at all of the outbox */

#define OWN_NAME				"keystone"	/* actor of the log's own entries */

/* Columns of audit_entries. */
enum
{
	ENTRY_SEQ = 0,
	ENTRY_EPOCH,
	ENTRY_AT,
	ENTRY_KIND,
	ENTRY_WORKSPACE,
	ENTRY_OBJECT,
	ENTRY_ACTOR,
	ENTRY_OWNER,
	ENTRY_RELATION,
	ENTRY_ENTRY,
	ENTRY_SALT,
	ENTRY_DETAIL,
	ENTRY_ERASED_IN,
	ENTRY_COLUMNS
};

typedef struct Workspace
{
	uint8		id[KS_ID_LEN];	/* hash key */
	uint64		seq;
	KsHash		last;
} Workspace;

/* The log's end. */
typedef struct Log
{
	bool		loaded;
	Oid			table;			/* audit_entries, as of loading */
	KsEpoch		epoch;
	KsFrontier	frontier;
	KsHash		last;			/* leaf; zeros in an empty epoch */
	int64		last_time;		/* of the last entry, since 1970 */
	int64		next_seq;
	KsHash		tails[KS_TILE_LEVELS][KS_TILE_WIDTH];
	int			ntails[KS_TILE_LEVELS];
	HTAB	   *workspaces;		/* in context */
	MemoryContext context;
	uint64		checkpoint_size;
	TimestampTz checkpoint_at;
} Log;

/* Signing. */
typedef struct Signing
{
	bool		ready;
	KsNoteSigner signer;
	TimestampTz since;			/* when the key was announced */
	TimestampTz retry_at;		/* after a problem */
	const char *problem;		/* NULL: none */
	bool		lost;			/* the epoch's key is gone */
	bool		signed_now;		/* this transaction has a checkpoint */

	/* A key that takes over when the transaction commits. */
	bool		pending;
	KsNoteSigner next;

	/* The last epoch's key, to be destroyed then. */
	bool		retiring;
	KsNoteKey	retired;
} Signing;

static Log	end_of;
static Signing signing;
static KsBulk entries;			/* of this batch */
static uint64 batches = 0;
static bool anchor_checked = false;

static const uint8 no_id[KS_ID_LEN] = {0};

static void
check_crypto(KsCryptoResult result, const char *operation)
{
	if (result != KS_CRYPTO_OK)
		ks_error_crypto(operation);
}

static void
push_leaf(const KsHash *leaf)
{
	check_crypto(ks_frontier_push(&end_of.frontier, leaf), "extend the tree");
}


/*-------------------------------------------------------------------------
 * Tiles
 *-------------------------------------------------------------------------
 */

static void
write_tile(int level, uint64 n, const KsHash hashes[KS_TILE_WIDTH])
{
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};
	bytea	   *bytes = palloc(VARHDRSZ + KS_TILE_WIDTH * KS_DIGEST_LEN);

	SET_VARSIZE(bytes, VARHDRSZ + KS_TILE_WIDTH * KS_DIGEST_LEN);
	memcpy(VARDATA(bytes), hashes, KS_TILE_WIDTH * KS_DIGEST_LEN);
	values[0] = Int32GetDatum(end_of.epoch.epoch);
	values[1] = Int32GetDatum(level);
	values[2] = Int64GetDatum((int64) n);
	values[3] = PointerGetDatum(bytes);
	ks_bulk_insert("audit_tiles", values, nulls);
	pfree(bytes);
}

/* Adds a hash to the tile of its level that is not full yet. */
static void
push_tile(int level, const KsHash *hash)
{
	KsHash		root;

	end_of.tails[level][end_of.ntails[level]++] = *hash;
	if (end_of.ntails[level] < KS_TILE_WIDTH)
		return;
	write_tile(level, (end_of.frontier.size >> (8 * (level + 1))) - 1, end_of.tails[level]);
	check_crypto(ks_tile_root(end_of.tails[level], &root), "extend the tree");
	end_of.ntails[level] = 0;
	if (level + 1 < KS_TILE_LEVELS)
		push_tile(level + 1, &root);
}


/*-------------------------------------------------------------------------
 * Entries
 *-------------------------------------------------------------------------
 */

/* The counter and last leaf of a workspace, as the log has them. */
static Workspace *
find_workspace(const uint8 *id)
{
	Workspace  *workspace;
	bool		found;
	uint8	   *entry;
	size_t		len;
	KsEntry		last;

	workspace = hash_search(end_of.workspaces, id, HASH_ENTER, &found);
	if (found)
		return workspace;

	workspace->seq = 0;
	memset(&workspace->last, 0, sizeof(KsHash));
	entry = ks_audit_last_of_workspace(id, &len);
	if (entry != NULL && ks_entry_decode(entry, len, &last))
	{
		workspace->seq = last.workspace_seq;
		check_crypto(ks_leaf_hash(entry, len, &workspace->last), "compute a digest");
	}
	return workspace;
}

static const uint8 *
next_salt(void)
{
	static uint8 salts[SALTS][KS_SALT_LEN];
	static int	left = 0;

	if (left == 0)
	{
		check_crypto(ks_random(salts, sizeof(salts)), "draw random bytes");
		left = SALTS;
	}
	return salts[--left];
}

static bytea *
make_bytes(const void *data, size_t len)
{
	bytea	   *bytes = palloc(VARHDRSZ + len);

	SET_VARSIZE(bytes, VARHDRSZ + len);
	memcpy(VARDATA(bytes), data, len);
	return bytes;
}

static void
set_uuid(Datum *values, bool *nulls, int column, const uint8 *id)
{
	pg_uuid_t  *uuid;

	nulls[column] = memcmp(id, no_id, KS_ID_LEN) == 0;
	if (nulls[column])
		return;
	uuid = palloc(sizeof(pg_uuid_t));
	memcpy(uuid->data, id, KS_ID_LEN);
	values[column] = UUIDPGetDatum(uuid);
}

/* The row, with copies of what is searched by. */
static void
write_entry(const KsEvent *event, const KsEntry *entry, const uint8 *bytes, size_t len, const uint8 *salt)
{
	Datum		values[ENTRY_COLUMNS] = {0};
	bool		nulls[ENTRY_COLUMNS] = {false};

	values[ENTRY_SEQ] = Int64GetDatum(end_of.next_seq);
	values[ENTRY_EPOCH] = Int32GetDatum(end_of.epoch.epoch);
	values[ENTRY_AT] = TimestampTzGetDatum(entry->time - KS_UNIX_EPOCH_OFFSET);
	values[ENTRY_KIND] = Int32GetDatum(entry->kind);
	set_uuid(values, nulls, ENTRY_WORKSPACE, event->workspace);
	set_uuid(values, nulls, ENTRY_OBJECT, event->object);
	set_uuid(values, nulls, ENTRY_ACTOR, event->principal);
	set_uuid(values, nulls, ENTRY_OWNER, event->owner);
	nulls[ENTRY_RELATION] = event->relation[0] == '\0';
	if (!nulls[ENTRY_RELATION])
		values[ENTRY_RELATION] = CStringGetTextDatum(event->relation);
	values[ENTRY_ENTRY] = PointerGetDatum(make_bytes(bytes, len));
	nulls[ENTRY_SALT] = nulls[ENTRY_DETAIL] = event->detail_len == 0;
	nulls[ENTRY_ERASED_IN] = true;
	if (event->detail_len > 0)
	{
		values[ENTRY_SALT] = PointerGetDatum(make_bytes(salt, KS_SALT_LEN));
		values[ENTRY_DETAIL] = PointerGetDatum(make_bytes(event->detail, event->detail_len));
	}
	ks_bulk_add(&entries, values, nulls);
}

static void
append(const KsEvent *event, KsOutcome outcome)
{
	KsEntry		entry = {0};
	Workspace  *workspace = NULL;
	uint8		bytes[KS_ENTRY_MAX];
	const uint8 *salt = NULL;
	size_t		len;
	KsHash		leaf;

	memcpy(entry.log_id, end_of.epoch.log_id, KS_ID_LEN);
	entry.epoch = (uint32) end_of.epoch.epoch;
	entry.index = end_of.frontier.size;
	entry.previous = end_of.last;
	entry.time = Max(end_of.last_time, GetCurrentTimestamp() + KS_UNIX_EPOCH_OFFSET);
	entry.kind = event->kind;
	if (memcmp(event->workspace, no_id, KS_ID_LEN) != 0)
	{
		workspace = find_workspace(event->workspace);
		memcpy(entry.workspace, event->workspace, KS_ID_LEN);
		entry.workspace_seq = workspace->seq + 1;
		entry.workspace_previous = workspace->last;
	}
	entry.actor = event->actor;
	entry.actor_len = strlen(event->actor);
	entry.role = event->role;
	entry.role_len = strlen(event->role);
	memcpy(entry.object, event->object, KS_ID_LEN);
	entry.version = event->version;
	entry.has_digest = event->has_digest;
	memcpy(entry.digest, event->digest, KS_DIGEST_LEN);
	entry.outcome = (uint8) outcome;
	entry.has_context = true;
	entry.context = event->context;
	entry.has_commitment = event->detail_len > 0;
	if (entry.has_commitment)
	{
		salt = next_salt();
		check_crypto(ks_detail_commitment(salt, event->detail, event->detail_len, entry.commitment),
					 "compute a digest");
	}
	len = ks_entry_encode(&entry, bytes, sizeof(bytes));
	if (len == 0)
		elog(ERROR, "an audit entry is too long");
	check_crypto(ks_leaf_hash(bytes, len, &leaf), "compute a digest");

	write_entry(event, &entry, bytes, len, salt);
	push_leaf(&leaf);
	push_tile(0, &leaf);
	end_of.last = leaf;
	end_of.last_time = entry.time;
	end_of.next_seq++;
	if (workspace != NULL)
	{
		workspace->seq++;
		workspace->last = leaf;
	}
}

/*
 * Decides a claim: the first one of a request wins.  The row is there before
 * the next event is looked at.
 */
static bool
win_claim(const KsEvent *event)
{
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};
	pg_uuid_t	request;

	if (ks_audit_is_claimed(event->claim))
		return false;
	memcpy(request.data, event->claim, KS_ID_LEN);
	values[0] = UUIDPGetDatum(&request);
	values[1] = Int64GetDatum(end_of.next_seq);
	values[2] = CStringGetTextDatum(event->actor);
	values[3] = TimestampTzGetDatum(GetCurrentTimestamp());
	ks_bulk_insert("approval_claims", values, nulls);
	CommandCounterIncrement();
	return true;
}

/* Refusals of audit_erase() have the same kind. */
static bool
erases_details(const KsEvent *event)
{
	return event->kind == KS_ACTION_LOG_ERASE && event->outcome == KS_OUTCOME_OK;
}

KsVerdict
ks_append_event(const KsEvent *event)
{
	if (event->flags & KS_EVENT_FLUSH)
		return KS_VERDICT_DONE;
	if ((event->flags & KS_EVENT_CLAIM) && !win_claim(event))
	{
		append(event, KS_OUTCOME_DENIED);
		return KS_VERDICT_LOST;
	}
	append(event, erases_details(event) && !ks_eraser_run(event, end_of.next_seq) ? KS_OUTCOME_ERROR : event->outcome);
	return KS_VERDICT_DONE;
}

void
ks_append_own(uint16 kind, KsDetail *detail)
{
	uint8		packed[KS_DETAIL_MAX];
	KsEvent		event = {
		.kind = kind,
		.actor = OWN_NAME,
		.role = OWN_NAME,
		.relation = "",
		.detail = packed,
	};

	ks_event_context(&event.context);
	event.detail_len = ks_detail_encode(detail, packed, sizeof(packed));
	append(&event, KS_OUTCOME_OK);
}


/*-------------------------------------------------------------------------
 * The outbox
 *-------------------------------------------------------------------------
 */

/* A row that is no event cannot be moved; that it was there is recorded. */
static void
append_unreadable(int64 id, const void *body, size_t len)
{
	KsDetail	detail = {0};
	uint8		digest[KS_DIGEST_LEN];
	char		hex[2 * KS_DIGEST_LEN + 1];

	check_crypto(ks_sha256(body, len, digest), "compute a digest");
	hex_encode((const char *) digest, KS_DIGEST_LEN, hex);
	hex[2 * KS_DIGEST_LEN] = '\0';
	ks_detail_add(&detail, "outbox_id", psprintf(INT64_FORMAT, id));
	ks_detail_add(&detail, "problem", "a row of the outbox was not readable");
	ks_detail_add(&detail, "sha256", hex);
	ks_append_own(KS_ACTION_LOG_LOSS, &detail);
}

static void
move_row(Relation outbox, HeapTuple row)
{
	bool		isnull;
	int64		id = DatumGetInt64(heap_getattr(row, 1, RelationGetDescr(outbox), &isnull));
	bytea	   *body = DatumGetByteaPP(heap_getattr(row, 3, RelationGetDescr(outbox), &isnull));
	KsEvent		event;

	if (ks_event_unpack(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), &event))
		(void) ks_append_event(&event);
	else
		append_unreadable(id, VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body));
	simple_heap_delete(outbox, &row->t_self);
}

/*
 * Where to begin to look: all rows up to the floor are gone, and none will
 * come.  Without it each look would pass all rows that were moved and that
 * VACUUM cannot remove, because of somebody's old snapshot.
 *
 * An id is a position in the write-ahead log.  Rows at or below a mark belong
 * to transactions that had an id when the mark was taken; once all of these
 * have ended, a complete look leaves none.
 */
typedef struct OutboxMark
{
	int64		lsn;
	TransactionId xid;			/* invalid: there is no mark */
} OutboxMark;

static OutboxMark outbox_mark;
static int64 outbox_floor = 0;
static TimestampTz outbox_looked_at = 0;	/* at all of it */

/*
 * From time to time all of the outbox is looked at: a row that somebody put
 * below the floor gets into the log like any other.  It would else stand for a
 * change that no entry tells of.
 */
static void
reset_floor(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int			seconds = ks_reconcile_interval > 0 ? Min(LOOK_SECONDS, ks_reconcile_interval / 2) : LOOK_SECONDS;

	if (!TimestampDifferenceExceeds(outbox_looked_at, now, seconds * 1000))
		return;
	outbox_looked_at = now;
	outbox_floor = 0;
}

/* After a complete look with this snapshot; now was noted before it. */
static void
raise_floor(Snapshot snapshot, const OutboxMark *now)
{
	if (TransactionIdIsValid(outbox_mark.xid) &&
		TransactionIdFollowsOrEquals(snapshot->xmin, outbox_mark.xid))
	{
		outbox_floor = outbox_mark.lsn;
		outbox_mark.xid = InvalidTransactionId;
	}
	if (!TransactionIdIsValid(outbox_mark.xid))
		outbox_mark = *now;
}

/*
 * What is visible is committed, so that a change is never missed and one that
 * is rolled back never moves.  The order of ids is that of commits for each
 * object, since whoever changes one holds its row's lock while it draws an id.
 */
int
ks_append_outbox(int max)
{
	OutboxMark	now = {.lsn = (int64) GetXLogInsertRecPtr(), .xid = ReadNextTransactionId()};
	ScanKeyData above;
	Relation	outbox = table_open(ks_bulk_table("audit_outbox"), RowExclusiveLock);
	Relation	index = index_open(ks_primary_key_index(outbox), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan;
	HeapTuple	row;
	int			n = 0;

	reset_floor();
	ScanKeyInit(&above, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(outbox_floor));
	scan = systable_beginscan_ordered(outbox, index, snapshot, 1, &above);

	while (n < max && (row = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		move_row(outbox, row);
		n++;
	}
	systable_endscan_ordered(scan);
	if (n < max)
		raise_floor(snapshot, &now);
	UnregisterSnapshot(snapshot);
	index_close(index, NoLock);
	table_close(outbox, NoLock);
	return n;
}


/*-------------------------------------------------------------------------
 * Keys and checkpoints
 *-------------------------------------------------------------------------
 */

/*
 * Announces a key: an entry that carries the public key, signed by the one
 * before if there is one, and a row of audit_keys.
 */
static void
announce_key(const KsNoteSigner *signer, const KsNoteSigner *before)
{
	KsDetail	detail = {0};
	char		vkey[KS_VKEY_MAX];
	uint8		signature[KS_ED25519_SIGNATURE_LEN];
	char		base64[2 * KS_ED25519_SIGNATURE_LEN];
	Datum		values[4] = {0};
	bool		nulls[4] = {false, false, false, before == NULL};

	if (ks_vkey_format(&signer->key, vkey, sizeof(vkey)) == 0)
		elog(ERROR, "a key's name is too long");
	values[0] = Int32GetDatum(end_of.epoch.epoch);
	values[1] = Int64GetDatum(end_of.next_seq);
	values[2] = CStringGetTextDatum(vkey);
	ks_detail_add(&detail, "vkey", vkey);
	if (before != NULL)
	{
		if (!ks_note_sign_bytes(before, vkey, strlen(vkey), signature) ||
			ks_base64_encode(signature, sizeof(signature), base64, sizeof(base64)) == 0)
			ks_error_crypto("sign a key");
		ks_detail_add(&detail, "signature", base64);
		values[3] = PointerGetDatum(make_bytes(signature, sizeof(signature)));
	}
	ks_append_own(KS_ACTION_LOG_KEY, &detail);
	ks_bulk_insert("audit_keys", values, nulls);
}

static void
key_problem(const char *problem)
{
	if (signing.problem == NULL || strcmp(signing.problem, problem) != 0)
		ereport(WARNING,
				errmsg("keystone: audit checkpoints are not signed: %s", problem));
	signing.problem = problem;
	signing.retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), KEY_RETRY_SECONDS * 1000);
}

/*
 * Makes the next key of the epoch.  Its file is there before it is announced;
 * it signs once the transaction has committed.
 */
static void
make_key(const KsNoteSigner *before)
{
	const char *problem = ks_signer_make(end_of.epoch.origin, &signing.next);

	if (problem != NULL)
	{
		key_problem(problem);
		return;
	}
	signing.pending = true;
	announce_key(&signing.next, before);
}

/* Finds the epoch's key; makes its first if it may. */
static void
load_key(bool may_make)
{
	KsNoteKey	key;
	const char *problem;
	char	   *vkey;

	signing.ready = false;
	vkey = ks_audit_newest_vkey(end_of.epoch.epoch, &signing.since);
	if (vkey == NULL)
	{
		if (may_make)
			make_key(NULL);
		return;
	}
	problem = ks_vkey_parse(vkey, &key) ? ks_signer_load(&key, &signing.signer) : "the newest row of keystone_private.audit_keys is damaged";
	signing.lost = problem != NULL && strcmp(problem, KS_KEY_FILE_MISSING) == 0;
	if (problem != NULL)
		key_problem(problem);
	else
	{
		signing.ready = true;
		signing.problem = NULL;
	}
}

/* Sees to it that there is a key, and that it is not too old. */
static void
prepare_key(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (signing.pending)
		return;
	if (ks_audit_key_dir[0] == '\0')
	{
		signing.ready = false;
		signing.problem = "keystone.audit_key_dir is not set";
		signing.retry_at = 0;
	}
	else if (!signing.ready)
	{
		if (signing.retry_at <= now)
			load_key(true);
	}
	else if (ks_audit_key_period > 0 && signing.retry_at <= now &&
			 TimestampDifferenceExceeds(signing.since, now, ks_audit_key_period * 1000))
		make_key(&signing.signer);
}

/* Key of the last committed signature, before a pending one takes over. */
static int
list_signers(const KsNoteSigner *signers[2])
{
	int			n = 0;

	if (signing.pending)
		signers[n++] = &signing.next;
	if (signing.ready)
		signers[n++] = &signing.signer;
	return n;
}

TimestampTz
ks_append_checkpoint_due(void)
{
	if (!end_of.loaded || end_of.frontier.size == end_of.checkpoint_size)
		return 0;
	if (!signing.ready && !signing.pending)
		return ks_audit_key_dir[0] == '\0' ? 0 : Max(signing.retry_at, 1);
	return TimestampTzPlusMilliseconds(end_of.checkpoint_at, ks_audit_checkpoint_interval);
}

void
ks_append_checkpoint(bool force)
{
	const KsNoteSigner *signers[2];
	KsCheckpoint checkpoint = {.size = 0};
	char		note[KS_NOTE_MAX];
	Datum		values[5];
	bool		nulls[5] = {false, false, false, false, false};
	TimestampTz now = GetCurrentTimestamp();
	int			n;

	prepare_key();
	n = list_signers(signers);
	if (n == 0 || end_of.frontier.size == end_of.checkpoint_size)
		return;
	if (!force && !signing.pending && now < ks_append_checkpoint_due() &&
		end_of.frontier.size - end_of.checkpoint_size < CHECKPOINT_ENTRIES)
		return;

	strlcpy(checkpoint.origin, end_of.epoch.origin, sizeof(checkpoint.origin));
	checkpoint.size = end_of.frontier.size;
	check_crypto(ks_frontier_root(&end_of.frontier, &checkpoint.root), "compute the root");
	if (ks_checkpoint_format(&checkpoint, signers, n, note, sizeof(note)) == 0)
		ks_error_crypto("sign a checkpoint");
	values[0] = Int32GetDatum(end_of.epoch.epoch);
	values[1] = Int64GetDatum((int64) checkpoint.size);
	values[2] = PointerGetDatum(make_bytes(checkpoint.root.bytes, KS_DIGEST_LEN));
	values[3] = CStringGetTextDatum(note);
	values[4] = TimestampTzGetDatum(now);
	ks_bulk_insert("audit_checkpoints", values, nulls);
	end_of.checkpoint_size = checkpoint.size;
	end_of.checkpoint_at = now;
	signing.signed_now = true;
}

bool
ks_append_must_flush(void)
{
	return signing.signed_now || signing.pending;
}


/*-------------------------------------------------------------------------
 * Epochs
 *-------------------------------------------------------------------------
 */

static char *
hex_of(const void *data, size_t len)
{
	char	   *hex = palloc(2 * len + 1);

	hex_encode(data, len, hex);
	hex[2 * len] = '\0';
	return hex;
}

static void
insert_epoch(const KsEpoch *epoch, const char *reason)
{
	Datum		values[11];
	bool		nulls[11] = {false};
	pg_uuid_t	log_id;

	memcpy(log_id.data, epoch->log_id, KS_ID_LEN);
	values[0] = Int32GetDatum(epoch->epoch);
	values[1] = UUIDPGetDatum(&log_id);
	values[2] = CStringGetTextDatum(epoch->origin);
	values[3] = Int64GetDatum(epoch->system_id);
	values[4] = Int64GetDatum(epoch->database);
	values[5] = Int32GetDatum(epoch->timeline);
	values[6] = Int64GetDatum(epoch->first_seq);
	values[7] = Int64GetDatum((int64) epoch->previous_size);
	values[8] = PointerGetDatum(make_bytes(epoch->previous_root.bytes, KS_DIGEST_LEN));
	values[9] = TimestampTzGetDatum(epoch->started_at);
	values[10] = CStringGetTextDatum(reason);
	ks_bulk_insert("audit_epochs", values, nulls);
}

/* The first entry of an epoch, which commits to the one before. */
static void
append_epoch_entry(const KsEpoch *before, const char *reason)
{
	const KsEpoch *epoch = &end_of.epoch;
	KsDetail	detail = {0};

	ks_detail_add(&detail, "origin", epoch->origin);
	ks_detail_add(&detail, "reason", reason);
	ks_detail_add(&detail, "system_id", psprintf(UINT64_FORMAT, (uint64) epoch->system_id));
	ks_detail_add(&detail, "database", psprintf(INT64_FORMAT, epoch->database));
	ks_detail_add(&detail, "timeline", psprintf("%d", epoch->timeline));
	ks_detail_add(&detail, "version", KEYSTONE_VERSION);
	if (before->epoch > 0)
	{
		ks_detail_add(&detail, "previous_origin", before->origin);
		ks_detail_add(&detail, "previous_size", psprintf(UINT64_FORMAT, epoch->previous_size));
		ks_detail_add(&detail, "previous_root", hex_of(epoch->previous_root.bytes, KS_DIGEST_LEN));
	}
	ks_append_own(KS_ACTION_LOG_EPOCH, &detail);
}

/* Two trees are never signed under one origin: a nonce tells apart copies
 * that begin the same epoch. */
static void
name_epoch(KsEpoch *epoch)
{
	uint8		nonce[8];

	check_crypto(ks_random(nonce, sizeof(nonce)), "draw random bytes");
	snprintf(epoch->origin, sizeof(epoch->origin), "%s/%s/e%d-%s", ks_audit_origin,
			 hex_of(epoch->log_id, KS_ID_LEN), epoch->epoch, hex_of(nonce, sizeof(nonce)));
}

/*
 * Begins an epoch after the one that is loaded, which may be none.  same_log:
 * its id goes on.
 */
static void
begin_epoch(const char *reason, bool same_log)
{
	KsEpoch		before = end_of.epoch;
	KsEpoch    *epoch = &end_of.epoch;

	epoch->epoch++;
	epoch->started_at = GetCurrentTimestamp();
	if (!same_log)
		check_crypto(ks_random_uuid(epoch->log_id), "draw random bytes");
	ks_audit_identity(&epoch->system_id, &epoch->database, &epoch->timeline);
	epoch->first_seq = end_of.next_seq;
	epoch->previous_size = end_of.frontier.size;
	check_crypto(ks_frontier_root(&end_of.frontier, &epoch->previous_root), "compute the root");
	name_epoch(epoch);

	memset(&end_of.frontier, 0, sizeof(end_of.frontier));
	memset(&end_of.last, 0, sizeof(end_of.last));
	memset(end_of.ntails, 0, sizeof(end_of.ntails));
	end_of.checkpoint_size = 0;
	end_of.checkpoint_at = 0;
	insert_epoch(epoch, reason);
	append_epoch_entry(&before, reason);

	/* The key's name is the origin, so that the new epoch needs a new key. */
	if (ks_audit_key_dir[0] != '\0')
	{
		KsNoteSigner old = signing.signer;
		bool		had = signing.ready;

		signing.ready = false;
		make_key(had ? &old : NULL);

		/* A copy's key may be one that its original still signs with. */
		signing.retiring = had && signing.pending && same_log;
		signing.retired = old.key;
		ks_wipe(&old, sizeof(old));
	}
	ereport(LOG,
			errmsg("keystone: epoch %d of the audit log begins: %s", epoch->epoch, reason),
			errdetail_internal("%s", epoch->origin));
}


/*-------------------------------------------------------------------------
 * Reading the end of the log
 *-------------------------------------------------------------------------
 */

static void
make_workspaces(void)
{
	HASHCTL		control = {
		.keysize = KS_ID_LEN,
		.entrysize = sizeof(Workspace),
	};

	if (end_of.context == NULL)
		end_of.context = AllocSetContextCreate(TopMemoryContext, "keystone audit workspaces",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(end_of.context);
	control.hcxt = end_of.context;
	end_of.workspaces = hash_create("keystone audit workspaces", 1024, &control,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* The hashes of tiles that are not full. */
static void
load_tails(KsTreeReader *reader)
{
	for (int level = 0; level < KS_TILE_LEVELS; level++)
	{
		uint64		hashes = reader->size >> (8 * level);

		end_of.ntails[level] = (int) (hashes % KS_TILE_WIDTH);
		for (int i = 0; i < end_of.ntails[level]; i++)
		{
			if (!ks_audit_subtree(reader, 8 * level, hashes - end_of.ntails[level] + i,
								  &end_of.tails[level][i]))
				ereport(ERROR,
						errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the audit log is damaged: a tile or an entry is missing"),
						errhint("Run keystone.audit_verify()."));
		}
	}
}

/* The last entry: its leaf and time. */
static void
load_last(void)
{
	static KsPlan plan = {.sql = "SELECT entry FROM keystone_private.audit_entries WHERE seq = $1"};
	KsArgs		args = {0};
	KsSpi		spi;
	KsEntry		entry;

	memset(&end_of.last, 0, sizeof(end_of.last));
	end_of.last_time = 0;
	if (end_of.frontier.size == 0)
		return;
	ks_spi_begin(&spi);
	ks_arg_bigint(&args, true, end_of.next_seq - 1);
	if (ks_spi_read(&plan, &args) == 1)
	{
		size_t		len;
		uint8	   *bytes = ks_col_bytes(&spi, 0, 1, &len);

		check_crypto(ks_leaf_hash(bytes, len, &end_of.last), "compute a digest");
		if (ks_entry_decode(bytes, len, &entry))
			end_of.last_time = entry.time;
	}
	ks_spi_end(&spi);
}

static void
load_end(void)
{
	KsTreeReader *reader;
	uint64		size = 0;

	make_workspaces();
	end_of.table = ks_bulk_table("audit_entries");
	end_of.next_seq = ks_audit_last_seq() + 1;
	if (ks_audit_epoch(&end_of.epoch))
		size = (uint64) (end_of.next_seq - end_of.epoch.first_seq);
	if (size > 0 && end_of.next_seq < end_of.epoch.first_seq)
		ereport(ERROR,
				errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("the audit log is damaged: the entries of its last epoch are missing"));
	if (!ks_audit_frontier(&end_of.epoch, size, NULL, &end_of.frontier))
		ereport(ERROR,
				errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("the audit log is damaged: a tile or an entry is missing"),
				errhint("Run keystone.audit_verify()."));
	reader = palloc(sizeof(KsTreeReader));
	ks_audit_tree(reader, &end_of.epoch, size, NULL);
	load_tails(reader);
	load_last();
	end_of.checkpoint_size = end_of.epoch.epoch > 0 ?
		ks_audit_checkpoint_size(end_of.epoch.epoch, &end_of.checkpoint_at) : 0;
}

/* The root of the log's epoch when it had so many leaves. */
static bool
root_was(const KsCheckpoint *checkpoint)
{
	KsFrontier	frontier;
	KsHash		root;

	return ks_audit_frontier(&end_of.epoch, checkpoint->size, NULL, &frontier) &&
		ks_frontier_root(&frontier, &root) == KS_CRYPTO_OK &&
		memcmp(root.bytes, checkpoint->root.bytes, KS_DIGEST_LEN) == 0;
}

/*
 * Whether a copy of a checkpoint outside the database says that the log had
 * entries which it does not have, or others: then this is an old copy of the
 * data directory.
 */
static bool
is_behind_anchor(KsCheckpoint *anchored)
{
	bool		found = false;

	if (ks_audit_anchor_dir[0] == '\0' || end_of.epoch.epoch == 0)
		return false;
	if (ks_anchor_newest(end_of.epoch.origin, anchored, &found) != NULL || !found)
		return false;
	return anchored->size > end_of.frontier.size || !root_was(anchored);
}

static void
append_loss(const KsCheckpoint *anchored, uint64 local_size)
{
	KsDetail	detail = {0};

	ks_detail_add(&detail, "problem", "a checkpoint outside the database covers entries that are not here");
	ks_detail_add(&detail, "local_size", psprintf(UINT64_FORMAT, local_size));
	ks_detail_add(&detail, "anchored_size", psprintf(UINT64_FORMAT, anchored->size));
	ks_detail_add(&detail, "anchored_root", hex_of(anchored->root.bytes, KS_DIGEST_LEN));
	ks_append_own(KS_ACTION_LOG_LOSS, &detail);
	ereport(WARNING,
			errcode(ERRCODE_DATA_CORRUPTED),
			errmsg("keystone: the audit log has lost entries: a checkpoint outside covers " UINT64_FORMAT
				   " of them, the database has " UINT64_FORMAT, anchored->size, local_size));
}

/* Begins an epoch if this is not where the last one was written. */
static void
check_identity(TimestampTz accepted_at, const char *accepted_reason)
{
	const KsEpoch *epoch = &end_of.epoch;
	KsCheckpoint anchored;
	int64		system_id;
	int64		database;
	int32		timeline;

	ks_audit_identity(&system_id, &database, &timeline);
	if (epoch->epoch == 0)
		begin_epoch("first", false);
	else if (epoch->system_id != system_id || epoch->database != database)
		begin_epoch(psprintf("restored: %s", accepted_reason != NULL ? accepted_reason : "accepted"), false);
	else if (accepted_at > epoch->started_at)
		begin_epoch(psprintf("accepted: %s", accepted_reason), true);
	else if (epoch->timeline != timeline)
		begin_epoch("promoted", true);
	else if (signing.lost)
		begin_epoch("key lost", true);
	else if (!anchor_checked && is_behind_anchor(&anchored))
	{
		uint64		local_size = end_of.frontier.size;

		begin_epoch("loss", true);
		append_loss(&anchored, local_size);
	}
	else if (signing.ready)
		ks_signer_tidy(&signing.signer.key);
	signing.lost = false;
	anchor_checked = true;
}

/*
 * Whether the end of the log that is in memory is still the end of this log:
 * the extension may have been made anew, or a new epoch may be due.
 */
static bool
is_current(void)
{
	return end_of.loaded && !signing.lost && end_of.table == ks_bulk_table("audit_entries");
}

KsLogState
ks_append_open(void)
{
	TimestampTz accepted_at;
	char	   *reason;

	if (is_current())
	{
		if (hash_get_num_entries(end_of.workspaces) > WORKSPACES_MAX)
			make_workspaces();
		ks_bulk_begin(&entries, "audit_entries");
		return KS_LOG_BEGUN;
	}

	end_of.loaded = false;
	signing.ready = false;
	outbox_floor = 0;
	outbox_mark.xid = InvalidTransactionId;
	switch (ks_audit_instance(&accepted_at, &reason))
	{
		case KS_INSTANCE_NONE:
			return KS_LOG_NONE;
		case KS_INSTANCE_FOREIGN:
			return KS_LOG_FOREIGN;
		case KS_INSTANCE_OURS:
			break;
	}
	load_end();
	if (end_of.epoch.epoch > 0 && ks_audit_key_dir[0] != '\0')
		load_key(false);
	ks_bulk_begin(&entries, "audit_entries");
	check_identity(accepted_at, reason);
	end_of.loaded = true;
	return KS_LOG_BEGUN;
}

void
ks_append_close(void)
{
	ks_bulk_end(&entries);
}

/* The new key has taken over: the one before is destroyed. */
static void
take_over_key(void)
{
	if (signing.ready)
		ks_signer_remove(&signing.signer.key);
	if (signing.retiring)
		ks_signer_remove(&signing.retired);
	signing.retiring = false;
	ks_wipe(&signing.signer, sizeof(signing.signer));
	signing.signer = signing.next;
	ks_wipe(&signing.next, sizeof(signing.next));
	signing.pending = false;
	signing.ready = true;
	signing.problem = NULL;
	signing.since = GetCurrentTimestamp();
}

void
ks_append_committed(void)
{
	KsLogStatus status = {.state = KS_LOG_BEGUN};

	signing.signed_now = false;
	if (signing.pending)
		take_over_key();
	status.entries = (uint64) (end_of.next_seq - 1);
	status.checkpoint_size = end_of.checkpoint_size;
	status.checkpoint_at = end_of.checkpoint_at;
	status.committed_at = GetCurrentTimestamp();
	status.batches = ++batches;
	if (signing.problem != NULL)
		strlcpy(status.key_problem, signing.problem, sizeof(status.key_problem));
	ks_event_set_log_status(&status);
}

void
ks_append_aborted(void)
{
	if (signing.pending)
	{
		ks_signer_remove(&signing.next.key);
		ks_wipe(&signing.next, sizeof(signing.next));
		signing.pending = false;
		signing.retiring = false;
	}
	signing.signed_now = false;
	anchor_checked = false;
	end_of.loaded = false;
}

TimestampTz
ks_append_last_at(void)
{
	return end_of.loaded ? end_of.last_time - KS_UNIX_EPOCH_OFFSET : 0;
}
