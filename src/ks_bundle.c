/*-------------------------------------------------------------------------
 *
 * ks_bundle.c
 *	  A workspace as a bundle for another server.
 *
 * Values pass through secret buffers, one version at a time.  What must always
 * hold:
 *
 *	- a credential and its versions are read in one snapshot, so that they fit
 *	  together;
 *	- what does not open is left out and counted, never the whole refused for
 *	  it; what only cannot be opened now refuses the whole, which would
 *	  otherwise lose it silently;
 *	- what a bundle says is checked as if a caller had given it: anybody who
 *	  has the recipient's public key can make one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "ks_bundle.h"
#include "ks_guc.h"
#include "ks_keyfile.h"
#include "ks_keys.h"
#include "ks_mem.h"
#include "ks_plan.h"
#include "ks_text.h"
#include "ks_value.h"

#define EXPORT_BATCH		500 /* ids read at once */
#define KEY_FILE_BYTES_MAX	4096

static void
clear_bundle(void *bundle)
{
	ks_bundle_clear(bundle);
}

/* A bundle whose key goes with the memory context. */
static KsBundle *
make_bundle(void)
{
	KsBundle   *bundle = ks_secret_alloc(CurrentMemoryContext, sizeof(KsBundle));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	memset(bundle, 0, sizeof(*bundle));
	callback->func = clear_bundle;
	callback->arg = bundle;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return bundle;
}


/*-------------------------------------------------------------------------
 * Export
 *-------------------------------------------------------------------------
 */

typedef struct Export
{
	const KsCall *call;
	const uint8 *workspace;
	KsBundle   *bundle;
	KsBundleCounts *counts;
	StringInfoData out;			/* room for the header of a bytea, then the
								 * bundle */
	StringInfoData versions;	/* of one credential */
} Export;

/* Appends a record under a number. */
static void
append_record(Export *export, StringInfo out, uint32 number, const KsBundleRecord *record)
{
	size_t		plain_len = ks_padded_len(ks_bundle_plain_len(record));
	size_t		len = ks_bundle_record_len(record);
	uint8	   *plain = ks_secret_alloc(CurrentMemoryContext, plain_len);

	if ((size_t) export->out.len + (size_t) export->versions.len + len >= MaxAllocSize)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("the workspace is too large for a bundle"));
	enlargeStringInfo(out, (int) len);
	if (ks_bundle_write(export->bundle, number, record, plain, (uint8 *) out->data + out->len) != KS_CRYPTO_OK)
		ks_error_crypto("encrypt");
	out->len += (int) len;
	ks_secret_wipe(plain);
}

static KsBytes
bytes_of(const char *text)
{
	KsBytes		bytes = {text, text != NULL ? strlen(text) : 0};

	return bytes;
}

static void
export_workspace(Export *export)
{
	static KsPlan plan = {.sql = "SELECT slug, display_name, contact FROM keystone.workspaces WHERE id = $1"};
	KsBundleRecord record = {.kind = KS_BUNDLE_WORKSPACE};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, export->workspace);
	if (ks_spi_read(&plan, &args) != 1)
		ks_error_not_found(NULL);
	memcpy(record.id, export->workspace, KS_ID_LEN);
	record.name = bytes_of(ks_col_text(&spi, 0, 1));
	record.display_name = bytes_of(ks_col_text(&spi, 0, 2));
	record.contact = bytes_of(ks_col_text(&spi, 0, 3));
	ks_spi_end(&spi);
	append_record(export, &export->out, ++export->bundle->number, &record);
}

static void
export_providers(Export *export)
{
	static KsPlan plan = {.sql =
		"SELECT provider, mode, config::text, enabled FROM keystone.provider_configs"
		" WHERE workspace_id = $1 ORDER BY provider"
	};
	KsBundleRecord *records;
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, export->workspace);
	n = (int) ks_spi_read(&plan, &args);
	records = MemoryContextAllocZero(spi.caller, Max(n, 1) * sizeof(KsBundleRecord));
	for (int i = 0; i < n; i++)
	{
		records[i].kind = KS_BUNDLE_PROVIDER;
		records[i].name = bytes_of(ks_col_text(&spi, i, 1));
		records[i].mode = bytes_of(ks_col_text(&spi, i, 2));
		records[i].json = bytes_of(ks_col_text(&spi, i, 3));
		records[i].enabled = ks_col_bool(i, 4);
	}
	ks_spi_end(&spi);
	for (int i = 0; i < n; i++)
		append_record(export, &export->out, ++export->bundle->number, &records[i]);
	export->counts->providers = (uint32) n;
}

