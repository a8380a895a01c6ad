/*-------------------------------------------------------------------------
 *
 * ks_store.c
 *	  The tables of credentials: metadata, versions, ciphertext.
 *
 * A value reaches this room only inside an envelope.  Every read sees what is
 * committed at that moment (ks_spi.h): a credential that was disabled a
 * moment ago is not given to a transaction with an older snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_lookup.h"
#include "ks_spi.h"
#include "ks_store.h"

/* Columns of keystone_private.credentials, by number. */
enum
{
	CREDENTIAL_WORKSPACE = 1,
	CREDENTIAL_ID = 2,
	CREDENTIAL_NAME = 3,
	CREDENTIAL_FOLDED_NAME = 4,
	CREDENTIAL_ENVIRONMENT = 5,
	CREDENTIAL_OWNER = 6,
	CREDENTIAL_PROVIDER = 7,
	CREDENTIAL_KIND = 8,
	CREDENTIAL_CURRENT_VERSION = 9,
	CREDENTIAL_LAST_VERSION = 10,
	CREDENTIAL_HINT = 11,
	CREDENTIAL_DESCRIPTION = 12,
	CREDENTIAL_TAGS = 13,
	CREDENTIAL_METADATA = 14,
	CREDENTIAL_IS_ACTIVE = 15,
	CREDENTIAL_EXPIRES_AT = 19,
	CREDENTIAL_DELETED_AT = 24,
	CREDENTIAL_DESTROY_AFTER = 25,
	CREDENTIAL_DESTROYED_AT = 26
};

/* Of keystone.credential_versions and keystone_private.ciphertext. */
enum
{
	VERSION_WORKSPACE = 1,
	VERSION_CREDENTIAL = 2,
	VERSION_VERSION = 3,
	VERSION_STATE = 5,
	CIPHERTEXT_KEY_VERSION = 4,
	CIPHERTEXT_ENVELOPE = 5,
	CIPHERTEXT_AAD_DIGEST = 6
};

/* Of keystone_private.workspace_keys. */
enum
{
	KEY_WORKSPACE = 1,
	KEY_VERSION = 2,
	KEY_ID = 3,
	KEY_ROOT_KEY = 4,
	KEY_WRAPPED = 5,
	KEY_PREVIOUS_ROOT_KEY = 6,
	KEY_PREVIOUS_WRAPPED = 7,
	KEY_KMS_URI = 8
};

/* A copy of a column as it lies in the table, compressed or elsewhere; 0 for NULL. */
static Datum
copy_raw(const KsLookup *row, int column)
{
	return row->nulls[column - 1] ? (Datum) 0 : datumCopy(row->values[column - 1], false, -1);
}

/* What may be long is left where it is: ks_store_load() reads it. */
static void
read_credential(const KsLookup *row, KsCredential *c, KsSeek *seek)
{
	TimestampTz time;

	memset(c, 0, sizeof(*c));
	(void) ks_lookup_uuid(row, CREDENTIAL_WORKSPACE, c->workspace);
	(void) ks_lookup_uuid(row, CREDENTIAL_ID, c->id);
	c->name = ks_lookup_text(row, CREDENTIAL_NAME);
	c->folded_name = ks_lookup_text(row, CREDENTIAL_FOLDED_NAME);
	c->environment = ks_lookup_text(row, CREDENTIAL_ENVIRONMENT);
	c->personal = ks_lookup_uuid(row, CREDENTIAL_OWNER, c->owner);
	c->provider = ks_lookup_text(row, CREDENTIAL_PROVIDER);
	c->kind = ks_lookup_text(row, CREDENTIAL_KIND);
	(void) ks_lookup_int(row, CREDENTIAL_CURRENT_VERSION, &c->current_version);
	(void) ks_lookup_int(row, CREDENTIAL_LAST_VERSION, &c->last_version);
	c->hint = ks_lookup_text(row, CREDENTIAL_HINT);
	seek->description = copy_raw(row, CREDENTIAL_DESCRIPTION);
	seek->tags = copy_raw(row, CREDENTIAL_TAGS);
	seek->metadata = copy_raw(row, CREDENTIAL_METADATA);
	c->is_active = ks_lookup_bool(row, CREDENTIAL_IS_ACTIVE);
	c->has_expiry = ks_lookup_time(row, CREDENTIAL_EXPIRES_AT, &c->expires_at);
	c->deleted = ks_lookup_time(row, CREDENTIAL_DELETED_AT, &time);
	c->destroyed = ks_lookup_time(row, CREDENTIAL_DESTROYED_AT, &time);
	c->recoverable = ks_lookup_time(row, CREDENTIAL_DESTROY_AFTER, &time) && c->deleted &&
		!c->destroyed && time > GetCurrentTimestamp();
}

