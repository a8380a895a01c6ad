/*-------------------------------------------------------------------------
 *
 * ks_identity.c
 *	  Who is calling.
 *
 * There is no identity in background processes, in security-restricted
 * operations (ANALYZE, REFRESH, index expressions run by somebody else), nor
 * inside a SECURITY DEFINER function whose owner is not trusted: there, the
 * session's user is not the author of the statement.  Nor is there one where
 * many share a login role: in the sessions of an authenticator.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "ks_guc.h"
#include "ks_identity.h"

static KsPrincipalOfRole principal_of_role = NULL;

void
ks_identity_set_loader(KsPrincipalOfRole loader)
{
	principal_of_role = loader;
}

/* Whether a role's name stands in a setting that is a list of names. */
static bool
is_listed(Oid role, const char *list)
{
	char	   *name;
	char	   *setting;
	List	   *names = NIL;
	ListCell   *cell;
	bool		found = false;

	if (list[0] == '\0')
		return false;
	name = GetUserNameFromId(role, true);
	setting = pstrdup(list);
	if (name == NULL || !SplitIdentifierString(setting, ',', &names))
		return false;
	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			found = true;
	}
	list_free(names);
	pfree(setting);
	return found;
}

/*
 * PostgREST sets this for each request.  Its users share a login role, so none
 * of them may be taken for it.
 */
static bool
is_set(const char *setting)
{
	const char *value = GetConfigOption(setting, true, false);

	return value != NULL && value[0] != '\0';
}

bool
ks_identity_withheld(const char **why)
{
	*why = NULL;
	if (MyBackendType != B_BACKEND)
		*why = "background processes have no identity";
	else if (InSecurityRestrictedOperation())
		*why = "there is no identity in a security-restricted operation";
	else if (is_listed(GetSessionUserId(), ks_authenticators))
		*why = "the login role is in keystone.authenticators, and requests through it are not identified in this version";
	else if (is_set("request.jwt.claims"))
		*why = "requests through PostgREST are not identified in this version";
	else if (InLocalUserIdChange() && !is_listed(GetUserId(), ks_trusted_definers))
		*why = "the owner of the SECURITY DEFINER function is not in keystone.trusted_definers";
	return *why != NULL;
}

void
ks_identity_actor(KsActor *actor)
{
	char	   *name;

	memset(actor, 0, sizeof(*actor));
	actor->role = GetUserId();
	actor->session_role = GetSessionUserId();

	if (ks_identity_withheld(&actor->why))
		return;

	name = GetUserNameFromId(actor->session_role, true);
	if (name != NULL && principal_of_role != NULL && principal_of_role(name, actor->principal))
		actor->source = KS_SOURCE_DB_ROLE;
	else
		actor->why = "no principal is bound to the login role";
}

Oid
ks_identity_current_role(void)
{
	return GetUserId();
}

const char *
ks_source_name(KsSource source)
{
	switch (source)
	{
		case KS_SOURCE_ANONYMOUS:
			return "anonymous";
		case KS_SOURCE_DB_ROLE:
			return "db_role";
	}
	return "anonymous";
}
