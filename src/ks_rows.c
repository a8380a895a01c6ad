/*-------------------------------------------------------------------------
 *
 * ks_rows.c
 *	  Rows that give rights: reading them, and the HMAC that each carries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "ks_keyring.h"
#include "ks_rows.h"

#define MAC_INPUT_MAX		1024

static const struct
{
	const char *name;
	uint32		bit;
}			permissions[] = {
	{"view", KS_PERM_VIEW}, {"reveal", KS_PERM_REVEAL}, {"store", KS_PERM_STORE},
	{"rotate", KS_PERM_ROTATE}, {"approve", KS_PERM_APPROVE}, {"audit", KS_PERM_AUDIT},
	{"policy", KS_PERM_POLICY}, {"workspace", KS_PERM_WORKSPACE}, {"billing", KS_PERM_BILLING},
	{"member", KS_PERM_MEMBER},
};

uint32
ks_permission_bit(const char *name)
{
	for (size_t i = 0; i < lengthof(permissions); i++)
	{
		if (strcmp(permissions[i].name, name) == 0)
			return permissions[i].bit;
	}
	return 0;
}

/* The bits of an array of permission names; unknown names are no bits. */
static uint32
permissions_of_array(Datum array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	uint32		bits = 0;

	if (array == (Datum) 0)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			bits |= ks_permission_bit(TextDatumGetCString(elements[i]));
	}
	return bits & ~KS_PERM_MEMBER;
}

void
ks_arg_permissions(KsArgs *args, uint32 bits)
{
	Datum		elements[lengthof(permissions)];
	int			n = 0;

	for (size_t i = 0; i < lengthof(permissions); i++)
	{
		if (bits & permissions[i].bit)
			elements[n++] = CStringGetTextDatum(permissions[i].name);
	}
	ks_arg_datum(args, true, TEXTARRAYOID,
				 PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT)));
}

/* MAC input: the table's purpose, then the columns that matter. */

static void
time_field(KsFields *f, bool present, TimestampTz time)
{
	if (present)
		ks_fields_i64(f, time);
	else
		ks_fields_absent(f);
}

static void
principal_fields(KsFields *f, uint8 *buf, const KsPrincipalRow *p)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row principal v1");
	ks_fields_uuid(f, p->id);
	ks_fields_text(f, p->kind);
	ks_fields_text(f, p->db_role);
	time_field(f, p->disabled, p->disabled_at);
}

static void
workspace_fields(KsFields *f, uint8 *buf, const KsWorkspaceRow *w)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row workspace v1");
	ks_fields_uuid(f, w->id);
	ks_fields_text(f, w->slug);
	ks_fields_text(f, w->status);
	ks_fields_uuid(f, w->personal ? w->personal_of : NULL);
	ks_fields_i64(f, w->updated_at);
}

/* Extra permissions enter as bits, so their order in the array is free. */
static void
member_fields(KsFields *f, uint8 *buf, const KsMemberRow *m)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row member v1");
	ks_fields_uuid(f, m->workspace);
	ks_fields_uuid(f, m->principal);
	ks_fields_text(f, m->role);
	ks_fields_u32(f, m->extra_permissions);
	ks_fields_i64(f, m->updated_at);
	time_field(f, m->removed, m->removed_at);
}

static void
grant_fields(KsFields *f, uint8 *buf, const KsGrantRow *g)
{
	ks_fields_begin(f, buf, MAC_INPUT_MAX, "keystone row profile grant v1");
	ks_fields_text(f, g->role);
	ks_fields_text(f, g->profile);
	ks_fields_i64(f, g->granted_at);
	time_field(f, g->revoked, g->revoked_at);
}

/* Whether the HMAC in a column is that of the fields. */
static bool
mac_is_valid(const KsSpi *spi, uint64 row, int column, const KsFields *fields)
{
	uint8		expected[KS_DIGEST_LEN];
	size_t		len;
	uint8	   *mac = ks_col_bytes(spi, row, column, &len);

	if (fields->full || mac == NULL || len != KS_DIGEST_LEN || !ks_keyring_has_mac_key())
		return false;
	ks_keyring_row_mac(fields, expected);
	return ks_equal(mac, expected, KS_DIGEST_LEN);
}

static void
add_mac(KsArgs *args, const KsFields *fields)
{
	uint8		mac[KS_DIGEST_LEN];

	ks_keyring_row_mac(fields, mac);
	ks_arg_bytes(args, mac, KS_DIGEST_LEN);
}

bool
ks_principal_read(const KsSpi *spi, uint64 row, int first, KsPrincipalRow *principal)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(principal, 0, sizeof(*principal));
	(void) ks_col_uuid(row, first, principal->id);
	principal->kind = ks_col_text(spi, row, first + 1);
	principal->db_role = ks_col_text(spi, row, first + 2);
	principal->disabled = ks_col_time(row, first + 3, &principal->disabled_at);
	principal_fields(&fields, buf, principal);
	return mac_is_valid(spi, row, first + 4, &fields);
}

