/*-------------------------------------------------------------------------
 *
 * ks_approval.c
 *	  Requests for approval: who must agree before a call is made, and the one
 *	  time that the agreement is used.
 *
 * A vote counts while its row and its voter's are valid, the voter is a person
 * who is independent of who asks, and the membership that entitles it has been
 * the same since it was asked: whoever lost it meanwhile, or got it later, does
 * not count.  Members' rows are locked before they are read, so that a removal
 * that is not committed yet is waited for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "ks_approval.h"
#include "ks_audit.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_jsonb.h"
#include "ks_tenant.h"
#include "ks_text.h"

#define LOCK_CLASS		3		/* advisory locks of SQL have 1 and 2 */
#define SWEEP_BATCH		200		/* requests in one transaction */
#define NAMED_MAX		3		/* that health names */

/* An emergency is reviewed by then. */
#define REVIEW_TIME		USECS_PER_DAY

/* Who asks, and who stands behind it. */
typedef struct Asker
{
	uint8		id[KS_ID_LEN];
	bool		service;
	bool		has_creator;	/* an API key's */
	uint8		creator[KS_ID_LEN];
	bool		has_registrar;
	uint8		registrar[KS_ID_LEN];
} Asker;

static bool
is_state(const KsApprovalRow *row, const char *state)
{
	return strcmp(row->state, state) == 0;
}

static bool
is_open(const KsApprovalRow *row)
{
	return is_state(row, "pending") || is_state(row, "approved");
}

const char *
ks_approval_answer_text(KsApprovalAnswer answer)
{
	static const char *const texts[] = {
		[KS_APPROVAL_OK] = NULL,
		[KS_APPROVAL_UNKNOWN] = "There is no such approval of yours.",
		[KS_APPROVAL_OTHER_CALL] = "The approval was given for another call, or what it is about has changed since.",
		[KS_APPROVAL_PENDING] = "The request is not approved yet.",
		[KS_APPROVAL_OVER] = "The request was rejected, cancelled or superseded, or its time is over.",
		[KS_APPROVAL_SPENT] = "The approval was used before.",
		[KS_APPROVAL_SHORT] = "Votes that were given count no longer, or more are needed now.",
		[KS_APPROVAL_WAIT] = "The time that has to pass between request and use is not over.",
	};

	return texts[answer];
}

void
ks_approval_notify(const KsApprovalRow *row, const char *event)
{
	char		workspace[37];
	char		id[37];

	ks_text_from_uuid(row->workspace, workspace);
	ks_text_from_uuid(row->id, id);
	Async_Notify(KS_APPROVAL_NOTIFY,
				 psprintf("{\"workspace\": \"%s\", \"request\": \"%s\", \"event\": \"%s\", \"level\": %d}",
						  workspace, id, event, row->level));
}


/*-------------------------------------------------------------------------
 * Rows
 *-------------------------------------------------------------------------
 */

bool
ks_approval_find(const uint8 id[KS_ID_LEN], KsApprovalRow *row)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_APPROVAL_COLUMNS " FROM keystone.approval_requests a WHERE a.id = $1"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, id);
	found = ks_spi_read(&plan, &args) == 1 && ks_approval_read(&spi, 0, 1, row);
	ks_spi_end(&spi);
	return found;
}

/* The columns that change, as arguments 3 and on. */
static void
add_changing(KsArgs *args, const KsApprovalRow *row)
{
	ks_arg_text(args, row->state);
	ks_arg_int(args, true, row->level);
	ks_arg_time(args, true, row->expires_at);
	ks_arg_time(args, row->decided, row->decided_at);
	ks_arg_time(args, row->claimed, row->claimed_at);
	ks_arg_time(args, row->completed, row->completed_at);
	ks_arg_uuid(args, row->reviewed ? row->reviewed_by : NULL);
	ks_arg_time(args, row->reviewed, row->reviewed_at);
	ks_approval_add_mac(args, row);
}

