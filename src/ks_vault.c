/*-------------------------------------------------------------------------
 *
 * ks_vault.c
 *	  Sealing, opening, and who may do what with a credential.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_enforce.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_keycount.h"
#include "ks_keys.h"
#include "ks_mem.h"
#include "ks_text.h"
#include "ks_value.h"
#include "ks_vault.h"

static bool
refuse(KsProblem *problem, int sqlstate, const char *message, const char *detail, const char *reason)
{
	problem->sqlstate = sqlstate;
	problem->message = message;
	problem->detail = detail;
	problem->reason = reason;
	return false;
}

static bool
refuse_not_found(KsProblem *problem)
{
	return refuse(problem, KS_ERRCODE_NOT_FOUND, "no such object", NULL, NULL);
}

static bool
refuse_damaged(KsProblem *problem, const char *reason)
{
	return refuse(problem, ERRCODE_DATA_CORRUPTED, "ciphertext does not open", NULL, reason);
}

void
ks_vault_raise(const KsProblem *problem)
{
	switch (problem->sqlstate)
	{
		case KS_ERRCODE_NOT_FOUND:
			ks_error_not_found(problem->detail);
		case KS_ERRCODE_SEALED:
			if (problem->shredded)
				ks_error_shredded(problem->reason);
			if (problem->customer)
				ks_error_customer_key(problem->reason);
			ks_error_sealed(problem->reason);
		case KS_ERRCODE_LIMITED:
			ks_error_limited(&problem->limited, ks_identity_over_http());
		case ERRCODE_DATA_CORRUPTED:
			ks_error_damaged(problem->reason);
		default:
			ks_error_denied(problem->message, problem->detail);
	}
}

/* Whether a credential is the caller's own. */
static bool
is_own(const KsCall *call, const KsCredential *credential)
{
	return credential->personal && memcmp(credential->owner, call->actor.principal, KS_ID_LEN) == 0;
}

/* Whether somebody's personal credential is shared with the caller. */
static bool
is_shared(const KsCall *call, const KsCredential *credential)
{
	KsShare		share;

	memcpy(share.workspace, credential->workspace, KS_ID_LEN);
	memcpy(share.credential, credential->id, KS_ID_LEN);
	memcpy(share.owner, credential->owner, KS_ID_LEN);
	return ks_is_shared(call, &share);
}

bool
ks_vault_may(const KsCall *call, const KsCredential *credential, KsAccess access,
			 KsMembership *member, KsProblem *problem)
{
	static const uint32 needed[] = {
		[KS_ACCESS_SEE] = KS_PERM_VIEW,
		[KS_ACCESS_REVEAL] = KS_PERM_REVEAL,
		[KS_ACCESS_STORE] = KS_PERM_STORE,
		[KS_ACCESS_ROTATE] = KS_PERM_ROTATE,
		[KS_ACCESS_STOP] = KS_PERM_STORE,
		[KS_ACCESS_DESTROY] = KS_PERM_WORKSPACE,
		[KS_ACCESS_SHARE] = 0,
	};
	bool		known = ks_membership_of(call, credential->workspace, member) &&
	(member->permissions & KS_PERM_VIEW) &&
	ks_within_limits(member, credential->environment, credential->provider);
	bool		own = is_own(call, credential);
	bool		shared = false;

	/* Of what is not known it is asked, too, for the time that it takes. */
	if (!known || (credential->personal && !own))
		shared = is_shared(call, credential);
	if (!known ||
		(credential->personal && !own && !shared && !(member->permissions & KS_PERM_WORKSPACE)))
		return refuse_not_found(problem);

	if (!member->verified && access != KS_ACCESS_SEE)
		return refuse(problem, KS_ERRCODE_SEALED, "the vault is sealed", NULL,
					  "rights cannot be verified while the vault is sealed");
	if (own)
		return true;
	if (credential->personal)
	{
		if (access == KS_ACCESS_SEE || (shared && access == KS_ACCESS_REVEAL) ||
			(access == KS_ACCESS_STOP && (member->permissions & KS_PERM_WORKSPACE)))
			return true;
		return refuse(problem, ERRCODE_INSUFFICIENT_PRIVILEGE, "permission denied",
					  "A personal credential is its owner's.", NULL);
	}
	if (access == KS_ACCESS_SHARE)
		return refuse(problem, ERRCODE_INSUFFICIENT_PRIVILEGE, "permission denied",
					  "Only a personal credential is shared, by its owner.", NULL);
	if (!(member->permissions & needed[access]))
		return refuse(problem, ERRCODE_INSUFFICIENT_PRIVILEGE, "permission denied",
					  "The role in the workspace does not have the permission that this needs.", NULL);
	return true;
}

