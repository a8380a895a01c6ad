/*-------------------------------------------------------------------------
 *
 * ks_rowdigest.c
 *	  Rows of Keystone's tables as the audit log remembers them: a key and a
 *	  digest each.
 *
 * The encoding depends on nothing but the row: not on the order of columns,
 * the machine, or a session's settings, so that a row that was dumped and
 * restored has the digest that it had.  No function of a type runs: a table
 * may have been altered by somebody else.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ks_crypto.h"
#include "ks_error.h"
#include "ks_note.h"
#include "ks_rowdigest.h"

#define KEY_PREFIX		"keystone.row.key.v1"	/* with its NUL */
#define DIGEST_PREFIX	"keystone.row.v1"	/* with its NUL */
#define NULL_ELEMENT	PG_UINT32_MAX

/*
 * No digest covers the hint: it is guessable, and a digest of a row of which
 * all else is known would tell it.  Keys count as the database's: entries of
 * a rotated root key are about those of many workspaces.
 */
static const KsRowTable tables[] = {
	{1, "keystone_private", "credentials", {"workspace_id", "id"}, "workspace_id", "id", "hint"},
	{2, "keystone", "credential_versions", {"workspace_id", "credential_id", "version"}, "workspace_id", "credential_id", NULL},
	{3, "keystone_private", "ciphertext", {"workspace_id", "credential_id", "version"}, "workspace_id", "credential_id", NULL},
	{4, "keystone", "principals", {"id"}, NULL, NULL, NULL},
	{5, "keystone_private", "external_ids", {"principal_id"}, NULL, NULL, NULL},
	{6, "keystone", "workspaces", {"id"}, "id", NULL, NULL},
	{7, "keystone", "members", {"workspace_id", "principal_id"}, "workspace_id", NULL, NULL},
	{8, "keystone_private", "profile_grants", {"role_name", "profile"}, NULL, NULL, NULL},
	{9, "keystone_private", "api_keys", {"workspace_id", "id"}, "workspace_id", NULL, NULL},
	{10, "keystone_private", "api_key_secrets", {"workspace_id", "prefix"}, "workspace_id", NULL, NULL},
	{11, "keystone", "invitations", {"workspace_id", "id"}, "workspace_id", NULL, NULL},
	{12, "keystone", "credential_shares", {"workspace_id", "credential_id", "grantee"}, "workspace_id", "credential_id", NULL},
	{13, "keystone_private", "limits", {"workspace_id", "name"}, "workspace_id", NULL, NULL},
	{14, "keystone", "budgets", {"workspace_id", "period"}, "workspace_id", NULL, NULL},
	{15, "keystone_private", "provider_definitions", {"name"}, NULL, NULL, NULL},
	{16, "keystone", "provider_configs", {"workspace_id", "provider"}, "workspace_id", NULL, NULL},
	{17, "keystone_private", "workspace_keys", {"workspace_id", "version"}, NULL, NULL, NULL},
	{18, "keystone_private", "system_keys", {"purpose", "version"}, NULL, NULL, NULL},
	{19, "keystone_private", "root_keys", {"id"}, NULL, NULL, NULL},
	{20, "keystone_private", "policies", {"workspace_id", "id"}, "workspace_id", NULL, NULL},
	{21, "keystone", "approval_requests", {"workspace_id", "id"}, "workspace_id", NULL, NULL},
	{22, "keystone", "approval_votes", {"workspace_id", "request_id", "voter"}, "workspace_id", NULL, NULL},
	{23, "keystone_private", "previews", {"workspace_id", "credential_id", "id"}, "workspace_id", "credential_id", NULL},
	{24, "keystone_private", "provider_prices", {"provider", "valid_from"}, NULL, NULL, NULL},
};

const KsRowTable *
ks_row_tables(int *n)
{
	*n = lengthof(tables);
	return tables;
}

const KsRowTable *
ks_row_table(const char *name)
{
	for (size_t i = 0; i < lengthof(tables); i++)
	{
		if (strcmp(tables[i].name, name) == 0)
			return &tables[i];
	}
	return NULL;
}

const KsRowTable *
ks_row_table_of(uint8 code)
{
	for (size_t i = 0; i < lengthof(tables); i++)
	{
		if (tables[i].code == code)
			return &tables[i];
	}
	return NULL;
}

int
ks_row_column(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return i + 1;
	}
	return 0;
}


