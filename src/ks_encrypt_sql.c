/*-------------------------------------------------------------------------
 *
 * ks_encrypt_sql.c
 *	  encrypt(), decrypt() and blind_index(): columns of an application's own.
 *
 * These are called for each row of a statement, so what a call needs to know
 * is found once for each call site and workspace, and kept beside the
 * function's own state.  It is used again only
 *
 *	- in the same transaction, and as long as no part of it was rolled back:
 *	  that may have taken the lock on the workspace's key;
 *	- as long as the caller is the same one, and nothing has changed of rights,
 *	  of keys, and of the root keyring, as each call asks.
 *
 * Otherwise the call begins anew, as a verb, which records a refusal.
 *
 * The key that encrypts is locked until the transaction ends, so that it is
 * not destroyed before what it has encrypted is committed.  A key is asked
 * for from the keyring for each row: it has an age, and may be a customer's.
 *
 * Additional authenticated data: purpose, envelope header, key id, workspace,
 * context.  The purpose is not that of credentials: what the one has encrypted
 * the other does not open.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_bulk.h"
#include "ks_decrypt_log.h"
#include "ks_encrypt_sql.h"
#include "ks_enforce.h"
#include "ks_error.h"
#include "ks_gate.h"
#include "ks_inval.h"
#include "ks_jws.h"
#include "ks_keycount.h"
#include "ks_keys.h"
#include "ks_mem.h"
#include "ks_note.h"
#include "ks_vault_args.h"

#define CONTEXT_MAX		1024	/* bytes */
#define TEXT_MARK		"ks1:"
#define TEXT_MARK_LEN	(sizeof(TEXT_MARK) - 1)
#define INDEX_LEN		16		/* bytes of a blind index */
#define INDEX_LABEL		"blind_index1"	/* of the key that it is made with */
#define FIRST_VERSION	1		/* of a workspace's key */
#define PREFIX_MAX		192		/* bytes of the data before the context */
#define DATA_MAX		(PREFIX_MAX + CONTEXT_MAX)
#define UNCOUNTED_MAX	1024	/* encryptions */

/* A call with a key that ends is looked at again after so long. */
#define DELEGATED_USEC	USECS_PER_SEC

/* A key of a workspace, with what comes before the context. */
typedef struct SiteKey
{
	KsWrappedKey wrapped;
	uint8		prefix[PREFIX_MAX];
	size_t		prefix_len;
} SiteKey;

/* What a call site knows of a workspace. */
typedef struct Site
{
	char		word[KS_SLUG_MAX + 1];	/* what the caller calls it; the key
										 * of the table of sites */
	size_t		word_len;

	/* when it was found out */
	LocalTransactionId transaction;
	uint64		rollbacks;
	uint64		rights;
	uint64		keys_changes;
	uint64		policy_changes;
	KsIdentityMark identity;
	TimestampTz until;			/* 0: does not end by itself */

	/* what was */
	KsCall		call;
	uint8		workspace[KS_ID_LEN];
	MemoryContext context;		/* of the keys */
	SiteKey   **keys;			/* that were needed, the first the one that
								 * encrypts */
	int			nkeys;
	KsDecryptLog *log;			/* of decrypt() only */
} Site;

/* All that a call site knows, in fn_extra. */
typedef struct Sites
{
	MemoryContext context;
	HTAB	   *by_word;
	Site	   *last;
} Sites;

/* How the functions differ in what they need. */
typedef struct Use
{
	KsAction	action;
	KsVerbBody	find;			/* finds out what a site knows */
	uint32		profile;
	uint32		permission;
	const char *policy;			/* name of the action; NULL: is under none */
	void		(*begin) (void);
	void		(*find_key) (Site *site);	/* the first one */
	bool		decrypts;
} Use;

/* What was encrypted with one key and is not counted in shared memory yet. */
static struct
{
	uint8		workspace[KS_ID_LEN];
	uint32		version;
	uint64		n;
}			uncounted;

static uint64 rollbacks = 0;	/* of subtransactions */
static uint64 keys_changes = 0; /* of workspace_keys */
static Oid	keys_table = InvalidOid;

static void
relcache_changed(Datum arg, Oid relid)
{
	(void) arg;
	if (!OidIsValid(relid) || relid == keys_table)
		keys_changes++;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	(void) mine;
	(void) parent;
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		rollbacks++;
}

