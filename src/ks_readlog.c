/*-------------------------------------------------------------------------
 *
 * ks_readlog.c
 *	  What the functions that read the audit log have in common: who may, that
 *	  it is recorded, checkpoints, keys and proofs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "ks_error.h"
#include "ks_guc.h"
#include "ks_readlog.h"

#define PROOF_MAX	(KS_NOTE_MAX + (KS_TREE_DEPTH_MAX + 8) * 48)	/* bytes of a proof */
#define TILE_BITS	8			/* levels of a tree under one tile */

/*
 * Proofs of neighbours need the same tiles again: one is kept of each level,
 * and the one at the right edge, which is not full.
 */
struct KsProver
{
	KsEpoch		epoch;
	uint64		size;
	const char *note;
	Snapshot	snapshot;
	KsTreeReader *readers[KS_TILE_LEVELS][2];
};

const char *
ks_readlog_action(uint16 kind)
{
	const char *name = ks_action_name(kind);

	return name != NULL ? name : psprintf("kind %d", kind);
}

const char *
ks_readlog_outcome(uint8 outcome)
{
	static const char *const names[] = {"ok", "denied", "error"};

	return outcome < lengthof(names) ? names[outcome] : "";
}

/* Who may. */

void
ks_readlog_require(const KsCall *call)
{
	KsMembership *members;
	int			n;

	if (call->profiles & (KS_PROFILE_AUDITOR | KS_PROFILE_ADMIN))
		return;
	if (call->actor.source == KS_SOURCE_ANONYMOUS)
		ks_error_anonymous(call->actor.why);
	n = ks_memberships(call, &members);
	for (int i = 0; i < n; i++)
	{
		if (members[i].permissions & KS_PERM_AUDIT)
			return;
	}
	ks_error_denied("permission denied", "It needs the permission \"audit\" in a workspace, or the profile auditor.");
}

