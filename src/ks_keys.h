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
#include "ks_spi.h"

/* Gives the keyring its loader. */
extern void ks_keys_init(void);

/*
 * To be called before anything is sealed or a row that gives rights is
 * written: PT423 when the vault is sealed; otherwise makes sure that this
 * database has a key for row MACs.
 */
extern void ks_keys_prepare(void);

/* A version of a workspace's key that does not unwrap. */
typedef struct KsDamagedKey
{
	uint8		workspace[KS_ID_LEN];
	int32		version;
} KsDamagedKey;

/*
 * Those of a workspace, or of all when it is NULL, in order; *keys is palloc'd.
 * Returns how many.  One whose root key is missing is none of them.  PT423 when
 * sealed.
 */
extern int	ks_keys_damaged(const uint8 *workspace, KsDamagedKey **keys);

/* What to say of one; palloc'd. */
extern char *ks_keys_damage_text(const KsDamagedKey *key);

/* Makes version 1 of a new workspace's key. */
extern void ks_keys_create(const uint8 workspace[KS_ID_LEN]);

/*
 * Makes the next version of a workspace's key, which encrypts from the
 * transaction's end on, and returns its number.  Of two that do so at once the
 * second waits.  PT423 when the workspace has no key.
 */
extern int32 ks_keys_add_version(const uint8 workspace[KS_ID_LEN]);

/*
 * The key that encrypts now: the highest version, its row locked FOR KEY SHARE
 * so that it cannot be destroyed meanwhile, but can be wrapped anew.  PT423
 * when the workspace has none.
 */
extern void ks_keys_current(const uint8 workspace[KS_ID_LEN], KsWrappedKey *key);

/* A version of a workspace's key, not locked; false when there is none. */
extern bool ks_keys_version(const uint8 workspace[KS_ID_LEN], int32 version, KsWrappedKey *key);

/* Number of the version that encrypts now, 0 when there is none. */
extern int32 ks_keys_current_version(const uint8 workspace[KS_ID_LEN]);

/*
 * Before a key is written that a root key has wrapped: writes the check value
 * of that root key, or compares it.  PT423 when the database knows another root
 * key by that id.
 */
extern void ks_keys_remember_root(const KsWrappedKey *key);

/* Columns of a key's row, of workspace_keys and of system_keys, for
 * ks_keys_read(); the first is the number of the first of them. */
#define KS_WRAPPED_COLUMNS \
	"version, key_id, root_key, wrapped, previous_root_key, previous_wrapped, kms_uri, xmin"
#define KS_SYSTEM_WRAPPED_COLUMNS \
	"version, key_id, root_key, wrapped, previous_root_key, previous_wrapped, NULL::text, xmin"

extern void ks_keys_read(const KsSpi *spi, uint64 row, int first, KsWrappedKey *key);

/* Locks all keys of a workspace, so that nothing is sealed by them until the
 * transaction ends.  Does not wait: false when somebody holds one. */
extern bool ks_keys_try_lock(const uint8 workspace[KS_ID_LEN]);

/* The same, waiting for whoever holds one. */
extern void ks_keys_lock(const uint8 workspace[KS_ID_LEN]);

/* Destroys them: what they have sealed does not open any more, in no backup
 * without them either. */
extern void ks_keys_shred(const uint8 workspace[KS_ID_LEN]);

/* All versions of a workspace's key, in order; *keys is palloc'd.  Returns how
 * many. */
extern int	ks_keys_list(const uint8 workspace[KS_ID_LEN], KsWrappedKey **keys);

/* Writes how a key is wrapped now; its rows are locked. */
extern void ks_keys_replace(const KsWrappedKey *key);

/* Whether a customer's key wraps any of them. */
extern bool ks_keys_have_customer(const uint8 workspace[KS_ID_LEN]);

/* A customer's key, and how many versions of a workspace's key it wraps. */
typedef struct KsCustomerKey
{
	uint8		workspace[KS_ID_LEN];
	const char *uri;
	int64		versions;
} KsCustomerKey;

/* All that there are; *keys is palloc'd.  Returns how many. */
extern int	ks_keys_customers(KsCustomerKey **keys);

/* How many keys another root key than this one wraps. */
extern int64 ks_keys_pending_rewraps(const char *root_key);

/*
 * Says which root keys the keyring lacks though keys need them, and how many
 * keys that are; palloc'd, NULL when it lacks none.  PT423 when sealed.
 */
extern char *ks_keys_missing_roots(void);

/* The keyring's ids as a text[]. */
extern Datum ks_keys_root_ids(void);

#endif							/* KS_KEYS_H */
