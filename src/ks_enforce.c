/*-------------------------------------------------------------------------
 *
 * ks_enforce.c
 *	  Limits that the verbs apply by themselves.
 *
 * Definitions have the keys of ks_limits_subject_key().  Those of the settings
 * and of a provider's windows are the nil uuid, where the keys of rate_limit()
 * have a principal, a tag, a zero byte, the bytes of the id and the provider's
 * name.
 *
 * The windows of providers are cached per backend, until any relation changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_enforce.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_identity.h"
#include "ks_limits.h"
#include "ks_lookup.h"
#include "ks_near.h"
#include "ks_policy.h"
#include "ks_tenant.h"
#include "ks_text.h"

#define CACHED_PROVIDERS	64	/* then the cache starts again */

#define ACTION_REVEAL		"reveal"
#define ACTION_ROTATE		"rotate"
#define ACTION_EXPORT		"export_bundle"

/* What a window is called, for a refusal. */
typedef struct Asked
{
	const char *prefix;			/* of the limit's name; constant */
	const char *limit;
	char		window[KS_WINDOWSPEC_NAME_MAX + 1];
	uint8		workspace[KS_ID_LEN];	/* of a definition; else the
										 * credential's */
	int			near_percent;	/* 0: nobody is told */
} Asked;

/* One attempt and all that it has to ask for. */
typedef struct Attempt
{
	const KsCall *call;
	const KsCredential *credential;
	const char *action;			/* ACTION_... */
	KsLimitShare share;
	TimestampTz now;
	int			n;
	KsLimitAsk	asks[KS_LIMIT_ASKS_MAX];
	Asked		asked[KS_LIMIT_ASKS_MAX];
} Attempt;


/*-------------------------------------------------------------------------
 * Windows of providers
 *-------------------------------------------------------------------------
 */

typedef struct CachedProvider
{
	struct CachedProvider *next;
	char		name[KS_PROVIDER_MAX + 1];
	char	   *windows;		/* NULL: it has no limits */
} CachedProvider;

static MemoryContext cache_context = NULL;
static CachedProvider *cached_providers = NULL;
static int	cached_providers_n = 0;
static uint64 cached_at = 0;	/* count of invalidations then */

static void
refresh_cache(void)
{
	uint64		invalidations = ks_lookup_invalidations();

	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(TopMemoryContext, "keystone provider limits",
											  ALLOCSET_SMALL_SIZES);
	if (cached_at == invalidations && cached_providers_n < CACHED_PROVIDERS)
		return;
	MemoryContextReset(cache_context);
	cached_providers = NULL;
	cached_providers_n = 0;

	/* Noted before anything is read: what changes meanwhile counts. */
	cached_at = invalidations;
}

/*
 * Windows that cannot be read were not written by provider_define().  Nobody
 * knows what they were to be, so nothing passes.
 */
static void
check_windows(const char *windows)
{
	KsWindowSpec specs[KS_WINDOWSPEC_MAX];
	int			n;

	if (ks_windowspec_read(windows, KS_WINDOW_SLIDING, specs, &n) != NULL)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("the limits of the credential's provider cannot be read"),
				errdetail("They were not written by keystone.provider_define()."),
				errhint("The check \"provider limits\" of keystone.health names such providers."));
}

/* The windows of a provider; NULL when it has none.  Good until the next call. */
static const char *
windows_of_provider(const KsCredential *credential)
{
	CachedProvider *cached;
	KsProvider	provider;

	refresh_cache();
	for (cached = cached_providers; cached != NULL; cached = cached->next)
	{
		if (strcmp(cached->name, credential->provider) == 0)
			return cached->windows;
	}
	if (!ks_tenant_provider(credential->workspace, credential->provider, &provider) ||
		(provider.limits != NULL && provider.limits[0] == '\0'))
		provider.limits = NULL;
	if (provider.limits != NULL)
		check_windows(provider.limits);
	cached = MemoryContextAllocZero(cache_context, sizeof(*cached));
	if (provider.limits != NULL)
		cached->windows = MemoryContextStrdup(cache_context, provider.limits);
	strlcpy(cached->name, credential->provider, sizeof(cached->name));
	cached->next = cached_providers;
	cached_providers = cached;
	cached_providers_n++;
	return cached->windows;
}