static void
count_all(void)
{
	if (uncounted.n > 0)
		ks_keycount_add(uncounted.workspace, uncounted.version, uncounted.n);
	uncounted.n = 0;
}

/* One more encryption, whatever becomes of the transaction. */
static void
count_one(const KsWrappedKey *key)
{
	if (uncounted.version != key->version ||
		memcmp(uncounted.workspace, key->workspace, KS_ID_LEN) != 0)
	{
		count_all();
		memcpy(uncounted.workspace, key->workspace, KS_ID_LEN);
		uncounted.version = key->version;
	}
	if (++uncounted.n >= UNCOUNTED_MAX)
		count_all();
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		count_all();
}

void
ks_encrypt_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}


/*-------------------------------------------------------------------------
 * Keys
 *-------------------------------------------------------------------------
 */

/* Keeps a key that a site needs. */
static SiteKey *
add_key(Site *site, const KsWrappedKey *wrapped, const uint8 *header)
{
	SiteKey    *key = palloc(sizeof(SiteKey));
	KsFields	f;

	key->wrapped = *wrapped;
	ks_fields_begin(&f, key->prefix, PREFIX_MAX, KS_PURPOSE_COLUMN);
	ks_fields_bytes(&f, header, KS_ENVELOPE_HEADER_LEN);
	ks_fields_uuid(&f, wrapped->key_id);
	ks_fields_uuid(&f, wrapped->workspace);
	Assert(!f.full);
	key->prefix_len = f.len;
	site->keys = site->keys == NULL ? palloc(sizeof(SiteKey *)) :
		repalloc(site->keys, (site->nkeys + 1) * sizeof(SiteKey *));
	site->keys[site->nkeys++] = key;
	return key;
}

/* Finds a version of the workspace's key and keeps it; NULL when there is none. */
static SiteKey *
load_key(Site *site, uint32 version)
{
	MemoryContext old = MemoryContextSwitchTo(site->context);
	KsWrappedKey wrapped;
	SiteKey    *key = NULL;
	uint8		header[KS_ENVELOPE_HEADER_LEN];

	if (version <= PG_INT32_MAX && ks_keys_version(site->workspace, (int32) version, &wrapped))
	{
		ks_envelope_header(header, version);
		key = add_key(site, &wrapped, header);
	}
	MemoryContextSwitchTo(old);
	return key;
}

/* The key that an envelope names.  22023 when there is none. */
static SiteKey *
find_key(Site *site, uint32 version)
{
	SiteKey    *key;

	for (int i = 0; i < site->nkeys; i++)
	{
		if (site->keys[i]->wrapped.version == version)
			return site->keys[i];
	}
	key = load_key(site, version);
	if (key != NULL)
		return key;
	ks_error_no_envelope(psprintf("The workspace has no version %u of its key.", version));
}

/* The key that encrypts, locked. */
static void
find_current_key(Site *site)
{
	MemoryContext old = MemoryContextSwitchTo(site->context);
	KsWrappedKey wrapped;
	uint8		header[KS_ENVELOPE_HEADER_LEN];

	ks_keys_current(site->workspace, &wrapped);
	ks_envelope_header(header, wrapped.version);
	(void) add_key(site, &wrapped, header);
	MemoryContextSwitchTo(old);
}

/* The key that most rows will need. */
static void
find_last_key(Site *site)
{
	int32		version = ks_keys_current_version(site->workspace);

	if (version == 0 || load_key(site, (uint32) version) == NULL)
		ks_error_shredded(NULL);
}

/*
 * The key that blind indexes come from: always the first version, since an
 * index that changed would find nothing any more.  A version lasts as long as
 * the workspace's keys, for what callers have encrypted with it.
 */
static void
find_first_key(Site *site)
{
	if (load_key(site, FIRST_VERSION) == NULL)
		ks_error_shredded(NULL);
}

/* The key, prepared for use, good for one row. */
static const KsAead *
use_key(const SiteKey *key)
{
	const KsAead *aead;
	KsUnwrapResult result = ks_keyring_workspace_key(&key->wrapped, &aead);

	if (result == KS_UNWRAP_NO_ROOT_KEY)
		ks_error_sealed(psprintf("root key \"%s\" is missing from the keyring", key->wrapped.root_key));
	if (result == KS_UNWRAP_CUSTOMER)
		ks_error_customer_key(ks_keyring_customer_problem());
	if (result != KS_UNWRAP_OK)
		ks_error_damaged(psprintf("version %u of the workspace's key does not unwrap", key->wrapped.version));
	return aead;
}


