/*-------------------------------------------------------------------------
 *
 * ks_change.h
 *	  What a call did, on its way into the audit log: verbs, the outbox, and
 *	  events for the lane.
 *
 * A verb is one call of a function of the API.  Changes reach the outbox from
 * the ALWAYS triggers on the vault's tables, in the caller's transaction:
 *
 *	- within a verb that was begun with ks_change_begin(), row triggers on the
 *	  tables of credentials collect what they see, and ks_change_end() writes
 *	  one outbox row under the verb's own action;
 *	- other tables, and rows that are changed outside any verb (by hand), give
 *	  one outbox row for each changed row, under the action that the change
 *	  amounts to; by hand is said in the detail (source = direct).
 *
 * Reveals, denials and what reads the log go through the lane of ks_event and
 * are durable before the caller gets an answer.
 *
 * Ids of outbox rows are positions in the write-ahead log, not of a sequence:
 * a trigger that took one would change what lastval() gives to the user whose
 * statement fired it.  Of two changes of one object the later one has the
 * greater id, since it is made after the other's commit.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KS_CHANGE_H
#define KS_CHANGE_H

#include "ks_draft.h"
#include "ks_error.h"
#include "ks_event.h"
#include "ks_rights.h"
#include "ks_rowdigest.h"

#include "commands/trigger.h"
#include "lib/stringinfo.h"

/* The digest of a version that a verb has sealed. */
typedef struct KsVersionDigest
{
	int32		version;
	uint8		digest[KS_DIGEST_LEN];
} KsVersionDigest;

/* A call of a function of the API. */
typedef struct KsVerb
{
	KsAction	action;
	KsCall		call;			/* filled by the body through ks_enter...() */
	bool		entered;		/* call is filled */
	uint8		workspace[KS_ID_LEN];	/* zeros until known */
	uint8		object[KS_ID_LEN];	/* zeros until known */
	int32		version;		/* 0 until known */
	bool		has_credential;
	KsCredential credential;	/* when has_credential; its texts live as long
								 * as the call */
	const char *reason;			/* may be NULL */
	const Jsonb *context;		/* may be NULL */
	bool		takes_approval; /* it has the parameter */
	bool		takes_reason;
	bool		has_approval;
	uint8		approval[KS_ID_LEN];	/* when has_approval */
	bool		dry_run;		/* nothing is done but to tell */
	KsDetail	detail;			/* what else the entry says */
	struct KsVerb *outer;		/* the verb that runs around this one */

	/* between ks_change_begin() and ks_change_end() */
	bool		changing;
	bool		changed;		/* a trigger saw a change */
	StringInfoData columns;		/* names of what changed, with commas */
	int			n_digests;
	KsVersionDigest *digests;

	/* rows that changed and that no entry has yet */
	int			n_rows;
	KsRowItem  *rows;
	HeapTuple	held;			/* a new API key, until its secret is there */
	TupleDesc	held_desc;
} KsVerb;

typedef Datum (*KsVerbBody) (FunctionCallInfo fcinfo, KsVerb *verb);

/*
 * Runs a body as a verb.  When it ends in an error of Keystone's that refuses
 * the caller (42501, PT404, PT409, PT423, PT428, PT429) or that says that a value is damaged
 * (XX001), the attempt is recorded through the lane before the error goes on:
 * outcome denied, or error for XX001.  If the record cannot be made, the error
 * becomes PT424.  Nothing is recorded while there is no log: before the first
 * change, on a standby, and in a copy that was not accepted.
 */
extern Datum ks_verb_run(FunctionCallInfo fcinfo, KsAction action, KsVerbBody body);

/* The verb that runs now, NULL when none does. */
extern KsVerb *ks_verb_current(void);

/* ks_enter() and ks_enter_known() for a verb. */
extern void ks_verb_enter(KsVerb *verb, uint32 profiles);
extern void ks_verb_enter_known(KsVerb *verb, uint32 profiles);

/* For what a background process does: its verbs have no caller. */
extern void ks_verb_enter_own(KsVerb *verb);

/* Checks the trailing parameters approval, reason and context, the first being
 * argument n (see ks_check_extra_args()), and remembers them. */