/*
 * Whether a version opens.  What is lost for good is left out and named in the
 * server log; what is not refuses the whole bundle.
 */
static bool
open_version(Export *export, const KsCredential *credential, const KsSealed *sealed, KsValue *value)
{
	KsProblem	problem = {0};
	char		word[37];

	if (ks_vault_open(credential, sealed, value, &problem))
		return true;
	if (problem.sqlstate != ERRCODE_DATA_CORRUPTED && !problem.shredded)
		ks_vault_raise(&problem);
	ks_text_from_uuid(credential->id, word);
	ereport(LOG,
			errcode(problem.sqlstate),
			errmsg("version %d of credential %s is not in the bundle: %s", sealed->version, word, problem.reason),
			errhidestmt(true));
	export->counts->damaged++;
	return false;
}

/* Appends one version to those of its credential, which has this number. */
static bool
export_version(Export *export, const KsCredential *credential, const KsSealed *sealed, uint32 number)
{
	KsBundleRecord record = {.kind = KS_BUNDLE_VERSION};
	KsValue		value;

	if (sealed->version == 0 || strcmp(sealed->state, "destroyed") == 0 ||
		!open_version(export, credential, sealed, &value))
		return false;
	record.version = (uint32) sealed->version;
	record.state = bytes_of(sealed->state);
	record.value.data = value.data;
	record.value.len = value.len;
	append_record(export, &export->versions, number, &record);
	ks_secret_wipe(value.data);
	return true;
}

/* Appends a credential in front of its versions. */
static void
append_credential(Export *export, const KsCredential *credential, KsBundleRecord *record)
{
	StringInfoData json;
	Datum	   *tags;

	record->kind = KS_BUNDLE_CREDENTIAL;
	record->name = bytes_of(credential->name);
	record->environment = bytes_of(credential->environment);
	record->personal = credential->personal;
	record->provider = bytes_of(credential->provider);
	record->type = bytes_of(credential->kind);
	record->description = bytes_of(credential->description);
	initStringInfo(&json);
	(void) JsonbToCString(&json, &credential->metadata->root, VARSIZE(credential->metadata));
	record->json.data = json.data;
	record->json.len = (size_t) json.len;
	record->has_expiry = credential->has_expiry;
	record->expires_at = credential->expires_at;
	record->enabled = credential->is_active;
	record->n_tags = (uint32) ks_arg_get_array(credential->tags, TEXTOID, "tags", &tags);
	if (record->n_tags > KS_BUNDLE_TAGS_MAX)
		record->n_tags = KS_BUNDLE_TAGS_MAX;	/* the row was edited */
	for (uint32 i = 0; i < record->n_tags; i++)
		record->tags[i] = bytes_of(TextDatumGetCString(tags[i]));
	append_record(export, &export->out, export->bundle->number + 1, record);
	appendBinaryStringInfo(&export->out, export->versions.data, export->versions.len);
	export->bundle->number += 1 + record->n_versions;
	export->counts->credentials++;
	export->counts->versions += record->n_versions;
}

/*
 * The versions come first, though they follow their credential, which says how
 * many of them open.
 */
static void
export_credential(Export *export, const uint8 id[KS_ID_LEN])
{
	KsBundleRecord *record = palloc0(sizeof(KsBundleRecord));
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone export of a version",
											   ALLOCSET_DEFAULT_SIZES);
	KsCredential credential;
	KsSeek		seek;
	int32	   *versions;
	int			n;

	if (ks_store_seek_id(&seek, id, &credential) && !credential.deleted)
	{
		n = ks_store_versions(&credential, &versions);
		resetStringInfo(&export->versions);
		for (int i = 0; i < n; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(work);
			KsSealed	sealed;

			ks_store_load(&seek, versions[i], &credential, &sealed);
			if (export_version(export, &credential, &sealed, export->bundle->number + 2 + record->n_versions))
			{
				record->n_versions++;
				record->last = (uint32) sealed.version;
				if (sealed.version == credential.current_version)
					record->current = record->last;
			}
			MemoryContextSwitchTo(old);
			/* what was loaded last is needed for the credential's own record */
			if (i + 1 < n)
				MemoryContextReset(work);
			CHECK_FOR_INTERRUPTS();
		}
		if (record->n_versions > 0)
			append_credential(export, &credential, record);
		resetStringInfo(&export->versions);
	}
	ks_store_end_seek(&seek);
}

