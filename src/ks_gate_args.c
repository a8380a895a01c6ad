/*-------------------------------------------------------------------------
 *
 * ks_gate_args.c
 *	  What a verb would ask policy about, checked for somebody who asks for
 *	  approval of it beforehand.
 *
 * The table of verbs below stands beside the one in ks_gate.h; what each makes
 * is tested by the arguments that its own PT428 has ready.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "ks_cedar_json.h"
#include "ks_error.h"
#include "ks_gate_args.h"
#include "ks_jsonb.h"
#include "ks_policy.h"
#include "ks_text.h"
#include "ks_vault_args.h"

/* A member of parameters whose name says that it is a secret. */
static const char *const secret_names[] = {"value", "values", "secret", "password", "token"};

/* A verb's parameter.  check raises what is wrong with its value. */
typedef struct Parameter
{
	const char *name;
	bool		required;
	void		(*check) (const KsPolicyRequest *request, const JsonbValue *value);
} Parameter;

typedef struct Verb
{
	const char *action;
	const Parameter *parameters;
	int			n;
} Verb;


/*-------------------------------------------------------------------------
 * Secrets
 *-------------------------------------------------------------------------
 */

/* Whether a key of an object says, in whatever case, that it is a secret. */
static bool
is_secret_name(const JsonbValue *key)
{
	for (size_t i = 0; i < lengthof(secret_names); i++)
	{
		if (key->val.string.len == (int) strlen(secret_names[i]) &&
			pg_strncasecmp(key->val.string.val, secret_names[i], (size_t) key->val.string.len) == 0)
			return true;
	}
	return false;
}

static bool
is_key(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) && memcmp(key->val.string.val, name, strlen(name)) == 0;
}

void
ks_gate_args_refuse_secrets(const char *action, const Jsonb *parameters)
{
	bool		of_policy = strcmp(action, "policy_put") == 0;
	JsonbIterator *iterator = JsonbIteratorInit(unconstify(JsonbContainer *, &parameters->root));
	JsonbIteratorToken token;
	JsonbValue	item;
	int			depth = 0;
	bool		skip = false;

	/* A document has literals of Cedar, which are called Value. */
	while ((token = JsonbIteratorNext(&iterator, &item, skip)) != WJB_DONE)
	{
		skip = false;
		if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
			depth++;
		else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY)
			depth--;
		if (token != WJB_KEY)
			continue;
		if (is_secret_name(&item))
			ks_error_invalid("parameters", "an object without the value",
							 "An approval is not bound to the value: voters see all that a request has.");
		skip = of_policy && depth == 1 && is_key(&item, "document");
	}
}


/*-------------------------------------------------------------------------
 * Values
 *-------------------------------------------------------------------------
 */

/* A string's copy; NULL for another value. */
static char *
text_of(const JsonbValue *value)
{
	return value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}

static char *
require_text(const JsonbValue *value, const char *parameter)
{
	char	   *word = text_of(value);

	if (word == NULL)
		ks_error_invalid(parameter, "a string", NULL);
	return word;
}

/* A name as the verb would have stored it. */
static void
check_name(const JsonbValue *value, const char *parameter, int max)
{
	char	   *word = require_text(value, parameter);

	if (strcmp(ks_text_name(parameter, cstring_to_text(word), max), word) != 0)
		ks_error_invalid(parameter, "in Unicode normalization form NFC", NULL);
}

static void
check_provider(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	check_name(value, "parameters.provider", KS_PROVIDER_MAX);
}

static void
check_kind(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	check_name(value, "parameters.kind", KS_KIND_MAX);
}

static void
check_description(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	char	   *word = require_text(value, "parameters.description");

	(void) ks_text_free("parameters.description", cstring_to_text(word), KS_DESCRIPTION_MAX);
}

