/*-------------------------------------------------------------------------
 *
 * ks_erase_sql.c
 *	  audit_erase(): removing details of the audit log.
 *
 * The entry that says so goes through the outbox, like that of any change, and
 * the appender removes the details when it appends it: neither happens if the
 * caller's transaction does not commit.
 *
 * Entries log.erase are of the workspaces whose details they remove, as many
 * as their details have room for: see ks_erase.h.  Policy of each of these
 * workspaces is asked about its own entries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "ks_action.h"
#include "ks_erase.h"
#include "ks_error.h"
#include "ks_gate.h"
#include "ks_text.h"
#include "ks_vault_args.h"

#define BASIS_MAX		1024	/* bytes */
#define LATER_MAX		900		/* bytes of a detail that are kept free for
								 * what the caller said */
#define OMITTED_LEN		60		/* room for saying that something was left out */
#define PAIR_LEN		10		/* of a pair of a detail, beside key and value */

/* An entry whose detail is to go. */
typedef struct Target
{
	int64		seq;
	KsEntry		entry;
	bool		has_actor;
	const uint8 *detail;		/* NULL: there is none any more */
	size_t		detail_len;
} Target;

/* Those of one workspace. */
typedef struct Share
{
	const uint8 *workspace;		/* zeros: of none */
	Target	   *targets;
	int			n;
	KsDetail	said;			/* what policy said */
} Share;

static const uint8 nil[KS_ID_LEN];


/*-------------------------------------------------------------------------
 * Arguments
 *-------------------------------------------------------------------------
 */

static int
compare_numbers(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return (left > right) - (left < right);
}

/* Ascending, each once.  Returns how many. */
static int
get_seqs(FunctionCallInfo fcinfo, int64 **seqs)
{
	ArrayType  *array;
	Datum	   *elements;
	int			given;
	int			n = 0;

	if (PG_ARGISNULL(0))
		ks_error_null("seqs");
	array = PG_GETARG_ARRAYTYPE_P(0);
	if (array_contains_nulls(array))
		ks_error_null("seqs");
	if (ARR_NDIM(array) > 1)
		ks_error_invalid("seqs", "an array of one dimension", NULL);
	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, NULL, &given);
	if (given > KS_ERASE_SEQS_MAX)
		ks_error_invalid("seqs", psprintf("an array of at most %d numbers", KS_ERASE_SEQS_MAX), NULL);
	*seqs = palloc(Max(given, 1) * sizeof(int64));
	for (int i = 0; i < given; i++)
		(*seqs)[i] = DatumGetInt64(elements[i]);
	qsort(*seqs, given, sizeof(int64), compare_numbers);
	for (int i = 0; i < given; i++)
	{
		if (i == 0 || (*seqs)[i] != (*seqs)[n - 1])
			(*seqs)[n++] = (*seqs)[i];
	}
	return n;
}


/*-------------------------------------------------------------------------
 * The entries
 *-------------------------------------------------------------------------
 */

KS_NORETURN static void error_damaged(int64 seq) KS_NORETURN_END;

static void
error_damaged(int64 seq)
{
	ereport(ERROR,
			errcode(ERRCODE_DATA_CORRUPTED),
			errmsg("the audit log is damaged: an entry or its detail is not what it was"),
			errdetail("Entry " INT64_FORMAT ".", seq),
			errhint("Run keystone.audit_verify(). What differs from its commitment must not be erased."));
}

/* Whether the detail is the one to which the entry commits. */
static bool
is_whole(const Target *target, const uint8 *salt, size_t salt_len)
{
	uint8		commitment[KS_DIGEST_LEN];

	return target->entry.has_commitment && salt != NULL && salt_len == KS_SALT_LEN &&
		ks_detail_commitment(salt, target->detail, target->detail_len, commitment) == KS_CRYPTO_OK &&
		memcmp(commitment, target->entry.commitment, KS_DIGEST_LEN) == 0;
}

/* Reads a row.  22023 when it must stay, XX001 when it is not what it was. */
static void
read_target(const KsSpi *spi, uint64 row, Target *target)
{
	uint8		actor[KS_ID_LEN];
	size_t		len = 0;
	size_t		salt_len = 0;
	uint8	   *salt = ks_col_bytes(spi, row, 3, &salt_len);
	uint8	   *bytes = ks_col_bytes(spi, row, 2, &len);
	int64		erased_in;
	bool		erased = ks_col_bigint(row, 6, &erased_in);

	(void) ks_col_bigint(row, 1, &target->seq);
	target->detail = ks_col_bytes(spi, row, 4, &target->detail_len);
	target->has_actor = ks_col_uuid(row, 5, actor);
	if (bytes == NULL || !ks_entry_decode(bytes, len, &target->entry))
		error_damaged(target->seq);
	if (!ks_erase_may(target->entry.kind))
		ks_error_invalid("seqs", "numbers of entries whose details the log does not need itself",
						 psprintf("Entry " INT64_FORMAT " is one of the log's own (log.*): leave it out.", target->seq));
	if (target->detail != NULL ? !is_whole(target, salt, salt_len) : target->entry.has_commitment && !erased)
		error_damaged(target->seq);
}