/* detail NULL: as it was. */
static void
update_request(const KsApprovalRow *row, const char *detail)
{
	static KsPlan plan = {.sql =
		"UPDATE keystone.approval_requests SET state = $3, level = $4, expires_at = $5, decided_at = $6, claimed_at = $7,"
		" completed_at = $8, reviewed_by = $9, reviewed_at = $10, row_mac = $11, detail = coalesce($12, detail)"
		" WHERE workspace_id = $1 AND id = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_uuid(&args, row->id);
	add_changing(&args, row);
	ks_arg_text(&args, detail);
	ks_change_set_guard(true);
	(void) ks_spi_write(&plan, &args);
	ks_change_set_guard(false);
	ks_spi_end(&spi);
}

KS_NORETURN static void refuse_more(const char *limit, int64 most) KS_NORETURN_END;

static void
refuse_more(const char *limit, int64 most)
{
	KsLimited	limited = {.kind = KS_LIMITED_OPEN, .limit = limit, .limit_value = most, .retry_after = -1};

	ks_error_limited(&limited, ks_identity_over_http());
}

/*
 * Until the transaction ends, a requester's requests in a workspace are counted
 * one after the other.  No row of the workspace is locked for it: nobody else
 * is to wait for who asks.  The kind of lock is that of advisory locks, with a
 * class that no function of SQL uses.
 */
static void
lock_requester(const uint8 *workspace, const uint8 *requester)
{
	LOCKTAG		tag;
	uint8		ids[2 * KS_ID_LEN];
	uint64		hash;

	memcpy(ids, workspace, KS_ID_LEN);
	memcpy(ids + KS_ID_LEN, requester, KS_ID_LEN);
	hash = DatumGetUInt64(hash_any_extended(ids, sizeof(ids), 0));
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* What is over by its time is not open, whether anybody has noticed or not. */
void
ks_approval_require_room(const uint8 workspace[KS_ID_LEN], const uint8 requester[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT count(*), count(*) FILTER (WHERE a.requester = $2) FROM keystone.approval_requests a"
		" WHERE a.workspace_id = $1 AND a.state IN ('pending', 'approved') AND a.expires_at > $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int64		all = 0;
	int64		own = 0;

	lock_requester(workspace, requester);
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, requester);
	ks_arg_time(&args, true, GetCurrentTimestamp());
	if (ks_spi_read(&plan, &args) == 1)
	{
		(void) ks_col_bigint(0, 1, &all);
		(void) ks_col_bigint(0, 2, &own);
	}
	ks_spi_end(&spi);
	if (own >= KS_APPROVAL_OPEN_MAX)
		refuse_more("open_requests", KS_APPROVAL_OPEN_MAX);
	if (all >= KS_APPROVAL_OPEN_ALL_MAX)
		refuse_more("open_requests_of_workspace", KS_APPROVAL_OPEN_ALL_MAX);
}

/* The last transaction in which somebody agreed here, or declared an
 * emergency, also if that was rolled back to a savepoint. */
static LocalTransactionId agreed_in = InvalidLocalTransactionId;

void
ks_approval_insert(const KsApprovalRow *row)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone.approval_requests (workspace_id, id, state, level, expires_at, decided_at, claimed_at,"
		" completed_at, reviewed_by, reviewed_at, row_mac, requester, action, resource, parameters, reason, request_hash,"
		" need, break_glass, created_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	if (is_state(row, "approved"))
		agreed_in = ks_local_transaction();
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_uuid(&args, row->id);
	add_changing(&args, row);
	ks_arg_uuid(&args, row->requester);
	ks_arg_text(&args, row->action);
	ks_arg_datum(&args, true, JSONBOID, JsonbPGetDatum(row->resource));
	ks_arg_datum(&args, true, JSONBOID, JsonbPGetDatum(row->parameters));
	ks_arg_text(&args, row->reason);
	ks_arg_bytes(&args, row->request_hash, KS_DIGEST_LEN);
	ks_arg_datum(&args, true, JSONBOID, JsonbPGetDatum(row->need));
	ks_arg_bool(&args, true, row->break_glass);
	ks_arg_time(&args, true, row->created_at);
	ks_change_set_guard(true);
	(void) ks_spi_write(&plan, &args);
	ks_change_set_guard(false);
	ks_spi_end(&spi);
}

void
ks_approval_move(KsApprovalRow *row, const char *state, const char *detail)
{
	TimestampTz now = GetCurrentTimestamp();

	row->state = state;
	if (is_state(row, "claimed") || is_state(row, "executed") || is_state(row, "failed"))
	{
		if (!row->claimed)
			row->claimed_at = now;
		row->claimed = true;
		row->completed = !is_state(row, "claimed");
		row->completed_at = row->completed ? now : 0;
	}
	else if (!row->decided && !is_state(row, "expired") && !is_state(row, "superseded"))
	{
		row->decided = true;
		row->decided_at = now;
	}
	update_request(row, detail);
}

void
ks_approval_set_reviewed(KsApprovalRow *row, const uint8 by[KS_ID_LEN], const char *comment)
{
	row->reviewed = true;
	row->reviewed_at = GetCurrentTimestamp();
	memcpy(row->reviewed_by, by, KS_ID_LEN);
	update_request(row, comment);
}

/*
 * What has become of a locked request that nobody has written down yet.
 */
static void
settle(KsApprovalRow *row)
{
	if (!is_open(row))
		return;
	if (is_state(row, "approved") && ks_audit_is_claimed(row->id))
		ks_approval_move(row, "failed", "the transaction that used it was rolled back");
	else if (row->expires_at <= GetCurrentTimestamp())
		ks_approval_move(row, "expired", NULL);
}

/* Locks the row; false when there is none. */
static bool
lock_row(const uint8 id[KS_ID_LEN])
{
	static KsPlan plan = {.sql = "SELECT 1 FROM keystone.approval_requests WHERE id = $1 FOR NO KEY UPDATE"};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, id);
	found = ks_spi_write(&plan, &args) == 1;
	ks_spi_end(&spi);
	return found;
}

bool
ks_approval_lock(const uint8 id[KS_ID_LEN], KsApprovalRow *row)
{
	if (!lock_row(id) || !ks_approval_find(id, row))
		return false;
	settle(row);
	return true;
}


/*-------------------------------------------------------------------------
 * Who may vote
 *-------------------------------------------------------------------------
 */

static void
get_asker(const uint8 requester[KS_ID_LEN], Asker *asker)
{
	static KsPlan plan = {.sql =
		"SELECT p.kind, p.registered_by, k.created_by FROM keystone.principals p"
		" LEFT JOIN keystone_private.api_keys k ON k.id = p.id WHERE p.id = $1"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	memset(asker, 0, sizeof(*asker));
	memcpy(asker->id, requester, KS_ID_LEN);
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, requester);
	if (ks_spi_read(&plan, &args) >= 1)
	{
		asker->service = strcmp(ks_col_text(&spi, 0, 1), "service") == 0;
		asker->has_registrar = ks_col_uuid(0, 2, asker->registrar);
		asker->has_creator = ks_col_uuid(0, 3, asker->creator);
	}
	ks_spi_end(&spi);
}

static bool
is_same(bool present, const uint8 *a, const uint8 *b)
{
	return present && memcmp(a, b, KS_ID_LEN) == 0;
}

/* Whether a voter is another one than who asks, who stands behind it, and whom
 * these have made.  registrar NULL: nobody has registered the voter. */
static bool
is_independent(const Asker *asker, const uint8 *voter, const uint8 *registrar)
{
	if (is_same(true, asker->id, voter) || is_same(asker->has_creator, asker->creator, voter) ||
		is_same(asker->service && asker->has_registrar, asker->registrar, voter))
		return false;
	return registrar == NULL ||
		(!is_same(true, asker->id, registrar) && !is_same(asker->has_creator, asker->creator, registrar));
}

/* Columns of a member and its principal, as read_voter() wants them. */
#define VOTER_COLUMNS	KS_MEMBER_COLUMNS ", p.registered_by"
#define VOTER_TABLES	" JOIN keystone.principals p ON p.id = m.principal_id"

/* Reads a voter; false when it cannot vote for this asker (may be NULL). */
static bool
read_voter(const KsSpi *spi, uint64 row, int first, const Asker *asker, KsVoter *voter)
{
	KsMemberRow member;
	uint8		registrar[KS_ID_LEN];
	bool		has_registrar = ks_col_uuid(row, first + KS_MEMBER_COLUMNS_N, registrar);

	if (!ks_member_read(spi, row, first, &member) || member.removed)
		return false;
	if (asker != NULL && !is_independent(asker, member.principal, has_registrar ? registrar : NULL))
		return false;
	memcpy(voter->principal, member.principal, KS_ID_LEN);
	voter->role = member.role;
	voter->since = member.updated_at;
	voter->permissions = 0;
	return true;
}

/* Beyond the row: it is a person, and not disabled. */
static bool
complete_voter(const uint8 *workspace, KsVoter *voter)
{
	const char *kind = NULL;

	if (ks_principal_state(voter->principal, &kind) != KS_PRINCIPAL_GOOD || strcmp(kind, "user") != 0)
		return false;
	voter->permissions = ks_permissions_of(voter->principal, workspace);
	return voter->permissions != 0;
}

/* Keeps those who are complete; returns how many. */
static int
complete_voters(const uint8 *workspace, KsVoter *voters, int n)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (complete_voter(workspace, &voters[i]))
			voters[kept++] = voters[i];
	}
	return kept;
}

