/*-------------------------------------------------------------------------
 *
 * ks_tenant.c
 *	  The tables of tenancy: principals, workspaces, members, profiles,
 *	  providers.
 *
 * Every row that gives rights is written here, with its HMAC.  Removals leave
 * tombstones.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_crypto.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_rows.h"
#include "ks_tenant.h"
#include "ks_text.h"

void
ks_tenant_check_slug(const char *parameter, const char *slug)
{
	if (!ks_text_is_slug(slug) || strncmp(slug, KS_PERSONAL_PREFIX, strlen(KS_PERSONAL_PREFIX)) == 0)
		ks_error_invalid(parameter,
						 "1 to 63 lower-case letters, digits and single hyphens between them, not shaped like a uuid, and not beginning with personal-",
						 NULL);
}

bool
ks_tenant_find_workspace(const text *workspace, uint8 id[KS_ID_LEN])
{
	static KsPlan by_slug = {.sql = "SELECT id FROM keystone.workspaces WHERE slug = $1"};
	static KsPlan by_id = {.sql = "SELECT id FROM keystone.workspaces WHERE id = $1"};
	char		slug[KS_SLUG_MAX + 1];
	bool		is_id = ks_parse_workspace(workspace, id, slug);
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	if (is_id)
		ks_arg_uuid(&args, id);
	else
		ks_arg_text(&args, slug);
	found = ks_spi_read(is_id ? &by_id : &by_slug, &args) == 1 && ks_col_uuid(0, 1, id);
	ks_spi_end(&spi);
	return found;
}

bool
ks_tenant_read_workspace(const uint8 id[KS_ID_LEN], KsWorkspaceRow *row)
{
	static KsPlan plan = {.sql = "SELECT " KS_WORKSPACE_COLUMNS " FROM keystone.workspaces w WHERE w.id = $1"};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		valid;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, id);
	valid = ks_spi_read(&plan, &args) == 1 && ks_workspace_read(&spi, 0, 1, row);
	ks_spi_end(&spi);
	return valid;
}

bool
ks_tenant_is_usable(const KsWorkspaceRow *row)
{
	return strcmp(row->status, "active") == 0 || strcmp(row->status, "trial") == 0;
}

char *
ks_tenant_display_name(const uint8 principal[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "SELECT display_name FROM keystone.principals WHERE id = $1"};
	KsArgs		args = {0};
	KsSpi		spi;
	char	   *name = NULL;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, principal);
	if (ks_spi_read(&plan, &args) == 1)
		name = ks_col_text(&spi, 0, 1);
	ks_spi_end(&spi);
	return name;
}

/* Changes. */

/* False when the id or the role is taken.  registered_by may be NULL. */
static bool
insert_principal(KsPrincipalRow *row, const char *display_name, const uint8 *registered_by)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone.principals (id, display_name, kind, db_role, disabled_at, row_mac, registered_by)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		inserted;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->id);
	ks_arg_text(&args, display_name);
	ks_arg_text(&args, row->kind);
	ks_arg_name(&args, row->db_role);
	ks_arg_time(&args, row->disabled, row->disabled_at);
	ks_principal_add_mac(&args, row);
	ks_arg_uuid(&args, registered_by);
	inserted = ks_spi_write(&plan, &args) == 1;
	ks_spi_end(&spi);
	return inserted;
}

static bool
insert_external_id(const uint8 principal[KS_ID_LEN], const char *external_id)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.external_ids (principal_id, external_id, row_mac)"
		" VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
	};
	KsExternalRow row = {.external_id = external_id};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		inserted;

	memcpy(row.principal, principal, KS_ID_LEN);
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row.principal);
	ks_arg_text(&args, row.external_id);
	ks_external_add_mac(&args, &row);
	inserted = ks_spi_write(&plan, &args) == 1;
	ks_spi_end(&spi);
	return inserted;
}

void
ks_tenant_add_principal(const KsNewPrincipal *principal)
{
	KsPrincipalRow row = {.kind = principal->kind, .db_role = principal->db_role};

	memcpy(row.id, principal->id, KS_ID_LEN);
	if (!insert_principal(&row, principal->display_name, principal->registered_by))
		ks_error_duplicate("the principal already exists, or its database role is bound to another", NULL);
	if (principal->external_id != NULL && !insert_external_id(row.id, principal->external_id))
		ks_error_duplicate("the external id belongs to another principal", NULL);
}

