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

#include <ctype.h>

#include "utils/guc.h"
#include "utils/varlena.h"

#include "ks_windowspec.h"

char	   *ks_root_key_file = NULL;
char	   *ks_root_key_command = NULL;
int			ks_root_key_timeout = 10;
int			ks_key_cache_ttl = 300;
bool		ks_hints = true;
int			ks_max_value_size = 64 * 1024;
char	   *ks_authenticators = NULL;
char	   *ks_trusted_definers = NULL;
char	   *ks_jwt_keys_file = NULL;
char	   *ks_jwt_issuer = NULL;
char	   *ks_jwt_audience = NULL;
bool		ks_trust_claims = false;
char	   *ks_platform_service = NULL;
int			ks_auth_failures_per_minute = 30;
uint64		ks_role_lists_generation = 1;
int			ks_key_max_age = 0;
int			ks_key_max_encryptions = 0;
char	   *ks_kms_command = NULL;
int			ks_kms_timeout = 10;
int			ks_kms_cache_ttl = 300;
int			ks_kms_cache_size = 256;
char	   *ks_import_key_file = NULL;
int			ks_reconcile_interval = 3600;
int			ks_limit_max_keys = 65536;
int			ks_limit_workspace_share = 25;
int			ks_limit_flush_interval = 1000;
char	   *ks_reveal_limit = NULL;
char	   *ks_workspace_reveal_limit = NULL;
char	   *ks_default_plan = NULL;
int			ks_near_soft = 80;
uint64		ks_limit_settings_generation = 1;
int			ks_max_databases = 8;
int			ks_audit_ring_size = 1024;
int			ks_audit_timeout = 5000;
char	   *ks_audit_origin = NULL;
char	   *ks_audit_key_dir = NULL;
int			ks_audit_key_period = 86400;
char	   *ks_audit_anchor_dir = NULL;
char	   *ks_audit_anchor_command = NULL;
int			ks_audit_anchor_timeout = 30;
int			ks_audit_checkpoint_interval = 1000;
int			ks_audit_heartbeat = 300;
int			ks_denials_per_minute = 60;
int			ks_housekeeper_interval = 5000;
char	   *ks_break_glass_roles = NULL;
int			ks_break_glass_time = 900;

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
role_list_changed(const char *newval, void *extra)
{
	(void) newval;
	(void) extra;
	ks_role_lists_generation++;
}

static void
limit_setting_changed(const char *newval, void *extra)
{
	(void) newval;
	(void) extra;
	ks_limit_settings_generation++;
}

/*
 * Accepts windows, or nothing: a text that cannot be read would be found by
 * the next reveal, and each one after it.
 */
static bool
check_windows(char **newval, void **extra pg_attribute_unused(),
			  GucSource source pg_attribute_unused())
{
	KsWindowSpec specs[KS_WINDOWSPEC_MAX];
	const char *expected;
	int			n;

	if ((*newval)[0] == '\0')
		return true;
	expected = ks_windowspec_read(*newval, KS_WINDOW_SLIDING, specs, &n);
	if (expected != NULL)
		GUC_check_errdetail("The value must be %s.", expected);
	return expected == NULL;
}

static bool
check_plan(char **newval, void **extra pg_attribute_unused(),
		   GucSource source pg_attribute_unused())
{
	static const char *const plans[] = {"free", "starter", "pro", "enterprise"};

	for (size_t i = 0; i < lengthof(plans); i++)
	{
		if (strcmp(*newval, plans[i]) == 0)
			return true;
	}
	GUC_check_errdetail("A plan is one of free, starter, pro and enterprise.");
	return false;
}

