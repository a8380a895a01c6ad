/*-------------------------------------------------------------------------
 *
 * ks_apikey.c
 *	  The tables of API keys.
 *
 * Both rows of a key, its own and that of the secret, must have a valid HMAC,
 * and are read in one statement.  Unknown, wrong, revoked and expired keys get
 * one answer after the same number of HMACs.
 *
 * A key's text exists in the caller's secret buffer only; here the secret is
 * on the stack, and wiped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_apikey.h"
#include "ks_crypto.h"
#include "ks_error.h"
#include "ks_keyring.h"

#define PREFIX_BYTES	(KS_API_KEY_PREFIX_LEN / 2)

/* Prefixes that are drawn before it is no coincidence that all are taken. */
#define DRAWS_MAX		10


/*-------------------------------------------------------------------------
 * What a key proves
 *-------------------------------------------------------------------------
 */

/* As many HMACs as two rows cost that are there. */
static void
spend(void)
{
	static const uint8 nothing[KS_DIGEST_LEN] = {0};
	uint8		mac[KS_DIGEST_LEN];

	ks_secret_mac(KS_SECRET_API_KEY, nothing, sizeof(nothing), mac);
	ks_secret_mac(KS_SECRET_API_KEY, nothing, sizeof(nothing), mac);
}

/* Reads both rows of a prefix; false when one is missing, and nothing is
 * written, or forged. */
static bool
read_both(const char *prefix, KsKeySecretRow *secret, KsApiKeyRow *key)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_KEY_SECRET_COLUMNS ", " KS_API_KEY_COLUMNS
		" FROM keystone_private.api_key_secrets s"
		" JOIN keystone_private.api_keys k ON k.workspace_id = s.workspace_id AND k.id = s.key_id"
		" WHERE s.prefix = $1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;
	bool		valid = false;

	ks_spi_begin(&spi);
	ks_arg_text(&args, prefix);
	found = ks_spi_read(&plan, &args) == 1;
	if (found)
	{
		bool		secret_valid = ks_key_secret_read(&spi, 0, 1, secret);
		bool		key_valid = ks_api_key_read(&spi, 0, 1 + KS_KEY_SECRET_COLUMNS_N, key);

		valid = secret_valid && key_valid;
	}
	ks_spi_end(&spi);
	if (!found)
		spend();
	return valid;
}

static bool
is_over(bool ends, TimestampTz end, TimestampTz now)
{
	return ends && end <= now;
}

/* Until when a proof holds, as far as its secret is concerned. */
static void
set_validity(KsProof *proof, const KsKeySecretRow *secret, const KsApiKeyRow *key)
{
	proof->key_updated = key->updated_at;
	proof->ends = secret->ends;
	proof->ends_at = secret->valid_until;
}

/* See KsIdentityLoader.  An absent row compares as zeros. */
static bool
check_api_key(const char *prefix, const uint8 *given, KsProof *proof)
{
	TimestampTz now = GetCurrentTimestamp();
	KsKeySecretRow secret = {0};
	KsApiKeyRow key = {0};
	uint8		mac[KS_DIGEST_LEN];
	bool		valid;

	/* Sealed: nothing can be verified. */
	if (!ks_keyring_has_mac_key())
		return false;

	/* The comparison comes first, so that it is made in every case. */
	valid = read_both(prefix, &secret, &key);
	ks_secret_mac(KS_SECRET_API_KEY, given, KS_API_KEY_SECRET_LEN, mac);
	if (!ks_equal(mac, secret.secret_mac, KS_DIGEST_LEN) || !valid)
		return false;
	if (key.revoked || is_over(key.expires, key.expires_at, now) || is_over(secret.ends, secret.valid_until, now))
		return false;
	memcpy(proof->principal, key.id, KS_ID_LEN);
	memcpy(proof->creator, key.creator, KS_ID_LEN);
	strlcpy(proof->prefix, prefix, sizeof(proof->prefix));
	set_validity(proof, &secret, &key);
	return true;
}

/* See KsIdentityLoader. */
static bool
recheck_api_key(KsProof *proof)
{
	KsKeySecretRow secret;
	KsApiKeyRow key;

	if (!ks_keyring_has_mac_key() || !read_both(proof->prefix, &secret, &key) ||
		memcmp(key.id, proof->principal, KS_ID_LEN) != 0)
		return false;
	set_validity(proof, &secret, &key);
	return !proof->ends || proof->ends_at > GetCurrentTimestamp();
}

void
ks_apikey_init(void)
{
	ks_identity_loader.check_api_key = check_api_key;
	ks_identity_loader.recheck_api_key = recheck_api_key;
}


/*-------------------------------------------------------------------------
 * Keys
 *-------------------------------------------------------------------------
 */