char *
ks_enforce_unreadable(void)
{
	static KsPlan plan = {.sql =
		"SELECT name, limits FROM keystone.providers WHERE limits <> '' ORDER BY name"
	};
	KsWindowSpec specs[KS_WINDOWSPEC_MAX];
	KsArgs		args = {0};
	KsSpi		spi;
	StringInfoData names;
	int			rows;
	int			n;

	initStringInfo(&names);
	ks_spi_begin(&spi);
	rows = (int) ks_spi_read(&plan, &args);
	for (int i = 0; i < rows; i++)
	{
		if (ks_windowspec_read(ks_col_text(&spi, i, 2), KS_WINDOW_SLIDING, specs, &n) != NULL)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", ks_escape_control(ks_col_text(&spi, i, 1)));
	}
	ks_spi_end(&spi);
	return names.len > 0 ? names.data : NULL;
}


/*-------------------------------------------------------------------------
 * What binds an attempt
 *-------------------------------------------------------------------------
 */

/* Adds the windows of a limit; name must live as long as the attempt. */
static void
add_limit(Attempt *attempt, const KsLimitDef *def, const char *prefix, const char *name,
		  const char *key, size_t key_len)
{
	Asked	   *asked = &attempt->asked[attempt->n];
	bool		is_definition = def->name[0] != '\0';

	if (attempt->n + def->n > KS_LIMIT_ASKS_MAX)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("too many limits bind this call"),
				errdetail("They have more than %d windows together.", KS_LIMIT_ASKS_MAX),
				errhint("Drop limits that are defined with the option enforce, see keystone.limits."));
	for (int i = 0; i < def->n; i++)
	{
		asked[i].prefix = prefix;
		asked[i].limit = name;
		strlcpy(asked[i].window, def->windows[i].name, sizeof(asked[i].window));
		memcpy(asked[i].workspace, is_definition ? def->workspace : attempt->credential->workspace, KS_ID_LEN);
		asked[i].near_percent = is_definition ? ks_limits_near(&attempt->share, def->near_percent) :
			attempt->share.soft;
	}
	(void) ks_limits_ask(def, key, key_len, 1, attempt->now, &attempt->asks[attempt->n]);
	ks_limits_lower(&attempt->share, &attempt->asks[attempt->n], def->n);
	attempt->n += def->n;
}

/* Windows that are no definition.  What guards does so also without room to
 * count. */
static void
add_windows(Attempt *attempt, const char *windows, const char *prefix, const char *name, const char *tag,
			const uint8 id[KS_ID_LEN], const char *provider)
{
	char		key[KS_ID_LEN + 64 + KS_ID_LEN + KS_PROVIDER_MAX] = {0};
	size_t		len = KS_ID_LEN + strlcpy(key + KS_ID_LEN, tag, 64) + 1;
	int			first = attempt->n;

	if (windows == NULL || windows[0] == '\0')
		return;
	memcpy(key + len, id, KS_ID_LEN);
	len += KS_ID_LEN;
	if (provider != NULL)
	{
		size_t		provider_len = strnlen(provider, KS_PROVIDER_MAX);

		memcpy(key + len, provider, provider_len);
		len += provider_len;
	}
	add_limit(attempt, ks_limits_adhoc(windows), prefix, name, key, len);
	for (int i = first; i < attempt->n; i++)
		attempt->asks[i].protect = true;
}

/* Whether a provider's own windows bind the caller. */
static bool
is_user(const KsCall *call)
{
	const char *kind;

	if (call->actor.source == KS_SOURCE_API_KEY)
		return false;
	(void) ks_principal_state(call->actor.principal, &kind);

	/* One that a token names may have no row yet. */
	return kind == NULL || strcmp(kind, "user") == 0;
}

/* The definitions that somebody wants enforced. */
static void
add_definitions(Attempt *attempt)
{
	const KsCredential *credential = attempt->credential;
	const KsLimitSubject subject = {
		.principal = attempt->call->actor.principal,
		.workspace = credential->workspace,
		.credential = credential->id,
		.provider = credential->provider,
	};
	const KsLimitDef **defs;
	char		key[KS_LIMITS_SUBJECT_MAX];
	int			n = ks_limits_enforced(credential->workspace, attempt->action, credential->provider, &defs);

	for (int i = 0; i < n; i++)
	{
		size_t		len = ks_limits_subject_key(defs[i], &subject, key);

		add_limit(attempt, defs[i], "", pstrdup(defs[i]->name), key, len);
	}
}

static void
add_provider(Attempt *attempt, const char *tag)
{
	const KsCredential *credential = attempt->credential;

	if (credential->provider != NULL && is_user(attempt->call))
		add_windows(attempt, windows_of_provider(credential), "provider:", credential->provider, tag,
					attempt->call->actor.principal, credential->provider);
}


/*-------------------------------------------------------------------------
 * Asking
 *-------------------------------------------------------------------------
 */

#define DAMAGED_DETAIL	"{\"decision\": \"deny\", \"reasons\": [{\"code\": \"error\", \"reason\": \"a policy is damaged\"}]}"