/* Accepts a uuid in its canonical form, or nothing. */
static bool
check_uuid(char **newval, void **extra pg_attribute_unused(),
		   GucSource source pg_attribute_unused())
{
	const char *word = *newval;

	if (word[0] == '\0')
		return true;
	for (int i = 0; i < 36; i++)
	{
		bool		is_hyphen = i == 8 || i == 13 || i == 18 || i == 23;

		if (is_hyphen ? word[i] != '-' : !isxdigit((unsigned char) word[i]))
		{
			GUC_check_errdetail("A uuid such as 01234567-89ab-cdef-0123-456789abcdef is expected.");
			return false;
		}
	}
	return word[36] == '\0';
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
							   "user there: who calls is taken from the token in request.headers.",
							    /* valueAddr */ &ks_authenticators,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_LIST_INPUT,
							    /* hooks */ check_role_list, role_list_changed, NULL);

	DefineCustomStringVariable( /* name */ "keystone.trusted_definers",
							    /* short_desc */ "Lists roles whose SECURITY DEFINER functions act for the caller.",
							    /* long_desc */ "Administrators can name the owners of functions that may use "
							   "Keystone on behalf of whoever calls them. Inside other SECURITY DEFINER "
							   "functions the caller has no identity.",
							    /* valueAddr */ &ks_trusted_definers,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_LIST_INPUT,
							    /* hooks */ check_role_list, role_list_changed, NULL);

	DefineCustomBoolVariable( /* name */ "keystone.trust_claims",
							  /* short_desc */ "Believes request.jwt.claims in the sessions of authenticators.",
							  /* long_desc */ "Administrators who cannot give Keystone the keys of their tokens can "
							 "let it believe what PostgREST says of them. SQL that is injected into "
							 "such a session before the first call can be anybody; off by default.",
							  /* valueAddr */ &ks_trust_claims,
							  /* bootValue */ false,
							  /* context */ PGC_SIGHUP,
							  /* flags */ 0,
							  /* hooks */ NULL, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.platform_service",
							    /* short_desc */ "Sets the principal that becomes a member of every new workspace.",
							    /* long_desc */ "Administrators of a platform can have one service, such as a "
							   "collector, added to each workspace with the role service. The members of "
							   "the workspace see it and can remove it.",
							    /* valueAddr */ &ks_platform_service,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ 0,
							    /* hooks */ check_uuid, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.auth_failures_per_minute",
							 /* short_desc */ "Sets how many failed authentications are answered one by one.",
							 /* long_desc */ "Administrators can bound guessing at tokens: after so many failures in "
							"a minute for one key prefix or one client address, further failures are "
							"refused with PT429 and only counted. A valid token is never refused.",
							 /* valueAddr */ &ks_auth_failures_per_minute,
							 /* bootValue, minValue, maxValue */ 30, 1, 1000000,
							 /* context */ PGC_SIGHUP,
							 /* flags */ 0,
							 /* hooks */ NULL, NULL, NULL);
}

static void
define_jwt_settings(void)
{
	DefineCustomStringVariable( /* name */ "keystone.jwt_keys_file",
							    /* short_desc */ "Sets the file with the keys that verify JSON Web Tokens.",
							    /* long_desc */ "Administrators can give the secret of HS256 tokens, as a line of "
							   "text, or a JWK Set (RFC 7517) with keys for RS256, PS256, ES256, EdDSA "
							   "and HS256. The file must belong to the server's user, without access "
							   "for others, or to root, with at most read access for the group. A "
							   "reload reads it again. Without it no JWT is believed.",
							    /* valueAddr */ &ks_jwt_keys_file,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_SUPERUSER_ONLY,
							    /* hooks */ NULL, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.jwt_issuer",
							    /* short_desc */ "Sets the issuer that JSON Web Tokens must name.",
							    /* long_desc */ "Administrators should set it when the keys sign for more than one "
							   "issuer. Empty accepts any, and tokens without one.",
							    /* valueAddr */ &ks_jwt_issuer,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ 0,
							    /* hooks */ NULL, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.jwt_audience",
							    /* short_desc */ "Sets the audience that JSON Web Tokens must name.",
							    /* long_desc */ "Administrators should set it when the issuer makes tokens for other "
							   "services, too. Empty accepts any, and tokens without one.",
							    /* valueAddr */ &ks_jwt_audience,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ 0,
							    /* hooks */ NULL, NULL, NULL);
}

/*
 * An origin begins each checkpoint and names its keys: not empty, no white
 * space, no control characters, no plus sign (c2sp.org/signed-note).
 */
