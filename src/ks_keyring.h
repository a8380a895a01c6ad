/*-------------------------------------------------------------------------
 *
 * ks_keyring.h
 *	  Root and workspace keys in memory.
 *
 * The root keyring lies in fixed shared memory.  Only the launcher writes it;
 * backends copy one key at a time into a buffer that they wipe.  A generation
 * number tells backends that it changed: they then drop their caches and
 * compare the keys with the check values that the database keeps, before they
 * use any.  What lies there are keys derived from each root key (one to wrap,
 * one for the check value), not the root key itself.
 *
 * Lock: KS_LOCK_KEYRING protects all fields of the shared part.  The
 * generation may be read without it, to see that nothing changed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_KEYRING_H
#define KS_KEYRING_H

#include "ks_shmem.h"
#include "ks_wire.h"

#define KS_SEAL_REASON_MAX	256

/* What the launcher found, and what seal_status shows. */
typedef enum KsSealState
{
	KS_SEAL_LOADING,			/* the launcher has not finished its first
								 * load */
	KS_SEAL_SEALED,
	KS_SEAL_OPEN
} KsSealState;

typedef struct KsSealStatus
{
	KsSealState state;
	uint64		generation;
	char		current_root_key[KS_ROOT_KEY_ID_MAX + 1];	/* empty when sealed */
	char		reason[KS_SEAL_REASON_MAX]; /* empty when open */
} KsSealStatus;

/* A key as it lies in a table, wrapped under a root key. */
typedef struct KsWrappedKey
{
	uint8		key_id[KS_ID_LEN];
	uint8		workspace[KS_ID_LEN];	/* zero for a system key */
	uint32		version;
	const char *purpose;		/* KS_PURPOSE_WORKSPACE_KEY or
								 * KS_PURPOSE_SYSTEM_KEY */
	char		root_key[KS_ROOT_KEY_ID_MAX + 1];	/* which root key wraps it */
	const uint8 *wrapped;
	size_t		wrapped_len;
	char		previous_root_key[KS_ROOT_KEY_ID_MAX + 1];	/* empty: none */
	const uint8 *previous_wrapped;	/* the same key under that root key */
	size_t		previous_wrapped_len;
	const char *kms_uri;		/* customer's key that wraps it inside the
								 * root key's envelope; NULL: none */
	bool		uncommitted;	/* made by this transaction: not to be cached */
	uint8		root_check[KS_DIGEST_LEN];	/* of root_key; only
											 * ks_keyring_make_key() fills it */
} KsWrappedKey;

/*
 * What a root key's envelope has inside: the key; or, when there is a
 * customer's key, a check value of the key (KS_DIGEST_LEN bytes) and what the
 * customer's key management service made of it.  An envelope of the second
 * kind is rewrapped like the first, as bytes, without asking the service.
 */
#define KS_CUSTOMER_BLOB_MAX	2048
#define KS_WRAP_PLAIN_MAX		(KS_DIGEST_LEN + KS_CUSTOMER_BLOB_MAX)

/* What this database remembers of a root key. */
typedef struct KsRootCheck
{
	char		id[KS_ROOT_KEY_ID_MAX + 1];
	uint8		check[KS_DIGEST_LEN];
} KsRootCheck;

/*
 * What the keyring needs from tables, given by a room of floor 4.  Called
 * without the lock, in a transaction, and again until a committed system key
 * was seen.  They may raise errors, and must not call back into this room.
 */
typedef struct KsKeyringLoader
{
	/*
	 * All check values of this database; *checks is palloc'd.  Returns how
	 * many.
	 */
	int			(*root_checks) (KsRootCheck **checks);

	/*
	 * The system key that authenticates rows that give rights; false if none
	 * was made yet.
	 */
	bool		(*mac_key) (KsWrappedKey *wrapped);
} KsKeyringLoader;

/* Shared memory (see ks_shmem.h). */
extern Size ks_keyring_shmem_size(void);
extern void ks_keyring_shmem_init(void *area, bool found);

extern void ks_keyring_set_loader(const KsKeyringLoader *loader);

/* The launcher's side: replaces the keyring, or seals it with a reason.
 * Both make a new generation and wake whoever waits for the first load. */
extern void ks_keyring_publish(const KsRootKey *keys, int nkeys);
extern void ks_keyring_seal(const char *reason);

