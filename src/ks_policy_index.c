/*-------------------------------------------------------------------------
 *
 * ks_policy_index.c
 *	  Finds the rules that may match a request among many.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "ks_policy_index.h"

/* Lists by whose literals rules can be found. */
typedef enum Dimension
{
	BY_PRINCIPAL,
	BY_SECRET,
	BY_PROVIDER,
	BY_ENVIRONMENT,
	BY_ROLE
} Dimension;

#define DIMENSIONS	(BY_ROLE + 1)

#define FIRST_SIZE	16

/* A literal of a list. */
typedef struct Literal
{
	Dimension	dimension;
	int			len;
	const char *data;
} Literal;

/* The rules of a cut that lie under a literal. */
typedef struct Place
{
	Literal		literal;
	uint32		hash;
	int			shared;			/* rules of the cut that name it */
	int			n;
	int			size;
	const KsIndexedRule **rules;
	char		status;
} Place;

static Literal
make_literal(Dimension dimension, const void *data, size_t len)
{
	Literal		literal;

	literal.dimension = dimension;
	literal.len = (int) len;
	literal.data = data;
	return literal;
}

static uint32
hash_literal(Literal literal)
{
	return hash_bytes((const unsigned char *) literal.data, literal.len) ^ (uint32) literal.dimension;
}