static bool
find_voter(const uint8 *workspace, const uint8 *principal, const Asker *asker, KsVoter *voter)
{
	static KsPlan plan = {.sql =
		"SELECT " VOTER_COLUMNS " FROM keystone.members m" VOTER_TABLES
		" WHERE m.workspace_id = $1 AND m.principal_id = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, principal);
	found = ks_spi_read(&plan, &args) == 1 && read_voter(&spi, 0, 1, asker, voter);
	ks_spi_end(&spi);
	return found && complete_voter(workspace, voter);
}

const char *
ks_approval_refuses(const KsApprovalRow *row, const uint8 voter[KS_ID_LEN], bool *stranger)
{
	KsApprovalNeed need;
	KsVoter		who;
	Asker		asker;

	*stranger = false;
	get_asker(row->requester, &asker);
	if (is_same(true, asker.id, voter))
		return "Nobody votes on a request of their own.";
	ks_tenant_lock_member(row->workspace, voter, false);
	*stranger = !(ks_permissions_of(voter, row->workspace) & (KS_PERM_APPROVE | KS_PERM_AUDIT));
	if (!ks_need_from_json(row->need, &need))
		return "The request is damaged.";
	if (!find_voter(row->workspace, voter, NULL, &who))
		return "Only people vote, as members of the workspace: neither API keys nor services.";
	if (!ks_need_may_vote(&need, row->created_at, GetCurrentTimestamp(), &who))
		return "The request needs others, who were members with that right when it was made.";
	*stranger = false;
	if (!find_voter(row->workspace, voter, &asker, &who))
		return "Who made the request, or whoever it acts for, has made the voter, or is the voter.";
	return NULL;
}

/* All that could vote for somebody's request (NULL: anybody's); palloc'd.  When
 * they became members does not matter. */
static int
list_voters(const uint8 *workspace, const uint8 *requester, KsVoter **voters)
{
	static KsPlan plan = {.sql =
		"SELECT " VOTER_COLUMNS " FROM keystone.members m" VOTER_TABLES
		" WHERE m.workspace_id = $1 AND m.removed_at IS NULL ORDER BY m.principal_id"
	};
	KsArgs		args = {0};
	Asker		asker;
	KsSpi		spi;
	uint64		rows;
	int			n = 0;

	if (requester != NULL)
		get_asker(requester, &asker);
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	rows = ks_spi_read(&plan, &args);
	*voters = MemoryContextAlloc(spi.caller, Max(rows, 1) * sizeof(KsVoter));
	for (uint64 i = 0; i < rows; i++)
	{
		KsVoter    *voter = &(*voters)[n];

		if (!read_voter(&spi, i, 1, requester != NULL ? &asker : NULL, voter))
			continue;
		voter->since = DT_NOBEGIN;
		n++;
	}
	ks_spi_end(&spi);
	return complete_voters(workspace, *voters, n);
}

bool
ks_approval_is_satisfiable(const uint8 workspace[KS_ID_LEN], const KsApprovalNeed *need, const uint8 *requester)
{
	TimestampTz now = GetCurrentTimestamp();
	KsVoter    *voters;
	int			n = list_voters(workspace, requester, &voters);

	/* Whoever is escalated to before the request expires counts, too. */
	if (requester != NULL || !ks_need_is_met(need, now, now + need->timeout, voters, n))
		return requester != NULL && ks_need_is_met(need, now, now + need->timeout, voters, n);

	/* There is one at least whose request the others could approve. */
	for (int i = 0; i < n; i++)
	{
		KsVoter		last = voters[n - 1];
		bool		met;

		voters[n - 1] = voters[i];
		voters[i] = last;
		met = ks_need_is_met(need, now, now + need->timeout, voters, n - 1);
		voters[i] = voters[n - 1];
		voters[n - 1] = last;
		if (met)
			return true;
	}
	return false;
}

bool
ks_approval_is_other(const KsApprovalRow *row, const uint8 principal[KS_ID_LEN])
{
	KsVoter		who;
	Asker		asker;

	get_asker(row->requester, &asker);
	return find_voter(row->workspace, principal, &asker, &who);
}


/*-------------------------------------------------------------------------
 * Votes
 *-------------------------------------------------------------------------
 */

/* Whether a vote is for this very request, as it was shown to its voter. */
static bool
is_for(const KsVoteRow *vote, const KsApprovalRow *row)
{
	return ks_equal(vote->request_hash, row->request_hash, KS_DIGEST_LEN);
}

const char *
ks_approval_vote_of(const KsApprovalRow *row, const uint8 voter[KS_ID_LEN])
{
	static KsPlan plan = {.sql =
		"SELECT " KS_VOTE_COLUMNS " FROM keystone.approval_votes v"
		" WHERE v.workspace_id = $1 AND v.request_id = $2 AND v.voter = $3"
	};
	KsVoteRow	vote = {.vote = NULL};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_uuid(&args, row->id);
	ks_arg_uuid(&args, voter);
	if (ks_spi_read(&plan, &args) == 1 && (!ks_vote_read(&spi, 0, 1, &vote) || !is_for(&vote, row)))
		vote.vote = "";			/* forged: none of the two */
	ks_spi_end(&spi);
	return vote.vote;
}

static void
put_vote(const KsVoteRow *vote, const char *comment)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone.approval_votes (workspace_id, request_id, voter, vote, request_hash, voted_at, row_mac, comment)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
		" ON CONFLICT (workspace_id, request_id, voter) DO UPDATE SET vote = excluded.vote,"
		" request_hash = excluded.request_hash, voted_at = excluded.voted_at, row_mac = excluded.row_mac,"
		" comment = excluded.comment"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	agreed_in = ks_local_transaction();
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, vote->workspace);
	ks_arg_uuid(&args, vote->request);
	ks_arg_uuid(&args, vote->voter);
	ks_arg_text(&args, vote->vote);
	ks_arg_bytes(&args, vote->request_hash, KS_DIGEST_LEN);
	ks_arg_time(&args, true, vote->voted_at);
	ks_vote_add_mac(&args, vote);
	ks_arg_text(&args, comment);
	ks_change_set_guard(true);
	(void) ks_spi_write(&plan, &args);
	ks_change_set_guard(false);
	ks_spi_end(&spi);
}

