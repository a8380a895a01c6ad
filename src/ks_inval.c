/*-------------------------------------------------------------------------
 *
 * ks_inval.c
 *	  News that a relation has changed, for every room that caches something.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ks_inval.h"

#define CALLBACKS_MAX	16

static RelcacheCallbackFunction callbacks[CALLBACKS_MAX];
static int	ncallbacks = 0;

static void
relation_changed(Datum arg, Oid relid)
{
	for (int i = 0; i < ncallbacks; i++)
		callbacks[i] (arg, relid);
}

void
ks_inval_register(RelcacheCallbackFunction callback)
{
	if (ncallbacks >= CALLBACKS_MAX)
		elog(ERROR, "too many rooms want to know of changed relations");
	if (ncallbacks == 0)
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	callbacks[ncallbacks++] = callback;
}