/*
 * The state as far as this database is concerned: sealed also when a loaded
 * key is not the one that the database knows by that id, or when the key that
 * wraps the database's system key is missing.  Waits up to 5 seconds,
 * interruptibly, for the first load.  Raises nothing but a cancel, and what
 * the loader raises; 55000 when the library is not preloaded.
 */
extern void ks_keyring_status(KsSealStatus *status);

/* PT423 unless the database's state is open. */
extern void ks_keyring_require_open(void);

/* The id and check value of the key that wraps now.  PT423 when sealed.  A
 * reload may replace it at any moment: what a new key was wrapped under is in
 * its KsWrappedKey. */
extern void ks_keyring_current_root(KsRootCheck *current);

/*
 * Makes a new random key and wraps it under the current root key, and before
 * that by the customer's key if there is a kms_uri, for which it waits.  Fills
 * key_id, root_key, root_check, wrapped (palloc'd) and uncommitted of
 * *wrapped; the caller has set workspace, version and purpose.  The caller
 * stores it only together with (root_key, root_check), and not if the
 * database knows another check value by that id.  PT423 when sealed.
 */
extern void ks_keyring_make_key(KsWrappedKey *wrapped);

typedef enum KsUnwrapResult
{
	KS_UNWRAP_OK = 0,
	KS_UNWRAP_NO_ROOT_KEY,		/* the keyring lacks wrapped->root_key, and
								 * the previous one */
	KS_UNWRAP_DAMAGED,			/* it does not open */
	KS_UNWRAP_CUSTOMER			/* the customer's key is not available, see
								 * ks_keyring_customer_problem() */
} KsUnwrapResult;

/*
 * The prepared workspace key, from the cache or unwrapped now.  It belongs to
 * the keyring and is good until the caller's next call into this room, at
 * most until the transaction ends.  PT423 when the database is sealed.
 */
extern KsUnwrapResult ks_keyring_workspace_key(const KsWrappedKey *wrapped,
											   const KsAead **key);

/*
 * Whether the envelope of a key opens.  What is inside is not used: no service
 * of a customer is asked.  PT423 when the database is sealed.
 */
extern KsUnwrapResult ks_keyring_check(const KsWrappedKey *wrapped);

/*
 * Seals a key's envelope anew under the current root key, whatever is inside.
 * *fresh becomes what its row is to say: as ks_keyring_make_key() fills it, and
 * with the envelope that opened as the previous one, so that either root key
 * opens it.  PT423 when the database is sealed.
 */
extern KsUnwrapResult ks_keyring_rewrap(const KsWrappedKey *old, KsWrappedKey *fresh);

/* Whether a key opens by its newer envelope, so that the previous can go. */
extern bool ks_keyring_needs_no_previous(const KsWrappedKey *wrapped);

/* Ids of the keyring's root keys, KS_ROOT_KEYS_MAX at most, the one that wraps
 * first.  Returns how many.  PT423 when sealed. */
extern int	ks_keyring_root_ids(char (*ids)[KS_ROOT_KEY_ID_MAX + 1]);

/* Copies an id from a table's column (NULL: empty); one that no keyring can
 * have becomes empty, too. */
extern void ks_keyring_set_id(char id[KS_ROOT_KEY_ID_MAX + 1], const char *value);

/* Why the last KS_UNWRAP_CUSTOMER, for the server log; palloc'd. */
extern const char *ks_keyring_customer_problem(void);

/*
 * Wraps a workspace key anew, for a customer's key, or for none when uri is
 * NULL.  to has what is to be written in place of from: uri, root_key,
 * root_check, wrapped (palloc'd), and no previous wrap.  Asks the services of
 * both sides, so that it waits: call it without locks.  PT423, XX001.
 */
extern void ks_keyring_change_customer_key(const KsWrappedKey *from, const char *uri, KsWrappedKey *to);

/*
 * HMAC-SHA-256 under the database's row key over a KsFields buffer.  PT423
 * when sealed, or when there is no such key.  ks_keyring_has_mac_key() is false when sealed or when no key
 * was made yet: then rows cannot be verified.
 */
extern bool ks_keyring_has_mac_key(void);
extern void ks_keyring_row_mac(const KsFields *fields, uint8 mac[KS_DIGEST_LEN]);

/* Wipes all that this backend caches. */
extern void ks_keyring_forget(void);

#endif							/* KS_KEYRING_H */
