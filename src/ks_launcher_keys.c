/*-------------------------------------------------------------------------
 *
 * ks_launcher_keys.c
 *	  The launcher's loading of the root keyring, from a file or a command, at
 *	  start and at each reload.
 *
 * What must always hold:
 *
 *	- nothing here blocks: a key command runs beside the launcher's loop;
 *	- each load ends with a keyring that is published or sealed, after an
 *	  error too.  A reload that fails seals: going on with keys that the
 *	  administrator has just taken away would be worse.  While a command
 *	  runs, the previous keyring stays;
 *	- key text lies in secret buffers of load_context only, and is wiped when
 *	  the load ends.
 *
 * The launcher is the only process that writes the shared keyring.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/ps_status.h"

#include "ks_error.h"
#include "ks_guc.h"
#include "ks_keyfile.h"
#include "ks_keyring.h"
#include "ks_launcher_keys.h"
#include "ks_mem.h"

/* What a key file or command gave.  text is a secret buffer. */
typedef struct KeyText
{
	char	   *text;			/* KS_ROOT_KEYRING_BYTES_MAX + 1 bytes */
	size_t		len;
} KeyText;

static KsCommand command = KS_COMMAND_NONE;
static char *command_text = NULL;	/* the setting that it came from */
static MemoryContext load_context = NULL;	/* of the load in progress */
static bool load_wanted = true;


/*-------------------------------------------------------------------------
 * The end of a load
 *-------------------------------------------------------------------------
 */

static void
end_load(void)
{
	/* wipes the secret buffers */
	MemoryContextReset(load_context);
	command_text = NULL;
	command.output = NULL;
	set_ps_display("");
}

static void
seal(const char *reason)
{
	ks_keyring_seal(reason);
	ereport(LOG,
			(errcode(KS_ERRCODE_SEALED),
			 errmsg("keystone: sealed: %s", reason)));
	end_load();
}

/*
 * Publishes the keys in the text.  source names the setting that it came
 * from, and place, which may be empty, where it was.
 */
static void
publish_text(const KeyText *got, const char *source, const char *place)
{
	KsRootKey  *keys = ks_secret_alloc(load_context, KS_ROOT_KEYS_MAX * sizeof(KsRootKey));
	const char *problem;
	int			nkeys;
	int			line;

	problem = ks_root_keyring_parse(got->text, got->len, keys, &nkeys, &line);
	if (problem != NULL && line > 0)
		seal(psprintf("%s: %s (line %d)%s", source, problem, line, place));
	else if (problem != NULL)
		seal(psprintf("%s: %s%s", source, problem, place));
	else
	{
		ks_keyring_publish(keys, nkeys);
		ereport(LOG,
				(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
				 errmsg_plural("keystone: root keyring loaded (%d key, \"%s\" wraps)",
							   "keystone: root keyring loaded (%d keys, \"%s\" wraps)",
							   nkeys, nkeys, keys[0].id)));
		end_load();
	}
}

static KeyText
make_key_text(void)
{
	KeyText		got = {0};

	/* one byte more than allowed, to see that there is more */
	got.text = ks_secret_alloc(load_context, KS_ROOT_KEYRING_BYTES_MAX + 1);
	return got;
}


/*-------------------------------------------------------------------------
 * keystone.root_key_file
 *-------------------------------------------------------------------------
 */

static void
load_from_file(const char *path)
{
	KeyText		got = make_key_text();
	const char *place = psprintf(": \"%s\"", path);
	const char *problem = ks_keyfile_read(path, got.text, KS_ROOT_KEYRING_BYTES_MAX + 1, &got.len);

	if (problem == NULL && got.len > KS_ROOT_KEYRING_BYTES_MAX)
		problem = "is longer than a root keyring can be";
	if (problem != NULL)
		seal(psprintf("keystone.root_key_file %s%s", problem, place));
	else
		publish_text(&got, "keystone.root_key_file", place);
}


/*-------------------------------------------------------------------------
 * keystone.root_key_command
 *-------------------------------------------------------------------------
 */

static void
start_command(const char *shell_text)
{
	KeyText		got = make_key_text();
	const char *problem;

	command_text = MemoryContextStrdup(load_context, shell_text);
	command.output = got.text;
	command.output_max = KS_ROOT_KEYRING_BYTES_MAX;
	command.timeout = ks_root_key_timeout;

	problem = ks_command_start(&command, command_text, NULL, 0);
	if (problem != NULL)
		seal(psprintf("keystone.root_key_command %s", problem));
	else
		set_ps_display("running keystone.root_key_command");
}

/*
 * Ends the load when the command is over.
 */
static void
watch_command(void)
{
	KeyText		got = {.text = command.output};
	const char *problem;

	if (!ks_command_watch(&command))
		return;

	got.len = command.output_len;
	if (got.len > KS_ROOT_KEYRING_BYTES_MAX)
		problem = "printed more than a root keyring can be";
	else
		problem = ks_command_problem(&command);
	if (problem == NULL && got.len == 0)
		problem = "printed nothing";

	if (problem != NULL)
		seal(psprintf("keystone.root_key_command %s", problem));
	else
		publish_text(&got, "keystone.root_key_command", "");
}


/*-------------------------------------------------------------------------
 * A load
 *-------------------------------------------------------------------------
 */

/*
 * Begins a load, and ends it too unless a command has to run.
 */
static void
begin_load(void)
{
	bool		have_file = ks_root_key_file[0] != '\0';
	bool		have_command = ks_root_key_command[0] != '\0';

	load_wanted = false;
	if (have_file && have_command)
		seal("keystone.root_key_file and keystone.root_key_command are both set; set one of them");
	else if (have_file)
		load_from_file(ks_root_key_file);
	else if (have_command)
		start_command(ks_root_key_command);
	else
		seal("neither keystone.root_key_file nor keystone.root_key_command is set; set one of them");
}

/*
 * A command that runs already may have asked its key manager before whatever
 * the administrator did, so that a load follows in any case.  It is not cut
 * short unless it is no longer the one that is set: else reloads in a row
 * would keep any load from ending.
 */
void
ks_launcher_keys_reload(void)
{
	load_wanted = true;

	if (command.pid != 0 &&
		(strcmp(command_text, ks_root_key_command) != 0 ||
		 ks_root_key_file[0] != '\0' || command.timeout != ks_root_key_timeout))
	{
		ks_command_kill(&command);
		end_load();
	}
}

void
ks_launcher_keys_run(void)
{
	MemoryContext before = MemoryContextSwitchTo(load_context);

	watch_command();
	if (command.pid == 0 && load_wanted)
		begin_load();
	MemoryContextSwitchTo(before);
}

/*
 * Nothing of the load is left, and nothing can be used.
 */
void
ks_launcher_keys_fail(void)
{
	ks_command_kill(&command);
	end_load();
	ks_keyring_seal("the root keyring could not be loaded; the server log says why");
}

const KsCommand *
ks_launcher_keys_command(void)
{
	return &command;
}

void
ks_launcher_keys_init(void)
{
	ks_command_init(&command);
	load_context = AllocSetContextCreate(TopMemoryContext, "keystone load",
										 ALLOCSET_DEFAULT_SIZES);
}
