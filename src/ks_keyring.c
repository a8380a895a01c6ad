/*-------------------------------------------------------------------------
 *
 * ks_keyring.c
 *	  Root and workspace keys in memory.
 *
 * The shared part belongs to the launcher, which replaces it as a whole and
 * counts generations.  A backend has a view of one generation: whether this
 * database may use it, the key that authenticates rows, and prepared
 * workspace keys.  What must always hold:
 *
 *	- no root key of a generation is used before that generation was compared
 *	  with what the database knows.  The copy of a wrapping key is therefore
 *	  taken under the lock together with a look at the generation; if that
 *	  moved, the backend looks at everything again;
 *	- only a verdict that cannot change within a generation is kept: open, and
 *	  the system key came from a committed row.  "Sealed" and "no system key
 *	  yet" are asked again each time, since another backend may change them;
 *	- a key from an uncommitted row never outlives the transaction;
 *	- nothing can raise an error while a key lies in a local variable.
 *
 * A workspace key that has expired leaves memory when the next one is looked
 * up, or when the session ends.
 *
 * Lock: KS_LOCK_KEYRING protects the shared part, but for its condition
 * variable, which protects itself.  No loader is called under it.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_keyring.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_guc.h"
#include "ks_kms.h"
#include "ks_mem.h"

#define LABEL_ROOT_WRAP		"keystone root wrap v1"
#define LABEL_ROOT_CHECK	"keystone root check v1"

#define CACHE_MAX			256 /* prepared workspace keys in a backend */
#define WRAP_AAD_MAX		1024	/* a purpose, two uuids, an id and the URI
									 * of a customer's key always fit */

/* What lies in shared memory of a root key. */
typedef struct RootSlot
{
	char		id[KS_ROOT_KEY_ID_MAX + 1];
	uint8		wrap_key[KS_KEY_LEN];
	uint8		check[KS_DIGEST_LEN];
} RootSlot;

typedef struct KeyringShared
{
	ConditionVariable published;	/* somebody may wait for the first load */

	/* The lock protects what follows; the generation may be read without. */
	pg_atomic_uint64 generation;	/* 0 until the first load */
	KsSealState state;
	char		reason[KS_SEAL_REASON_MAX];
	int			nkeys;
	RootSlot	keys[KS_ROOT_KEYS_MAX]; /* the first wraps */
} KeyringShared;

/* This backend's view of a generation. */
typedef struct View
{
	bool		settled;		/* nothing needs to be asked again */
	uint64		generation;
	KsSealState state;
	char		reason[KS_SEAL_REASON_MAX];
	char		current_root[KS_ROOT_KEY_ID_MAX + 1];
	bool		has_mac_key;
	uint8		mac_key[KS_KEY_LEN];
} View;

typedef struct CachedKey
{
	uint8		key_id[KS_ID_LEN];	/* hash key */
	uint8		workspace[KS_ID_LEN];
	uint32		version;
	const char *purpose;		/* a constant */
	uint64		customer;		/* hash of the URI of its customer's key; 0:
								 * there is none */
	TimestampTz since;			/* unwrapped; by the customer's service, if
								 * there is one */
	dlist_node	node;			/* in cache_order */
	KsAead		aead;
} CachedKey;

/* The keys that customers wrap expire by another setting. */
typedef enum CacheKind
{
	CACHE_HOSTED = 0,
	CACHE_CUSTOMER,
	CACHE_KINDS
} CacheKind;

/* What happened to one use of a wrapping key. */
typedef enum WrapResult
{
	WRAP_OK,
	WRAP_CHANGED,				/* another generation: look again */
	WRAP_NO_ROOT_KEY,
	WRAP_DAMAGED,
	WRAP_CUSTOMER,				/* see customer_problem */
	WRAP_FAILED					/* libcrypto refused */
} WrapResult;

static KeyringShared *shared = NULL;
static const KsKeyringLoader *loader = NULL;

static View view;
static HTAB *cache = NULL;

/* Oldest first. */
static dlist_head cache_order[CACHE_KINDS] = {
	DLIST_STATIC_INIT(cache_order[CACHE_HOSTED]),
	DLIST_STATIC_INIT(cache_order[CACHE_CUSTOMER])
};

/* A workspace key that is not to be cached, until the next one or the
 * transaction's end. */
static KsAead scratch;

/* Why a customer's key could not be used last; palloc'd. */
static const char *customer_problem = NULL;


/*-------------------------------------------------------------------------
 * Shared memory, and the launcher's side
 *-------------------------------------------------------------------------
 */

Size
ks_keyring_shmem_size(void)
{
	return sizeof(KeyringShared);
}

