/*-------------------------------------------------------------------------
 *
 * ks_keys.c
 *	  The tables of keys: root_keys, system_keys, workspace_keys.
 *
 * A key lies here only wrapped under a root key.  The check value of a root
 * key is written in the same transaction as the first key that it wraps, so a
 * wrong key under a known id is recognised before anything is sealed with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "ks_error.h"
#include "ks_keys.h"
#include "ks_kms.h"
#include "ks_spi.h"
#include "ks_text.h"

#define CHECK_BATCH		500		/* keys that are read at a time */

static int
load_root_checks(KsRootCheck **checks)
{
	static KsPlan plan = {.sql = "SELECT id, check_value FROM keystone_private.root_keys"};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	n = (int) ks_spi_read(&plan, &args);
	*checks = MemoryContextAllocZero(spi.caller, Max(n, 1) * sizeof(KsRootCheck));
	for (int i = 0; i < n; i++)
	{
		size_t		len;
		uint8	   *check = ks_col_bytes(&spi, i, 2, &len);

		ks_keyring_set_id((*checks)[i].id, ks_col_text(&spi, i, 1));
		if (len == KS_DIGEST_LEN)
			memcpy((*checks)[i].check, check, KS_DIGEST_LEN);
	}
	ks_spi_end(&spi);
	return n;
}

/* The caller sets workspace and purpose. */
void
ks_keys_read(const KsSpi *spi, uint64 row, int first, KsWrappedKey *key)
{
	int32		version = 0;

	(void) ks_col_int(row, first, &version);
	key->version = (uint32) version;
	(void) ks_col_uuid(row, first + 1, key->key_id);
	ks_keyring_set_id(key->root_key, ks_col_text(spi, row, first + 2));
	key->wrapped = ks_col_bytes(spi, row, first + 3, &key->wrapped_len);
	ks_keyring_set_id(key->previous_root_key, ks_col_text(spi, row, first + 4));
	key->previous_wrapped = ks_col_bytes(spi, row, first + 5, &key->previous_wrapped_len);
	key->kms_uri = ks_col_text(spi, row, first + 6);
	key->uncommitted = ks_col_own_xmin(row, first + 7);
}

static bool
load_mac_key(KsWrappedKey *key)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_SYSTEM_WRAPPED_COLUMNS " FROM keystone_private.system_keys"
		" WHERE purpose = 'row_mac' ORDER BY version DESC LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	memset(key, 0, sizeof(*key));
	key->purpose = KS_PURPOSE_SYSTEM_KEY;
	ks_spi_begin(&spi);
	found = ks_spi_read(&plan, &args) == 1;
	if (found)
		ks_keys_read(&spi, 0, 1, key);
	ks_spi_end(&spi);
	return found;
}

void
ks_keys_init(void)
{
	static const KsKeyringLoader loader = {
		.root_checks = load_root_checks,
		.mac_key = load_mac_key,
	};

	ks_keyring_set_loader(&loader);
}

/*
 * Writes the check value of the root key that has just wrapped a key, or
 * compares it: another session may have written one under the same id since
 * the keyring was compared with this table.
 */
void
ks_keys_remember_root(const KsWrappedKey *key)
{
	static KsPlan insert = {.sql =
		"INSERT INTO keystone_private.root_keys (id, check_value) VALUES ($1, $2) ON CONFLICT DO NOTHING"
	};
	static KsPlan find = {.sql = "SELECT check_value FROM keystone_private.root_keys WHERE id = $1"};
	KsArgs		insert_args = {0};
	KsArgs		find_args = {0};
	KsSpi		spi;
	uint8	   *check = NULL;
	size_t		len = 0;

	ks_spi_begin_write(&spi);
	ks_arg_text(&insert_args, key->root_key);
	ks_arg_bytes(&insert_args, key->root_check, KS_DIGEST_LEN);
	(void) ks_spi_write(&insert, &insert_args);
	ks_arg_text(&find_args, key->root_key);
	if (ks_spi_read(&find, &find_args) == 1)
		check = ks_col_bytes(&spi, 0, 1, &len);
	if (check == NULL || len != KS_DIGEST_LEN || !ks_equal(check, key->root_check, KS_DIGEST_LEN))
		ks_error_sealed("the root key is not the one that this database knows by that id");
	ks_spi_end(&spi);
}

/*
 * A database without the key but with rows that it authenticates has lost it:
 * a new one would make all of them worthless.
 */
