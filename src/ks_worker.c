/*-------------------------------------------------------------------------
 *
 * ks_worker.c
 *	  The launcher: a background worker without a database that loads the
 *	  root keyring, at start and at each reload.
 *
 * What must always hold:
 *
 *	- the main loop never blocks but in its one wait, so that the launcher
 *	  answers to the postmaster while a key command runs;
 *	- each load ends with a keyring that is published or sealed, after an
 *	  error too.  A reload that fails seals: going on with keys that the
 *	  administrator has just taken away would be worse.  While a command
 *	  runs, the previous keyring stays;
 *	- key text lies in secret buffers of load_context only, and is wiped when
 *	  the load ends;
 *	- a command that was given up has no process left: it is killed together
 *	  with its process group, and the same happens when the launcher exits,
 *	  unless that is an immediate shutdown or a crash.
 *
 * The launcher is the only process that writes the shared keyring.
 *
 *-------------------------------------------------------------------------
 */
#include "ks_worker.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ks_error.h"
#include "ks_guc.h"
#include "ks_keyring.h"
#include "ks_mem.h"

#define RESTART_SECONDS		5

/* A file descriptor of the launcher is below this; see close_inherited(). */
#define INHERITED_FD_MAX	65536

/* What a key file or command gave.  text is a secret buffer. */
typedef struct KeyText
{
	char	   *text;			/* KS_ROOT_KEYRING_BYTES_MAX + 1 bytes */
	size_t		len;
} KeyText;

/* The key command that runs; pid is 0 when none does. */
typedef struct KeyCommand
{
	pid_t		pid;			/* also its process group */
	int			fd;				/* its standard output, or -1 */
	bool		exited;
	int			status;			/* as waitpid() gives it, when exited */
	int			timeout;		/* seconds */
	TimestampTz deadline;
	char	   *shell_text;		/* the setting that it came from */
	KeyText		output;
} KeyCommand;

static KeyCommand command = {.fd = -1};
static MemoryContext load_context = NULL;	/* of the load in progress */
static bool load_wanted = true;

KS_NORETURN static void become_shell(int out) KS_NORETURN_END;


/*-------------------------------------------------------------------------
 * The end of a load
 *-------------------------------------------------------------------------
 */