void
ks_enforce_share(const uint8 workspace[KS_ID_LEN], const KsCredential *credential, KsLimitShare *share)
{
	/* What the verb has of no credential, as that of a call site, is empty. */
	if (credential != NULL && credential->name == NULL)
		credential = NULL;
	if (!ks_policy_thresholds(workspace, credential, &share->soft, &share->hard))
		ks_error_policy(DAMAGED_DETAIL, NULL);
}

static void
begin_attempt(Attempt *attempt, const KsCall *call, const KsCredential *credential, const char *action)
{
	/* Not the asks, which are filled one by one. */
	attempt->call = call;
	attempt->credential = credential;
	attempt->action = action;
	attempt->now = GetCurrentTimestamp();
	attempt->n = 0;

	/* Else who rolls back would have loosened a limit, and left no entry. */
	if (ks_limits_changed_here())
		ks_error_denied("a limit with enforce was changed in this transaction", "Commit first.");
	ks_enforce_share(credential->workspace, credential, &attempt->share);
	ks_limits_prepare();
}

/* What refused: of the windows that did, the one that takes the longest. */
static void
describe_refusal(const Attempt *attempt, KsLimited *limited)
{
	int			i = ks_limits_tightest(attempt->asks, attempt->n);
	const KsLimitAsk *ask = &attempt->asks[i];
	const Asked *asked = &attempt->asked[i];
	TimestampTz retry_at = Max(ask->answer.retry_at, ask->blocked_until);

	memset(limited, 0, sizeof(*limited));
	limited->limit = psprintf("%s%s", asked->prefix, asked->limit);
	limited->window = pstrdup(asked->window);
	limited->period = (ask->window.algorithm == KS_WINDOW_CALENDAR ? ask->window.end - ask->window.start :
					   ask->window.period) / USECS_PER_SEC;
	limited->limit_value = ask->window.n;
	limited->remaining = Max(ask->answer.remaining, 0);
	limited->retry_after = ks_limits_seconds_until(retry_at, attempt->now);
	limited->reset_at = Max(ask->answer.reset_at, ask->blocked_until);
}

/* What is nearly used up gets an alert: definitions, and where policy has a
 * soft limit all that binds. */
static void
note_near(const Attempt *attempt)
{
	for (int i = 0; i < attempt->n; i++)
	{
		const Asked *asked = &attempt->asked[i];
		const char *name = asked->limit;

		if (asked->near_percent == 0)
			continue;
		if (asked->prefix[0] != '\0')
			name = psprintf("%s%s", asked->prefix, asked->limit);
		ks_near_check(asked->workspace, name, asked->window, asked->near_percent, &attempt->asks[i], attempt->now);
	}
}

static bool
ask(Attempt *attempt, KsLimited *limited)
{
	bool		allowed = attempt->n == 0 || ks_limit_consume(attempt->asks, attempt->n, attempt->now);

	note_near(attempt);
	if (!allowed)
		describe_refusal(attempt, limited);
	return allowed;
}

/* The windows of the settings. */
static void
add_settings(Attempt *attempt)
{
	add_windows(attempt, ks_reveal_limit, "", "keystone.reveal_limit", "reveal principal",
				attempt->call->actor.principal, NULL);
	add_windows(attempt, ks_workspace_reveal_limit, "", "keystone.workspace_reveal_limit", "reveal workspace",
				attempt->credential->workspace, NULL);
}

bool
ks_enforce_reveal(const KsCall *call, const KsCredential *credential, KsLimited *limited)
{
	Attempt		attempt;

	begin_attempt(&attempt, call, credential, ACTION_REVEAL);
	add_settings(&attempt);
	add_provider(&attempt, "reveal provider");
	add_definitions(&attempt);
	return ask(&attempt, limited);
}

void
ks_enforce_change(const KsCall *call, const KsCredential *credential)
{
	Attempt		attempt;
	KsLimited	limited;

	begin_attempt(&attempt, call, credential, ACTION_ROTATE);
	add_provider(&attempt, "rotate provider");
	add_definitions(&attempt);
	if (!ask(&attempt, &limited))
		ks_error_limited(&limited, ks_identity_over_http());
}

void
ks_enforce_export(const KsCall *call, const uint8 workspace[KS_ID_LEN])
{
	KsCredential none = {0};
	Attempt		attempt;
	KsLimited	limited;

	memcpy(none.workspace, workspace, KS_ID_LEN);
	begin_attempt(&attempt, call, &none, ACTION_REVEAL);
	add_settings(&attempt);
	add_definitions(&attempt);
	attempt.action = ACTION_EXPORT;
	add_definitions(&attempt);
	if (!ask(&attempt, &limited))
		ks_error_limited(&limited, ks_identity_over_http());
}
