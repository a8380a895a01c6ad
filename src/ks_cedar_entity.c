/*-------------------------------------------------------------------------
 *
 * ks_cedar_entity.c
 *	  The entities that policies ask about.
 *
 * Ancestors are found once, when all entities are known, by a walk with a
 * stack of its own: a chain of parents may be as long as the data.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "ks_cedar_entity.h"

#define FIRST_SIZE	64
#define DONE		(-1)

typedef struct Slot
{
	const KsCedarRef *ref;
	KsCedarEntity *entity;
	char		status;
} Slot;

#define SH_PREFIX			slots
#define SH_ELEMENT_TYPE		Slot
#define SH_KEY_TYPE			const KsCedarRef *
#define SH_KEY				ref
#define SH_HASH_KEY(tb, key)	((key)->hash)
#define SH_EQUAL(tb, a, b)	ks_cedar_ref_equal(a, b)
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct KsCedarEntities
{
	slots_hash *slots;
	int			n;
	int			size;
	int64		nancestors;
	KsCedarEntity **all;		/* in the order in which they came */
};

/* References that are gathered. */
typedef struct Gathered
{
	int64		n;
	int64		size;
	const KsCedarRef **refs;
} Gathered;

KsCedarEntities *
ks_cedar_entities(void)
{
	KsCedarEntities *entities = palloc0(sizeof(KsCedarEntities));

	entities->slots = slots_create(CurrentMemoryContext, FIRST_SIZE, NULL);
	entities->size = FIRST_SIZE;
	entities->all = palloc(sizeof(KsCedarEntity *) * FIRST_SIZE);
	return entities;
}

KsCedarEntity *
ks_cedar_add_entity(KsCedarEntities *entities, const KsCedarRef *ref, const KsCedarRecord *attrs,
					const KsCedarRecord *tags, const KsCedarRef **parents, int nparents)
{
	KsCedarEntity *entity;
	bool		found;
	Slot	   *slot = slots_insert(entities->slots, ref, &found);

	if (found)
		return NULL;
	entity = palloc0(sizeof(KsCedarEntity));
	entity->ref = ref;
	entity->attrs = attrs;
	entity->tags = tags;
	entity->parents = parents;
	entity->nparents = nparents;
	slot->entity = entity;
	if (entities->n == entities->size)
	{
		entities->size *= 2;
		entities->all = repalloc_huge(entities->all, sizeof(KsCedarEntity *) * entities->size);
	}
	entities->all[entities->n++] = entity;
	return entity;
}

KsCedarEntity *
ks_cedar_get_entity(const KsCedarEntities *entities, const KsCedarRef *ref)
{
	Slot	   *slot = slots_lookup(entities->slots, ref);

	return slot == NULL ? NULL : slot->entity;
}

bool
ks_cedar_has_ancestor(const KsCedarEntity *entity, const KsCedarRef *ref)
{
	int			low = 0;
	int			high = entity->nancestors;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = ks_cedar_ref_compare(entity->ancestors[middle], ref);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Ancestors */

static int
compare_pointers(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();		/* as many as KS_CEDAR_ANCESTORS_MAX are
								 * sorted at once */
	return ks_cedar_ref_compare(*(const KsCedarRef *const *) a, *(const KsCedarRef *const *) b);
}

static void
gather(Gathered *gathered, const KsCedarRef **refs, int n)
{
	while (gathered->n + n > gathered->size)
	{
		gathered->size *= 2;
		gathered->refs = repalloc_huge(gathered->refs, sizeof(KsCedarRef *) * gathered->size);
	}
	if (n > 0)
		memcpy(&gathered->refs[gathered->n], refs, sizeof(KsCedarRef *) * n);
	gathered->n += n;
}

/* What all its parents, which are done, bring with them. */
static void
finish_entity(KsCedarEntities *entities, KsCedarEntity *entity, Gathered *gathered)
{
	int			n = 0;

	gathered->n = 0;
	gather(gathered, entity->parents, entity->nparents);
	for (int i = 0; i < entity->nparents; i++)
	{
		KsCedarEntity *parent = ks_cedar_get_entity(entities, entity->parents[i]);

		CHECK_FOR_INTERRUPTS();
		if (parent != NULL)
			gather(gathered, parent->ancestors, parent->nancestors);
		/* What many parents share is counted once. */
		if (gathered->n > KS_CEDAR_ANCESTORS_MAX)
			break;
	}
	if (gathered->n > 1)
		qsort(gathered->refs, gathered->n, sizeof(KsCedarRef *), compare_pointers);
	for (int64 i = 0; i < gathered->n; i++)
	{
		if (i == 0 || !ks_cedar_ref_equal(gathered->refs[i], gathered->refs[n - 1]))
			gathered->refs[n++] = gathered->refs[i];
	}
	entities->nancestors += gathered->n > KS_CEDAR_ANCESTORS_MAX ? gathered->n : n;
	if (entities->nancestors > KS_CEDAR_ANCESTORS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("entities have more than %d ancestors", KS_CEDAR_ANCESTORS_MAX)));
	entity->nancestors = n;
	entity->ancestors = palloc_extended(sizeof(KsCedarRef *) * n, MCXT_ALLOC_HUGE);
	if (n > 0)
		memcpy(entity->ancestors, gathered->refs, sizeof(KsCedarRef *) * n);
	entity->next_parent = DONE;
}

/* Finishes one entity and before it what it descends from; false for a cycle. */
static bool
finish_from(KsCedarEntities *entities, KsCedarEntity *first, KsCedarEntity **stack, Gathered *gathered)
{
	int			depth = 0;

	stack[depth++] = first;
	while (depth > 0)
	{
		KsCedarEntity *entity = stack[depth - 1];
		KsCedarEntity *parent;

		if (entity->next_parent == DONE || entity->next_parent == entity->nparents)
		{
			if (entity->next_parent != DONE)
				finish_entity(entities, entity, gathered);
			depth--;
			continue;
		}
		parent = ks_cedar_get_entity(entities, entity->parents[entity->next_parent++]);
		if (parent == NULL || parent->next_parent == DONE)
			continue;
		/* Begun and not done: it waits for this one. */
		if (parent->next_parent > 0)
			return false;
		stack[depth++] = parent;
	}
	return true;
}

bool
ks_cedar_finish_entities(KsCedarEntities *entities)
{
	KsCedarEntity **stack = palloc_extended(sizeof(KsCedarEntity *) * (entities->n + 1), MCXT_ALLOC_HUGE);
	Gathered	gathered = {0, FIRST_SIZE, palloc(sizeof(KsCedarRef *) * FIRST_SIZE)};
	bool		acyclic = true;

	for (int i = 0; i < entities->n && acyclic; i++)
		acyclic = finish_from(entities, entities->all[i], stack, &gathered);
	pfree(gathered.refs);
	pfree(stack);
	return acyclic;
}