static bool
is_same(Literal a, Literal b)
{
	return a.dimension == b.dimension && a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

#define SH_PREFIX			places
#define SH_ELEMENT_TYPE		Place
#define SH_KEY_TYPE			Literal
#define SH_KEY				literal
#define SH_HASH_KEY(tb, key)	hash_literal(key)
#define SH_EQUAL(tb, a, b)	is_same(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)	(a)->hash
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* The rules that name one action. */
typedef struct Cut
{
	int			n;
	int			n_rest;			/* of which so many are under no literal */
	const KsIndexedRule **rest;
	places_hash *places;
	uint32		dimensions;		/* bits of those that places has */
} Cut;

struct KsPolicyIndex
{
	MemoryContext context;
	const KsIndexedRule *rules;
	int			n;
	int			n_actions;
	Cut		  **cuts;			/* one for each of ks_policy_actions; NULL:
								 * not made yet */
};

KsPolicyIndex *
ks_policy_index_make(MemoryContext context, const KsIndexedRule *rules, int n)
{
	KsPolicyIndex *index = MemoryContextAllocZero(context, sizeof(KsPolicyIndex));

	index->context = context;
	index->rules = rules;
	index->n = n;
	while (ks_policy_actions[index->n_actions] != NULL)
		index->n_actions++;
	index->cuts = MemoryContextAllocZero(context, index->n_actions * sizeof(Cut *));
	return index;
}

/* Number of an action; below 0 when there is none of that name. */
static int
find_action(const KsPolicyIndex *index, const char *action)
{
	int			low = 0;
	int			high = index->n_actions - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = strcmp(action, ks_policy_actions[middle]);

		if (order == 0)
			return middle;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return -1;
}

/*
 * The list of a rule in a dimension, if it holds literals only: NULL if it
 * does not, or is not there.  Of a document that is about one provider or
 * secret, that is its rules' list; single has room for it.
 */
static const KsGlobList *
literals_of(const KsIndexedRule *indexed, Dimension dimension, KsGlobList *single, KsGlob *glob)
{
	const KsPolicyRule *rule = indexed->rule;
	const KsPolicyDoc *doc = indexed->doc;
	const KsGlobList *list;

	single->n = 1;
	single->globs = glob;
	switch (dimension)
	{
		case BY_SECRET:
			list = &rule->secret;
			if (doc->level == KS_LEVEL_SECRET && doc->scope_id != NULL && !doc->has_credential)
			{
				*glob = doc->scope_secret;
				list = single;
			}
			break;
		case BY_PROVIDER:
			list = &rule->provider;
			if (doc->level == KS_LEVEL_PROVIDER && doc->scope_id != NULL)
			{
				glob->pattern = doc->scope_id;
				glob->len = strlen(doc->scope_id);
				glob->literal = true;
				list = single;
			}
			break;
		case BY_ENVIRONMENT:
			list = &rule->env;
			break;
		default:
			list = &rule->roles;
			break;
	}
	for (int i = 0; i < list->n; i++)
	{
		if (!list->globs[i].literal)
			return NULL;
	}
	return list->n > 0 ? list : NULL;
}

/* Calls add for each literal under which a rule could lie; how many. */
static int
each_literal(Cut *cut, const KsIndexedRule *indexed, Dimension dimension,
			 void (*add) (Cut *cut, Literal literal, const KsIndexedRule *indexed, void *arg), void *arg)
{
	const KsPolicyRule *rule = indexed->rule;
	const KsGlobList *list;
	KsGlobList	single;
	KsGlob		glob;

	if (dimension == BY_PRINCIPAL)
	{
		for (int i = 0; i < rule->n_principals && !rule->all_principals; i++)
			add(cut, make_literal(dimension, rule->principals[i], KS_ID_LEN), indexed, arg);
		return rule->all_principals ? 0 : rule->n_principals;
	}
	list = literals_of(indexed, dimension, &single, &glob);
	for (int i = 0; list != NULL && i < list->n; i++)
		add(cut, make_literal(dimension, list->globs[i].pattern, list->globs[i].len), indexed, arg);
	return list != NULL ? list->n : 0;
}

static void
count_literal(Cut *cut, Literal literal, const KsIndexedRule *indexed, void *arg)
{
	bool		found;
	Place	   *place = places_insert(cut->places, literal, &found);

	(void) indexed;
	(void) arg;
	if (!found)
	{
		place->shared = 0;
		place->n = 0;
		place->size = 0;
		place->rules = NULL;
	}
	place->shared++;
}

static void
sum_literal(Cut *cut, Literal literal, const KsIndexedRule *indexed, void *arg)
{
	(void) indexed;
	*(int64 *) arg += places_lookup(cut->places, literal)->shared;
}

/* A literal may stand in a list twice. */
static void
put_literal(Cut *cut, Literal literal, const KsIndexedRule *indexed, void *arg)
{
	Place	   *place = places_lookup(cut->places, literal);

	(void) arg;
	if (place->n > 0 && place->rules[place->n - 1] == indexed)
		return;
	if (place->n == place->size)
	{
		place->size = Max(2 * place->size, 1);
		place->rules = place->rules == NULL ? palloc(place->size * sizeof(place->rules[0])) :
			repalloc(place->rules, place->size * sizeof(place->rules[0]));
	}
	place->rules[place->n++] = indexed;
}

/* The dimension whose literals the fewest rules share; below 0: none. */
static int
best_dimension(Cut *cut, const KsIndexedRule *indexed)
{
	int			best = -1;
	int64		best_sum = 0;

	for (int dimension = 0; dimension < DIMENSIONS; dimension++)
	{
		int64		sum = 0;

		if (each_literal(cut, indexed, (Dimension) dimension, sum_literal, &sum) > 0 &&
			(best < 0 || sum < best_sum))
		{
			best = dimension;
			best_sum = sum;
		}
	}
	return best;
}

static Cut *
make_cut(const KsPolicyIndex *index, const char *action)
{
	Cut		   *cut = palloc0(sizeof(Cut));
	const KsIndexedRule **named = palloc_extended(Max(index->n, 1) * sizeof(*named), MCXT_ALLOC_HUGE);

	cut->places = places_create(CurrentMemoryContext, FIRST_SIZE, NULL);
	for (int i = 0; i < index->n; i++)
	{
		if (!ks_glob_list_match(&index->rules[i].rule->actions, action))
			continue;
		named[cut->n++] = &index->rules[i];
		for (int dimension = 0; dimension < DIMENSIONS; dimension++)
			(void) each_literal(cut, &index->rules[i], (Dimension) dimension, count_literal, NULL);
	}
	cut->rest = palloc_extended(Max(cut->n, 1) * sizeof(*cut->rest), MCXT_ALLOC_HUGE);
	for (int i = 0; i < cut->n; i++)
	{
		int			dimension = best_dimension(cut, named[i]);

		if (dimension < 0)
			cut->rest[cut->n_rest++] = named[i];
		else
		{
			(void) each_literal(cut, named[i], (Dimension) dimension, put_literal, NULL);
			cut->dimensions |= 1U << dimension;
		}
	}
	pfree(named);
	return cut;
}

/* NULL for what is no action. */
static const Cut *
get_cut(KsPolicyIndex *index, const char *action)
{
	int			number = find_action(index, action);

	if (number < 0)
		return NULL;
	if (index->cuts[number] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(index->context);

		index->cuts[number] = make_cut(index, action);
		MemoryContextSwitchTo(old);
	}
	return index->cuts[number];
}

int
ks_policy_index_count(KsPolicyIndex *index, const char *action)
{
	const Cut  *cut = get_cut(index, action);

	return cut != NULL ? cut->n : 0;
}

static void
visit_place(const Cut *cut, Dimension dimension, const void *data, size_t len, KsIndexVisit visit, void *arg)
{
	Place	   *place;

	if (data == NULL || !(cut->dimensions & (1U << dimension)))
		return;
	place = places_lookup(cut->places, make_literal(dimension, data, len));
	for (int i = 0; place != NULL && i < place->n; i++)
		visit(arg, place->rules[i]);
}

static size_t
length(const char *text)
{
	return text != NULL ? strlen(text) : 0;
}

void
ks_policy_index_visit(KsPolicyIndex *index, const char *action, const KsIndexKey *key,
					  KsIndexVisit visit, void *arg)
{
	const Cut  *cut = get_cut(index, action);

	if (cut == NULL)
		return;
	visit_place(cut, BY_PRINCIPAL, key->principal, KS_ID_LEN, visit, arg);
	visit_place(cut, BY_SECRET, key->secret, length(key->secret), visit, arg);
	visit_place(cut, BY_PROVIDER, key->provider, length(key->provider), visit, arg);
	visit_place(cut, BY_ENVIRONMENT, key->environment, length(key->environment), visit, arg);
	visit_place(cut, BY_ROLE, key->role, length(key->role), visit, arg);
	for (int i = 0; i < cut->n_rest; i++)
		visit(arg, cut->rest[i]);
}
