/*-------------------------------------------------------------------------
 *
 * ks_glob.h
 *	  Patterns of policy documents.
 *
 * "*" stands for any run of bytes without a "/", "**" for any run at all, and
 * everything else for itself: there are no escapes and no classes.  Text is
 * compared byte by byte, so both sides must be in the same normal form (NFC)
 * and case matters.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_GLOB_H
#define KS_GLOB_H

#include "ks_compat.h"

#define KS_GLOB_MAX		256		/* bytes of a pattern */

typedef struct KsGlob
{
	const char *pattern;		/* NUL-terminated */
	size_t		len;
	bool		literal;		/* stands for itself only */
	bool		any;			/* "*" or "**" alone */
} KsGlob;

/* A list matches when one of its patterns does. */
typedef struct KsGlobList
{
	int			n;				/* 0: nothing was said, all match */
	KsGlob	   *globs;
} KsGlobList;

/* What there is to know of a pattern, which must stay where it is. */
extern void ks_glob_read(const char *pattern, KsGlob *glob);

extern bool ks_glob_match(const KsGlob *glob, const char *string, size_t len);

/* string is NUL-terminated; NULL, for what the request does not have, matches
 * only a list of which nothing was said or one with a pattern that is "any". */
extern bool ks_glob_list_match(const KsGlobList *list, const char *string);

#endif							/* KS_GLOB_H */