/* A time as jsonb has it, in UTC. */
static void
check_expiry(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	char	   *word = require_text(value, "parameters.expires_at");
	char		made[MAXDATELEN + 1];
	const int	utc = 0;
	Datum		time;

	time = DirectFunctionCall3(timestamptz_in, CStringGetDatum(word), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	(void) JsonEncodeDateTime(made, time, TIMESTAMPTZOID, &utc);
	if (strcmp(made, word) != 0)
		ks_error_invalid("parameters.expires_at", "a time such as 2030-12-31T18:00:00+00:00", NULL);
}

/* An array of strings as text[]. */
static Datum
texts_of(const JsonbValue *value, const char *parameter)
{
	JsonbContainer *array = value->type == jbvBinary ? value->val.binary.data : NULL;
	Datum	   *elements;
	int			n;

	if (array == NULL || !JsonContainerIsArray(array))
		ks_error_invalid(parameter, "an array of strings", NULL);
	n = (int) JsonContainerSize(array);
	elements = palloc(Max(n, 1) * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		char	   *word = text_of(getIthJsonbValueFromContainer(array, (uint32) i));

		if (word == NULL)
			ks_error_invalid(parameter, "an array of strings", NULL);
		elements[i] = CStringGetTextDatum(word);
	}
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
check_tags(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	ks_check_tags(texts_of(value, "parameters.tags"));
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

static void
check_metadata(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	if (!is_object(value))
		ks_error_invalid("parameters.metadata", "a JSON object", NULL);
	ks_check_metadata(JsonbValueToJsonb(unconstify(JsonbValue *, value)));
}

static void
check_personal(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	if (value->type != jbvBool || !value->val.boolean)
		ks_error_invalid("parameters.personal", "true, or not there", NULL);
}

static void
check_state(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	if (strcmp(require_text(value, "parameters.state"), "pending") != 0)
		ks_error_invalid("parameters.state", "pending, or not there", NULL);
}

/* An interval as the verb writes it. */
static void
check_recovery(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	char	   *word = require_text(value, "parameters.recovery");
	Datum		interval = DirectFunctionCall3(interval_in, CStringGetDatum(word), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

	if (strcmp(ks_interval_text(DatumGetIntervalP(interval)), word) != 0)
		ks_error_invalid("parameters.recovery", "an interval such as P30D, in its shortest form", NULL);
}

static void
check_role(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	if (ks_role_permissions(require_text(value, "parameters.role")) == 0)
		ks_error_invalid("parameters.role", "one of owner, admin, operator, viewer, auditor, service", NULL);
}

/* Whether two arrays have the same texts. */
static bool
is_same_texts(Datum a, Datum b)
{
	Datum	   *elements[2];
	int			n[2];

	deconstruct_array(DatumGetArrayTypeP(a), TEXTOID, -1, false, TYPALIGN_INT, &elements[0], NULL, &n[0]);
	deconstruct_array(DatumGetArrayTypeP(b), TEXTOID, -1, false, TYPALIGN_INT, &elements[1], NULL, &n[1]);
	for (int i = 0; n[0] == n[1] && i < n[0]; i++)
	{
		if (strcmp(TextDatumGetCString(elements[0][i]), TextDatumGetCString(elements[1][i])) != 0)
			return false;
	}
	return n[0] == n[1];
}

/* Names of permissions, each once, in the order of the table. */
static void
check_permissions(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	Datum		given = texts_of(value, "parameters.extra_permissions");
	Datum	   *elements;
	uint32		bits = 0;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(given), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n; i++)
		bits |= ks_permission_bit(TextDatumGetCString(elements[i]));
	if (!is_same_texts(given, ks_permission_names(bits)))
		ks_error_invalid("parameters.extra_permissions", "names of permissions, each once, in the order in which a member has them", NULL);
}

/* Members of changes that are none of these are no changes. */
static void
check_changes(const JsonbValue *value, const char *const *known, int n, const char *expected)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;

	if (!is_object(value))
		ks_error_invalid("parameters.changes", expected, NULL);
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		bool		found = token != WJB_KEY;

		for (int i = 0; i < n && !found; i++)
			found = is_key(&item, known[i]);
		if (!found)
			ks_error_invalid("parameters.changes", expected, NULL);
	}
}

static void
check_rename(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	static const char *const known[] = {"name", "environment", "kind", "provider"};

	check_changes(value, known, lengthof(known), "an object with the keys name, environment, provider, kind");
}

static void
check_metadata_changes(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	static const char *const known[] = {"description", "expires_at", "tags", "metadata"};

	check_changes(value, known, lengthof(known), "an object with the keys description, expires_at, tags, metadata");
}

static void
check_basis(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	check_name(value, "parameters.basis", KS_REASON_MAX);
}

/* Numbers of entries: positive, and each is greater than the one before. */
static void
check_seqs(const KsPolicyRequest *request pg_attribute_unused(), const JsonbValue *value)
{
	JsonbContainer *array = value->type == jbvBinary ? value->val.binary.data : NULL;
	int			n = array != NULL && JsonContainerIsArray(array) ? (int) JsonContainerSize(array) : 0;
	int64		last = 0;

	for (int i = 0; i < n; i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(array, (uint32) i);
		int64		seq;

		if (item->type != jbvNumeric || !ks_cedar_json_integer(item, &seq) || seq <= last)
			ks_error_invalid("parameters.seqs", "an array of numbers of entries in ascending order", NULL);
		last = seq;
	}
	if (n == 0)
		ks_error_invalid("parameters.seqs", "an array of numbers of entries in ascending order", NULL);
}

static void
check_document(const KsPolicyRequest *request, const JsonbValue *value)
{
	KsPolicyProblems problems;
	KsPolicyDoc *doc = NULL;

	if (is_object(value))
		doc = ks_policy_doc_read(JsonbValueToJsonb(unconstify(JsonbValue *, value)), &problems);
	if (doc == NULL || doc->level == KS_LEVEL_SYSTEM)
		ks_error_invalid("parameters.document", "a workspace's policy document without errors",
						 "keystone.policy_validate() lists all that is wrong.");
	else if (request->name == NULL || strcmp(doc->id, request->name) != 0)
		ks_error_invalid("parameters.document", "of the policy that the resource names", NULL);
}


/*-------------------------------------------------------------------------
 * Verbs
 *-------------------------------------------------------------------------
 */

static const Parameter store_parameters[] = {
	{"provider", false, check_provider},
	{"kind", false, check_kind},
	{"description", false, check_description},
	{"expires_at", false, check_expiry},
	{"tags", false, check_tags},
	{"metadata", false, check_metadata},
	{"personal", false, check_personal},
	{"state", false, check_state},	/* last: not of a rotate */
};
static const Parameter rename_parameters[] = {{"changes", true, check_rename}};
static const Parameter metadata_parameters[] = {{"changes", true, check_metadata_changes}};
static const Parameter delete_parameters[] = {{"recovery", true, check_recovery}};
static const Parameter role_parameters[] = {{"role", true, check_role}, {"extra_permissions", true, check_permissions}};
static const Parameter erase_parameters[] = {{"basis", true, check_basis}, {"seqs", true, check_seqs}};
static const Parameter policy_parameters[] = {{"document", true, check_document}};

/* What is not here has no parameters. */
static const Verb verbs[] = {
	{"add_member", role_parameters, lengthof(role_parameters)},
	{"audit_erase", erase_parameters, lengthof(erase_parameters)},
	{"delete_credential", delete_parameters, lengthof(delete_parameters)},
	{"policy_put", policy_parameters, lengthof(policy_parameters)},
	{"rename", rename_parameters, lengthof(rename_parameters)},
	{"rotate", store_parameters, lengthof(store_parameters) - 1},
	{"set_member_role", role_parameters, lengthof(role_parameters)},
	{"store", store_parameters, lengthof(store_parameters)},
	{"update_metadata", metadata_parameters, lengthof(metadata_parameters)},
};

/* A verb's parameters; how many there are. */
static int
parameters_of(const char *action, const Parameter **parameters)
{
	*parameters = NULL;
	for (size_t i = 0; i < lengthof(verbs); i++)
	{
		if (strcmp(verbs[i].action, action) != 0)
			continue;
		*parameters = verbs[i].parameters;
		return verbs[i].n;
	}
	return 0;
}

/* A member of the parameters; NULL when there is none. */
static const JsonbValue *
find(const KsPolicyRequest *request, const char *name, JsonbValue *room)
{
	return ks_jsonb_member(&request->parameters->root, name, room);
}

KS_NORETURN static void refuse_parameters(const Parameter *known, int n) KS_NORETURN_END;

static void
refuse_parameters(const Parameter *known, int n)
{
	StringInfoData expected;

	initStringInfo(&expected);
	appendStringInfoString(&expected, n == 0 ? "an empty object for this action" : "an object with the keys");
	for (int i = 0; i < n; i++)
		appendStringInfo(&expected, "%s %s", i > 0 ? "," : "", known[i].name);
	ks_error_invalid("parameters", expected.data, "DETAIL of PT428, as the function itself raises it, has them ready.");
}

/* Those that the verb has, and no others. */
static void
check_parameters(const KsPolicyRequest *request)
{
	const Parameter *known;
	int			n = parameters_of(request->action, &known);
	int			found = 0;
	JsonbValue	room;

	for (int i = 0; i < n; i++)
	{
		const JsonbValue *value = find(request, known[i].name, &room);

		if (value == NULL && known[i].required)
			refuse_parameters(known, n);
		if (value == NULL)
			continue;
		known[i].check(request, value);
		found++;
	}
	if (found != (int) JsonContainerSize(unconstify(JsonbContainer *, &request->parameters->root)))
		refuse_parameters(known, n);
}


/*-------------------------------------------------------------------------
 * Resources
 *-------------------------------------------------------------------------
 */

/* What is no credential is named, or is not, as the verb does it. */
static void
check_name_of(const KsPolicyRequest *request)
{
	bool		member = strcmp(request->resource_type, "member") == 0;
	uint8		id[KS_ID_LEN];

	if (member && (request->name == NULL || !ks_text_uuid(request->name, id)))
		ks_error_invalid("resource", "a member whose name is the principal's uuid", NULL);
	if (strcmp(request->resource_type, "policy") == 0 && request->name == NULL)
		ks_error_invalid("resource", "a policy with its name", NULL);
	if (!member && strcmp(request->resource_type, "policy") != 0 && request->name != NULL)
		ks_error_invalid("resource", psprintf("a %s without a name", request->resource_type), NULL);
}

/* A credential that is there: the version is the verb's, and so is personal,
 * which a store always has, and a rotate does not. */
static void
check_stored(const KsPolicyRequest *request)
{
	const KsCredential *credential = request->credential;
	bool		stores = strcmp(request->action, "store") == 0;
	JsonbValue	room;

	if (!ks_policy_names_version(ks_policy_action(request->action)) && request->version != credential->current_version)
		ks_error_invalid("resource.version", "the current one for this action", NULL);
	if (!stores && strcmp(request->action, "rotate") != 0)
		return;
	if (stores && find(request, "state", &room) == NULL)
		ks_error_invalid("parameters.state", "pending for a credential that is there",
						 "What makes a new current version of it is the action rotate.");
	if (!stores && JsonContainerSize(unconstify(JsonbContainer *, &request->parameters->root)) == 0)
		return;
	if ((find(request, "personal", &room) != NULL) != credential->personal)
		ks_error_invalid("parameters.personal", "true if, and only if, the credential is personal", NULL);
}

/* What was said of a new credential's provider and kind, and what the
 * parameters make of it. */
static void
fill_names(const KsPolicyRequest *request, KsCredential *credential)
{
	KsProvider	provider;
	JsonbValue	room;
	const JsonbValue *given = find(request, "provider", &room);
	char	   *name = given != NULL ? text_of(given) : NULL;
	char	   *kind;

	if (credential->provider != NULL && (name == NULL || strcmp(name, credential->provider) != 0))
		ks_error_invalid("resource.provider", "that of the parameters", NULL);
	if (name != NULL)
		ks_get_provider(credential->workspace, name, &provider);
	given = find(request, "kind", &room);
	kind = given != NULL ? text_of(given) : pstrdup(name != NULL ? provider.default_kind : KS_DEFAULT_KIND);
	if (credential->kind != NULL && strcmp(kind, credential->kind) != 0)
		ks_error_invalid("resource.kind", "that of the parameters, or the provider's", NULL);
	credential->provider = name;
	credential->kind = kind;
}

/* One that is not there yet, as a store would make it. */
static void
fill_new(KsPolicyRequest *request)
{
	KsCredential *credential = palloc(sizeof(KsCredential));
	JsonbValue	room;
	const JsonbValue *tags = find(request, "tags", &room);
	Datum		texts = tags != NULL ? texts_of(tags, "parameters.tags") : ks_empty_text_array();

	*credential = *request->credential;
	if (credential->name == NULL || credential->environment == NULL)
		ks_error_invalid("resource", "an object with name and environment for a new credential", NULL);
	if (request->version != 0)
		ks_error_invalid("resource.version", "missing for a new credential", NULL);
	if (credential->tags != (Datum) 0 && !is_same_texts(credential->tags, texts))
		ks_error_invalid("resource.tags", "those of the parameters", NULL);
	if (credential->personal != (find(request, "personal", &room) != NULL))
		ks_error_invalid("resource.personal", "that of the parameters", NULL);
	credential->tags = texts;
	fill_names(request, credential);
	request->credential = credential;
}

void
ks_gate_args_check(KsPolicyRequest *request)
{
	static const uint8 nil[KS_ID_LEN] = {0};
	const KsCredential *credential = request->credential;

	check_parameters(request);
	if (strcmp(request->resource_type, "credential") != 0)
		check_name_of(request);
	else if (credential != NULL && memcmp(credential->id, nil, KS_ID_LEN) != 0)
		check_stored(request);
	else if (credential != NULL && strcmp(request->action, "store") == 0)
		fill_new(request);
	else
		ks_error_invalid("resource", "an object with the uuid of a credential", NULL);
}