/*
 * The authenticated data of a version's ciphertext.  Returns its length, 0
 * when the row's texts are longer than any that was sealed.
 */
static size_t
make_aad(const KsCredential *c, int32 version, const uint8 *key_id, const uint8 *header,
		 uint8 aad[KS_AAD_MAX])
{
	KsAddress	address = {
		.key_id = key_id,
		.workspace = c->workspace,
		.credential = c->id,
		.version = (uint32) version,
		.environment = c->environment,
		.owner = c->personal ? c->owner : NULL,
		.name = c->name,
		.kind = c->kind,
		.provider = c->provider,
		.has_expiry = c->has_expiry,
		.expires_at = c->expires_at,
	};
	StringInfoData json;

	initStringInfo(&json);
	(void) JsonbToCString(&json, &c->metadata->root, VARSIZE(c->metadata));
	if (ks_sha256(json.data, json.len, address.metadata_digest) != KS_CRYPTO_OK)
		ks_error_crypto("compute a digest");
	pfree(json.data);

	return ks_address_aad(&address, header, aad);
}

static bool
open_with_key(const KsCredential *credential, const KsSealed *sealed, const KsEnvelope *envelope,
			  const KsAead *key, KsValue *value, KsProblem *problem)
{
	uint8		aad[KS_AAD_MAX];
	uint8		digest[KS_DIGEST_LEN];
	size_t		aad_len = make_aad(credential, sealed->version, sealed->key.key_id,
								   envelope->header, aad);
	size_t		padded = envelope->sealed_len - KS_TAG_LEN;
	char	   *buf = ks_secret_alloc(CurrentMemoryContext, padded + 1);
	KsCryptoResult result;

	if (aad_len == 0)
		return refuse_damaged(problem, "the credential's row was edited");
	result = ks_aead_open(key, envelope->nonce, aad, aad_len,
						  envelope->sealed, envelope->sealed_len, buf);
	if (result == KS_CRYPTO_FORGED)
	{
		if (ks_sha256(aad, aad_len, digest) != KS_CRYPTO_OK)
			ks_error_crypto("compute a digest");
		return refuse_damaged(problem, ks_equal(digest, sealed->aad_digest, KS_DIGEST_LEN) ?
							  "the ciphertext is damaged, or another one was put in its place" :
							  "the ciphertext was moved, or the credential's row was edited");
	}
	if (result != KS_CRYPTO_OK)
		ks_error_crypto("decrypt");
	if (!ks_unpad((uint8 *) buf, padded, &value->len))
		return refuse_damaged(problem, "the padding is damaged");
	value->data = buf;
	buf[value->len] = '\0';
	return true;
}

bool
ks_vault_open(const KsCredential *credential, const KsSealed *sealed, KsValue *value, KsProblem *problem)
{
	KsEnvelope	envelope;
	const KsAead *key;

	if (sealed->envelope == NULL)
		return refuse_damaged(problem, "the ciphertext is missing");

	if ((sealed->version == credential->current_version) != (strcmp(sealed->state, "current") == 0))
		return refuse_damaged(problem, "the credential's row was edited: current_version is not the current version");

	/* It is by this column that names are looked up. */
	if (strcmp(ks_text_fold(credential->name), credential->folded_name) != 0)
		return refuse_damaged(problem, "the credential's row was edited: folded_name is not that of name");
	if (!ks_envelope_parse(sealed->envelope, sealed->envelope_len, &envelope) ||
		envelope.algorithm != KS_ALG_XAES_256_GCM ||
		envelope.key_version != (uint32) sealed->key_version)
		return refuse_damaged(problem, "the envelope is damaged");
	if (!sealed->has_key)
	{
		problem->shredded = true;
		return refuse(problem, KS_ERRCODE_SEALED, "the workspace's keys were destroyed", NULL,
					  psprintf(ks_keys_current_version(credential->workspace) == 0 ?
							   "version %d of the workspace's key was destroyed" :
							   "version %d of the workspace's key is unknown: its row is missing",
							   sealed->key_version));
	}

	switch (ks_keyring_workspace_key(&sealed->key, &key))
	{
		case KS_UNWRAP_OK:
			return open_with_key(credential, sealed, &envelope, key, value, problem);
		case KS_UNWRAP_NO_ROOT_KEY:
			return refuse(problem, KS_ERRCODE_SEALED, "the vault is sealed", NULL,
						  psprintf("root key \"%s\" is missing from the keyring", sealed->key.root_key));
		case KS_UNWRAP_CUSTOMER:
			problem->customer = true;
			return refuse(problem, KS_ERRCODE_SEALED, "the customer's key is not available", NULL,
						  psprintf("the customer's key is not available: %s", ks_keyring_customer_problem()));
		case KS_UNWRAP_DAMAGED:
			break;
	}
	return refuse_damaged(problem, psprintf("version %d of the workspace's key does not unwrap",
											sealed->key_version));
}

