/*-------------------------------------------------------------------------
 *
 * ks_policy.c
 *	  Policies: which documents bind a request, and what they make of it.
 *
 * The documents of a workspace are read together, when the first of them is
 * asked for; those of the database are the nil workspace's.  All are dropped
 * when their table or the keyring changes, but only where a request begins:
 * the callback sets a flag.  What a decision has is copied out of the cache.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ks_error.h"
#include "ks_inval.h"
#include "ks_keyring.h"
#include "ks_policy.h"
#include "ks_policy_store.h"
#include "ks_text.h"

#define CACHED_SETS		1024
#define CACHED_BYTES	(64 * 1024 * 1024)

/* The policies of one workspace. */
typedef struct Set
{
	uint8		workspace[KS_ID_LEN];	/* key of the hash table: first */
	MemoryContext context;		/* in which lies all that it has; NULL: it has
								 * nothing */
	dlist_node	node;			/* in order of use */
	int			n_docs;
	const KsPolicyDoc **docs;
	int			n_rules;
	KsIndexedRule *rules;		/* by level, policy and place */
	KsPolicyIndex *index;
	int			n_setters;
	const KsPolicyDoc **setters;	/* of docs, those that set something, and
									 * are enforced */
	uint32		set;			/* what they set: KS_SET_... */
	const char *damaged;		/* id of a policy that is; NULL: none */
} Set;

/* What one rule makes of a request. */
typedef struct Verdict
{
	const KsIndexedRule *indexed;
	const char *clause;			/* that does not match; NULL: it matches */
	KsCedarFault fault;
	KsDecisionKind kind;
	const char *code;
	TimestampTz not_before;
	bool		guard;			/* the rule's policy is about to change: its
								 * approvals are needed */
} Verdict;

typedef struct Evaluation
{
	const KsPolicyRequest *request;
	const char *environment;
	const char *provider;
	const char *secret;
	const char *role;
	bool		cedar_made;
	int			looks;			/* that cedar was made with */
	KsCedarRequest cedar;
	bool		all;			/* keep what does not match, too */
	int			n;
	int			size;
	Verdict    *verdicts;
} Evaluation;

/* The join of verdicts. */
typedef struct Joined
{
	KsDecisionKind kind;
	TimestampTz not_before;
	KsApprovalNeed need;
	bool		reason;			/* is missing */
	int64		mfa_age;		/* 0: not wanted, or met */
	int			n_channels;
	const char **channels;
} Joined;

static const uint8 nil[KS_ID_LEN] = {0};

static HTAB *sets = NULL;
static dlist_head order_of_use = DLIST_STATIC_INIT(order_of_use);
static MemoryContext cache_context = NULL;
static bool cache_valid = false;
static uint64 cache_generation = 0;
static uint64 table_changes = 0;
static Oid	policies_table = InvalidOid;

/* What ks_policy_thresholds() found last for no credential; as long as the
 * cache lasts. */
static struct
{
	bool		known;
	bool		sound;
	uint8		workspace[KS_ID_LEN];
	int32		soft;
	int32		hard;
}			last_thresholds;

const char *
ks_decision_name(KsDecisionKind kind)
{
	static const char *const names[] = {
		[KS_PERMIT] = "permit",
		[KS_REQUIRE] = "require",
		[KS_DEFER] = "defer",
		[KS_DENY] = "deny",
	};

	return names[kind];
}


/* By name.  What has no permission here is for owners. */
static const KsPolicyAction actions[] = {
	{"add_member", KS_PERM_WORKSPACE, "member"},
	{"audit_erase", 0, "log"},
	{"decrypt", KS_PERM_REVEAL, "workspace"},
	{"delete_credential", KS_PERM_STORE, "credential"},
	{"destroy_credential", KS_PERM_WORKSPACE, "credential"},
	{"destroy_version", KS_PERM_WORKSPACE, "credential"},
	{"encrypt", KS_PERM_STORE, "workspace"},
	{"export_bundle", 0, "workspace"},
	{"policy_drop", KS_PERM_POLICY, "policy"},
	{"policy_put", KS_PERM_POLICY, "policy"},
	{"promote", KS_PERM_ROTATE, "credential"},
	{"remove_member", KS_PERM_WORKSPACE, "member"},
	{"rename", KS_PERM_STORE, "credential"},
	{"restore_credential", KS_PERM_STORE, "credential"},
	{"reveal", KS_PERM_REVEAL, "credential"},
	{"rollback_to", KS_PERM_ROTATE, "credential"},
	{"rotate", KS_PERM_ROTATE, "credential"},
	{"rotate_workspace_key", KS_PERM_WORKSPACE, "key"},
	{"set_active", KS_PERM_STORE, "credential"},
	{"set_member_role", KS_PERM_WORKSPACE, "member"},
	{"shred_workspace", 0, "workspace"},
	{"store", KS_PERM_STORE, "credential"},
	{"transfer_ownership", 0, "member"},
	{"update_metadata", KS_PERM_STORE, "credential"},
};

bool
ks_policy_names_version(const KsPolicyAction *action)
{
	static const char *const names[] = {"destroy_version", "promote", "reveal", "rollback_to"};

	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (strcmp(names[i], action->name) == 0)
			return true;
	}
	return false;
}

const KsPolicyAction *
ks_policy_action(const char *name)
{
	for (size_t i = 0; i < lengthof(actions); i++)
	{
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	}
	return NULL;
}


/*-------------------------------------------------------------------------
 * The cache
 *-------------------------------------------------------------------------
 */

/*
 * A callback must not look into the catalog: the oid is that of the last
 * refresh.  InvalidOid stands for all relations.
 */
static void
relcache_changed(Datum arg, Oid relid)
{
	(void) arg;
	if (!OidIsValid(relid) || relid == policies_table)
	{
		cache_valid = false;
		table_changes++;
	}
}

uint64
ks_policy_changes(void)
{
	return table_changes;
}