bool
ks_apikey_find(const uint8 workspace[KS_ID_LEN], const char *name, KsApiKey *key)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_API_KEY_COLUMNS " FROM keystone_private.api_keys k"
		" WHERE k.workspace_id = $1 AND k.name = $2 AND k.revoked_at IS NULL"
	};
	KsApiKey	result = {0};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, name);
	found = ks_spi_read(&plan, &args) == 1;
	if (found)
		result.valid = ks_api_key_read(&spi, 0, 1, &result.row);
	ks_spi_end(&spi);
	*key = result;
	return found;
}

bool
ks_apikey_is_good(const KsApiKey *key, TimestampTz now)
{
	return key->valid && !key->row.revoked && !is_over(key->row.expires, key->row.expires_at, now);
}

static bool
insert_key(const KsApiKey *key)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.api_keys (workspace_id, id, name, prefix, role, environments, providers,"
		" created_by, created_at, updated_at, expires_at, row_mac)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11)"
		" ON CONFLICT (workspace_id, name) WHERE revoked_at IS NULL DO NOTHING"
	};
	const KsApiKeyRow *row = &key->row;
	KsArgs		args = {0};

	ks_arg_uuid(&args, row->workspace);
	ks_arg_uuid(&args, row->id);
	ks_arg_text(&args, row->name);
	ks_arg_text(&args, row->prefix);
	ks_arg_text(&args, row->role);
	ks_arg_name_list(&args, &row->environments);
	ks_arg_name_list(&args, &row->providers);
	ks_arg_uuid(&args, row->creator);
	ks_arg_time(&args, true, row->updated_at);
	ks_arg_time(&args, row->expires, row->expires_at);
	ks_api_key_add_mac(&args, row);
	return ks_spi_write(&plan, &args) == 1;
}

/* Writes what can change of a key; the lists only when it loses them. */
static void
update_key(const KsApiKey *key)
{
	static KsPlan plan = {.sql =
		"UPDATE keystone_private.api_keys SET prefix = $3, environments = $4, providers = $5,"
		" created_by = $6, updated_at = $7, revoked_at = $8, row_mac = $9 WHERE workspace_id = $1 AND id = $2"
	};
	const KsApiKeyRow *row = &key->row;
	KsArgs		args = {0};

	ks_arg_uuid(&args, row->workspace);
	ks_arg_uuid(&args, row->id);
	ks_arg_text(&args, row->prefix);
	ks_arg_name_list(&args, &row->environments);
	ks_arg_name_list(&args, &row->providers);
	ks_arg_uuid(&args, row->creator);
	ks_arg_time(&args, true, row->updated_at);
	ks_arg_time(&args, row->revoked, row->revoked_at);
	ks_api_key_add_mac(&args, row);
	(void) ks_spi_write(&plan, &args);
}


/*-------------------------------------------------------------------------
 * Secrets
 *-------------------------------------------------------------------------
 */

/* Draws a prefix, and a secret with its HMAC; the secret goes into the text. */
static void
draw(KsApiKey *key, KsKeySecretRow *row, char text[KS_API_KEY_LEN])
{
	uint8		prefix[PREFIX_BYTES];
	uint8		secret[KS_API_KEY_SECRET_LEN];
	char	   *at = text;

	if (ks_random(prefix, sizeof(prefix)) != KS_CRYPTO_OK || ks_random(secret, sizeof(secret)) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	(void) hex_encode((const char *) prefix, sizeof(prefix), key->drawn);
	key->drawn[KS_API_KEY_PREFIX_LEN] = '\0';
	key->row.prefix = key->drawn;

	memcpy(at, KS_API_KEY_MARK, sizeof(KS_API_KEY_MARK) - 1);
	at += sizeof(KS_API_KEY_MARK) - 1;
	memcpy(at, key->drawn, KS_API_KEY_PREFIX_LEN);
	at += KS_API_KEY_PREFIX_LEN;
	*at++ = '_';
	(void) hex_encode((const char *) secret, sizeof(secret), at);

	row->prefix = key->drawn;
	ks_secret_mac(KS_SECRET_API_KEY, secret, sizeof(secret), row->secret_mac);
	explicit_bzero(secret, sizeof(secret));
}

/* False when the prefix is taken. */
static bool
insert_secret(const KsKeySecretRow *row)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.api_key_secrets (workspace_id, prefix, key_id, secret_mac, created_at, row_mac)"
		" VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"
	};
	KsArgs		args = {0};

	ks_arg_uuid(&args, row->workspace);
	ks_arg_text(&args, row->prefix);
	ks_arg_uuid(&args, row->key);
	ks_arg_bytes(&args, row->secret_mac, KS_DIGEST_LEN);
	ks_arg_time(&args, true, row->created_at);
	ks_key_secret_add_mac(&args, row);
	return ks_spi_write(&plan, &args) == 1;
}

/* Whether a prefix is free; another transaction may take it meanwhile. */
static bool
is_free(const char *prefix)
{
	static KsPlan plan = {.sql = "SELECT 1 FROM keystone_private.api_key_secrets WHERE prefix = $1"};
	KsArgs		args = {0};

	ks_arg_text(&args, prefix);
	return ks_spi_read(&plan, &args) == 0;
}

