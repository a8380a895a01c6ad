/*-------------------------------------------------------------------------
 *
 * ks_command.h
 *	  A shell command in a child of a background worker, without blocking.
 *
 * The worker starts it, waits on its latch (ks_command_wait), looks
 * (ks_command_watch) until it is over, and asks what went wrong
 * (ks_command_problem).  A process may run several, each in a KsCommand of its
 * own, up to KS_COMMANDS_MAX.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_COMMAND_H
#define KS_COMMAND_H

#include "keystone.h"

#include "datatype/timestamp.h"

/* Bytes for the standard input: what every pipe takes at once. */
#define KS_COMMAND_STDIN_MAX	4096

/* Commands in one process. */
#define KS_COMMANDS_MAX			40

typedef struct KsCommand
{
	pid_t		pid;			/* also its process group; 0: none runs */
	int			fd;				/* its standard output, or -1 */
	char	   *output;			/* the caller's, NULL when it is dropped */
	size_t		output_max;		/* bytes that it may print; output has room
								 * for one more */
	size_t		output_len;		/* output_max + 1: it printed more */
	const char *const *environment; /* "NAME=value" besides our own, ended by
									 * NULL; NULL: none.  No secrets. */
	int			timeout;		/* seconds */
	TimestampTz deadline;
	bool		exited;
	int			status;			/* as waitpid() gives it, when exited */
} KsCommand;

/* What a static KsCommand begins with. */
#define KS_COMMAND_NONE			{.fd = -1}

/*
 * Prepares this process: a child that ends sets the latch, and a command that
 * runs when the process exits is killed.  command is static.
 */
extern void ks_command_init(KsCommand *command);

/*
 * Starts a command.  output, output_max, environment and timeout are set by
 * the caller;
 * input (NULL for none) is its standard input, at most KS_COMMAND_STDIN_MAX
 * bytes.  Returns why it could not be started, a constant, or NULL.
 */
extern const char *ks_command_start(KsCommand *command, const char *shell_text,
									const void *input, size_t input_len);

/*
 * Looks at the command, which may be none: true when it is over, because it
 * exited, printed too much, or took too long.  Nothing of it is left then.
 */
extern bool ks_command_watch(KsCommand *command);

/*
 * What is wrong with how it ended, or NULL: continues the command's name.
 * palloc'd.  Too much output is for the caller to see in output_len.
 */
extern const char *ks_command_problem(const KsCommand *command);

/* Ends the command, if one runs, with all that it started. */
extern void ks_command_kill(KsCommand *command);

/*
 * Waits for the latch, the command, or until a time, and resets the latch.
 * DT_NOEND is for ever.  Returns whether the latch was set.
 */
extern bool ks_command_wait(const KsCommand *command, TimestampTz until);

/* The same for all commands of this process. */
extern bool ks_command_wait_all(TimestampTz until);

#endif							/* KS_COMMAND_H */