static KsIndex by_name = {.schema = "keystone_private", .table = "credentials", .index = "credentials_name_key"};
static KsIndex by_id = {.schema = "keystone_private", .table = "credentials", .index = "credentials_id_idx"};
static KsIndex version_key = {.schema = "keystone", .table = "credential_versions", .index = "credential_versions_pkey"};
static KsIndex ciphertext_key = {.schema = "keystone_private", .table = "ciphertext", .index = "ciphertext_pkey"};
static KsIndex workspace_key = {.schema = "keystone_private", .table = "workspace_keys", .index = "workspace_keys_pkey"};

/* Begins a look-up of one version, in either of the tables that have it. */
static void
look_up_version(KsLookup *lookup, KsIndex *index, Snapshot snapshot, const KsCredential *c, int32 version)
{
	ks_lookup_begin(lookup, index, snapshot);
	ks_lookup_by_uuid(lookup, VERSION_WORKSPACE, c->workspace);
	ks_lookup_by_uuid(lookup, VERSION_CREDENTIAL, c->id);
	ks_lookup_by_int(lookup, VERSION_VERSION, version);
}

/* The wrapped key of a ciphertext; has_key stays false when it is gone. */
static void
find_key(Snapshot snapshot, const KsCredential *c, KsSealed *s)
{
	KsLookup	lookup;

	ks_lookup_begin(&lookup, &workspace_key, snapshot);
	ks_lookup_by_uuid(&lookup, KEY_WORKSPACE, c->workspace);
	ks_lookup_by_int(&lookup, KEY_VERSION, s->key_version);
	s->has_key = ks_lookup_next(&lookup);
	if (s->has_key)
	{
		memcpy(s->key.workspace, c->workspace, KS_ID_LEN);
		s->key.version = (uint32) s->key_version;
		s->key.purpose = KS_PURPOSE_WORKSPACE_KEY;
		(void) ks_lookup_uuid(&lookup, KEY_ID, s->key.key_id);
		ks_keyring_set_id(s->key.root_key, ks_lookup_text(&lookup, KEY_ROOT_KEY));
		s->key.wrapped = ks_lookup_bytes(&lookup, KEY_WRAPPED, &s->key.wrapped_len);
		ks_keyring_set_id(s->key.previous_root_key, ks_lookup_text(&lookup, KEY_PREVIOUS_ROOT_KEY));
		s->key.previous_wrapped = ks_lookup_bytes(&lookup, KEY_PREVIOUS_WRAPPED, &s->key.previous_wrapped_len);
		s->key.kms_uri = ks_lookup_text(&lookup, KEY_KMS_URI);
		s->key.uncommitted = ks_lookup_own(&lookup);
	}
	ks_lookup_end(&lookup);
}

/*
 * Reads a version of a credential, the current one when version is 0, with
 * its ciphertext and the key that opens it, in the snapshot in which the
 * credential was read: what the ciphertext is bound to lies in that row.
 */
static void
find_sealed(Snapshot snapshot, const KsCredential *c, int32 version, KsSealed *s)
{
	KsLookup	lookup;
	uint8	   *digest;
	size_t		len;

	memset(s, 0, sizeof(*s));
	if (version == 0)
		version = c->current_version;
	look_up_version(&lookup, &version_key, snapshot, c, version);
	if (ks_lookup_next(&lookup))
	{
		s->version = version;
		s->state = ks_lookup_text(&lookup, VERSION_STATE);
	}
	ks_lookup_end(&lookup);
	if (s->version == 0)
		return;

	look_up_version(&lookup, &ciphertext_key, snapshot, c, version);
	if (ks_lookup_next(&lookup))
	{
		s->envelope = ks_lookup_bytes(&lookup, CIPHERTEXT_ENVELOPE, &s->envelope_len);
		(void) ks_lookup_int(&lookup, CIPHERTEXT_KEY_VERSION, &s->key_version);
		digest = ks_lookup_bytes(&lookup, CIPHERTEXT_AAD_DIGEST, &len);
		if (len == KS_DIGEST_LEN)
			memcpy(s->aad_digest, digest, KS_DIGEST_LEN);
	}
	ks_lookup_end(&lookup);
	if (s->envelope != NULL)
		find_key(snapshot, c, s);
}

