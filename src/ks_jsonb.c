/*-------------------------------------------------------------------------
 *
 * ks_jsonb.c
 *	  Members of jsonb objects.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ks_jsonb.h"

JsonbValue *
ks_jsonb_member(const JsonbContainer *object, const char *key, JsonbValue *room)
{
	return getKeyJsonValueFromContainer(unconstify(JsonbContainer *, object), key, (int) strlen(key), room);
}

char *
ks_jsonb_text(const JsonbContainer *object, const char *key)
{
	JsonbValue	room;
	const JsonbValue *value = ks_jsonb_member(object, key, &room);

	return value != NULL && value->type == jbvString ?
		pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}
