/*-------------------------------------------------------------------------
 *
 * ks_treecheck.h
 *	  Builds an epoch's tree anew from its leaves and compares with it what
 *	  the log keeps of it: tiles, checkpoints, keys.
 *
 * Nothing here raises an error for what is wrong with the log: it is a
 * finding, and the functions return false.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_TREECHECK_H
#define KS_TREECHECK_H

#include "ks_logrow.h"

/* A row of audit_epochs, and one of audit_keys.  Texts may be NULL, when a row
 * was damaged. */
typedef struct KsEpochRow
{
	KsEpoch		epoch;
	char	   *origin;
	uint8	   *previous_root;
	size_t		previous_root_len;
	TimestampTz started_at;
	char	   *reason;
	int64		end;			/* seq of the first entry behind it */
} KsEpochRow;

typedef struct KsKeyRow
{
	int32		epoch;
	int64		valid_from;
	char	   *vkey;
	uint8	   *signature;
	size_t		signature_len;
	bool		usable;			/* vkey is one */
	bool		announced;		/* its entry was seen */
	KsNoteKey	key;
} KsKeyRow;

typedef struct KsTreeCheck
{
	KsFinding  *finding;
	Snapshot	snapshot;
	int			nepochs;
	KsEpochRow *epochs;			/* ordered; one more is zeros */
	int			nkeys;
	KsKeyRow   *keys;			/* ordered by valid_from */
	KsScan		tiles;
	KsScan		checkpoints;

	/* of the epoch that is being built */
	const KsEpochRow *epoch;	/* NULL: none */
	uint64		size;			/* leaves */
	KsFrontier	frontier;		/* of the full tiles */
	int			filled[KS_TILE_LEVELS];
	KsHash		hashes[KS_TILE_LEVELS][KS_TILE_WIDTH];	/* of tiles that are not
														 * full */
	int64		last_checkpoint;	/* size of the last row that was seen */
	bool		more_checkpoints;	/* there is a next row */
	int64		next_checkpoint;	/* its size */
	Datum		checkpoint[5];
	bool		checkpoint_nulls[5];
} KsTreeCheck;

/* Reads epochs and keys, whatever is wrong with them. */
extern void ks_treecheck_load(KsTreeCheck *check);

extern bool ks_treecheck_open(KsTreeCheck *check);
extern void ks_treecheck_close(KsTreeCheck *check);

/* Begins an epoch at a size that is a multiple of KS_TILE_WIDTH; what lies
 * before is taken from the tiles. */
extern bool ks_treecheck_begin(KsTreeCheck *check, const KsEpochRow *epoch, uint64 size);

/* Appends a leaf; judge: compares tiles that get full, and checkpoints. */
extern bool ks_treecheck_push(KsTreeCheck *check, const KsHash *leaf, bool judge);

/* The epoch has no more entries: checkpoints of a larger tree are a finding. */
extern bool ks_treecheck_end(KsTreeCheck *check);

/* The root as of now. */
extern bool ks_treecheck_root(const KsTreeCheck *check, KsHash *root);

/* Whether the next checkpoint is that of the tree with its last leaf replaced
 * and another one appended. */
extern bool ks_treecheck_confirms(KsTreeCheck *check, const KsHash *replaced, const KsHash *leaf);

/* The key that signs after an entry; NULL when there is none. */
extern const KsKeyRow *ks_treecheck_key(const KsTreeCheck *check, int64 seq);

/* Tiles and checkpoints that belong to no leaf. */
extern bool ks_treecheck_surplus(KsTreeCheck *check);

#endif							/* KS_TREECHECK_H */
