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
#include "lib/ilist.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_guc.h"
#include "ks_mem.h"

#define LABEL_ROOT_WRAP		"keystone root wrap v1"
#define LABEL_ROOT_CHECK	"keystone root check v1"

#define CACHE_MAX			256 /* prepared workspace keys in a backend */
#define WRAP_AAD_MAX		256 /* a purpose, two uuids and an id always fit */

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
	TimestampTz since;
	dlist_node	node;			/* in cache_order */
	KsAead		aead;
} CachedKey;

/* What happened to one use of a wrapping key. */
typedef enum WrapResult
{
	WRAP_OK,
	WRAP_CHANGED,				/* another generation: look again */
	WRAP_NO_ROOT_KEY,
	WRAP_DAMAGED,
	WRAP_FAILED					/* libcrypto refused */
} WrapResult;

static KeyringShared *shared = NULL;
static const KsKeyringLoader *loader = NULL;

static View view;
static HTAB *cache = NULL;
static dlist_head cache_order = DLIST_STATIC_INIT(cache_order); /* oldest first */

/* A workspace key that is not to be cached, until the next one or the
 * transaction's end. */
static KsAead scratch;


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
oldest_cached(void)
{
	return dlist_head_element(CachedKey, node, &cache_order);
}

/*
 * A clock that was set back makes a key expire, not live longer.
 */
static bool
is_expired(const CachedKey *entry, TimestampTz now)
{
	return now < entry->since ||
		now - entry->since >= (TimestampTz) ks_key_cache_ttl * USECS_PER_SEC;
}

/*
 * The cached key, or NULL.  The key id alone would do to find it; that the
 * rest fits too keeps a row from using a key that it was not wrapped with.
 */
static CachedKey *
find_cached(const KsWrappedKey *wrapped)
{
	TimestampTz now = GetCurrentTimestamp();
	CachedKey  *entry;

	while (!dlist_is_empty(&cache_order) && is_expired(oldest_cached(), now))
		drop_cached(oldest_cached());

	if (cache == NULL)
		return NULL;
	entry = hash_search(cache, wrapped->key_id, HASH_FIND, NULL);
	if (entry == NULL || entry->version != wrapped->version ||
		strcmp(entry->purpose, wrapped->purpose) != 0 ||
		memcmp(entry->workspace, wrapped->workspace, KS_ID_LEN) != 0)
		return NULL;
	return entry;
}

/*
 * Moves the key in the scratch slot to the cache.
 */