/* Draws a secret under a prefix that nothing has. */
static void
draw_free(KsApiKey *key, KsKeySecretRow *row, char text[KS_API_KEY_LEN])
{
	memcpy(row->workspace, key->row.workspace, KS_ID_LEN);
	memcpy(row->key, key->row.id, KS_ID_LEN);
	row->created_at = key->row.updated_at;
	for (int i = 0; i < DRAWS_MAX; i++)
	{
		draw(key, row, text);
		if (is_free(key->drawn))
			return;
	}
	elog(ERROR, "no free prefix was found");
}

static void
put_secret(const KsKeySecretRow *row)
{
	if (!insert_secret(row))
		ks_error_duplicate("the prefix of the API key was taken at the same time", NULL);
}

/* Ends the other secrets of a key.  Forged ones stay what they are. */
static void
end_secrets(const KsApiKey *key, TimestampTz end)
{
	static KsPlan find = {.sql =
		"SELECT " KS_KEY_SECRET_COLUMNS " FROM keystone_private.api_key_secrets s"
		" WHERE s.workspace_id = $1 AND s.key_id = $2 AND (s.valid_until IS NULL OR s.valid_until > $3)"
	};
	static KsPlan put = {.sql =
		"UPDATE keystone_private.api_key_secrets SET valid_until = $3, row_mac = $4"
		" WHERE workspace_id = $1 AND prefix = $2"
	};
	KsArgs		find_args = {0};
	KsKeySecretRow *rows;
	KsSpi		spi;
	uint64		found;
	int			n = 0;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&find_args, key->row.workspace);
	ks_arg_uuid(&find_args, key->row.id);
	ks_arg_time(&find_args, true, end);
	found = ks_spi_read(&find, &find_args);
	rows = palloc(Max(found, 1) * sizeof(KsKeySecretRow));
	for (uint64 i = 0; i < found; i++)
	{
		if (ks_key_secret_read(&spi, i, 1, &rows[n]))
			n++;
	}
	for (int i = 0; i < n; i++)
	{
		KsArgs		args = {0};

		rows[i].ends = true;
		rows[i].valid_until = end;
		ks_arg_uuid(&args, rows[i].workspace);
		ks_arg_text(&args, rows[i].prefix);
		ks_arg_time(&args, true, end);
		ks_key_secret_add_mac(&args, &rows[i]);
		(void) ks_spi_write(&put, &args);
	}
	ks_spi_end(&spi);
}


/*-------------------------------------------------------------------------
 * Changes
 *-------------------------------------------------------------------------
 */

bool
ks_apikey_add(KsApiKey *key, char text[KS_API_KEY_LEN])
{
	KsKeySecretRow secret = {0};
	KsSpi		spi;
	bool		added;

	key->row.updated_at = GetCurrentTimestamp();
	ks_spi_begin_write(&spi);
	draw_free(key, &secret, text);
	added = insert_key(key);
	if (added)
		put_secret(&secret);
	ks_spi_end(&spi);
	return added;
}

void
ks_apikey_rotate(KsApiKey *key, int64 overlap, char text[KS_API_KEY_LEN])
{
	KsKeySecretRow secret = {0};
	KsSpi		spi;

	key->row.updated_at = GetCurrentTimestamp();
	end_secrets(key, key->row.updated_at + overlap);
	ks_spi_begin_write(&spi);
	draw_free(key, &secret, text);
	put_secret(&secret);

	/* At last: the entry of the key has its secrets, too. */
	update_key(key);
	ks_spi_end(&spi);
}

void
ks_apikey_revoke(KsApiKey *key)
{
	static const KsNameList none = {0};
	KsSpi		spi;

	/* Lists that nobody wrote here may be longer than any. */
	if (!key->valid)
		key->row.environments = key->row.providers = none;
	key->row.updated_at = key->row.revoked_at = GetCurrentTimestamp();
	key->row.revoked = true;
	ks_spi_begin_write(&spi);
	update_key(key);
	ks_spi_end(&spi);
}

int64
ks_apikey_revoke_all(const uint8 workspace[KS_ID_LEN], const uint8 *creator)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_API_KEY_COLUMNS " FROM keystone_private.api_keys k"
		" WHERE k.workspace_id = $1 AND ($2 IS NULL OR k.created_by = $2) AND k.revoked_at IS NULL ORDER BY k.id"
	};
	KsArgs		args = {0};
	KsApiKey   *keys;
	KsSpi		spi;
	uint64		n;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, creator);
	n = ks_spi_read(&plan, &args);
	keys = MemoryContextAllocZero(spi.caller, Max(n, 1) * sizeof(KsApiKey));
	for (uint64 i = 0; i < n; i++)
		keys[i].valid = ks_api_key_read(&spi, i, 1, &keys[i].row);
	ks_spi_end(&spi);
	for (uint64 i = 0; i < n; i++)
		ks_apikey_revoke(&keys[i]);
	return (int64) n;
}
