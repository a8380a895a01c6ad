/*-------------------------------------------------------------------------
 *
 * ks_cedar_value.c
 *	  Values of the policy language Cedar.
 *
 * Comparison recurses into sets and records; how deep they nest is bounded
 * where they are read and by the depth of expressions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "common/int.h"
#include "common/pg_prng.h"
#include "datatype/timestamp.h"
#include "miscadmin.h"

#include "ks_cedar_value.h"

#define BYTES_OF_WORD		8
#define MS_PER_SECOND		1000

const KsCedarRecord ks_cedar_empty_record = {.weight = 1};

const char *
ks_cedar_fault_text(KsCedarFault fault)
{
	static const char *const texts[] = {
		[KS_CEDAR_NO_FAULT] = "nothing",
		[KS_CEDAR_WRONG_TYPE] = "an operand has a type that the operator does not take",
		[KS_CEDAR_NO_ATTRIBUTE] = "the attribute does not exist",
		[KS_CEDAR_NO_TAG] = "the tag does not exist",
		[KS_CEDAR_NO_ENTITY] = "the entity does not exist",
		[KS_CEDAR_OVERFLOW] = "the number is out of range",
		[KS_CEDAR_BAD_TEXT] = "the text is no value of the extension type",
		[KS_CEDAR_BAD_CALL] = "the function is called with a wrong number of operands",
	};

	return texts[fault];
}

KsCedarValue
ks_cedar_text_value(KsCedarString string)
{
	KsCedarString *copy = palloc(sizeof(KsCedarString));
	KsCedarValue value;

	*copy = string;
	value.type = KS_CEDAR_TYPE_STRING;
	value.of.string = copy;
	return value;
}

/* Names of entities */

/*
 * Names may come from anybody: a seed that nobody knows keeps them from making
 * up many with one hash.
 */
static uint64
hash_seed(void)
{
	static uint64 seed = 0;

	while (seed == 0)
		seed = pg_prng_uint64(&pg_global_prng_state);
	return seed;
}

void
ks_cedar_ref(KsCedarUid uid, KsCedarRef *ref)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) uid.type.data, (int) uid.type.len, hash_seed());

	ref->uid = uid;
	ref->hash = (uint32) hash_bytes_extended((const unsigned char *) uid.id.data, (int) uid.id.len, hash);
}

const KsCedarRef *
ks_cedar_make_ref(KsCedarUid uid)
{
	KsCedarRef *ref = palloc(sizeof(KsCedarRef));

	ks_cedar_ref(uid, ref);
	return ref;
}

int
ks_cedar_key_compare(KsCedarString a, KsCedarString b)
{
	if (a.len != b.len)
		return a.len > b.len ? 1 : -1;
	return memcmp(a.data, b.data, a.len);
}

bool
ks_cedar_ref_differs(const KsCedarRef *a, const KsCedarRef *b)
{
	return ks_cedar_key_compare(a->uid.id, b->uid.id) != 0 ||
		ks_cedar_key_compare(a->uid.type, b->uid.type) != 0;
}

int
ks_cedar_ref_compare(const KsCedarRef *a, const KsCedarRef *b)
{
	int			order;

	if (a->hash != b->hash)
		return a->hash > b->hash ? 1 : -1;
	order = ks_cedar_key_compare(a->uid.id, b->uid.id);
	return order != 0 ? order : ks_cedar_key_compare(a->uid.type, b->uid.type);
}

/* Order and weight */

static int
compare_sets(const KsCedarSet *a, const KsCedarSet *b)
{
	if (a->n != b->n)
		return a->n > b->n ? 1 : -1;
	for (int i = 0; i < a->n; i++)
	{
		int			order = ks_cedar_compare(&a->members[i], &b->members[i]);

		if (order != 0)
			return order;
	}
	return 0;
}

static int
compare_records(const KsCedarRecord *a, const KsCedarRecord *b)
{
	if (a->n != b->n)
		return a->n > b->n ? 1 : -1;
	for (int i = 0; i < a->n; i++)
	{
		int			order = ks_cedar_key_compare(a->members[i].key, b->members[i].key);

		if (order == 0)
			order = ks_cedar_compare(&a->members[i].value, &b->members[i].value);
		if (order != 0)
			return order;
	}
	return 0;
}

