/*-------------------------------------------------------------------------
 *
 * ks_change.c
 *	  The outbox and the instance row: whether there is a log, and what is on
 *	  its way into it.
 *
 * The log begins with the instance row, which the first change writes.  As
 * long as there is none, triggers write nothing, so that a dump can be
 * restored.  Once the appender has said that the log is begun, its flag in
 * shared memory counts, whatever became of the row.
 *
 * The outbox is written past the executor, as the user whose statement fired
 * a trigger: no SQL of anybody's runs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_control.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "ks_audit.h"
#include "ks_begin.h"
#include "ks_bulk.h"
#include "ks_change.h"
#include "ks_error.h"
#include "ks_inval.h"

static bool guard_open = false;

/* Of this transaction. */
static bool outbox_written = false;
static SubTransactionId instance_made = InvalidSubTransactionId;	/* where the row was
																	 * written */
#define UNCOMMITTED_MAX 16
static int	uncommitted_n = 0;
static uint16 uncommitted[UNCOMMITTED_MAX]; /* what it has changed, each kind
											 * once */

/* Whether the instance row is known to be ours; dropped through relcache
 * invalidation of its table. */
static bool instance_known = false;
static Oid	instance_table = InvalidOid;

static void
relcache_changed(Datum arg, Oid relid)
{
	(void) arg;
	if (!OidIsValid(relid) || relid == instance_table)
		instance_known = false;
}

/*
 * A transaction's end.  What it made is known only if it stays.
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (outbox_written || instance_made != InvalidSubTransactionId)
				ks_event_outbox_written();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			if (instance_made != InvalidSubTransactionId)
				instance_known = false;
			break;
		default:
			return;
	}
	outbox_written = guard_open = false;
	instance_made = InvalidSubTransactionId;
	uncommitted_n = 0;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subxact, SubTransactionId parent, void *arg)
{
	(void) arg;
	if (event == SUBXACT_EVENT_COMMIT_SUB && instance_made == subxact)
		instance_made = parent;
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	if (instance_made == subxact)
	{
		instance_made = InvalidSubTransactionId;
		instance_known = false;
	}
	guard_open = false;
}

void
ks_change_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

bool
ks_change_guard_open(void)
{
	return guard_open;
}

void
ks_change_set_guard(bool open)
{
	guard_open = open;
}

/*
 * Whether a table has a row, committed or of this transaction.  Without the
 * executor: it is asked for each row of a table that is restored.
 */
