/*-------------------------------------------------------------------------
 *
 * ks_json.h
 *	  A reader of small JSON texts (RFC 8259), over the server's own parser.
 *
 * The text may come from anybody: what is wrong with it is a result, never an
 * error of the server, whose reports quote the text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_JSON_H
#define KS_JSON_H

#include "keystone.h"

#define KS_JSON_PATH_MAX	4	/* what lies deeper is parsed and not told */
#define KS_JSON_DEPTH_MAX	32	/* what nests deeper is refused */

typedef enum KsJsonType
{
	KS_JSON_STRING,
	KS_JSON_NUMBER,
	KS_JSON_BOOL,
	KS_JSON_NULL,
	KS_JSON_OBJECT,				/* told at its beginning, before its members */
	KS_JSON_ARRAY
} KsJsonType;

/* One step down: into a member of an object, or an element of an array. */
typedef struct KsJsonStep
{
	const char *key;			/* de-escaped; NULL: an element */
	int			index;			/* of the element, from 0 */
} KsJsonStep;

/* Where a value lies.  The whole text has depth 0. */
typedef struct KsJsonPath
{
	int			depth;
	KsJsonStep	steps[KS_JSON_PATH_MAX];
} KsJsonPath;

/*
 * Called for each value in the order of the text, an object's key that comes
 * twice both times.  text is a string's, de-escaped; else what was written,
 * and empty for objects and arrays.  Path and text are good during the call
 * only, are wiped then, and have no NUL.  It runs in the caller's memory
 * context, and may be called for a text that turns out to be broken later.
 */
typedef void (*KsJsonVisit) (void *arg, const KsJsonPath *path, KsJsonType type, const char *text);

/*
 * Reads len bytes of UTF-8, which need no terminator.  NULL, or a constant
 * phrase that says what is wrong with the text, such as "is no JSON".  Raises
 * nothing but errors of memory.
 */
extern const char *ks_json_read(const char *json, size_t len, KsJsonVisit visit, void *arg);

#endif							/* KS_JSON_H */