/*-------------------------------------------------------------------------
 * Call sites
 *-------------------------------------------------------------------------
 */

/* The table of a function's call sites. */
static Sites *
get_sites(FmgrInfo *flinfo)
{
	Sites	   *sites = flinfo->fn_extra;
	HASHCTL		ctl = {.keysize = KS_SLUG_MAX + 1, .entrysize = sizeof(Site)};

	if (sites != NULL)
		return sites;
	sites = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Sites));
	sites->context = AllocSetContextCreate(flinfo->fn_mcxt, "keystone call site", ALLOCSET_SMALL_SIZES);
	ctl.hcxt = sites->context;
	sites->by_word = hash_create("keystone workspaces of a call site", 8, &ctl,
								 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	flinfo->fn_extra = sites;
	return sites;
}

/* The entry of a word that is known to be a slug or a uuid. */
static Site *
get_site(Sites *sites, const text *word)
{
	char		key[KS_SLUG_MAX + 1];
	bool		found;
	Site	   *site;

	text_to_cstring_buffer(word, key, sizeof(key));
	site = hash_search(sites->by_word, key, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) site + sizeof(site->word), 0, sizeof(Site) - sizeof(site->word));
		site->word_len = strlen(key);
		site->context = AllocSetContextCreate(sites->context, "keystone keys of a call site",
											  ALLOCSET_SMALL_SIZES);
	}
	return site;
}

static bool
is_same_caller(const KsCall *a, const KsCall *b)
{
	return a->actor.source == b->actor.source && a->actor.role == b->actor.role &&
		a->actor.session_role == b->actor.session_role &&
		memcmp(a->actor.principal, b->actor.principal, KS_ID_LEN) == 0;
}

/*
 * Begins the log of a site, unless it goes on.  Limits on reveals count that
 * as one attempt: what is counted by rows is in the log.
 */
static void
begin_log(Site *site, MemoryContext context)
{
	KsCredential none = {0};
	KsLimited	limited;

	if (site->log != NULL)
		return;
	memcpy(none.workspace, site->workspace, KS_ID_LEN);
	if (!ks_enforce_reveal(&site->call, &none, &limited))
		ks_error_limited(&limited, ks_identity_over_http());
	site->log = ks_decrypt_log_begin(&site->call, site->workspace, context);
}

/* The log of the same site before, if it is still the same caller's. */
static void
keep_log(Site *site, const KsCall *call, const KsMembership *member)
{
	if (site->log == NULL)
		return;
	if (site->log->ended || !is_same_caller(&site->log->call, call) ||
		memcmp(site->log->workspace, member->workspace, KS_ID_LEN) != 0)
	{
		ks_decrypt_log_end(site->log);
		site->log = NULL;
	}
}

/*
 * Finds out what a call site needs to know.  Counters come first: what changes
 * while it is looked for makes the next call look again.
 */