static bool
has_row(const char *table)
{
	Relation	rel = table_open(ks_bulk_table(table), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	bool		found = HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return found;
}

bool
ks_change_has_instance(void)
{
	return has_row("instance");
}

bool
ks_change_outbox_has_rows(void)
{
	return has_row("audit_outbox");
}

/* The instance, as far as it has to be asked for. */
static KsInstance
find_instance(void)
{
	static bool registered = false;
	KsInstance	instance;

	if (instance_known)
		return KS_INSTANCE_OURS;
	if (!registered)
	{
		ks_inval_register(relcache_changed);
		registered = true;
	}
	instance_table = ks_bulk_table("instance");
	instance = ks_audit_instance(NULL, NULL);
	instance_known = instance == KS_INSTANCE_OURS;
	return instance;
}

/* Writes the instance row, replacing another database's with a reason. */
static void
write_instance(const char *reason)
{
	static KsPlan insert = {.sql =
		"INSERT INTO keystone_private.instance (system_id, database) VALUES ($1, $2) ON CONFLICT DO NOTHING"
	};
	static KsPlan replace = {.sql =
		"INSERT INTO keystone_private.instance (system_id, database, accepted_reason) VALUES ($1, $2, $3)"
		" ON CONFLICT (only_row) DO UPDATE SET system_id = excluded.system_id, database = excluded.database,"
		" written_at = excluded.written_at, accepted_reason = excluded.accepted_reason"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		system_id;
	int64		database;
	int32		timeline;

	ks_audit_identity(&system_id, &database, &timeline);
	ks_spi_begin_write(&spi);
	ks_arg_bigint(&args, true, system_id);
	ks_arg_bigint(&args, true, database);
	if (reason != NULL)
		ks_arg_text(&args, reason);

	/* After an error the end of the transaction closes it again. */
	guard_open = true;
	if (ks_spi_write(reason != NULL ? &replace : &insert, &args) > 0)
		instance_made = GetCurrentSubTransactionId();
	guard_open = false;
	ks_spi_end(&spi);
}

void
ks_change_prepare(void)
{
	switch (find_instance())
	{
		case KS_INSTANCE_OURS:
			return;
		case KS_INSTANCE_FOREIGN:
			ks_error_not_accepted();
		case KS_INSTANCE_NONE:
			break;
	}
	if (XactReadOnly || RecoveryInProgress())
		ks_error_read_only();
	ks_begin_log();

	/*
	 * Otherwise in this transaction, as whose part the log then begins.
	 * Somebody may be faster.
	 */
	if (find_instance() == KS_INSTANCE_NONE)
		write_instance(NULL);
	if (find_instance() != KS_INSTANCE_OURS)
		ks_error_not_accepted();
	ks_event_request();
	ks_event_outbox_written();
}

void
ks_change_require(void)
{
	switch (find_instance())
	{
		case KS_INSTANCE_OURS:
			break;
		case KS_INSTANCE_FOREIGN:
			ks_error_not_accepted();
		case KS_INSTANCE_NONE:
			ks_error_no_log("The log is not begun.", "It begins with the first change.");
	}
	if (instance_made != InvalidSubTransactionId)
		ks_error_no_log("The log begins when this transaction has committed.", "Commit first.");
}

bool
ks_change_can_record(void)
{
	if (RecoveryInProgress() || instance_made != InvalidSubTransactionId)
		return false;
	return ks_event_log_begun() || find_instance() == KS_INSTANCE_OURS;
}

bool
ks_change_accept(const char *reason)
{
	if (find_instance() != KS_INSTANCE_FOREIGN)
		return false;
	write_instance(reason);
	ks_event_request();
	return true;
}

bool
ks_change_log_on(void)
{
	return ks_event_log_begun() || instance_known || ks_change_has_instance();
}

/*
 * Where this session's last record in the write-ahead log ends: nobody else
 * has the same, and a later change of the same object, made by whoever waited
 * for this one, has a greater one.  What was changed may have left no record
 * (an unlogged table, or with wal_level minimal one that this transaction has
 * made): then one is made.
 */
static int64
next_id(bool unlogged)
{
	static XLogRecPtr last = InvalidXLogRecPtr;

	if (unlogged || XactLastRecEnd <= last)
	{
		XLogBeginInsert();
		(void) XLogInsert(RM_XLOG_ID, XLOG_NOOP);
	}
	last = XactLastRecEnd;
	return (int64) last;
}

/* Users' own tables give nobody anything, nor does the end of a request, which
 * each use of an approval brings about. */
static void
note_uncommitted(uint16 kind)
{
	if ((kind >= KS_ACTION_TABLE_INSERT && kind <= KS_ACTION_TABLE_TRUNCATE) || kind == KS_ACTION_APPROVAL_COMPLETE)
		return;
	for (int i = 0; i < uncommitted_n; i++)
	{
		if (uncommitted[i] == kind)
			return;
	}
	if (uncommitted_n < UNCOMMITTED_MAX)
		uncommitted[uncommitted_n++] = kind;
}

char *
ks_change_uncommitted(void)
{
	StringInfoData names;

	if (uncommitted_n == 0)
		return NULL;
	initStringInfo(&names);
	for (int i = 0; i < uncommitted_n; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? "," : "", ks_action_name(uncommitted[i]));
	return names.data;
}

void
ks_change_write(KsEvent *event, bool unlogged)
{
	uint8		packed[KS_EVENT_PACKED_MAX];
	size_t		len;
	bytea	   *body;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (!ks_change_log_on())
		return;
	values[1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	event->context.xid = U64FromFullTransactionId(GetTopFullTransactionId());
	len = ks_event_pack(event, packed, sizeof(packed));
	if (len == 0)
		elog(ERROR, "an event is too long");
	body = palloc(VARHDRSZ + len);
	SET_VARSIZE(body, VARHDRSZ + len);
	memcpy(VARDATA(body), packed, len);
	values[0] = Int64GetDatum(next_id(unlogged));
	values[2] = PointerGetDatum(body);
	ks_bulk_insert("audit_outbox", values, nulls);
	pfree(body);
	outbox_written = true;
	note_uncommitted(event->kind);
}

void
ks_change_digest(const uint8 aad_digest[KS_DIGEST_LEN], const void *envelope, size_t len,
				 const uint8 *key_id, uint8 digest[KS_DIGEST_LEN])
{
	KsBytes		pieces[] = {
		{KS_ENTRY_DIGEST_PREFIX, sizeof(KS_ENTRY_DIGEST_PREFIX)},
		{aad_digest, KS_DIGEST_LEN},
		{envelope, len},
		{key_id, KS_ID_LEN},
	};

	if (ks_sha256_pieces(pieces, lengthof(pieces), digest) != KS_CRYPTO_OK)
		ks_error_crypto("compute a digest");
}
