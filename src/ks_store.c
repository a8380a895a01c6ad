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
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_spi.h"
#include "ks_store.h"

#define CREDENTIAL_COLUMNS \
	"c.workspace_id, c.id, c.name, c.folded_name, c.environment, c.owner, c.provider, c.kind," \
	" c.current_version, c.last_version, c.hint, c.description, c.tags, c.metadata, c.is_active," \
	" c.expires_at, c.deleted_at, c.destroyed_at, c.destroy_after"

static void
read_credential(const KsSpi *spi, uint64 row, KsCredential *c)
{
	TimestampTz time;

	memset(c, 0, sizeof(*c));
	(void) ks_col_uuid(row, 1, c->workspace);
	(void) ks_col_uuid(row, 2, c->id);
	c->name = ks_col_text(spi, row, 3);
	c->folded_name = ks_col_text(spi, row, 4);
	c->environment = ks_col_text(spi, row, 5);
	c->personal = ks_col_uuid(row, 6, c->owner);
	c->provider = ks_col_text(spi, row, 7);
	c->kind = ks_col_text(spi, row, 8);
	(void) ks_col_int(row, 9, &c->current_version);
	(void) ks_col_int(row, 10, &c->last_version);
	c->hint = ks_col_text(spi, row, 11);
	c->description = ks_col_text(spi, row, 12);
	c->tags = ks_col_array(spi, row, 13);
	c->metadata = ks_col_jsonb(spi, row, 14);
	c->is_active = ks_col_bool(row, 15);
	c->has_expiry = ks_col_time(row, 16, &c->expires_at);
	c->deleted = ks_col_time(row, 17, &time);
	c->destroyed = ks_col_time(row, 18, &time);
	c->recoverable = ks_col_time(row, 19, &time) && c->deleted && !c->destroyed &&
		time > GetCurrentTimestamp();
}

/*
 * Reads a version of a credential, the current one when version is 0, with
 * its ciphertext and the key that opens it, in the snapshot in which the
 * credential was read: what the ciphertext is bound to lies in that row.
 */