/* Whether one of two credentials of the same name is meant rather than the
 * other: what has a value, unless a version is named, then the caller's own. */
static bool
is_preferred(const KsCredential *a, const KsCredential *b, int32 version)
{
	if (version == 0 && (a->current_version != 0) != (b->current_version != 0))
		return a->current_version != 0;
	return a->personal && !b->personal;
}

/* Whether a credential of the name is one that is looked for. */
static bool
is_candidate(const KsLookup *row, const KsName *name)
{
	uint8		owner[KS_ID_LEN];
	TimestampTz time;

	if (ks_lookup_time(row, CREDENTIAL_DELETED_AT, &time))
		return false;
	if (!ks_lookup_uuid(row, CREDENTIAL_OWNER, owner))
		return name->shared;
	return name->own && name->owner != NULL && memcmp(owner, name->owner, KS_ID_LEN) == 0;
}

bool
ks_store_seek(KsSeek *seek, const KsName *name, int32 version, KsCredential *credential)
{
	KsLookup	lookup;
	bool		found = false;

	seek->snapshot = ks_spi_take_snapshot();

	/* Everybody's personal ones of this name are looked at, too. */
	ks_lookup_begin(&lookup, &by_name, seek->snapshot);
	ks_lookup_by_uuid(&lookup, CREDENTIAL_WORKSPACE, name->workspace);
	ks_lookup_by_text(&lookup, CREDENTIAL_ENVIRONMENT, name->environment);
	ks_lookup_by_text(&lookup, CREDENTIAL_FOLDED_NAME, name->folded_name);
	while (ks_lookup_next(&lookup))
	{
		KsCredential row;
		KsSeek		rest = *seek;

		if (!is_candidate(&lookup, name))
			continue;
		read_credential(&lookup, &row, &rest);
		if (!found || is_preferred(&row, credential, version))
		{
			*credential = row;
			*seek = rest;
		}
		found = true;
	}
	ks_lookup_end(&lookup);
	if (!found)
	{
		memset(credential, 0, sizeof(*credential));
		memcpy(credential->workspace, name->workspace, KS_ID_LEN);
		credential->environment = (char *) name->environment;
		credential->personal = true;
	}
	return found;
}

bool
ks_store_seek_id(KsSeek *seek, const uint8 id[KS_ID_LEN], KsCredential *credential)
{
	KsLookup	lookup;
	bool		found;

	seek->snapshot = ks_spi_take_snapshot();
	ks_lookup_begin(&lookup, &by_id, seek->snapshot);
	ks_lookup_by_uuid(&lookup, CREDENTIAL_ID, id);
	found = ks_lookup_next(&lookup);
	if (found)
		read_credential(&lookup, credential, seek);
	ks_lookup_end(&lookup);
	if (!found)
	{
		memset(credential, 0, sizeof(*credential));
		memcpy(credential->id, id, KS_ID_LEN);
		credential->environment = "";
		credential->personal = true;
	}
	return found;
}

void
ks_store_load(const KsSeek *seek, int32 version, KsCredential *credential, KsSealed *sealed)
{
	if (seek->description != 0)
		credential->description = TextDatumGetCString(seek->description);
	if (seek->tags != 0)
		credential->tags = PointerGetDatum(DatumGetArrayTypePCopy(seek->tags));
	credential->metadata = DatumGetJsonbPCopy(seek->metadata);
	if (sealed != NULL)
		find_sealed(seek->snapshot, credential, version, sealed);
}

void
ks_store_end_seek(KsSeek *seek)
{
	ks_spi_drop_snapshot(seek->snapshot);
	seek->snapshot = NULL;
}

bool
ks_store_find(const KsName *name, int32 version, KsCredential *credential, KsSealed *sealed)
{
	KsSeek		seek;
	bool		found = ks_store_seek(&seek, name, version, credential);

	if (found)
		ks_store_load(&seek, version, credential, sealed);
	ks_store_end_seek(&seek);
	return found;
}

