/*-------------------------------------------------------------------------
 *
 * ks_command.c
 *	  A shell command in a child of a background worker, without blocking.
 *
 * What must always hold:
 *
 *	- nothing here blocks but ks_command_wait(), which the latch ends;
 *	- a command that was given up has no process left: it is killed together
 *	  with its process group, and the same happens when the worker exits,
 *	  unless that is an immediate shutdown or a crash;
 *	- nothing is reported here, and no text of a command is in any message: it
 *	  may hold a token;
 *	- what a command prints lies in the caller's buffer only, which does not
 *	  grow; it may be a secret.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ks_command.h"

/* A file descriptor of the worker is below this; see close_inherited(). */
#define INHERITED_FD_MAX	65536

#define LOOK_MS				100

/* Two ends of a pipe, -1 where there is none. */
typedef struct Pipe
{
	int			read_end;
	int			write_end;
} Pipe;

/* The commands of this process, for whoever ended and for the end. */
static KsCommand *commands[KS_COMMANDS_MAX];
static int	n_commands = 0;

KS_NORETURN static void become_shell(const char *shell_text, char **environment, int in, int out) KS_NORETURN_END;


/*-------------------------------------------------------------------------
 * In the child
 *-------------------------------------------------------------------------
 */

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
 * Becomes the shell.  in and out are -1 for nothing.  All signals are blocked
 * until nothing of the server's handlers is left.  Only async-signal-safe
 * calls, and no exit() that would run the server's callbacks.
 */