static Datum
find_site(FunctionCallInfo fcinfo, KsVerb *verb, const Use *use)
{
	Sites	   *sites;
	Site	   *site;
	KsMembership member;
	Site		now = {.transaction = ks_local_transaction(), .rollbacks = rollbacks};

	now.rights = ks_rights_stamp();
	now.keys_changes = keys_changes;
	now.policy_changes = ks_policy_changes();
	ks_identity_mark(&now.identity);
	ks_verb_enter_known(verb, use->profile);
	use->begin();
	ks_membership(&verb->call, ks_arg_get_text(fcinfo, 0, "workspace"), &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	ks_require(&member, use->permission);
	ks_require_within(&member, NULL, NULL);
	ks_require_usable(&member);
	if (use->policy != NULL)
		ks_gate_object(verb, &member, use->policy, "workspace", NULL, NULL);

	sites = get_sites(fcinfo->flinfo);
	site = get_site(sites, PG_GETARG_TEXT_PP(0));
	if (site->transaction != now.transaction)
		site->log = NULL;
	site->transaction = InvalidLocalTransactionId;	/* unless all goes well */
	keep_log(site, &verb->call, &member);
	site->call = verb->call;
	memcpy(site->workspace, member.workspace, KS_ID_LEN);
	MemoryContextReset(site->context);
	site->keys = NULL;
	site->nkeys = 0;
	use->find_key(site);
	(void) use_key(site->keys[0]);
	if (use->decrypts)
		begin_log(site, sites->context);

	site->rollbacks = now.rollbacks;
	site->rights = now.rights;
	site->keys_changes = now.keys_changes;
	site->policy_changes = now.policy_changes;
	site->identity = now.identity;
	site->until = site->call.actor.delegated ? GetCurrentTimestamp() + DELEGATED_USEC : 0;
	site->transaction = now.transaction;
	sites->last = site;
	return PointerGetDatum(site);
}

/* Whether what a site knows still holds. */
static bool
is_current(const Site *site)
{
	KsIdentityMark identity;

	/* takes in what others have committed, of keys too */
	if (ks_rights_stamp() != site->rights || site->keys_changes != keys_changes ||
		site->policy_changes != ks_policy_changes() ||
		site->transaction != ks_local_transaction() || site->rollbacks != rollbacks)
		return false;
	ks_identity_mark(&identity);
	return memcmp(&identity, &site->identity, sizeof(identity)) == 0 &&
		(site->until == 0 || GetCurrentTimestamp() < site->until);
}

/* The site of a call. */
static Site *
enter(FunctionCallInfo fcinfo, const Use *use)
{
	Sites	   *sites = fcinfo->flinfo->fn_extra;
	Site	   *site = sites != NULL ? sites->last : NULL;
	const text *word;
	static bool registered = false;

	if (site != NULL && !PG_ARGISNULL(0))
	{
		word = PG_GETARG_TEXT_PP(0);
		if (VARSIZE_ANY_EXHDR(word) != site->word_len ||
			memcmp(VARDATA_ANY(word), site->word, site->word_len) != 0)
		{
			char		key[KS_SLUG_MAX + 1];

			text_to_cstring_buffer(word, key, sizeof(key));
			site = VARSIZE_ANY_EXHDR(word) > KS_SLUG_MAX ? NULL :
				hash_search(sites->by_word, key, HASH_FIND, NULL);
		}
		if (site != NULL && is_current(site))
		{
			sites->last = site;
			return site;
		}
	}
	if (!registered)
	{
		ks_inval_register(relcache_changed);
		registered = true;
	}
	keys_table = ks_bulk_table("workspace_keys");
	return (Site *) DatumGetPointer(ks_verb_run(fcinfo, use->action, use->find));
}

/* Argument 2, bytes or text. */
static void
get_context(FunctionCallInfo fcinfo, KsBytes *context)
{
	const text *given = ks_arg_get_text(fcinfo, 2, "context");

	context->data = VARDATA_ANY(given);
	context->len = VARSIZE_ANY_EXHDR(given);
	if (context->len > CONTEXT_MAX)
		ks_error_invalid("context", psprintf("at most %d bytes long", CONTEXT_MAX), NULL);
}

/* What a message is bound to; returns its length. */
static size_t
make_data(const SiteKey *key, const KsBytes *context, uint8 data[DATA_MAX])
{
	KsFields	f = {.buf = data, .len = key->prefix_len, .size = DATA_MAX};

	memcpy(data, key->prefix, key->prefix_len);
	ks_fields_bytes(&f, context->data, context->len);
	Assert(!f.full);
	return f.len;
}


/*-------------------------------------------------------------------------
 * Encrypting
 *-------------------------------------------------------------------------
 */

static Datum find_to_encrypt(FunctionCallInfo fcinfo, KsVerb *verb);
static Datum find_to_decrypt(FunctionCallInfo fcinfo, KsVerb *verb);
static Datum find_to_index(FunctionCallInfo fcinfo, KsVerb *verb);

static const Use to_encrypt = {
	.action = KS_ACTION_ENCRYPT,
	.find = find_to_encrypt,
	.profile = KS_PROFILE_CLIENT,
	.permission = KS_PERM_STORE,
	.policy = "encrypt",
	.begin = ks_begin_change,
	.find_key = find_current_key,
};

static Datum
find_to_encrypt(FunctionCallInfo fcinfo, KsVerb *verb)
{
	return find_site(fcinfo, verb, &to_encrypt);
}

/* The envelope of a plaintext, as bytea. */
static bytea *
encrypt(FunctionCallInfo fcinfo)
{
	KsSecretArg plain;
	KsBytes		context;
	SiteKey    *key;
	uint8		data[DATA_MAX];
	bytea	   *result;
	uint8	   *out;

	ks_arg_get_secret(fcinfo, 1, "plaintext", &plain);
	get_context(fcinfo, &context);
	if (plain.len > MaxAllocSize - VARHDRSZ - KS_ENVELOPE_OVERHEAD)
		ks_error_invalid("plaintext", "less than 1 GB long", NULL);
	key = enter(fcinfo, &to_encrypt)->keys[0];
	result = palloc(VARHDRSZ + KS_ENVELOPE_OVERHEAD + plain.len);
	SET_VARSIZE(result, VARHDRSZ + KS_ENVELOPE_OVERHEAD + plain.len);
	out = (uint8 *) VARDATA(result);

	ks_envelope_header(out, key->wrapped.version);
	out += KS_ENVELOPE_HEADER_LEN;
	if (ks_random_nonce(out) != KS_CRYPTO_OK ||
		ks_aead_seal(use_key(key), out, data, make_data(key, &context, data),
					 plain.data, plain.len, out + KS_NONCE_LEN) != KS_CRYPTO_OK)
		ks_error_crypto("encrypt");
	count_one(&key->wrapped);
	return result;
}

PG_FUNCTION_INFO_V1(ks_fn_encrypt);
/* encrypt(workspace, plaintext, context) returns bytea */
Datum
ks_fn_encrypt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(encrypt(fcinfo));
}

