/*-------------------------------------------------------------------------
 *
 * ks_bundle_sql.c
 *	  export_bundle() and import_bundle(): a workspace moves to another server.
 *
 * A bundle holds every value of the workspace, so that one entry in the log
 * stands for the reveal of all of them; it is durable before the bundle leaves.
 * Limits take it for one reveal, and those that are made for exports count it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "ks_bundle.h"
#include "ks_enforce.h"
#include "ks_gate.h"
#include "ks_plan.h"
#include "ks_text.h"

static void
add_count(KsDetail *detail, const char *key, int64 count)
{
	ks_detail_add(detail, key, psprintf(INT64_FORMAT, count));
}

/* What the entry says of a bundle. */
static void
add_counts(KsDetail *detail, const KsBundleCounts *counts)
{
	add_count(detail, "credentials", counts->credentials);
	add_count(detail, "versions", counts->versions);
}

/* The recipient's public key in hexadecimal, for whom the bundle is. */
static void
add_recipient(KsDetail *detail, const uint8 recipient[KS_X25519_LEN])
{
	char	   *hex = palloc0(2 * KS_X25519_LEN + 1);

	(void) hex_encode((const char *) recipient, KS_X25519_LEN, hex);
	ks_detail_add(detail, "recipient", hex);
}

static void
report_left_out(const KsBundleCounts *counts)
{
	if (counts->others > 0)
		ereport(NOTICE,
				errmsg("personal credentials of other members are not in the bundle"),
				errdetail("Left out: " INT64_FORMAT ".", counts->others));
	if (counts->deleted > 0)
		ereport(NOTICE,
				errmsg("deleted credentials are not in the bundle"),
				errdetail("Left out: " INT64_FORMAT ".", counts->deleted));
	if (counts->damaged > 0)
		ereport(WARNING,
				errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("versions that do not open are not in the bundle"),
				errdetail("Left out: " INT64_FORMAT ".", counts->damaged),
				errhint("keystone.verify_all() names them."));
}

static Datum
export_bundle(FunctionCallInfo fcinfo, KsVerb *verb)
{
	KsMembership member;
	KsBundleCounts counts;
	bytea	   *recipient;
	bytea	   *bundle;

	ks_verb_enter_known(verb, KS_PROFILE_CLIENT);
	if (PG_ARGISNULL(1))
		ks_error_null("recipient");
	recipient = PG_GETARG_BYTEA_PP(1);
	if (VARSIZE_ANY_EXHDR(recipient) != KS_X25519_LEN)
		ks_error_invalid("recipient", "an X25519 public key of 32 bytes", NULL);
	ks_begin_reveal();
	ks_membership(&verb->call, ks_arg_get_text_or_null(fcinfo, 0), &member);
	memcpy(verb->workspace, member.workspace, KS_ID_LEN);
	memcpy(verb->object, member.workspace, KS_ID_LEN);
	ks_require(&member, KS_PERM_REVEAL);
	ks_require_usable(&member);
	if (!member.owner || member.key)
		ks_error_denied("permission denied", "Only an owner exports the workspace, and not through an API key.");
	add_recipient(&verb->detail, (const uint8 *) VARDATA_ANY(recipient));
	ks_gate_object(verb, &member, "export_bundle", "workspace", NULL, NULL);
	ks_enforce_export(&verb->call, member.workspace);
	bundle = ks_bundle_export(&verb->call, member.workspace, (const uint8 *) VARDATA_ANY(recipient), &counts);
	add_counts(&verb->detail, &counts);
	add_count(&verb->detail, "left_out", counts.others + counts.deleted);
	add_count(&verb->detail, "damaged", counts.damaged);
	ks_verb_record(verb, KS_OUTCOME_OK, NULL, NULL);
	report_left_out(&counts);
	PG_RETURN_BYTEA_P(bundle);
}

PG_FUNCTION_INFO_V1(ks_fn_export_bundle);
/* export_bundle(workspace, recipient bytea) returns bytea */
Datum
ks_fn_export_bundle(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_KEY_EXPORT, export_bundle);
}

/* The entry of an import, beside those of what it made. */
static void
write_import(KsVerb *verb, const uint8 *recipient, const uint8 from[KS_ID_LEN], const KsBundleCounts *counts)
{
	KsDraft		draft;
	char		word[37];

	ks_draft_begin(&draft, KS_ACTION_KEY_IMPORT, &verb->call.actor);
	memcpy(draft.event.workspace, verb->workspace, KS_ID_LEN);
	memcpy(draft.event.object, verb->workspace, KS_ID_LEN);
	ks_text_from_uuid(from, word);
	ks_detail_add(&draft.detail, "imported_from", word);
	add_recipient(&draft.detail, recipient);
	add_counts(&draft.detail, counts);
	ks_draft_finish(&draft);
	ks_change_write(&draft.event, false);
}

static Datum
import_bundle(FunctionCallInfo fcinfo, KsVerb *verb)
{
	text	   *given_slug = ks_arg_get_text_or_null(fcinfo, 1);
	char	   *slug = NULL;
	uint8		from[KS_ID_LEN];
	KsBundleCounts counts;
	KsBundle   *bundle;
	bytea	   *given;
	const uint8 *data;
	size_t		len;

	ks_verb_enter(verb, KS_PROFILE_CLIENT);
	if (PG_ARGISNULL(0))
		ks_error_null("bundle");
	if (given_slug != NULL)
	{
		slug = text_to_cstring(given_slug);
		ks_tenant_check_slug("slug", slug);
	}
	ks_tenant_refuse_api_key(&verb->call);
	ks_begin_change();
	ks_tenant_ensure_principal(&verb->call);
	ks_plan_check_workspaces(verb->call.actor.principal);
	given = PG_GETARG_BYTEA_PP(0);
	data = (const uint8 *) VARDATA_ANY(given);
	len = VARSIZE_ANY_EXHDR(given);
	bundle = ks_bundle_open(data, len);
	ks_bundle_import(verb, bundle, data, len, slug, from, &counts);
	write_import(verb, bundle->header + KS_BUNDLE_RECIPIENT_AT, from, &counts);
	return ks_uuid_datum(verb->workspace);
}

PG_FUNCTION_INFO_V1(ks_fn_import_bundle);
/* import_bundle(bundle bytea, slug) returns uuid */
Datum
ks_fn_import_bundle(PG_FUNCTION_ARGS)
{
	return ks_verb_run(fcinfo, KS_ACTION_KEY_IMPORT, import_bundle);
}