bool
ks_store_find_id(const uint8 id[KS_ID_LEN], int32 version, KsCredential *credential, KsSealed *sealed)
{
	KsSeek		seek;
	bool		found = ks_store_seek_id(&seek, id, credential);

	if (found)
		ks_store_load(&seek, version, credential, sealed);
	ks_store_end_seek(&seek);
	return found;
}

bool
ks_store_lock(KsCredential *credential)
{
	static KsPlan plan = {.sql =
		"SELECT 1 FROM keystone_private.credentials WHERE workspace_id = $1 AND id = $2 FOR NO KEY UPDATE"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint8		id[KS_ID_LEN];
	bool		found;

	memcpy(id, credential->id, KS_ID_LEN);
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, id);
	found = ks_spi_write(&plan, &args) == 1;
	ks_spi_end(&spi);
	return found && ks_store_find_id(id, 0, credential, NULL);
}

int
ks_store_list(const uint8 workspace[KS_ID_LEN], const char *environment, const uint8 *owner,
			  Datum providers, uint8 (**ids)[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT id FROM (SELECT DISTINCT ON (c.folded_name) c.id, c.folded_name"
		" FROM keystone_private.credentials c"
		" WHERE c.workspace_id = $1 AND c.environment = $2 AND c.deleted_at IS NULL"
		" AND c.current_version IS NOT NULL AND (c.owner IS NULL OR c.owner = $3)"
		" AND ($4 IS NULL OR c.provider = ANY ($4))"
		" ORDER BY c.folded_name, c.owner NULLS LAST) x ORDER BY folded_name COLLATE \"C\""
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, environment);
	ks_arg_uuid(&args, owner);
	ks_arg_datum(&args, providers != 0, TEXTARRAYOID, providers);
	n = (int) ks_spi_read(&plan, &args);
	*ids = MemoryContextAlloc(spi.caller, Max(n, 1) * KS_ID_LEN);
	for (int i = 0; i < n; i++)
		(void) ks_col_uuid(i, 1, (*ids)[i]);
	ks_spi_end(&spi);
	return n;
}

bool
ks_store_resolve(const KsResolve *wanted, KsCredential *credential)
{
	static KsPlan plan = {.sql =
		"SELECT c.id FROM keystone_private.credentials c"
		" WHERE c.workspace_id = $1 AND c.environment = $2 AND c.deleted_at IS NULL"
		" AND c.provider = $3 AND ($4 IS NULL OR c.kind = $4)"
		" AND (c.owner IS NULL OR c.owner = $5 OR c.id = ANY ($6))"
		" AND c.is_active AND c.current_version IS NOT NULL"
		" AND (c.expires_at IS NULL OR c.expires_at > clock_timestamp())"
		" ORDER BY CASE WHEN c.owner = $5 THEN 0 WHEN c.owner IS NULL THEN 1 ELSE 2 END,"
		" c.last_rotated_at DESC, c.id LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint8		id[KS_ID_LEN];
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, wanted->workspace);
	ks_arg_text(&args, wanted->environment);
	ks_arg_text(&args, wanted->provider);
	ks_arg_text(&args, wanted->kind);
	ks_arg_uuid(&args, wanted->owner);
	ks_arg_datum(&args, true, UUIDARRAYOID, wanted->others);
	found = ks_spi_read(&plan, &args) > 0 && ks_col_uuid(0, 1, id);
	ks_spi_end(&spi);
	return found && ks_store_find_id(id, 0, credential, NULL);
}

/* The columns that insert and update have in common: $1 to $11. */
static void
add_metadata(KsArgs *args, const KsCredential *c)
{
	ks_arg_uuid(args, c->workspace);
	ks_arg_uuid(args, c->id);
	ks_arg_text(args, c->name);
	ks_arg_text(args, c->folded_name);
	ks_arg_text(args, c->environment);
	ks_arg_text(args, c->provider);
	ks_arg_text(args, c->kind);
	ks_arg_text(args, c->description);
	ks_arg_datum(args, true, TEXTARRAYOID, c->tags);
	ks_arg_datum(args, true, JSONBOID, JsonbPGetDatum(c->metadata));
	ks_arg_time(args, c->has_expiry, c->expires_at);
}

bool
ks_store_insert(const KsCredential *credential, const uint8 by[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.credentials (workspace_id, id, name, folded_name, environment,"
		" provider, kind, description, tags, metadata, expires_at, owner, created_by, last_version)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0) ON CONFLICT DO NOTHING"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		inserted;

	ks_spi_begin_write(&spi);
	add_metadata(&args, credential);
	ks_arg_uuid(&args, credential->personal ? credential->owner : NULL);
	ks_arg_uuid(&args, by);
	inserted = ks_spi_write(&plan, &args) == 1;
	ks_spi_end(&spi);
	return inserted;
}

void
ks_store_update(const KsCredential *credential)
{
	/* Whether the name is free is asked first, so that the error is ours. */
	static KsPlan taken = {.sql =
		"SELECT 1 FROM keystone_private.credentials WHERE workspace_id = $1 AND environment = $2"
		" AND folded_name = $3 AND owner IS NOT DISTINCT FROM $4 AND id <> $5 AND deleted_at IS NULL"
	};
	static KsPlan plan = {.sql =
		"UPDATE keystone_private.credentials SET name = $3, folded_name = $4, environment = $5,"
		" provider = $6, kind = $7, description = $8, tags = $9, metadata = $10, expires_at = $11,"
		" updated_at = clock_timestamp() WHERE workspace_id = $1 AND id = $2"
	};
	KsArgs		taken_args = {0};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&taken_args, credential->workspace);
	ks_arg_text(&taken_args, credential->environment);
	ks_arg_text(&taken_args, credential->folded_name);
	ks_arg_uuid(&taken_args, credential->personal ? credential->owner : NULL);
	ks_arg_uuid(&taken_args, credential->id);
	if (!credential->deleted && ks_spi_read(&taken, &taken_args) > 0)
		ks_error_duplicate("a credential of that name already exists", NULL);
	add_metadata(&args, credential);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

void
ks_store_add_version(const KsCredential *credential, const KsNewVersion *version)
{
	static KsPlan insert_version = {.sql =
		"INSERT INTO keystone.credential_versions (workspace_id, credential_id, version, owner, state,"
		" source_version, created_by, created_at) VALUES ($1, $2, $3, $4, 'pending', $5, $6, clock_timestamp())"
	};
	static KsPlan insert_ciphertext = {.sql =
		"INSERT INTO keystone_private.ciphertext (workspace_id, credential_id, version, key_version, envelope, aad_digest)"
		" VALUES ($1, $2, $3, $4, $5, $6)"
	};
	static KsPlan count = {.sql =
		"UPDATE keystone_private.credentials SET last_version = $3, updated_at = clock_timestamp()"
		" WHERE workspace_id = $1 AND id = $2"
	};
	KsArgs		version_args = {0};
	KsArgs		ciphertext_args = {0};
	KsArgs		count_args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&version_args, credential->workspace);
	ks_arg_uuid(&version_args, credential->id);
	ks_arg_int(&version_args, true, version->version);
	ks_arg_uuid(&version_args, credential->personal ? credential->owner : NULL);
	ks_arg_int(&version_args, version->source_version != 0, version->source_version);
	ks_arg_uuid(&version_args, version->by);
	(void) ks_spi_write(&insert_version, &version_args);

	ks_arg_uuid(&ciphertext_args, credential->workspace);
	ks_arg_uuid(&ciphertext_args, credential->id);
	ks_arg_int(&ciphertext_args, true, version->version);
	ks_arg_int(&ciphertext_args, true, version->key_version);
	ks_arg_datum(&ciphertext_args, true, BYTEAOID, PointerGetDatum(version->envelope));
	ks_arg_bytes(&ciphertext_args, version->aad_digest, KS_DIGEST_LEN);
	(void) ks_spi_write(&insert_ciphertext, &ciphertext_args);

	ks_arg_uuid(&count_args, credential->workspace);
	ks_arg_uuid(&count_args, credential->id);
	ks_arg_int(&count_args, true, version->version);
	(void) ks_spi_write(&count, &count_args);
	ks_spi_end(&spi);
}

void
ks_store_set_current(const KsCredential *credential, int32 version)
{
	/*
	 * Two statements, since the index on the current version is checked row
	 * by row.
	 */
	static KsPlan demote = {.sql =
		"UPDATE keystone.credential_versions SET state = 'previous'"
		" WHERE workspace_id = $1 AND credential_id = $2 AND state = 'current'"
	};
	static KsPlan promote = {.sql =
		"UPDATE keystone.credential_versions SET state = 'current'"
		" WHERE workspace_id = $1 AND credential_id = $2 AND version = $3"
	};
	static KsPlan point = {.sql =
		"UPDATE keystone_private.credentials SET current_version = $3, hint = $4,"
		" is_verified = CASE WHEN (SELECT verified_at FROM keystone.credential_versions"
		"  WHERE workspace_id = $1 AND credential_id = $2 AND version = $3) IS NOT NULL THEN true END,"
		" verified_at = (SELECT verified_at FROM keystone.credential_versions"
		"  WHERE workspace_id = $1 AND credential_id = $2 AND version = $3),"
		" verified_detail = NULL, last_rotated_at = clock_timestamp(), updated_at = clock_timestamp()"
		" WHERE workspace_id = $1 AND id = $2"
	};
	KsArgs		args = {0};
	KsArgs		demote_args = {0};
	KsArgs		point_args;
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	demote_args = args;
	ks_arg_int(&args, true, version);
	point_args = args;
	ks_arg_text(&point_args, credential->hint);
	(void) ks_spi_write(&demote, &demote_args);
	(void) ks_spi_write(&promote, &args);
	(void) ks_spi_write(&point, &point_args);
	ks_spi_end(&spi);
}

void
ks_store_replace(const KsCredential *credential, int32 version, const bytea *envelope,
				 int32 key_version, const uint8 aad_digest[KS_DIGEST_LEN])
{
	static KsPlan plan = {.sql =
		"UPDATE keystone_private.ciphertext SET envelope = $4, key_version = $5, aad_digest = $6"
		" WHERE workspace_id = $1 AND credential_id = $2 AND version = $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	ks_arg_int(&args, true, version);
	ks_arg_datum(&args, true, BYTEAOID, PointerGetDatum(envelope));
	ks_arg_int(&args, true, key_version);
	ks_arg_bytes(&args, aad_digest, KS_DIGEST_LEN);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

int
ks_store_versions(const KsCredential *credential, int32 **versions)
{
	static KsPlan plan = {.sql =
		"SELECT version FROM keystone_private.ciphertext"
		" WHERE workspace_id = $1 AND credential_id = $2 ORDER BY version"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	n = (int) ks_spi_read(&plan, &args);
	*versions = MemoryContextAlloc(spi.caller, Max(n, 1) * sizeof(int32));
	for (int i = 0; i < n; i++)
		(void) ks_col_int(i, 1, &(*versions)[i]);
	ks_spi_end(&spi);
	return n;
}

void
ks_store_destroy(const KsCredential *credential, int32 version)
{
	static KsPlan remove = {.sql =
		"DELETE FROM keystone_private.ciphertext"
		" WHERE workspace_id = $1 AND credential_id = $2 AND ($3 IS NULL OR version = $3)"
	};
	static KsPlan mark = {.sql =
		"UPDATE keystone.credential_versions SET state = 'destroyed', destroyed_at = clock_timestamp()"
		" WHERE workspace_id = $1 AND credential_id = $2 AND ($3 IS NULL OR version = $3)"
		" AND state <> 'destroyed'"
	};
	static KsPlan close = {.sql =
		"UPDATE keystone_private.credentials SET current_version = NULL, hint = NULL,"
		" deleted_at = coalesce(deleted_at, clock_timestamp()),"
		" destroy_after = coalesce(destroy_after, clock_timestamp()),"
		" destroyed_at = clock_timestamp(), updated_at = clock_timestamp()"
		" WHERE workspace_id = $1 AND id = $2"
	};
	KsArgs		args = {0};
	KsArgs		close_args;
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	close_args = args;
	ks_arg_int(&args, version != 0, version);
	(void) ks_spi_write(&remove, &args);
	(void) ks_spi_write(&mark, &args);
	if (version == 0)
		(void) ks_spi_write(&close, &close_args);
	ks_spi_end(&spi);
}

void
ks_store_set_active(const KsCredential *credential, bool active)
{
	static KsPlan plan = {.sql =
		"UPDATE keystone_private.credentials SET is_active = $3, updated_at = clock_timestamp()"
		" WHERE workspace_id = $1 AND id = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	ks_arg_bool(&args, true, active);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

void
ks_store_delete(const KsCredential *credential, TimestampTz destroy_after)
{
	static KsPlan plan = {.sql =
		"UPDATE keystone_private.credentials SET deleted_at = clock_timestamp(), destroy_after = $3,"
		" updated_at = clock_timestamp() WHERE workspace_id = $1 AND id = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	ks_arg_time(&args, true, destroy_after);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

bool
ks_store_restore(const KsCredential *credential)
{
	static KsPlan plan = {.sql =
		"UPDATE keystone_private.credentials c SET deleted_at = NULL, destroy_after = NULL,"
		" updated_at = clock_timestamp() WHERE c.workspace_id = $1 AND c.id = $2"
		" AND NOT EXISTS (SELECT FROM keystone_private.credentials o WHERE o.workspace_id = c.workspace_id"
		"  AND o.environment = c.environment AND o.folded_name = c.folded_name"
		"  AND o.owner IS NOT DISTINCT FROM c.owner AND o.deleted_at IS NULL)"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		restored;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	restored = ks_spi_write(&plan, &args) == 1;
	ks_spi_end(&spi);
	return restored;
}

void
ks_store_mark_verified(const KsCredential *credential, int32 version, bool ok, const char *detail)
{
	static KsPlan mark = {.sql =
		"UPDATE keystone.credential_versions SET verified_at = CASE WHEN $4 THEN clock_timestamp() END"
		" WHERE workspace_id = $1 AND credential_id = $2 AND version = $3"
	};
	static KsPlan show = {.sql =
		"UPDATE keystone_private.credentials SET is_verified = $4, verified_at = clock_timestamp(),"
		" verified_detail = $5, updated_at = clock_timestamp()"
		" WHERE workspace_id = $1 AND id = $2 AND current_version = $3"
	};
	KsArgs		args = {0};
	KsArgs		show_args;
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	ks_arg_int(&args, true, version);
	ks_arg_bool(&args, true, ok);
	show_args = args;
	ks_arg_text(&show_args, detail);
	(void) ks_spi_write(&mark, &args);
	(void) ks_spi_write(&show, &show_args);
	ks_spi_end(&spi);
}

Jsonb *
ks_store_merge(const Jsonb *target, const Jsonb *patch)
{
	static KsPlan plan = {.sql = "SELECT keystone_private.json_merge_patch($1, $2)"};
	KsArgs		args = {0};
	KsSpi		spi;
	Jsonb	   *merged;

	ks_spi_begin(&spi);
	ks_arg_datum(&args, true, JSONBOID, JsonbPGetDatum(target));
	ks_arg_datum(&args, true, JSONBOID, JsonbPGetDatum(patch));
	(void) ks_spi_read(&plan, &args);
	merged = ks_col_jsonb(&spi, 0, 1);
	ks_spi_end(&spi);
	return merged;
}

int
ks_store_next(const uint8 *workspace, KsCursor *after, int limit, KsCursor *found)
{
	static KsPlan plan = {.sql =
		"SELECT workspace_id, credential_id, version FROM keystone.credential_versions"
		" WHERE (workspace_id, credential_id, version) > ($1, $2, $3)"
		" AND ($4 IS NULL OR workspace_id = $4) AND state <> 'destroyed'"
		" ORDER BY workspace_id, credential_id, version LIMIT $5"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	/* The order starts at the workspace, so that its rows are found by index. */
	if (workspace != NULL && memcmp(after->workspace, workspace, KS_ID_LEN) != 0)
		memcpy(after->workspace, workspace, KS_ID_LEN);
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, after->workspace);
	ks_arg_uuid(&args, after->credential);
	ks_arg_int(&args, true, after->version);
	ks_arg_uuid(&args, workspace);
	ks_arg_bigint(&args, true, limit);
	n = (int) ks_spi_read(&plan, &args);
	for (int i = 0; i < n; i++)
	{
		(void) ks_col_uuid(i, 1, found[i].workspace);
		(void) ks_col_uuid(i, 2, found[i].credential);
		(void) ks_col_int(i, 3, &found[i].version);
	}
	ks_spi_end(&spi);
	if (n > 0)
		*after = found[n - 1];
	return n;
}
