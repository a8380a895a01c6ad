/*-------------------------------------------------------------------------
 *
 * ks_draft.h
 *	  An event while it is composed: who, from where, why, about what.
 *
 * Texts that are added to the detail are kept by reference until
 * ks_draft_finish().  Never a value, a hint, a key or a token, nor a name that
 * a caller gave and that nothing has.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_DRAFT_H
#define KS_DRAFT_H

#include "ks_action.h"
#include "ks_entry.h"
#include "ks_identity.h"
#include "ks_store.h"

#define KS_TEXT_MAX		255		/* bytes of a text that a caller gave */

typedef struct KsDraft
{
	KsEvent		event;
	KsDetail	detail;
	char		actor[NAMEDATALEN]; /* uuid of the principal, or a role's name */
	char		role[NAMEDATALEN];
	char		session[NAMEDATALEN];
	char		owner[37];
	char		creator[37];	/* of the API key that acts; empty otherwise */
	uint8		encoded[KS_DETAIL_MAX];
} KsDraft;

/* Begins an event of an actor (NULL: who calls now), outcome ok. */
extern void ks_draft_begin(KsDraft *draft, uint16 kind, const KsActor *actor);

/* The same for what nobody has caused: its actor is the log's own. */
extern void ks_draft_begin_own(KsDraft *draft, uint16 kind);

/* What it is about: workspace, object and owner, and in the detail the name,
 * environment, provider and owner. */
extern void ks_draft_credential(KsDraft *draft, const KsCredential *credential);

/* What the caller said; both may be NULL.  To be added last. */
extern void ks_draft_why(KsDraft *draft, const char *reason, const Jsonb *context);

/* Encodes the detail: afterwards the event can be put or written. */
extern void ks_draft_finish(KsDraft *draft);

/* A copy of a text of at most KS_TEXT_MAX bytes, cut between characters. */
extern char *ks_draft_cut(const char *text, int len);

/* Who is calling, in the 16 bytes by which denials are counted. */
extern void ks_draft_caller(const KsActor *actor, uint8 caller[KS_ID_LEN]);

#endif							/* KS_DRAFT_H */
