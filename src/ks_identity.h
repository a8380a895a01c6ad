/*-------------------------------------------------------------------------
 *
 * ks_identity.h
 *	  Who is calling.
 *
 * The identity of a call comes from the session (the login role), its rights
 * to call from the current role.  Nothing here is asserted by a parameter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_IDENTITY_H
#define KS_IDENTITY_H

#include "keystone.h"

typedef enum KsSource
{
	KS_SOURCE_ANONYMOUS = 0,
	KS_SOURCE_DB_ROLE			/* the principal bound to the login role */
} KsSource;

typedef struct KsActor
{
	KsSource	source;
	uint8		principal[KS_ID_LEN];	/* zero when anonymous */
	const char *why;			/* constant phrase: why anonymous */
	Oid			role;			/* the current role */
	Oid			session_role;	/* who logged in */
} KsActor;

/* Finds the principal of a login role; given by a room of floor 4. */
typedef bool (*KsPrincipalOfRole) (const char *role, uint8 principal[KS_ID_LEN]);

extern void ks_identity_set_loader(KsPrincipalOfRole loader);

/* Who is calling, as of now.  Raises nothing for an anonymous caller. */
extern void ks_identity_actor(KsActor *actor);

/* The current role, whose privileges count. */
extern Oid	ks_identity_current_role(void);

/* True where no identity may be taken from the session; why says which. */
extern bool ks_identity_withheld(const char **why);

extern const char *ks_source_name(KsSource source);

#endif							/* KS_IDENTITY_H */
