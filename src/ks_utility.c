/*-------------------------------------------------------------------------
 *
 * ks_utility.c
 *	  Keeps Keystone's workers out of the way of statements about whole
 *	  databases, and keeps others from dropping the extension.
 *
 * CREATE DATABASE (of its template), ALTER DATABASE ... RENAME and SET
 * TABLESPACE, and DROP DATABASE need a database in which no other process is.
 * Before such a statement, the database is held: its workers are ended, and
 * none is started.  DROP EXTENSION locks all tables that the workers of its own
 * database read and write, in another order than they do: it holds that one, or
 * each would wait for the other.  What must always hold:
 *
 *	- who may not execute the statement disturbs nobody.  The checks here are
 *	  those of the server, done once more and before it;
 *	- a hold ends with the transaction: not earlier, because until then the
 *	  database is locked and a worker would wait for that lock, or find a
 *	  database that is about to be gone; and not later.  After an error it ends
 *	  at once;
 *	- the wait for the workers can be interrupted and has an end.  The statement
 *	  is then executed anyway, and says itself that the database is in use.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ks_error.h"
#include "ks_event.h"
#include "ks_limit.h"
#include "ks_utility.h"

#define EXTENSION		"keystone"

/* In milliseconds. */
#define HOLD_PATIENCE	10000
#define HOLD_INTERVAL	10

static ProcessUtility_hook_type next_ProcessUtility = standard_ProcessUtility;

/* Of the transaction: lists are in TopTransactionContext. */
static List *held = NIL;		/* oids of databases */
static Oid	dropped = InvalidOid;	/* database */
static bool databases_changed = false;
static bool extension_created = false;
static bool extension_dropped = false;


/*-------------------------------------------------------------------------
 * Who may do what
 *-------------------------------------------------------------------------
 */

/* The server checks the current role, whatever its identity. */
static Oid
current_role(void)
{
	Oid			role;
	int			context;

	GetUserIdAndSecContext(&role, &context);
	return role;
}

static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		may = superuser();

	if (may)
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(current_role()));
	if (HeapTupleIsValid(tuple))
	{
		may = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return may;
}

static bool
owns(Oid database)
{
	return ks_database_ownercheck(database, current_role());
}

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}


/*-------------------------------------------------------------------------
 * What a statement needs
 *-------------------------------------------------------------------------
 */

static const char *
template_of(const CreatedbStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return "template1";
}

static bool
sets_tablespace(const AlterDatabaseStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->options)
	{
		if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
			return true;
	}
	return false;
}

/*
 * The name of the database that a statement needs for itself, or NULL.  Sets
 * whether the server refuses the statement inside a transaction.
 */