static void
end_load(void)
{
	/* wipes the secret buffers */
	MemoryContextReset(load_context);
	command.shell_text = NULL;
	command.output = (KeyText) {0};
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

/*
 * Reads what is there.  Returns the result of the last read(): 0 at the end,
 * -1 with errno, or a positive number when the buffer is full.
 */
static ssize_t
read_key_text(int fd, KeyText *got)
{
	ssize_t		n;

	do
	{
		n = read(fd, got->text + got->len, KS_ROOT_KEYRING_BYTES_MAX + 1 - got->len);
		if (n > 0)
			got->len += n;
	} while ((n > 0 && got->len <= KS_ROOT_KEYRING_BYTES_MAX) || (n < 0 && errno == EINTR));
	return n;
}


/*-------------------------------------------------------------------------
 * keystone.root_key_file
 *-------------------------------------------------------------------------
 */

/*
 * What is wrong with the owner or the permissions, or NULL.  The rules are
 * those of ssl_key_file.
 */
static const char *
check_ownership(const struct stat *st)
{
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return "belongs neither to the server's user nor to root";
	if (st->st_uid == geteuid() && (st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return "is accessible by its group or by others";
	if (st->st_uid != geteuid() && (st->st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) != 0)
		return "belongs to root, and gives its group more than read access, or others any";
	return NULL;
}

/*
 * What is wrong with the place of the opened file, or NULL.  Links are
 * followed in both names: a base backup takes what lies in the directory.
 */
static const char *
check_place(const char *path, const struct stat *opened)
{
	char		file[PATH_MAX];
	char		data[PATH_MAX];
	struct stat st;

	if (realpath(path, file) == NULL || realpath(DataDir, data) == NULL ||
		stat(file, &st) != 0 ||
		st.st_dev != opened->st_dev || st.st_ino != opened->st_ino)
		return "was replaced while it was being read";
	if (path_is_prefix_of_path(data, file))
		return "lies inside the data directory";
	return NULL;
}

/*
 * Checks an opened file and reads it.  Returns what is wrong, or NULL.
 * Everything is asked of the descriptor, so that a file that was checked is
 * the file that is read.
 */
static const char *
read_checked(const char *path, int fd, KeyText *got)
{
	struct stat st;
	const char *problem;

	if (fstat(fd, &st) != 0)
		return "could not be examined";
	if (!S_ISREG(st.st_mode))
		return "is not a regular file";
	problem = check_place(path, &st);
	if (problem == NULL)
		problem = check_ownership(&st);
	if (problem != NULL)
		return problem;

	if (read_key_text(fd, got) < 0)
		return "could not be read";
	if (got->len == 0)
		return "is empty";
	if (got->len > KS_ROOT_KEYRING_BYTES_MAX)
		return "is longer than a root keyring can be";
	return NULL;
}

static void
load_from_file(const char *path)
{
	KeyText		got = make_key_text();
	const char *place = psprintf(": \"%s\"", path);
	const char *problem;
	int			fd;

	/* a FIFO in the wrong place must not block the launcher */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
	{
		problem = read_checked(path, fd, &got);
		close(fd);
	}
	else if (errno == ENOENT || errno == ENOTDIR)
		problem = "does not exist";
	else if (errno == EACCES || errno == EPERM)
		problem = "is not readable by the server's user";
	else
		problem = "could not be opened";

	if (problem != NULL)
		seal(psprintf("keystone.root_key_file %s%s", problem, place));
	else
		publish_text(&got, "keystone.root_key_file", place);
}


/*-------------------------------------------------------------------------
 * keystone.root_key_command
 *-------------------------------------------------------------------------
 */

/*
 * Ends the command with all that it started.  Its status is of no interest
 * any more; reap_children() collects it.
 */
static void
kill_command(void)
{
	if (command.fd >= 0)
		close(command.fd);
	command.fd = -1;
	if (command.pid == 0)
		return;

	/* the group exists only once the child got to setsid() */
	kill(-command.pid, SIGKILL);
	if (!command.exited)
		kill(command.pid, SIGKILL);
	command.pid = 0;
}

static void
kill_command_at_exit(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	kill_command();
}

static void
close_inherited(void)
{
	long		limit = sysconf(_SC_OPEN_MAX);

	if (limit < 0 || limit > INHERITED_FD_MAX)
		limit = INHERITED_FD_MAX;
	for (int fd = STDERR_FILENO + 1; fd < limit; fd++)
		close(fd);
}

/*
 * In the child: becomes the shell.  All signals are blocked until nothing of
 * the server's handlers is left.  Only async-signal-safe calls, and no exit()
 * that would run the server's callbacks.
 */
static void
become_shell(int out)
{
	int			null = open("/dev/null", O_RDWR);
	sigset_t	none;

	setsid();
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
		dup2(null, STDERR_FILENO) < 0)
		_exit(126);
	close_inherited();

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	execl("/bin/sh", "sh", "-c", command.shell_text, (char *) NULL);
	_exit(127);
}

/*
 * Starts the command.  Its text is not in any message: it may hold a token.
 */
static void
start_command(const char *shell_text)
{
	int			fds[2];
	sigset_t	all;
	sigset_t	before;
	pid_t		pid;

	command.shell_text = MemoryContextStrdup(load_context, shell_text);
	command.output = make_key_text();
	command.timeout = ks_root_key_timeout;
	command.exited = false;

	if (pipe(fds) != 0)
	{
		seal("keystone.root_key_command could not be started: no pipe");
		return;
	}
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 || fcntl(fds[0], F_SETFD, FD_CLOEXEC) < 0)
	{
		close(fds[0]);
		close(fds[1]);
		seal("keystone.root_key_command could not be started: no pipe");
		return;
	}

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		become_shell(fds[1]);
	if (pid > 0)
		command.pid = pid;
	sigprocmask(SIG_SETMASK, &before, NULL);

	close(fds[1]);
	if (pid < 0)
	{
		close(fds[0]);
		seal("keystone.root_key_command could not be started: no process");
		return;
	}
	command.fd = fds[0];
	command.deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   command.timeout * 1000L);
	set_ps_display("running keystone.root_key_command");
}

/*
 * Collects children that ended.  The launcher has none but key commands; one
 * that it gave up may come in late.
 */
static void
reap_children(void)
{
	pid_t		pid;
	int			status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
	{
		if (pid == command.pid)
		{
			command.exited = true;
			command.status = status;
		}
	}
}

/*
 * What is wrong with how the command ended, or NULL.  palloc'd.
 */