/* Whether what the caller may reveal is in a state to be revealed. */
static bool
is_given(const KsMembership *member, const KsCredential *credential, const KsSealed *sealed,
		 KsProblem *problem)
{
	if (credential->deleted || sealed->version == 0 || strcmp(sealed->state, "destroyed") == 0)
		return refuse_not_found(problem);
	if (!member->usable)
		return refuse(problem, ERRCODE_INSUFFICIENT_PRIVILEGE, "the workspace is suspended", NULL, NULL);
	if (!credential->is_active)
		return refuse(problem, ERRCODE_INSUFFICIENT_PRIVILEGE, "the credential is not active", NULL, NULL);
	if (credential->has_expiry && credential->expires_at <= GetCurrentTimestamp())
		return refuse(problem, ERRCODE_INSUFFICIENT_PRIVILEGE, "the credential has expired", NULL, NULL);
	return true;
}

/* Whether the limits allow one more attempt, which they count. */
static bool
is_within_limits(const KsCall *call, KsReveal *reveal)
{
	KsProblem  *problem = &reveal->problem;

	if (reveal->internal || ks_enforce_reveal(call, &reveal->credential, &problem->limited))
		return true;
	return refuse(problem, KS_ERRCODE_LIMITED, KS_LIMITED_MESSAGE, NULL, NULL);
}

bool
ks_vault_find(const KsCall *call, KsReveal *reveal)
{
	KsCredential *credential = &reveal->credential;
	KsMembership member;
	KsSeek		seek;
	bool		found;
	bool		may;

	if (reveal->id != NULL)
		found = ks_store_seek_id(&seek, reveal->id, credential);
	else
		found = ks_store_seek(&seek, &reveal->name, reveal->version, credential);
	may = ks_vault_may(call, credential, KS_ACCESS_REVEAL, &member, &reveal->problem);
	reveal->seen = found && (may || reveal->problem.sqlstate != KS_ERRCODE_NOT_FOUND);
	if (reveal->seen)
		ks_store_load(&seek, reveal->version, credential, &reveal->sealed);
	ks_store_end_seek(&seek);
	if (!reveal->seen)
		return refuse_not_found(&reveal->problem);
	reveal->shared = may && credential->personal && !is_own(call, credential);
	return may && is_given(&member, credential, &reveal->sealed, &reveal->problem);
}

bool
ks_vault_take(const KsCall *call, KsReveal *reveal)
{
	return is_within_limits(call, reveal) &&
		ks_vault_open(&reveal->credential, &reveal->sealed, &reveal->value, &reveal->problem);
}

/* A sealed value, ready for a table. */
typedef struct Sealing
{
	bytea	   *envelope;		/* palloc'd */
	int32		key_version;
	uint8		aad_digest[KS_DIGEST_LEN];
} Sealing;

