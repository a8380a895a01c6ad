/*-------------------------------------------------------------------------
 *
 * ks_gate.h
 *	  Where verbs obey policy: after the role's permission and the object's
 *	  state, before limits, and before anything is opened or changed.
 *
 * What an approval is bound to is the same for a verb and for who asks for
 * approval of it beforehand:
 *
 *	verb						resource		version			parameters
 *	reveal, promote,			credential		that is touched	{}
 *	rollback_to, destroy_version
 *	rotate						credential		current			{}
 *	store						credential		current, or 0	what was given of
 *				provider, kind, expires_at, description, tags, metadata, personal,
 *				and state when it is pending; a store that is a rotate is one
 *				with the same parameters
 *	rename, update_metadata		credential		current			{"changes": {...}}
 *	delete_credential			credential		current			{"recovery": "P30D"}
 *	other verbs on one			credential		current			{}
 *	add_member, set_member_role member			0				{"role": "admin",
 *										"extra_permissions": ["audit"]}, as a table has them
 *	other verbs of members		member			0				{}
 *	policy_put					policy			0				{"document": {...}}
 *	audit_erase					log				0				{"basis": "...", "seqs": [1, 2]}
 *	others						their own		0				{}
 *
 * The name of a member is its principal's uuid, that of a policy its id; others
 * have none.  ks_gate_args.c has the same for who asks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_GATE_H
#define KS_GATE_H

#include "ks_change.h"
#include "ks_policy.h"
#include "ks_vault.h"

/*
 * Asks policy about the verb that runs.  Returns when it may go on now; then,
 * if an approval was needed or given, it has been claimed durably for this
 * call, and is completed by itself when the verb's transaction ends.
 *
 *	- deny: 42501, with the reasons of the rules in DETAIL;
 *	- require: PT428, DETAIL has the obligations as JSON, HINT the call that
 *	  meets them; 42501 when the verb has no parameter that could;
 *	- defer: PT428, DETAIL has not_before.
 *
 * What was decided goes into the verb's detail.  With verb->dry_run nothing is
 * claimed, and nobody is told.  After ks_begin_change() or ks_begin_reveal().
 */
extern void ks_gate(KsVerb *verb, const KsPolicyRequest *request);

/* The usual request: the verb's caller and its reason, context and approval.
 * member may be NULL: it is looked up when a policy could bind. */
extern void ks_gate_credential(KsVerb *verb, const KsMembership *member, const char *action,
							   const KsCredential *credential, int32 version, const Jsonb *parameters);

/* The same for a credential that becomes another one: what it is to be must be
 * permitted as well, and covered by the same approval. */
extern void ks_gate_change(KsVerb *verb, const char *action, const KsCredential *before,
						   const KsCredential *after, const Jsonb *parameters);

/* Whether no document can bind such a request, and no approval was given: then
 * the others return at once, and parameters need not be made. */
extern bool ks_gate_is_silent(const KsVerb *verb, const uint8 workspace[KS_ID_LEN], const char *action);

/* The same about something else of a workspace: resource_type member, key,
 * policy, workspace or log.  member NULL: of the whole database. */
extern void ks_gate_object(KsVerb *verb, const KsMembership *member, const char *action,
						   const char *resource_type, const char *name, const Jsonb *parameters);

/* One row among many (reveal_many), which its credential is of: false with a
 * problem.  Claims nothing: what needs an approval is refused. */
extern bool ks_gate_row(KsVerb *verb, const KsCredential *credential, int32 version, KsProblem *problem);

/* For parameters: adds a member to the object (NULL: none yet). */
extern Jsonb *ks_gate_parameter(const Jsonb *object, const char *key, const JsonbValue *value);
extern Jsonb *ks_gate_text_parameter(const Jsonb *object, const char *key, const char *value);

/* Of a text[] without NULLs. */
extern Jsonb *ks_gate_texts_parameter(const Jsonb *object, const char *key, Datum array);

#endif							/* KS_GATE_H */