/* Whether the caller owns a table that entries name. */
static bool
owns_relation(const KsCall *call, const char *relation)
{
	static KsPlan plan = {.sql =
		"SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
		" WHERE format('%I.%I', n.nspname, c.relname) = $1 AND pg_has_role($2, c.relowner, 'USAGE')"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	bool		owns;

	ks_spi_begin(&spi);
	ks_arg_text(&args, relation);
	ks_arg_datum(&args, true, OIDOID, ObjectIdGetDatum(call->actor.role));
	owns = ks_spi_read(&plan, &args) > 0;
	ks_spi_end(&spi);
	return owns;
}

bool
ks_readlog_may_see(const KsCall *call, int64 seq)
{
	static KsPlan plan = {.sql =
		"SELECT workspace_id, actor_id, owner, relation FROM keystone_private.audit_entries WHERE seq = $1"
	};
	const uint8 *me = call->actor.source == KS_SOURCE_ANONYMOUS ? NULL : call->actor.principal;
	uint8		id[KS_ID_LEN];
	KsMembership member = {.permissions = 0};
	char	   *relation = NULL;
	KsArgs		args = {0};
	KsSpi		spi;
	bool		found;
	bool		has_workspace = false;
	uint8		workspace[KS_ID_LEN];
	bool		acted = false;
	bool		owns = false;

	ks_spi_begin(&spi);
	ks_arg_bigint(&args, true, seq);
	found = ks_spi_read(&plan, &args) == 1;
	if (found)
	{
		has_workspace = ks_col_uuid(0, 1, workspace);
		acted = me != NULL && ks_col_uuid(0, 2, id) && memcmp(id, me, KS_ID_LEN) == 0;
		owns = me != NULL && ks_col_uuid(0, 3, id) && memcmp(id, me, KS_ID_LEN) == 0;
		relation = ks_col_text(&spi, 0, 4);
	}
	ks_spi_end(&spi);

	if (!found || acted || (call->profiles & KS_PROFILE_AUDITOR))
		return found;
	if (has_workspace && me != NULL && ks_membership_of(call, workspace, &member) &&
		((member.permissions & KS_PERM_AUDIT) || owns))
		return true;
	return !has_workspace && relation != NULL && owns_relation(call, relation);
}

/* Recording. */

/* Whether the error at hand says that nothing can be recorded now. */
static bool
log_is_down(MemoryContext context)
{
	ErrorData  *error;
	bool		down;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	down = error->sqlerrcode == KS_ERRCODE_NO_LOG || error->sqlerrcode == KS_ERRCODE_SEALED;
	FreeErrorData(error);
	return down;
}

/* Puts an entry of an action, and waits until it is durable. */
static void
put(uint16 kind, const KsCall *call, const uint8 *workspace, const KsDetail *detail, uint8 flags)
{
	KsDraft    *draft = palloc(sizeof(KsDraft));
	KsTicket	ticket;

	ks_draft_begin(draft, kind, &call->actor);
	draft->event.flags = flags;
	if (workspace != NULL)
		memcpy(draft->event.workspace, workspace, KS_ID_LEN);
	for (int i = 0; detail != NULL && i < detail->n; i++)
		ks_detail_add_bytes(&draft->detail, detail->pairs[i].key, detail->pairs[i].value,
							detail->pairs[i].value_len);
	ks_draft_finish(draft);
	ks_event_put(&draft->event, &ticket);
	(void) ks_event_wait(&ticket);
	pfree(draft);
}

/*
 * The lane holds no lock and changes nothing of the transaction when it
 * reports an error, so that its error can be dropped.
 */
void
ks_readlog_record(const KsVerb *verb, uint8 flags)
{
	MemoryContext context = CurrentMemoryContext;

	if (!ks_change_can_record())
		return;
	PG_TRY();
	{
		put((uint16) verb->action, &verb->call, verb->workspace, &verb->detail, flags);
	}
	PG_CATCH();
	{
		if (!log_is_down(context))
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
}

/* Checkpoints and keys. */

void
ks_readlog_checkpoint(const KsCall *call)
{
	if (RecoveryInProgress())
		ks_error_read_only();
	ks_change_require();
	put(KS_ACTION_AUDIT_CHECKPOINT, call, NULL, NULL, KS_EVENT_CHECKPOINT);
}

void
ks_readlog_error_unsigned(void)
{
	ereport(ERROR,
			errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("no checkpoint of the audit log is signed"),
			ks_audit_key_dir[0] == '\0' ?
			errhint("Set keystone.audit_key_dir to a directory outside the data directory.") :
			errhint("The check \"audit checkpoints\" of keystone.health says why."));
}

bool
ks_readlog_epoch_of(int64 seq, KsEpoch *epoch)
{
	KsEpoch    *epochs;
	int			n = ks_audit_epochs(&epochs);

	while (n > 0 && epochs[n - 1].first_seq > seq)
		n--;
	if (n > 0)
		*epoch = epochs[n - 1];
	return n > 0;
}

uint64
ks_readlog_newest_note(const KsEpoch *epoch, char **note)
{
	TimestampTz at;
	uint64		size = ks_audit_checkpoint_size(epoch->epoch, &at);

	*note = size > 0 ? ks_readlog_note(epoch, size) : NULL;
	return *note != NULL ? size : 0;
}

char *
ks_readlog_note(const KsEpoch *epoch, uint64 size)
{
	static KsPlan plan = {.sql =
		"SELECT note FROM keystone_private.audit_checkpoints WHERE epoch = $1 AND size = $2"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	char	   *note = NULL;

	ks_spi_begin(&spi);
	ks_arg_int(&args, true, epoch->epoch);
	ks_arg_bigint(&args, true, (int64) size);
	if (ks_spi_read(&plan, &args) == 1)
		note = ks_col_text(&spi, 0, 1);
	ks_spi_end(&spi);
	return note != NULL ? note : pstrdup("");
}

int
ks_readlog_keys(Snapshot snapshot, KsPublicKey **keys)
{
	/* A key is valid until the next one of its epoch, or the epoch's end. */
	static KsPlan plan = {.sql =
		"SELECT k.epoch, k.vkey, k.signature, k.valid_from,"
		" LEAST(lead(k.valid_from) OVER (ORDER BY k.valid_from), e.first_seq) - 1"
		" FROM keystone_private.audit_keys k"
		" LEFT JOIN keystone_private.audit_epochs e ON e.epoch = k.epoch + 1 ORDER BY k.valid_from"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	int			n;

	ks_spi_begin(&spi);
	n = (int) (snapshot == NULL ? ks_spi_read(&plan, &args) : ks_spi_read_at(&plan, &args, snapshot));
	*keys = MemoryContextAllocZero(spi.caller, Max(n, 1) * sizeof(KsPublicKey));
	for (int i = 0; i < n; i++)
	{
		KsPublicKey *key = &(*keys)[i];
		KsNoteKey	parsed;

		(void) ks_col_int(i, 1, &key->epoch);
		key->vkey = ks_col_text(&spi, i, 2);
		key->signature = ks_col_bytes(&spi, i, 3, &key->signature_len);
		(void) ks_col_bigint(i, 4, &key->valid_from);
		(void) ks_col_bigint(i, 5, &key->valid_to);
		if (key->vkey != NULL && ks_vkey_parse(key->vkey, &parsed))
			(void) hex_encode((const char *) parsed.key_id, KS_NOTE_KEY_ID_LEN, key->key_id);
	}
	ks_spi_end(&spi);
	return n;
}

/* Proofs. */

KsProver *
ks_prover_make(const KsEpoch *epoch, uint64 size, const char *note, Snapshot snapshot)
{
	KsProver   *prover = palloc0(sizeof(KsProver));

	prover->epoch = *epoch;
	prover->size = size;
	prover->note = note;
	prover->snapshot = snapshot;
	return prover;
}

/* A KsSubtreeReader. */
static bool
read_subtree(void *arg, int level, uint64 n, KsHash *hash)
{
	KsProver   *prover = arg;
	int			tiles = level / TILE_BITS;
	uint64		tile = (n << (level % TILE_BITS)) / KS_TILE_WIDTH;
	KsTreeReader **reader;

	if (tiles >= KS_TILE_LEVELS)
		return false;
	reader = &prover->readers[tiles][tile == (prover->size >> (TILE_BITS * tiles)) / KS_TILE_WIDTH];
	if (*reader == NULL)
	{
		*reader = MemoryContextAlloc(GetMemoryChunkContext(prover), sizeof(KsTreeReader));
		ks_audit_tree(*reader, &prover->epoch, prover->size, prover->snapshot);
	}
	return ks_audit_subtree(*reader, level, n, hash);
}

static char *
format_proof(size_t len, char *text)
{
	if (len == 0)
		elog(ERROR, "a proof does not fit");
	return text;
}

KS_NORETURN static void error_damaged(void) KS_NORETURN_END;

static void
error_damaged(void)
{
	ereport(ERROR,
			errcode(ERRCODE_DATA_CORRUPTED),
			errmsg("the audit log is damaged: a tile or an entry is missing"),
			errhint("Run keystone.audit_verify()."));
}

char *
ks_prover_inclusion(KsProver *prover, uint64 index)
{
	KsHash		path[KS_TREE_DEPTH_MAX + 1];
	char	   *text = palloc(PROOF_MAX);
	int			n = ks_inclusion_proof(index, prover->size, read_subtree, prover, path);

	if (n < 0)
		error_damaged();
	return format_proof(ks_inclusion_format(index, path, n, prover->note, text, PROOF_MAX), text);
}

char *
ks_prover_consistency(KsProver *prover, uint64 old_size)
{
	KsHash		path[KS_TREE_DEPTH_MAX + 1];
	char	   *text = palloc(PROOF_MAX);
	int			n = ks_consistency_proof(old_size, prover->size, read_subtree, prover, path);

	if (n < 0)
		error_damaged();
	return format_proof(ks_consistency_format(old_size, path, n, prover->note, text, PROOF_MAX), text);
}