/*
 * The row of a principal whom a token or claims name.  A bearer who is deleted
 * meanwhile has a row when this one comes, and must not go on.
 */
static void
add_proved_principal(const KsCall *call)
{
	KsPrincipalRow row = {.kind = "user"};
	const char *name = ks_identity_display_name();
	char		word[37];

	memcpy(row.id, call->actor.principal, KS_ID_LEN);
	ks_text_from_uuid(row.id, word);
	name = name != NULL && name[0] != '\0' ? ks_escape_control(name) : psprintf("user %.8s", word);
	if (!insert_principal(&row, name, NULL) && ks_principal_state(row.id, NULL) != KS_PRINCIPAL_GOOD)
		ks_error_denied("permission denied", "The principal is disabled.");
}

/*
 * The principal of a login role that has none.  Not where an identity is
 * withheld: then the session's user did not ask.
 */
static void
add_login_principal(KsCall *call)
{
	KsPrincipalRow row = {.kind = "user"};
	const char *why;
	char	   *role;

	if (ks_identity_withheld(&why))
		ks_error_anonymous(call->actor.why != NULL ? call->actor.why : why);
	role = GetUserNameFromId(call->actor.session_role, false);
	row.db_role = role;
	if (ks_random_uuid(row.id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");

	/*
	 * It may have one by now: of another session of the same role, which is
	 * then this one's, too; or one that is worth nothing.
	 */
	if (!insert_principal(&row, role, NULL) && !ks_identity_loader.principal_of_role(role, row.id))
		ks_error_denied("permission denied", "The principal of the login role is disabled.");
	memcpy(call->actor.principal, row.id, KS_ID_LEN);
	call->actor.source = KS_SOURCE_DB_ROLE;
}

void
ks_tenant_ensure_principal(KsCall *call)
{
	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		add_login_principal(call);
	else if ((call->actor.source == KS_SOURCE_JWT || call->actor.source == KS_SOURCE_CLAIMS) &&
			 ks_principal_state(call->actor.principal, NULL) == KS_PRINCIPAL_ABSENT)
		add_proved_principal(call);
}

void
ks_tenant_refuse_api_key(const KsCall *call)
{
	if (call->actor.source == KS_SOURCE_API_KEY)
		ks_error_denied("permission denied", "An API key has no workspace of its own, and joins none.");
}

/* Reads a principal's row and locks it; its state, ABSENT when there is none. */
static KsPrincipalState
lock_principal(const uint8 principal[KS_ID_LEN], KsPrincipalRow *row)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_PRINCIPAL_COLUMNS " FROM keystone.principals p WHERE p.id = $1 FOR NO KEY UPDATE"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	KsPrincipalState state = KS_PRINCIPAL_ABSENT;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, principal);
	if (ks_spi_write(&plan, &args) == 1)
	{
		if (!ks_principal_read(&spi, 0, 1, row))
			state = KS_PRINCIPAL_FORGED;
		else
			state = row->disabled ? KS_PRINCIPAL_DISABLED : KS_PRINCIPAL_GOOD;
	}
	ks_spi_end(&spi);
	return state;
}

static void
write_disabled(KsPrincipalRow *row)
{
	static KsPlan plan = {.sql = "UPDATE keystone.principals SET disabled_at = $2, row_mac = $3 WHERE id = $1"};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->id);
	ks_arg_time(&args, row->disabled, row->disabled_at);
	ks_principal_add_mac(&args, row);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

KsPrincipalState
ks_tenant_set_disabled(const uint8 principal[KS_ID_LEN], bool disabled)
{
	KsPrincipalRow row;
	KsPrincipalState state = lock_principal(principal, &row);

	if (state == (disabled ? KS_PRINCIPAL_GOOD : KS_PRINCIPAL_DISABLED))
	{
		row.disabled = disabled;
		row.disabled_at = GetCurrentTimestamp();
		write_disabled(&row);
	}
	return state;
}

