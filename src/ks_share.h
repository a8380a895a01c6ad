/*-------------------------------------------------------------------------
 *
 * ks_share.h
 *	  Personal credentials that their owners let others use: the table.
 *
 * Who may share is the caller's business, and so is that nobody else changes
 * the credential meanwhile: its row is locked.  Who may use what is shared is
 * ks_rights' business.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_SHARE_H
#define KS_SHARE_H

#include "ks_store.h"

/* Lets a principal use a credential, ends: until then; or changes until when.
 * PT423 when sealed. */
extern void ks_share_put(const KsCredential *credential, const uint8 grantee[KS_ID_LEN],
						 bool ends, TimestampTz until);

/* Takes it back; the row stays as a tombstone.  False when it is not shared
 * with the grantee.  PT423 when sealed. */
extern bool ks_share_end(const KsCredential *credential, const uint8 grantee[KS_ID_LEN]);

/* Takes back all that is shared with a principal, or by it, in a workspace. */
extern void ks_share_end_all(const uint8 workspace[KS_ID_LEN], const uint8 principal[KS_ID_LEN]);

#endif							/* KS_SHARE_H */
