/*-------------------------------------------------------------------------
 *
 * ks_guard.c
 *	  Keeps others from attaching triggers to Keystone's tables, and from
 *	  truncating them.
 *
 * GRANT ALL ON ALL TABLES gives the privileges TRIGGER and TRUNCATE, for which
 * there is no row-level security.  With the first, somebody could replace the
 * triggers that guard the tables, stop every write (ks_spi writes nothing
 * past a foreign trigger), or try to have a function run as the owner.
 * A superuser is not kept from it here; what it attaches is noticed by ks_spi.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "ks_error.h"
#include "ks_guard.h"
#include "ks_identity.h"

/* How the names of the triggers of audit_table() begin. */
#define AUDIT_TRIGGER	"keystone_audit"

static object_access_hook_type prev_object_access_hook = NULL;

static bool
is_keystone_table(Oid relation)
{
	char	   *namespace = get_namespace_name(get_rel_namespace(relation));

	return namespace != NULL &&
		(strcmp(namespace, "keystone") == 0 || strcmp(namespace, "keystone_private") == 0);
}

/*
 * The table of a trigger that was made just now, InvalidOid for one that
 * implements a constraint; and whether it has the name of an audit trigger,
 * which the privilege TRIGGER on a table would be enough to replace.
 */
static Oid
table_of_new_trigger(Oid trigger, bool *is_audit)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			table = InvalidOid;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(trigger));
	scan = systable_beginscan(catalog, TriggerOidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	*is_audit = false;
	if (HeapTupleIsValid(tuple) && !((Form_pg_trigger) GETSTRUCT(tuple))->tgisinternal)
	{
		table = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
		*is_audit = strncmp(NameStr(((Form_pg_trigger) GETSTRUCT(tuple))->tgname), AUDIT_TRIGGER,
							strlen(AUDIT_TRIGGER)) == 0;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return table;
}

static void
guard_tables(ObjectAccessType access, Oid class, Oid object, int sub_id, void *arg)
{
	if (prev_object_access_hook)
		prev_object_access_hook(access, class, object, sub_id, arg);
	if (creating_extension || superuser())
		return;

	if (access == OAT_TRUNCATE && class == RelationRelationId && is_keystone_table(object))
		ks_error_denied("a table of Keystone cannot be truncated", NULL);
	if (access == OAT_POST_CREATE && class == TriggerRelationId)
	{
		bool		is_audit;
		Oid			table = table_of_new_trigger(object, &is_audit);

		if (OidIsValid(table) && is_keystone_table(table))
			ks_error_denied("a table of Keystone takes no triggers", NULL);
		if (OidIsValid(table) && is_audit && !ks_table_ownercheck(table, ks_identity_current_role()))
			ks_error_denied("the audit trigger of a table is its owner's", NULL);
	}
}

void
ks_guard_init(void)
{
	prev_object_access_hook = object_access_hook;
	object_access_hook = guard_tables;
}
