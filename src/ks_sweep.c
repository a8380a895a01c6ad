/*-------------------------------------------------------------------------
 *
 * ks_sweep.c
 *	  The comparison of all rows with the audit log that goes on all the time:
 *	  the housekeeper's part, and what health shows of it.
 *
 * A round begins each half of keystone.reconcile_interval and lasts no longer
 * than that, so that whatever is done to a row is found within the interval.
 * It is made of slices, each a transaction of a few milliseconds with a
 * snapshot of its own, with pauses between them.
 *
 * What is found stands in the table reconcile_findings, from which health
 * reads, and once each in the log, as an entry audit.reconcile.  The table is
 * for show: whoever empties it gains nothing, for it is filled anew each
 * round.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_audit.h"
#include "ks_guc.h"
#include "ks_reconcile.h"
#include "ks_spi.h"
#include "ks_sweep.h"

#define ENTRIES_OF_SLICE	2000
#define FINDINGS_MAX		1000	/* that are named */
#define FINDINGS_OF_SLICE	100
#define SHOWN_MAX			3	/* in health */
#define NO_TABLE			255 /* code of no table */
#define PAUSE_FACTOR		3.0 /* at most a quarter of a core */
#define OFF_PAUSE			10000
#define LATE_SECONDS		30

/* What is to be written. */
typedef struct Finding
{
	KsDiscrepancy is;
	bool		reported;		/* stands in the log */
	bool		settled;
} Finding;

typedef struct Sweep
{
	KsReconcile *reconcile;		/* NULL: begin anew */
	MemoryContext context;
	bool		in_round;
	TimestampTz began;			/* the round */
	double		work;			/* ms of this round */
	double		last_work;		/* of the round before; 0: there was none */
	int			named;			/* findings of this round */
	int64		unnamed;		/* beyond FINDINGS_MAX */
	bool		unnamed_reported;
	bool		unnamed_written;	/* in this transaction */
	int			n;				/* waiting to be written */
	int			written;		/* of them, in this transaction */
	int			room;
	Finding    *findings;
} Sweep;

int			ks_sweep_pause = 0;

static Sweep sweep;


/*-------------------------------------------------------------------------
 * Findings
 *-------------------------------------------------------------------------
 */

static void
keep(const KsDiscrepancy *discrepancy, bool reported, bool settled)
{
	MemoryContext old = MemoryContextSwitchTo(sweep.context);
	Finding    *finding;

	if (sweep.n == sweep.room)
	{
		sweep.room = Max(16, 2 * sweep.room);
		sweep.findings = sweep.findings == NULL ? palloc(sweep.room * sizeof(Finding)) :
			repalloc(sweep.findings, sweep.room * sizeof(Finding));
	}
	finding = &sweep.findings[sweep.n++];
	finding->is = *discrepancy;
	finding->is.problem = discrepancy->problem != NULL ? pstrdup(discrepancy->problem) : NULL;
	finding->reported = reported;
	finding->settled = settled;
	MemoryContextSwitchTo(old);
}

static bool
is_same(const KsDiscrepancy *a, const KsDiscrepancy *b)
{
	return a->kind == b->kind && memcmp(a->key, b->key, KS_ROW_KEY_LEN) == 0;
}

/* Whether a finding waits to be written. */
static bool
is_kept(const KsDiscrepancy *discrepancy)
{
	for (int i = 0; i < sweep.n; i++)
	{
		if (!sweep.findings[i].settled && is_same(&sweep.findings[i].is, discrepancy))
			return true;
	}
	return false;
}

/* That the log is broken is told when it is found and when a round begins. */
static void
found(void *arg, const KsDiscrepancy *discrepancy, bool reported)
{
	(void) arg;
	if (discrepancy->kind == KS_LOG_BROKEN && is_kept(discrepancy))
		return;
	if (sweep.named >= FINDINGS_MAX)
		sweep.unnamed++;
	else
	{
		sweep.named++;
		keep(discrepancy, reported, false);
	}
}

