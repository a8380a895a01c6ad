/*-------------------------------------------------------------------------
 *
 * ks_cedar_data.h
 *	  Entities and requests of the policy language Cedar, from jsonb.
 *
 * docs.cedarpolicy.com, "Entity and context data syntax", read without a
 * schema: what is an entity or of an extension type says so by __entity or
 * __extn.  What is made points into the jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CEDAR_DATA_H
#define KS_CEDAR_DATA_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "ks_cedar_ast.h"
#include "ks_cedar_eval.h"

#define KS_CEDAR_DATA_DEPTH_MAX	127 /* of objects and arrays */

/* NULL when the JSON is no value, and error says why. */
extern const KsCedarValue *ks_cedar_value_from_json(const Jsonb *json, KsCedarError *error);

/*
 * An array of entities, each with uid, attrs, parents and maybe tags.  NULL
 * when it is none, and error says why.
 */
extern KsCedarEntities *ks_cedar_entities_from_json(const Jsonb *json, KsCedarError *error);

/*
 * An object with principal, action, resource and context; what else it has is
 * not looked at.  Names of entities may be texts such as User::"alice".  False
 * when it is none, and error says why.
 */
extern bool ks_cedar_request_from_json(const Jsonb *json, const KsCedarEntities *entities,
									   KsCedarRequest *request, KsCedarError *error);

#endif							/* KS_CEDAR_DATA_H */
