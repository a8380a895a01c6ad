/*-------------------------------------------------------------------------
 *
 * ks_runner.h
 *	  The runner: executes the commands that the administrator has configured.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_RUNNER_H
#define KS_RUNNER_H

#include "keystone.h"

/* Entry point of the runner, named by the launcher. */
extern PGDLLEXPORT void ks_runner_main(Datum arg);

#endif							/* KS_RUNNER_H */