static void
start_cache(void)
{
	HASHCTL		ctl = {.keysize = KS_ID_LEN, .entrysize = sizeof(Set)};

	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(TopMemoryContext, "keystone policies", ALLOCSET_SMALL_SIZES);
		ks_inval_register(relcache_changed);
	}
	sets = NULL;
	last_thresholds.known = false;
	dlist_init(&order_of_use);
	MemoryContextReset(cache_context);
	ctl.hcxt = cache_context;
	sets = hash_create("keystone policies", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Takes in what others have committed, and drops the cache if it is stale.
 * Nothing that it holds is in use here. */
static void
refresh_cache(void)
{
	KsSealStatus status;

	AcceptInvalidationMessages();
	ks_keyring_status(&status);
	if (cache_valid && sets != NULL && cache_generation == status.generation)
		return;

	/* Noted before anything is read: what changes meanwhile counts. */
	start_cache();
	policies_table = get_relname_relid("policies", get_namespace_oid("keystone_private", false));
	cache_generation = status.generation;
	cache_valid = true;
}

/* Notes a damaged policy, for the DBA. */
static void
note_damaged(Set *set, const KsStoredPolicy *stored)
{
	char		workspace[37];

	set->damaged = stored->row.id != NULL ? pstrdup(stored->row.id) : "";
	if (!ks_keyring_has_mac_key())
		return;
	ks_text_from_uuid(set->workspace, workspace);
	ereport(LOG,
			errcode(ERRCODE_DATA_CORRUPTED),
			errmsg("policy \"%s\" of workspace %s is damaged", ks_escape_control(set->damaged), workspace),
			errdetail("%s", stored->valid ? "Its document cannot be read." : "Its row has no valid HMAC."),
			errhint("Everything is denied there until keystone.policy_put() or keystone.policy_drop() replaces it."));
}

/* Reads a policy; NULL when it is damaged. */
static KsPolicyDoc *
read_stored(const KsStoredPolicy *stored)
{
	KsPolicyProblems problems;
	KsPolicyDoc *doc;

	if (!stored->valid)
		return NULL;
	doc = ks_policy_doc_read(stored->row.document, &problems);
	if (doc != NULL &&
		(strcmp(doc->id, stored->row.id) != 0 || doc->shadow != (strcmp(stored->row.enforcement, "shadow") == 0)))
		return NULL;
	return doc;
}

bool
ks_policy_is_readable(const KsStoredPolicy *stored)
{
	return read_stored(stored) != NULL;
}

/* A document while a set is made. */
typedef struct Loaded
{
	KsPolicyDoc *doc;
	int32		version;
} Loaded;

static int
compare_loaded(const void *a, const void *b)
{
	const KsPolicyDoc *left = ((const Loaded *) a)->doc;
	const KsPolicyDoc *right = ((const Loaded *) b)->doc;

	if (left->level != right->level)
		return left->level > right->level ? 1 : -1;
	return strcmp(left->id, right->id);
}

static void
add_loaded(Loaded *loaded, int *n, KsPolicyDoc *doc, int32 version)
{
	loaded[*n].doc = doc;
	loaded[*n].version = version;
	(*n)++;
}

static void
note_settings(Set *set, const KsPolicyDoc *doc)
{
	if (doc->shadow || doc->settings.has == 0)
		return;
	set->setters[set->n_setters++] = doc;
	set->set |= doc->settings.has;
}

/* Fills a set with documents, in the current memory context. */
static void
fill_set(Set *set, Loaded *loaded, int n)
{
	if (n > 1)
		qsort(loaded, n, sizeof(Loaded), compare_loaded);
	set->n_docs = n;
	set->docs = palloc(Max(n, 1) * sizeof(KsPolicyDoc *));
	set->setters = palloc(Max(n, 1) * sizeof(KsPolicyDoc *));
	for (int i = 0; i < n; i++)
	{
		set->docs[i] = loaded[i].doc;
		set->n_rules += loaded[i].doc->n_rules;
		note_settings(set, loaded[i].doc);
	}
	set->rules = palloc_extended(Max(set->n_rules, 1) * sizeof(KsIndexedRule), MCXT_ALLOC_HUGE);
	set->n_rules = 0;
	for (int i = 0; i < n; i++)
	{
		for (int j = 0; j < loaded[i].doc->n_rules; j++)
		{
			KsIndexedRule *indexed = &set->rules[set->n_rules++];

			indexed->doc = loaded[i].doc;
			indexed->rule = &loaded[i].doc->rules[j];
			indexed->version = loaded[i].version;
			indexed->of_database = memcmp(set->workspace, nil, KS_ID_LEN) == 0;
			indexed->looks = ks_policy_request_looks(indexed->rule->when) |
				ks_policy_request_looks(indexed->rule->unless);
		}
	}
	set->index = ks_policy_index_make(CurrentMemoryContext, set->rules, set->n_rules);
}

/*
 * Reads the documents of a workspace into a context of their own.  with (may be
 * NULL) takes the place of the one of the same id.
 */
static void
load_set(Set *set, KsPolicyDoc *with)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(old, "keystone policies loading", ALLOCSET_SMALL_SIZES);
	KsStoredPolicy *stored;
	Loaded	   *loaded;
	int			n_stored;
	int			n = 0;

	MemoryContextSwitchTo(work);
	n_stored = ks_policy_store_list(set->workspace, &stored);
	loaded = palloc((n_stored + 1) * sizeof(Loaded));
	if (n_stored > 0 || with != NULL)
	{
		set->context = AllocSetContextCreate(old, "keystone policies of a workspace", ALLOCSET_DEFAULT_SIZES);
		MemoryContextSwitchTo(set->context);
	}
	for (int i = 0; i < n_stored; i++)
	{
		KsPolicyDoc *doc;

		if (with != NULL && strcmp(stored[i].row.id, with->id) == 0)
			continue;
		doc = read_stored(&stored[i]);
		if (doc != NULL)
			add_loaded(loaded, &n, doc, stored[i].row.version);
		else if (set->damaged == NULL)
			note_damaged(set, &stored[i]);
	}
	if (with != NULL)
		add_loaded(loaded, &n, with, 0);
	if (n > 0)
		fill_set(set, loaded, n);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
}

/* Makes room: those that were not used for the longest time go, but for the
 * database's. */
static void
shrink_cache(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &order_of_use)
	{
		Set		   *set = dlist_container(Set, node, iter.cur);

		if (hash_get_num_entries(sets) < CACHED_SETS &&
			MemoryContextMemAllocated(cache_context, true) < CACHED_BYTES)
			return;
		if (memcmp(set->workspace, nil, KS_ID_LEN) == 0)
			continue;
		dlist_delete(&set->node);
		if (set->context != NULL)
			MemoryContextDelete(set->context);
		(void) hash_search(sets, set->workspace, HASH_REMOVE, NULL);
	}
}

/* The policies of a workspace; good until the cache is refreshed, or another
 * workspace's are asked for. */
static Set *
find_set(const uint8 *workspace)
{
	Set		   *set = hash_search(sets, workspace, HASH_FIND, NULL);
	Set			loaded;
	bool		found;

	if (set == NULL)
	{
		memset(&loaded, 0, sizeof(loaded));
		memcpy(loaded.workspace, workspace, KS_ID_LEN);
		load_set(&loaded, NULL);
		shrink_cache();

		/* only what was read whole enters the cache */
		if (loaded.context != NULL)
			MemoryContextSetParent(loaded.context, cache_context);
		set = hash_search(sets, workspace, HASH_ENTER, &found);
		*set = loaded;
		dlist_push_tail(&order_of_use, &set->node);
	}
	else if (dlist_tail_node(&order_of_use) != &set->node)
	{
		dlist_delete(&set->node);
		dlist_push_tail(&order_of_use, &set->node);
	}
	return set;
}

