/*-------------------------------------------------------------------------
 *
 * ks_jwt.h
 *	  JSON Web Tokens (RFC 7519) in compact form, signed (RFC 7515) with one of
 *	  HS256, RS256, PS256, ES256 and EdDSA (RFC 7518, RFC 8037).
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_JWT_H
#define KS_JWT_H

#include "keystone.h"

#include "datatype/timestamp.h"

#define KS_JWT_MAX			16384	/* bytes of a token */
#define KS_JWT_LEEWAY_S		30	/* seconds around exp and nbf */

/* The claims that matter, palloc'd; NULL where the token has none, or an empty
 * one. */
typedef struct KsClaims
{
	const char *issuer;
	const char *subject;
	const char *role;
	const char *name;			/* or user_metadata's full_name or name */
	const char *email;
	TimestampTz mfa_at;			/* when a second factor was proved; 0: it was
								 * not, or the token does not say when */
} KsClaims;

/*
 * That a second factor was proved is read from the claim amr: an array that
 * has the word "mfa" (RFC 8176), the time then being auth_time (OpenID
 * Connect), or one of objects {"method", "timestamp"} with one of the methods
 * totp, mfa/phone, mfa/webauthn, as GoTrue has it.
 *
 * Verifies a token: its signature with a key of keystone.jwt_keys_file that
 * fits its algorithm and kid, exp, nbf, and the configured issuer and
 * audience.  NULL and the claims, or a constant phrase that says what is
 * wrong with it.  Raises nothing but errors of memory, and a cancel while the
 * launcher has not read the file yet.
 */
extern const char *ks_jwt_verify(const char *token, size_t len, TimestampTz now, KsClaims *claims);

/*
 * Reads claims that somebody else has verified; NULL or what is wrong.  The
 * configured issuer and audience are required here, too, exp and nbf are not
 * looked at.
 */
extern const char *ks_jwt_read_claims(const char *json, size_t len, KsClaims *claims);

/*
 * The principal of a subject: the subject itself when it is a uuid in
 * canonical form and not nil, else a name-based one (version 5 of RFC 9562)
 * over issuer and subject.  claims must have a subject.
 */
extern void ks_jwt_principal(const KsClaims *claims, uint8 principal[KS_ID_LEN]);

#endif							/* KS_JWT_H */
