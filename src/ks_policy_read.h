/*-------------------------------------------------------------------------
 *
 * ks_policy_read.h
 *	  Reading JSON documents strictly, with all that is wrong with them.
 *
 * A value is read together with its place, a chain up to the whole document in
 * the frames of the functions that read it.  What is wrong is noted with the
 * place as JSON Pointer (RFC 6901), and reading goes on.  Members that nobody
 * asked for are errors.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_POLICY_READ_H
#define KS_POLICY_READ_H

#include "keystone.h"

#include "utils/jsonb.h"

#define KS_POLICY_PROBLEMS_MAX	200 /* what comes after is not told */

/* What is wrong with a document, or odd. */
typedef struct KsPolicyProblem
{
	const char *path;			/* JSON Pointer; "" for the whole */
	bool		warning;		/* else it is an error */
	const char *message;
} KsPolicyProblem;

typedef struct KsPolicyProblems
{
	int			n;
	int			n_errors;		/* also those that are not told */
	KsPolicyProblem *problems;	/* as they were found */
} KsPolicyProblems;

typedef struct KsPlace
{
	const struct KsPlace *up;	/* NULL: the whole */
	const char *key;			/* NULL: an element of an array */
	int			key_len;
	int			index;
} KsPlace;

/* A value at its place. */
typedef struct KsPolicyValue
{
	KsPolicyProblems *problems;
	KsPlace		place;
	JsonbValue	value;
} KsPolicyValue;

/* A member that an object may have. */
typedef struct KsPolicyField
{
	const char *name;
	bool		required;
	bool		found;
	KsPolicyValue value;		/* when it was found */
} KsPolicyField;

#define KS_FIELD(field_name)			{.name = (field_name)}
#define KS_REQUIRED_FIELD(field_name)	{.name = (field_name), .required = true}

extern void ks_policy_whole(const Jsonb *document, KsPolicyProblems *problems, KsPolicyValue *whole);

/* Notes a problem; message is kept.  Both return false. */
extern bool ks_policy_wrong(const KsPolicyValue *at, const char *message);
extern bool ks_policy_odd(const KsPolicyValue *at, const char *message);

/*
 * Finds an object's members.  False when it is none.  Notes members that are
 * not in fields, and required ones that are not there.
 */
extern bool ks_policy_object(const KsPolicyValue *object, KsPolicyField *fields, int n);

/* How many elements an array has; notes it when there are not min to max, or
 * it is no array: below 0. */
extern int	ks_policy_array(const KsPolicyValue *array, int min, int max);

/* Calls back for each element of an array, or member of an object, which the
 * value must be. */
typedef void (*KsPolicyVisit) (void *arg, int i, const KsPolicyValue *value);

extern void ks_policy_each(const KsPolicyValue *container, KsPolicyVisit visit, void *arg);

/* How many members an object has; below 0, and noted, when it is none or has
 * more than max. */
extern int	ks_policy_members(const KsPolicyValue *object, int max);

extern bool ks_policy_is_object(const KsPolicyValue *value);
extern bool ks_policy_is_string(const KsPolicyValue *value);

/* Each notes what is wrong, and returns false, or NULL. */
extern bool ks_policy_bool(const KsPolicyValue *value, bool *result);
extern bool ks_policy_int(const KsPolicyValue *value, int min, int max, int32 *result);

/* A copy of a string of 1 to max bytes in NFC. */
extern char *ks_policy_string(const KsPolicyValue *value, int max);

/* A copy of a name: letters, digits, "_", "." and "-", at most 64. */
#define KS_POLICY_ID_MAX		64

extern char *ks_policy_id(const KsPolicyValue *value);
extern bool ks_policy_is_id(const char *name, size_t len);

/* The number of a word in a list that ends with NULL; below 0 when it is none. */
extern int	ks_policy_word(const KsPolicyValue *value, const char *const *words);

/* An ISO 8601 duration of weeks, or of days, hours, minutes and seconds, in
 * microseconds. */
extern bool ks_policy_duration(const KsPolicyValue *value, int64 min, int64 max, int64 *result);

/* A microsecond count as such a duration, palloc'd. */
extern char *ks_policy_duration_text(int64 duration);

#endif							/* KS_POLICY_READ_H */
