/*-------------------------------------------------------------------------
 *
 * ks_audit.c
 *	  Reading the tables of the audit log.
 *
 * What is read here may have been tampered with: nothing is taken for granted
 * but types.  A hash that cannot be had is reported as missing, never made up.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "ks_audit.h"
#include "ks_entry.h"
#include "ks_error.h"

#define EPOCH_COLUMNS \
	"epoch, log_id, origin, system_id, database, timeline, first_seq, previous_size, previous_root, started_at"

static void
read_epoch(const KsSpi *spi, uint64 row, KsEpoch *epoch)
{
	char	   *origin = ks_col_text(spi, row, 3);
	uint8	   *root;
	size_t		len;
	int64		size;

	memset(epoch, 0, sizeof(*epoch));
	(void) ks_col_int(row, 1, &epoch->epoch);
	(void) ks_col_uuid(row, 2, epoch->log_id);
	strlcpy(epoch->origin, origin, sizeof(epoch->origin));
	(void) ks_col_bigint(row, 4, &epoch->system_id);
	(void) ks_col_bigint(row, 5, &epoch->database);
	(void) ks_col_int(row, 6, &epoch->timeline);
	(void) ks_col_bigint(row, 7, &epoch->first_seq);
	(void) ks_col_bigint(row, 8, &size);
	epoch->previous_size = (uint64) size;
	root = ks_col_bytes(spi, row, 9, &len);
	if (len == KS_DIGEST_LEN)
		memcpy(epoch->previous_root.bytes, root, KS_DIGEST_LEN);
	(void) ks_col_time(row, 10, &epoch->started_at);
}

bool
ks_audit_epoch(KsEpoch *epoch)
{
	static KsPlan plan = {.sql =
		"SELECT " EPOCH_COLUMNS " FROM keystone_private.audit_epochs ORDER BY epoch DESC LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	memset(epoch, 0, sizeof(*epoch));
	ks_spi_begin(&spi);
	found = ks_spi_read(&plan, &args) == 1;
	if (found)
		read_epoch(&spi, 0, epoch);
	ks_spi_end(&spi);
	return found;
}

int
ks_audit_epochs(KsEpoch **epochs)
{
	static KsPlan plan = {.sql =
		"SELECT " EPOCH_COLUMNS " FROM keystone_private.audit_epochs ORDER BY epoch"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	n = (int) ks_spi_read(&plan, &args);
	*epochs = MemoryContextAlloc(spi.caller, Max(n, 1) * sizeof(KsEpoch));
	for (int i = 0; i < n; i++)
		read_epoch(&spi, i, &(*epochs)[i]);
	ks_spi_end(&spi);
	return n;
}

void
ks_audit_identity(int64 *system_id, int64 *database, int32 *timeline)
{
	*system_id = (int64) GetSystemIdentifier();
	*database = (int64) MyDatabaseId;
	*timeline = RecoveryInProgress() ? 0 : (int32) GetWALInsertionTimeLine();
}

KsInstance
ks_audit_instance(TimestampTz *accepted_at, char **reason)
{
	static KsPlan plan = {.sql =
		"SELECT system_id, database, accepted_reason, written_at FROM keystone_private.instance"
	};
	KsArgs		args = {0};
	KsEpoch		epoch;
	KsSpi		spi;
	KsInstance	result = KS_INSTANCE_NONE;
	char	   *accepted = NULL;
	TimestampTz at = 0;

	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) > 0)
	{
		int64		system_id;
		int64		database;
		int64		row_system_id;
		int64		row_database;
		int32		timeline;

		ks_audit_identity(&system_id, &database, &timeline);
		(void) ks_col_bigint(0, 1, &row_system_id);
		(void) ks_col_bigint(0, 2, &row_database);
		accepted = ks_col_text(&spi, 0, 3);
		if (accepted != NULL)
			(void) ks_col_time(0, 4, &at);
		result = system_id == row_system_id && database == row_database ?
			KS_INSTANCE_OURS : KS_INSTANCE_FOREIGN;
	}
	ks_spi_end(&spi);
	if (result == KS_INSTANCE_NONE && ks_audit_epoch(&epoch))
		result = KS_INSTANCE_FOREIGN;
	if (accepted_at != NULL)
		*accepted_at = at;
	if (reason != NULL)
		*reason = accepted;
	return result;
}

int64
ks_audit_last_seq(void)
{
	static KsPlan plan = {.sql = "SELECT seq FROM keystone_private.audit_entries ORDER BY seq DESC LIMIT 1"};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		seq = 0;

	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) == 1)
		(void) ks_col_bigint(0, 1, &seq);
	ks_spi_end(&spi);
	return seq;
}

int64
ks_audit_outbox(int64 *seconds)
{
	static KsPlan count = {.sql = "SELECT count(*) FROM keystone_private.audit_outbox"};
	static KsPlan first = {.sql = "SELECT body FROM keystone_private.audit_outbox ORDER BY id LIMIT 1"};
	KsArgs		args = {0};
	KsSpi		spi;
	KsEvent		event;
	int64		rows = 0;
	size_t		len;

	*seconds = 0;
	ks_spi_begin(&spi);
	if (ks_spi_read(&count, &args) == 1)
		(void) ks_col_bigint(0, 1, &rows);
	if (ks_spi_read(&first, &args) == 1 && ks_event_unpack(ks_col_bytes(&spi, 0, 1, &len), len, &event))
		*seconds = TimestampDifferenceMilliseconds(event.context.event_time - KS_UNIX_EPOCH_OFFSET,
												   GetCurrentTimestamp()) / 1000;
	ks_spi_end(&spi);
	return rows;
}

uint8 *
ks_audit_last_of_workspace(const uint8 workspace[KS_ID_LEN], size_t *len)
{
	static KsPlan plan = {.sql =
		"SELECT entry FROM keystone_private.audit_entries WHERE workspace_id = $1"
		" ORDER BY workspace_id DESC, seq DESC LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint8	   *entry = NULL;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	if (ks_spi_read(&plan, &args) == 1)
		entry = ks_col_bytes(&spi, 0, 1, len);
	ks_spi_end(&spi);
	return entry;
}

char *
ks_audit_newest_vkey(int32 epoch, TimestampTz *announced_at)
{
	static KsPlan plan = {.sql =
		"SELECT k.vkey, e.at FROM keystone_private.audit_keys k"
		" LEFT JOIN keystone_private.audit_entries e ON e.seq = k.valid_from"
		" WHERE k.epoch = $1 ORDER BY k.valid_from DESC LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	char	   *vkey = NULL;

	*announced_at = 0;
	ks_spi_begin(&spi);
	ks_arg_int(&args, true, epoch);
	if (ks_spi_read(&plan, &args) == 1)
	{
		vkey = ks_col_text(&spi, 0, 1);
		(void) ks_col_time(0, 2, announced_at);
	}
	ks_spi_end(&spi);
	return vkey;
}

uint64
ks_audit_checkpoint_size(int32 epoch, TimestampTz *made_at)
{
	static KsPlan plan = {.sql =
		"SELECT size, made_at FROM keystone_private.audit_checkpoints WHERE epoch = $1"
		" ORDER BY epoch DESC, size DESC LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		size = 0;

	*made_at = 0;
	ks_spi_begin(&spi);
	ks_arg_int(&args, true, epoch);
	if (ks_spi_read(&plan, &args) == 1)
	{
		(void) ks_col_bigint(0, 1, &size);
		(void) ks_col_time(0, 2, made_at);
	}
	ks_spi_end(&spi);
	return (uint64) size;
}

bool
ks_audit_is_claimed(const uint8 request[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "SELECT 1 FROM keystone_private.approval_claims WHERE request = $1"};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		claimed;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, request);
	claimed = ks_spi_read(&plan, &args) > 0;
	ks_spi_end(&spi);
	return claimed;
}


/*-------------------------------------------------------------------------
 * The tree
 *-------------------------------------------------------------------------
 */