static void
seal(const KsCredential *credential, int32 version, const KsValue *value, Sealing *sealing)
{
	KsWrappedKey wrapped;
	const KsAead *key;
	size_t		padded = ks_padded_len(value->len);
	size_t		len = KS_ENVELOPE_OVERHEAD + padded;
	uint8	   *plain = ks_secret_alloc(CurrentMemoryContext, padded);
	uint8		aad[KS_AAD_MAX];
	size_t		aad_len;
	uint8	   *out;

	ks_keys_current(credential->workspace, &wrapped);
	sealing->key_version = (int32) wrapped.version;
	sealing->envelope = palloc(VARHDRSZ + len);
	SET_VARSIZE(sealing->envelope, VARHDRSZ + len);
	out = (uint8 *) VARDATA(sealing->envelope);

	ks_envelope_header(out, wrapped.version);
	if (ks_random(out + KS_ENVELOPE_HEADER_LEN, KS_NONCE_LEN) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	aad_len = make_aad(credential, version, wrapped.key_id, out, aad);
	if (aad_len == 0)
		elog(ERROR, "address of a credential is too long");
	if (ks_sha256(aad, aad_len, sealing->aad_digest) != KS_CRYPTO_OK)
		ks_error_crypto("compute a digest");
	memcpy(plain, value->data, value->len);
	ks_pad(plain, value->len);

	/* Asked for last: the key is the keyring's, and good until the next call. */
	switch (ks_keyring_workspace_key(&wrapped, &key))
	{
		case KS_UNWRAP_OK:
			break;
		case KS_UNWRAP_NO_ROOT_KEY:
			ks_error_sealed(psprintf("root key \"%s\" is missing from the keyring", wrapped.root_key));
		case KS_UNWRAP_CUSTOMER:
			ks_error_customer_key(ks_keyring_customer_problem());
		case KS_UNWRAP_DAMAGED:
			ks_error_damaged(psprintf("version %u of the workspace's key does not unwrap", wrapped.version));
	}
	if (ks_aead_seal(key, out + KS_ENVELOPE_HEADER_LEN, aad, aad_len, plain, padded,
					 out + KS_ENVELOPE_HEADER_LEN + KS_NONCE_LEN) != KS_CRYPTO_OK)
		ks_error_crypto("encrypt");
	ks_keycount_add(wrapped.workspace, wrapped.version, 1);
	ks_secret_wipe(plain);
}

int32
ks_vault_put(KsCredential *credential, const KsValue *value, bool current, int32 source_version,
			 const uint8 by[KS_ID_LEN])
{
	Sealing		sealing;
	KsNewVersion version = {
		.version = credential->last_version + 1,
		.source_version = source_version,
		.by = by,
	};

	if (credential->last_version == PG_INT32_MAX)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("the credential has too many versions"));
	seal(credential, version.version, value, &sealing);
	version.envelope = sealing.envelope;
	version.key_version = sealing.key_version;
	version.aad_digest = sealing.aad_digest;
	ks_store_add_version(credential, &version);
	credential->last_version = version.version;

	if (current)
	{
		credential->hint = ks_hints ? ks_value_hint(credential->kind, value->data, value->len) : NULL;
		credential->current_version = version.version;
		ks_store_set_current(credential, version.version);
	}
	return version.version;
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/*
 * Whether two objects have the same text, which is what is authenticated:
 * compareJsonbContainers() takes 1 and 1.0 for equal.
 */
static bool
same_json(const Jsonb *a, const Jsonb *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/* Whether two rows give the same authenticated data. */
static bool
same_address(const KsCredential *a, const KsCredential *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->environment, b->environment) == 0 &&
		strcmp(a->kind, b->kind) == 0 && same_text(a->provider, b->provider) &&
		a->has_expiry == b->has_expiry && (!a->has_expiry || a->expires_at == b->expires_at) &&
		same_json(a->metadata, b->metadata);
}

/* Opens a version under its old address and seals it under the new one. */
static bool
reseal(const KsCredential *before, const KsCredential *after, const KsSealed *sealed, KsProblem *problem)
{
	KsValue		value;
	Sealing		sealing;

	if (!ks_vault_open(before, sealed, &value, problem))
		return false;
	seal(after, sealed->version, &value, &sealing);
	ks_store_replace(after, sealed->version, sealing.envelope, sealing.key_version, sealing.aad_digest);
	ks_secret_wipe(value.data);
	return true;
}

bool
ks_vault_reseal(const KsCredential *credential, const KsSealed *sealed, KsProblem *problem)
{
	return reseal(credential, credential, sealed, problem);
}

/* A damaged version stays as it is, unless it must open. */
static void
move_version(const KsCredential *before, const KsCredential *after, int32 version, bool must_open)
{
	KsCredential row;
	KsSealed	sealed;
	KsProblem	problem = {0};

	if (!ks_store_find_id(before->id, version, &row, &sealed) || sealed.version == 0)
		ks_error_not_found(NULL);
	if (!reseal(before, after, &sealed, &problem))
	{
		if (must_open || problem.sqlstate != ERRCODE_DATA_CORRUPTED)
			ks_vault_raise(&problem);
		ereport(LOG,
				errcode(problem.sqlstate),
				errmsg("version %d of a credential could not be sealed again: %s", version, problem.reason),
				errhidestmt(true));
	}
}

void
ks_vault_change(const KsCredential *before, const KsCredential *after, int32 must_open)
{
	int32	   *versions;
	int			n;
	MemoryContext work;

	if (!same_address(before, after))
	{
		n = ks_store_versions(before, &versions);
		work = AllocSetContextCreate(CurrentMemoryContext, "keystone reseal", ALLOCSET_DEFAULT_SIZES);
		for (int i = 0; i < n; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(work);

			move_version(before, after, versions[i], versions[i] == must_open);
			MemoryContextSwitchTo(old);
			MemoryContextReset(work);
			CHECK_FOR_INTERRUPTS();
		}
		MemoryContextDelete(work);
	}
	if (!same_address(before, after) || !same_text(before->description, after->description) ||
		before->tags != after->tags)
		ks_store_update(after);
}
