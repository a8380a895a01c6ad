/*-------------------------------------------------------------------------
 *
 * ks_treecheck.c
 *	  Builds an epoch's tree anew from its leaves and compares with it what
 *	  the log keeps of it: tiles, checkpoints, keys.
 *
 * What must always hold: nothing is taken from a table that is compared with
 * it later.  Tables are read row by row under the caller's snapshot, through
 * their primary keys, without SQL: the cost of a row is what counts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/stratnum.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "ks_treecheck.h"

#define SUBTREE_LEVELS	8		/* levels of a tree under one tile */

/* Columns of audit_checkpoints. */
#define CHECKPOINT_SIZE	1
#define CHECKPOINT_ROOT	2
#define CHECKPOINT_NOTE	3

/* Loading epochs and keys. */

static void
load_epochs(KsTreeCheck *check)
{
	static KsPlan plan = {.sql =
		"SELECT epoch, log_id, origin, system_id, database, timeline, first_seq,"
		" previous_size, previous_root, started_at, reason"
		" FROM keystone_private.audit_epochs ORDER BY epoch"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	check->nepochs = (int) ks_spi_read_at(&plan, &args, check->snapshot);
	check->epochs = MemoryContextAllocZero(spi.caller, (check->nepochs + 1) * sizeof(KsEpochRow));
	for (int i = 0; i < check->nepochs; i++)
	{
		KsEpochRow *row = &check->epochs[i];
		int64		previous_size;

		(void) ks_col_int(i, 1, &row->epoch.epoch);
		(void) ks_col_uuid(i, 2, row->epoch.log_id);
		row->origin = ks_col_text(&spi, i, 3);
		if (row->origin != NULL)
			strlcpy(row->epoch.origin, row->origin, sizeof(row->epoch.origin));
		(void) ks_col_bigint(i, 4, &row->epoch.system_id);
		(void) ks_col_bigint(i, 5, &row->epoch.database);
		(void) ks_col_int(i, 6, &row->epoch.timeline);
		(void) ks_col_bigint(i, 7, &row->epoch.first_seq);
		(void) ks_col_bigint(i, 8, &previous_size);
		row->epoch.previous_size = (uint64) previous_size;
		row->previous_root = ks_col_bytes(&spi, i, 9, &row->previous_root_len);
		(void) ks_col_time(i, 10, &row->started_at);
		row->reason = ks_col_text(&spi, i, 11);
	}
	ks_spi_end(&spi);
}

static void
load_keys(KsTreeCheck *check)
{
	static KsPlan plan = {.sql =
		"SELECT epoch, valid_from, vkey, signature FROM keystone_private.audit_keys"
		" ORDER BY valid_from, epoch"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	check->nkeys = (int) ks_spi_read_at(&plan, &args, check->snapshot);
	check->keys = MemoryContextAllocZero(spi.caller, (check->nkeys + 1) * sizeof(KsKeyRow));
	for (int i = 0; i < check->nkeys; i++)
	{
		KsKeyRow   *row = &check->keys[i];

		(void) ks_col_int(i, 1, &row->epoch);
		(void) ks_col_bigint(i, 2, &row->valid_from);
		row->vkey = ks_col_text(&spi, i, 3);
		row->signature = ks_col_bytes(&spi, i, 4, &row->signature_len);
		row->usable = row->vkey != NULL && ks_vkey_parse(row->vkey, &row->key);
	}
	ks_spi_end(&spi);
}

void
ks_treecheck_load(KsTreeCheck *check)
{
	load_epochs(check);
	load_keys(check);
}

/* The tree. */

static int64
seq_of(const KsTreeCheck *check, uint64 index)
{
	return check->epoch->epoch.first_seq + (int64) index;
}

bool
ks_treecheck_open(KsTreeCheck *check)
{
	if (!ks_scan_open(&check->tiles, "audit_tiles", "epoch,level,n,hashes"))
		return ks_finding(check->finding, 1, "table audit_tiles was altered");
	if (!ks_scan_open(&check->checkpoints, "audit_checkpoints", "epoch,size,root,note,made_at"))
		return ks_finding(check->finding, 1, "table audit_checkpoints was altered");
	return true;
}

void
ks_treecheck_close(KsTreeCheck *check)
{
	ks_scan_close(&check->tiles);
	ks_scan_close(&check->checkpoints);
}

/* Moves to the next checkpoint of the epoch. */
static void
next_checkpoint(KsTreeCheck *check)
{
	check->more_checkpoints = ks_scan_next(&check->checkpoints, check->checkpoint, check->checkpoint_nulls);
	if (check->more_checkpoints)
		check->next_checkpoint = DatumGetInt64(check->checkpoint[CHECKPOINT_SIZE]);
	else
		ks_scan_end(&check->checkpoints);
}

/* Fills the tiles above level 0 that an aligned size leaves open. */
static bool
read_open_tiles(KsTreeCheck *check, uint64 size)
{
	KsTreeReader reader;

	if (!ks_audit_frontier(&check->epoch->epoch, size, check->snapshot, &check->frontier))
		return false;
	ks_audit_tree(&reader, &check->epoch->epoch, size, check->snapshot);
	for (int level = 1; level < KS_TILE_LEVELS; level++)
	{
		uint64		n = size >> (SUBTREE_LEVELS * level);
		uint64		first = n & ~(uint64) (KS_TILE_WIDTH - 1);

		check->filled[level] = (int) (n - first);
		for (uint64 i = first; i < n; i++)
		{
			if (!ks_audit_subtree(&reader, SUBTREE_LEVELS * level, i, &check->hashes[level][i - first]))
				return false;
			CHECK_FOR_INTERRUPTS();
		}
	}
	return true;
}

bool
ks_treecheck_begin(KsTreeCheck *check, const KsEpochRow *epoch, uint64 size)
{
	ScanKeyData keys[2];

	check->epoch = epoch;
	check->size = size;
	check->last_checkpoint = (int64) size;
	memset(&check->frontier, 0, sizeof(check->frontier));
	memset(check->filled, 0, sizeof(check->filled));
	if (size > 0 && !read_open_tiles(check, size))
		return ks_finding(check->finding, seq_of(check, size - 1),
						  "the tree up to here cannot be built from tiles and entries");

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(epoch->epoch.epoch));
	ScanKeyInit(&keys[1], 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum((int64) size));
	ks_scan_begin(&check->checkpoints, check->snapshot, keys, size > 0 ? 2 : 1);
	next_checkpoint(check);
	return true;
}

/* Compares a tile that has just got full with the one that is stored. */
static bool
judge_tile(KsTreeCheck *check, int level, uint64 n)
{
	ScanKeyData keys[3];
	Datum		values[4];
	bool		nulls[4];
	const uint8 *stored;
	size_t		len;
	int			i = 0;
	uint64		width = UINT64_C(1) << (SUBTREE_LEVELS * level);
	int64		first = seq_of(check, n * KS_TILE_WIDTH * width);

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(check->epoch->epoch.epoch));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(level));
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum((int64) n));
	ks_scan_begin(&check->tiles, check->snapshot, keys, lengthof(keys));
	if (!ks_scan_next(&check->tiles, values, nulls))
		return ks_finding(check->finding, first, "tile " UINT64_FORMAT " of level %d is missing", n, level);
	stored = ks_scan_bytes(values, nulls, 3, KS_TILE_WIDTH * KS_DIGEST_LEN, &len);
	if (stored == NULL)
		return ks_finding(check->finding, first, "tile " UINT64_FORMAT " of level %d is damaged", n, level);
	while (i < KS_TILE_WIDTH &&
		   memcmp(stored + i * KS_DIGEST_LEN, check->hashes[level][i].bytes, KS_DIGEST_LEN) == 0)
		i++;
	ks_scan_end(&check->tiles);
	if (i < KS_TILE_WIDTH)
		return ks_finding(check->finding, first + (int64) (i * width),
						  "tile " UINT64_FORMAT " of level %d has another hash than the entry", n, level);
	return true;
}

