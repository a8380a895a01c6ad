/*-------------------------------------------------------------------------
 *
 * ks_enforce.h
 *	  Limits that the verbs apply by themselves.
 *
 * All that bind an attempt are asked in one call: it gets all or nothing.
 * They are
 *
 *	- keystone.reveal_limit, for the principal, and
 *	  keystone.workspace_reveal_limit, for the workspace: reveals only;
 *	- the windows of the credential's provider in keystone.providers, for the
 *	  principal and provider, each verb for itself: users only, not services
 *	  and API keys;
 *	- the definitions with the option enforce that name the verb, of the
 *	  workspace and of the database.
 *
 * Of each, policy may leave a share only (ks_enforce_share).
 *
 * An attempt is counted once the caller's rights and the state of what is
 * asked for are checked, so that nobody who would be refused anyhow counts,
 * and before anything is opened.  It stays counted whatever becomes of the
 * transaction.  No lock is held when these return.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_ENFORCE_H
#define KS_ENFORCE_H

#include "ks_change.h"
#include "ks_error.h"
#include "ks_limits.h"

/*
 * An attempt to reveal.  True when it may go on, and is counted; false when a
 * limit refuses it, which changes no counter: *limited, with palloc'd names,
 * says which.
 */
extern bool ks_enforce_reveal(const KsCall *call, const KsCredential *credential, KsLimited *limited);

/* An attempt to make another version the current one (rotate, store, promote,
 * rollback_to).  PT429. */
extern void ks_enforce_change(const KsCall *call, const KsCredential *credential);

/* An attempt to export all values of a workspace: one reveal of no credential
 * besides.  PT429. */
extern void ks_enforce_export(const KsCall *call, const uint8 workspace[KS_ID_LEN]);

/*
 * What policy leaves of the limits that bind somebody in a workspace: for a
 * verb on a credential, or (NULL) whatever is done there.  42501 when a policy
 * is damaged, which could have said anything.
 */
extern void ks_enforce_share(const uint8 workspace[KS_ID_LEN], const KsCredential *credential,
							 KsLimitShare *share);

/*
 * The providers whose windows somebody has written by hand so that they cannot
 * be read, with commas between, palloc'd; NULL when there are none.  What has
 * such a provider is refused to users (55000).
 */
extern char *ks_enforce_unreadable(void);

#endif							/* KS_ENFORCE_H */
