/*-------------------------------------------------------------------------
 *
 * ks_value.h
 *	  What can be told about a value: its hint, a field of it, whether it
 *	  looks like what its provider gives out.
 *
 * The functions read a secret and must not say anything about it in an error.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_VALUE_H
#define KS_VALUE_H

#include "keystone.h"

/*
 * The part of a value that is shown as its hint, palloc'd, or NULL: the host
 * of a connection string, the key id of an access key pair, otherwise the
 * last four characters of a value of 24 or more on one line.
 */
extern char *ks_value_hint(const char *kind, const char *value, size_t len);

typedef enum KsFieldResult
{
	KS_FIELD_FOUND,
	KS_FIELD_MISSING,			/* no such field, or it is null */
	KS_FIELD_NO_OBJECT			/* the value is no JSON object */
} KsFieldResult;

/*
 * A field of a JSON object: a string's text, anything else as its JSON text.
 * *field_value is in a secret buffer of the current memory context.
 */
extern KsFieldResult ks_value_field(const char *value, size_t len, const char *field,
									char **field_value, size_t *field_len);

/* Whether a value matches a regular expression.  22023 or 2201B for a bad one. */
extern bool ks_value_matches(const char *value, size_t len, const char *pattern);

#endif							/* KS_VALUE_H */