/* The tree's root when further leaves stand behind the full tiles. */
static bool
root_with(const KsTreeCheck *check, const KsHash *leaves, int n, KsHash *root)
{
	KsFrontier	frontier = check->frontier;

	for (int i = 0; i < n; i++)
	{
		if (ks_frontier_push(&frontier, &leaves[i]) != KS_CRYPTO_OK)
			return false;
	}
	return ks_frontier_root(&frontier, root) == KS_CRYPTO_OK;
}

bool
ks_treecheck_root(const KsTreeCheck *check, KsHash *root)
{
	return root_with(check, check->hashes[0], check->filled[0], root);
}

bool
ks_treecheck_confirms(KsTreeCheck *check, const KsHash *replaced, const KsHash *leaf)
{
	KsHash		leaves[KS_TILE_WIDTH + 1];
	int			n = check->filled[0];
	KsHash		root;
	const uint8 *signed_root;
	size_t		len;

	if (n == 0 || !check->more_checkpoints || check->next_checkpoint != (int64) check->size + 1)
		return false;
	memcpy(leaves, check->hashes[0], n * sizeof(KsHash));
	leaves[n - 1] = *replaced;
	leaves[n] = *leaf;
	signed_root = ks_scan_bytes(check->checkpoint, check->checkpoint_nulls, CHECKPOINT_ROOT, KS_DIGEST_LEN, &len);
	return signed_root != NULL && root_with(check, leaves, n + 1, &root) &&
		memcmp(signed_root, root.bytes, KS_DIGEST_LEN) == 0;
}