/* Whether an action changes policies. */
static bool
is_of_policies(const char *action)
{
	return strcmp(action, "policy_put") == 0 || strcmp(action, "policy_drop") == 0;
}

/* Whether the set has nothing to say of an action. */
static bool
is_silent(Set *set, const char *action)
{
	if (is_of_policies(action) && set->n_docs > 0)
		return false;
	return set->damaged == NULL &&
		(set->index == NULL || ks_policy_index_count(set->index, action) == 0);
}

bool
ks_policy_is_silent(const uint8 workspace[KS_ID_LEN], const char *action)
{
	refresh_cache();
	return is_silent(find_set(nil), action) &&
		(memcmp(workspace, nil, KS_ID_LEN) == 0 || is_silent(find_set(workspace), action));
}

/*-------------------------------------------------------------------------
 * One rule
 *-------------------------------------------------------------------------
 */

static bool
is_in_scope(const Evaluation *e, const KsPolicyDoc *doc)
{
	const KsCredential *credential = e->request->credential;

	return ks_policy_doc_is_about(doc, credential != NULL ? credential->id : NULL,
								  credential != NULL ? credential->name : NULL, e->provider);
}

/* Runs a condition; a fault counts as wanted says. */
static bool
holds(Evaluation *e, const KsIndexedRule *indexed, const KsCedarProgram *program, bool otherwise,
	  KsCedarFault *fault)
{
	KsCedarFault found;
	bool		result = false;

	if (program == NULL)
		return otherwise;
	if (!e->cedar_made || (indexed->looks & ~e->looks) != 0)
	{
		e->looks |= indexed->looks;
		ks_policy_request_cedar(e->request, e->looks, &e->cedar);
		e->cedar_made = true;
	}
	e->cedar.steps_left = KS_CEDAR_STEPS_MAX;
	found = ks_cedar_holds(program, &e->cedar, &result);
	if (found != KS_CEDAR_NO_FAULT && *fault == KS_CEDAR_NO_FAULT)
		*fault = found;
	return found == KS_CEDAR_NO_FAULT && result;
}

/*
 * The clause of a rule that does not match, NULL when all do.  With a fault
 * the answer is what the effect makes of it.
 */
static const char *
find_unmatched(Evaluation *e, const KsIndexedRule *indexed, KsCedarFault *fault)
{
	const KsPolicyRule *rule = indexed->rule;
	bool		when;
	bool		unless;

	if (!is_in_scope(e, indexed->doc))
		return "scope";
	if (!ks_glob_list_match(&rule->actions, e->request->action))
		return "actions";
	if (!ks_glob_list_match(&rule->env, e->environment))
		return "env";
	if (!ks_glob_list_match(&rule->provider, e->provider))
		return "provider";
	if (!ks_glob_list_match(&rule->secret, e->secret))
		return "secret";
	if (!ks_glob_list_match(&rule->roles, e->role))
		return "roles";
	if (!ks_policy_rule_has_principal(rule, e->request->call->actor.principal))
		return "principals";
	*fault = KS_CEDAR_NO_FAULT;
	when = holds(e, indexed, rule->when_program, true, fault);
	if (*fault == KS_CEDAR_NO_FAULT && !when)
		return "when";
	if (*fault == KS_CEDAR_NO_FAULT)
	{
		unless = holds(e, indexed, rule->unless_program, false, fault);
		if (*fault == KS_CEDAR_NO_FAULT)
			return unless ? "unless" : NULL;
		return rule->effect == KS_EFFECT_PERMIT ? "unless" : NULL;
	}
	return rule->effect == KS_EFFECT_PERMIT ? "when" : NULL;
}

/* A second factor that is proved for the future is none. */
static bool
has_mfa(const KsPolicyRequest *request, int64 max_age)
{
	return request->mfa_at != 0 && request->mfa_at <= request->now + USECS_PER_MINUTE &&
		request->now - request->mfa_at <= max_age;
}

static bool
is_met(const Evaluation *e, const KsObligation *obligation)
{
	switch (obligation->type)
	{
		case KS_OBLIGE_REASON:
			return e->request->reason != NULL && !ks_text_is_blank(e->request->reason);
		case KS_OBLIGE_MFA:
			return has_mfa(e->request, obligation->max_age);
		case KS_OBLIGE_NOTIFY:
			return true;
		default:
			return false;
	}
}

/* What a rule that matches makes of the request by itself. */
static void
find_outcome(Evaluation *e, Verdict *verdict)
{
	const KsPolicyRule *rule = verdict->indexed->rule;
	bool		windows = rule->n_allow > 0 || rule->n_deny > 0;

	verdict->kind = KS_PERMIT;
	verdict->code = "obligation";
	verdict->not_before = 0;
	if (verdict->fault != KS_CEDAR_NO_FAULT && rule->effect == KS_EFFECT_FORBID)
	{
		verdict->kind = KS_DENY;
		verdict->code = "error";
		return;
	}
	if (rule->effect == KS_EFFECT_FORBID && !windows)
	{
		verdict->kind = KS_DENY;
		verdict->code = "forbid";
		return;
	}
	if (windows && !ks_policy_windows_open(rule, e->request->now, &verdict->not_before))
	{
		verdict->kind = verdict->not_before != 0 ? KS_DEFER : KS_DENY;
		verdict->code = "window";
		return;
	}
	verdict->not_before = 0;
	for (int i = 0; i < rule->n_obligations && rule->effect != KS_EFFECT_FORBID; i++)
	{
		if (!is_met(e, &rule->obligations[i]))
			verdict->kind = KS_REQUIRE;
	}
}

static void
keep_verdict(Evaluation *e, const Verdict *verdict)
{
	if (e->n == e->size)
	{
		e->size = Max(2 * e->size, 8);
		e->verdicts = e->verdicts == NULL ? palloc(e->size * sizeof(Verdict)) :
			repalloc_huge(e->verdicts, e->size * sizeof(Verdict));
	}
	e->verdicts[e->n++] = *verdict;
}

/* Judges a rule, and keeps the verdict when it matters. */
static void
judge(void *arg, const KsIndexedRule *indexed)
{
	Evaluation *e = arg;
	Verdict		verdict = {.indexed = indexed};

	/* How many rules there are nobody bounds. */
	CHECK_FOR_INTERRUPTS();
	verdict.clause = find_unmatched(e, indexed, &verdict.fault);
	if (verdict.clause == NULL)
		find_outcome(e, &verdict);
	else if (verdict.fault == KS_CEDAR_NO_FAULT && !e->all)
		return;
	keep_verdict(e, &verdict);
}