static const char *
database_of(const Node *statement, bool *alone)
{
	*alone = !IsA(statement, RenameStmt);
	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
			return template_of((const CreatedbStmt *) statement);

		case T_DropdbStmt:
			return ((const DropdbStmt *) statement)->dbname;

		case T_AlterDatabaseStmt:
			if (sets_tablespace((const AlterDatabaseStmt *) statement))
				return ((const AlterDatabaseStmt *) statement)->dbname;
			return NULL;

		case T_RenameStmt:
			if (((const RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				return ((const RenameStmt *) statement)->subname;
			return NULL;

		default:
			return NULL;
	}
}

static bool
drops_extension(const Node *statement)
{
	ListCell   *cell;

	if (!IsA(statement, DropStmt) || ((const DropStmt *) statement)->removeType != OBJECT_EXTENSION)
		return false;
	foreach(cell, ((const DropStmt *) statement)->objects)
	{
		if (strcmp(strVal(lfirst(cell)), EXTENSION) == 0)
			return OidIsValid(get_extension_oid(EXTENSION, true));
	}
	return false;
}

/*
 * The database that is to be held for a statement, InvalidOid for none, and
 * when the caller may not execute it.
 */
static Oid
database_to_hold(const Node *statement, bool top_level)
{
	bool		alone;
	const char *name = database_of(statement, &alone);
	Oid			database;

	if (drops_extension(statement) && superuser())
		return MyDatabaseId;
	if (name == NULL || (alone && IsInTransactionBlock(top_level)))
		return InvalidOid;

	database = get_database_oid(name, true);
	if (!OidIsValid(database))
		return InvalidOid;

	if (IsA(statement, CreatedbStmt))
		return may_create_databases() && (is_template(database) || owns(database)) ?
			database : InvalidOid;

	if (IsA(statement, RenameStmt) && !may_create_databases())
		return InvalidOid;

	/* the server refuses the current database */
	return database != MyDatabaseId && owns(database) ? database : InvalidOid;
}


/*-------------------------------------------------------------------------
 * Holding
 *-------------------------------------------------------------------------
 */

/*
 * Asks the workers of a slot to end.  Returns whether there are any.
 */
static bool
end_workers(int slot)
{
	KsSlotStatus status;
	bool		any = false;

	ks_event_slot_status(slot, &status);
	for (int kind = 0; kind < KS_WORKER_KINDS; kind++)
	{
		const KsWorkerStatus *worker = &status.workers[kind];

		if (worker->pid != 0)
			kill(worker->pid, SIGTERM);
		any = any || worker->pid != 0 || worker->starting;
	}
	return any;
}

/*
 * One attempt: whether the database is held and nobody is in there.
 */
static bool
try_hold(Oid database)
{
	int			slot;

	if (!list_member_oid(held, database))
	{
		MemoryContext before = MemoryContextSwitchTo(TopTransactionContext);

		held = lappend_oid(held, database);
		MemoryContextSwitchTo(before);
		if (!ks_event_hold(database))
		{
			held = list_delete_oid(held, database);
			return false;
		}
		/* it ends what is about to start */
		ks_event_wake_launcher();
	}
	slot = ks_event_slot_of(database, false);
	return slot < 0 || !end_workers(slot);
}

static void
hold(Oid database)
{
	TimestampTz deadline;

	/* the launcher leaves templates alone */
	if (is_template(database) && ks_event_slot_of(database, false) < 0)
		return;

	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), HOLD_PATIENCE);
	while (!try_hold(database) && GetCurrentTimestamp() < deadline)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 HOLD_INTERVAL, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
release(Oid database)
{
	if (!list_member_oid(held, database))
		return;
	held = list_delete_oid(held, database);
	ks_event_release(database);
}


/*-------------------------------------------------------------------------
 * The end of a transaction
 *-------------------------------------------------------------------------
 */

/*
 * Without the extension the workers of this database have to go.  The launcher
 * lets an appender look once more.
 */
static void
forget_extension(void)
{
	int			slot = ks_event_slot_of(MyDatabaseId, false);

	if (slot < 0)
		return;
	ks_event_slot_set_state(slot, KS_DATABASE_UNKNOWN);
	ks_limit_forget_database(MyDatabaseId);
	(void) end_workers(slot);
}

/*
 * Sees to it that the extension's workers start before its first use.
 */
static void
request_workers(void)
{
	pid_t		launcher;
	bool		too_few_workers;
	bool		too_few_slots;

	ks_event_request();
	if (ks_event_slot_of(MyDatabaseId, false) >= 0)
		return;
	ks_event_launcher_status(&launcher, &too_few_workers, &too_few_slots);
	ks_event_launcher_report(too_few_workers, true);
}

/*
 * Raises nothing: the transaction is over.
 */
static void
transaction_ended(XactEvent event, void *arg pg_attribute_unused())
{
	ListCell   *cell;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;

	if (event == XACT_EVENT_COMMIT && extension_dropped)
		forget_extension();
	foreach(cell, held)
	{
		ks_event_release(lfirst_oid(cell));
	}
	if (event == XACT_EVENT_COMMIT && extension_created)
		request_workers();
	if (event == XACT_EVENT_COMMIT && OidIsValid(dropped))
		ks_limit_forget_database(dropped);
	if (held != NIL || databases_changed || extension_dropped)
		ks_event_wake_launcher();

	held = NIL;					/* its memory goes with the transaction */
	databases_changed = extension_created = extension_dropped = false;
	dropped = InvalidOid;
}


/*-------------------------------------------------------------------------
 * The hook
 *-------------------------------------------------------------------------
 */

/*
 * Says what is to be done when the statement's transaction commits.
 */
static void
remember(const Node *statement)
{
	if (IsA(statement, CreatedbStmt) || IsA(statement, DropdbStmt) || IsA(statement, AlterDatabaseStmt))
		databases_changed = true;
	else if (IsA(statement, CreateExtensionStmt) &&
			 strcmp(((const CreateExtensionStmt *) statement)->extname, EXTENSION) == 0)
		extension_created = true;
	else if (drops_extension(statement))
	{
		/* the log goes with it */
		if (!superuser())
			ks_error_denied("only a superuser may drop the extension keystone", NULL);
		extension_dropped = true;
	}
}

static void
process_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *destination,
				QueryCompletion *completion)
{
	volatile Oid database = InvalidOid;

	if (ks_event_slots() > 0)
	{
		remember(statement->utilityStmt);
		database = database_to_hold(statement->utilityStmt, context == PROCESS_UTILITY_TOPLEVEL);
	}

	if (!OidIsValid(database))
	{
		next_ProcessUtility(statement, query, read_only_tree, context, params, environment,
							destination, completion);
		return;
	}

	PG_TRY();
	{
		hold(database);
		next_ProcessUtility(statement, query, read_only_tree, context, params, environment,
							destination, completion);
		if (IsA(statement->utilityStmt, DropdbStmt))
			dropped = database;
	}
	PG_CATCH();
	{
		release(database);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
ks_utility_init(void)
{
	if (ProcessUtility_hook != NULL)
		next_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	RegisterXactCallback(transaction_ended, NULL);
}