/* What waits to be written and stands in the log already needs nothing more. */
static void
settled(void *arg, const KsDiscrepancy *discrepancy, bool reported)
{
	(void) arg;
	if (discrepancy->kind == KS_ROW_DIFFERS)
	{
		keep(discrepancy, reported, true);
		return;
	}
	for (int i = 0; i < sweep.n; i++)
	{
		if (is_same(&sweep.findings[i].is, discrepancy))
		{
			pfree(sweep.findings[i].is.problem);
			memmove(&sweep.findings[i], &sweep.findings[i + 1], (sweep.n - i - 1) * sizeof(Finding));
			sweep.n--;
			return;
		}
	}
}

static void
write_entry(const Finding *finding)
{
	const KsRowTable *table = ks_row_table_of(finding->is.table);
	KsDraft		draft;

	ks_draft_begin_own(&draft, KS_ACTION_AUDIT_RECONCILE);
	draft.event.outcome = finding->settled ? KS_OUTCOME_OK : KS_OUTCOME_ERROR;
	if (finding->is.has_workspace)
		memcpy(draft.event.workspace, finding->is.workspace, KS_ID_LEN);
	if (finding->is.has_credential)
		memcpy(draft.event.object, finding->is.credential, KS_ID_LEN);
	ks_detail_add(&draft.detail, KS_RECONCILE_FOUND_KEY, ks_reconcile_mark(&finding->is));
	ks_detail_add(&draft.detail, "source", "housekeeper");
	ks_detail_add(&draft.detail, "table", table != NULL ? table->name : NULL);
	ks_detail_add(&draft.detail, "problem", finding->settled ? "settled" : finding->is.problem);
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
}

static void
add_key(KsArgs *args, const KsDiscrepancy *discrepancy)
{
	ks_arg_int(args, true, discrepancy->kind);
	ks_arg_int(args, true, discrepancy->table);
	ks_arg_bytes(args, discrepancy->key, KS_ROW_KEY_LEN);
}