KsPrincipalState
ks_tenant_bury_principal(const uint8 principal[KS_ID_LEN])
{
	KsPrincipalRow row = {.kind = "user", .disabled = true};
	const char *kind;
	KsPrincipalState state = ks_principal_state(principal, &kind);

	/* The uuid of a user may be a service's by chance, or by intent. */
	if (state != KS_PRINCIPAL_ABSENT)
		return kind != NULL && strcmp(kind, "user") == 0 ? ks_tenant_set_disabled(principal, true) : state;
	memcpy(row.id, principal, KS_ID_LEN);
	row.disabled_at = GetCurrentTimestamp();
	if (insert_principal(&row, "deleted user", NULL))
		return state;
	return ks_tenant_set_disabled(principal, true); /* somebody was faster */
}

bool
ks_tenant_platform_service(uint8 principal[KS_ID_LEN])
{
	const char *kind;

	return ks_platform_service[0] != '\0' && ks_text_uuid(ks_platform_service, principal) &&
		ks_principal_state(principal, &kind) == KS_PRINCIPAL_GOOD && strcmp(kind, "api_key") != 0;
}

/*
 * Not the owner itself, which has more.
 */
void
ks_tenant_add_platform_service(const uint8 workspace[KS_ID_LEN], const uint8 owner[KS_ID_LEN])
{
	uint8		service[KS_ID_LEN];

	if (ks_tenant_platform_service(service) && memcmp(service, owner, KS_ID_LEN) != 0)
		ks_tenant_put_member(workspace, service, "service", 0, NULL);
}

bool
ks_tenant_add_workspace(const uint8 id[KS_ID_LEN], const char *slug, const char *display_name,
						const uint8 owner[KS_ID_LEN], bool personal)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone.workspaces (id, slug, display_name, status, plan, period_anchor, personal_of,"
		" created_by, created_at, updated_at, row_mac)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $6, $6, $9) ON CONFLICT DO NOTHING"
	};
	KsWorkspaceRow row = {.slug = slug, .status = "active", .personal = personal};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		added;

	memcpy(row.id, id, KS_ID_LEN);
	memcpy(row.personal_of, owner, KS_ID_LEN);
	row.updated_at = row.period_anchor = GetCurrentTimestamp();
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row.id);
	ks_arg_text(&args, row.slug);
	ks_arg_text(&args, display_name);
	ks_arg_text(&args, row.status);
	ks_arg_text(&args, row.plan);
	ks_arg_time(&args, true, row.period_anchor);
	ks_arg_uuid(&args, personal ? row.personal_of : NULL);
	ks_arg_uuid(&args, owner);
	ks_workspace_add_mac(&args, &row);
	added = ks_spi_write(&plan, &args) == 1;
	ks_spi_end(&spi);
	if (added)
		ks_tenant_put_member(id, owner, "owner", 0, owner);
	return added;
}

void
ks_tenant_write_workspace(KsWorkspaceRow *row, const KsWorkspaceTexts *texts)
{
	static const KsWorkspaceTexts none = {0};

	/* Whether the slug is free is asked first, so that the error is ours. */
	static KsPlan taken = {.sql = "SELECT 1 FROM keystone.workspaces WHERE slug = $1 AND id <> $2"};
	static KsPlan plan = {.sql =
		"UPDATE keystone.workspaces SET slug = $2, status = $3, status_set_by = $4, purge_after = $5,"
		" purged_at = $6, plan = $7, updated_at = $8, row_mac = $9, display_name = coalesce($10, display_name),"
		" contact = CASE WHEN $11 THEN $12 ELSE contact END WHERE id = $1"
	};
	KsArgs		taken_args = {0};
	KsArgs		args = {0};
	KsSpi		spi;

	if (texts == NULL)
		texts = &none;
	row->updated_at = GetCurrentTimestamp();
	ks_spi_begin_write(&spi);
	ks_arg_text(&taken_args, row->slug);
	ks_arg_uuid(&taken_args, row->id);
	if (ks_spi_read(&taken, &taken_args) > 0)
		ks_error_duplicate("the slug is taken", NULL);
	ks_arg_uuid(&args, row->id);
	ks_arg_text(&args, row->slug);
	ks_arg_text(&args, row->status);
	ks_arg_uuid(&args, row->set_by_member ? row->status_set_by : NULL);
	ks_arg_time(&args, row->offboarded, row->purge_after);
	ks_arg_time(&args, row->purged, row->purged_at);
	ks_arg_text(&args, row->plan);
	ks_arg_time(&args, true, row->updated_at);
	ks_workspace_add_mac(&args, row);
	ks_arg_text(&args, texts->display_name);
	ks_arg_bool(&args, true, texts->set_contact);
	ks_arg_text(&args, texts->contact);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

bool
ks_tenant_personal(const uint8 owner[KS_ID_LEN], uint8 id[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "SELECT id FROM keystone.workspaces WHERE personal_of = $1"};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, owner);
	found = ks_spi_read(&plan, &args) == 1 && ks_col_uuid(0, 1, id);
	ks_spi_end(&spi);
	return found;
}