/* What asks for somebody else's agreement: to wait is to have asked. */
static bool
is_of_approval(const KsObligation *obligation)
{
	return obligation->type == KS_OBLIGE_APPROVAL || obligation->type == KS_OBLIGE_WAIT;
}

/* Whether a policy of the set says how many must approve, all rules counted. */
static bool
sets_approvals(const Set *set, const char *id)
{
	for (int i = 0; i < set->n_docs; i++)
	{
		const KsPolicyDoc *doc = set->docs[i];

		if (!doc->shadow && strcmp(doc->id, id) == 0)
			return (doc->settings.has & KS_SET_APPROVALS) && doc->settings.approvals > 0;
	}
	return false;
}

/* A damaged policy stands for this rule: nobody can say what it asked for. */
static KsFactor keeper = {.permission = "policy", .count = 1};
static KsObligation repair_duty = {.type = KS_OBLIGE_APPROVAL, .n_factors = 1, .factors = &keeper};
static const KsPolicyRule repair_rule = {
	.id = "damaged", .effect = KS_EFFECT_OBLIGE, .n_obligations = 1, .obligations = &repair_duty,
	.reason = "the policy is damaged"
};

/* Whether a workspace has another person who holds policy. */
static bool
has_other_keeper(const uint8 *workspace, const uint8 *principal)
{
	static KsPlan plan = {.sql =
		"SELECT m.principal_id FROM keystone.members m JOIN keystone.principals p ON p.id = m.principal_id"
		" WHERE m.workspace_id = $1 AND m.principal_id <> $2 AND m.removed_at IS NULL AND p.kind = 'user'"
	};
	KsArgs		args = {0};
	KsSpi		spi;
	uint64		rows;
	uint8		(*others)[KS_ID_LEN];
	bool		found = false;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, workspace);
	ks_arg_uuid(&args, principal);
	rows = ks_spi_read(&plan, &args);
	others = MemoryContextAlloc(spi.caller, Max(rows, 1) * sizeof(*others));
	for (uint64 i = 0; i < rows; i++)
		(void) ks_col_uuid(i, 1, others[i]);
	ks_spi_end(&spi);
	for (uint64 i = 0; i < rows && !found; i++)
		found = (ks_permissions_of(others[i], workspace) & KS_PERM_POLICY) != 0;
	return found;
}

/* Whether it is known what a policy of the set says. */
static bool
is_known(const Set *set, const char *id)
{
	for (int i = 0; i < set->n_docs; i++)
	{
		if (strcmp(set->docs[i]->id, id) == 0)
			return true;
	}
	return false;
}

/*
 * Who puts or drops a damaged policy of a workspace needs another one who
 * holds policy, if there is one.
 */
static void
guard_damaged(Evaluation *e, const Set *set)
{
	Verdict		verdict = {.kind = KS_REQUIRE, .code = "obligation", .guard = true};
	KsIndexedRule *indexed;
	KsPolicyDoc *doc;
	KsStoredPolicy stored;

	if (set->damaged == NULL || memcmp(set->workspace, nil, KS_ID_LEN) == 0 || is_known(set, e->request->name) ||
		!ks_policy_store_get(set->workspace, e->request->name, &stored) || stored.row.dropped ||
		!has_other_keeper(set->workspace, e->request->call->actor.principal))
		return;
	doc = palloc0(sizeof(KsPolicyDoc));
	doc->id = e->request->name;
	doc->level = KS_LEVEL_WORKSPACE;
	indexed = palloc0(sizeof(KsIndexedRule));
	indexed->doc = doc;
	indexed->rule = &repair_rule;
	indexed->version = stored.row.version;
	verdict.indexed = indexed;
	keep_verdict(e, &verdict);
}

/*
 * Who changes a policy needs the approval that its rules ask for, whatever
 * they are about: nobody frees himself.  One that sets how many approve stands
 * behind the rules of all.  set has the policies of the place where one is
 * changed.
 */
static void
guard_policies(Evaluation *e, const Set *set)
{
	bool		all;

	if (!is_of_policies(e->request->action) || e->request->name == NULL)
		return;
	guard_damaged(e, set);
	all = sets_approvals(set, e->request->name);
	for (int i = 0; i < set->n_rules; i++)
	{
		const KsIndexedRule *indexed = &set->rules[i];
		Verdict		verdict = {.indexed = indexed, .kind = KS_REQUIRE, .code = "obligation", .guard = true};
		bool		asks = false;

		if (indexed->doc->shadow || (!all && strcmp(indexed->doc->id, e->request->name) != 0))
			continue;
		for (int j = 0; j < indexed->rule->n_obligations && !asks; j++)
			asks = is_of_approval(&indexed->rule->obligations[j]);
		if (asks)
			keep_verdict(e, &verdict);
	}
}

static int
compare_verdicts(const void *a, const void *b)
{
	const KsIndexedRule *left = ((const Verdict *) a)->indexed;
	const KsIndexedRule *right = ((const Verdict *) b)->indexed;

	if (left->of_database != right->of_database)
		return left->of_database ? -1 : 1;
	if (left != right)
		return left > right ? 1 : -1;
	return (int) ((const Verdict *) a)->guard - (int) ((const Verdict *) b)->guard;
}


/*-------------------------------------------------------------------------
 * The join of all
 *-------------------------------------------------------------------------
 */

static bool
is_same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
is_same_factor(const KsFactor *a, const KsFactor *b)
{
	return is_same_text(a->role, b->role) && is_same_text(a->permission, b->permission) &&
		is_same_text(a->group, b->group) && a->n_members == b->n_members &&
		(a->n_members == 0 || memcmp(a->members, b->members, a->n_members * KS_ID_LEN) == 0);
}

static int
compare_factors(const void *a, const void *b)
{
	const KsFactor *left = a;
	const KsFactor *right = b;
	const char *names[2][3] = {
		{left->role, left->permission, left->group}, {right->role, right->permission, right->group}
	};

	for (int i = 0; i < 3; i++)
	{
		int			order = names[0][i] == NULL || names[1][i] == NULL ?
		(names[0][i] != NULL) - (names[1][i] != NULL) : strcmp(names[0][i], names[1][i]);

		if (order != 0)
			return order;
	}
	if (left->n_members != right->n_members)
		return left->n_members > right->n_members ? 1 : -1;
	return left->n_members == 0 ? 0 : memcmp(left->members, right->members, left->n_members * KS_ID_LEN);
}