/* By workspace, then by seq. */
static int
compare_targets(const void *a, const void *b)
{
	const Target *left = a;
	const Target *right = b;
	int			order = memcmp(left->entry.workspace, right->entry.workspace, KS_ID_LEN);

	return order != 0 ? order : (left->seq > right->seq) - (left->seq < right->seq);
}

/* PT404 when one of them is not there. */
static Target *
read_targets(const int64 *seqs, int n)
{
	static KsPlan plan = {.sql =
		"SELECT seq, entry, salt, detail, actor_id, erased_in FROM keystone_private.audit_entries"
		" WHERE seq = ANY ($1) ORDER BY seq"
	};
	Datum	   *elements = palloc(n * sizeof(Datum));
	Target	   *targets;
	KsArgs		args = {0};
	KsSpi		spi;
	int			found;

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(seqs[i]);
	ks_spi_begin(&spi);
	ks_arg_datum(&args, true, INT8ARRAYOID,
				 PointerGetDatum(construct_array(elements, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
	found = (int) ks_spi_read(&plan, &args);
	targets = MemoryContextAllocZero(spi.caller, n * sizeof(Target));
	for (int i = 0; i < found && i < n; i++)
		read_target(&spi, i, &targets[i]);
	ks_spi_end(&spi);
	for (int i = 0; i < n; i++)
	{
		if (i >= found || targets[i].seq != seqs[i])
			ks_error_not_found(psprintf("The audit log has no entry " INT64_FORMAT ".", seqs[i]));
	}
	qsort(targets, n, sizeof(Target), compare_targets);
	return targets;
}

static int
compare_shares(const void *a, const void *b)
{
	int64		left = ((const Share *) a)->targets[0].seq;
	int64		right = ((const Share *) b)->targets[0].seq;

	return left < right ? -1 : left > right ? 1 : 0;
}

/* Those of each workspace, in the order of their first entries.  Returns how
 * many workspaces there are; entries of none count as one. */
static int
make_shares(Target *targets, int n, Share **shares)
{
	int			n_shares = 0;

	*shares = palloc0(n * sizeof(Share));
	for (int i = 0; i < n; i++)
	{
		Share	   *last = n_shares > 0 ? &(*shares)[n_shares - 1] : NULL;

		if (last != NULL && memcmp(last->workspace, targets[i].entry.workspace, KS_ID_LEN) == 0)
		{
			last->n++;
			continue;
		}
		(*shares)[n_shares].workspace = targets[i].entry.workspace;
		(*shares)[n_shares].targets = &targets[i];
		(*shares)[n_shares++].n = 1;
	}
	qsort(*shares, (size_t) n_shares, sizeof(Share), compare_shares);
	return n_shares;
}


/*-------------------------------------------------------------------------
 * Policy
 *-------------------------------------------------------------------------
 */

/* What an approval is bound to: {"basis": ..., "seqs": [...]}. */
static Jsonb *
make_parameters(const Share *share, const char *basis)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;
	Jsonb	   *seqs;

	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	value.type = jbvNumeric;
	for (int i = 0; i < share->n; i++)
	{
		value.val.numeric = int64_to_numeric(share->targets[i].seq);
		(void) pushJsonbValue(&state, WJB_ELEM, &value);
	}
	seqs = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
	value.type = jbvBinary;
	value.val.binary.data = &seqs->root;
	value.val.binary.len = (int) (VARSIZE(seqs) - VARHDRSZ);
	return ks_gate_parameter(ks_gate_text_parameter(NULL, "basis", basis), "seqs", &value);
}

/* Of the workspace, whose member the caller need not be; or of the database. */
static void
ask_policy(KsVerb *verb, Share *share, const char *basis)
{
	KsMembership member;
	KsWorkspaceRow row;
	bool		has_workspace = memcmp(share->workspace, nil, KS_ID_LEN) != 0;

	memcpy(verb->workspace, share->workspace, KS_ID_LEN);
	memset(&verb->detail, 0, sizeof(verb->detail));
	if (ks_gate_is_silent(verb, share->workspace, "audit_erase"))
		return;
	if (has_workspace && !ks_membership_of(&verb->call, share->workspace, &member))
	{
		memset(&member, 0, sizeof(member));
		memcpy(member.workspace, share->workspace, KS_ID_LEN);
		if (ks_tenant_read_workspace(share->workspace, &row))
			strlcpy(member.slug, row.slug, sizeof(member.slug));
	}
	ks_gate_object(verb, has_workspace ? &member : NULL, "audit_erase", "log", NULL, make_parameters(share, basis));
	share->said = verb->detail;
}


/*-------------------------------------------------------------------------
 * Entries log.erase
 *-------------------------------------------------------------------------
 */

/* Adds what stays of a target, unless less than so many bytes would be left. */
static bool
add_kept(KsDetail *detail, const Target *target, size_t left)
{
	KsDetailPair pairs[KS_KEPT_KEYS];
	size_t		needed = 0;
	int			n = 0;

	for (int i = 0; i < KS_KEPT_KEYS; i++)
	{
		KsDetailPair *pair = &pairs[n];
		char	   *key;

		pair->value = ks_erase_kept(&target->entry, target->has_actor, target->detail, target->detail_len,
									ks_kept_keys[i], &pair->value_len);
		if (pair->value == NULL)
			continue;
		key = palloc(KS_KEPT_KEY_MAX);
		ks_erase_key(key, ks_kept_keys[i], target->seq);
		pair->key = key;
		needed += PAIR_LEN + strlen(key) + pair->value_len;
		n++;
	}
	if (detail->len + needed + left > KS_DETAIL_MAX || detail->n + n + KS_DETAIL_PAIRS_MAX / 2 > KS_DETAIL_PAIRS_MAX)
		return false;
	for (int i = 0; i < n; i++)
		ks_detail_add_bytes(detail, pairs[i].key, pairs[i].value, pairs[i].value_len);
	return true;
}

/* What policy and the caller said, as far as there is room. */
static void
add_why(KsDraft *draft, const KsVerb *verb, const KsDetail *said)
{
	const char *reason = verb->reason;

	for (int i = 0; i < said->n; i++)
		ks_detail_add_bytes(&draft->detail, said->pairs[i].key, said->pairs[i].value, said->pairs[i].value_len);
	if (reason != NULL && draft->detail.len + strlen(reason) + OMITTED_LEN > KS_DETAIL_MAX)
	{
		ks_detail_add(&draft->detail, "reason_omitted", psprintf("%zu", strlen(reason)));
		reason = NULL;
	}
	ks_draft_why(draft, reason, verb->context);
}

/*
 * Writes an entry over as many of the targets as there is room for, at least
 * one; returns how many.  What the caller said comes after what must be there.
 */
static int
write_entry(const KsVerb *verb, const Share *share, const char *basis, const Target *const *targets, int n)
{
	KsDraft    *draft = palloc(sizeof(KsDraft));
	int64	   *seqs = palloc(n * sizeof(int64));
	size_t		seqs_len = PAIR_LEN + strlen(KS_ERASE_SEQS_KEY);
	int			named = 0;

	ks_draft_begin(draft, KS_ACTION_LOG_ERASE, &verb->call.actor);
	memcpy(draft->event.workspace, share->workspace, KS_ID_LEN);
	ks_detail_add(&draft->detail, KS_ERASE_BASIS_KEY, basis);
	while (named < n)
	{
		size_t		more = seqs_len + strlen(psprintf("," INT64_FORMAT, targets[named]->seq));

		if (!add_kept(&draft->detail, targets[named], more + (named > 0 ? LATER_MAX : 0)))
			break;
		seqs[named] = targets[named]->seq;
		seqs_len = more;
		named++;
	}
	if (named == 0)
		elog(ERROR, "what stays of a detail does not fit into an entry");
	ks_detail_add(&draft->detail, KS_ERASE_SEQS_KEY, ks_erase_write_seqs(seqs, named));
	add_why(draft, verb, &share->said);
	ks_draft_finish(draft);
	ks_change_write(&draft->event, false);
	return named;
}

/* Returns how many there are to be erased. */
static int
erase_share(const KsVerb *verb, const Share *share, const char *basis)
{
	const Target **targets = palloc(share->n * sizeof(Target *));
	int			n = 0;

	for (int i = 0; i < share->n; i++)
	{
		if (share->targets[i].detail != NULL)
			targets[n++] = &share->targets[i];
	}
	for (int done = 0; done < n;)
	{
		CHECK_FOR_INTERRUPTS();
		done += write_entry(verb, share, basis, targets + done, n - done);
	}
	return n;
}

static Datum
audit_erase(FunctionCallInfo fcinfo, KsVerb *verb)
{
	Target	   *targets;
	Share	   *shares;
	int64	   *seqs;
	char	   *basis;
	int64		erased = 0;
	int			n_shares;
	int			n;

	ks_verb_enter(verb, KS_PROFILE_ADMIN);
	n = get_seqs(fcinfo, &seqs);
	basis = ks_text_name("basis", ks_arg_get_text(fcinfo, 1, "basis"), BASIS_MAX);
	ks_verb_extra(verb, fcinfo, 2);
	if (XactReadOnly || RecoveryInProgress())
		ks_error_read_only();
	ks_begin_change();
	if (n == 0)
		PG_RETURN_INT64(0);

	targets = read_targets(seqs, n);
	n_shares = make_shares(targets, n, &shares);
	if (n_shares > 1 && verb->has_approval)
		ks_error_invalid("approval", "NULL for entries of more than one workspace",
						 "An approval is of one workspace: erase the entries of one at a time.");

	/* Nothing is written before all have been asked. */
	for (int i = 0; i < n_shares; i++)
		ask_policy(verb, &shares[i], basis);
	for (int i = 0; i < n_shares; i++)
		erased += erase_share(verb, &shares[i], basis);
	PG_RETURN_INT64(erased);
}

PG_FUNCTION_INFO_V1(ks_fn_audit_erase);
/* audit_erase(seqs, basis, approval, reason, context) returns bigint */
Datum
ks_fn_audit_erase(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_LOG_ERASE, audit_erase);
}