void
ks_tenant_lock(const uint8 workspace[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "SELECT 1 FROM keystone.workspaces WHERE id = $1 FOR NO KEY UPDATE"};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

void
ks_tenant_lock_member(const uint8 workspace[KS_ID_LEN], const uint8 principal[KS_ID_LEN], bool to_leave)
{
	static KsPlan stay = {.sql =
		"SELECT 1 FROM keystone.members WHERE workspace_id = $1 AND principal_id = $2 FOR SHARE"
	};
	static KsPlan leave = {.sql =
		"SELECT 1 FROM keystone.members WHERE workspace_id = $1 AND principal_id = $2 FOR NO KEY UPDATE"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, principal);
	(void) ks_spi_write(to_leave ? &leave : &stay, &args);
	ks_spi_end(&spi);
}

void
ks_tenant_lock_membership(const KsCall *call, const text *workspace, uint8 named[KS_ID_LEN],
						  KsMembership *member)
{
	KsWorkspaceRow row;

	ks_membership(call, workspace, member);
	memcpy(named, member->workspace, KS_ID_LEN);
	ks_tenant_lock(named);
	ks_tenant_lock_member(named, call->actor.principal, false);
	if (!ks_membership_of(call, named, member))
		ks_error_not_found(NULL);
	if (ks_tenant_read_workspace(named, &row) && row.purged)
		ks_error_denied("the workspace was offboarded and purged", NULL);
}

/* Whether a row of a member joined with its principal is valid, and counts. */
static bool
is_valid_member(const KsSpi *spi, uint64 i, KsMemberRow *member, bool *counts)
{
	KsPrincipalRow principal;
	bool		member_valid = ks_member_read(spi, i, 1, member);
	bool		principal_valid = ks_principal_read(spi, i, 1 + KS_MEMBER_COLUMNS_N, &principal);
	bool		valid = member_valid && principal_valid && !member->removed;

	*counts = valid && !principal.disabled;
	return valid;
}

void
ks_tenant_get_member(const uint8 workspace[KS_ID_LEN], const uint8 principal[KS_ID_LEN],
					 KsMember *found)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_MEMBER_COLUMNS ", " KS_PRINCIPAL_COLUMNS
		" FROM keystone.members m JOIN keystone.principals p ON p.id = m.principal_id"
		" WHERE m.workspace_id = $1 AND m.removed_at IS NULL AND (m.principal_id = $2 OR m.role = 'owner')"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;

	memset(found, 0, sizeof(*found));
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, principal);
	rows = ks_spi_read(&plan, &args);
	for (uint64 i = 0; i < rows; i++)
	{
		KsMemberRow row;
		bool		counts;
		bool		valid = is_valid_member(&spi, i, &row, &counts);

		if (counts && strcmp(row.role, "owner") == 0)
			found->owners++;
		if (memcmp(row.principal, principal, KS_ID_LEN) == 0)
		{
			found->present = true;
			found->valid = valid;
			found->counts = counts;
			found->role = row.role;
		}
	}
	ks_spi_end(&spi);
}

void
ks_tenant_put_member(const uint8 workspace[KS_ID_LEN], const uint8 principal[KS_ID_LEN],
					 const char *role, uint32 extra_permissions, const uint8 *by)
{
	static KsPlan put = {.sql =
		"INSERT INTO keystone.members (workspace_id, principal_id, role, extra_permissions,"
		" added_by, created_at, updated_at, removed_at, row_mac)"
		" VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8)"
		" ON CONFLICT (workspace_id, principal_id) DO UPDATE SET role = excluded.role,"
		" extra_permissions = excluded.extra_permissions, added_by = excluded.added_by,"
		" updated_at = excluded.updated_at, removed_at = excluded.removed_at, row_mac = excluded.row_mac"
	};
	KsMemberRow row = {.extra_permissions = extra_permissions, .removed = role == NULL};
	KsArgs		args = {0};
	KsSpi		spi;

	memcpy(row.workspace, workspace, KS_ID_LEN);
	memcpy(row.principal, principal, KS_ID_LEN);
	row.role = role != NULL ? role : "viewer";	/* what a tombstone says gives
												 * nothing */
	row.updated_at = row.removed_at = GetCurrentTimestamp();
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row.workspace);
	ks_arg_uuid(&args, row.principal);
	ks_arg_text(&args, row.role);
	ks_arg_permissions(&args, row.extra_permissions);
	ks_arg_uuid(&args, by);
	ks_arg_time(&args, true, row.updated_at);
	ks_arg_time(&args, row.removed, row.removed_at);
	ks_member_add_mac(&args, &row);
	(void) ks_spi_write(&put, &args);
	ks_spi_end(&spi);
}