void
ks_approval_lock_voters(const KsApprovalRow *row)
{
	static KsPlan plan = {.sql =
		"SELECT 1 FROM keystone.members m WHERE m.workspace_id = $1 AND m.principal_id IN"
		" (SELECT v.voter FROM keystone.approval_votes v WHERE v.workspace_id = $1 AND v.request_id = $2)"
		" ORDER BY m.principal_id FOR SHARE OF m"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_uuid(&args, row->id);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}

/* Those whose votes are valid and for this very request; palloc'd. */
static int
list_approvers(const KsApprovalRow *row, KsVoter **voters)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_VOTE_COLUMNS ", " VOTER_COLUMNS " FROM keystone.approval_votes v"
		" JOIN keystone.members m ON m.workspace_id = v.workspace_id AND m.principal_id = v.voter" VOTER_TABLES
		" WHERE v.workspace_id = $1 AND v.request_id = $2 ORDER BY v.voter"
	};
	KsArgs		args = {0};
	KsVoteRow	vote;
	Asker		asker;
	KsSpi		spi;
	uint64		rows;
	int			n = 0;

	get_asker(row->requester, &asker);
	ks_spi_begin(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_uuid(&args, row->id);
	rows = ks_spi_read(&plan, &args);
	*voters = MemoryContextAlloc(spi.caller, Max(rows, 1) * sizeof(KsVoter));
	for (uint64 i = 0; i < rows; i++)
	{
		if (ks_vote_read(&spi, i, 1, &vote) && strcmp(vote.vote, "approve") == 0 &&
			is_for(&vote, row) &&
			read_voter(&spi, i, KS_VOTE_COLUMNS_N + 1, &asker, &(*voters)[n]))
			n++;
	}
	ks_spi_end(&spi);
	return complete_voters(row->workspace, *voters, n);
}