/* A copy that does not hang on the cache. */
static KsFactor
copy_factor(const KsFactor *factor)
{
	KsFactor	copy = *factor;

	copy.role = factor->role != NULL ? pstrdup(factor->role) : NULL;
	copy.permission = factor->permission != NULL ? pstrdup(factor->permission) : NULL;
	copy.group = factor->group != NULL ? pstrdup(factor->group) : NULL;
	if (factor->n_members > 0)
	{
		uint8	   *members = palloc((Size) factor->n_members * KS_ID_LEN);

		memcpy(members, factor->members, (Size) factor->n_members * KS_ID_LEN);
		copy.members = (const uint8 (*)[KS_ID_LEN]) members;
	}
	return copy;
}

/* The same factor wants the greater count; another one is wanted, too. */
static void
add_factor(KsApprovalNeed *need, const KsFactor *factor)
{
	for (int i = 0; i < need->n_factors; i++)
	{
		if (is_same_factor(&need->factors[i], factor))
		{
			need->factors[i].count = Max(need->factors[i].count, factor->count);
			return;
		}
	}
	need->factors = need->factors == NULL ? palloc(sizeof(KsFactor)) :
		repalloc(need->factors, (need->n_factors + 1) * sizeof(KsFactor));
	need->factors[need->n_factors++] = copy_factor(factor);
}

/* While they are joined, steps count from the beginning. */
static void
add_escalations(KsApprovalNeed *need, const KsObligation *obligation)
{
	int64		at = 0;

	for (int i = 0; i < obligation->n_escalations; i++)
	{
		KsEscalation *step;
		bool		known = false;

		at += obligation->escalations[i].after;
		for (int j = 0; j < need->n_escalations && !known; j++)
			known = need->escalations[j].after == at &&
				is_same_factor(&need->escalations[j].to, &obligation->escalations[i].to);
		if (known)
			continue;
		need->escalations = need->escalations == NULL ? palloc(sizeof(KsEscalation)) :
			repalloc(need->escalations, (need->n_escalations + 1) * sizeof(KsEscalation));
		step = &need->escalations[need->n_escalations++];
		step->after = at;
		step->to = copy_factor(&obligation->escalations[i].to);
	}
	need->loops = Max(need->loops, obligation->loops);
}

static int
compare_steps(const void *a, const void *b)
{
	const KsEscalation *left = a;
	const KsEscalation *right = b;

	if (left->after != right->after)
		return left->after > right->after ? 1 : -1;
	return compare_factors(&left->to, &right->to);
}

/* The lesser of two, 0 being none. */
static int64
lesser(int64 a, int64 b)
{
	return a == 0 || b == 0 ? a + b : Min(a, b);
}

static void
add_channel(Joined *join, const char *channel)
{
	for (int i = 0; i < join->n_channels; i++)
	{
		if (strcmp(join->channels[i], channel) == 0)
			return;
	}
	join->channels = join->channels == NULL ? palloc(sizeof(char *)) :
		repalloc(join->channels, (join->n_channels + 1) * sizeof(char *));
	join->channels[join->n_channels++] = channel;
}

static void
add_obligation(const Evaluation *e, Joined *join, const KsObligation *obligation)
{
	KsApprovalNeed *need = &join->need;

	switch (obligation->type)
	{
		case KS_OBLIGE_APPROVAL:
			for (int i = 0; i < obligation->n_factors; i++)
				add_factor(need, &obligation->factors[i]);
			need->timeout = lesser(need->timeout, obligation->timeout);
			need->valid_for = lesser(need->valid_for, obligation->valid_for);
			add_escalations(need, obligation);
			break;
		case KS_OBLIGE_PREVIEW:
			need->preview = true;
			need->preview_age = lesser(need->preview_age, obligation->max_age);
			break;
		case KS_OBLIGE_WAIT:
			need->wait = Max(need->wait, obligation->duration);
			break;
		case KS_OBLIGE_REASON:
			join->reason |= !is_met(e, obligation);
			break;
		case KS_OBLIGE_MFA:
			if (!is_met(e, obligation))
				join->mfa_age = lesser(join->mfa_age, obligation->max_age);
			break;
		case KS_OBLIGE_NOTIFY:
			add_channel(join, obligation->channel);
			break;
	}
}

#define DEFAULT_TIMEOUT		(24 * USECS_PER_HOUR)
#define DEFAULT_VALID_FOR	USECS_PER_HOUR

/* Who decides when nobody is named. */
static const KsFactor somebody = {.permission = "approve", .count = 1};

/* What does not hang on one obligation alone. */
static void
finish_need(KsApprovalNeed *need, int32 approvals)
{
	/* Who waits has asked, and what was asked is decided by somebody. */
	if (need->wait > 0 && need->n_factors == 0)
		add_factor(need, &somebody);
	if (need->n_factors == 0)
		return;
	if (need->timeout == 0)
		need->timeout = Max(DEFAULT_TIMEOUT, 2 * need->wait);
	if (need->valid_for == 0)
		need->valid_for = Max(DEFAULT_VALID_FOR, 2 * need->wait);
	for (int i = 0; i < need->n_factors; i++)
		need->factors[i].count = Max(need->factors[i].count, approvals);
	qsort(need->factors, need->n_factors, sizeof(KsFactor), compare_factors);
	if (need->n_escalations > 1)
		qsort(need->escalations, need->n_escalations, sizeof(KsEscalation), compare_steps);
	for (int i = need->n_escalations - 1; i > 0; i--)
		need->escalations[i].after -= need->escalations[i - 1].after;
}

/* Joins what the verdicts say; shadow: those of shadow policies, too. */
static void
join_verdicts(const Evaluation *e, bool shadow, int32 approvals, Joined *join)
{
	bool		guarded = false;

	memset(join, 0, sizeof(*join));
	for (int i = 0; i < e->n; i++)
	{
		const Verdict *verdict = &e->verdicts[i];
		const KsPolicyRule *rule = verdict->indexed->rule;

		if (verdict->clause != NULL || (verdict->indexed->doc->shadow && !shadow))
			continue;
		join->kind = Max(join->kind, verdict->kind);
		join->not_before = Max(join->not_before, verdict->not_before);
		for (int j = 0; j < rule->n_obligations; j++)
		{
			if (verdict->guard ? rule->obligations[j].type == KS_OBLIGE_APPROVAL : rule->effect != KS_EFFECT_FORBID)
				add_obligation(e, join, &rule->obligations[j]);
		}
		guarded |= verdict->guard;
	}
	if (guarded && join->need.n_factors == 0)
		add_factor(&join->need, &somebody); /* its rules have people wait */
	finish_need(&join->need, approvals);
	if (join->kind == KS_DENY)
		join->not_before = 0;
}


/*-------------------------------------------------------------------------
 * Settings
 *-------------------------------------------------------------------------
 */

