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
	KS_ACCESS_DESTROY			/* workspace, or to own a personal one */
} KsAccess;

/*
 * Whether the caller may do something with a credential; member receives its
 * membership.  A credential that it may not even see is PT404.
 */
extern bool ks_vault_may(const KsCall *call, const KsCredential *credential, KsAccess access,
						 KsMembership *member, KsProblem *problem);

/*
 * Opens one version into a secret buffer of the current memory context.
 * False with a problem when it does not open.
 */
extern bool ks_vault_open(const KsCredential *credential, const KsSealed *sealed,
						  KsValue *value, KsProblem *problem);

/* Everything between finding a credential and its value: access, state, opening. */
extern bool ks_vault_reveal(const KsCall *call, const KsCredential *credential,
							const KsSealed *sealed, KsValue *value, KsProblem *problem);

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

#endif							/* KS_VAULT_H */
