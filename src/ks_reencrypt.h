/*-------------------------------------------------------------------------
 *
 * ks_reencrypt.h
 *	  Sealing a workspace's values again under the key that encrypts now.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_REENCRYPT_H
#define KS_REENCRYPT_H

#include "ks_change.h"

#define KS_REENCRYPT_AHEAD	500

/* A version of a value. */
typedef struct KsReencryptItem
{
	uint8		credential[KS_ID_LEN];
	int32		version;
} KsReencryptItem;

/*
 * What was seen to wait in a workspace, for the batches to come, so that not
 * each of them has to look past all that is done.  All zeros at first, but max,
 * which is how many are looked for at a time.
 */
typedef struct KsReencryptAhead
{
	uint8		workspace[KS_ID_LEN];
	int			max;
	int			n;
	int			next;
	KsReencryptItem failed;		/* the last one that was tried of those that
								 * had failed before */
	KsReencryptItem items[KS_REENCRYPT_AHEAD];
} KsReencryptAhead;

/* What came of a batch, and what is left of the workspace. */
typedef struct KsReencrypted
{
	int64		done;			/* versions of values */
	int64		failed;			/* that did not open, for the first time */
	int64		locked;			/* left, because others hold their rows; only
								 * when nothing else is left */
} KsReencrypted;

/*
 * Seals at most limit versions of a workspace that an older key has sealed, of
 * deleted credentials, too.  Rows that others hold are passed over.  What does
 * not open stays as it is, with a warning when it is seen first, and is tried
 * again when nothing else is left.  Each gets an entry of the log, under the
 * verb's action; source (NULL: none) says by whom in its detail.  PT423 when
 * the workspace has no key, or the vault is sealed.
 *
 * ahead is kept between the batches of one run; it may be NULL.
 */
extern void ks_reencrypt_batch(KsVerb *verb, const uint8 workspace[KS_ID_LEN], int limit,
							   const char *source, KsReencryptAhead *ahead, KsReencrypted *result);

/*
 * The same in a subtransaction: when it ends with PT423 or XX001, the result is
 * false and *problem the message, palloc'd.  Other errors go on.
 */
extern bool ks_reencrypt_try_batch(KsVerb *verb, const uint8 workspace[KS_ID_LEN], int limit,
								   const char *source, KsReencryptAhead *ahead, KsReencrypted *result,
								   char **problem);

/* How many versions of a workspace (NULL: of all) wait for it, about. */
extern int64 ks_reencrypt_pending(const uint8 *workspace);

/*
 * The next workspace of which something waits for it, in the order of their
 * ids after id (all zeros at first), which it replaces; false when there is
 * none.  customers: also those that a customer's key wraps, which may keep
 * whoever needs it waiting.  failed: also what did not open before counts.
 */
extern bool ks_reencrypt_next(uint8 id[KS_ID_LEN], bool customers, bool failed);

#endif							/* KS_REENCRYPT_H */