/*-------------------------------------------------------------------------
 * Bytes of values
 *-------------------------------------------------------------------------
 */

static void
set_uint32(KsBytes *bytes, uint32 value)
{
	uint32	   *copy = palloc(sizeof(uint32));

	*copy = pg_hton32(value);
	bytes->data = copy;
	bytes->len = sizeof(uint32);
}

static void
set_int64(KsBytes *bytes, int64 value)
{
	uint64	   *copy = palloc(sizeof(uint64));

	*copy = pg_hton64((uint64) value);
	bytes->data = copy;
	bytes->len = sizeof(uint64);
}

static void
append_uint32(StringInfo to, uint32 value)
{
	uint32		bytes = pg_hton32(value);

	appendBinaryStringInfo(to, (const char *) &bytes, sizeof(bytes));
}

static void
set_array(KsBytes *bytes, ArrayType *array)
{
	StringInfoData encoded;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	initStringInfo(&encoded);
	append_uint32(&encoded, (uint32) ARR_NDIM(array));
	append_uint32(&encoded, (uint32) n);
	for (int i = 0; i < n; i++)
	{
		const text *element = nulls[i] ? NULL : DatumGetTextPP(elements[i]);

		append_uint32(&encoded, element == NULL ? NULL_ELEMENT : (uint32) VARSIZE_ANY_EXHDR(element));
		if (element != NULL)
			appendBinaryStringInfo(&encoded, VARDATA_ANY(element), VARSIZE_ANY_EXHDR(element));
	}
	bytes->data = encoded.data;
	bytes->len = encoded.len;
}

/* The image of a value of a type that no table of ours has. */
static void
set_image(KsBytes *bytes, Form_pg_attribute att, Datum value)
{
	if (att->attbyval)
		set_int64(bytes, (int64) value);
	else
	{
		bytes->data = DatumGetPointer(value);
		bytes->len = datumGetSize(value, false, att->attlen);
	}
}

static void
set_varlena(KsBytes *bytes, Form_pg_attribute att, Datum value)
{
	if (att->atttypid == JSONBOID)
	{
		Jsonb	   *jsonb = DatumGetJsonbP(value);

		bytes->data = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
		bytes->len = strlen(bytes->data);
	}
	else if (att->atttypid == TEXTARRAYOID)
		set_array(bytes, DatumGetArrayTypeP(value));
	else
	{
		struct varlena *varlena = PG_DETOAST_DATUM_PACKED(value);

		bytes->data = VARDATA_ANY(varlena);
		bytes->len = VARSIZE_ANY_EXHDR(varlena);
	}
}

static void
set_value(KsBytes *bytes, Form_pg_attribute att, Datum value)
{
	if (att->attlen == -1)
		set_varlena(bytes, att, value);
	else if (att->atttypid == UUIDOID)
	{
		bytes->data = DatumGetUUIDP(value)->data;
		bytes->len = UUID_LEN;
	}
	else if (att->atttypid == NAMEOID)
	{
		bytes->data = NameStr(*DatumGetName(value));
		bytes->len = strlen(bytes->data);
	}
	else if (att->atttypid == BOOLOID)
	{
		bytes->data = DatumGetBool(value) ? "\001" : "\000";
		bytes->len = 1;
	}
	else if (att->atttypid == INT4OID)
		set_uint32(bytes, (uint32) DatumGetInt32(value));
	else if (att->atttypid == INT8OID)
		set_int64(bytes, DatumGetInt64(value));
	else if (att->atttypid == TIMESTAMPTZOID)
		set_int64(bytes, DatumGetTimestampTz(value));
	else
		set_image(bytes, att, value);
}


/*-------------------------------------------------------------------------
 * Keys and digests
 *-------------------------------------------------------------------------
 */

static void
hash(const KsBytes *pieces, int n, uint8 digest[KS_DIGEST_LEN])
{
	if (ks_sha256_pieces(pieces, n, digest) != KS_CRYPTO_OK)
		ks_error_crypto("compute a digest");
}

static KsBytes
bytes_of(const void *data, size_t len)
{
	KsBytes		bytes = {data, len};

	return bytes;
}

/* A length and the bytes: two pieces. */
static void
add_bytes(KsBytes *pieces, int *n, const KsBytes *bytes)
{
	set_uint32(&pieces[(*n)++], (uint32) bytes->len);
	pieces[(*n)++] = *bytes;
}

