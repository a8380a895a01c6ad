/*-------------------------------------------------------------------------
 *
 * ks_admin_sql.c
 *	  What the views for administrators stand on: version, seal, health.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "ks_args.h"
#include "ks_error.h"
#include "ks_keyring.h"
#include "ks_keys.h"
#include "ks_rights.h"
#include "ks_rows.h"

#define MANAGERS	(KS_PROFILE_ADMIN | KS_PROFILE_MONITOR)

PG_FUNCTION_INFO_V1(ks_fn_version);
/* version() returns text */
Datum
ks_fn_version(PG_FUNCTION_ARGS)
{
	KsCall		call;

	(void) fcinfo;
	ks_enter(&call, 0);			/* compares library and SQL */
	PG_RETURN_TEXT_P(cstring_to_text("keystone " KEYSTONE_VERSION " (SQL " KEYSTONE_VERSION ")"));
}

PG_FUNCTION_INFO_V1(ks_fn_seal_state);
/* keystone_private.seal_state() returns (sealed, current_root_key, reason, generation) */
Datum
ks_fn_seal_state(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsSealStatus status;
	Datum		values[4] = {0};
	bool		nulls[4] = {false, true, true, true};

	ks_enter(&call, 0);
	ks_keyring_status(&status);
	values[0] = BoolGetDatum(status.state != KS_SEAL_OPEN);
	if (call.profiles & MANAGERS)
	{
		values[1] = CStringGetTextDatum(status.current_root_key);
		nulls[1] = status.current_root_key[0] == '\0';
		values[2] = CStringGetTextDatum(status.state == KS_SEAL_LOADING ?
										"the root keyring is still being loaded" : status.reason);
		nulls[2] = status.state == KS_SEAL_OPEN;
		values[3] = Int64GetDatum((int64) status.generation);
		nulls[3] = false;
	}
	return ks_row_result(fcinfo, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_pending_rewraps);
/* keystone_private.pending_rewraps() returns bigint */
Datum
ks_fn_pending_rewraps(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsSealStatus status;

	ks_enter(&call, 0);
	ks_keyring_status(&status);
	if (status.state != KS_SEAL_OPEN || !(call.profiles & MANAGERS))
		PG_RETURN_NULL();
	PG_RETURN_INT64(ks_keys_pending_rewraps(status.current_root_key));
}

static void
add_check(KsSetResult *set, const char *name, bool ok, const char *detail)
{
	Datum		values[3] = {CStringGetTextDatum(name), BoolGetDatum(ok), CStringGetTextDatum(detail)};
	bool		nulls[3] = {false, false, false};

	ks_set_add(set, values, nulls);
}

PG_FUNCTION_INFO_V1(ks_fn_health_checks);
/* keystone_private.health_checks() returns setof (check_name, ok, detail) */
Datum
ks_fn_health_checks(PG_FUNCTION_ARGS)
{
	KsCall		call;
	KsSealStatus status;
	KsSetResult set;
	bool		open;
	char	   *foreign;

	ks_enter(&call, MANAGERS);
	ks_keyring_status(&status);
	open = status.state == KS_SEAL_OPEN;
	ks_set_begin(fcinfo, false, &set);

	add_check(&set, "library", true, "library and SQL have version " KEYSTONE_VERSION);
	add_check(&set, "launcher", status.state != KS_SEAL_LOADING,
			  status.state != KS_SEAL_LOADING ? "the root keyring was loaded at least once" :
			  "the launcher has not loaded the root keyring; see the server log");
	add_check(&set, "seal", open,
			  open ? psprintf("open; root key \"%s\" wraps", status.current_root_key) : status.reason);
	if (open)
	{
		int64		pending = ks_keys_pending_rewraps(status.current_root_key);

		add_check(&set, "root keys", pending == 0,
				  psprintf(INT64_FORMAT " keys are wrapped by another root key than the first of the keyring", pending));
	}
	if (open)
	{
		int64		forged = ks_rows_count_forged();

		add_check(&set, "row macs", forged == 0,
				  psprintf(INT64_FORMAT " rows that give rights have no valid MAC and give nothing", forged));
	}
	foreign = ks_spi_foreign_object();
	add_check(&set, "foreign objects", foreign == NULL,
			  foreign == NULL ? "no table has a trigger or cascading foreign key of somebody else" :
			  psprintf("%s: nothing is written until it is dropped", foreign));
	add_check(&set, "role", true, RecoveryInProgress() ? "standby: metadata can be read, values not" : "primary");
	return (Datum) 0;
}