int
ks_cedar_compare(const KsCedarValue *a, const KsCedarValue *b)
{
	if (a->type != b->type)
		return a->type > b->type ? 1 : -1;
	switch (a->type)
	{
		case KS_CEDAR_TYPE_BOOL:
			return (int) a->of.boolean - (int) b->of.boolean;
		case KS_CEDAR_TYPE_STRING:
			return ks_cedar_key_compare(*a->of.string, *b->of.string);
		case KS_CEDAR_TYPE_ENTITY:
			return a->of.entity == b->of.entity ? 0 : ks_cedar_ref_compare(a->of.entity, b->of.entity);
		case KS_CEDAR_TYPE_SET:
			CHECK_FOR_INTERRUPTS();
			return a->of.set == b->of.set ? 0 : compare_sets(a->of.set, b->of.set);
		case KS_CEDAR_TYPE_RECORD:
			CHECK_FOR_INTERRUPTS();
			return a->of.record == b->of.record ? 0 : compare_records(a->of.record, b->of.record);
		case KS_CEDAR_TYPE_IP:
			return ks_cedar_ip_compare(a->of.ip, b->of.ip);
		case KS_CEDAR_TYPE_LONG:
		case KS_CEDAR_TYPE_DECIMAL:
		case KS_CEDAR_TYPE_DATETIME:
		case KS_CEDAR_TYPE_DURATION:
			break;
	}
	return a->of.number == b->of.number ? 0 : a->of.number > b->of.number ? 1 : -1;
}

int64
ks_cedar_weight(const KsCedarValue *value)
{
	switch (value->type)
	{
		case KS_CEDAR_TYPE_STRING:
			return 1 + (int64) value->of.string->len / BYTES_OF_WORD;
		case KS_CEDAR_TYPE_ENTITY:
			return 1 + (int64) (value->of.entity->uid.type.len + value->of.entity->uid.id.len) / BYTES_OF_WORD;
		case KS_CEDAR_TYPE_SET:
			return value->of.set->weight;
		case KS_CEDAR_TYPE_RECORD:
			return value->of.record->weight;
		default:
			return 1;
	}
}

/* Sets and records */

static int
compare_members(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();		/* a set may have millions */
	return ks_cedar_compare(a, b);
}

KsCedarValue
ks_cedar_make_set(KsCedarValue *members, int n)
{
	KsCedarSet *set = palloc(offsetof(KsCedarSet, members) + sizeof(KsCedarValue) * n);
	KsCedarValue value;

	if (n > 1)
		qsort(members, n, sizeof(KsCedarValue), compare_members);
	set->n = 0;
	set->weight = 1;
	for (int i = 0; i < n; i++)
	{
		if (i > 0 && ks_cedar_equal(&members[i], &members[i - 1]))
			continue;
		set->members[set->n++] = members[i];
		set->weight += ks_cedar_weight(&members[i]);
	}
	value.type = KS_CEDAR_TYPE_SET;
	value.of.set = set;
	return value;
}

static int
compare_keys(const void *a, const void *b)
{
	return ks_cedar_key_compare(((const KsCedarMember *) a)->key, ((const KsCedarMember *) b)->key);
}

const KsCedarRecord *
ks_cedar_make_record(KsCedarMember *members, int n)
{
	KsCedarRecord *record = palloc(offsetof(KsCedarRecord, members) + sizeof(KsCedarMember) * n);

	record->n = n;
	record->weight = 1;
	for (int i = 1; i < n; i++)
	{
		/* They mostly are in order. */
		if (compare_keys(&members[i - 1], &members[i]) > 0)
		{
			qsort(members, n, sizeof(KsCedarMember), compare_keys);
			break;
		}
	}
	for (int i = 0; i < n; i++)
	{
		record->members[i] = members[i];
		record->weight += 1 + (int64) members[i].key.len / BYTES_OF_WORD + ks_cedar_weight(&members[i].value);
	}
	return record;
}

