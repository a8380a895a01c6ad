/*-------------------------------------------------------------------------
 *
 * ks_guc.c
 *	  Every setting of Keystone.
 *
 * A setting never holds a key: pg_settings shows what it holds.  What tells
 * where keys lie is shown to superusers and pg_read_all_settings only.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_guc.h"

#include "utils/guc.h"
#include "utils/varlena.h"

char	   *ks_root_key_file = NULL;
char	   *ks_root_key_command = NULL;
int			ks_root_key_timeout = 10;
int			ks_key_cache_ttl = 300;
bool		ks_hints = true;
int			ks_max_value_size = 64 * 1024;
char	   *ks_authenticators = NULL;
char	   *ks_trusted_definers = NULL;

/*
 * Accepts a list of role names.  Whether the roles exist is not known here:
 * the server has no catalogs when it reads its configuration.
 */
static bool
check_role_list(char **newval, void **extra pg_attribute_unused(),
				GucSource source pg_attribute_unused())
{
	char	   *copy = pstrdup(*newval);
	List	   *names;
	bool		ok;

	/* it cuts the copy into pieces */
	ok = SplitIdentifierString(copy, ',', &names);
	if (!ok)
		GUC_check_errdetail("List syntax is invalid.");

	list_free(names);
	pfree(copy);
	return ok;
}

static void
define_root_key_settings(void)
{
	DefineCustomStringVariable( /* name */ "keystone.root_key_file",
							    /* short_desc */ "Sets the file that holds the root keys.",
							    /* long_desc */ "Administrators can keep the root keys in a file outside the data "
							   "directory: one key a line, an identifier and 64 hexadecimal digits. "
							   "The first wraps, the others only unwrap. The file must belong to the "
							   "server's user, without access for others, or to root, with at most "
							   "read access for the group. A reload reads it again.",
							    /* valueAddr */ &ks_root_key_file,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_SUPERUSER_ONLY,
							    /* hooks */ NULL, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.root_key_command",
							    /* short_desc */ "Sets the shell command that prints the root keys.",
							    /* long_desc */ "Administrators can fetch the root keys from a key manager instead "
							   "of a file: the command prints what keystone.root_key_file would hold. "
							   "It is run in the data directory, as the server's user, at start and at "
							   "each reload. What it writes to its standard error is dropped.",
							    /* valueAddr */ &ks_root_key_command,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_SUPERUSER_ONLY,
							    /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.root_key_timeout",
							 /* short_desc */ "Sets the time that keystone.root_key_command may take.",
							 /* long_desc */ "Administrators can give a slow key manager more time. A command "
							"that takes longer is killed, and the vault is sealed.",
							 /* valueAddr */ &ks_root_key_timeout,
							 /* bootValue, minValue, maxValue */ 10, 1, 300,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_S,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.key_cache_ttl",
							 /* short_desc */ "Sets how long a session keeps an unwrapped workspace key.",
							 /* long_desc */ "Administrators can choose between speed and the time for which "
							"keys lie in a session's memory. Zero keeps none between calls.",
							 /* valueAddr */ &ks_key_cache_ttl,
							 /* bootValue, minValue, maxValue */ 300, 0, 86400,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_S,
							 /* hooks */ NULL, NULL, NULL);
}

static void
define_vault_settings(void)
{
	DefineCustomBoolVariable( /* name */ "keystone.hints",
							  /* short_desc */ "Keeps the last characters of values in the clear.",
							  /* long_desc */ "Administrators can decide whether lists show a hint by which "
							 "people recognise a credential, such as its last four characters. It is "
							 "the one part of a value that is kept unencrypted; off keeps none for "
							 "values stored from then on.",
							  /* valueAddr */ &ks_hints,
							  /* bootValue */ true,
							  /* context */ PGC_SIGHUP,
							  /* flags */ 0,
							  /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.max_value_size",
							 /* short_desc */ "Sets the size of the longest value that can be stored.",
							 /* long_desc */ "Administrators can allow longer values, up to 1 MB. Values that "
							"are stored already are not affected.",
							 /* valueAddr */ &ks_max_value_size,
							 /* bootValue, minValue, maxValue */ 64 * 1024, 1, 1024 * 1024,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_BYTE,
							 /* hooks */ NULL, NULL, NULL);
}

static void
define_identity_settings(void)
{
	DefineCustomStringVariable( /* name */ "keystone.authenticators",
							    /* short_desc */ "Lists login roles that many users share.",
							    /* long_desc */ "Administrators can name the login roles through which others are "
							   "served, such as PostgREST's. The login role says nothing about the "
							   "user there, so that it gives no identity.",
							    /* valueAddr */ &ks_authenticators,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_LIST_INPUT,
							    /* hooks */ check_role_list, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.trusted_definers",
							    /* short_desc */ "Lists roles whose SECURITY DEFINER functions act for the caller.",
							    /* long_desc */ "Administrators can name the owners of functions that may use "
							   "Keystone on behalf of whoever calls them. Inside other SECURITY DEFINER "
							   "functions the caller has no identity.",
							    /* valueAddr */ &ks_trusted_definers,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_LIST_INPUT,
							    /* hooks */ check_role_list, NULL, NULL);
}

void
ks_guc_init(void)
{
	define_root_key_settings();
	define_vault_settings();
	define_identity_settings();

	/* A misspelt setting in the configuration is reported and dropped. */
	MarkGUCPrefixReserved("keystone");
}
