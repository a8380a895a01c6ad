/*-------------------------------------------------------------------------
 *
 * ks_verify.h
 *	  Verifies the audit log against itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_VERIFY_H
#define KS_VERIFY_H

#include "ks_audit.h"

typedef struct KsVerification
{
	bool		empty;			/* there is no log */
	int64		checked;		/* entries */
	int64		first_bad;		/* seq of the entry that is wrong, 0: none */
	char	   *problem;		/* palloc'd, NULL: none */
} KsVerification;

/*
 * Verifies entries from seq from to seq to, both included.  What lies before
 * is taken for granted.  Raises no error for what is wrong with the log.
 */
extern void ks_verify(int64 from, int64 to, KsVerification *result);

#endif							/* KS_VERIFY_H */