/* The next credentials that belong into the bundle, after an id. */
static int
list_credentials(const Export *export, uint8 after[KS_ID_LEN], uint8 (*ids)[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT id FROM keystone_private.credentials WHERE workspace_id = $1 AND id > $2"
		" AND deleted_at IS NULL AND (owner IS NULL OR owner = $3) ORDER BY id LIMIT $4"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, export->workspace);
	ks_arg_uuid(&args, after);
	ks_arg_uuid(&args, export->call->actor.principal);
	ks_arg_bigint(&args, true, EXPORT_BATCH);
	n = (int) ks_spi_read(&plan, &args);
	for (int i = 0; i < n; i++)
		(void) ks_col_uuid(i, 1, ids[i]);
	ks_spi_end(&spi);
	if (n > 0)
		memcpy(after, ids[n - 1], KS_ID_LEN);
	return n;
}

static void
export_credentials(Export *export)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone export", ALLOCSET_DEFAULT_SIZES);
	uint8		(*ids)[KS_ID_LEN] = palloc(EXPORT_BATCH * KS_ID_LEN);
	uint8		after[KS_ID_LEN] = {0};
	int			n;

	while ((n = list_credentials(export, after, ids)) > 0)
	{
		for (int i = 0; i < n; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(work);

			export_credential(export, ids[i]);
			MemoryContextSwitchTo(old);
			MemoryContextReset(work);
		}
	}
	MemoryContextDelete(work);
}

static void
count_left_out(const Export *export)
{
	static KsPlan plan = {.sql =
		"SELECT count(*) FILTER (WHERE deleted_at IS NULL AND owner <> $2),"
		" count(*) FILTER (WHERE deleted_at IS NOT NULL AND destroyed_at IS NULL)"
		" FROM keystone_private.credentials WHERE workspace_id = $1"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, export->workspace);
	ks_arg_uuid(&args, export->call->actor.principal);
	(void) ks_spi_read(&plan, &args);
	(void) ks_col_bigint(0, 1, &export->counts->others);
	(void) ks_col_bigint(0, 2, &export->counts->deleted);
	ks_spi_end(&spi);
}

bytea *
ks_bundle_export(const KsCall *call, const uint8 workspace[KS_ID_LEN],
				 const uint8 recipient[KS_X25519_LEN], KsBundleCounts *counts)
{
	Export		export = {.call = call, .workspace = workspace, .counts = counts};
	KsBundleRecord end = {.kind = KS_BUNDLE_END};

	memset(counts, 0, sizeof(*counts));
	export.bundle = make_bundle();
	switch (ks_bundle_begin(export.bundle, recipient))
	{
		case KS_CRYPTO_OK:
			break;
		case KS_CRYPTO_FORGED:
			ks_error_invalid("recipient", "an X25519 public key", NULL);
		default:
			ks_error_crypto("derive a key");
	}
	initStringInfo(&export.out);
	initStringInfo(&export.versions);
	appendStringInfoSpaces(&export.out, VARHDRSZ);
	appendBinaryStringInfo(&export.out, (char *) export.bundle->header, KS_BUNDLE_HEADER_LEN);

	export_workspace(&export);
	export_providers(&export);
	export_credentials(&export);
	count_left_out(&export);
	end.n_providers = counts->providers;
	end.n_credentials = counts->credentials;
	end.n_versions = counts->versions;
	append_record(&export, &export.out, ++export.bundle->number, &end);
	ks_bundle_clear(export.bundle);
	SET_VARSIZE(export.out.data, export.out.len);
	return (bytea *) export.out.data;
}


/*-------------------------------------------------------------------------
 * The private key
 *-------------------------------------------------------------------------
 */

/* What is wrong with the text of a key, or NULL. */
static const char *
parse_private_key(char *text, size_t len, uint8 private_key[KS_X25519_LEN])
{
	size_t		end = len;

	if (len == KS_X25519_LEN)
	{
		memcpy(private_key, text, KS_X25519_LEN);
		return NULL;
	}
	while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r'))
		end--;
	if (end == 2 * KS_X25519_LEN && strspn(text, "0123456789abcdefABCDEF") == end)
	{
		(void) hex_decode(text, end, (char *) private_key);
		return NULL;
	}
	return ks_x25519_from_pem(text, len, private_key) == KS_CRYPTO_OK ? NULL :
		"has no X25519 private key, which is 32 bytes, 64 hexadecimal digits or PEM";
}