PG_FUNCTION_INFO_V1(ks_fn_encrypt_text);
/* encrypt_text(workspace, plaintext, context) returns text */
Datum
ks_fn_encrypt_text(PG_FUNCTION_ARGS)
{
	bytea	   *envelope = encrypt(fcinfo);
	size_t		len = VARSIZE(envelope) - VARHDRSZ;
	size_t		size = (len + 2) / 3 * 4;
	text	   *result;
	char	   *out;

	if (size > MaxAllocSize - VARHDRSZ - TEXT_MARK_LEN - 1)
		ks_error_invalid("plaintext", "less than 750 MB long", NULL);
	result = palloc(VARHDRSZ + TEXT_MARK_LEN + size + 1);
	out = VARDATA(result);
	memcpy(out, TEXT_MARK, TEXT_MARK_LEN);
	out += TEXT_MARK_LEN;
	(void) ks_base64_encode(VARDATA(envelope), len, out, size + 1);
	while (size > 0 && out[size - 1] == '=')
		size--;
	for (size_t i = 0; i < size; i++)
		out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
	SET_VARSIZE(result, VARHDRSZ + TEXT_MARK_LEN + size);
	PG_RETURN_TEXT_P(result);
}


/*-------------------------------------------------------------------------
 * Decrypting
 *-------------------------------------------------------------------------
 */

static const Use to_decrypt = {
	.action = KS_ACTION_DECRYPT,
	.find = find_to_decrypt,
	.profile = KS_PROFILE_WORKER,
	.permission = KS_PERM_REVEAL,
	.policy = "decrypt",
	.begin = ks_begin_reveal,
	.find_key = find_last_key,
	.decrypts = true,
};

static Datum
find_to_decrypt(FunctionCallInfo fcinfo, KsVerb *verb)
{
	return find_site(fcinfo, verb, &to_decrypt);
}

/*
 * Opens an envelope into a varlena.  Nothing is decrypted before an entry that
 * covers the row is durable.  While that is waited for, all that was known may
 * change, so it is asked once more.
 */
static struct varlena *
decrypt(FunctionCallInfo fcinfo, const void *bytes, size_t len)
{
	KsBytes		context;
	KsEnvelope	envelope;
	SiteKey    *key;
	Site	   *site;
	uint8		data[DATA_MAX];
	size_t		plain_len;
	struct varlena *result;
	KsCryptoResult opened;

	get_context(fcinfo, &context);
	site = enter(fcinfo, &to_decrypt);
	if (!ks_envelope_parse(bytes, len, &envelope) || envelope.algorithm != KS_ALG_XAES_256_GCM)
		ks_error_no_envelope("The bytes are no envelope.");
	while (ks_decrypt_log_cover(site->log))
		site = enter(fcinfo, &to_decrypt);
	key = find_key(site, envelope.key_version);
	plain_len = envelope.sealed_len - KS_TAG_LEN;
	result = palloc(VARHDRSZ + plain_len);
	SET_VARSIZE(result, VARHDRSZ + plain_len);
	opened = ks_aead_open(use_key(key), envelope.nonce, data, make_data(key, &context, data),
						  envelope.sealed, envelope.sealed_len, VARDATA(result));
	if (opened == KS_CRYPTO_FORGED)
		ks_error_no_envelope("It was encrypted for another workspace or context, or for a credential, or it is damaged.");
	if (opened != KS_CRYPTO_OK)
		ks_error_crypto("decrypt");
	site->log->done++;
	return result;
}

