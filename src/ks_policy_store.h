/*-------------------------------------------------------------------------
 *
 * ks_policy_store.h
 *	  The tables of policies: which hold now, and every version that was.
 *
 * A policy that is dropped stays as a tombstone, so that its versions go on
 * counting and an old row put back is told by its number.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_POLICY_STORE_H
#define KS_POLICY_STORE_H

#include "ks_rows.h"

#define KS_POLICIES_OF_WORKSPACE_MAX	200

/* A row, as it is now. */
typedef struct KsStoredPolicy
{
	KsPolicyRow row;
	bool		valid;			/* its HMAC is; otherwise nothing of it is to
								 * be believed, nor that it was dropped:
								 * row.dropped is false */
} KsStoredPolicy;

/* Those of a workspace that hold, by id; *policies is palloc'd. */
extern int	ks_policy_store_list(const uint8 workspace[KS_ID_LEN], KsStoredPolicy **policies);

/* One, dropped ones too; false when there never was one of that id. */
extern bool ks_policy_store_get(const uint8 workspace[KS_ID_LEN], const char *id, KsStoredPolicy *policy);

/*
 * Writes the next version of a policy and what holds of it; of a dropped one
 * the version has no document.  False, and nothing is written, when somebody
 * else has written that version meanwhile.
 */
extern bool ks_policy_store_put(const KsPolicyRow *row);

/*
 * Whether this transaction has dropped or replaced a policy, or put one that
 * sets something, which can loosen: whoever reveals then and rolls back would
 * have evaded it, and the log would have no entry of the change.
 */
extern bool ks_policy_store_loosened_here(void);

#endif							/* KS_POLICY_STORE_H */