void
ks_row_key(const KsRowTable *table, TupleDesc desc, HeapTuple row, uint8 key[KS_ROW_KEY_LEN])
{
	KsBytes		pieces[2 + 2 * KS_ROW_KEYS_MAX];
	uint8		digest[KS_DIGEST_LEN];
	int			n = 0;

	pieces[n++] = bytes_of(KEY_PREFIX, sizeof(KEY_PREFIX));
	pieces[n++] = bytes_of(&table->code, 1);
	for (int i = 0; table->keys[i] != NULL; i++)
	{
		int			column = ks_row_column(desc, table->keys[i]);
		KsBytes		bytes = {"", 0};
		bool		isnull = true;
		Datum		value = column > 0 ? heap_getattr(row, column, desc, &isnull) : (Datum) 0;

		if (!isnull)
			set_value(&bytes, TupleDescAttr(desc, column - 1), value);
		add_bytes(pieces, &n, &bytes);
	}
	hash(pieces, n, digest);
	memcpy(key, digest, KS_ROW_KEY_LEN);
}

/* Indexes of columns in the order of their names; returns how many. */
static int
sort_columns(const KsRowTable *table, TupleDesc desc, int *columns)
{
	int			n = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(desc, i)->attname);
		int			at = n;

		if (TupleDescAttr(desc, i)->attisdropped ||
			(table->omitted != NULL && strcmp(name, table->omitted) == 0))
			continue;
		for (; at > 0 && strcmp(NameStr(TupleDescAttr(desc, columns[at - 1])->attname), name) > 0; at--)
			columns[at] = columns[at - 1];
		columns[at] = i;
		n++;
	}
	return n;
}

void
ks_row_digest(const KsRowTable *table, TupleDesc desc, HeapTuple row, uint8 digest[KS_DIGEST_LEN])
{
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));
	int		   *columns = palloc(desc->natts * sizeof(int));
	KsBytes    *pieces = palloc((2 + 4 * (size_t) desc->natts) * sizeof(KsBytes));
	int			ncolumns = sort_columns(table, desc, columns);
	int			n = 0;

	heap_deform_tuple(row, desc, values, nulls);
	pieces[n++] = bytes_of(DIGEST_PREFIX, sizeof(DIGEST_PREFIX));
	pieces[n++] = bytes_of(&table->code, 1);
	for (int i = 0; i < ncolumns; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, columns[i]);
		KsBytes		bytes = {NameStr(att->attname), strlen(NameStr(att->attname))};

		if (nulls[columns[i]])
			continue;
		add_bytes(pieces, &n, &bytes);
		set_value(&bytes, att, values[columns[i]]);
		add_bytes(pieces, &n, &bytes);
	}
	hash(pieces, n, digest);
}

void
ks_row_change(const KsRowTable *table, TupleDesc desc, HeapTuple old, HeapTuple new, KsRowItem *item)
{
	uint8		before[KS_DIGEST_LEN];

	memset(item, 0, sizeof(*item));
	item->table = table->code;
	ks_row_key(table, desc, new != NULL ? new : old, item->key);
	if (old != NULL)
	{
		ks_row_digest(table, desc, old, before);
		memcpy(item->before, before, KS_ROW_BEFORE_LEN);
	}
	if (new != NULL)
		ks_row_digest(table, desc, new, item->after);
}


/*-------------------------------------------------------------------------
 * Items in a detail
 *-------------------------------------------------------------------------
 */

StaticAssertDecl(sizeof(KsRowItem) == KS_ROW_ITEM_LEN, "an item is its bytes");

char *
ks_row_encode(const KsRowItem *items, int n)
{
	size_t		size = (size_t) n * KS_ROW_ITEM_LEN * 4 / 3 + 8;
	char	   *encoded = palloc(size);

	if (ks_base64_encode(items, (size_t) n * KS_ROW_ITEM_LEN, encoded, size) == 0)
		elog(ERROR, "items of rows do not fit");
	return encoded;
}

int
ks_row_decode(const char *encoded, size_t len, KsRowItem *items, int max)
{
	int			got = ks_base64_decode(encoded, len, items, max * KS_ROW_ITEM_LEN);

	return got > 0 && got % KS_ROW_ITEM_LEN == 0 ? got / KS_ROW_ITEM_LEN : -1;
}
