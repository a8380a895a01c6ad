/*-------------------------------------------------------------------------
 *
 * ks_keys.h
 *	  The tables of keys: root_keys, system_keys, workspace_keys.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_KEYS_H
#define KS_KEYS_H

#include "ks_keyring.h"

/* Gives the keyring its loader. */
extern void ks_keys_init(void);

/*
 * To be called before anything is sealed or a row that gives rights is
 * written: PT423 when the vault is sealed; otherwise makes sure that this
 * database has a key for row MACs.
 */
extern void ks_keys_prepare(void);

/* Makes version 1 of a new workspace's key. */
extern void ks_keys_create(const uint8 workspace[KS_ID_LEN]);

/*
 * The key that encrypts now: the highest version, its row locked FOR SHARE so
 * that it cannot be destroyed meanwhile.  PT423 when the workspace has none.
 */
extern void ks_keys_current(const uint8 workspace[KS_ID_LEN], KsWrappedKey *key);

/* Locks all keys of a workspace, so that nothing is sealed by them until the
 * transaction ends.  Does not wait: false when somebody holds one. */
extern bool ks_keys_try_lock(const uint8 workspace[KS_ID_LEN]);

/* Destroys them: what they have sealed does not open any more, in no backup
 * without them either. */
extern void ks_keys_shred(const uint8 workspace[KS_ID_LEN]);

/* How many keys another root key than this one wraps. */
extern int64 ks_keys_pending_rewraps(const char *root_key);

#endif							/* KS_KEYS_H */