#define SETTINGS	5

/* Places in setting_of(). */
#define SOFT_LIMIT	1
#define HARD_LIMIT	2

static int64
setting_of(const KsDocSettings *settings, int i)
{
	const int64 values[SETTINGS] = {
		settings->auto_redeploy, settings->soft_limit, settings->hard_limit,
		settings->max_secret_age, settings->approvals
	};

	return values[i];
}

/* A document's setting counts unless it is delegated and a deeper level, of
 * which deepest is the last, says something. */
static bool
counts(const KsPolicyDoc *doc, int i, int deepest)
{
	uint32		bit = 1U << i;

	return (doc->settings.has & bit) && ((int) doc->level == deepest || !(doc->delegates & bit));
}

/* The deepest level on which a document that is about the request sets it; -1:
 * none does. */
static int
deepest_level(const Evaluation *e, Set *const *of, int n, int i)
{
	int			deepest = -1;

	for (int j = 0; j < n; j++)
	{
		for (int k = 0; k < of[j]->n_setters && (of[j]->set & (1U << i)); k++)
		{
			const KsPolicyDoc *doc = of[j]->setters[k];

			if ((doc->settings.has & (1U << i)) && is_in_scope(e, doc))
				deepest = Max(deepest, (int) doc->level);
		}
	}
	return deepest;
}

/* What documents that are about a request make of one setting; 0: none says
 * anything. */
static int64
join_setting(const Evaluation *e, Set *const *of, int n, int i)
{
	int			deepest = deepest_level(e, of, n, i);
	int64		joined = 0;
	bool		said = false;

	if (deepest < 0)
		return 0;
	for (int j = 0; j < n; j++)
	{
		for (int k = 0; k < of[j]->n_setters; k++)
		{
			const KsPolicyDoc *doc = of[j]->setters[k];
			int64		value = setting_of(&doc->settings, i);

			if (!counts(doc, i, deepest) || !is_in_scope(e, doc))
				continue;
			if (said)
				value = (1U << i) == KS_SET_APPROVALS ? Max(joined, value) : Min(joined, value);
			joined = value;
			said = true;
		}
	}
	return joined;
}

static void
join_settings(const Evaluation *e, Set *const *of, int n, KsPolicySettings *settings, int32 *approvals)
{
	int64		values[SETTINGS];

	for (int i = 0; i < SETTINGS; i++)
		values[i] = join_setting(e, of, n, i);
	settings->auto_redeploy = values[0] != 0;
	settings->soft_limit = (int32) values[SOFT_LIMIT];
	settings->hard_limit = (int32) values[HARD_LIMIT];
	settings->max_secret_age = values[3];
	*approvals = (int32) values[4];
}


/*-------------------------------------------------------------------------
 * Decisions as JSON
 *-------------------------------------------------------------------------
 */

/* JSON that is made. */
typedef struct Writer
{
	JsonbParseState *state;
	JsonbValue *result;
} Writer;

static void
put(Writer *writer, JsonbIteratorToken token)
{
	writer->result = pushJsonbValue(&writer->state, token, NULL);
}

static void
put_string(Writer *writer, JsonbIteratorToken token, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = (int) strlen(text);
	writer->result = pushJsonbValue(&writer->state, token, &value);
}

/* Nothing for NULL. */
static void
put_text(Writer *writer, const char *key, const char *text)
{
	if (text == NULL)
		return;
	put_string(writer, WJB_KEY, key);
	put_string(writer, WJB_VALUE, text);
}

static void
put_number(Writer *writer, const char *key, int64 number)
{
	JsonbValue	value;

	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	put_string(writer, WJB_KEY, key);
	writer->result = pushJsonbValue(&writer->state, WJB_VALUE, &value);
}

static void
put_bool(Writer *writer, const char *key, bool truth)
{
	JsonbValue	value;

	value.type = jbvBool;
	value.val.boolean = truth;
	put_string(writer, WJB_KEY, key);
	writer->result = pushJsonbValue(&writer->state, WJB_VALUE, &value);
}

static void
put_duration(Writer *writer, const char *key, int64 duration)
{
	if (duration > 0)
		put_text(writer, key, ks_policy_duration_text(duration));
}

static void
put_time(Writer *writer, const char *key, TimestampTz time)
{
	JsonbValue	value;

	if (time == 0)
		return;
	value.type = jbvDatetime;
	value.val.datetime.value = TimestampTzGetDatum(time);
	value.val.datetime.typid = TIMESTAMPTZOID;
	value.val.datetime.typmod = -1;
	value.val.datetime.tz = 0;
	put_string(writer, WJB_KEY, key);
	writer->result = pushJsonbValue(&writer->state, WJB_VALUE, &value);
}

static Jsonb *
finish_json(Writer *writer)
{
	return JsonbValueToJsonb(writer->result);
}

static Jsonb *
empty_array(void)
{
	Writer		writer = {0};

	put(&writer, WJB_BEGIN_ARRAY);
	put(&writer, WJB_END_ARRAY);
	return finish_json(&writer);
}

/* The rules whose outcome is the whole's. */
static void
put_reasons(Writer *writer, const Evaluation *e, KsDecisionKind kind, bool shadow)
{
	for (int i = 0; i < e->n; i++)
	{
		const Verdict *verdict = &e->verdicts[i];
		const KsIndexedRule *indexed = verdict->indexed;

		if (verdict->clause != NULL || indexed->doc->shadow != shadow || verdict->kind != kind)
			continue;
		put(writer, WJB_BEGIN_OBJECT);
		put_text(writer, "policy", indexed->doc->id);
		put_number(writer, "version", indexed->version);
		put_text(writer, "rule", indexed->rule->id);
		put_text(writer, "effect", ks_policy_effect_name(indexed->rule->effect));
		put_text(writer, "reason", indexed->rule->reason);
		put_text(writer, "code", verdict->code);
		put(writer, WJB_END_OBJECT);
	}
}

static void
put_factor(Writer *writer, const KsFactor *factor)
{
	put_text(writer, "role", factor->role);
	put_text(writer, "permission", factor->permission);
	put_text(writer, "group", factor->group);
	if (factor->count > 0)
		put_number(writer, "count", factor->count);
}

static void
put_approval(Writer *writer, const KsApprovalNeed *need)
{
	put(writer, WJB_BEGIN_OBJECT);
	put_text(writer, "type", ks_policy_obligation_name(KS_OBLIGE_APPROVAL));
	put_string(writer, WJB_KEY, "factors");
	put(writer, WJB_BEGIN_ARRAY);
	for (int i = 0; i < need->n_factors; i++)
	{
		put(writer, WJB_BEGIN_OBJECT);
		put_factor(writer, &need->factors[i]);
		put(writer, WJB_END_OBJECT);
	}
	put(writer, WJB_END_ARRAY);
	put_duration(writer, "timeout", need->timeout);
	put_duration(writer, "valid_for", need->valid_for);
	put(writer, WJB_END_OBJECT);
}

