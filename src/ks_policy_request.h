/*-------------------------------------------------------------------------
 *
 * ks_policy_request.h
 *	  What policy is asked about: a request, its hash, and what it looks like
 *	  to a Cedar expression.
 *
 * All of a request is made by the server, but for claimed, which expressions
 * find under context.claimed only.
 *
 *	principal	Keystone::Principal::"<uuid>": kind, role, permissions,
 *				on_behalf_of, source, db_role, mfa_at
 *	action		Keystone::Action::"rotate"
 *	resource	Keystone::Credential::"<uuid>": name, environment, provider,
 *				kind, owner, personal, tags, version, active, expires_at,
 *				created_by, created_at, last_rotated_at; others such as
 *				Keystone::Member::"<uuid>": name.  In Keystone::Workspace::"<uuid>"
 *	context		now, client_addr, reason, approval, workspace, plan, claimed,
 *				counts: of a credential that is stored versions (that have
 *				ciphertext) and reveals (as the log has counted); always
 *				open_requests (for approval, of who asks, in the workspace)
 *				and members (neither removed nor disabled)
 *
 * What a request does not have, its record does not have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_POLICY_REQUEST_H
#define KS_POLICY_REQUEST_H

#include "ks_cedar_eval.h"
#include "ks_rights.h"
#include "ks_store.h"

/* What is asked. */
typedef struct KsPolicyRequest
{
	const KsCall *call;			/* who */
	const KsMembership *member; /* its membership in the workspace; NULL:
								 * none, as of a policy of the database */
	const char *action;			/* the verb's name, such as "rotate" */
	const char *resource_type;	/* credential, member, key, policy, workspace,
								 * log */
	const KsCredential *credential; /* NULL when it is about none; its id is
									 * nil when it does not exist */
	int32		version;		/* version that is touched, 0 for none */
	const char *name;			/* of what is no credential, such as a
								 * policy's id; may be NULL */
	const Jsonb *parameters;	/* the verb's other arguments, never a secret:
								 * part of what an approval is bound to; NULL
								 * is the same as an empty object */
	const Jsonb *claimed;		/* context that the caller gave; may be NULL */
	const char *reason;			/* may be NULL */
	const uint8 *approval;		/* may be NULL */
	TimestampTz now;			/* wall clock */
	TimestampTz mfa_at;			/* when a second factor was proved; 0: it was
								 * not */
	bool		past;			/* asked about another time: there are no
								 * counts of it */
} KsPolicyRequest;

/* The workspace that it is about, the nil uuid for the whole database. */
extern const uint8 *ks_policy_request_workspace(const KsPolicyRequest *request);

/*
 * SHA-256 over length-prefixed fields: workspace, who asks, action, type and
 * id or name of the resource, version, environment, parameters in a canonical
 * form (keys by their bytes, numbers without trailing zeros).  Neither reason,
 * context nor time are part of it, nor any policy.
 */
extern void ks_policy_request_hash(const KsPolicyRequest *request, uint8 hash[KS_DIGEST_LEN]);

/* What takes a look into the tables. */
#define KS_LOOK_ROW		1		/* created_by, created_at, last_rotated_at,
								 * plan */
#define KS_LOOK_COUNTS	2		/* context.counts */

/*
 * The request as Cedar sees it, in the current memory context.  looks: whether
 * it has what takes a look, too.
 */
extern void ks_policy_request_cedar(const KsPolicyRequest *request, int looks, KsCedarRequest *cedar);

/* The looks that an expression (may be NULL) needs by the attributes that it
 * names; context as a whole needs all. */
extern int	ks_policy_request_looks(const KsCedarExpr *expr);

/*
 * Reads what a caller says that a request is about, for which member and
 * resource_type are set, and sets the rest:
 *
 *	{"credential": "<uuid>", "version": 3}	of the workspace; what it has is
 *				filled in here, version is the current one unless given
 *	{"environment", "provider", "name", "kind", "tags", "personal"}	one that
 *				may not exist
 *	{"type": "member", "name": "<uuid>"}	another thing, by its name
 *	{}			of the type that the action is about, of which nothing is said
 *
 * 22023, PT404.  Whether the caller may see it is for the caller to ask.
 */
extern void ks_policy_request_resource(const Jsonb *resource, KsPolicyRequest *request);

#endif							/* KS_POLICY_REQUEST_H */
