/*-------------------------------------------------------------------------
 *
 * ks_cedar_value.h
 *	  Values of the policy language Cedar.
 *
 * A value is made once and not changed; what it points to belongs to whoever
 * made it and may be shared by any number of values.  Sets and records are
 * kept in order, so that equal ones look alike.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_VALUE_H
#define KS_CEDAR_VALUE_H

#include "postgres.h"

#include "ks_cedar_ast.h"
#include "ks_cedar_ext.h"

typedef enum KsCedarType
{
	KS_CEDAR_TYPE_BOOL,
	KS_CEDAR_TYPE_LONG,
	KS_CEDAR_TYPE_STRING,
	KS_CEDAR_TYPE_ENTITY,
	KS_CEDAR_TYPE_SET,
	KS_CEDAR_TYPE_RECORD,
	KS_CEDAR_TYPE_IP,
	KS_CEDAR_TYPE_DECIMAL,
	KS_CEDAR_TYPE_DATETIME,
	KS_CEDAR_TYPE_DURATION
} KsCedarType;

/* The name of an entity with its hash, which is good in this process only. */
typedef struct KsCedarRef
{
	KsCedarUid	uid;
	uint32		hash;
} KsCedarRef;

typedef struct KsCedarSet KsCedarSet;
typedef struct KsCedarRecord KsCedarRecord;

typedef struct KsCedarValue
{
	KsCedarType type;
	union
	{
		bool		boolean;
		int64		number;		/* long; decimal, datetime and duration as
								 * ks_cedar_ext has them */
		const KsCedarString *string;
		const KsCedarRef *entity;
		const KsCedarSet *set;
		const KsCedarRecord *record;
		const KsCedarIp *ip;
	}			of;
} KsCedarValue;

/* weight: what it takes to look at all of it, see ks_cedar_weight(). */
struct KsCedarSet
{
	int64		weight;
	int			n;
	KsCedarValue members[FLEXIBLE_ARRAY_MEMBER];	/* in order, each once */
};

typedef struct KsCedarMember
{
	KsCedarString key;
	KsCedarValue value;
} KsCedarMember;

struct KsCedarRecord
{
	int64		weight;
	int			n;
	KsCedarMember members[FLEXIBLE_ARRAY_MEMBER];	/* by key: the shorter
													 * first, then by bytes */
};

/* Why an expression has no value. */
typedef enum KsCedarFault
{
	KS_CEDAR_NO_FAULT = 0,
	KS_CEDAR_WRONG_TYPE,
	KS_CEDAR_NO_ATTRIBUTE,
	KS_CEDAR_NO_TAG,
	KS_CEDAR_NO_ENTITY,
	KS_CEDAR_OVERFLOW,
	KS_CEDAR_BAD_TEXT,			/* of a constructor such as ip */
	KS_CEDAR_BAD_CALL			/* wrong number of operands */
} KsCedarFault;

/* A constant phrase, such as "the attribute does not exist". */
extern const char *ks_cedar_fault_text(KsCedarFault fault);

static inline KsCedarValue
ks_cedar_bool(bool boolean)
{
	KsCedarValue value;

	value.type = KS_CEDAR_TYPE_BOOL;
	value.of.boolean = boolean;
	return value;
}

/* A long, decimal, datetime or duration. */
static inline KsCedarValue
ks_cedar_number(KsCedarType type, int64 number)
{
	KsCedarValue value;

	value.type = type;
	value.of.number = number;
	return value;
}

static inline KsCedarValue
ks_cedar_entity_value(const KsCedarRef *ref)
{
	KsCedarValue value;

	value.type = KS_CEDAR_TYPE_ENTITY;
	value.of.entity = ref;
	return value;
}

static inline KsCedarValue
ks_cedar_record_value(const KsCedarRecord *record)
{
	KsCedarValue value;

	value.type = KS_CEDAR_TYPE_RECORD;
	value.of.record = record;
	return value;
}

/* Copies the descriptor only, not the characters. */
extern KsCedarValue ks_cedar_text_value(KsCedarString string);

/* The name of an entity; its strings are not copied. */
extern void ks_cedar_ref(KsCedarUid uid, KsCedarRef *ref);
extern const KsCedarRef *ks_cedar_make_ref(KsCedarUid uid);
extern bool ks_cedar_ref_differs(const KsCedarRef *a, const KsCedarRef *b);

/* Below, equal to or above zero, in an order that holds in this process. */
extern int	ks_cedar_ref_compare(const KsCedarRef *a, const KsCedarRef *b);

static inline bool
ks_cedar_ref_equal(const KsCedarRef *a, const KsCedarRef *b)
{
	return a == b || (a->hash == b->hash && !ks_cedar_ref_differs(a, b));
}

/* A set of what may come in any order and more than once; sorts the array. */
extern KsCedarValue ks_cedar_make_set(KsCedarValue *members, int n);

/* A record; sorts the array, in which no key may come twice. */
extern const KsCedarRecord *ks_cedar_make_record(KsCedarMember *members, int n);

extern const KsCedarRecord ks_cedar_empty_record;

/* The member of a key; NULL if there is none. */
extern const KsCedarValue *ks_cedar_find(const KsCedarRecord *record, KsCedarString key);

/* Below, equal to or above zero, in an order of no meaning. */
extern int	ks_cedar_key_compare(KsCedarString a, KsCedarString b);
extern int	ks_cedar_compare(const KsCedarValue *a, const KsCedarValue *b);

static inline bool
ks_cedar_equal(const KsCedarValue *a, const KsCedarValue *b)
{
	return a->type == b->type && ks_cedar_compare(a, b) == 0;
}

extern bool ks_cedar_contains(const KsCedarSet *set, const KsCedarValue *value);

/* About how many machine words it takes to compare a value; at least 1. */
extern int64 ks_cedar_weight(const KsCedarValue *value);

/* Calls a function or method of the extension types. */
extern KsCedarFault ks_cedar_call(KsCedarFunction function, const KsCedarValue *operands, int n,
								  KsCedarValue *result);

/* The order of two longs, datetimes or durations; a fault for all else. */
extern KsCedarFault ks_cedar_order(const KsCedarValue *a, const KsCedarValue *b, int *order);

#endif							/* KS_CEDAR_VALUE_H */
