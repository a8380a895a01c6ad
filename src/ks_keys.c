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

#include "ks_error.h"
#include "ks_keys.h"
#include "ks_spi.h"

/* Copies an id; the column was filled from a keyring, so it fits. */
static void
set_root_id(char id[KS_ROOT_KEY_ID_MAX + 1], const char *value)
{
	if (strlcpy(id, value, KS_ROOT_KEY_ID_MAX + 1) > KS_ROOT_KEY_ID_MAX)
		id[0] = '\0';			/* no keyring has an empty id */
}

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

		set_root_id((*checks)[i].id, ks_col_text(&spi, i, 1));
		if (len == KS_DIGEST_LEN)
			memcpy((*checks)[i].check, check, KS_DIGEST_LEN);
	}
	ks_spi_end(&spi);
	return n;
}

/* Fills a wrapped key from columns key_id, root_key, wrapped, xmin. */
static void
read_wrapped(const KsSpi *spi, uint64 row, int first, KsWrappedKey *key)
{
	(void) ks_col_uuid(row, first, key->key_id);
	set_root_id(key->root_key, ks_col_text(spi, row, first + 1));
	key->wrapped = ks_col_bytes(spi, row, first + 2, &key->wrapped_len);
	key->uncommitted = ks_col_own_xmin(row, first + 3);
}

static bool
load_mac_key(KsWrappedKey *key)
{
	static KsPlan plan = {.sql =
		"SELECT version, key_id, root_key, wrapped, xmin FROM keystone_private.system_keys"
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
	{
		int32		version;

		(void) ks_col_int(0, 1, &version);
		key->version = (uint32) version;
		read_wrapped(&spi, 0, 2, key);
	}
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
static void
remember_root(const KsWrappedKey *key)
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
	remember_root(&key);
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

void
ks_keys_create(const uint8 workspace[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.workspace_keys (workspace_id, version, key_id, root_key, wrapped)"
		" VALUES ($1, 1, $2, $3, $4)"
	};
	KsWrappedKey key = {.version = 1, .purpose = KS_PURPOSE_WORKSPACE_KEY};
	KsArgs		args = {0};
	KsSpi		spi;

	memcpy(key.workspace, workspace, KS_ID_LEN);
	ks_keyring_make_key(&key);
	remember_root(&key);
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, key.key_id);
	ks_arg_text(&args, key.root_key);
	ks_arg_bytes(&args, key.wrapped, key.wrapped_len);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

void
ks_keys_current(const uint8 workspace[KS_ID_LEN], KsWrappedKey *key)
{
	static KsPlan plan = {.sql =
		"SELECT version, key_id, root_key, wrapped, xmin FROM keystone_private.workspace_keys"
		" WHERE workspace_id = $1 ORDER BY version DESC LIMIT 1 FOR SHARE"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int32		version;

	memset(key, 0, sizeof(*key));
	key->purpose = KS_PURPOSE_WORKSPACE_KEY;
	memcpy(key->workspace, workspace, KS_ID_LEN);

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	if (ks_spi_write(&plan, &args) != 1)
		ks_error_shredded();
	(void) ks_col_int(0, 1, &version);
	key->version = (uint32) version;
	read_wrapped(&spi, 0, 2, key);
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
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
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
