/*-------------------------------------------------------------------------
 *
 * ks_jsonb.h
 *	  Members of jsonb objects.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_JSONB_H
#define KS_JSONB_H

#include "utils/jsonb.h"

/* A member of an object, in *room (NULL: palloc'd); NULL when there is none. */
extern JsonbValue *ks_jsonb_member(const JsonbContainer *object, const char *key, JsonbValue *room);

/* A member that is a string, palloc'd; NULL when there is none. */
extern char *ks_jsonb_text(const JsonbContainer *object, const char *key);

#endif							/* KS_JSONB_H */