static void
read_private_key(uint8 private_key[KS_X25519_LEN])
{
	char	   *text = ks_secret_alloc(CurrentMemoryContext, KEY_FILE_BYTES_MAX + 1);
	size_t		len = 0;
	const char *problem = "is not set";

	if (ks_import_key_file[0] != '\0')
		problem = ks_keyfile_read(ks_import_key_file, text, KEY_FILE_BYTES_MAX, &len);
	text[len] = '\0';
	if (problem == NULL && len == KEY_FILE_BYTES_MAX)
		problem = "is too long for a key";
	if (problem == NULL)
		problem = parse_private_key(text, len, private_key);
	ks_secret_wipe(text);
	if (problem != NULL)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("the private key for bundles cannot be read"),
				errdetail_log("keystone.import_key_file %s.", problem),
				errhint("An administrator sets keystone.import_key_file; the server log says what is wrong with it."));
}

KS_NORETURN static void refuse_bundle(const char *hint) KS_NORETURN_END;

static void
refuse_bundle(const char *hint)
{
	ks_error_invalid("bundle", "a bundle for the key in keystone.import_key_file, complete and unchanged", hint);
}

KsBundle *
ks_bundle_open(const uint8 *data, size_t len)
{
	KsBundle   *bundle = make_bundle();
	uint8	   *private_key = ks_secret_alloc(CurrentMemoryContext, KS_X25519_LEN);
	KsCryptoResult result;

	read_private_key(private_key);
	result = ks_bundle_begin_read(bundle, data, len, private_key);
	ks_secret_wipe(private_key);
	if (result == KS_CRYPTO_FORGED)
		refuse_bundle("It may be for another recipient, whose public key stands in bytes 13 to 44 of it.");
	if (result != KS_CRYPTO_OK)
		ks_error_crypto("derive a key");
	return bundle;
}


/*-------------------------------------------------------------------------
 * Import
 *-------------------------------------------------------------------------
 */

typedef struct Import
{
	KsVerb	   *verb;
	KsBundle   *bundle;
	const uint8 *data;
	size_t		len;
	size_t		at;				/* of the next record */
	uint8		workspace[KS_ID_LEN];	/* the new one */
	char		from[37];
	KsBundleCounts *counts;
} Import;

/* The next record; its bytes are wiped with the current memory context. */
static void
read_record(Import *import, KsBundleRecord *record)
{
	KsEnvelope	envelope;
	uint8	   *plain;

	if (!ks_bundle_next(import->data, import->len, &import->at, &envelope))
		refuse_bundle(NULL);
	plain = ks_secret_alloc(CurrentMemoryContext, envelope.sealed_len);
	switch (ks_bundle_open_record(import->bundle, &envelope, plain, record))
	{
		case KS_CRYPTO_OK:
			return;
		case KS_CRYPTO_FORGED:
			refuse_bundle(NULL);
		default:
			ks_error_crypto("decrypt");
	}
}

/* A text of the bundle, NULL when it is absent. */
static text *
get_text(const KsBytes *bytes)
{
	if (bytes->data == NULL)
		return NULL;
	if (bytes->len > INT_MAX || !pg_verify_mbstr(PG_UTF8, bytes->data, (int) bytes->len, true))
		refuse_bundle(NULL);
	return cstring_to_text_with_len(bytes->data, (int) bytes->len);
}

static char *
get_name(const KsBytes *bytes, int max)
{
	text	   *given = get_text(bytes);

	return given != NULL ? ks_text_name("bundle", given, max) : NULL;
}

static bool
is_text(const KsBytes *bytes, const char *word)
{
	return bytes->len == strlen(word) && memcmp(bytes->data, word, bytes->len) == 0;
}

static Jsonb *
get_json(const KsBytes *bytes)
{
	Jsonb	   *json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														  CStringGetDatum(text_to_cstring(get_text(bytes)))));

	ks_check_metadata(json);
	return json;
}

