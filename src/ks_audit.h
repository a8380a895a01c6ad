/*-------------------------------------------------------------------------
 *
 * ks_audit.h
 *	  The tables of the audit log: writing them, for the appender alone, and
 *	  reading them.
 *
 * The log is a sequence of epochs, each a Merkle tree of its own; seq counts
 * entries over all of them from 1: seq = first_seq of the epoch + index.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_AUDIT_H
#define KS_AUDIT_H

#include "ks_event.h"
#include "ks_note.h"
#include "ks_spi.h"

typedef struct KsEpoch
{
	int32		epoch;			/* from 1; 0: there is none */
	TimestampTz started_at;
	uint8		log_id[KS_ID_LEN];
	char		origin[KS_ORIGIN_MAX + 1];
	int64		system_id;
	int64		database;		/* oid */
	int32		timeline;
	int64		first_seq;
	uint64		previous_size;	/* of the epoch before */
	KsHash		previous_root;
} KsEpoch;

/* The latest epoch; false when the log has none. */
extern bool ks_audit_epoch(KsEpoch *epoch);

/* All epochs in order; *epochs is palloc'd. */
extern int	ks_audit_epochs(KsEpoch **epochs);

/* This database, as an epoch remembers it. */
extern void ks_audit_identity(int64 *system_id, int64 *database, int32 *timeline);

/* The instance row: absent, this database's, or another's. */
typedef enum KsInstance
{
	KS_INSTANCE_NONE,
	KS_INSTANCE_OURS,
	KS_INSTANCE_FOREIGN
} KsInstance;

/* accepted_at and reason (palloc'd; may be NULL) are those of the last
 * accept_restore(), accepted_at 0 when there was none.  Either pointer may be
 * NULL.  Without a row, but with a log, the instance is foreign. */
extern KsInstance ks_audit_instance(TimestampTz *accepted_at, char **reason);

/* seq of the last entry, 0 when there is none. */
extern int64 ks_audit_last_seq(void);

/* How many changes wait for the log, and the age of the oldest in seconds. */
extern int64 ks_audit_outbox(int64 *seconds);

/* The last entry of a workspace, palloc'd bytes; NULL when there is none. */
extern uint8 *ks_audit_last_of_workspace(const uint8 workspace[KS_ID_LEN], size_t *len);

/* The newest public key of an epoch, palloc'd; NULL when it has none. */
extern char *ks_audit_newest_vkey(int32 epoch, TimestampTz *announced_at);

/* Size and time of the newest checkpoint of an epoch; 0 when it has none. */
extern uint64 ks_audit_checkpoint_size(int32 epoch, TimestampTz *made_at);

/* Whether a request was claimed. */
extern bool ks_audit_is_claimed(const uint8 request[KS_ID_LEN]);

/* Reads hashes of an epoch's complete subtrees from tiles and entries, as seen
 * by a snapshot (NULL: the latest).  A KsSubtreeReader. */
typedef struct KsTreeReader
{
	int32		epoch;
	int64		first_seq;
	uint64		size;
	Snapshot	snapshot;
	int			cached_level;	/* tile that was read last */
	uint64		cached_n;
	bool		cached;
	KsHash		tile[KS_TILE_WIDTH];
} KsTreeReader;

extern void ks_audit_tree(KsTreeReader *reader, const KsEpoch *epoch, uint64 size, Snapshot snapshot);
extern bool ks_audit_subtree(void *reader, int level, uint64 n, KsHash *hash);

/* The compact range of an epoch's first size leaves. */
extern bool ks_audit_frontier(const KsEpoch *epoch, uint64 size, Snapshot snapshot, KsFrontier *frontier);

/* The writer: see ks_append.h. */

#endif							/* KS_AUDIT_H */
