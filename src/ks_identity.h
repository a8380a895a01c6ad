/*-------------------------------------------------------------------------
 *
 * ks_identity.h
 *	  Who is calling.
 *
 * The identity of a call is proved by a token, or comes from the session (the
 * login role); its rights to call come from the current role.  Nothing here
 * is asserted by a parameter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_IDENTITY_H
#define KS_IDENTITY_H

#include "keystone.h"

#include "datatype/timestamp.h"

#define KS_API_KEY_MARK			"ks_"	/* API keys begin with it */
#define KS_API_KEY_PREFIX_LEN	12	/* hexadecimal digits */
#define KS_API_KEY_SECRET_LEN	KS_KEY_LEN	/* bytes, twice as many digits */

/* How an identity is known, the weaker first. */
typedef enum KsSource
{
	KS_SOURCE_ANONYMOUS = 0,
	KS_SOURCE_DB_ROLE,			/* the principal bound to the login role */
	KS_SOURCE_CLAIMS,			/* request.jwt.claims, with trust_claims */
	KS_SOURCE_JWT,				/* a JSON Web Token that was verified here */
	KS_SOURCE_API_KEY
} KsSource;

typedef struct KsActor
{
	KsSource	source;
	uint8		principal[KS_ID_LEN];	/* zero when anonymous */
	bool		delegated;		/* an API key */
	bool		outgoing;		/* by a secret whose time ends */
	uint8		on_behalf_of[KS_ID_LEN];	/* who made it, when delegated */
	TimestampTz mfa_at;			/* when a second factor was proved, as the
								 * token says; 0: it was not */
	const char *why;			/* constant phrase: why anonymous */
	Oid			role;			/* the current role */
	Oid			session_role;	/* who logged in */
} KsActor;

/* What a token, or trusted claims, prove. */
typedef struct KsProof
{
	KsSource	source;
	uint8		principal[KS_ID_LEN];
	uint8		creator[KS_ID_LEN]; /* of an API key, as all to prefix */
	TimestampTz key_updated;	/* its row's updated_at when it was checked */
	bool		ends;			/* the secret was rotated out */
	TimestampTz ends_at;
	TimestampTz mfa_at;			/* of a JWT or claims; 0: none */
	char		prefix[KS_API_KEY_PREFIX_LEN + 1];
	char		display_name[KS_DISPLAY_NAME_MAX + 1];	/* as the token has it;
														 * may be empty */
} KsProof;

/* A token that proves nothing, for the log. */
typedef struct KsAuthFailure
{
	const char *why;			/* constant phrase */
	KsSource	kind;			/* API_KEY or JWT: what it looked like */
	const char *prefix;			/* of an API key, NULL otherwise */
} KsAuthFailure;

/*
 * What identity needs from tables, given by rooms of floor 4 at start.  They
 * must not ask who is calling.
 */
typedef struct KsIdentityLoader
{
	/* The principal bound to a login role. */
	bool		(*principal_of_role) (const char *role, uint8 principal[KS_ID_LEN]);

	/* The principal registered under an external id. */
	bool		(*principal_of_external) (const char *external_id, uint8 principal[KS_ID_LEN]);

	/*
	 * Whether the principal that a proof names may act now: NULL, or the
	 * constant phrase that says why not.  One that a JWT or claims name and
	 * that has no row yet may.  What proves an API key is looked at again
	 * when the key was changed meanwhile.
	 */
	const char *(*refuse_principal) (KsProof *proof);

	/*
	 * Whether an API key is valid: fills what a proof has of one.  prefix has
	 * KS_API_KEY_PREFIX_LEN characters and a terminator, secret
	 * KS_API_KEY_SECRET_LEN bytes.  False for unknown, wrong, revoked and
	 * expired ones alike, in the same time.
	 */
	bool		(*check_api_key) (const char *prefix, const uint8 *secret, KsProof *proof);

	/* Whether the secret of that prefix still proves what it did. */
	bool		(*recheck_api_key) (KsProof *proof);

	/* Records a failure durably, if there is a log; may raise PT424. */
	void		(*record_failure) (const KsAuthFailure *failure);
} KsIdentityLoader;

extern KsIdentityLoader ks_identity_loader; /* each room sets its own members */

extern void ks_identity_init(void);

/* Who is calling, as of now.  Raises nothing for an anonymous caller. */
extern void ks_identity_actor(KsActor *actor);

/*
 * Proves the caller's identity by a token for the rest of the transaction.
 * 42501 for a token that proves nothing, PT429 after too many of them; 42501
 * too when another identity was proved before, or where none may be taken.
 */
extern void ks_identity_authenticate(const char *token, size_t len);

/*
 * What the answer to who is calling hangs on within a statement, apart from
 * rights.  Two of them are compared with memcmp().
 */
typedef struct KsIdentityMark
{
	uint64		proofs;			/* how often what is proved has changed */
	Oid			role;
	Oid			session_role;
	int			sec_context;
	int			unused;
} KsIdentityMark;

extern void ks_identity_mark(KsIdentityMark *mark);

/* Takes what the request says now, so that nothing later can replace it. */
extern void ks_identity_pin(void);

/* What the caller's token says of its bearer's name; NULL when nothing. */
extern const char *ks_identity_display_name(void);

/* Whether the session is that of an authenticator. */
extern bool ks_identity_is_authenticator(void);

/* Whether it serves a request of PostgREST's, whose answer can have headers. */
extern bool ks_identity_over_http(void);

/* The current role, whose privileges count. */
extern Oid	ks_identity_current_role(void);

/* True where the login role says nothing about who calls; why says why. */
extern bool ks_identity_withheld(const char **why);

extern const char *ks_source_name(KsSource source);

#endif							/* KS_IDENTITY_H */