const KsKeyRow *
ks_treecheck_key(const KsTreeCheck *check, int64 seq)
{
	const KsKeyRow *found = NULL;

	for (int i = 0; i < check->nkeys && check->keys[i].valid_from <= seq; i++)
	{
		if (check->keys[i].epoch == check->epoch->epoch.epoch)
			found = &check->keys[i];
	}
	return found;
}

/* The checkpoint of the tree as it is now. */
static bool
judge_checkpoint(KsTreeCheck *check)
{
	int64		seq = seq_of(check, check->size - 1);
	const KsKeyRow *key = ks_treecheck_key(check, seq);
	KsCheckpoint checkpoint;
	KsHash		root;
	const uint8 *stored_root;
	const uint8 *note;
	size_t		len = 0;

	stored_root = ks_scan_bytes(check->checkpoint, check->checkpoint_nulls, CHECKPOINT_ROOT, KS_DIGEST_LEN, &len);
	note = ks_scan_bytes(check->checkpoint, check->checkpoint_nulls, CHECKPOINT_NOTE, -1, &len);
	if (note == NULL || !ks_checkpoint_parse((const char *) note, len, &checkpoint))
		return ks_finding(check->finding, seq, "the checkpoint is not in the format");
	if (strcmp(checkpoint.origin, check->epoch->epoch.origin) != 0)
		return ks_finding(check->finding, seq, "the checkpoint has another origin than the epoch");
	if (checkpoint.size != check->size || stored_root == NULL ||
		memcmp(stored_root, checkpoint.root.bytes, KS_DIGEST_LEN) != 0)
		return ks_finding(check->finding, seq, "the checkpoint's row does not say what its note says");
	if (key == NULL || !key->usable)
		return ks_finding(check->finding, seq, "there is no key for the checkpoint");
	if (!ks_note_verify((const char *) note, len, &key->key))
		return ks_finding(check->finding, seq, "the checkpoint has no valid signature");
	if (!ks_treecheck_root(check, &root) || memcmp(root.bytes, checkpoint.root.bytes, KS_DIGEST_LEN) != 0)
		return ks_finding(check->finding, seq, "the entries have another root than the checkpoint");
	return true;
}