PG_FUNCTION_INFO_V1(ks_fn_decrypt);
/* decrypt(workspace, ciphertext, context) returns bytea */
Datum
ks_fn_decrypt(PG_FUNCTION_ARGS)
{
	const bytea *given = ks_arg_get_text(fcinfo, 1, "ciphertext");

	PG_RETURN_BYTEA_P(decrypt(fcinfo, VARDATA_ANY(given), VARSIZE_ANY_EXHDR(given)));
}

PG_FUNCTION_INFO_V1(ks_fn_decrypt_text);
/* decrypt_text(workspace, ciphertext, context) returns text */
Datum
ks_fn_decrypt_text(PG_FUNCTION_ARGS)
{
	const text *given = ks_arg_get_text(fcinfo, 1, "ciphertext");
	const char *digits = (const char *) VARDATA_ANY(given) + TEXT_MARK_LEN;
	size_t		len = VARSIZE_ANY_EXHDR(given);
	uint8	   *envelope = NULL;
	size_t		envelope_len = 0;
	struct varlena *plain;

	if (len >= TEXT_MARK_LEN && memcmp(VARDATA_ANY(given), TEXT_MARK, TEXT_MARK_LEN) == 0)
	{
		envelope = palloc(len);
		if (!ks_base64url_decode(digits, len - TEXT_MARK_LEN, envelope, &envelope_len))
			envelope_len = 0;
	}
	plain = decrypt(fcinfo, envelope, envelope_len);

	/* encrypt() may have been given any bytes */
	if (!pg_verify_mbstr(PG_UTF8, VARDATA(plain), (int) (VARSIZE(plain) - VARHDRSZ), true))
	{
		ks_wipe(VARDATA(plain), VARSIZE(plain) - VARHDRSZ);
		ks_error_no_envelope("It was encrypted as bytes that are no text.");
	}
	PG_RETURN_TEXT_P(plain);
}


/*-------------------------------------------------------------------------
 * Searching
 *-------------------------------------------------------------------------
 */

/* Nothing is written, so that a standby can search, too. */
static void
begin_index(void)
{
	ks_keyring_require_open();
	ks_change_require();
}

static const Use to_index = {
	.action = KS_ACTION_ENCRYPT,
	.find = find_to_index,
	.profile = KS_PROFILE_CLIENT,
	.permission = KS_PERM_STORE,
	.begin = begin_index,
	.find_key = find_first_key,
};

static Datum
find_to_index(FunctionCallInfo fcinfo, KsVerb *verb)
{
	return find_site(fcinfo, verb, &to_index);
}

PG_FUNCTION_INFO_V1(ks_fn_blind_index);
/* blind_index(workspace, plaintext, context) returns bytea */
Datum
ks_fn_blind_index(PG_FUNCTION_ARGS)
{
	KsSecretArg plain;
	KsBytes		context;
	KsBytes		input[2];
	KsFields	f;
	Site	   *site;
	uint8		data[DATA_MAX];
	uint8		key[KS_KEY_LEN];
	uint8		mac[KS_DIGEST_LEN];
	bytea	   *result = palloc(VARHDRSZ + INDEX_LEN);
	bool		ok;

	ks_arg_get_secret(fcinfo, 1, "plaintext", &plain);
	get_context(fcinfo, &context);
	site = enter(fcinfo, &to_index);
	ks_fields_begin(&f, data, sizeof(data), KS_PURPOSE_BLIND_INDEX);
	ks_fields_bytes(&f, context.data, context.len);
	Assert(!f.full);
	input[0].data = data;
	input[0].len = f.len;
	input[1].data = plain.data;
	input[1].len = plain.len;

	ok = ks_aead_derive(use_key(site->keys[0]), INDEX_LABEL, key) == KS_CRYPTO_OK &&
		ks_hmac_sha256(key, input, lengthof(input), mac) == KS_CRYPTO_OK;
	ks_wipe(key, sizeof(key));
	if (!ok)
		ks_error_crypto("compute a blind index");
	SET_VARSIZE(result, VARHDRSZ + INDEX_LEN);
	memcpy(VARDATA(result), mac, INDEX_LEN);
	ks_wipe(mac, sizeof(mac));
	PG_RETURN_BYTEA_P(result);
}
