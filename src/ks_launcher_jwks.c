/*-------------------------------------------------------------------------
 *
 * ks_launcher_jwks.c
 *	  The launcher's loading of keystone.jwt_keys_file, at start and at each
 *	  reload.
 *
 * Each load ends with keys that are published or withdrawn, after an error
 * too: going on with keys that the administrator has just taken away would be
 * worse than none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ks_guc.h"
#include "ks_jwks.h"
#include "ks_keyfile.h"
#include "ks_launcher_jwks.h"
#include "ks_mem.h"

static MemoryContext load_context = NULL;	/* what is there is wiped when it
											 * is reset */
static bool load_wanted = true;

static void
load(const char *path)
{
	/* one byte more than allowed, to see that there is more */
	char	   *text = ks_secret_alloc(load_context, KS_JWKS_BYTES_MAX + 1);
	size_t		len;
	int			nkeys = 0;
	const char *problem = ks_keyfile_read(path, text, KS_JWKS_BYTES_MAX + 1, &len);

	if (problem != NULL)
		ks_jwks_withdraw(problem);
	else
		problem = ks_jwks_publish(text, len, &nkeys);

	if (problem != NULL)
		ereport(LOG,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("keystone: no keys for tokens: keystone.jwt_keys_file %s: \"%s\"", problem, path)));
	else
		ereport(LOG,
				(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
				 errmsg_plural("keystone: keys for tokens loaded (%d key)",
							   "keystone: keys for tokens loaded (%d keys)", nkeys, nkeys)));
}

void
ks_launcher_jwks_run(void)
{
	MemoryContext before;

	if (!load_wanted)
		return;
	load_wanted = false;
	if (ks_jwt_keys_file[0] == '\0')
	{
		ks_jwks_withdraw(NULL);
		return;
	}
	before = MemoryContextSwitchTo(load_context);
	load(ks_jwt_keys_file);
	MemoryContextSwitchTo(before);
	MemoryContextReset(load_context);
}

void
ks_launcher_jwks_reload(void)
{
	load_wanted = true;
}

void
ks_launcher_jwks_fail(void)
{
	MemoryContextReset(load_context);
	ks_jwks_withdraw("could not be loaded; the server log says why");
}

void
ks_launcher_jwks_init(void)
{
	load_context = AllocSetContextCreate(TopMemoryContext, "keystone keys for tokens",
										 ALLOCSET_SMALL_SIZES);
}