bool
ks_treecheck_push(KsTreeCheck *check, const KsHash *leaf, bool judge)
{
	KsHash		hash = *leaf;

	check->size++;
	for (int level = 0; level < KS_TILE_LEVELS; level++)
	{
		check->hashes[level][check->filled[level]++] = hash;
		if (check->filled[level] < KS_TILE_WIDTH)
			break;
		if (judge && !judge_tile(check, level, (check->size >> (SUBTREE_LEVELS * (level + 1))) - 1))
			return false;
		check->filled[level] = 0;
		if (ks_tile_root(check->hashes[level], &hash) != KS_CRYPTO_OK ||
			(level == 0 && ks_frontier_push_subtree(&check->frontier, &hash, SUBTREE_LEVELS) != KS_CRYPTO_OK))
			return ks_finding(check->finding, seq_of(check, check->size - 1), "a hash could not be computed");
		CHECK_FOR_INTERRUPTS();
	}

	while (check->more_checkpoints && check->next_checkpoint <= (int64) check->size)
	{
		if (judge && check->next_checkpoint < (int64) check->size)
			return ks_finding(check->finding, check->epoch->epoch.first_seq, "a checkpoint covers no entry");
		if (judge && !judge_checkpoint(check))
			return false;
		check->last_checkpoint = check->next_checkpoint;
		next_checkpoint(check);
	}
	return true;
}

bool
ks_treecheck_end(KsTreeCheck *check)
{
	bool		more = check->more_checkpoints;

	ks_scan_end(&check->checkpoints);
	check->more_checkpoints = false;
	if (more)
		return ks_finding(check->finding, seq_of(check, check->size),
						  "the entry is missing: a checkpoint covers more entries than there are");
	return true;
}

/* The first row of a table behind the key's first columns, which must not be. */
static bool
row_exists(KsTreeCheck *check, KsScan *scan, ScanKey keys, int nkeys)
{
	Datum		values[5];
	bool		nulls[5];
	bool		found;

	ks_scan_begin(scan, check->snapshot, keys, nkeys);
	found = ks_scan_next(scan, values, nulls);
	ks_scan_end(scan);
	return found;
}

/* Tiles of a level that begin before 0 or behind the last full one. */
static bool
surplus_tiles(KsTreeCheck *check, const KsEpochRow *epoch, int level)
{
	ScanKeyData keys[3];
	uint64		entries = (uint64) (epoch->end - epoch->epoch.first_seq);
	uint64		full = level < KS_TILE_LEVELS - 1 ? entries >> (SUBTREE_LEVELS * (level + 1)) : 0;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(epoch->epoch.epoch));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(level));
	ScanKeyInit(&keys[2], 3, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(0));
	if (row_exists(check, &check->tiles, keys, 3))
		return true;
	ScanKeyInit(&keys[2], 3, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum((int64) full));
	return row_exists(check, &check->tiles, keys, 3);
}

bool
ks_treecheck_surplus(KsTreeCheck *check)
{
	const KsEpochRow *epochs = check->epochs;
	int			nepochs = check->nepochs;
	ScanKeyData keys[2];
	KsScan	   *scans[] = {&check->tiles, &check->checkpoints};

	for (int i = 0; i < 2; i++)
	{
		ScanKeyInit(&keys[0], 1, BTGreaterStrategyNumber, F_INT4GT, Int32GetDatum(nepochs));
		ScanKeyInit(&keys[1], 1, BTLessStrategyNumber, F_INT4LT, Int32GetDatum(1));
		if (row_exists(check, scans[i], &keys[0], 1) || row_exists(check, scans[i], &keys[1], 1))
			return ks_finding(check->finding, nepochs > 0 ? epochs[nepochs - 1].end : 1,
							  "a tile or checkpoint belongs to no epoch");
	}
	for (int e = 0; e < nepochs; e++)
	{
		ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(epochs[e].epoch.epoch));
		for (int level = 0; level < KS_TILE_LEVELS; level++)
		{
			if (surplus_tiles(check, &epochs[e], level))
				return ks_finding(check->finding, epochs[e].end, "a tile of level %d belongs to no entries", level);
		}
		ScanKeyInit(&keys[1], 2, BTLessStrategyNumber, F_INT4LT, Int32GetDatum(0));
		if (row_exists(check, &check->tiles, keys, 2))
			return ks_finding(check->finding, epochs[e].end, "a tile has a level below 0");
		ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT4GE, Int32GetDatum(KS_TILE_LEVELS));
		if (row_exists(check, &check->tiles, keys, 2))
			return ks_finding(check->finding, epochs[e].end, "a tile has a level above %d", KS_TILE_LEVELS - 1);
	}
	return true;
}
