/*-------------------------------------------------------------------------
 *
 * ks_invitation.h
 *	  The table of invitations.
 *
 * An invitation is a token of 32 random bytes, "ksi_" and 64 hexadecimal
 * digits, of which only an HMAC is kept.  It is pending until it is accepted
 * or cancelled, or its time is over; the row stays.
 *
 * Changes need ks_begin_change() and ks_tenant_lock() of the workspace first.
 * Who may make them is the caller's business.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_INVITATION_H
#define KS_INVITATION_H

#include "ks_rows.h"

#define KS_INVITATION_MARK			"ksi_"	/* tokens begin with it */
#define KS_INVITATION_SECRET_LEN	32	/* bytes, twice as many digits */
#define KS_INVITATION_TOKEN_LEN \
	(sizeof(KS_INVITATION_MARK) - 1 + 2 * KS_INVITATION_SECRET_LEN)

typedef struct KsNewInvitation
{
	const uint8 *workspace;
	const char *email;			/* as it is shown */
	const char *role;
	const uint8 *invited_by;
	TimestampTz expires_at;
} KsNewInvitation;

/* Writes a row and its token, with a terminator; the caller wipes it. */
extern void ks_invitation_add(const KsNewInvitation *invitation, char token[KS_INVITATION_TOKEN_LEN + 1]);

/*
 * Finds the pending invitation of a token.  False for one that is malformed,
 * unknown, accepted, cancelled or over, and when the row's HMAC is not valid.
 */
extern bool ks_invitation_find(const char *token, size_t len, KsInvitationRow *row);

/* Writes that a principal has accepted it. */
extern void ks_invitation_accept(KsInvitationRow *row, const uint8 principal[KS_ID_LEN]);

/*
 * Cancels the invitations of a workspace for an address (NULL: for any), made
 * by somebody (NULL: anybody), that
 * were neither accepted nor cancelled.  Returns how many of them were pending
 * still.  Addresses are compared as names are, see ks_text_fold().
 */
extern int	ks_invitation_cancel(const uint8 workspace[KS_ID_LEN], const char *email, const uint8 *inviter);

#endif							/* KS_INVITATION_H */