static void
import_workspace(Import *import, const char *slug, uint8 from[KS_ID_LEN])
{
	const uint8 *owner = import->verb->call.actor.principal;
	KsWorkspaceTexts texts = {0};
	KsWorkspaceRow row;
	KsBundleRecord record;

	read_record(import, &record);
	if (record.kind != KS_BUNDLE_WORKSPACE)
		refuse_bundle(NULL);
	memcpy(from, record.id, KS_ID_LEN);
	ks_text_from_uuid(from, import->from);
	if (slug == NULL)
	{
		slug = text_to_cstring(get_text(&record.name));
		ks_tenant_check_slug("slug", slug);
	}
	if (ks_random_uuid(import->workspace) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	if (!ks_tenant_add_workspace(import->workspace, slug, get_name(&record.display_name, KS_DISPLAY_NAME_MAX),
								 owner, false))
		ks_error_duplicate("the slug is taken", NULL);
	memcpy(import->verb->workspace, import->workspace, KS_ID_LEN);
	memcpy(import->verb->object, import->workspace, KS_ID_LEN);
	ks_keys_create(import->workspace);
	ks_tenant_add_platform_service(import->workspace, owner);
	texts.contact = get_name(&record.contact, KS_DISPLAY_NAME_MAX);
	texts.set_contact = texts.contact != NULL;
	if (texts.set_contact && ks_tenant_read_workspace(import->workspace, &row))
		ks_tenant_write_workspace(&row, &texts);
}

static void
import_provider(Import *import, const KsBundleRecord *record)
{
	char	   *name = get_name(&record->name, KS_PROVIDER_MAX);

	if (!is_text(&record->mode, "hosted"))
		refuse_bundle(NULL);
	if (record->enabled)
		ks_plan_check_providers(import->workspace, name);
	ks_tenant_configure_provider(import->workspace, name, "hosted", JsonbPGetDatum(get_json(&record->json)),
								 record->enabled, import->verb->call.actor.principal);
	import->counts->providers++;
}

/* A credential as its record has it, without versions. */
static void
get_credential(const Import *import, const KsBundleRecord *record, KsCredential *credential)
{
	text	   *description = get_text(&record->description);
	Datum		tags[KS_BUNDLE_TAGS_MAX];

	memset(credential, 0, sizeof(*credential));
	memcpy(credential->workspace, import->workspace, KS_ID_LEN);
	if (ks_random_uuid(credential->id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	credential->name = get_name(&record->name, KS_NAME_MAX);
	credential->folded_name = ks_text_fold(credential->name);
	credential->environment = get_name(&record->environment, KS_ENVIRONMENT_MAX);
	credential->personal = record->personal;
	memcpy(credential->owner, import->verb->call.actor.principal, KS_ID_LEN);
	credential->provider = get_name(&record->provider, KS_PROVIDER_MAX);
	credential->kind = get_name(&record->type, KS_KIND_MAX);
	if (description != NULL)
		credential->description = ks_text_free("bundle", description, KS_DESCRIPTION_MAX);
	for (uint32 i = 0; i < record->n_tags; i++)
		tags[i] = PointerGetDatum(get_text(&record->tags[i]));
	credential->tags = PointerGetDatum(construct_array(tags, (int) record->n_tags, TEXTOID, -1, false, TYPALIGN_INT));
	ks_check_tags(credential->tags);
	credential->metadata = get_json(&record->json);
	credential->has_expiry = record->has_expiry;
	credential->expires_at = record->expires_at;
	credential->is_active = true;
	if (record->has_expiry && !TIMESTAMP_NOT_FINITE(record->expires_at) && !IS_VALID_TIMESTAMP(record->expires_at))
		refuse_bundle(NULL);
}

/* Versions of a credential that is being imported. */
typedef struct Versions
{
	uint32		last;			/* the number of the one read last */
	bool		current;		/* the current one was among them */
	bool		last_is_pending;
	char	   *hint;
	List	   *previous;		/* numbers of those that were current once */
} Versions;

/* Seals one version, pending for now. */
static void
import_version(Import *import, KsCredential *credential, const KsBundleRecord *of, Versions *versions,
			   MemoryContext work)
{
	MemoryContext old;
	KsBundleRecord record;
	KsValue		value;

	old = MemoryContextSwitchTo(work);
	read_record(import, &record);
	if (record.kind != KS_BUNDLE_VERSION || record.version <= versions->last || record.version > of->last ||
		is_text(&record.state, "current") != (record.version == of->current))
		refuse_bundle(NULL);
	value.data = (char *) record.value.data;
	value.len = record.value.len;
	if (value.len == 0 || value.len > (size_t) ks_max_value_size)
		ks_error_invalid("bundle", psprintf("one with values of 1 to %d bytes", ks_max_value_size),
						 "keystone.max_value_size sets how long a value may be.");
	if (!pg_verify_mbstr(PG_UTF8, value.data, (int) value.len, true))
		refuse_bundle(NULL);
	credential->last_version = (int32) record.version - 1;
	(void) ks_vault_put(credential, &value, false, 0, import->verb->call.actor.principal);
	versions->last = record.version;
	versions->last_is_pending = is_text(&record.state, "pending");
	MemoryContextSwitchTo(old);
	if (record.version == of->current)
	{
		versions->current = true;
		versions->hint = ks_hints ? ks_value_hint(credential->kind, value.data, value.len) : NULL;
	}
	else if (is_text(&record.state, "previous"))
		versions->previous = lappend_int(versions->previous, (int) record.version);
	else if (!versions->last_is_pending)
		refuse_bundle(NULL);
	MemoryContextReset(work);
}

/*
 * Puts the states back: each that was current becomes it again, in order.
 * Where the current one is missing, since it did not open, all stay pending.
 */
static void
restore_states(KsCredential *credential, const KsBundleRecord *record, const Versions *versions)
{
	ListCell   *cell;

	if (versions->current)
	{
		foreach(cell, versions->previous)
		{
			ks_store_set_current(credential, lfirst_int(cell));
		}
		credential->hint = versions->hint;
		credential->current_version = (int32) record->current;
		ks_store_set_current(credential, credential->current_version);
	}
	if (!record->enabled)
		ks_store_set_active(credential, false);
}

static void
import_credential(Import *import, const KsBundleRecord *record)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone import of a version",
											   ALLOCSET_DEFAULT_SIZES);
	KsVerb	   *verb = import->verb;
	KsAction	action = verb->action;
	Versions	versions = {0};
	KsCredential credential;

	if (record->last == 0 || record->last > PG_INT32_MAX || record->n_versions == 0)
		refuse_bundle(NULL);
	get_credential(import, record, &credential);
	verb->action = KS_ACTION_CREDENTIAL_CREATE;
	ks_change_begin(verb);
	if (!ks_store_insert(&credential, verb->call.actor.principal))
		refuse_bundle(NULL);
	for (uint32 i = 0; i < record->n_versions; i++)
	{
		import_version(import, &credential, record, &versions, work);
		CHECK_FOR_INTERRUPTS();
	}
	if (versions.last != record->last || versions.current != (record->current != 0))
		refuse_bundle(NULL);
	restore_states(&credential, record, &versions);
	if (versions.last_is_pending || !versions.current)
		ks_detail_add(&verb->detail, "state", "pending");
	ks_detail_add(&verb->detail, "imported_from", import->from);
	ks_change_end(verb, &credential, (int32) record->last);
	verb->action = action;
	import->counts->credentials++;
	import->counts->versions += record->n_versions;
	MemoryContextDelete(work);
}

/* One record after the first; false at the end. */
static bool
import_record(Import *import)
{
	KsBundleRecord *record = palloc(sizeof(KsBundleRecord));

	read_record(import, record);
	switch (record->kind)
	{
		case KS_BUNDLE_PROVIDER:
			import_provider(import, record);
			return true;
		case KS_BUNDLE_CREDENTIAL:
			import_credential(import, record);
			return true;
		case KS_BUNDLE_END:
			if (import->at != import->len || record->n_providers != import->counts->providers ||
				record->n_credentials != import->counts->credentials ||
				record->n_versions != import->counts->versions)
				refuse_bundle(NULL);
			return false;
		default:
			refuse_bundle(NULL);
	}
}

void
ks_bundle_import(KsVerb *verb, KsBundle *bundle, const uint8 *data, size_t len, const char *slug,
				 uint8 from[KS_ID_LEN], KsBundleCounts *counts)
{
	Import		import = {.verb = verb, .bundle = bundle, .data = data, .len = len,
	.at = KS_BUNDLE_HEADER_LEN, .counts = counts};
	MemoryContext work;
	bool		more = true;

	memset(counts, 0, sizeof(*counts));
	import_workspace(&import, slug, from);
	work = AllocSetContextCreate(CurrentMemoryContext, "keystone import", ALLOCSET_DEFAULT_SIZES);
	while (more)
	{
		MemoryContext old = MemoryContextSwitchTo(work);

		more = import_record(&import);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(work);
	ks_bundle_clear(bundle);
}
