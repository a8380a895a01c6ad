/*-------------------------------------------------------------------------
 *
 * ks_identity.c
 *	  Who is calling.
 *
 * There is no identity in background processes, in security-restricted
 * operations (ANALYZE, REFRESH, index expressions run by somebody else), nor
 * inside a SECURITY DEFINER function whose owner is not trusted: there, the
 * session's user is not the author of the statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "ks_guc.h"
#include "ks_identity.h"

static KsPrincipalOfRole principal_of_role = NULL;

void
ks_identity_set_loader(KsPrincipalOfRole loader)
{
	principal_of_role = loader;
}

static bool
is_trusted_definer(Oid role)
{
	char	   *name = GetUserNameFromId(role, true);
	char	   *setting = pstrdup(ks_trusted_definers);
	List	   *names = NIL;
	ListCell   *cell;
	bool		found = false;

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

bool
ks_identity_withheld(const char **why)
{
	*why = NULL;
	if (MyBackendType != B_BACKEND)
		*why = "background processes have no identity";
	else if (InSecurityRestrictedOperation())
		*why = "there is no identity in a security-restricted operation";
	else if (InLocalUserIdChange() && !is_trusted_definer(GetUserId()))
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