/* Profiles. */

static void
put_grant(const char *role, const char *profile, const char *by, bool revoked)
{
	static KsPlan put = {.sql =
		"INSERT INTO keystone_private.profile_grants (role_name, profile, granted_by, granted_at, revoked_at, row_mac)"
		" VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (role_name, profile) DO UPDATE"
		" SET granted_by = excluded.granted_by, granted_at = excluded.granted_at,"
		" revoked_at = excluded.revoked_at, row_mac = excluded.row_mac"
	};
	KsGrantRow	row = {.role = role, .profile = profile, .revoked = revoked};
	KsArgs		args = {0};

	row.granted_at = row.revoked_at = GetCurrentTimestamp();
	ks_arg_name(&args, row.role);
	ks_arg_text(&args, row.profile);
	ks_arg_name(&args, by);
	ks_arg_time(&args, true, row.granted_at);
	ks_arg_time(&args, row.revoked, row.revoked_at);
	ks_grant_add_mac(&args, &row);
	(void) ks_spi_write(&put, &args);
}

/*
 * Runs "<verb> <privilege> ON <object> <TO|FROM> <role>" for each row of a
 * plan.  The rows come from a function of the extension, which only its owner
 * can change: a table could be edited by somebody who is no superuser.
 */
static void
change_privileges(const KsSpi *spi, KsPlan *plan, KsArgs *args, const char *verb,
				  const char *preposition, const char *role)
{
	uint64		rows = ks_spi_read(plan, args);
	char	  **statements = palloc(Max(rows, 1) * sizeof(char *));

	for (uint64 i = 0; i < rows; i++)
		statements[i] = psprintf("%s %s ON %s %s %s %s", verb, ks_col_text(spi, i, 3),
								 ks_col_text(spi, i, 1), ks_col_text(spi, i, 2),
								 preposition, quote_identifier(role));
	for (uint64 i = 0; i < rows; i++)
		ks_spi_utility(statements[i]);
}