extern void ks_verb_extra(KsVerb *verb, FunctionCallInfo fcinfo, int n);

/* The same for a function that has some of them; each may be NULL but context,
 * which is 22004. */
extern void ks_verb_why(KsVerb *verb, const text *reason, const Jsonb *context);

/* What the verb is about; for the entry and for a denial.  version: 0 when not
 * known. */
extern void ks_verb_credential(KsVerb *verb, const KsCredential *credential, int32 version);

/*
 * Records an outcome of the verb through the lane and waits.  credential may
 * be NULL; sealed, what was opened, too.
 */
extern void ks_verb_record(KsVerb *verb, KsOutcome outcome, const KsCredential *credential,
						   const KsSealed *sealed);

/* The same without waiting, for reveal_many(); wait for the last ticket. */
extern void ks_verb_put(KsVerb *verb, KsOutcome outcome, const KsCredential *credential,
						const KsSealed *sealed, KsTicket *ticket);

/*
 * A refusal of one among many, within the bound on denials.  limited: of PT429,
 * may be NULL.  credential may be NULL; object is then what was asked for, or
 * NULL.  Does not wait for an entry of its own: true when there is one, and
 * *ticket is it.
 */
extern bool ks_verb_put_refusal(KsVerb *verb, int sqlstate, const KsLimited *limited,
								const KsCredential *credential, const uint8 *object, KsTicket *ticket);

/* Around the writes of a verb on one credential.  end writes the outbox row,
 * unless no trigger saw a change; what verb->detail has goes into it. */
extern void ks_change_begin(KsVerb *verb);
extern void ks_change_end(KsVerb *verb, const KsCredential *credential, int32 version);

/*
 * The same for a verb that changes rows of many keys, each once: they share
 * entries, as many as their digests need, all with what verb->detail has.
 * Begin with ks_change_begin().
 */
extern void ks_change_end_summary(KsVerb *verb);

/* A row trigger's report; data is of a table of Keystone. */
extern void ks_change_row(TriggerData *data);

/* Writes an event to the outbox, in this transaction; does nothing while the
 * log is not begun (no instance row).  unlogged: what it is about lies in a
 * table that is not in the write-ahead log. */
extern void ks_change_write(KsEvent *event, bool unlogged);

/*
 * What this transaction has changed so far: names of actions with commas,
 * palloc'd; NULL when nothing.  What is rolled back to a savepoint stays among
 * them.  Entries of the lane that give something say it under
 * KS_UNCOMMITTED_KEY, since they stay when the change that they rest on goes
 * without an entry.
 */
#define KS_UNCOMMITTED_KEY	"uncommitted"

extern char *ks_change_uncommitted(void);

/* Makes sure that this database has its instance row: called by
 * ks_keys_prepare()'s callers, before the first change.  PT423 when the row is
 * another database's. */
extern void ks_change_prepare(void);

/* For what reads values: PT423 when the database is an unaccepted copy, PT424
 * when it has no log that could record it. */
extern void ks_change_require(void);

/* Whether a refusal can be recorded: there is a log, and it is ours. */
extern bool ks_change_can_record(void);

/* Makes the instance row this database's, for a reason; the log then begins a
 * new epoch.  False when it was so already, or there is nothing to accept. */
extern bool ks_change_accept(const char *reason);

/* True while Keystone itself writes a guarded table; it says so around each
 * statement, and an error ends it. */
extern bool ks_change_guard_open(void);
extern void ks_change_set_guard(bool open);

/* Whether there is an instance row; cheap. */
extern bool ks_change_has_instance(void);

/* Whether the outbox has rows that are committed. */
extern bool ks_change_outbox_has_rows(void);

/* Whether ks_change_write() writes. */
extern bool ks_change_log_on(void);

/* SHA-256("keystone.cred.v1\0" | aad digest | envelope | key id). */
extern void ks_change_digest(const uint8 aad_digest[KS_DIGEST_LEN], const void *envelope, size_t len,
							 const uint8 *key_id, uint8 digest[KS_DIGEST_LEN]);

extern void ks_change_init(void);

/* Has failed authentications recorded. */
extern void ks_verb_init(void);

#endif							/* KS_CHANGE_H */