static void
refuse_second_mac_key(void)
{
	static KsPlan plan = {.sql =
		"SELECT 1 WHERE EXISTS (SELECT FROM keystone.principals) OR EXISTS (SELECT FROM keystone.workspaces)"
		" OR EXISTS (SELECT FROM keystone.members) OR EXISTS (SELECT FROM keystone_private.profile_grants)"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) > 0 && !ks_keyring_has_mac_key())
		ks_error_sealed("the key that authenticates rows that give rights is missing from keystone_private.system_keys");
	ks_spi_end(&spi);
}

static void
make_mac_key(void)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.system_keys (purpose, version, key_id, root_key, wrapped)"
		" VALUES ('row_mac', 1, $1, $2, $3) ON CONFLICT DO NOTHING"
	};
	KsWrappedKey key = {.version = 1, .purpose = KS_PURPOSE_SYSTEM_KEY};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_keyring_make_key(&key);
	ks_keys_remember_root(&key);
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, key.key_id);
	ks_arg_text(&args, key.root_key);
	ks_arg_bytes(&args, key.wrapped, key.wrapped_len);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

void
ks_keys_prepare(void)
{
	ks_keyring_require_open();
	if (!ks_keyring_has_mac_key())
	{
		refuse_second_mac_key();
		make_mac_key();
	}
}

/* False when somebody else has just made this version. */
static bool
insert_key(const KsWrappedKey *key)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.workspace_keys (workspace_id, version, key_id, root_key, wrapped, kms_uri)"
		" VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace_id, version) DO NOTHING"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		inserted;

	ks_keys_remember_root(key);
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, key->workspace);
	ks_arg_int(&args, true, (int32) key->version);
	ks_arg_uuid(&args, key->key_id);
	ks_arg_text(&args, key->root_key);
	ks_arg_bytes(&args, key->wrapped, key->wrapped_len);
	ks_arg_text(&args, key->kms_uri);
	inserted = ks_spi_write(&plan, &args) == 1;
	ks_spi_end(&spi);
	return inserted;
}

void
ks_keys_create(const uint8 workspace[KS_ID_LEN])
{
	KsWrappedKey key = {.version = 1, .purpose = KS_PURPOSE_WORKSPACE_KEY};

	memcpy(key.workspace, workspace, KS_ID_LEN);
	ks_keyring_make_key(&key);
	if (!insert_key(&key))
		elog(ERROR, "a new workspace has a key already");
}

int32
ks_keys_add_version(const uint8 workspace[KS_ID_LEN])
{
	KsWrappedKey current;
	KsWrappedKey key;

	do
	{
		/* Its lock keeps all of the keys from being destroyed meanwhile. */
		ks_keys_current(workspace, &current);
		if (current.version >= PG_INT32_MAX)
			ereport(ERROR,
					errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("the workspace's key has too many versions"));
		memset(&key, 0, sizeof(key));
		key.version = current.version + 1;
		key.purpose = KS_PURPOSE_WORKSPACE_KEY;
		key.kms_uri = current.kms_uri;
		memcpy(key.workspace, workspace, KS_ID_LEN);
		ks_keyring_make_key(&key);
	} while (!insert_key(&key));
	return (int32) key.version;
}

void
ks_keys_current(const uint8 workspace[KS_ID_LEN], KsWrappedKey *key)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_WRAPPED_COLUMNS " FROM keystone_private.workspace_keys"
		" WHERE workspace_id = $1 ORDER BY version DESC LIMIT 1 FOR KEY SHARE"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	memset(key, 0, sizeof(*key));
	key->purpose = KS_PURPOSE_WORKSPACE_KEY;
	memcpy(key->workspace, workspace, KS_ID_LEN);

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	if (ks_spi_write(&plan, &args) != 1)
		ks_error_shredded(NULL);
	ks_keys_read(&spi, 0, 1, key);
	ks_spi_end(&spi);
}

bool
ks_keys_version(const uint8 workspace[KS_ID_LEN], int32 version, KsWrappedKey *key)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_WRAPPED_COLUMNS " FROM keystone_private.workspace_keys WHERE workspace_id = $1 AND version = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	memset(key, 0, sizeof(*key));
	key->purpose = KS_PURPOSE_WORKSPACE_KEY;
	memcpy(key->workspace, workspace, KS_ID_LEN);

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_int(&args, true, version);
	found = ks_spi_read(&plan, &args) == 1;
	if (found)
		ks_keys_read(&spi, 0, 1, key);
	ks_spi_end(&spi);
	return found;
}

