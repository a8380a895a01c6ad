/*-------------------------------------------------------------------------
 *
 * ks_invitation.c
 *	  The table of invitations.
 *
 * The row has no copy of the token: it is found by the HMAC of what a caller
 * presents, so that neither the table nor the time of a look-up tells anything
 * about tokens that are pending.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ks_crypto.h"
#include "ks_error.h"
#include "ks_invitation.h"
#include "ks_mem.h"
#include "ks_text.h"

static void
write_token(const uint8 *secret, char *token)
{
	size_t		mark = sizeof(KS_INVITATION_MARK) - 1;

	memcpy(token, KS_INVITATION_MARK, mark);
	(void) hex_encode((const char *) secret, KS_INVITATION_SECRET_LEN, token + mark);
	token[KS_INVITATION_TOKEN_LEN] = '\0';
}

/* The value of a lower-case hexadecimal digit, -1 for another character. */
static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
read_token(const char *token, size_t len, uint8 secret[KS_INVITATION_SECRET_LEN])
{
	size_t		mark = sizeof(KS_INVITATION_MARK) - 1;

	if (len != KS_INVITATION_TOKEN_LEN || memcmp(token, KS_INVITATION_MARK, mark) != 0)
		return false;
	for (int i = 0; i < KS_INVITATION_SECRET_LEN; i++)
	{
		int			high = digit_value(token[mark + 2 * i]);
		int			low = digit_value(token[mark + 2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		secret[i] = (uint8) (high << 4 | low);
	}
	return true;
}

/* The rest of the token lies with the caller; the bytes are wiped here. */
static void
make_secret(uint8 mac[KS_DIGEST_LEN], char *token)
{
	uint8		secret[KS_INVITATION_SECRET_LEN];

	if (ks_random(secret, sizeof(secret)) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	write_token(secret, token);
	ks_secret_mac(KS_SECRET_INVITATION, secret, sizeof(secret), mac);
	ks_wipe(secret, sizeof(secret));
}

void
ks_invitation_add(const KsNewInvitation *invitation, char token[KS_INVITATION_TOKEN_LEN + 1])
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone.invitations (workspace_id, id, email, role, token_mac, invited_by,"
		" created_at, expires_at, row_mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
	};
	KsInvitationRow row = {.email = invitation->email, .role = invitation->role, .expires_at = invitation->expires_at};
	KsArgs		args = {0};
	KsSpi		spi;

	memcpy(row.workspace, invitation->workspace, KS_ID_LEN);
	memcpy(row.invited_by, invitation->invited_by, KS_ID_LEN);
	if (ks_random_uuid(row.id) != KS_CRYPTO_OK)
		ks_error_crypto("draw random bytes");
	make_secret(row.token_mac, token);

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row.workspace);
	ks_arg_uuid(&args, row.id);
	ks_arg_text(&args, invitation->email);
	ks_arg_text(&args, row.role);
	ks_arg_bytes(&args, row.token_mac, KS_DIGEST_LEN);
	ks_arg_uuid(&args, row.invited_by);
	ks_arg_time(&args, true, GetCurrentTimestamp());
	ks_arg_time(&args, true, row.expires_at);
	ks_invitation_add_mac(&args, &row);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

static bool
is_pending(const KsInvitationRow *row)
{
	return !row->accepted && !row->cancelled && row->expires_at > GetCurrentTimestamp();
}

bool
ks_invitation_find(const char *token, size_t len, KsInvitationRow *row)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_INVITATION_COLUMNS " FROM keystone.invitations i WHERE i.token_mac = $1"
	};
	uint8		secret[KS_INVITATION_SECRET_LEN];
	uint8		mac[KS_DIGEST_LEN];
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	if (!read_token(token, len, secret))
		return false;
	ks_secret_mac(KS_SECRET_INVITATION, secret, sizeof(secret), mac);
	ks_wipe(secret, sizeof(secret));

	ks_spi_begin(&spi);
	ks_arg_bytes(&args, mac, KS_DIGEST_LEN);
	found = ks_spi_read(&plan, &args) == 1 && ks_invitation_read(&spi, 0, 1, row) && is_pending(row);
	ks_spi_end(&spi);
	return found;
}

/* Writes how an invitation has ended. */
static void
write_end(const KsInvitationRow *row)
{
	static KsPlan plan = {.sql =
		"UPDATE keystone.invitations SET accepted_at = $3, accepted_by = $4, cancelled_at = $5, row_mac = $6"
		" WHERE workspace_id = $1 AND id = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_uuid(&args, row->id);
	ks_arg_time(&args, row->accepted, row->accepted_at);
	ks_arg_uuid(&args, row->accepted ? row->accepted_by : NULL);
	ks_arg_time(&args, row->cancelled, row->cancelled_at);
	ks_invitation_add_mac(&args, row);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

void
ks_invitation_accept(KsInvitationRow *row, const uint8 principal[KS_ID_LEN])
{
	row->accepted = true;
	row->accepted_at = GetCurrentTimestamp();
	memcpy(row->accepted_by, principal, KS_ID_LEN);
	write_end(row);
}

/*
 * What has expired is cancelled, too: nobody is told of it as pending.  A row
 * that was changed by hand is worth nothing, and is left as it is.
 */
int
ks_invitation_cancel(const uint8 workspace[KS_ID_LEN], const char *email, const uint8 *inviter)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_INVITATION_COLUMNS ", i.email FROM keystone.invitations i"
		" WHERE i.workspace_id = $1 AND ($2 IS NULL OR i.invited_by = $2)"
		" AND i.accepted_at IS NULL AND i.cancelled_at IS NULL"
	};
	char	   *folded = email != NULL ? ks_text_fold(email) : NULL;
	KsArgs		args = {0};
	KsSpi		spi;
	KsInvitationRow *rows;
	int			found;
	int			n = 0;
	int			pending = 0;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, inviter);
	found = (int) ks_spi_read(&plan, &args);
	rows = palloc(Max(found, 1) * sizeof(KsInvitationRow));
	for (int i = 0; i < found; i++)
	{
		if (folded == NULL ||
			strcmp(ks_text_fold(ks_col_text(&spi, i, 1 + KS_INVITATION_COLUMNS_N)), folded) == 0)
			n += ks_invitation_read(&spi, i, 1, &rows[n]) ? 1 : 0;
	}
	for (int i = 0; i < n; i++)
	{
		pending += is_pending(&rows[i]) ? 1 : 0;
		rows[i].cancelled = true;
		rows[i].cancelled_at = GetCurrentTimestamp();
		write_end(&rows[i]);
	}
	ks_spi_end(&spi);
	return pending;
}