void
ks_tenant_grant(const char *role, uint32 profile, const char *by)
{
	static KsPlan plan = {.sql =
		"SELECT object_kind, object_name, privilege FROM keystone_private.profile_privileges()"
		" WHERE profile = $1"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	put_grant(role, ks_profile_name(profile), by, false);
	ks_arg_text(&args, ks_profile_name(profile));
	change_privileges(&spi, &plan, &args, "GRANT", "TO", role);
	ks_spi_end(&spi);
}

bool
ks_tenant_revoke(const char *role, uint32 profile, const char *by)
{
	static KsPlan find = {.sql =
		"SELECT 1 FROM keystone_private.profile_grants"
		" WHERE role_name = $1 AND profile = $2 AND revoked_at IS NULL"
	};

	/* What another profile of the same role also gives stays. */
	static KsPlan plan = {.sql =
		"SELECT object_kind, object_name, privilege FROM keystone_private.profile_privileges() p"
		" WHERE profile = $2 AND NOT EXISTS (SELECT FROM keystone_private.profile_grants g"
		"  JOIN keystone_private.profile_privileges() o ON o.profile = g.profile"
		"  WHERE g.role_name = $1 AND g.profile <> $2 AND g.revoked_at IS NULL"
		"  AND o.object_kind = p.object_kind AND o.object_name = p.object_name AND o.privilege = p.privilege)"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin_write(&spi);
	ks_arg_name(&args, role);
	ks_arg_text(&args, ks_profile_name(profile));
	found = ks_spi_read(&find, &args) == 1;
	if (found)
	{
		put_grant(role, ks_profile_name(profile), by, true);

		/* A role that was dropped has no privileges, but a profile until now. */
		if (OidIsValid(get_role_oid(role, true)))
			change_privileges(&spi, &plan, &args, "REVOKE", "FROM", role);
	}
	ks_spi_end(&spi);
	return found;
}

/* Providers. */

bool
ks_tenant_provider(const uint8 workspace[KS_ID_LEN], const char *name, KsProvider *provider)
{
	static KsPlan plan = {.sql =
		"SELECT p.category, p.label, p.default_kind, p.value_pattern, p.limits, p.cost_micros,"
		" p.enabled AND coalesce(c.enabled, true), coalesce(c.mode, 'hosted')"
		" FROM keystone.providers p"
		" LEFT JOIN keystone.provider_configs c ON c.workspace_id = $1 AND c.provider = p.name"
		" WHERE p.name = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	memset(provider, 0, sizeof(*provider));
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, name);
	found = ks_spi_read(&plan, &args) == 1;
	if (found)
	{
		provider->name = name;
		provider->category = ks_col_text(&spi, 0, 1);
		provider->label = ks_col_text(&spi, 0, 2);
		provider->default_kind = ks_col_text(&spi, 0, 3);
		provider->value_pattern = ks_col_text(&spi, 0, 4);
		provider->limits = ks_col_text(&spi, 0, 5);
		provider->has_cost = ks_col_bigint(0, 6, &provider->cost_micros);
		provider->enabled = ks_col_bool(0, 7);
		provider->mode = ks_col_text(&spi, 0, 8);
	}
	ks_spi_end(&spi);
	return found;
}

/* From now on, unless it is the price already: the last one that was set, else
 * the catalogue's.  No price is a price of 0. */
static void
set_price(const KsProvider *provider)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.provider_prices AS p (provider, valid_from, cost_micros)"
		" SELECT $1, clock_timestamp(), $2 WHERE $2 <> coalesce((SELECT r.cost_micros FROM keystone_private.provider_prices r"
		"  WHERE r.provider = $1 ORDER BY r.valid_from DESC LIMIT 1),"
		" (SELECT c.cost_micros FROM keystone_private.provider_catalogue c WHERE c.name = $1), 0)"
	};
	KsArgs		args = {0};

	ks_arg_text(&args, provider->name);
	ks_arg_bigint(&args, true, provider->has_cost ? provider->cost_micros : 0);
	(void) ks_spi_write(&plan, &args);
}

void
ks_tenant_define_provider(const KsProvider *provider, const char *by)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.provider_definitions"
		" (name, category, label, default_kind, value_pattern, limits, cost_micros, enabled, updated_by)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
		" ON CONFLICT (name) DO UPDATE SET category = excluded.category, label = excluded.label,"
		" default_kind = excluded.default_kind, value_pattern = excluded.value_pattern,"
		" limits = excluded.limits, cost_micros = excluded.cost_micros, enabled = excluded.enabled,"
		" updated_at = now(), updated_by = excluded.updated_by"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_text(&args, provider->name);
	ks_arg_text(&args, provider->category);
	ks_arg_text(&args, provider->label);
	ks_arg_text(&args, provider->default_kind);
	ks_arg_text(&args, provider->value_pattern);
	ks_arg_text(&args, provider->limits);
	ks_arg_bigint(&args, provider->has_cost, provider->cost_micros);
	ks_arg_bool(&args, true, provider->enabled);
	ks_arg_name(&args, by);
	(void) ks_spi_write(&plan, &args);
	set_price(provider);
	ks_spi_end(&spi);
}

void
ks_tenant_configure_provider(const uint8 workspace[KS_ID_LEN], const char *provider,
							 const char *mode, Datum config, bool enabled,
							 const uint8 by[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone.provider_configs (workspace_id, provider, mode, config, enabled, updated_by)"
		" VALUES ($1, $2, $3, $4, $5, $6)"
		" ON CONFLICT (workspace_id, provider) DO UPDATE SET mode = excluded.mode,"
		" config = excluded.config, enabled = excluded.enabled, updated_at = now(),"
		" updated_by = excluded.updated_by"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_text(&args, provider);
	ks_arg_text(&args, mode);
	ks_arg_datum(&args, true, JSONBOID, config);
	ks_arg_bool(&args, true, enabled);
	ks_arg_uuid(&args, by);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}