int32
ks_keys_current_version(const uint8 workspace[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT version FROM keystone_private.workspace_keys WHERE workspace_id = $1 ORDER BY version DESC LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int32		version = 0;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	if (ks_spi_read(&plan, &args) == 1)
		(void) ks_col_int(0, 1, &version);
	ks_spi_end(&spi);
	return version;
}

void
ks_keys_lock(const uint8 workspace[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT version FROM keystone_private.workspace_keys WHERE workspace_id = $1 ORDER BY version FOR UPDATE"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

bool
ks_keys_try_lock(const uint8 workspace[KS_ID_LEN])
{
	static KsPlan lock = {.sql =
		"SELECT version FROM keystone_private.workspace_keys WHERE workspace_id = $1 FOR UPDATE SKIP LOCKED"
	};
	static KsPlan all = {.sql = "SELECT version FROM keystone_private.workspace_keys WHERE workspace_id = $1"};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		locked;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	locked = ks_spi_write(&lock, &args) == ks_spi_read(&all, &args);
	ks_spi_end(&spi);
	return locked;
}

void
ks_keys_shred(const uint8 workspace[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "DELETE FROM keystone_private.workspace_keys WHERE workspace_id = $1"};
	static KsPlan forget = {.sql = "DELETE FROM keystone_private.key_usage WHERE workspace_id = $1"};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	(void) ks_spi_write(&plan, &args);
	(void) ks_spi_write(&forget, &args);
	ks_spi_end(&spi);
	ks_kms_forget(workspace);
}

int
ks_keys_list(const uint8 workspace[KS_ID_LEN], KsWrappedKey **keys)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_WRAPPED_COLUMNS " FROM keystone_private.workspace_keys WHERE workspace_id = $1 ORDER BY version"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	n = (int) ks_spi_read(&plan, &args);
	*keys = MemoryContextAllocZero(spi.caller, Max(n, 1) * sizeof(KsWrappedKey));
	for (int i = 0; i < n; i++)
	{
		(*keys)[i].purpose = KS_PURPOSE_WORKSPACE_KEY;
		memcpy((*keys)[i].workspace, workspace, KS_ID_LEN);
		ks_keys_read(&spi, i, 1, &(*keys)[i]);
	}
	ks_spi_end(&spi);
	return n;
}

/* Reads the keys behind one, in order, of its workspace only or of all; returns
 * how many. */
static int
read_behind(const KsDamagedKey *behind, bool of_workspace, KsWrappedKey keys[CHECK_BATCH])
{
	static KsPlan plan_of_all = {.sql =
		"SELECT workspace_id, " KS_WRAPPED_COLUMNS " FROM keystone_private.workspace_keys"
		" WHERE (workspace_id, version) > ($1, $2) ORDER BY workspace_id, version LIMIT $3"
	};
	static KsPlan plan_of_workspace = {.sql =
		"SELECT workspace_id, " KS_WRAPPED_COLUMNS " FROM keystone_private.workspace_keys"
		" WHERE workspace_id = $1 AND version > $2 ORDER BY version LIMIT $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, behind->workspace);
	ks_arg_int(&args, true, behind->version);
	ks_arg_int(&args, true, CHECK_BATCH);
	n = (int) ks_spi_read(of_workspace ? &plan_of_workspace : &plan_of_all, &args);
	for (int i = 0; i < n; i++)
	{
		memset(&keys[i], 0, sizeof(keys[i]));
		keys[i].purpose = KS_PURPOSE_WORKSPACE_KEY;
		(void) ks_col_uuid(i, 1, keys[i].workspace);
		ks_keys_read(&spi, i, 2, &keys[i]);
	}
	ks_spi_end(&spi);
	return n;
}

int
ks_keys_damaged(const uint8 *workspace, KsDamagedKey **damaged)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone check", ALLOCSET_DEFAULT_SIZES);
	KsDamagedKey last = {.version = 0};
	KsWrappedKey *keys = palloc(CHECK_BATCH * sizeof(KsWrappedKey));
	int			count = 0;
	int			n;

	*damaged = palloc(sizeof(KsDamagedKey));
	if (workspace != NULL)
		memcpy(last.workspace, workspace, KS_ID_LEN);
	do
	{
		MemoryContext old = MemoryContextSwitchTo(work);

		n = read_behind(&last, workspace != NULL, keys);
		for (int i = 0; i < n; i++)
		{
			memcpy(last.workspace, keys[i].workspace, KS_ID_LEN);
			last.version = (int32) keys[i].version;
			if (ks_keyring_check(&keys[i]) != KS_UNWRAP_DAMAGED)
				continue;
			*damaged = repalloc(*damaged, (count + 1) * sizeof(KsDamagedKey));
			(*damaged)[count++] = last;
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
		CHECK_FOR_INTERRUPTS();
	} while (n == CHECK_BATCH);
	pfree(keys);
	MemoryContextDelete(work);
	return count;
}

char *
ks_keys_damage_text(const KsDamagedKey *key)
{
	char		workspace[37];

	ks_text_from_uuid(key->workspace, workspace);
	return psprintf("version %d of the key of workspace %s does not unwrap", key->version, workspace);
}

void
ks_keys_replace(const KsWrappedKey *key)
{
	static KsPlan plan = {.sql =
		"UPDATE keystone_private.workspace_keys SET root_key = $3, wrapped = $4, kms_uri = $5,"
		" previous_root_key = NULL, previous_wrapped = NULL WHERE workspace_id = $1 AND version = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_keys_remember_root(key);
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, key->workspace);
	ks_arg_int(&args, true, (int32) key->version);
	ks_arg_text(&args, key->root_key);
	ks_arg_bytes(&args, key->wrapped, key->wrapped_len);
	ks_arg_text(&args, key->kms_uri);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

bool
ks_keys_have_customer(const uint8 workspace[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT 1 FROM keystone_private.workspace_keys WHERE workspace_id = $1 AND kms_uri IS NOT NULL LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	found = ks_spi_read(&plan, &args) > 0;
	ks_spi_end(&spi);
	return found;
}

int
ks_keys_customers(KsCustomerKey **keys)
{
	static KsPlan plan = {.sql =
		"SELECT workspace_id, kms_uri, count(*) FROM keystone_private.workspace_keys WHERE kms_uri IS NOT NULL"
		" GROUP BY workspace_id, kms_uri ORDER BY workspace_id, kms_uri"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	n = (int) ks_spi_read(&plan, &args);
	*keys = MemoryContextAllocZero(spi.caller, Max(n, 1) * sizeof(KsCustomerKey));
	for (int i = 0; i < n; i++)
	{
		(void) ks_col_uuid(i, 1, (*keys)[i].workspace);
		(*keys)[i].uri = ks_col_text(&spi, i, 2);
		(void) ks_col_bigint(i, 3, &(*keys)[i].versions);
	}
	ks_spi_end(&spi);
	return n;
}

int64
ks_keys_pending_rewraps(const char *root_key)
{
	static KsPlan plan = {.sql =
		"SELECT (SELECT count(*) FROM keystone_private.workspace_keys WHERE root_key <> $1)"
		" + (SELECT count(*) FROM keystone_private.system_keys WHERE root_key <> $1)"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		count;

	ks_spi_begin(&spi);
	ks_arg_text(&args, root_key);
	(void) ks_spi_read(&plan, &args);
	(void) ks_col_bigint(0, 1, &count);
	ks_spi_end(&spi);
	return count;
}

Datum
ks_keys_root_ids(void)
{
	char		ids[KS_ROOT_KEYS_MAX][KS_ROOT_KEY_ID_MAX + 1];
	Datum		elements[KS_ROOT_KEYS_MAX];
	int			n = ks_keyring_root_ids(ids);

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(ids[i]);
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

char *
ks_keys_missing_roots(void)
{
	static KsPlan plan = {.sql =
		"SELECT root_key, count(*) FROM keystone_private.workspace_keys WHERE root_key <> ALL ($1)"
		" AND (previous_root_key IS NULL OR previous_root_key <> ALL ($1)) GROUP BY root_key ORDER BY root_key"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	StringInfoData text;
	int			n;

	initStringInfo(&text);
	ks_arg_datum(&args, true, TEXTARRAYOID, ks_keys_root_ids());
	ks_spi_begin(&spi);
	n = (int) ks_spi_read(&plan, &args);
	for (int i = 0; i < n; i++)
	{
		int64		count;

		(void) ks_col_bigint(i, 2, &count);
		appendStringInfo(&text, "%sroot key \"%s\" is missing from the keyring: " INT64_FORMAT " keys of workspaces need it",
						 i > 0 ? "; " : "", ks_col_text(&spi, i, 1), count);
	}
	ks_spi_end(&spi);
	return n > 0 ? text.data : NULL;
}