static CachedKey *
cache_scratch(const KsWrappedKey *wrapped)
{
	CachedKey  *entry;
	bool		found;

	if (cache == NULL)
	{
		HASHCTL		ctl = {.keysize = KS_ID_LEN, .entrysize = sizeof(CachedKey)};

		cache = hash_create("keystone workspace keys", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	if (hash_get_num_entries(cache) >= CACHE_MAX)
		drop_cached(oldest_cached());

	entry = hash_search(cache, wrapped->key_id, HASH_ENTER, &found);
	if (found)
	{
		ks_aead_clear(&entry->aead);
		dlist_delete(&entry->node);
	}
	memcpy(entry->workspace, wrapped->workspace, KS_ID_LEN);
	entry->version = wrapped->version;
	entry->purpose = wrapped->purpose;
	entry->since = GetCurrentTimestamp();
	entry->aead = scratch;
	ks_wipe(&scratch, sizeof(scratch));
	dlist_push_tail(&cache_order, &entry->node);
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
	while (!dlist_is_empty(&cache_order))
		drop_cached(oldest_cached());
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
 * What a wrapped key is bound to.
 */
static size_t
wrap_aad(const KsWrappedKey *wrapped, const uint8 *header, uint8 aad[WRAP_AAD_MAX])
{
	KsFields	f;

	ks_fields_begin(&f, aad, WRAP_AAD_MAX, wrapped->purpose);
	ks_fields_bytes(&f, header, KS_ENVELOPE_HEADER_LEN);
	ks_fields_uuid(&f, wrapped->workspace);
	ks_fields_uuid(&f, wrapped->key_id);
	ks_fields_u32(&f, wrapped->version);
	ks_fields_text(&f, wrapped->root_key);

	Assert(!f.full);
	return f.len;
}

/*
 * Unwraps a key into plain, which the caller wipes if the result is WRAP_OK.
 */
static WrapResult
unwrap(const KsWrappedKey *wrapped, uint8 plain[KS_KEY_LEN])
{
	KsEnvelope	envelope;
	RootSlot	root;
	KsAead		aead;
	uint8		aad[WRAP_AAD_MAX];
	WrapResult	result;
	KsCryptoResult opened;

	if (!ks_envelope_parse(wrapped->wrapped, wrapped->wrapped_len, &envelope) ||
		envelope.algorithm != KS_ALG_XAES_256_GCM ||
		envelope.key_version != wrapped->version ||
		envelope.sealed_len != KS_KEY_LEN + KS_TAG_LEN)
		return WRAP_DAMAGED;

	result = copy_root(wrapped->root_key, &root);
	if (result != WRAP_OK)
		return result;

	opened = ks_aead_init(&aead, root.wrap_key);
	ks_wipe(&root, sizeof(root));
	if (opened == KS_CRYPTO_OK)
		opened = ks_aead_open(&aead, envelope.nonce,
							  aad, wrap_aad(wrapped, envelope.header, aad),
							  envelope.sealed, envelope.sealed_len, plain);
	ks_aead_clear(&aead);

	if (opened == KS_CRYPTO_OK)
		return WRAP_OK;
	return opened == KS_CRYPTO_FORGED ? WRAP_DAMAGED : WRAP_FAILED;
}

/*
 * Draws a key and wraps it under the current root key.  envelope receives
 * KS_WRAPPED_KEY_LEN bytes.
 */
static WrapResult
wrap_new_key(KsWrappedKey *wrapped, uint8 *envelope)
{
	uint8	   *nonce = envelope + KS_ENVELOPE_HEADER_LEN;
	uint8		plain[KS_KEY_LEN];
	uint8		aad[WRAP_AAD_MAX];
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
	ok = ok &&
		ks_random_uuid(wrapped->key_id) == KS_CRYPTO_OK &&
		ks_random(nonce, KS_NONCE_LEN) == KS_CRYPTO_OK &&
		ks_random(plain, KS_KEY_LEN) == KS_CRYPTO_OK &&
		ks_aead_seal(&aead, nonce, aad, wrap_aad(wrapped, envelope, aad),
					 plain, KS_KEY_LEN, nonce + KS_NONCE_LEN) == KS_CRYPTO_OK;
	ks_wipe(plain, sizeof(plain));
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

	if (!loader->mac_key(&wrapped))
		return true;

	switch (unwrap(&wrapped, view.mac_key))
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

void
ks_keyring_make_key(KsWrappedKey *wrapped)
{
	uint8	   *envelope = palloc(KS_WRAPPED_KEY_LEN);
	WrapResult	result;

	do
	{
		ks_keyring_require_open();
		result = wrap_new_key(wrapped, envelope);
	} while (result == WRAP_CHANGED);

	if (result != WRAP_OK)
		ks_error_crypto("make a key");
	wrapped->wrapped = envelope;
	wrapped->wrapped_len = KS_WRAPPED_KEY_LEN;
	wrapped->uncommitted = true;
}

/*
 * Unwraps a workspace key into the scratch slot.
 */
static WrapResult
unwrap_to_scratch(const KsWrappedKey *wrapped)
{
	uint8		plain[KS_KEY_LEN];
	WrapResult	result;

	ks_aead_clear(&scratch);
	result = unwrap(wrapped, plain);
	if (result == WRAP_OK && ks_aead_init(&scratch, plain) != KS_CRYPTO_OK)
		result = WRAP_FAILED;
	ks_wipe(plain, sizeof(plain));
	return result;
}

KsUnwrapResult
ks_keyring_workspace_key(const KsWrappedKey *wrapped, const KsAead **key)
{
	WrapResult	result;
	CachedKey  *entry;

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
		result = unwrap_to_scratch(wrapped);
	} while (result == WRAP_CHANGED);

	switch (result)
	{
		case WRAP_OK:
			break;
		case WRAP_NO_ROOT_KEY:
			return KS_UNWRAP_NO_ROOT_KEY;
		case WRAP_DAMAGED:
			return KS_UNWRAP_DAMAGED;
		default:
			ks_error_crypto("unwrap a workspace key");
	}

	if (wrapped->uncommitted || ks_key_cache_ttl == 0)
		*key = &scratch;
	else
		*key = &cache_scratch(wrapped)->aead;
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