static void
write_row(const Finding *finding)
{
	static KsPlan put = {.sql =
		"INSERT INTO keystone_private.reconcile_findings AS f"
		" (kind, table_code, row_key, credential_id, problem, found_at, seen_at)"
		" VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp())"
		" ON CONFLICT (kind, table_code, row_key) DO UPDATE SET problem = excluded.problem, seen_at = excluded.seen_at"
	};
	static KsPlan drop = {.sql =
		"DELETE FROM keystone_private.reconcile_findings WHERE kind = $1 AND table_code = $2 AND row_key = $3"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin_write(&spi);
	add_key(&args, &finding->is);
	if (!finding->settled)
	{
		ks_arg_uuid(&args, finding->is.has_credential ? finding->is.credential : NULL);
		ks_arg_text(&args, finding->is.problem);
	}
	(void) ks_spi_write(finding->settled ? &drop : &put, &args);
	ks_spi_end(&spi);
}

/* What was found without being named. */
static void
write_unnamed(void)
{
	KsDraft		draft;
	Finding		finding = {.is = {.kind = KS_LOG_BROKEN}};

	finding.is.problem = psprintf(INT64_FORMAT " further rows differ from the audit log", sweep.unnamed);
	finding.is.table = NO_TABLE;
	write_row(&finding);
	if (sweep.unnamed_reported)
		return;
	sweep.unnamed_written = true;
	ks_draft_begin_own(&draft, KS_ACTION_AUDIT_RECONCILE);
	draft.event.outcome = KS_OUTCOME_ERROR;
	ks_detail_add(&draft.detail, "source", "housekeeper");
	ks_detail_add(&draft.detail, "problem", finding.is.problem);
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
}

static void
write_findings(void)
{
	for (; sweep.written < sweep.n && sweep.written < FINDINGS_OF_SLICE; sweep.written++)
	{
		const Finding *finding = &sweep.findings[sweep.written];

		if (finding->settled ? finding->reported : !finding->reported)
			write_entry(finding);
		write_row(finding);
	}
}

static void
announce(const Finding *finding)
{
	if (finding->reported || finding->settled)
		return;
	ereport(WARNING,
			errcode(ERRCODE_DATA_CORRUPTED),
			errmsg("keystone: a row differs from the audit log"),
			errdetail_internal("%s", finding->is.problem));
}

void
ks_sweep_committed(void)
{
	sweep.unnamed_reported |= sweep.unnamed_written;
	sweep.unnamed_written = false;
	for (int i = 0; i < sweep.written; i++)
	{
		announce(&sweep.findings[i]);
		if (sweep.findings[i].is.problem != NULL)
			pfree(sweep.findings[i].is.problem);
	}
	sweep.n -= sweep.written;
	if (sweep.n > 0)
		memmove(sweep.findings, sweep.findings + sweep.written, sweep.n * sizeof(Finding));
	sweep.written = 0;
}


/*-------------------------------------------------------------------------
 * Rounds
 *-------------------------------------------------------------------------
 */

/* Forgets all that is known. */
static void
forget(void)
{
	if (sweep.context != NULL)
		MemoryContextDelete(sweep.context);
	memset(&sweep, 0, sizeof(sweep));
}

static void
begin_anew(void)
{
	const KsReconcileObserver observer = {.found = found, .settled = settled};
	MemoryContext old;

	forget();
	sweep.context = AllocSetContextCreate(TopMemoryContext, "keystone sweep", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(sweep.context);
	sweep.reconcile = ks_reconcile_make(NULL, &observer);
	MemoryContextSwitchTo(old);
}

/* Milliseconds that a round may last. */
static double
budget(void)
{
	return ks_reconcile_interval * 1000.0 / 2;
}

static void
begin_round(void)
{
	sweep.in_round = true;
	sweep.began = GetCurrentTimestamp();
	sweep.work = 0;
	sweep.named = 0;
	sweep.unnamed = 0;
	ks_reconcile_begin_round(sweep.reconcile);
}

/* What an earlier round found, or an earlier process, and this one did not. */
static void
end_round(void)
{
	static KsPlan drop = {.sql =
		"DELETE FROM keystone_private.reconcile_findings WHERE seen_at < $1"
	};
	static KsPlan note = {.sql =
		"INSERT INTO keystone_private.housekeeping (task, position, done_at)"
		" VALUES ('reconcile', $1, clock_timestamp())"
		" ON CONFLICT (task) DO UPDATE SET position = excluded.position, done_at = excluded.done_at"
	};
	KsArgs		drop_args = {0};
	KsArgs		note_args = {0};
	KsSpi		spi;

	if (sweep.unnamed > 0)
		write_unnamed();
	else
		sweep.unnamed_reported = false;
	ks_spi_begin_write(&spi);
	ks_arg_time(&drop_args, true, sweep.began);
	(void) ks_spi_write(&drop, &drop_args);
	ks_arg_bigint(&note_args, true, ks_reconcile_position(sweep.reconcile));
	(void) ks_spi_write(&note, &note_args);
	ks_spi_end(&spi);
	sweep.in_round = false;
	sweep.last_work = sweep.work;
}

/* Until the next round is due; 0 when it is. */
static int
until_round(void)
{
	long		since = TimestampDifferenceMilliseconds(sweep.began, GetCurrentTimestamp());

	if (sweep.began == 0 || since >= budget())
		return 0;
	return (int) (budget() - since) + 1;
}

/* A pause in proportion to the work, as long as the round can bear it. */
static int
pause_after(double ms)
{
	double		factor = 1.0;

	if (sweep.last_work > 0)
		factor = (0.8 * budget() - sweep.last_work) / sweep.last_work;
	return (int) (ms * Max(0.0, Min(factor, PAUSE_FACTOR)));
}

/* The next piece of the round that runs, or is due. */
static void
step(Snapshot snapshot)
{
	if (!ks_reconcile_follow(sweep.reconcile, snapshot, ENTRIES_OF_SLICE))
		return;
	if (!sweep.in_round && until_round() == 0)
		begin_round();
	if (sweep.in_round && sweep.n < FINDINGS_OF_SLICE && ks_reconcile_compare(sweep.reconcile, snapshot))
		end_round();
	write_findings();
}

bool
ks_sweep(void)
{
	TimestampTz start = GetCurrentTimestamp();
	Snapshot	snapshot;
	double		ms;

	ks_sweep_pause = OFF_PAUSE;
	sweep.written = 0;
	sweep.unnamed_written = false;
	if (ks_reconcile_interval == 0)
	{
		forget();
		return false;
	}
	if (sweep.reconcile == NULL || !ks_reconcile_is_current(sweep.reconcile))
		begin_anew();
	if (!sweep.in_round && sweep.n == 0 && (ks_sweep_pause = until_round()) > 0)
		return false;

	snapshot = ks_spi_take_snapshot();
	step(snapshot);
	ks_spi_drop_snapshot(snapshot);

	ms = (GetCurrentTimestamp() - start) / 1000.0;
	sweep.work += ms;
	ks_sweep_pause = sweep.in_round || sweep.n > sweep.written ? pause_after(ms) : until_round();
	return false;
}


/*-------------------------------------------------------------------------
 * Health
 *-------------------------------------------------------------------------
 */

/* What was found, NULL when nothing was. */
static char *
findings_text(void)
{
	static KsPlan plan = {.sql =
		"SELECT count(*) OVER (), problem FROM keystone_private.reconcile_findings ORDER BY found_at, row_key LIMIT $1"
	};
	StringInfoData text;
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		n;
	int64		all = 0;
	MemoryContext old;

	ks_spi_begin(&spi);
	ks_arg_int(&args, true, SHOWN_MAX);
	n = ks_spi_read(&plan, &args);
	old = MemoryContextSwitchTo(spi.caller);
	initStringInfo(&text);
	for (uint64 i = 0; i < n; i++)
	{
		(void) ks_col_bigint(i, 1, &all);
		appendStringInfo(&text, "%s%s", i > 0 ? "; " : "", ks_col_text(&spi, i, 2));
	}
	if (all > (int64) n)
		appendStringInfo(&text, "; and " INT64_FORMAT " more", all - (int64) n);
	MemoryContextSwitchTo(old);
	ks_spi_end(&spi);
	return n > 0 ? text.data : NULL;
}

/* When the last round ended, 0 if none did, and since when there is a log. */
static TimestampTz
last_round(TimestampTz *begun)
{
	static KsPlan plan = {.sql =
		"SELECT (SELECT done_at FROM keystone_private.housekeeping WHERE task = 'reconcile'),"
		" (SELECT written_at FROM keystone_private.instance)"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	TimestampTz done = 0;

	*begun = 0;
	ks_spi_begin(&spi);
	if (ks_spi_read(&plan, &args) == 1)
	{
		(void) ks_col_time(0, 1, &done);
		(void) ks_col_time(0, 2, begun);
	}
	ks_spi_end(&spi);
	return done;
}

char *
ks_sweep_health(bool *ok)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz begun;
	TimestampTz done = last_round(&begun);
	char	   *problems = findings_text();
	char	   *when;
	bool		late;

	/* A time that is not over yet was written by somebody else. */
	if (done > now)
		done = 0;
	if (begun > now)
		begun = 0;
	*ok = true;
	if (ks_audit_instance(NULL, NULL) != KS_INSTANCE_OURS)
		return pstrdup("nothing is compared: the log is not begun");
	if (ks_reconcile_interval == 0)
		return pstrdup("nothing is compared: keystone.reconcile_interval is 0");
	late = !RecoveryInProgress() &&
		TimestampDifferenceMilliseconds(Max(done, Max(begun, PgStartTime)), now) / 1000 >
		ks_reconcile_interval + LATE_SECONDS;
	when = done == 0 ? pstrdup("no round has ended yet") :
		psprintf("the last round ended %ld s ago", TimestampDifferenceMilliseconds(done, now) / 1000);
	*ok = problems == NULL && !late;
	if (problems != NULL)
		return psprintf("%s; %s", problems, when);
	return psprintf("%s%s", when, late ? ", which is too long ago" : done == 0 ? "" : ", every row agreed with the log");
}