/*
 * Attaches to the area; unless it was found, it begins without keys.
 */
void
ks_keyring_shmem_init(void *area, bool found)
{
	shared = area;
	if (found)
		return;

	memset(shared, 0, sizeof(*shared));
	ConditionVariableInit(&shared->published);
	pg_atomic_init_u64(&shared->generation, 0);
	shared->state = KS_SEAL_LOADING;
	strlcpy(shared->reason, "the root keyring has not been loaded yet", sizeof(shared->reason));
}

/*
 * Replaces all of the shared part.  slots has KS_ROOT_KEYS_MAX entries.
 */
static void
replace_keyring(KsSealState state, const char *reason, const RootSlot *slots, int nkeys)
{
	LWLockAcquire(ks_lock(KS_LOCK_KEYRING), LW_EXCLUSIVE);
	ks_wipe(shared->keys, sizeof(shared->keys));
	if (nkeys > 0)
		memcpy(shared->keys, slots, nkeys * sizeof(RootSlot));
	shared->nkeys = nkeys;
	shared->state = state;
	strlcpy(shared->reason, reason, sizeof(shared->reason));
	pg_atomic_write_u64(&shared->generation, pg_atomic_read_u64(&shared->generation) + 1);
	LWLockRelease(ks_lock(KS_LOCK_KEYRING));

	ConditionVariableBroadcast(&shared->published);
}

/*
 * Derives what is kept of a root key.
 */
static bool
derive_slot(const KsRootKey *key, RootSlot *slot)
{
	KsBytes		id = {key->id, strlen(key->id)};
	uint8		check_key[KS_KEY_LEN];
	bool		ok;

	strlcpy(slot->id, key->id, sizeof(slot->id));
	ok = ks_derive_key(key->key, LABEL_ROOT_WRAP, slot->wrap_key) == KS_CRYPTO_OK &&
		ks_derive_key(key->key, LABEL_ROOT_CHECK, check_key) == KS_CRYPTO_OK &&
		ks_hmac_sha256(check_key, &id, 1, slot->check) == KS_CRYPTO_OK;
	ks_wipe(check_key, sizeof(check_key));
	return ok;
}

/*
 * Makes nkeys (at least one) root keys the keyring; the first wraps.  If
 * libcrypto fails, the keyring is sealed instead.  The caller wipes keys.
 */
void
ks_keyring_publish(const KsRootKey *keys, int nkeys)
{
	RootSlot	slots[KS_ROOT_KEYS_MAX];
	bool		ok;

	Assert(nkeys > 0 && nkeys <= KS_ROOT_KEYS_MAX);

	ok = ks_crypto_init();
	for (int i = 0; ok && i < nkeys; i++)
		ok = derive_slot(&keys[i], &slots[i]);

	if (ok)
		replace_keyring(KS_SEAL_OPEN, "", slots, nkeys);
	ks_wipe(slots, sizeof(slots));

	if (!ok)
		ks_keyring_seal("libcrypto could not derive keys from the root keys");
}

/*
 * Empties the keyring.  Databases of any encoding show the reason, so what is
 * not printable ASCII becomes a question mark.
 */
void
ks_keyring_seal(const char *reason)
{
	char		clean[KS_SEAL_REASON_MAX];

	strlcpy(clean, reason, sizeof(clean));
	for (char *c = clean; *c != '\0'; c++)
	{
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
	replace_keyring(KS_SEAL_SEALED, clean, NULL, 0);
}


/*-------------------------------------------------------------------------
 * The cache of workspace keys
 *-------------------------------------------------------------------------
 */

static void
drop_cached(CachedKey *entry)
{
	ks_aead_clear(&entry->aead);
	dlist_delete(&entry->node);
	hash_search(cache, entry->key_id, HASH_REMOVE, NULL);
}

static CachedKey *
oldest_cached(CacheKind kind)
{
	return dlist_head_element(CachedKey, node, &cache_order[kind]);
}

/* Seconds for which a key is cached. */
static int
cache_ttl(CacheKind kind)
{
	return kind == CACHE_CUSTOMER ? Min(ks_key_cache_ttl, ks_kms_cache_ttl) : ks_key_cache_ttl;
}

/*
 * A clock that was set back makes a key expire, not live longer.
 */
static bool
is_expired(const CachedKey *entry, CacheKind kind, TimestampTz now)
{
	return now < entry->since ||
		now - entry->since >= (TimestampTz) cache_ttl(kind) * USECS_PER_SEC;
}

static void
drop_expired(void)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int kind = 0; kind < CACHE_KINDS; kind++)
	{
		while (!dlist_is_empty(&cache_order[kind]) && is_expired(oldest_cached(kind), kind, now))
			drop_cached(oldest_cached(kind));
	}
}

