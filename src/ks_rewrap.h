/*-------------------------------------------------------------------------
 *
 * ks_rewrap.h
 *	  Wrapping all keys of a database under another root key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_REWRAP_H
#define KS_REWRAP_H

#include "ks_change.h"

/*
 * Wraps each key that another root key than the keyring's first wraps under
 * that one, in this transaction; the former wrap stays beside it.  One entry of
 * the log, under the verb's action, says how many.  What somebody holds for
 * destroying, and what does not open, is left, with a warning.  Waits only for
 * others who do the same.  Returns how many.  PT423 when sealed.
 */
extern int64 ks_rewrap_all(KsVerb *verb);

/*
 * Drops former wraps under root keys that the keyring lacks, at most limit,
 * where the newer one opens.  Returns how many.
 */
extern int	ks_rewrap_drop_former(KsVerb *verb, int limit);

#endif							/* KS_REWRAP_H */