/* Whether its votes suffice now, for its own need and another one (may be
 * NULL). */
static bool
has_votes(const KsApprovalRow *row, const KsApprovalNeed *other)
{
	TimestampTz now = GetCurrentTimestamp();
	KsApprovalNeed need;
	KsVoter    *voters;
	int			n;

	if (!ks_need_from_json(row->need, &need))
		return false;
	n = list_approvers(row, &voters);
	return ks_need_is_met(&need, row->created_at, now, voters, n) &&
		(other == NULL || ks_need_is_met(other, row->created_at, now, voters, n));
}

/* Approved: from now on its time is that of its use. */
static void
grant(KsApprovalRow *row)
{
	KsApprovalNeed need;
	TimestampTz usable;

	if (!ks_need_from_json(row->need, &need))
		return;
	usable = Max(GetCurrentTimestamp(), row->created_at + need.wait);
	row->expires_at = usable + need.valid_for;
	ks_approval_move(row, "approved", NULL);
	ks_approval_notify(row, "approved");
}

void
ks_approval_vote(KsApprovalRow *row, const uint8 voter[KS_ID_LEN], const char *vote, const char *comment)
{
	KsVoteRow	cast = {.vote = vote, .voted_at = GetCurrentTimestamp()};

	memcpy(cast.workspace, row->workspace, KS_ID_LEN);
	memcpy(cast.request, row->id, KS_ID_LEN);
	memcpy(cast.voter, voter, KS_ID_LEN);
	memcpy(cast.request_hash, row->request_hash, KS_DIGEST_LEN);
	put_vote(&cast, comment);
	if (strcmp(vote, "reject") == 0)
	{
		row->decided = false;	/* once more */
		ks_approval_move(row, "rejected", NULL);
		ks_approval_notify(row, "rejected");
		return;
	}
	ks_approval_lock_voters(row);
	if (is_state(row, "pending") && has_votes(row, NULL))
		grant(row);
}


/*-------------------------------------------------------------------------
 * Use
 *-------------------------------------------------------------------------
 */

/* By its row alone. */
static KsApprovalAnswer
answer_of_state(const KsApprovalRow *row)
{
	if (is_state(row, "claimed") || is_state(row, "executed") || is_state(row, "failed"))
		return KS_APPROVAL_SPENT;
	if (!is_open(row) || row->expires_at <= GetCurrentTimestamp())
		return KS_APPROVAL_OVER;
	if (ks_audit_is_claimed(row->id))
		return KS_APPROVAL_SPENT;
	return is_state(row, "pending") ? KS_APPROVAL_PENDING : KS_APPROVAL_OK;
}

KsApprovalAnswer
ks_approval_judge(const KsApprovalRow *row, const uint8 hash[KS_DIGEST_LEN], const KsApprovalNeed *other,
				  TimestampTz *not_before)
{
	TimestampTz now = GetCurrentTimestamp();
	KsApprovalAnswer answer;
	KsApprovalNeed need;
	int64		wait;

	if (!ks_equal(row->request_hash, hash, KS_DIGEST_LEN))
		return KS_APPROVAL_OTHER_CALL;
	answer = answer_of_state(row);
	if (answer != KS_APPROVAL_OK || row->break_glass)
		return answer;
	if (!ks_need_from_json(row->need, &need))
		return KS_APPROVAL_SHORT;
	wait = other != NULL ? Max(need.wait, other->wait) : need.wait;
	if (row->created_at + wait > now)
	{
		*not_before = row->created_at + wait;
		return KS_APPROVAL_WAIT;
	}
	if (other != NULL && other->n_factors > 0 &&
		Max(row->decided_at, row->created_at + wait) + other->valid_for <= now)
		return KS_APPROVAL_OVER;
	return has_votes(row, other) ? KS_APPROVAL_OK : KS_APPROVAL_SHORT;
}

/* Whether a request is this caller's, and of this workspace. */
static bool
is_of_caller(const KsApprovalRow *row, const KsPolicyRequest *request)
{
	return memcmp(row->requester, request->call->actor.principal, KS_ID_LEN) == 0 &&
		memcmp(row->workspace, ks_policy_request_workspace(request), KS_ID_LEN) == 0;
}

KsApprovalAnswer
ks_approval_check(const KsPolicyRequest *request, const KsDecision *decision, TimestampTz *not_before)
{
	KsApprovalRow row;

	*not_before = 0;
	if (!ks_approval_find(request->approval, &row) || !is_of_caller(&row, request))
		return KS_APPROVAL_UNKNOWN;
	return ks_approval_judge(&row, decision->request_hash, &decision->approval, not_before);
}

