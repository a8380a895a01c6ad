/*-------------------------------------------------------------------------
 *
 * ks_readlog.h
 *	  What the functions that read the audit log have in common: who may, that
 *	  it is recorded, checkpoints, keys and proofs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_READLOG_H
#define KS_READLOG_H

#include "ks_audit.h"
#include "ks_change.h"

/* Profiles that may ask at all; a client needs the permission audit. */
#define KS_READLOG_PROFILES	(KS_PROFILE_CLIENT | KS_PROFILE_AUDITOR | KS_PROFILE_ADMIN)

/* Names of an entry's numbers; "kind N" for one that is not known here. */
extern const char *ks_readlog_action(uint16 kind);
extern const char *ks_readlog_outcome(uint8 outcome);

/* 42501 unless the caller has the profile auditor or admin, or the permission
 * audit in some workspace. */
extern void ks_readlog_require(const KsCall *call);

/* Whether the caller may see an entry, as the policy of audit_entries says;
 * false also when there is none. */
extern bool ks_readlog_may_see(const KsCall *call, int64 seq);

/*
 * Records that the log was read; flags are those of an event.  Nothing happens
 * when that cannot be done: a log that cannot be written can still be read.
 */
extern void ks_readlog_record(const KsVerb *verb, uint8 flags);

/* Asks for a checkpoint and waits.  PT424 when there is no appender. */
extern void ks_readlog_checkpoint(const KsCall *call);

/* 55000: there is no checkpoint, since nothing is signed. */
KS_NORETURN extern void ks_readlog_error_unsigned(void) KS_NORETURN_END;

/* The epoch that an entry belongs to; false when there is none. */
extern bool ks_readlog_epoch_of(int64 seq, KsEpoch *epoch);

/* The newest checkpoint of an epoch: its size and note, palloc'd; 0 and NULL
 * when there is none.  And the one of a size, "" when there is none. */
extern uint64 ks_readlog_newest_note(const KsEpoch *epoch, char **note);
extern char *ks_readlog_note(const KsEpoch *epoch, uint64 size);

typedef struct KsPublicKey
{
	int32		epoch;
	char		key_id[2 * KS_NOTE_KEY_ID_LEN + 1]; /* "" when vkey is damaged */
	char	   *vkey;			/* may be NULL, when the row was damaged */
	uint8	   *signature;		/* of vkey by the key before, or NULL */
	size_t		signature_len;
	int64		valid_from;		/* seq */
	int64		valid_to;		/* seq; 0: still */
} KsPublicKey;

/* All keys, oldest first, as seen by a snapshot (NULL: the latest). */
extern int	ks_readlog_keys(Snapshot snapshot, KsPublicKey **keys);

/* Makes proofs in one tree; note is the checkpoint that stands under them.
 * XX001 when tiles or entries are missing. */
typedef struct KsProver KsProver;

extern KsProver *ks_prover_make(const KsEpoch *epoch, uint64 size, const char *note, Snapshot snapshot);
extern char *ks_prover_inclusion(KsProver *prover, uint64 index);
extern char *ks_prover_consistency(KsProver *prover, uint64 old_size);

#endif							/* KS_READLOG_H */
