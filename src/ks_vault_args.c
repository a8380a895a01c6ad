/*-------------------------------------------------------------------------
 *
 * ks_vault_args.c
 *	  Arguments that several verbs of the vault have, and what they check.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "ks_error.h"
#include "ks_guc.h"
#include "ks_http.h"
#include "ks_keys.h"
#include "ks_request.h"
#include "ks_text.h"
#include "ks_value.h"
#include "ks_vault_args.h"

char *
ks_get_environment(FunctionCallInfo fcinfo, int n)
{
	return ks_text_name("environment", ks_arg_get_text(fcinfo, n, "environment"), KS_ENVIRONMENT_MAX);
}

/*
 * The instance row comes first, so that the log has the keys, too.
 */
void
ks_begin_change(void)
{
	ks_keyring_require_open();
	ks_change_prepare();
	ks_keys_prepare();
}

void
ks_begin_reveal(void)
{
	if (RecoveryInProgress() || (ks_identity_is_authenticator() && ks_request_is_read()))
		ks_error_read_only();
	ks_keyring_require_open();
	ks_change_require();
	ks_http_no_store();
}

void
ks_check_value(const KsSecretArg *value, const KsProvider *provider)
{
	if (value->len == 0 || value->len > (size_t) ks_max_value_size)
		ks_error_invalid("value", psprintf("1 to %d bytes long", ks_max_value_size), NULL);
	if (provider != NULL && provider->value_pattern != NULL &&
		!ks_value_matches(value->data, value->len, provider->value_pattern))
		ks_error_invalid("value", "what the provider gives out",
						 "keystone.providers has the pattern that values of this provider match.");
}

void
ks_get_provider(const uint8 workspace[KS_ID_LEN], const char *name, KsProvider *provider)
{
	if (!ks_tenant_provider(workspace, name, provider))
		ks_error_invalid("provider", "one of keystone.providers", NULL);
	if (!provider->enabled)
		ks_error_denied("the provider is not enabled", NULL);
}

/*
 * What the caller may not see stands in its entry as it was asked for, and no
 * more: the entry can be read by whoever made it.
 */
static void
require_access(KsVerb *verb, const KsCredential *credential, bool found, KsAccess access,
			   KsMembership *member)
{
	KsProblem	problem = {0};
	bool		may = ks_vault_may(&verb->call, credential, access, member, &problem);

	if (!found || (!may && problem.sqlstate == KS_ERRCODE_NOT_FOUND))
	{
		verb->has_credential = false;
		memset(verb->workspace, 0, KS_ID_LEN);
		ks_error_not_found(NULL);
	}
	ks_verb_credential(verb, credential, 0);
	if (!may)
		ks_vault_raise(&problem);
}

void
ks_lock_any_credential(KsVerb *verb, const uint8 *id, KsAccess access, KsCredential *credential,
					   KsMembership *member)
{
	KsSeek		seek;
	bool		found = ks_store_seek_id(&seek, id, credential);

	ks_store_end_seek(&seek);
	memcpy(verb->object, id, KS_ID_LEN);
	require_access(verb, credential, found, access, member);
	found = ks_store_lock(credential);

	/* The wait for the lock may have been long enough to lose the right. */
	require_access(verb, credential, found, access, member);
}

void
ks_lock_credential(KsVerb *verb, const uint8 *id, KsAccess access, KsCredential *credential)
{
	KsMembership member;

	ks_lock_any_credential(verb, id, access, credential, &member);
	ks_require_usable(&member);
}

void
ks_lock_live_credential(KsVerb *verb, const uint8 *id, KsAccess access, KsCredential *credential)
{
	ks_lock_credential(verb, id, access, credential);
	if (credential->deleted)
		ks_error_not_found(NULL);
}

void
ks_require_within(const KsMembership *member, const char *environment, const char *provider)
{
	if (!ks_within_limits(member, environment, provider))
		ks_error_denied("permission denied", "The API key is limited to other environments or providers.");
}

void
ks_check_expected(const KsCredential *credential, bool given, int32 expected)
{
	if (given && expected < 0)
		ks_error_invalid("expected_version", "0 or greater", NULL);
	if (given && expected != credential->current_version)
		ks_error_conflict(expected, credential->current_version);
}

char *
ks_interval_text(const Interval *interval)
{
	char		text[MAXDATELEN + 1];
	struct pg_itm itm;

	interval2itm(*interval, &itm);
	EncodeInterval(&itm, INTSTYLE_ISO_8601, text);
	return pstrdup(text);
}

Datum
ks_empty_text_array(void)
{
	return PointerGetDatum(construct_empty_array(TEXTOID));
}

Jsonb *
ks_empty_object(void)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

void
ks_check_tags(Datum tags)
{
	Datum	   *elements;
	int			n = ks_arg_get_array(tags, TEXTOID, "tags", &elements);

	if (n > KS_TAGS_MAX)
		ks_error_invalid("tags", psprintf("at most %d tags", KS_TAGS_MAX), NULL);
	for (int i = 0; i < n; i++)
		(void) ks_text_name("tags", DatumGetTextPP(elements[i]), KS_TAG_MAX);
}

void
ks_check_metadata(const Jsonb *metadata)
{
	StringInfoData json;

	if (!JB_ROOT_IS_OBJECT(metadata))
		ks_error_invalid("metadata", "a JSON object", NULL);
	initStringInfo(&json);
	(void) JsonbToCString(&json, (JsonbContainer *) &metadata->root, VARSIZE(metadata));
	if (json.len > KS_METADATA_MAX)
		ks_error_invalid("metadata", psprintf("at most %d bytes long", KS_METADATA_MAX), NULL);
	pfree(json.data);
}
