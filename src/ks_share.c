/*-------------------------------------------------------------------------
 *
 * ks_share.c
 *	  Personal credentials that their owners let others use: the table.
 *
 * A row is never removed: an old one put back by hand would have a valid HMAC.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "ks_rows.h"
#include "ks_share.h"
#include "ks_spi.h"

void
ks_share_put(const KsCredential *credential, const uint8 grantee[KS_ID_LEN], bool ends,
			 TimestampTz until)
{
	static KsPlan put = {.sql =
		"INSERT INTO keystone.credential_shares (workspace_id, credential_id, grantee, owner, until,"
		" created_at, updated_at, row_mac) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)"
		" ON CONFLICT (workspace_id, credential_id, grantee) DO UPDATE SET owner = excluded.owner,"
		" until = excluded.until, updated_at = excluded.updated_at, revoked_at = NULL, row_mac = excluded.row_mac"
	};
	KsShareRow	row = {.ends = ends, .until = until};
	KsArgs		args = {0};
	KsSpi		spi;

	memcpy(row.workspace, credential->workspace, KS_ID_LEN);
	memcpy(row.credential, credential->id, KS_ID_LEN);
	memcpy(row.grantee, grantee, KS_ID_LEN);
	memcpy(row.owner, credential->owner, KS_ID_LEN);
	row.updated_at = GetCurrentTimestamp();
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row.workspace);
	ks_arg_uuid(&args, row.credential);
	ks_arg_uuid(&args, row.grantee);
	ks_arg_uuid(&args, row.owner);
	ks_arg_time(&args, row.ends, row.until);
	ks_arg_time(&args, true, row.updated_at);
	ks_share_add_mac(&args, &row);
	(void) ks_spi_write(&put, &args);
	ks_spi_end(&spi);
}

/* Writes a share that was read as over: one that is not valid gives nothing,
 * and is over all the same. */
static void
end_share(KsShareRow *row)
{
	static KsPlan end = {.sql =
		"UPDATE keystone.credential_shares SET updated_at = $4, revoked_at = $4, row_mac = $5"
		" WHERE workspace_id = $1 AND credential_id = $2 AND grantee = $3"
	};
	KsArgs		args = {0};

	row->revoked = true;
	row->updated_at = row->revoked_at = GetCurrentTimestamp();
	ks_arg_uuid(&args, row->workspace);
	ks_arg_uuid(&args, row->credential);
	ks_arg_uuid(&args, row->grantee);
	ks_arg_time(&args, true, row->updated_at);
	ks_share_add_mac(&args, row);
	(void) ks_spi_write(&end, &args);
}

void
ks_share_end_all(const uint8 workspace[KS_ID_LEN], const uint8 principal[KS_ID_LEN])
{
	static KsPlan find = {.sql =
		"SELECT " KS_SHARE_COLUMNS " FROM keystone.credential_shares c"
		" WHERE c.workspace_id = $1 AND (c.grantee = $2 OR c.owner = $2) AND c.revoked_at IS NULL"
		" ORDER BY c.credential_id, c.grantee"
	};
	KsArgs		args = {0};
	KsShareRow *rows;
	KsSpi		spi;
	uint64		n;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, principal);
	n = ks_spi_read(&find, &args);
	rows = palloc(Max(n, 1) * sizeof(KsShareRow));
	for (uint64 i = 0; i < n; i++)
		(void) ks_share_read(&spi, i, 1, &rows[i]);
	for (uint64 i = 0; i < n; i++)
		end_share(&rows[i]);
	ks_spi_end(&spi);
}

bool
ks_share_end(const KsCredential *credential, const uint8 grantee[KS_ID_LEN])
{
	static KsPlan find = {.sql =
		"SELECT " KS_SHARE_COLUMNS " FROM keystone.credential_shares c"
		" WHERE c.workspace_id = $1 AND c.credential_id = $2 AND c.grantee = $3 AND c.revoked_at IS NULL"
	};
	KsShareRow	row;
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	ks_arg_uuid(&args, grantee);
	found = ks_spi_read(&find, &args) == 1;
	if (found)
	{
		(void) ks_share_read(&spi, 0, 1, &row);
		end_share(&row);
	}
	ks_spi_end(&spi);
	return found;
}
