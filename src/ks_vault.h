/*-------------------------------------------------------------------------
 *
 * ks_vault.h
 *	  What the verbs are made of: sealing, opening, and who may do what with a
 *	  credential.
 *
 * A value exists as a C buffer between here and ks_crypto, and as the
 * argument or result of the SQL function; nowhere else.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_VAULT_H
#define KS_VAULT_H

#include "ks_error.h"
#include "ks_store.h"
#include "ks_rights.h"

/* A value in a secret buffer. */
typedef struct KsValue
{
	char	   *data;
	size_t		len;
} KsValue;

/*
 * Why something is not given.  With one bad row among many it is reported
 * beside the others; otherwise ks_vault_raise() makes an error of it.
 */
typedef struct KsProblem
{
	int			sqlstate;		/* 0: none */
	const char *message;		/* constant; for the caller */
	const char *detail;			/* for the caller, may be NULL */
	const char *reason;			/* for the server log and verify_all(), may be
								 * NULL */
	bool		shredded;		/* PT423 because the workspace's keys are gone */
	bool		customer;		/* PT423 because its customer's key is not
								 * available */
	KsLimited	limited;		/* PT429: what refused */
	bool		policy;			/* a policy is against it; detail is its JSON */
} KsProblem;

KS_NORETURN extern void ks_vault_raise(const KsProblem *problem) KS_NORETURN_END;

/* Which kind of access a function needs. */
typedef enum KsAccess
{
	KS_ACCESS_SEE,				/* metadata */
	KS_ACCESS_REVEAL,
	KS_ACCESS_STORE,
	KS_ACCESS_ROTATE,
	KS_ACCESS_STOP,				/* switch off, delete: store, or workspace for
								 * somebody's personal one */
	KS_ACCESS_DESTROY,			/* workspace, or to own a personal one */
	KS_ACCESS_SHARE				/* to own a personal one */
} KsAccess;

/*
 * Whether the caller may do something with a credential, of which
 * ks_store_seek() suffices; member receives its membership.  One that it may
 * not even see is PT404: of a workspace that is not its own, outside what its
 * API key is limited to, or somebody's personal one that was not shared with
 * it.  The same is asked about what a seek has not found, so that it takes as
 * long; the caller then refuses it whatever the answer.
 */
extern bool ks_vault_may(const KsCall *call, const KsCredential *credential, KsAccess access,
						 KsMembership *member, KsProblem *problem);

/*
 * Opens one version into a secret buffer of the current memory context.
 * False with a problem when it does not open.
 */
extern bool ks_vault_open(const KsCredential *credential, const KsSealed *sealed,
						  KsValue *value, KsProblem *problem);

/* A value that is to be revealed. */
typedef struct KsReveal
{
	/* what is asked for; the rest is zeros */
	const uint8 *id;			/* NULL: by name */
	KsName		name;
	int32		version;		/* 0: the current one */
	bool		internal;		/* the caller does not get the value: no limit
								 * applies */

	/* what came of it */
	bool		seen;			/* the caller may see the credential;
								 * otherwise the log must not say more of it
								 * than was asked */
	bool		shared;			/* it is somebody else's, who shared it */
	KsCredential credential;	/* when seen, and so is sealed */
	KsSealed	sealed;
	KsValue		value;
	KsProblem	problem;
} KsReveal;

/* Everything between what was asked for and its value, but for policy, which
 * is asked between the two: finding, access and state; limits and opening.
 * False with a problem. */
extern bool ks_vault_find(const KsCall *call, KsReveal *reveal);
extern bool ks_vault_take(const KsCall *call, KsReveal *reveal);

/*
 * Seals a value as the next version of a credential whose row is locked.
 * current: makes it the current one; otherwise it stays pending.  Returns the
 * version.  credential->hint is set when it becomes current.
 */
extern int32 ks_vault_put(KsCredential *credential, const KsValue *value, bool current,
						  int32 source_version, const uint8 by[KS_ID_LEN]);

/*
 * Writes changed metadata.  When something changed that the ciphertext is
 * bound to, every version is sealed again.  A damaged one is left as it is,
 * but XX001 when it is the version that must open (0: none).
 */
extern void ks_vault_change(const KsCredential *before, const KsCredential *after, int32 must_open);

/*
 * Opens a version of a credential whose row is locked, and seals it under the
 * key that encrypts now.  False with a problem when it does not open; then it
 * stays as it is.
 */
extern bool ks_vault_reseal(const KsCredential *credential, const KsSealed *sealed, KsProblem *problem);

#endif							/* KS_VAULT_H */