/* Two rows that name different keys of a customer are not the same key. */
static uint64
hash_of_customer(const KsWrappedKey *wrapped)
{
	if (wrapped->kms_uri == NULL)
		return 0;
	return hash_bytes_extended((const unsigned char *) wrapped->kms_uri, (int) strlen(wrapped->kms_uri), 0) | 1;
}

/*
 * The cached key, or NULL.  The key id alone would do to find it; that the
 * rest fits too keeps a row from using a key that it was not wrapped with.
 */
static CachedKey *
find_cached(const KsWrappedKey *wrapped)
{
	CachedKey  *entry;

	drop_expired();
	if (cache == NULL)
		return NULL;
	entry = hash_search(cache, wrapped->key_id, HASH_FIND, NULL);
	if (entry == NULL || entry->version != wrapped->version ||
		entry->customer != hash_of_customer(wrapped) ||
		strcmp(entry->purpose, wrapped->purpose) != 0 ||
		memcmp(entry->workspace, wrapped->workspace, KS_ID_LEN) != 0)
		return NULL;
	return entry;
}

/* Puts an entry where its age belongs. */
static void
enter_in_order(CachedKey *entry, CacheKind kind)
{
	dlist_iter	iter;

	dlist_reverse_foreach(iter, &cache_order[kind])
	{
		if (dlist_container(CachedKey, node, iter.cur)->since <= entry->since)
		{
			dlist_insert_after(iter.cur, &entry->node);
			return;
		}
	}
	dlist_push_head(&cache_order[kind], &entry->node);
}

/*
 * Moves the key in the scratch slot, unwrapped at that time, to the cache.
 */