static const char *
command_problem(void)
{
	if (command.output.len > KS_ROOT_KEYRING_BYTES_MAX)
		return "printed more than a root keyring can be";
	if (!command.exited)
		return psprintf("did not finish within %d s", command.timeout);
	if (WIFSIGNALED(command.status))
		return psprintf("was ended by signal %d", WTERMSIG(command.status));
	if (WEXITSTATUS(command.status) != 0)
		return psprintf("failed with exit status %d", WEXITSTATUS(command.status));
	if (command.output.len == 0)
		return "printed nothing";
	return NULL;
}

/*
 * Looks at the running command, after reap_children(): reads what it printed,
 * and ends the load when it exited, prints too much, or takes too long.
 */
static void
watch_command(void)
{
	const char *problem;
	KeyText		got;

	/* after the look at the exit, so that nothing printed before is missed */
	if (command.fd >= 0)
	{
		ssize_t		n = read_key_text(command.fd, &command.output);

		/* it may close its output and go on */
		if (n == 0)
		{
			close(command.fd);
			command.fd = -1;
		}
	}

	if (!command.exited && command.output.len <= KS_ROOT_KEYRING_BYTES_MAX &&
		GetCurrentTimestamp() < command.deadline)
		return;

	problem = command_problem();
	got = command.output;
	/* what it left behind in its group ends with it */
	kill_command();
	if (problem != NULL)
		seal(psprintf("keystone.root_key_command %s", problem));
	else
		publish_text(&got, "keystone.root_key_command", "");
}


/*-------------------------------------------------------------------------
 * The launcher
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
 * Settings were reloaded.  A command that runs already may have asked its key
 * manager before whatever the administrator did, so that a load follows in
 * any case.  It is not cut short unless it is no longer the one that is set:
 * else reloads in a row would keep any load from ending.
 */
static void
reload_settings(void)
{
	ProcessConfigFile(PGC_SIGHUP);
	load_wanted = true;

	if (command.pid != 0 &&
		(strcmp(command.shell_text, ks_root_key_command) != 0 ||
		 ks_root_key_file[0] != '\0' || command.timeout != ks_root_key_timeout))
	{
		kill_command();
		end_load();
	}
}

/*
 * One round of the main loop: does what is due, then waits.
 */
static void
run_once(void)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	long		timeout = -1;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		reload_settings();
	}
	reap_children();
	if (command.pid != 0)
		watch_command();
	if (command.pid == 0 && load_wanted)
		begin_load();

	if (command.pid != 0)
	{
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), command.deadline);
		events |= WL_TIMEOUT;
		if (command.fd >= 0)
			events |= WL_SOCKET_READABLE;
	}
	WaitLatchOrSocket(MyLatch, events, command.fd >= 0 ? command.fd : PGINVALID_SOCKET,
					  timeout, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/*
 * After an error: nothing of the load is left, and nothing can be used.
 */
static void
recover(void)
{
	HOLD_INTERRUPTS();
	EmitErrorReport();
	FlushErrorState();
	kill_command();
	end_load();
	ks_keyring_seal("the root keyring could not be loaded; the server log says why");
	RESUME_INTERRUPTS();
}

static void
child_exited(SIGNAL_ARGS)
{
	int			save_errno = errno;

	(void) postgres_signal_arg;
	SetLatch(MyLatch);
	errno = save_errno;
}

/*
 * Entry point.  The launcher ends with status 1, since the postmaster would
 * not start a worker again that ends with 0.
 */
void
ks_launcher_main(Datum arg pg_attribute_unused())
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGCHLD, child_exited);
	before_shmem_exit(kill_command_at_exit, (Datum) 0);
	BackgroundWorkerUnblockSignals();

	load_context = AllocSetContextCreate(TopMemoryContext, "keystone load",
										 ALLOCSET_DEFAULT_SIZES);

	while (!ShutdownRequestPending)
	{
		MemoryContextSwitchTo(load_context);
		PG_TRY();
		{
			run_once();
		}
		PG_CATCH();
		{
			recover();
		}
		PG_END_TRY();
	}
	proc_exit(1);
}

/*
 * Registers the launcher: without a database, from the consistent state on,
 * so that a hot standby can tell whether it holds the right keys.
 */
void
ks_worker_init(void)
{
	BackgroundWorker worker = {
		.bgw_name = "keystone launcher",
		.bgw_type = "keystone launcher",
		.bgw_flags = BGWORKER_SHMEM_ACCESS,
		.bgw_start_time = BgWorkerStart_ConsistentState,
		.bgw_restart_time = RESTART_SECONDS,
		.bgw_library_name = "keystone",
		.bgw_function_name = "ks_launcher_main",
	};

	RegisterBackgroundWorker(&worker);
}