bool
ks_workspace_read(const KsSpi *spi, uint64 row, int first, KsWorkspaceRow *workspace)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(workspace, 0, sizeof(*workspace));
	(void) ks_col_uuid(row, first, workspace->id);
	workspace->slug = ks_col_text(spi, row, first + 1);
	workspace->status = ks_col_text(spi, row, first + 2);
	workspace->personal = ks_col_uuid(row, first + 3, workspace->personal_of);
	(void) ks_col_time(row, first + 4, &workspace->updated_at);
	workspace_fields(&fields, buf, workspace);
	return mac_is_valid(spi, row, first + 5, &fields);
}

bool
ks_member_read(const KsSpi *spi, uint64 row, int first, KsMemberRow *member)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(member, 0, sizeof(*member));
	(void) ks_col_uuid(row, first, member->workspace);
	(void) ks_col_uuid(row, first + 1, member->principal);
	member->role = ks_col_text(spi, row, first + 2);
	member->extra_permissions = permissions_of_array(ks_col_array(spi, row, first + 3));
	(void) ks_col_time(row, first + 4, &member->updated_at);
	member->removed = ks_col_time(row, first + 5, &member->removed_at);
	member_fields(&fields, buf, member);
	return mac_is_valid(spi, row, first + 6, &fields);
}

bool
ks_grant_read(const KsSpi *spi, uint64 row, int first, KsGrantRow *grant)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	memset(grant, 0, sizeof(*grant));
	grant->role = ks_col_text(spi, row, first);
	grant->profile = ks_col_text(spi, row, first + 1);
	(void) ks_col_time(row, first + 2, &grant->granted_at);
	grant->revoked = ks_col_time(row, first + 3, &grant->revoked_at);
	grant_fields(&fields, buf, grant);
	return mac_is_valid(spi, row, first + 4, &fields);
}

void
ks_principal_add_mac(KsArgs *args, const KsPrincipalRow *principal)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	principal_fields(&fields, buf, principal);
	add_mac(args, &fields);
}

void
ks_workspace_add_mac(KsArgs *args, const KsWorkspaceRow *workspace)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	workspace_fields(&fields, buf, workspace);
	add_mac(args, &fields);
}

void
ks_member_add_mac(KsArgs *args, const KsMemberRow *member)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	member_fields(&fields, buf, member);
	add_mac(args, &fields);
}

void
ks_grant_add_mac(KsArgs *args, const KsGrantRow *grant)
{
	uint8		buf[MAC_INPUT_MAX];
	KsFields	fields;

	grant_fields(&fields, buf, grant);
	add_mac(args, &fields);
}

/* Health */

static bool
principal_is_valid(const KsSpi *spi, uint64 row)
{
	KsPrincipalRow principal;

	return ks_principal_read(spi, row, 1, &principal);
}

static bool
workspace_is_valid(const KsSpi *spi, uint64 row)
{
	KsWorkspaceRow workspace;

	return ks_workspace_read(spi, row, 1, &workspace);
}

static bool
member_is_valid(const KsSpi *spi, uint64 row)
{
	KsMemberRow member;

	return ks_member_read(spi, row, 1, &member);
}

static bool
grant_is_valid(const KsSpi *spi, uint64 row)
{
	KsGrantRow	grant;

	return ks_grant_read(spi, row, 1, &grant);
}

static int64
count_forged(KsPlan *plan, bool (*is_valid) (const KsSpi *spi, uint64 row))
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "keystone health",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	int64		forged = 0;

	ks_spi_begin(&spi);
	rows = ks_spi_read(plan, &args);
	for (uint64 i = 0; i < rows; i++)
	{
		if (!is_valid(&spi, i))
			forged++;
		CHECK_FOR_INTERRUPTS();
	}
	ks_spi_end(&spi);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	return forged;
}

int64
ks_rows_count_forged(void)
{
	static KsPlan principals = {.sql = "SELECT " KS_PRINCIPAL_COLUMNS " FROM keystone.principals p"};
	static KsPlan workspaces = {.sql = "SELECT " KS_WORKSPACE_COLUMNS " FROM keystone.workspaces w"};
	static KsPlan members = {.sql = "SELECT " KS_MEMBER_COLUMNS " FROM keystone.members m"};
	static KsPlan grants = {.sql = "SELECT " KS_GRANT_COLUMNS " FROM keystone_private.profile_grants g"};

	return count_forged(&principals, principal_is_valid) +
		count_forged(&workspaces, workspace_is_valid) +
		count_forged(&members, member_is_valid) +
		count_forged(&grants, grant_is_valid);
}