static bool
check_origin(char **newval, void **extra pg_attribute_unused(),
			 GucSource source pg_attribute_unused())
{
	size_t		len = strlen(*newval);

	if (len > 0 && len <= 100 && strspn(*newval, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/") == len)
		return true;
	GUC_check_errdetail("An origin has 1 to 100 letters, digits, dots, hyphens, underscores and slashes.");
	return false;
}

static void
define_audit_settings(void)
{
	DefineCustomIntVariable( /* name */ "keystone.max_databases",
							 /* short_desc */ "Sets how many databases of the cluster can have Keystone.",
							 /* long_desc */ "Administrators can raise it when more databases have the extension: "
							"each takes keystone.audit_ring_size of shared memory and two background "
							"processes.",
							 /* valueAddr */ &ks_max_databases,
							 /* bootValue, minValue, maxValue */ 8, 1, 256,
							 /* context */ PGC_POSTMASTER,
							 /* flags */ 0,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.audit_ring_size",
							 /* short_desc */ "Sets the shared memory for events on their way into a database's log.",
							 /* long_desc */ "Administrators can raise it when many sessions reveal many values at "
							"once and wait for room.",
							 /* valueAddr */ &ks_audit_ring_size,
							 /* bootValue, minValue, maxValue */ 1024, 64, 65536,
							 /* context */ PGC_POSTMASTER,
							 /* flags */ GUC_UNIT_KB,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.audit_timeout",
							 /* short_desc */ "Sets how long a call waits for its audit entry.",
							 /* long_desc */ "Administrators can choose how soon a reveal gives up when the log "
							"cannot be written. Nothing is revealed then.",
							 /* valueAddr */ &ks_audit_timeout,
							 /* bootValue, minValue, maxValue */ 5000, 100, 600000,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_MS,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.audit_origin",
							    /* short_desc */ "Sets the first part of the name under which checkpoints are signed.",
							    /* long_desc */ "Administrators can name the organisation and system, such as "
							   "example.com/vault. It is used when a log or an epoch begins, and stays.",
							    /* valueAddr */ &ks_audit_origin,
							    /* bootValue */ "keystone",
							    /* context */ PGC_SIGHUP,
							    /* flags */ 0,
							    /* hooks */ check_origin, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.audit_key_dir",
							    /* short_desc */ "Sets the directory of the keys that sign checkpoints.",
							    /* long_desc */ "Administrators can give a directory outside the data directory that "
							   "belongs to the server's user and is closed to others. Without it nothing "
							   "is signed.",
							    /* valueAddr */ &ks_audit_key_dir,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_SUPERUSER_ONLY,
							    /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.audit_key_period",
							 /* short_desc */ "Sets after what time a new signing key takes over.",
							 /* long_desc */ "Administrators can limit what a stolen signing key is good for: the "
							"key before is destroyed, and cannot sign anew what it has signed. Zero "
							"keeps the first.",
							 /* valueAddr */ &ks_audit_key_period,
							 /* bootValue, minValue, maxValue */ 86400, 0, 365 * 86400,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_S,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.audit_anchor_dir",
							    /* short_desc */ "Sets the directory to which checkpoints are copied.",
							    /* long_desc */ "Administrators can give a directory outside the data directory from "
							   "which checkpoints are carried off the machine. What was carried off "
							   "proves what the log held.",
							    /* valueAddr */ &ks_audit_anchor_dir,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_SUPERUSER_ONLY,
							    /* hooks */ NULL, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.audit_anchor_command",
							    /* short_desc */ "Sets the shell command that takes checkpoints off the machine.",
							    /* long_desc */ "Administrators can send checkpoints to write-once storage or to a "
							   "witness: the command gets one on its standard input. It is run by a "
							   "process of its own, as the server's user.",
							    /* valueAddr */ &ks_audit_anchor_command,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_SUPERUSER_ONLY,
							    /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.audit_anchor_timeout",
							 /* short_desc */ "Sets the time that keystone.audit_anchor_command may take.",
							 /* long_desc */ "Administrators can give a slow store more time. A command that takes "
							"longer is killed, and run again with the next checkpoint.",
							 /* valueAddr */ &ks_audit_anchor_timeout,
							 /* bootValue, minValue, maxValue */ 30, 1, 3600,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_S,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.audit_checkpoint_interval",
							 /* short_desc */ "Sets the least time between two checkpoints.",
							 /* long_desc */ "Administrators can trade the number of checkpoints for the time in "
							"which entries are not signed yet. After 4096 entries there is one in any "
							"case.",
							 /* valueAddr */ &ks_audit_checkpoint_interval,
							 /* bootValue, minValue, maxValue */ 1000, 100, 3600000,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_MS,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.audit_heartbeat",
							 /* short_desc */ "Sets after what time an idle log gets an entry and a checkpoint.",
							 /* long_desc */ "Administrators can choose how soon the absence of checkpoints tells "
							"that something is wrong.",
							 /* valueAddr */ &ks_audit_heartbeat,
							 /* bootValue, minValue, maxValue */ 300, 1, 86400,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_S,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.denials_per_minute",
							 /* short_desc */ "Sets how many denials of a caller get entries of their own.",
							 /* long_desc */ "Administrators can bound what a caller without rights adds to the log "
							"in a minute. Further denials are counted there.",
							 /* valueAddr */ &ks_denials_per_minute,
							 /* bootValue, minValue, maxValue */ 60, 0, 1000000,
							 /* context */ PGC_SIGHUP,
							 /* flags */ 0,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.housekeeper_interval",
							 /* short_desc */ "Sets how often the housekeeper looks for work.",
							 /* long_desc */ "Administrators can choose how fresh usage counters are, and how soon "
							"deleted credentials are destroyed after their recovery time.",
							 /* valueAddr */ &ks_housekeeper_interval,
							 /* bootValue, minValue, maxValue */ 5000, 100, 3600000,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_MS,
							 /* hooks */ NULL, NULL, NULL);
}

static void
define_approval_settings(void)
{
	DefineCustomStringVariable( /* name */ "keystone.break_glass_roles",
							    /* short_desc */ "Lists the roles of members that may approve their own calls in an emergency.",
							    /* long_desc */ "Administrators can name owner, admin or both, separated by commas. "
							   "With an empty list nobody calls break_glass().",
							    /* valueAddr */ &ks_break_glass_roles,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ 0,
							    /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.break_glass_time",
							 /* short_desc */ "Sets how long an emergency's approval can be used.",
							 /* long_desc */ "Administrators can choose how soon what was opened by break_glass() "
							"is closed again.",
							 /* valueAddr */ &ks_break_glass_time,
							 /* bootValue, minValue, maxValue */ 900, 10, 86400,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_S,
							 /* hooks */ NULL, NULL, NULL);
}

static void
define_key_life_settings(void)
{
	DefineCustomIntVariable( /* name */ "keystone.key_max_age",
							 /* short_desc */ "Sets the age in days at which a workspace's key is replaced by a new version.",
							 /* long_desc */ "Administrators can choose how long one key encrypts; 0 is for ever. "
							"What it has encrypted is encrypted again in the background.",
							 /* valueAddr */ &ks_key_max_age,
							 /* bootValue, minValue, maxValue */ 0, 0, 36500,
							 /* context */ PGC_SIGHUP,
							 /* flags */ 0,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.key_max_encryptions",
							 /* short_desc */ "Sets after how many million encryptions a workspace's key is replaced.",
							 /* long_desc */ "Administrators can choose how much one key encrypts; 0 is without a limit.",
							 /* valueAddr */ &ks_key_max_encryptions,
							 /* bootValue, minValue, maxValue */ 0, 0, 1000000,
							 /* context */ PGC_SIGHUP,
							 /* flags */ 0,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.kms_command",
							    /* short_desc */ "Sets the shell command that asks a customer's key management service.",
							    /* long_desc */ "Administrators can let workspaces be locked by a key that their customer holds. The command "
							   "gets what to wrap or unwrap on its standard input.",
							    /* valueAddr */ &ks_kms_command,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_SUPERUSER_ONLY,
							    /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.kms_timeout",
							 /* short_desc */ "Sets how long one call of keystone.kms_command may take.",
							 /* long_desc */ "Administrators can choose how long a call of a key management service may last before it counts as failed.",
							 /* valueAddr */ &ks_kms_timeout,
							 /* bootValue, minValue, maxValue */ 10, 1, 300,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_S,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.kms_cache_ttl",
							 /* short_desc */ "Sets how long a key that a customer's key management service unwrapped is kept.",
							 /* long_desc */ "Administrators can choose how soon a customer who withdraws a key is obeyed, at the latest.",
							 /* valueAddr */ &ks_kms_cache_ttl,
							 /* bootValue, minValue, maxValue */ 300, 0, 86400,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_S,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.kms_cache_size",
							 /* short_desc */ "Sets how many keys that customers hold are kept at the same time.",
							 /* long_desc */ "Administrators can choose for how many workspaces with keys of their own customers there is "
							"shared memory, of about 1 kB each.",
							 /* valueAddr */ &ks_kms_cache_size,
							 /* bootValue, minValue, maxValue */ 256, 16, 8192,
							 /* context */ PGC_POSTMASTER,
							 /* flags */ 0,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.import_key_file",
							    /* short_desc */ "Sets the file with the private key that opens imported bundles.",
							    /* long_desc */ "Administrators can move workspaces between servers: the file has the private X25519 key whose "
							   "public key the bundle was made for.",
							    /* valueAddr */ &ks_import_key_file,
							    /* bootValue */ "",
							    /* context */ PGC_SIGHUP,
							    /* flags */ GUC_SUPERUSER_ONLY,
							    /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.reconcile_interval",
							 /* short_desc */ "Sets how often all rows are compared with the audit log.",
							 /* long_desc */ "Administrators can choose how soon a change of a row that bypassed the log is found; 0 is never.",
							 /* valueAddr */ &ks_reconcile_interval,
							 /* bootValue, minValue, maxValue */ 3600, 0, 604800,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_S,
							 /* hooks */ NULL, NULL, NULL);
}

static void
define_limit_settings(void)
{
	DefineCustomIntVariable( /* name */ "keystone.limit_max_keys",
							 /* short_desc */ "Sets how many counters of limits fit into shared memory.",
							 /* long_desc */ "Administrators can raise it when many users have limits with long "
							"windows: each window of a limit and key takes one, of 256 bytes.",
							 /* valueAddr */ &ks_limit_max_keys,
							 /* bootValue, minValue, maxValue */ 65536, 1024, 16777216,
							 /* context */ PGC_POSTMASTER,
							 /* flags */ 0,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.limit_workspace_share",
							 /* short_desc */ "Sets the share of these counters that one workspace may take, in per cent.",
							 /* long_desc */ "Administrators can keep one tenant from filling the table with keys.",
							 /* valueAddr */ &ks_limit_workspace_share,
							 /* bootValue, minValue, maxValue */ 25, 1, 100,
							 /* context */ PGC_SIGHUP,
							 /* flags */ 0,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.limit_flush_interval",
							 /* short_desc */ "Sets how often changed counters are saved.",
							 /* long_desc */ "Administrators can choose how much a crash may forget: the attempts "
							"of this time. A clean restart forgets none.",
							 /* valueAddr */ &ks_limit_flush_interval,
							 /* bootValue, minValue, maxValue */ 1000, 100, 3600000,
							 /* context */ PGC_SIGHUP,
							 /* flags */ GUC_UNIT_MS,
							 /* hooks */ NULL, NULL, NULL);

	DefineCustomStringVariable( /* name */ "keystone.reveal_limit",
							    /* short_desc */ "Sets how many reveals a principal may attempt.",
							    /* long_desc */ "Administrators can bound what a stolen identity takes: windows such as "
							   "1000/minute, 20000/hour. Empty for no limit.",
							    /* valueAddr */ &ks_reveal_limit,
							    /* bootValue */ "60000/minute",
							    /* context */ PGC_SIGHUP,
							    /* flags */ 0,
							    /* hooks */ check_windows, limit_setting_changed, NULL);

	DefineCustomStringVariable( /* name */ "keystone.workspace_reveal_limit",
							    /* short_desc */ "Sets how many reveals a workspace may attempt.",
							    /* long_desc */ "Administrators can bound what all members of a workspace take "
							   "together. Empty for no limit.",
							    /* valueAddr */ &ks_workspace_reveal_limit,
							    /* bootValue */ "600000/minute",
							    /* context */ PGC_SIGHUP,
							    /* flags */ 0,
							    /* hooks */ check_windows, limit_setting_changed, NULL);

	DefineCustomStringVariable( /* name */ "keystone.default_plan",
							    /* short_desc */ "Sets the plan of workspaces that have none of their own.",
							    /* long_desc */ "Administrators of a platform that sells plans set free; elsewhere the "
							   "default, enterprise, limits nothing.",
							    /* valueAddr */ &ks_default_plan,
							    /* bootValue */ "enterprise",
							    /* context */ PGC_SIGHUP,
							    /* flags */ 0,
							    /* hooks */ check_plan, NULL, NULL);

	DefineCustomIntVariable( /* name */ "keystone.near_limit",
							 /* short_desc */ "Sets from which share on a limit, quota or budget is near, in per cent.",
							 /* long_desc */ "Administrators can choose when the first alert comes; the second comes "
							"at 100.",
							 /* valueAddr */ &ks_near_soft,
							 /* bootValue, minValue, maxValue */ 80, 1, 99,
							 /* context */ PGC_SIGHUP,
							 /* flags */ 0,
							 /* hooks */ NULL, NULL, NULL);
}

void
ks_guc_init(void)
{
	define_root_key_settings();
	define_audit_settings();
	define_vault_settings();
	define_identity_settings();
	define_jwt_settings();
	define_key_life_settings();
	define_approval_settings();
	define_limit_settings();

	/* A misspelt setting in the configuration is reported and dropped. */
	MarkGUCPrefixReserved("keystone");
}
