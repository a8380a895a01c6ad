/*-------------------------------------------------------------------------
 *
 * ks_draft.c
 *	  An event while it is composed: who, from where, why, about what.
 *
 * A reveal composes one, so what does not change in a session is kept: names
 * of roles until the catalog says otherwise.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "ks_draft.h"
#include "ks_error.h"
#include "ks_event.h"
#include "ks_jsonb.h"
#include "ks_request.h"
#include "ks_text.h"

#define OWN_NAME	"keystone"	/* actor of entries that nobody caused */

/* An event always fits: its texts are names, but for the detail. */
#define QUALIFIED_NAME_MAX	(2 * (2 * NAMEDATALEN + 2) + 1)

StaticAssertDecl(KS_DETAIL_MAX + 2 * NAMEDATALEN + QUALIFIED_NAME_MAX + 400 <= KS_EVENT_PACKED_MAX,
				 "an event does not fit");

/* Room that is left for saying that something was left out. */
#define OMITTED_LEN		64

/* Names of the roles that were asked for last. */
typedef struct RoleName
{
	Oid			role;
	char		name[NAMEDATALEN];
} RoleName;

static RoleName role_names[2];

static void
forget_role_names(Datum arg, int cacheid, uint32 hash)
{
	(void) arg;
	(void) cacheid;
	(void) hash;
	memset(role_names, 0, sizeof(role_names));
}

/*
 * A role may have been named in a database of another encoding: what is no
 * UTF-8 is replaced.
 */
static void
make_utf8(char *name)
{
	int			len = (int) strlen(name);

	if (pg_verify_mbstr(PG_UTF8, name, len, true))
		return;
	for (int i = 0; i < len; i++)
	{
		if (IS_HIGHBIT_SET(name[i]))
			name[i] = '?';
	}
}

/* slot: 0 or 1, for roles that alternate. */
static void
copy_role_name(Oid role, int slot, char name[NAMEDATALEN])
{
	static bool registered = false;
	RoleName   *known = &role_names[slot];

	if (!registered)
	{
		CacheRegisterSyscacheCallback(AUTHOID, forget_role_names, (Datum) 0);
		registered = true;
	}
	if (known->role != role || !OidIsValid(role))
	{
		char	   *found = GetUserNameFromId(role, true);

		if (found == NULL)
			snprintf(known->name, NAMEDATALEN, "%u", role);
		else
			strlcpy(known->name, found, NAMEDATALEN);
		make_utf8(known->name);
		known->role = role;
	}
	memcpy(name, known->name, NAMEDATALEN);
}

/* What the request's headers say, in an authenticator's session: claims. */
static void
add_request(KsDetail *detail)
{
	KsRequest	request;

	if (!ks_identity_is_authenticator() || !ks_request_headers(&request))
		return;
	if (request.forwarded_for != NULL)
		ks_detail_add(detail, "claimed_addr", ks_draft_cut(request.forwarded_for, (int) strlen(request.forwarded_for)));
	if (request.user_agent != NULL)
		ks_detail_add(detail, "claimed_user_agent", ks_draft_cut(request.user_agent, (int) strlen(request.user_agent)));
}

void
ks_draft_begin(KsDraft *draft, uint16 kind, const KsActor *actor)
{
	KsActor		now;

	memset(&draft->event, 0, sizeof(draft->event));
	draft->detail.n = 0;
	draft->detail.full = false;
	draft->detail.len = 0;
	draft->creator[0] = '\0';
	if (actor == NULL)
	{
		ks_identity_actor(&now);
		actor = &now;
	}

	copy_role_name(actor->session_role, 0, draft->session);
	copy_role_name(actor->role, 1, draft->role);
	if (actor->source == KS_SOURCE_ANONYMOUS)
		memcpy(draft->actor, draft->session, NAMEDATALEN);
	else
	{
		memcpy(draft->event.principal, actor->principal, KS_ID_LEN);
		ks_text_from_uuid(actor->principal, draft->actor);
	}
	draft->event.kind = kind;
	draft->event.outcome = KS_OUTCOME_OK;
	draft->event.actor = draft->actor;
	draft->event.role = draft->role;
	draft->event.relation = "";
	ks_event_context(&draft->event.context);

	ks_detail_add(&draft->detail, "client_addr", ks_request_client_address());
	ks_detail_add(&draft->detail, "application_name", application_name);
	ks_detail_add(&draft->detail, "session_user", draft->session);
	if (actor->delegated)
	{
		ks_text_from_uuid(actor->on_behalf_of, draft->creator);
		ks_detail_add(&draft->detail, "key_creator", draft->creator);
	}
	add_request(&draft->detail);
}