const KsCedarValue *
ks_cedar_find(const KsCedarRecord *record, KsCedarString key)
{
	int			low = 0;
	int			high = record->n;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = ks_cedar_key_compare(record->members[middle].key, key);

		if (order == 0)
			return &record->members[middle].value;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

bool
ks_cedar_contains(const KsCedarSet *set, const KsCedarValue *value)
{
	int			low = 0;
	int			high = set->n;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = ks_cedar_compare(&set->members[middle], value);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

KsCedarFault
ks_cedar_order(const KsCedarValue *a, const KsCedarValue *b, int *order)
{
	if (a->type != b->type ||
		(a->type != KS_CEDAR_TYPE_LONG && a->type != KS_CEDAR_TYPE_DATETIME && a->type != KS_CEDAR_TYPE_DURATION))
		return KS_CEDAR_WRONG_TYPE;
	*order = ks_cedar_compare(a, b);
	return KS_CEDAR_NO_FAULT;
}

/* Functions of the extension types */

/* What they are called on, and their operand if they have one. */
static const struct
{
	KsCedarType object;
	KsCedarType operand;
}			signatures[KS_CEDAR_FUNCTIONS] = {
	[KS_CEDAR_FN_IP] = {.object = KS_CEDAR_TYPE_STRING},
	[KS_CEDAR_FN_DECIMAL] = {.object = KS_CEDAR_TYPE_STRING},
	[KS_CEDAR_FN_DATETIME] = {.object = KS_CEDAR_TYPE_STRING},
	[KS_CEDAR_FN_DURATION] = {.object = KS_CEDAR_TYPE_STRING},
	[KS_CEDAR_FN_IS_IPV4] = {.object = KS_CEDAR_TYPE_IP},
	[KS_CEDAR_FN_IS_IPV6] = {.object = KS_CEDAR_TYPE_IP},
	[KS_CEDAR_FN_IS_LOOPBACK] = {.object = KS_CEDAR_TYPE_IP},
	[KS_CEDAR_FN_IS_MULTICAST] = {.object = KS_CEDAR_TYPE_IP},
	[KS_CEDAR_FN_IS_IN_RANGE] = {.object = KS_CEDAR_TYPE_IP, .operand = KS_CEDAR_TYPE_IP},
	[KS_CEDAR_FN_LESS_THAN] = {.object = KS_CEDAR_TYPE_DECIMAL, .operand = KS_CEDAR_TYPE_DECIMAL},
	[KS_CEDAR_FN_LESS_THAN_OR_EQUAL] = {.object = KS_CEDAR_TYPE_DECIMAL, .operand = KS_CEDAR_TYPE_DECIMAL},
	[KS_CEDAR_FN_GREATER_THAN] = {.object = KS_CEDAR_TYPE_DECIMAL, .operand = KS_CEDAR_TYPE_DECIMAL},
	[KS_CEDAR_FN_GREATER_THAN_OR_EQUAL] = {.object = KS_CEDAR_TYPE_DECIMAL, .operand = KS_CEDAR_TYPE_DECIMAL},
	[KS_CEDAR_FN_OFFSET] = {.object = KS_CEDAR_TYPE_DATETIME, .operand = KS_CEDAR_TYPE_DURATION},
	[KS_CEDAR_FN_DURATION_SINCE] = {.object = KS_CEDAR_TYPE_DATETIME, .operand = KS_CEDAR_TYPE_DATETIME},
	[KS_CEDAR_FN_TO_DATE] = {.object = KS_CEDAR_TYPE_DATETIME},
	[KS_CEDAR_FN_TO_TIME] = {.object = KS_CEDAR_TYPE_DATETIME},
	[KS_CEDAR_FN_TO_MILLISECONDS] = {.object = KS_CEDAR_TYPE_DURATION},
	[KS_CEDAR_FN_TO_SECONDS] = {.object = KS_CEDAR_TYPE_DURATION},
	[KS_CEDAR_FN_TO_MINUTES] = {.object = KS_CEDAR_TYPE_DURATION},
	[KS_CEDAR_FN_TO_HOURS] = {.object = KS_CEDAR_TYPE_DURATION},
	[KS_CEDAR_FN_TO_DAYS] = {.object = KS_CEDAR_TYPE_DURATION},
};

static bool
construct(KsCedarFunction function, KsCedarString text, KsCedarValue *result)
{
	KsCedarIp  *ip;

	switch (function)
	{
		case KS_CEDAR_FN_DECIMAL:
			result->type = KS_CEDAR_TYPE_DECIMAL;
			return ks_cedar_read_decimal(text.data, text.len, &result->of.number);
		case KS_CEDAR_FN_DATETIME:
			result->type = KS_CEDAR_TYPE_DATETIME;
			return ks_cedar_read_datetime(text.data, text.len, &result->of.number);
		case KS_CEDAR_FN_DURATION:
			result->type = KS_CEDAR_TYPE_DURATION;
			return ks_cedar_read_duration(text.data, text.len, &result->of.number);
		default:
			ip = palloc(sizeof(KsCedarIp));
			result->type = KS_CEDAR_TYPE_IP;
			result->of.ip = ip;
			return ks_cedar_read_ip(text.data, text.len, ip);
	}
}

/* Those that say yes or no. */
static bool
ask(KsCedarFunction function, const KsCedarValue *operands)
{
	switch (function)
	{
		case KS_CEDAR_FN_IS_IPV4:
			return !operands[0].of.ip->v6;
		case KS_CEDAR_FN_IS_IPV6:
			return operands[0].of.ip->v6;
		case KS_CEDAR_FN_IS_LOOPBACK:
			return ks_cedar_ip_is_loopback(operands[0].of.ip);
		case KS_CEDAR_FN_IS_MULTICAST:
			return ks_cedar_ip_is_multicast(operands[0].of.ip);
		case KS_CEDAR_FN_IS_IN_RANGE:
			return ks_cedar_ip_is_in_range(operands[0].of.ip, operands[1].of.ip);
		case KS_CEDAR_FN_LESS_THAN:
			return operands[0].of.number < operands[1].of.number;
		case KS_CEDAR_FN_LESS_THAN_OR_EQUAL:
			return operands[0].of.number <= operands[1].of.number;
		case KS_CEDAR_FN_GREATER_THAN:
			return operands[0].of.number > operands[1].of.number;
		default:
			return operands[0].of.number >= operands[1].of.number;
	}
}

/* Those of datetimes and durations; false: out of range. */
static bool
reckon(KsCedarFunction function, const KsCedarValue *operands, KsCedarValue *result)
{
	int64		number = operands[0].of.number;

	result->type = KS_CEDAR_TYPE_LONG;
	switch (function)
	{
		case KS_CEDAR_FN_OFFSET:
			result->type = KS_CEDAR_TYPE_DATETIME;
			return !pg_add_s64_overflow(number, operands[1].of.number, &result->of.number);
		case KS_CEDAR_FN_DURATION_SINCE:
			result->type = KS_CEDAR_TYPE_DURATION;
			return !pg_sub_s64_overflow(number, operands[1].of.number, &result->of.number);
		case KS_CEDAR_FN_TO_DATE:
			result->type = KS_CEDAR_TYPE_DATETIME;
			return ks_cedar_to_date(number, &result->of.number);
		case KS_CEDAR_FN_TO_TIME:
			result->type = KS_CEDAR_TYPE_DURATION;
			result->of.number = ks_cedar_to_time(number);
			return true;
		case KS_CEDAR_FN_TO_MILLISECONDS:
			result->of.number = number;
			return true;
		case KS_CEDAR_FN_TO_SECONDS:
			result->of.number = number / MS_PER_SECOND;
			return true;
		case KS_CEDAR_FN_TO_MINUTES:
			result->of.number = number / (MS_PER_SECOND * SECS_PER_MINUTE);
			return true;
		case KS_CEDAR_FN_TO_HOURS:
			result->of.number = number / (MS_PER_SECOND * SECS_PER_HOUR);
			return true;
		default:
			result->of.number = number / (MS_PER_SECOND * SECS_PER_DAY);
			return true;
	}
}

KsCedarFault
ks_cedar_call(KsCedarFunction function, const KsCedarValue *operands, int n, KsCedarValue *result)
{
	KsCedarValue value;

	if (n != ks_cedar_functions[function].operands)
		return KS_CEDAR_BAD_CALL;
	if (operands[0].type != signatures[function].object || (n > 1 && operands[1].type != signatures[function].operand))
		return KS_CEDAR_WRONG_TYPE;
	if (function <= KS_CEDAR_FN_DURATION)
	{
		if (!construct(function, *operands[0].of.string, &value))
			return KS_CEDAR_BAD_TEXT;
	}
	else if (function <= KS_CEDAR_FN_GREATER_THAN_OR_EQUAL)
		value = ks_cedar_bool(ask(function, operands));
	else if (!reckon(function, operands, &value))
		return KS_CEDAR_OVERFLOW;
	*result = value;
	return KS_CEDAR_NO_FAULT;
}