static CachedKey *
cache_scratch(const KsWrappedKey *wrapped, TimestampTz since)
{
	CacheKind	kind = wrapped->kms_uri != NULL ? CACHE_CUSTOMER : CACHE_HOSTED;
	CachedKey  *entry;
	bool		found;

	if (cache == NULL)
	{
		HASHCTL		ctl = {.keysize = KS_ID_LEN, .entrysize = sizeof(CachedKey)};

		cache = hash_create("keystone workspace keys", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	if (hash_get_num_entries(cache) >= CACHE_MAX)
		drop_cached(oldest_cached(dlist_is_empty(&cache_order[kind]) ? CACHE_KINDS - 1 - kind : kind));

	entry = hash_search(cache, wrapped->key_id, HASH_ENTER, &found);
	if (found)
	{
		ks_aead_clear(&entry->aead);
		dlist_delete(&entry->node);
	}
	memcpy(entry->workspace, wrapped->workspace, KS_ID_LEN);
	entry->version = wrapped->version;
	entry->purpose = wrapped->purpose;
	entry->customer = hash_of_customer(wrapped);
	entry->since = since;
	entry->aead = scratch;
	ks_wipe(&scratch, sizeof(scratch));
	enter_in_order(entry, kind);
	return entry;
}

static void
clear_mac_key(void)
{
	ks_wipe(view.mac_key, sizeof(view.mac_key));
	view.has_mac_key = false;
}

/*
 * Wipes all keys that this backend holds, and its verdict.
 */
void
ks_keyring_forget(void)
{
	for (int kind = 0; kind < CACHE_KINDS; kind++)
	{
		while (!dlist_is_empty(&cache_order[kind]))
			drop_cached(oldest_cached(kind));
	}
	ks_aead_clear(&scratch);
	clear_mac_key();
	view.settled = false;
}

static void
forget_at_exit(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	ks_keyring_forget();
}

static void
forget_uncommitted(XactEvent event, void *arg pg_attribute_unused())
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
	{
		ks_aead_clear(&scratch);
		if (!view.settled)
			clear_mac_key();
	}
}

/*
 * What a process needs once, after the fork.
 */
static void
prepare_process(void)
{
	static bool registered = false;

	if (shared == NULL || !ks_shmem_attached())
		ks_error_not_preloaded();
	if (!ks_crypto_init())
		ks_error_crypto("prepare libcrypto");
	if (!registered)
	{
		before_shmem_exit(forget_at_exit, (Datum) 0);
		RegisterXactCallback(forget_uncommitted, NULL);
		registered = true;
	}
}


/*-------------------------------------------------------------------------
 * Wrapping.  Nothing here raises an error.
 *-------------------------------------------------------------------------
 */

/*
 * Copies the root key of that id, or the one that wraps now if id is NULL.
 * The caller wipes the copy.
 */
static WrapResult
copy_root(const char *id, RootSlot *slot)
{
	WrapResult	result = WRAP_NO_ROOT_KEY;

	LWLockAcquire(ks_lock(KS_LOCK_KEYRING), LW_SHARED);
	if (pg_atomic_read_u64(&shared->generation) != view.generation)
		result = WRAP_CHANGED;
	for (int i = 0; result == WRAP_NO_ROOT_KEY && i < shared->nkeys; i++)
	{
		if (id == NULL || strcmp(shared->keys[i].id, id) == 0)
		{
			*slot = shared->keys[i];
			result = WRAP_OK;
		}
	}
	LWLockRelease(ks_lock(KS_LOCK_KEYRING));
	return result;
}

/*
 * What a wrapped key is bound to.  A key that its customer wraps, too, has a
 * purpose of its own, so that neither the URI nor what it says can be swapped.
 */
static size_t
wrap_aad(const KsWrappedKey *wrapped, const uint8 *header, uint8 aad[WRAP_AAD_MAX])
{
	KsFields	f;

	ks_fields_begin(&f, aad, WRAP_AAD_MAX,
					wrapped->kms_uri != NULL ? KS_PURPOSE_CUSTOMER_KEY : wrapped->purpose);
	ks_fields_bytes(&f, header, KS_ENVELOPE_HEADER_LEN);
	ks_fields_uuid(&f, wrapped->workspace);
	ks_fields_uuid(&f, wrapped->key_id);
	ks_fields_u32(&f, wrapped->version);
	ks_fields_text(&f, wrapped->root_key);
	if (wrapped->kms_uri != NULL)
		ks_fields_text(&f, wrapped->kms_uri);

	/* A row that was edited may have any URI: nothing is authentic then. */
	return f.full ? 0 : f.len;
}

/* Whether a root key's envelope can hold so much: a key, or what a customer
 * made of it. */
static bool
is_wrap_len(const KsWrappedKey *wrapped, size_t len)
{
	return wrapped->kms_uri != NULL ? len > KS_DIGEST_LEN && len <= KS_WRAP_PLAIN_MAX : len == KS_KEY_LEN;
}

/*
 * Opens a root key's envelope into plain, which has room for KS_WRAP_PLAIN_MAX
 * bytes if there is a customer's key, else for a key.  *len receives how many
 * there are.  The caller wipes them if the result is WRAP_OK.
 */
static WrapResult
open_wrap(const KsWrappedKey *wrapped, uint8 *plain, size_t *len)
{
	KsEnvelope	envelope;
	RootSlot	root;
	KsAead		aead;
	uint8		aad[WRAP_AAD_MAX];
	size_t		aad_len;
	WrapResult	result;
	KsCryptoResult opened;

	if (!ks_envelope_parse(wrapped->wrapped, wrapped->wrapped_len, &envelope) ||
		envelope.algorithm != KS_ALG_XAES_256_GCM ||
		envelope.key_version != wrapped->version ||
		!is_wrap_len(wrapped, envelope.sealed_len - KS_TAG_LEN))
		return WRAP_DAMAGED;
	aad_len = wrap_aad(wrapped, envelope.header, aad);
	if (aad_len == 0)
		return WRAP_DAMAGED;

	result = copy_root(wrapped->root_key, &root);
	if (result != WRAP_OK)
		return result;

	opened = ks_aead_init(&aead, root.wrap_key);
	ks_wipe(&root, sizeof(root));
	if (opened == KS_CRYPTO_OK)
		opened = ks_aead_open(&aead, envelope.nonce, aad, aad_len,
							  envelope.sealed, envelope.sealed_len, plain);
	ks_aead_clear(&aead);

	*len = envelope.sealed_len - KS_TAG_LEN;
	if (opened == KS_CRYPTO_OK)
		return WRAP_OK;
	return opened == KS_CRYPTO_FORGED ? WRAP_DAMAGED : WRAP_FAILED;
}

/*
 * Opens whichever envelope of a key the keyring has the root key of: the
 * previous one only when it lacks the newer one's.  *by_previous says which it
 * was.
 */
static WrapResult
open_either(const KsWrappedKey *wrapped, uint8 *plain, size_t *len, bool *by_previous)
{
	WrapResult	result = open_wrap(wrapped, plain, len);

	*by_previous = result == WRAP_NO_ROOT_KEY && wrapped->previous_root_key[0] != '\0';
	if (*by_previous)
	{
		KsWrappedKey former = *wrapped;

		strlcpy(former.root_key, wrapped->previous_root_key, sizeof(former.root_key));
		former.wrapped = wrapped->previous_wrapped;
		former.wrapped_len = wrapped->previous_wrapped_len;
		result = open_wrap(&former, plain, len);
	}
	return result;
}

/*
 * Seals len bytes under the current root key.  envelope receives
 * KS_ENVELOPE_OVERHEAD bytes more; root_key and root_check are filled.
 */
static WrapResult
make_wrap(KsWrappedKey *wrapped, const uint8 *plain, size_t len, uint8 *envelope)
{
	uint8	   *nonce = envelope + KS_ENVELOPE_HEADER_LEN;
	uint8		aad[WRAP_AAD_MAX];
	size_t		aad_len;
	RootSlot	root;
	KsAead		aead;
	WrapResult	result;
	bool		ok;

	result = copy_root(NULL, &root);
	if (result != WRAP_OK)
		return result;
	strlcpy(wrapped->root_key, root.id, sizeof(wrapped->root_key));
	memcpy(wrapped->root_check, root.check, KS_DIGEST_LEN);

	ok = ks_aead_init(&aead, root.wrap_key) == KS_CRYPTO_OK;
	ks_wipe(&root, sizeof(root));
	ks_envelope_header(envelope, wrapped->version);
	aad_len = wrap_aad(wrapped, envelope, aad);
	ok = ok && aad_len > 0 &&
		ks_random(nonce, KS_NONCE_LEN) == KS_CRYPTO_OK &&
		ks_aead_seal(&aead, nonce, aad, aad_len, plain, len, nonce + KS_NONCE_LEN) == KS_CRYPTO_OK;
	ks_aead_clear(&aead);
	return ok ? WRAP_OK : WRAP_FAILED;
}


/*-------------------------------------------------------------------------
 * The verdict
 *-------------------------------------------------------------------------
 */

void
ks_keyring_set_loader(const KsKeyringLoader *new_loader)
{
	loader = new_loader;
}

/*
 * Waits for the launcher's first load; not more than once for the whole time
 * in one backend, which comes here many times in a call.
 */
static void
wait_for_first_load(void)
{
	static TimestampTz deadline = 0;

	ks_shmem_await(&shared->generation, &shared->published, &deadline);
}

/*
 * Takes over the current generation.  checks receives the check values of the
 * loaded root keys; the result is their number.
 */
static int
adopt_generation(KsRootCheck checks[KS_ROOT_KEYS_MAX])
{
	uint64		previous = view.generation;
	int			nkeys;

	LWLockAcquire(ks_lock(KS_LOCK_KEYRING), LW_SHARED);
	view.generation = pg_atomic_read_u64(&shared->generation);
	view.state = shared->state;
	strlcpy(view.reason, shared->reason, sizeof(view.reason));
	nkeys = shared->nkeys;
	for (int i = 0; i < nkeys; i++)
	{
		strlcpy(checks[i].id, shared->keys[i].id, sizeof(checks[i].id));
		memcpy(checks[i].check, shared->keys[i].check, KS_DIGEST_LEN);
	}
	LWLockRelease(ks_lock(KS_LOCK_KEYRING));

	if (view.generation != previous)
		ks_keyring_forget();
	clear_mac_key();
	view.settled = false;
	strlcpy(view.current_root, nkeys > 0 ? checks[0].id : "", sizeof(view.current_root));
	return nkeys;
}

static void
seal_view(const char *id, const char *problem)
{
	view.state = KS_SEAL_SEALED;
	view.current_root[0] = '\0';
	snprintf(view.reason, sizeof(view.reason), "root key \"%s\" %s", id, problem);
}

/*
 * Seals the view if a loaded key is not the one that the database knows by
 * that id.
 */
static void
compare_root_keys(const KsRootCheck *loaded, int nloaded)
{
	KsRootCheck *known;
	int			nknown = loader->root_checks(&known);

	for (int i = 0; i < nknown; i++)
	{
		for (int j = 0; j < nloaded; j++)
		{
			if (strcmp(known[i].id, loaded[j].id) == 0 &&
				!ks_equal(known[i].check, loaded[j].check, KS_DIGEST_LEN))
			{
				seal_view(loaded[j].id, "is not the key that this database knows by that name");
				return;
			}
		}
	}
}

/*
 * Unwraps the key that authenticates rows, if there is one yet.  Returns
 * false if the generation moved.
 */
static bool
load_mac_key(void)
{
	KsWrappedKey wrapped = {.purpose = KS_PURPOSE_SYSTEM_KEY};
	size_t		len;
	bool		by_previous;

	if (!loader->mac_key(&wrapped))
		return true;

	switch (open_either(&wrapped, view.mac_key, &len, &by_previous))
	{
		case WRAP_OK:
			view.has_mac_key = true;
			view.settled = !wrapped.uncommitted;
			return true;
		case WRAP_CHANGED:
			return false;
		case WRAP_NO_ROOT_KEY:
			seal_view(wrapped.root_key,
					  "wraps this database's system key, and is not in the keyring");
			return true;
		case WRAP_DAMAGED:
			seal_view(wrapped.root_key, "does not open this database's system key");
			return true;
		case WRAP_CUSTOMER:
		case WRAP_FAILED:
			break;
	}
	ks_error_crypto("unwrap the system key");
}

/*
 * Brings the view up to date.  Costs one read of shared memory when it is.
 */
static void
refresh_view(void)
{
	bool		done;

	if (view.settled && view.generation == pg_atomic_read_u64(&shared->generation))
		return;

	prepare_process();
	if (pg_atomic_read_u64(&shared->generation) == 0)
		wait_for_first_load();

	do
	{
		KsRootCheck loaded[KS_ROOT_KEYS_MAX];
		int			nloaded = adopt_generation(loaded);

		CHECK_FOR_INTERRUPTS();
		done = true;
		if (view.state == KS_SEAL_OPEN && loader != NULL)
		{
			compare_root_keys(loaded, nloaded);
			if (view.state == KS_SEAL_OPEN)
				done = load_mac_key();
		}
	} while (!done);
}

void
ks_keyring_status(KsSealStatus *status)
{
	refresh_view();

	status->state = view.state;
	status->generation = view.generation;
	strlcpy(status->current_root_key, view.current_root, sizeof(status->current_root_key));
	strlcpy(status->reason, view.reason, sizeof(status->reason));
}

void
ks_keyring_require_open(void)
{
	refresh_view();
	if (view.state != KS_SEAL_OPEN)
		ks_error_sealed(view.reason);
}

void
ks_keyring_current_root(KsRootCheck *current)
{
	RootSlot	root;

	/* an open view has at least one key, so that only a change can fail */
	do
	{
		ks_keyring_require_open();
	} while (copy_root(NULL, &root) != WRAP_OK);

	strlcpy(current->id, root.id, sizeof(current->id));
	memcpy(current->check, root.check, KS_DIGEST_LEN);
	ks_wipe(&root, sizeof(root));
}


/*-------------------------------------------------------------------------
 * Use of keys
 *-------------------------------------------------------------------------
 */

/*
 * Gets a key out of its wraps; the caller wipes it.  fresh: the customer's
 * service is asked whatever is cached.  since receives when it was unwrapped.
 */
static WrapResult
unwrap_key(const KsWrappedKey *wrapped, bool fresh, uint8 key[KS_KEY_LEN], TimestampTz *since)
{
	uint8		plain[KS_WRAP_PLAIN_MAX];
	KsKmsKey	customer = {wrapped->key_id, wrapped->workspace, wrapped->kms_uri, plain};
	size_t		len;
	bool		by_previous;
	WrapResult	result;

	*since = GetCurrentTimestamp();
	if (wrapped->kms_uri == NULL)
		return open_either(wrapped, key, &len, &by_previous);

	result = open_either(wrapped, plain, &len, &by_previous);
	if (result != WRAP_OK)
		return result;
	customer_problem = ks_kms_unwrap(&customer, plain + KS_DIGEST_LEN, len - KS_DIGEST_LEN, fresh, key, since);
	return customer_problem == NULL ? WRAP_OK : WRAP_CUSTOMER;
}

/*
 * Has the customer's service wrap a key, and unwrap it again.  plain receives
 * what goes into the root key's envelope.  False with customer_problem.
 */
static bool
ask_customer(const KsWrappedKey *wrapped, const uint8 *key, uint8 plain[KS_WRAP_PLAIN_MAX], size_t *len)
{
	KsKmsKey	customer = {wrapped->key_id, wrapped->workspace, wrapped->kms_uri, plain};
	uint8	   *again = ks_secret_alloc(CurrentMemoryContext, KS_KEY_LEN);
	uint8	   *blob = plain + KS_DIGEST_LEN;
	TimestampTz asked_at;

	if (ks_kms_check(wrapped->key_id, key, plain) != KS_CRYPTO_OK)
		ks_error_crypto("compute a check value");
	customer_problem = ks_kms_wrap(&customer, key, blob, len);
	if (customer_problem == NULL)
		customer_problem = ks_kms_unwrap(&customer, blob, *len, true, again, &asked_at);
	ks_secret_wipe(again);
	*len += KS_DIGEST_LEN;
	return customer_problem == NULL;
}

/*
 * Wraps a key: by the customer's service, if there is one, and under the
 * current root key.  key is a secret buffer, as this may be cancelled.
 */
static void
wrap_key(KsWrappedKey *wrapped, const uint8 *key)
{
	uint8		plain[KS_WRAP_PLAIN_MAX];
	size_t		len = KS_KEY_LEN;
	uint8	   *envelope;
	WrapResult	result;

	if (wrapped->kms_uri != NULL && !ask_customer(wrapped, key, plain, &len))
		ks_error_customer_key(customer_problem);
	envelope = palloc(KS_ENVELOPE_OVERHEAD + len);
	do
	{
		ks_keyring_require_open();
		result = make_wrap(wrapped, wrapped->kms_uri != NULL ? plain : key, len, envelope);
	} while (result == WRAP_CHANGED);

	if (result != WRAP_OK)
		ks_error_crypto("wrap a key");
	wrapped->wrapped = envelope;
	wrapped->wrapped_len = KS_ENVELOPE_OVERHEAD + len;
	wrapped->previous_root_key[0] = '\0';
	wrapped->previous_wrapped = NULL;
	wrapped->previous_wrapped_len = 0;
}

void
ks_keyring_make_key(KsWrappedKey *wrapped)
{
	uint8	   *key = ks_secret_alloc(CurrentMemoryContext, KS_KEY_LEN);

	ks_keyring_require_open();
	if (ks_random_uuid(wrapped->key_id) != KS_CRYPTO_OK || ks_random(key, KS_KEY_LEN) != KS_CRYPTO_OK)
		ks_error_crypto("make a key");
	wrap_key(wrapped, key);
	ks_secret_wipe(key);
	wrapped->uncommitted = true;
}

void
ks_keyring_change_customer_key(const KsWrappedKey *from, const char *uri, KsWrappedKey *to)
{
	uint8	   *key = ks_secret_alloc(CurrentMemoryContext, KS_KEY_LEN);
	TimestampTz since;
	WrapResult	result;

	do
	{
		ks_keyring_require_open();
		result = unwrap_key(from, true, key, &since);
	} while (result == WRAP_CHANGED);
	switch (result)
	{
		case WRAP_OK:
			break;
		case WRAP_NO_ROOT_KEY:
			ks_error_sealed(psprintf("root key \"%s\" is missing from the keyring", from->root_key));
		case WRAP_DAMAGED:
			ks_error_damaged(psprintf("version %u of the workspace's key does not unwrap", from->version));
		case WRAP_CUSTOMER:
			ks_error_customer_key(customer_problem);
		default:
			ks_error_crypto("unwrap a workspace key");
	}
	*to = *from;
	to->kms_uri = uri;
	wrap_key(to, key);
	ks_secret_wipe(key);
}

static KsUnwrapResult
as_unwrap_result(WrapResult result, const char *what)
{
	switch (result)
	{
		case WRAP_OK:
			return KS_UNWRAP_OK;
		case WRAP_NO_ROOT_KEY:
			return KS_UNWRAP_NO_ROOT_KEY;
		case WRAP_DAMAGED:
			return KS_UNWRAP_DAMAGED;
		default:
			ks_error_crypto(what);
	}
}

KsUnwrapResult
ks_keyring_check(const KsWrappedKey *wrapped)
{
	uint8		plain[KS_WRAP_PLAIN_MAX];
	size_t		len;
	bool		by_previous;
	WrapResult	result;

	do
	{
		ks_keyring_require_open();
		result = open_either(wrapped, plain, &len, &by_previous);
	} while (result == WRAP_CHANGED);
	ks_wipe(plain, sizeof(plain));
	return as_unwrap_result(result, "unwrap a key");
}

/* Raises nothing while what is inside lies in a local variable. */
static WrapResult
rewrap(const KsWrappedKey *old, KsWrappedKey *fresh, uint8 *envelope)
{
	uint8		plain[KS_WRAP_PLAIN_MAX];
	size_t		len;
	bool		by_previous;
	WrapResult	result = open_either(old, plain, &len, &by_previous);

	if (result != WRAP_OK)
		return result;
	*fresh = *old;
	if (!by_previous)
	{
		strlcpy(fresh->previous_root_key, old->root_key, sizeof(fresh->previous_root_key));
		fresh->previous_wrapped = old->wrapped;
		fresh->previous_wrapped_len = old->wrapped_len;
	}
	result = make_wrap(fresh, plain, len, envelope);
	ks_wipe(plain, sizeof(plain));
	fresh->wrapped = envelope;
	fresh->wrapped_len = KS_ENVELOPE_OVERHEAD + len;
	fresh->uncommitted = true;
	return result;
}

KsUnwrapResult
ks_keyring_rewrap(const KsWrappedKey *old, KsWrappedKey *fresh)
{
	uint8	   *envelope = palloc(KS_ENVELOPE_OVERHEAD + KS_WRAP_PLAIN_MAX);
	WrapResult	result;

	do
	{
		ks_keyring_require_open();
		result = rewrap(old, fresh, envelope);
	} while (result == WRAP_CHANGED);
	return as_unwrap_result(result, "wrap a key");
}

bool
ks_keyring_needs_no_previous(const KsWrappedKey *wrapped)
{
	uint8		plain[KS_WRAP_PLAIN_MAX];
	size_t		len;
	WrapResult	result;

	do
	{
		ks_keyring_require_open();
		result = open_wrap(wrapped, plain, &len);
	} while (result == WRAP_CHANGED);
	ks_wipe(plain, sizeof(plain));
	return result == WRAP_OK;
}

int
ks_keyring_root_ids(char (*ids)[KS_ROOT_KEY_ID_MAX + 1])
{
	int			n;

	ks_keyring_require_open();
	LWLockAcquire(ks_lock(KS_LOCK_KEYRING), LW_SHARED);
	n = shared->nkeys;
	for (int i = 0; i < n; i++)
		strlcpy(ids[i], shared->keys[i].id, KS_ROOT_KEY_ID_MAX + 1);
	LWLockRelease(ks_lock(KS_LOCK_KEYRING));
	return n;
}

void
ks_keyring_set_id(char id[KS_ROOT_KEY_ID_MAX + 1], const char *value)
{
	if (value == NULL || strlcpy(id, value, KS_ROOT_KEY_ID_MAX + 1) > KS_ROOT_KEY_ID_MAX)
		id[0] = '\0';			/* no keyring has an empty id */
}

const char *
ks_keyring_customer_problem(void)
{
	return customer_problem;
}

/*
 * Unwraps a workspace key into the scratch slot.
 */
static WrapResult
unwrap_to_scratch(const KsWrappedKey *wrapped, TimestampTz *since)
{
	uint8		key[KS_KEY_LEN];
	WrapResult	result;

	ks_aead_clear(&scratch);
	result = unwrap_key(wrapped, false, key, since);
	if (result == WRAP_OK && ks_aead_init(&scratch, key) != KS_CRYPTO_OK)
		result = WRAP_FAILED;
	ks_wipe(key, sizeof(key));
	return result;
}

KsUnwrapResult
ks_keyring_workspace_key(const KsWrappedKey *wrapped, const KsAead **key)
{
	WrapResult	result;
	CachedKey  *entry;
	TimestampTz since;

	*key = NULL;
	do
	{
		ks_keyring_require_open();
		entry = find_cached(wrapped);
		if (entry != NULL)
		{
			*key = &entry->aead;
			return KS_UNWRAP_OK;
		}
		result = unwrap_to_scratch(wrapped, &since);
	} while (result == WRAP_CHANGED);

	switch (result)
	{
		case WRAP_OK:
			break;
		case WRAP_NO_ROOT_KEY:
			return KS_UNWRAP_NO_ROOT_KEY;
		case WRAP_DAMAGED:
			return KS_UNWRAP_DAMAGED;
		case WRAP_CUSTOMER:
			return KS_UNWRAP_CUSTOMER;
		default:
			ks_error_crypto("unwrap a workspace key");
	}

	if (wrapped->uncommitted || cache_ttl(wrapped->kms_uri != NULL ? CACHE_CUSTOMER : CACHE_HOSTED) == 0)
		*key = &scratch;
	else
		*key = &cache_scratch(wrapped, since)->aead;
	return KS_UNWRAP_OK;
}

bool
ks_keyring_has_mac_key(void)
{
	refresh_view();
	return view.state == KS_SEAL_OPEN && view.has_mac_key;
}

void
ks_keyring_row_mac(const KsFields *fields, uint8 mac[KS_DIGEST_LEN])
{
	KsBytes		input = {fields->buf, fields->len};

	if (fields->full)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row is too long to be authenticated")));

	ks_keyring_require_open();
	if (!view.has_mac_key)
		ks_error_sealed("this database has no system key yet");
	if (ks_hmac_sha256(view.mac_key, &input, 1, mac) != KS_CRYPTO_OK)
		ks_error_crypto("authenticate a row");
}