void
ks_audit_tree(KsTreeReader *reader, const KsEpoch *epoch, uint64 size, Snapshot snapshot)
{
	memset(reader, 0, offsetof(KsTreeReader, tile));
	reader->epoch = epoch->epoch;
	reader->first_seq = epoch->first_seq;
	reader->size = size;
	reader->snapshot = snapshot;
}

static uint64
read_rows(const KsTreeReader *reader, KsPlan *plan, const KsArgs *args)
{
	return reader->snapshot == NULL ? ks_spi_read(plan, args) :
		ks_spi_read_at(plan, args, reader->snapshot);
}

/* Reads a full tile; false when it is not there. */
static bool
read_tile(KsTreeReader *reader, int level, uint64 n, KsHash tile[KS_TILE_WIDTH])
{
	static KsPlan plan = {.sql =
		"SELECT hashes FROM keystone_private.audit_tiles WHERE epoch = $1 AND level = $2 AND n = $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found = false;

	ks_spi_begin(&spi);
	ks_arg_int(&args, true, reader->epoch);
	ks_arg_int(&args, true, level);
	ks_arg_bigint(&args, true, (int64) n);
	if (read_rows(reader, &plan, &args) == 1)
	{
		size_t		len;
		uint8	   *hashes = ks_col_bytes(&spi, 0, 1, &len);

		found = len == KS_TILE_WIDTH * KS_DIGEST_LEN;
		if (found)
			memcpy(tile, hashes, len);
		pfree(hashes);
	}
	ks_spi_end(&spi);
	return found;
}

/* Leaf hashes [first, first + n) of the epoch, from its entries. */
static bool
read_leaves(KsTreeReader *reader, uint64 first, int n, KsHash *leaves)
{
	static KsPlan plan = {.sql =
		"SELECT entry FROM keystone_private.audit_entries WHERE seq >= $1 AND seq < $2 ORDER BY seq"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		ok;

	ks_spi_begin(&spi);
	ks_arg_bigint(&args, true, reader->first_seq + (int64) first);
	ks_arg_bigint(&args, true, reader->first_seq + (int64) first + n);
	ok = read_rows(reader, &plan, &args) == (uint64) n;
	for (int i = 0; ok && i < n; i++)
	{
		size_t		len;
		uint8	   *entry = ks_col_bytes(&spi, i, 1, &len);

		ok = ks_leaf_hash(entry, len, &leaves[i]) == KS_CRYPTO_OK;
		pfree(entry);
	}
	ks_spi_end(&spi);
	return ok;
}

/*
 * Makes tile n of a level the cached one: as stored, or as much of it as the
 * tree has.
 */
static bool
load_tile(KsTreeReader *reader, int level, uint64 n)
{
	uint64		hashes = level < KS_TILE_LEVELS ? reader->size >> (8 * level) : 0;
	uint64		first = n * KS_TILE_WIDTH;
	KsHash	   *lower;
	bool		ok = true;

	if (reader->cached && reader->cached_level == level && reader->cached_n == n)
		return true;
	reader->cached = false;
	if (first >= hashes)
		return false;
	if (hashes - first >= KS_TILE_WIDTH)
		ok = read_tile(reader, level, n, reader->tile);
	else if (level == 0)
		ok = read_leaves(reader, first, (int) (hashes - first), reader->tile);
	else
	{
		lower = palloc(KS_TILE_WIDTH * sizeof(KsHash));
		for (uint64 i = 0; ok && i < hashes - first; i++)
			ok = read_tile(reader, level - 1, first + i, lower) &&
				ks_tile_root(lower, &reader->tile[i]) == KS_CRYPTO_OK;
		pfree(lower);
	}
	reader->cached = ok;
	reader->cached_level = level;
	reader->cached_n = n;
	return ok;
}

bool
ks_audit_subtree(void *arg, int level, uint64 n, KsHash *hash)
{
	KsTreeReader *reader = arg;
	int			within = level % 8;
	uint64		first = n << within;
	KsHash		hashes[KS_TILE_WIDTH];

	/* A complete subtree only. */
	if (level > 63 || (n >> (63 - level)) != 0 || ((n + 1) << level) > reader->size)
		return false;
	if (!load_tile(reader, level / 8, first / KS_TILE_WIDTH))
		return false;
	memcpy(hashes, reader->tile + first % KS_TILE_WIDTH, sizeof(KsHash) << within);
	for (int width = 1 << within; width > 1; width /= 2)
	{
		for (int i = 0; i < width / 2; i++)
		{
			if (ks_node_hash(&hashes[2 * i], &hashes[2 * i + 1], &hashes[i]) != KS_CRYPTO_OK)
				return false;
		}
	}
	*hash = hashes[0];
	return true;
}

bool
ks_audit_frontier(const KsEpoch *epoch, uint64 size, Snapshot snapshot, KsFrontier *frontier)
{
	KsTreeReader *reader = palloc(sizeof(KsTreeReader));
	uint64		done = 0;
	bool		ok = true;

	memset(frontier, 0, offsetof(KsFrontier, hashes));
	ks_audit_tree(reader, epoch, size, snapshot);
	for (int level = 62; ok && level >= 0; level--)
	{
		KsHash		root;

		if ((size & (UINT64CONST(1) << level)) == 0)
			continue;
		ok = ks_audit_subtree(reader, level, done >> level, &root) &&
			ks_frontier_push_subtree(frontier, &root, level) == KS_CRYPTO_OK;
		done += UINT64CONST(1) << level;
	}
	pfree(reader);
	return ok;
}