static void
find_sealed(const KsSpi *spi, Snapshot snapshot, const KsCredential *c, int32 version, KsSealed *s)
{
	static KsPlan plan = {.sql =
		"SELECT v.state, t.envelope, t.key_version, t.aad_digest, k.key_id, k.root_key, k.wrapped, k.xmin"
		" FROM keystone.credential_versions v"
		" LEFT JOIN keystone_private.ciphertext t"
		"  ON t.workspace_id = $1 AND t.credential_id = $2 AND t.version = $3"
		" LEFT JOIN keystone_private.workspace_keys k ON k.workspace_id = $1 AND k.version = t.key_version"
		" WHERE v.workspace_id = $1 AND v.credential_id = $2 AND v.version = $3"
	};
	KsArgs		args = {0};
	size_t		len;
	uint8	   *digest;
	char	   *root_key;

	memset(s, 0, sizeof(*s));
	if (version == 0)
		version = c->current_version;
	ks_arg_uuid(&args, c->workspace);
	ks_arg_uuid(&args, c->id);
	ks_arg_int(&args, true, version);
	if (ks_spi_read_at(&plan, &args, snapshot) == 0)
		return;

	s->version = version;
	s->state = ks_col_text(spi, 0, 1);
	s->envelope = ks_col_bytes(spi, 0, 2, &s->envelope_len);
	if (s->envelope == NULL)
		return;
	(void) ks_col_int(0, 3, &s->key_version);
	digest = ks_col_bytes(spi, 0, 4, &len);
	if (len == KS_DIGEST_LEN)
		memcpy(s->aad_digest, digest, KS_DIGEST_LEN);

	s->has_key = ks_col_uuid(0, 5, s->key.key_id);
	if (!s->has_key)
		return;
	memcpy(s->key.workspace, c->workspace, KS_ID_LEN);
	s->key.version = (uint32) s->key_version;
	s->key.purpose = KS_PURPOSE_WORKSPACE_KEY;
	root_key = ks_col_text(spi, 0, 6);
	if (strlcpy(s->key.root_key, root_key, sizeof(s->key.root_key)) >= sizeof(s->key.root_key))
		s->key.root_key[0] = '\0';	/* no keyring has an empty id */
	s->key.wrapped = ks_col_bytes(spi, 0, 7, &s->key.wrapped_len);
	s->key.uncommitted = ks_col_own_xmin(0, 8);
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

/* Runs a plan that selects the columns above; both reads see one snapshot. */
static bool
find(KsPlan *plan, KsArgs *args, KsSpi *spi, int32 version, KsCredential *credential, KsSealed *sealed)
{
	Snapshot	snapshot = ks_spi_take_snapshot();
	uint64		rows = ks_spi_read_at(plan, args, snapshot);

	for (uint64 i = 0; i < rows; i++)
	{
		KsCredential row;

		read_credential(spi, i, &row);
		if (i == 0 || is_preferred(&row, credential, version))
			*credential = row;
	}
	if (rows > 0 && sealed != NULL)
		find_sealed(spi, snapshot, credential, version, sealed);
	ks_spi_drop_snapshot(snapshot);
	return rows > 0;
}

bool
ks_store_find(const KsName *name, int32 version, KsCredential *credential, KsSealed *sealed)
{
	static KsPlan plan = {.sql =
		"SELECT " CREDENTIAL_COLUMNS " FROM keystone_private.credentials c"
		" WHERE c.workspace_id = $1 AND c.environment = $2 AND c.folded_name = $3 AND c.deleted_at IS NULL"
		" AND ((c.owner = $4 AND $5) OR (c.owner IS NULL AND $6))"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, name->workspace);
	ks_arg_text(&args, name->environment);
	ks_arg_text(&args, name->folded_name);
	ks_arg_uuid(&args, name->owner);
	ks_arg_bool(&args, true, name->own);
	ks_arg_bool(&args, true, name->shared);
	found = find(&plan, &args, &spi, version, credential, sealed);
	ks_spi_end(&spi);
	return found;
}

bool
ks_store_find_id(const uint8 id[KS_ID_LEN], int32 version, KsCredential *credential, KsSealed *sealed)
{
	static KsPlan plan = {.sql =
		"SELECT " CREDENTIAL_COLUMNS " FROM keystone_private.credentials c WHERE c.id = $1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, id);
	found = find(&plan, &args, &spi, version, credential, sealed);
	ks_spi_end(&spi);
	return found;
}

bool
ks_store_lock(KsCredential *credential)
{
	static KsPlan plan = {.sql =
		"SELECT " CREDENTIAL_COLUMNS " FROM keystone_private.credentials c"
		" WHERE c.workspace_id = $1 AND c.id = $2 FOR NO KEY UPDATE"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	found = ks_spi_write(&plan, &args) == 1;
	if (found)
		read_credential(&spi, 0, credential);
	ks_spi_end(&spi);
	return found;
}

int
ks_store_list(const uint8 workspace[KS_ID_LEN], const char *environment, const uint8 *owner,
			  uint8 (**ids)[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT id FROM (SELECT DISTINCT ON (c.folded_name) c.id, c.folded_name"
		" FROM keystone_private.credentials c"
		" WHERE c.workspace_id = $1 AND c.environment = $2 AND c.deleted_at IS NULL"
		" AND c.current_version IS NOT NULL AND (c.owner IS NULL OR c.owner = $3)"
		" ORDER BY c.folded_name, c.owner NULLS LAST) x ORDER BY folded_name COLLATE \"C\""
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, environment);
	ks_arg_uuid(&args, owner);
	n = (int) ks_spi_read(&plan, &args);
	*ids = MemoryContextAlloc(spi.caller, Max(n, 1) * KS_ID_LEN);
	for (int i = 0; i < n; i++)
		(void) ks_col_uuid(i, 1, (*ids)[i]);
	ks_spi_end(&spi);
	return n;
}

bool
ks_store_resolve(const uint8 workspace[KS_ID_LEN], const char *environment, const char *provider,
				 const char *kind, const uint8 *owner, KsCredential *credential)
{
	static KsPlan plan = {.sql =
		"SELECT " CREDENTIAL_COLUMNS " FROM keystone_private.credentials c"
		" WHERE c.workspace_id = $1 AND c.environment = $2 AND c.deleted_at IS NULL"
		" AND c.provider = $3 AND ($4 IS NULL OR c.kind = $4)"
		" AND (c.owner IS NULL OR c.owner = $5)"
		" AND c.is_active AND c.current_version IS NOT NULL"
		" AND (c.expires_at IS NULL OR c.expires_at > clock_timestamp())"
		" ORDER BY c.owner NULLS LAST, c.last_rotated_at DESC, c.id LIMIT 1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, environment);
	ks_arg_text(&args, provider);
	ks_arg_text(&args, kind);
	ks_arg_uuid(&args, owner);
	found = find(&plan, &args, &spi, 0, credential, NULL);
	ks_spi_end(&spi);
	return found;
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