void
ks_draft_begin_own(KsDraft *draft, uint16 kind)
{
	ks_draft_begin(draft, kind, NULL);
	strlcpy(draft->actor, OWN_NAME, sizeof(draft->actor));
	strlcpy(draft->role, OWN_NAME, sizeof(draft->role));
}

void
ks_draft_credential(KsDraft *draft, const KsCredential *credential)
{
	memcpy(draft->event.workspace, credential->workspace, KS_ID_LEN);
	memcpy(draft->event.object, credential->id, KS_ID_LEN);
	ks_detail_add(&draft->detail, "name", credential->name);
	ks_detail_add(&draft->detail, "environment", credential->environment);
	ks_detail_add(&draft->detail, "provider", credential->provider);
	if (credential->personal)
	{
		memcpy(draft->event.owner, credential->owner, KS_ID_LEN);
		ks_text_from_uuid(credential->owner, draft->owner);
		ks_detail_add(&draft->detail, "owner", draft->owner);
	}
}

char *
ks_draft_cut(const char *text, int len)
{
	return pnstrdup(text, len <= KS_TEXT_MAX ? len : pg_mbcliplen(text, len, KS_TEXT_MAX));
}

/*
 * The documented keys of a caller's context as keys of their own, then the
 * whole of it, if there is room.
 */
static void
add_context(KsDetail *detail, const Jsonb *context)
{
	static const char *const keys[] = {"workflow", "node", "run", "request_id"};
	char	   *json;
	size_t		len;

	for (size_t i = 0; i < lengthof(keys); i++)
	{
		const JsonbValue *value = ks_jsonb_member(&context->root, keys[i], NULL);

		if (value != NULL && value->type == jbvString)
			ks_detail_add(detail, keys[i], ks_draft_cut(value->val.string.val, value->val.string.len));
	}
	json = JsonbToCString(NULL, (JsonbContainer *) &context->root, VARSIZE(context));
	len = strlen(json);
	if (detail->len + len + OMITTED_LEN <= KS_DETAIL_MAX)
		ks_detail_add_bytes(detail, "context", json, len);
	else
		ks_detail_add(detail, "context_omitted", psprintf("%zu", len));
}

void
ks_draft_why(KsDraft *draft, const char *reason, const Jsonb *context)
{
	ks_detail_add(&draft->detail, "reason", reason);
	if (context != NULL && JB_ROOT_COUNT(context) > 0)
		add_context(&draft->detail, context);
}

/*
 * An API key acts for its creator, unless the verb has said for whom it does.
 */
static void
add_on_behalf_of(KsDraft *draft)
{
	if (draft->creator[0] == '\0')
		return;
	for (int i = 0; i < draft->detail.n; i++)
	{
		if (strcmp(draft->detail.pairs[i].key, "on_behalf_of") == 0)
			return;
	}
	ks_detail_add(&draft->detail, "on_behalf_of", draft->creator);
}

void
ks_draft_finish(KsDraft *draft)
{
	add_on_behalf_of(draft);
	draft->event.detail_len = ks_detail_encode(&draft->detail, draft->encoded, sizeof(draft->encoded));
	draft->event.detail = draft->encoded;
	if (draft->event.detail_len == 0 && draft->detail.n > 0)
		elog(ERROR, "detail of an audit entry cannot be encoded");
}

void
ks_draft_caller(const KsActor *actor, uint8 caller[KS_ID_LEN])
{
	char		name[NAMEDATALEN];
	uint8		digest[KS_DIGEST_LEN];

	if (actor->source != KS_SOURCE_ANONYMOUS)
	{
		memcpy(caller, actor->principal, KS_ID_LEN);
		return;
	}
	copy_role_name(actor->session_role, 0, name);
	if (ks_sha256(name, strlen(name), digest) != KS_CRYPTO_OK)
		ks_error_crypto("compute a digest");
	memcpy(caller, digest, KS_ID_LEN);
}