/* An obligation that has one number of time, or none. */
static void
put_simple(Writer *writer, KsObligationType type, const char *key, int64 duration)
{
	put(writer, WJB_BEGIN_OBJECT);
	put_text(writer, "type", ks_policy_obligation_name(type));
	put_duration(writer, key, duration);
	put(writer, WJB_END_OBJECT);
}

static void
put_obligations(Writer *writer, const Joined *join)
{
	put(writer, WJB_BEGIN_ARRAY);
	if (join->kind != KS_DENY)
	{
		if (join->need.n_factors > 0)
			put_approval(writer, &join->need);
		if (join->need.preview)
			put_simple(writer, KS_OBLIGE_PREVIEW, "max_age", join->need.preview_age);
		if (join->reason)
			put_simple(writer, KS_OBLIGE_REASON, "", 0);
		if (join->mfa_age > 0)
			put_simple(writer, KS_OBLIGE_MFA, "max_age", join->mfa_age);
		if (join->need.wait > 0)
			put_simple(writer, KS_OBLIGE_WAIT, "duration", join->need.wait);
	}
	put(writer, WJB_END_ARRAY);
}

static Jsonb *
errors_json(const Evaluation *e)
{
	Writer		writer = {0};

	put(&writer, WJB_BEGIN_ARRAY);
	for (int i = 0; i < e->n; i++)
	{
		const Verdict *verdict = &e->verdicts[i];

		if (verdict->fault == KS_CEDAR_NO_FAULT || verdict->indexed->doc->shadow)
			continue;
		put(&writer, WJB_BEGIN_OBJECT);
		put_text(&writer, "policy", verdict->indexed->doc->id);
		put_text(&writer, "rule", verdict->indexed->rule->id);
		put_text(&writer, "message", ks_cedar_fault_text(verdict->fault));
		put(&writer, WJB_END_OBJECT);
	}
	put(&writer, WJB_END_ARRAY);
	return finish_json(&writer);
}

static Jsonb *
channels_json(const Joined *join)
{
	Writer		writer = {0};

	if (join->n_channels == 0)
		return NULL;
	put(&writer, WJB_BEGIN_ARRAY);
	for (int i = 0; i < join->n_channels; i++)
		put_string(&writer, WJB_ELEM, join->channels[i]);
	put(&writer, WJB_END_ARRAY);
	return finish_json(&writer);
}

/* What would hold if shadow policies were enforced; NULL when none matches. */
static Jsonb *
shadow_json(const Evaluation *e, int32 approvals)
{
	Writer		writer = {0};
	bool		any = false;
	Joined		join;

	for (int i = 0; i < e->n && !any; i++)
		any = e->verdicts[i].clause == NULL && e->verdicts[i].indexed->doc->shadow;
	if (!any)
		return NULL;
	join_verdicts(e, true, approvals, &join);
	put(&writer, WJB_BEGIN_OBJECT);
	put_text(&writer, "decision", ks_decision_name(join.kind));
	put_string(&writer, WJB_KEY, "reasons");
	put(&writer, WJB_BEGIN_ARRAY);
	put_reasons(&writer, e, join.kind, true);
	put(&writer, WJB_END_ARRAY);
	put_string(&writer, WJB_KEY, "obligations");
	put_obligations(&writer, &join);
	put_time(&writer, "not_before", join.not_before);
	put(&writer, WJB_END_OBJECT);
	return finish_json(&writer);
}

/* Of what needs no document to be denied. */
static Jsonb *
code_json(const char *code, const char *reason)
{
	Writer		writer = {0};

	put(&writer, WJB_BEGIN_ARRAY);
	put(&writer, WJB_BEGIN_OBJECT);
	put_text(&writer, "code", code);
	put_text(&writer, "reason", reason);
	put(&writer, WJB_END_OBJECT);
	put(&writer, WJB_END_ARRAY);
	return finish_json(&writer);
}


/*-------------------------------------------------------------------------
 * Evaluation
 *-------------------------------------------------------------------------
 */

static void
begin_evaluation(Evaluation *e, const KsPolicyRequest *request)
{
	const KsCredential *credential = request->credential;

	memset(e, 0, sizeof(*e));
	e->request = request;
	e->environment = credential != NULL ? credential->environment : NULL;
	e->provider = credential != NULL ? credential->provider : NULL;
	e->secret = credential != NULL ? credential->name : NULL;
	e->role = request->member != NULL ? request->member->role : NULL;
}

/* Turns verdicts into a decision. */
static void
decide(Evaluation *e, Set *const *of, int n_of, KsDecision *decision)
{
	Writer		writer = {0};
	int32		approvals = 0;
	Joined		join;

	memset(decision, 0, sizeof(*decision));
	join_settings(e, of, n_of, &decision->settings, &approvals);
	ks_policy_request_hash(e->request, decision->request_hash);
	if (e->n == 0)
	{
		decision->reasons = decision->obligations = decision->errors = empty_array();
		return;
	}
	if (e->n > 1)
		qsort(e->verdicts, e->n, sizeof(Verdict), compare_verdicts);
	join_verdicts(e, false, approvals, &join);
	decision->kind = join.kind;
	decision->not_before = join.not_before;
	if (join.kind != KS_DENY)
		decision->approval = join.need;
	put(&writer, WJB_BEGIN_ARRAY);
	put_reasons(&writer, e, join.kind, false);
	put(&writer, WJB_END_ARRAY);
	decision->reasons = finish_json(&writer);
	memset(&writer, 0, sizeof(writer));
	put_obligations(&writer, &join);
	decision->obligations = finish_json(&writer);
	decision->errors = errors_json(e);
	decision->notify = channels_json(&join);
	decision->shadow = shadow_json(e, approvals);
}

void
ks_policy_deny(const KsPolicyRequest *request, const char *code, const char *reason, KsDecision *decision)
{
	memset(decision, 0, sizeof(*decision));
	decision->kind = KS_DENY;
	decision->reasons = code_json(code, reason);
	decision->obligations = decision->errors = empty_array();
	ks_policy_request_hash(request, decision->request_hash);
}

static void
deny_as_damaged(const KsPolicyRequest *request, KsDecision *decision)
{
	ks_policy_deny(request, "error", ks_keyring_has_mac_key() ? "a policy is damaged" : "the vault is sealed",
				   decision);
}