bool
ks_approval_spend(KsVerb *verb, const KsApprovalRow *row)
{
	char		id[37];
	KsDraft		draft;
	KsTicket	ticket;

	/* Else ROLLBACK would leave its use, and nobody who agreed. */
	if (LocalTransactionIdIsValid(agreed_in) && agreed_in == ks_local_transaction())
		ks_error_denied("an approval was given in this transaction", "Commit first.");
	ks_change_require();
	ks_draft_begin(&draft, KS_ACTION_APPROVAL_CLAIM, &verb->call.actor);
	draft.event.flags = KS_EVENT_CLAIM;
	memcpy(draft.event.claim, row->id, KS_ID_LEN);
	memcpy(draft.event.workspace, row->workspace, KS_ID_LEN);
	memcpy(draft.event.object, row->id, KS_ID_LEN);
	ks_text_from_uuid(row->id, id);
	ks_detail_add(&draft.detail, "approval", id);
	ks_detail_add(&draft.detail, "approval_action", row->action);
	if (row->break_glass)
		ks_detail_add(&draft.detail, "break_glass", "true");
	ks_detail_add(&draft.detail, KS_UNCOMMITTED_KEY, ks_change_uncommitted());
	ks_draft_why(&draft, verb->reason, NULL);
	ks_draft_finish(&draft);
	ks_event_put(&draft.event, &ticket);
	return ks_event_wait(&ticket) == KS_VERDICT_DONE;
}

KsApprovalAnswer
ks_approval_claim(KsVerb *verb, const KsPolicyRequest *request, const KsDecision *decision, TimestampTz *not_before)
{
	KsApprovalAnswer answer;
	KsApprovalRow row;

	*not_before = 0;
	if (!ks_approval_find(request->approval, &row) || !is_of_caller(&row, request) || !lock_row(row.id) ||
		!ks_approval_find(request->approval, &row))
		return KS_APPROVAL_UNKNOWN;
	ks_approval_lock_voters(&row);
	answer = ks_approval_judge(&row, decision->request_hash, &decision->approval, not_before);
	if (answer != KS_APPROVAL_OK)
		return answer;
	if (!ks_approval_spend(verb, &row))
		return KS_APPROVAL_SPENT;
	ks_approval_move(&row, "executed", NULL);
	return KS_APPROVAL_OK;
}

bool
ks_approval_has_preview(const KsCredential *credential, int64 max_age, TimestampTz now)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_PREVIEW_COLUMNS " FROM keystone_private.previews r"
		" WHERE r.workspace_id = $1 AND r.credential_id = $2 AND r.version = $3 AND r.created_at > $4"
		" ORDER BY r.created_at DESC LIMIT 10"
	};
	KsPreviewRow row;
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	bool		found = false;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, credential->workspace);
	ks_arg_uuid(&args, credential->id);
	ks_arg_int(&args, true, credential->current_version);
	ks_arg_time(&args, true, max_age > 0 ? now - max_age : DT_NOBEGIN);
	rows = ks_spi_read(&plan, &args);
	for (uint64 i = 0; i < rows && !found; i++)
		found = ks_preview_read(&spi, i, 1, &row);
	ks_spi_end(&spi);
	return found;
}

void
ks_approval_insert_preview(const KsPreviewRow *row, const Jsonb *detail)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.previews (workspace_id, credential_id, id, version, created_by, created_at, row_mac, detail)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_uuid(&args, row->credential);
	ks_arg_uuid(&args, row->id);
	ks_arg_int(&args, true, row->version);
	ks_arg_uuid(&args, row->created_by);
	ks_arg_time(&args, true, row->created_at);
	ks_preview_add_mac(&args, row);
	ks_arg_datum(&args, true, JSONBOID, JsonbPGetDatum(detail));
	ks_change_set_guard(true);
	(void) ks_spi_write(&plan, &args);
	ks_change_set_guard(false);
	ks_spi_end(&spi);
}


void
ks_approval_alert(const KsApprovalRow *row)
{
	static KsPlan plan = {.sql =
		"INSERT INTO keystone_private.alerts (workspace_id, kind, subject, period_start, threshold, used, allowed, created_at)"
		" VALUES ($1, 'break_glass', $2, $3, 0, 1, 0, $3)"
	};
	char		id[37];
	KsArgs		args = {0};
	KsSpi		spi;

	ks_text_from_uuid(row->id, id);
	ks_spi_begin_write(&spi);
	ks_arg_uuid(&args, row->workspace);
	ks_arg_text(&args, id);
	ks_arg_time(&args, true, row->created_at);
	(void) ks_spi_write(&plan, &args);
	ks_spi_end(&spi);
}


/*-------------------------------------------------------------------------
 * Requests of before
 *-------------------------------------------------------------------------
 */

static int32
get_version(const Jsonb *object)
{
	JsonbValue	value;

	if (ks_jsonb_member(&object->root, "version", &value) == NULL ||
		value.type != jbvNumeric)
		return 0;
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(value.val.numeric)));
}