static void
become_shell(const char *shell_text, char **environment, int in, int out)
{
	int			null = open("/dev/null", O_RDWR);
	sigset_t	none;

	setsid();
	if (null < 0 || dup2(in < 0 ? null : in, STDIN_FILENO) < 0 ||
		dup2(out < 0 ? null : out, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
		_exit(126);
	close_inherited();

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	execle("/bin/sh", "sh", "-c", shell_text, (char *) NULL, environment);
	_exit(127);
}


/*-------------------------------------------------------------------------
 * Starting
 *-------------------------------------------------------------------------
 */

static void
close_pipe(Pipe *ends)
{
	if (ends->read_end >= 0)
		close(ends->read_end);
	if (ends->write_end >= 0)
		close(ends->write_end);
	ends->read_end = ends->write_end = -1;
}

/*
 * A pipe of which our end neither blocks nor is inherited.
 */
static bool
make_pipe(Pipe *ends, bool we_read)
{
	int			fds[2];
	int			ours;

	if (pipe(fds) != 0)
		return false;
	ends->read_end = fds[0];
	ends->write_end = fds[1];
	ours = we_read ? fds[0] : fds[1];
	return fcntl(ours, F_SETFL, O_NONBLOCK) >= 0 && fcntl(ours, F_SETFD, FD_CLOEXEC) >= 0;
}

/*
 * The input lies in the pipe as a whole before there is anybody to read it.
 */
static bool
fill_input(Pipe *ends, const void *input, size_t len)
{
	if (len > KS_COMMAND_STDIN_MAX || !make_pipe(ends, false) ||
		write(ends->write_end, input, len) != (ssize_t) len)
		return false;
	close(ends->write_end);
	ends->write_end = -1;
	return true;
}

/*
 * Our environment and what a command gets besides; palloc'd, as nothing can be
 * allocated in the child.
 */
static char **
make_environment(const char *const *more)
{
	int			n = 0;
	char	  **all;

	if (more == NULL)
		return environ;
	while (environ[n] != NULL)
		n++;
	for (int i = 0; more[i] != NULL; i++)
		n++;
	all = palloc((n + 1) * sizeof(char *));
	n = 0;
	for (; environ[n] != NULL; n++)
		all[n] = environ[n];
	for (; *more != NULL; more++)
		all[n++] = unconstify(char *, *more);
	all[n] = NULL;
	return all;
}

/*
 * Forks with all signals blocked: a handler of ours must not run in the child.
 */
static pid_t
fork_shell(const char *shell_text, char **environment, int in, int out)
{
	sigset_t	all;
	sigset_t	before;
	pid_t		pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		become_shell(shell_text, environment, in, out);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

const char *
ks_command_start(KsCommand *command, const char *shell_text, const void *input, size_t input_len)
{
	Pipe		in = {-1, -1};
	Pipe		out = {-1, -1};
	char	  **environment = make_environment(command->environment);
	const char *problem = NULL;
	pid_t		pid = -1;

	Assert(command->pid == 0);
	if ((input != NULL && !fill_input(&in, input, input_len)) ||
		(command->output != NULL && !make_pipe(&out, true)))
		problem = "could not be started: no pipe";
	else
	{
		pid = fork_shell(shell_text, environment, in.read_end, out.write_end);
		if (pid < 0)
			problem = "could not be started: no process";
	}

	if (problem == NULL)
	{
		command->pid = pid;
		command->fd = out.read_end;
		out.read_end = -1;
		command->output_len = 0;
		command->exited = false;
		command->deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
														command->timeout * INT64CONST(1000));
	}
	close_pipe(&in);
	close_pipe(&out);
	return problem;
}


/*-------------------------------------------------------------------------
 * Watching
 *-------------------------------------------------------------------------
 */

/*
 * Collects children that ended.  A process that runs commands has no others;
 * one that it gave up may come in late.
 */
static void
reap_children(void)
{
	pid_t		pid;
	int			status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
	{
		for (int i = 0; i < n_commands; i++)
		{
			if (pid != commands[i]->pid)
				continue;
			commands[i]->exited = true;
			commands[i]->status = status;
		}
	}
}

/*
 * Reads what is there, up to one byte more than allowed, to see that there is
 * more.
 */
static void
read_output(KsCommand *command)
{
	ssize_t		n;

	do
	{
		n = read(command->fd, command->output + command->output_len,
				 command->output_max + 1 - command->output_len);
		if (n > 0)
			command->output_len += n;
	} while ((n > 0 && command->output_len <= command->output_max) || (n < 0 && errno == EINTR));

	/* it may close its output and go on */
	if (n == 0)
	{
		close(command->fd);
		command->fd = -1;
	}
}

bool
ks_command_watch(KsCommand *command)
{
	reap_children();
	if (command->pid == 0)
		return false;

	/* after the look at the exit, so that nothing printed before is missed */
	if (command->fd >= 0)
		read_output(command);

	if (!command->exited && command->output_len <= command->output_max &&
		GetCurrentTimestamp() < command->deadline)
		return false;
	/* what it left behind in its group ends with it */
	ks_command_kill(command);
	return true;
}

const char *
ks_command_problem(const KsCommand *command)
{
	if (!command->exited)
		return psprintf("did not finish within %d s", command->timeout);
	if (WIFSIGNALED(command->status))
		return psprintf("was ended by signal %d", WTERMSIG(command->status));
	if (WEXITSTATUS(command->status) != 0)
		return psprintf("failed with exit status %d", WEXITSTATUS(command->status));
	return NULL;
}

bool
ks_command_wait(const KsCommand *command, TimestampTz until)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	long		timeout = -1;
	int			happened;

	if (command->pid != 0)
	{
		until = Min(until, command->deadline);
		if (command->fd >= 0)
			events |= WL_SOCKET_READABLE;
	}
	if (!TIMESTAMP_IS_NOEND(until))
	{
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		events |= WL_TIMEOUT;
	}
	happened = WaitLatchOrSocket(MyLatch, events, command->fd >= 0 ? command->fd : PGINVALID_SOCKET,
								 timeout, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	return (happened & WL_LATCH_SET) != 0;
}

/*
 * The end of a command sets the latch.  What it prints before need not be
 * taken at once, unless it prints more than a pipe takes: for that there is
 * LOOK_MS.
 */
bool
ks_command_wait_all(TimestampTz until)
{
	static const KsCommand none = KS_COMMAND_NONE;

	for (int i = 0; i < n_commands; i++)
	{
		if (commands[i]->pid == 0)
			continue;
		until = Min(until, commands[i]->deadline);
		if (commands[i]->fd >= 0)
			until = Min(until, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_MS));
	}
	return ks_command_wait(&none, until);
}


/*-------------------------------------------------------------------------
 * Ending
 *-------------------------------------------------------------------------
 */

/*
 * The status is of no interest any more; reap_children() collects it.
 */
void
ks_command_kill(KsCommand *command)
{
	if (command->fd >= 0)
		close(command->fd);
	command->fd = -1;
	if (command->pid == 0)
		return;

	/* the group exists only once the child got to setsid() */
	kill(-command->pid, SIGKILL);
	if (!command->exited)
		kill(command->pid, SIGKILL);
	command->pid = 0;
}

static void
kill_at_exit(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	for (int i = 0; i < n_commands; i++)
		ks_command_kill(commands[i]);
}

static void
child_exited(SIGNAL_ARGS)
{
	int			save_errno = errno;

	(void) postgres_signal_arg;
	SetLatch(MyLatch);
	errno = save_errno;
}

void
ks_command_init(KsCommand *command)
{
	Assert(n_commands < KS_COMMANDS_MAX);
	if (n_commands == 0)
	{
		pqsignal(SIGCHLD, child_exited);
		before_shmem_exit(kill_at_exit, (Datum) 0);
	}
	commands[n_commands++] = command;
}