/* The sets that bind a request; how many. */
static int
find_sets(const uint8 *workspace, Set **of)
{
	int			n = 0;

	of[n++] = find_set(nil);
	if (memcmp(workspace, nil, KS_ID_LEN) != 0)
		of[n++] = find_set(workspace);
	return n;
}

void
ks_policy_evaluate(const KsPolicyRequest *request, KsDecision *decision)
{
	const uint8 *workspace = ks_policy_request_workspace(request);
	KsIndexKey	key;
	Evaluation	e;
	Set		   *of[2];
	int			n;

	refresh_cache();
	n = find_sets(workspace, of);
	for (int i = 0; i < n; i++)
	{
		if (of[i]->damaged != NULL && !is_of_policies(request->action))
		{
			deny_as_damaged(request, decision);
			return;
		}
	}
	begin_evaluation(&e, request);
	key.environment = e.environment;
	key.provider = e.provider;
	key.secret = e.secret;
	key.role = e.role;
	key.principal = request->call->actor.principal;
	for (int i = 0; i < n; i++)
	{
		if (of[i]->index != NULL)
			ks_policy_index_visit(of[i]->index, request->action, &key, judge, &e);
	}
	guard_policies(&e, of[n - 1]);
	decide(&e, of, n, decision);
}

/* Fills in what was set of soft and hard limits; false when a policy is
 * damaged. */
static bool
find_thresholds(const uint8 *workspace, const KsCredential *credential, int32 *soft, int32 *hard)
{
	const KsPolicyRequest request = {.credential = credential};
	uint32		set = 0;
	Evaluation	e;
	Set		   *of[2];
	int			n = find_sets(workspace, of);

	*soft = *hard = 0;
	for (int i = 0; i < n; i++)
	{
		if (of[i]->damaged != NULL)
			return false;
		set |= of[i]->set;
	}
	if (!(set & (KS_SET_SOFT_LIMIT | KS_SET_HARD_LIMIT)))
		return true;
	begin_evaluation(&e, &request);
	*soft = (int32) join_setting(&e, of, n, SOFT_LIMIT);
	*hard = (int32) join_setting(&e, of, n, HARD_LIMIT);
	return true;
}

/* Without a credential it is asked for each time that somebody uses a limit. */
bool
ks_policy_thresholds(const uint8 workspace[KS_ID_LEN], const KsCredential *credential, int32 *soft, int32 *hard)
{
	refresh_cache();
	if (credential != NULL)
		return find_thresholds(workspace, credential, soft, hard);
	if (!last_thresholds.known || memcmp(last_thresholds.workspace, workspace, KS_ID_LEN) != 0)
	{
		last_thresholds.known = false;
		last_thresholds.sound = find_thresholds(workspace, NULL, &last_thresholds.soft, &last_thresholds.hard);
		memcpy(last_thresholds.workspace, workspace, KS_ID_LEN);
		last_thresholds.known = true;
	}
	*soft = last_thresholds.soft;
	*hard = last_thresholds.hard;
	return last_thresholds.sound;
}


/*-------------------------------------------------------------------------
 * Reports
 *-------------------------------------------------------------------------
 */

static void
note_damage(KsPolicyRules *rules)
{
	rules->damaged = false;
	for (int i = 0; i < rules->n_sets; i++)
		rules->damaged |= ((Set *) rules->sets[i])->damaged != NULL;
}

void
ks_policy_rules(const uint8 workspace[KS_ID_LEN], KsPolicyRules *rules)
{
	Set		   *of[2];

	refresh_cache();
	rules->n_sets = find_sets(workspace, of);
	for (int i = 0; i < rules->n_sets; i++)
		rules->sets[i] = of[i];
	note_damage(rules);
}

/* The set is the caller's, like its memory. */
void
ks_policy_rules_with(const uint8 workspace[KS_ID_LEN], const KsPolicyRules *before,
					 KsPolicyDoc *with, KsPolicyRules *after)
{
	Set		   *own = palloc0(sizeof(Set));

	memcpy(own->workspace, workspace, KS_ID_LEN);
	load_set(own, with);
	*after = *before;
	after->sets[after->n_sets - 1] = own;
	note_damage(after);
}

/* Judges all rules, one after the other. */
static void
judge_all(Evaluation *e, const KsPolicyRules *rules)
{
	for (int i = 0; i < rules->n_sets; i++)
	{
		const Set  *set = rules->sets[i];

		for (int j = 0; j < set->n_rules; j++)
			judge(e, &set->rules[j]);
	}
	guard_policies(e, rules->sets[rules->n_sets - 1]);
}

void
ks_policy_evaluate_rules(const KsPolicyRequest *request, const KsPolicyRules *rules, KsDecision *decision)
{
	Evaluation	e;

	if (rules->damaged && !is_of_policies(request->action))
	{
		deny_as_damaged(request, decision);
		return;
	}
	begin_evaluation(&e, request);
	judge_all(&e, rules);
	decide(&e, (Set *const *) rules->sets, rules->n_sets, decision);
}

Jsonb *
ks_policy_explain_rules(const KsPolicyRequest *request, const KsPolicyRules *rules)
{
	Writer		writer = {0};
	Evaluation	e;

	begin_evaluation(&e, request);
	e.all = true;
	judge_all(&e, rules);
	put(&writer, WJB_BEGIN_ARRAY);
	for (int i = 0; i < e.n; i++)
	{
		const Verdict *verdict = &e.verdicts[i];
		const KsIndexedRule *indexed = verdict->indexed;

		put(&writer, WJB_BEGIN_OBJECT);
		put_text(&writer, "level", ks_policy_level_name(indexed->doc->level));
		put_text(&writer, "policy", indexed->doc->id);
		put_number(&writer, "version", indexed->version);
		put_text(&writer, "rule", indexed->rule->id);
		put_text(&writer, "effect", ks_policy_effect_name(indexed->rule->effect));
		put_bool(&writer, "shadow", indexed->doc->shadow);
		put_bool(&writer, "matched", verdict->clause == NULL);
		put_text(&writer, "unmatched", verdict->clause);
		if (verdict->guard)
			put_bool(&writer, "guards", true);
		if (verdict->fault != KS_CEDAR_NO_FAULT)
			put_text(&writer, "error", ks_cedar_fault_text(verdict->fault));
		if (verdict->clause == NULL)
			put_text(&writer, "outcome", ks_decision_name(verdict->kind));
		put_time(&writer, "not_before", verdict->not_before);
		put(&writer, WJB_END_OBJECT);
	}
	put(&writer, WJB_END_ARRAY);
	return finish_json(&writer);
}

int
ks_policy_rules_of(const KsPolicyRules *rules, int set, const KsIndexedRule **first)
{
	const Set  *of = rules->sets[set];

	*first = of->rules;
	return of->n_rules;
}