/* An array of texts of an object as text[], empty when there is none. */
static Datum
get_texts(const Jsonb *object, const char *key)
{
	JsonbContainer *array = NULL;
	JsonbValue	value;
	Datum	   *elements;
	int			n;

	if (ks_jsonb_member(&object->root, key, &value) != NULL &&
		value.type == jbvBinary && JsonContainerIsArray(value.val.binary.data))
		array = value.val.binary.data;
	n = array != NULL ? (int) JsonContainerSize(array) : 0;
	elements = palloc(Max(n, 1) * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(array, (uint32) i);

		elements[i] = item->type != jbvString ? CStringGetTextDatum("") :
			PointerGetDatum(cstring_to_text_with_len(item->val.string.val, item->val.string.len));
	}
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* The requester's call, as it would be now. */
static void
make_call(const uint8 *requester, KsCall *call)
{
	Asker		asker;

	get_asker(requester, &asker);
	memset(call, 0, sizeof(*call));
	call->verified = true;
	call->actor.source = asker.has_creator ? KS_SOURCE_API_KEY : KS_SOURCE_DB_ROLE;
	memcpy(call->actor.principal, requester, KS_ID_LEN);
	call->actor.delegated = asker.has_creator;
	memcpy(call->actor.on_behalf_of, asker.creator, KS_ID_LEN);
}

/* What a store would have made: a credential that is not there. */
static void
make_credential(const KsApprovalRow *row, KsCredential *credential)
{
	memset(credential, 0, sizeof(*credential));
	memcpy(credential->workspace, row->workspace, KS_ID_LEN);
	credential->name = ks_jsonb_text(&row->resource->root, "name");
	credential->environment = ks_jsonb_text(&row->resource->root, "environment");
	credential->provider = ks_jsonb_text(&row->resource->root, "provider");
	credential->kind = ks_jsonb_text(&row->resource->root, "kind");
	credential->tags = get_texts(row->parameters, "tags");
	credential->personal = ks_jsonb_member(&row->parameters->root, "personal", NULL) != NULL;
	memcpy(credential->owner, row->requester, KS_ID_LEN);
	credential->is_active = true;
}

bool
ks_approval_restore(const KsApprovalRow *row, KsAsked *asked)
{
	KsPolicyRequest *request = &asked->request;
	char	   *type = ks_jsonb_text(&row->resource->root, "type");
	char	   *id = ks_jsonb_text(&row->resource->root, "credential");
	uint8		credential[KS_ID_LEN];

	memset(asked, 0, sizeof(*asked));
	make_call(row->requester, &asked->call);
	if (type == NULL || !ks_membership_of(&asked->call, row->workspace, &asked->member))
		return false;
	request->call = &asked->call;
	request->member = &asked->member;
	request->action = row->action;
	request->resource_type = type;
	request->name = ks_jsonb_text(&row->resource->root, "name");
	request->version = get_version(row->resource);
	request->parameters = row->parameters;
	request->reason = row->reason;
	request->now = GetCurrentTimestamp();
	if (strcmp(type, "credential") != 0)
		return true;
	request->credential = &asked->credential;
	if (id == NULL)
		make_credential(row, &asked->credential);
	return id == NULL || (ks_text_uuid(id, credential) && ks_store_find_id(credential, 0, &asked->credential, NULL));
}

/* What policy makes of a request, as it is now; false when what it is about is
 * no more. */
static bool
judge_now(const KsApprovalRow *row, KsDecision *decision)
{
	KsAsked		asked;

	if (!ks_approval_restore(row, &asked))
		return false;
	ks_policy_evaluate(&asked.request, decision);
	return true;
}

static bool
covered_before(const KsApprovalStanding *before, const KsApprovalNeed *now)
{
	KsApprovalNeed need;

	return before != NULL && !before->denied && ks_need_from_json(before->need, &need) && ks_need_covers(&need, now);
}

/*
 * Whether policy wants now what the request has not asked for, and did not
 * before (NULL: not known).  What it wanted already is none of the change's
 * doing, such as a condition on time, or on where its requester sits.
 */
static bool
is_superseded(const KsApprovalRow *row, const KsApprovalStanding *before)
{
	KsDecision	now;
	KsApprovalNeed need;

	if (!judge_now(row, &now))
		return false;
	if (now.kind == KS_DENY)
		return before == NULL || !before->denied;
	if (row->break_glass || covered_before(before, &now.approval))
		return false;
	return !ks_need_from_json(row->need, &need) || !ks_need_covers(&need, &now.approval);
}

/* Locks requests that a plan finds; palloc'd.  Forged ones are left alone. */
static int
lock_found(KsPlan *plan, const KsArgs *args, KsApprovalRow **rows, uint64 *found)
{
	KsSpi		spi;
	int			n = 0;

	ks_spi_begin_write(&spi);
	*found = ks_spi_write(plan, args);
	*rows = MemoryContextAlloc(spi.caller, Max(*found, 1) * sizeof(KsApprovalRow));
	for (uint64 i = 0; i < *found; i++)
	{
		if (ks_approval_read(&spi, i, 1, &(*rows)[n]))
			n++;
	}
	ks_spi_end(&spi);
	return n;
}

#define OPEN_REQUESTS \
	"SELECT " KS_APPROVAL_COLUMNS " FROM keystone.approval_requests a" \
	" WHERE a.state IN ('pending', 'approved') AND (a.workspace_id = $1 OR $1 = '00000000-0000-0000-0000-000000000000')" \
	" ORDER BY a.id"

void
ks_approval_note_standings(const uint8 workspace[KS_ID_LEN], KsApprovalStandings *standings)
{
	static KsPlan plan = {.sql = OPEN_REQUESTS};
	KsArgs		args = {0};
	KsApprovalRow *rows;
	KsSpi		spi;
	MemoryContext work;
	uint64		found;
	int			n = 0;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	found = ks_spi_read(&plan, &args);
	rows = MemoryContextAlloc(spi.caller, Max(found, 1) * sizeof(KsApprovalRow));
	for (uint64 i = 0; i < found; i++)
	{
		if (ks_approval_read(&spi, i, 1, &rows[n]))
			n++;
	}
	ks_spi_end(&spi);
	standings->n = 0;
	standings->all = palloc(Max(n, 1) * sizeof(KsApprovalStanding));
	work = AllocSetContextCreate(CurrentMemoryContext, "keystone open requests", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
	{
		KsApprovalStanding *standing = &standings->all[standings->n];
		MemoryContext old = MemoryContextSwitchTo(work);
		KsDecision	decision;
		bool		judged = judge_now(&rows[i], &decision);
		const Jsonb *need = judged ? ks_need_to_json(&decision.approval) : NULL;

		MemoryContextSwitchTo(old);
		if (judged)
		{
			memcpy(standing->id, rows[i].id, KS_ID_LEN);
			standing->denied = decision.kind == KS_DENY;
			standing->need = memcpy(palloc(VARSIZE(need)), need, VARSIZE(need));
			standings->n++;
		}
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
}

static int
compare_standings(const void *a, const void *b)
{
	return memcmp(((const KsApprovalStanding *) a)->id, ((const KsApprovalStanding *) b)->id, KS_ID_LEN);
}

/* NULL when it was not open then. */
static const KsApprovalStanding *
find_standing(const KsApprovalStandings *standings, const KsApprovalRow *row)
{
	KsApprovalStanding key = {.denied = false};

	memcpy(key.id, row->id, KS_ID_LEN);
	return bsearch(&key, standings->all, (size_t) standings->n, sizeof(KsApprovalStanding), compare_standings);
}

int
ks_approval_supersede(const uint8 workspace[KS_ID_LEN], const KsApprovalStandings *before)
{
	static KsPlan plan = {.sql = OPEN_REQUESTS " FOR NO KEY UPDATE SKIP LOCKED"};
	KsArgs		args = {0};
	KsApprovalRow *rows;
	MemoryContext work;
	uint64		found;
	int			n;
	int			superseded = 0;

	ks_arg_uuid(&args, workspace);
	n = lock_found(&plan, &args, &rows, &found);
	work = AllocSetContextCreate(CurrentMemoryContext, "keystone superseding", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(work);

		settle(&rows[i]);
		if (is_open(&rows[i]) && is_superseded(&rows[i], find_standing(before, &rows[i])))
		{
			ks_approval_move(&rows[i], "superseded", NULL);
			ks_approval_notify(&rows[i], "superseded");
			superseded++;
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
	return superseded;
}


/*-------------------------------------------------------------------------
 * Housekeeping
 *-------------------------------------------------------------------------
 */

/* Each step gives an entry and a notice of its own, once. */
static void
escalate(KsApprovalRow *row)
{
	KsApprovalNeed need;
	int			level;

	if (!is_state(row, "pending") || !ks_need_from_json(row->need, &need))
		return;
	level = ks_need_level(&need, row->created_at, GetCurrentTimestamp());
	while (row->level < level)
	{
		row->level++;
		update_request(row, NULL);
		ks_approval_notify(row, "escalated");
	}
}

/* In the order of ids, from where the last round ended. */
static Datum
sweep(FunctionCallInfo fcinfo pg_attribute_unused(), KsVerb *verb)
{
	static KsPlan plan = {.sql =
		"SELECT " KS_APPROVAL_COLUMNS " FROM keystone.approval_requests a"
		" WHERE a.state IN ('pending', 'approved') AND a.id > $1 ORDER BY a.id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"
	};
	static uint8 last[KS_ID_LEN];
	KsArgs		args = {0};
	KsApprovalRow *rows;
	uint64		found;
	int			n;

	ks_verb_enter_own(verb);
	ks_arg_uuid(&args, last);
	ks_arg_int(&args, true, SWEEP_BATCH);
	n = lock_found(&plan, &args, &rows, &found);
	for (int i = 0; i < n; i++)
	{
		memcpy(last, rows[i].id, KS_ID_LEN);
		settle(&rows[i]);
		escalate(&rows[i]);
	}
	if (found < SWEEP_BATCH)
		memset(last, 0, sizeof(last));
	return BoolGetDatum(found == SWEEP_BATCH);
}

/* Not in a sealed vault: rows are neither verified nor written there. */
bool
ks_approval_sweep(void)
{
	if (!ks_keyring_has_mac_key())
		return false;
	return DatumGetBool(ks_verb_run(NULL, KS_ACTION_APPROVAL_EXPIRE, sweep));
}

int64
ks_approval_overdue(char **named)
{
	static KsPlan plan = {.sql =
		"SELECT a.id::text FROM keystone.approval_requests a"
		" WHERE a.break_glass AND a.reviewed_at IS NULL AND a.created_at < $1 ORDER BY a.created_at"
	};
	StringInfoData names;
	KsArgs		args = {0};
	KsSpi		spi;
	int64		n;

	initStringInfo(&names);
	ks_spi_begin(&spi);
	ks_arg_time(&args, true, GetCurrentTimestamp() - REVIEW_TIME);
	n = (int64) ks_spi_read(&plan, &args);
	for (int64 i = 0; i < n && i < NAMED_MAX; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", ks_col_text(&spi, i, 1));
	ks_spi_end(&spi);
	*named = names.data;
	return n;
}
