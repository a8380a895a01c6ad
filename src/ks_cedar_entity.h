/*-------------------------------------------------------------------------
 *
 * ks_cedar_entity.h
 *	  The entities that policies ask about: attributes, tags and ancestors.
 *
 * Entities are added, then finished, and not changed afterwards.  All of them
 * live in the memory context that was current when the collection was made,
 * and point to what they were made of.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_ENTITY_H
#define KS_CEDAR_ENTITY_H

#include "ks_cedar_value.h"

/* Ancestors of all entities together: the memory that parents can cost. */
#define KS_CEDAR_ANCESTORS_MAX	4000000

typedef struct KsCedarEntity
{
	const KsCedarRef *ref;
	const KsCedarRecord *attrs;
	const KsCedarRecord *tags;
	int			nparents;
	const KsCedarRef **parents;
	int			nancestors;		/* parents, their parents and so on */
	const KsCedarRef **ancestors;	/* by ks_cedar_ref_compare(), each once */
	int			next_parent;	/* while they are finished; below 0: done */
} KsCedarEntity;

typedef struct KsCedarEntities KsCedarEntities;

extern KsCedarEntities *ks_cedar_entities(void);

/* NULL if there is one of that name. */
extern KsCedarEntity *ks_cedar_add_entity(KsCedarEntities *entities, const KsCedarRef *ref,
										  const KsCedarRecord *attrs, const KsCedarRecord *tags,
										  const KsCedarRef **parents, int nparents);

/*
 * Finds out all ancestors; parents need not exist themselves.  False when an
 * entity is among its own.  54000 when there are more than
 * KS_CEDAR_ANCESTORS_MAX in all.
 */
extern bool ks_cedar_finish_entities(KsCedarEntities *entities);

/* NULL if there is none. */
extern KsCedarEntity *ks_cedar_get_entity(const KsCedarEntities *entities, const KsCedarRef *ref);

extern bool ks_cedar_has_ancestor(const KsCedarEntity *entity, const KsCedarRef *ref);

#endif							/* KS_CEDAR_ENTITY_H */
