/*-------------------------------------------------------------------------
 *
 * ks_policy_request.c
 *	  What policy is asked about: a request, its hash, and what it looks like
 *	  to a Cedar expression.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "ks_cedar_data.h"
#include "ks_error.h"
#include "ks_guc.h"
#include "ks_policy_request.h"
#include "ks_request.h"
#include "ks_text.h"

#define HASH_PURPOSE	"keystone/approval/v1"
#define MEMBERS_MAX		16		/* of any record that is made here */

/* The epoch of PostgreSQL in Cedar's milliseconds from 1970. */
#define EPOCH_MS		((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000)

static const uint8 nil[KS_ID_LEN] = {0};

const uint8 *
ks_policy_request_workspace(const KsPolicyRequest *request)
{
	if (request->credential != NULL)
		return request->credential->workspace;
	return request->member != NULL ? request->member->workspace : nil;
}


/*-------------------------------------------------------------------------
 * The hash
 *-------------------------------------------------------------------------
 */

static void
put_bytes(StringInfo out, const void *data, size_t len)
{
	uint32		prefix = pg_hton32((uint32) len);

	appendBinaryStringInfo(out, (char *) &prefix, sizeof(prefix));
	appendBinaryStringInfo(out, data, (int) len);
}

/* NULL is not the same as "". */
static void
put_text(StringInfo out, const char *text)
{
	appendStringInfoChar(out, text != NULL ? 1 : 0);
	put_bytes(out, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
}

static void put_container(StringInfo out, JsonbContainer *container);

static void
put_value(StringInfo out, const JsonbValue *value)
{
	char	   *number;

	switch (value->type)
	{
		case jbvNull:
			appendStringInfoChar(out, 'z');
			break;
		case jbvBool:
			appendStringInfoChar(out, value->val.boolean ? 't' : 'f');
			break;
		case jbvNumeric:
			number = numeric_normalize(value->val.numeric);
			appendStringInfoChar(out, 'n');
			put_bytes(out, number, strlen(number));
			break;
		case jbvString:
			appendStringInfoChar(out, 's');
			put_bytes(out, value->val.string.val, value->val.string.len);
			break;
		case jbvBinary:
			put_container(out, value->val.binary.data);
			break;
		default:
			elog(ERROR, "unexpected type of a jsonb value: %d", (int) value->type);
	}
}

/* A member of an object. */
typedef struct Pair
{
	JsonbValue	key;
	JsonbValue	value;
} Pair;

static int
compare_pairs(const void *a, const void *b)
{
	const JsonbValue *left = &((const Pair *) a)->key;
	const JsonbValue *right = &((const Pair *) b)->key;
	int			order = memcmp(left->val.string.val, right->val.string.val,
							   Min(left->val.string.len, right->val.string.len));

	return order != 0 ? order : left->val.string.len - right->val.string.len;
}

static void
put_container(StringInfo out, JsonbContainer *container)
{
	bool		object = JsonContainerIsObject(container);
	int			size = (int) JsonContainerSize(container);
	JsonbIterator *iterator = JsonbIteratorInit(container);
	Pair	   *pairs = palloc(Max(size, 1) * sizeof(Pair));
	JsonbIteratorToken token;
	JsonbValue	item;
	int			n = 0;

	check_stack_depth();
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			pairs[n].key = item;
		else if (token == WJB_VALUE || token == WJB_ELEM)
			pairs[n++].value = item;
	}
	if (object)
		qsort(pairs, n, sizeof(Pair), compare_pairs);
	appendStringInfoChar(out, object ? 'o' : (JsonContainerIsScalar(container) ? 'v' : 'a'));
	appendStringInfo(out, "%d:", n);
	for (int i = 0; i < n; i++)
	{
		if (object)
			put_bytes(out, pairs[i].key.val.string.val, pairs[i].key.val.string.len);
		put_value(out, &pairs[i].value);
	}
	pfree(pairs);
}

void
ks_policy_request_hash(const KsPolicyRequest *request, uint8 hash[KS_DIGEST_LEN])
{
	const KsCredential *credential = request->credential;
	const KsActor *actor = &request->call->actor;
	uint32		version = pg_hton32((uint32) request->version);
	StringInfoData out;

	initStringInfo(&out);
	put_bytes(&out, HASH_PURPOSE, strlen(HASH_PURPOSE));
	put_bytes(&out, ks_policy_request_workspace(request), KS_ID_LEN);
	put_bytes(&out, actor->principal, KS_ID_LEN);
	put_text(&out, request->action);
	put_text(&out, request->resource_type);
	put_bytes(&out, credential != NULL ? credential->id : nil, KS_ID_LEN);
	put_text(&out, credential != NULL ? credential->name : request->name);
	put_text(&out, credential != NULL ? credential->environment : NULL);
	put_bytes(&out, &version, sizeof(version));
	if (request->parameters != NULL)
		put_container(&out, unconstify(JsonbContainer *, &request->parameters->root));
	else
		appendStringInfoString(&out, "o0:");
	if (ks_sha256(out.data, (size_t) out.len, hash) != KS_CRYPTO_OK)
		ks_error_crypto("compute a digest");
	pfree(out.data);
}


/*-------------------------------------------------------------------------
 * What the caller says that it is about
 *-------------------------------------------------------------------------
 */

/* A resource as it is read. */
typedef struct Resource
{
	bool		given;			/* anything but type */
	bool		described;		/* by what a credential has */
	const uint8 *credential;
	int32		version;
	const char *type;
	KsCredential is;
} Resource;

static char *
get_word(const JsonbValue *value, const char *parameter)
{
	char	   *word;

	if (value->type != jbvString || value->val.string.len == 0 || value->val.string.len > KS_NAME_MAX)
		ks_error_invalid(parameter, psprintf("a string of 1 to %d bytes", KS_NAME_MAX), NULL);
	word = pnstrdup(value->val.string.val, value->val.string.len);
	return ks_text_name(parameter, cstring_to_text(word), KS_NAME_MAX);
}

static const uint8 *
get_uuid(const JsonbValue *value, const char *parameter)
{
	char	   *word = get_word(value, parameter);
	uint8	   *id = palloc(KS_ID_LEN);

	if (!ks_text_uuid(word, id))
		ks_error_invalid(parameter, "a uuid", NULL);
	return id;
}

static int32
get_version(const JsonbValue *value)
{
	char	   *word = value->type == jbvNumeric ? numeric_normalize(value->val.numeric) : pstrdup("");

	if (strlen(word) == 0 || strlen(word) > 9 || strspn(word, "0123456789") != strlen(word) || atoi(word) < 1)
		ks_error_invalid("resource.version", "a version number", NULL);
	return atoi(word);
}

static Datum
get_tags(const JsonbValue *value)
{
	JsonbContainer *array = value->type == jbvBinary ? value->val.binary.data : NULL;
	int			n = array != NULL && JsonContainerIsArray(array) ? (int) JsonContainerSize(array) : -1;
	Datum	   *elements = palloc(Max(n, 1) * sizeof(Datum));

	if (n < 0)
		ks_error_invalid("resource.tags", "an array of strings", NULL);
	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(get_word(getIthJsonbValueFromContainer(array, (uint32) i), "resource.tags"));
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static const char *
get_type(const JsonbValue *value)
{
	static const char *const types[] = {"credential", "member", "key", "policy", "workspace", "log"};
	char	   *word = get_word(value, "resource.type");

	for (size_t i = 0; i < lengthof(types); i++)
	{
		if (strcmp(types[i], word) == 0)
			return types[i];
	}
	ks_error_invalid("resource.type", "credential, member, key, policy, workspace or log", NULL);
	return NULL;
}

/* What a credential that may not exist has; false when it is no such key. */
static bool
read_described(Resource *resource, const char *key, const JsonbValue *value)
{
	if (strcmp(key, "environment") == 0)
		resource->is.environment = get_word(value, "resource.environment");
	else if (strcmp(key, "provider") == 0)
		resource->is.provider = get_word(value, "resource.provider");
	else if (strcmp(key, "kind") == 0)
		resource->is.kind = get_word(value, "resource.kind");
	else if (strcmp(key, "tags") == 0)
		resource->is.tags = get_tags(value);
	else if (strcmp(key, "personal") == 0)
	{
		if (value->type != jbvBool)
			ks_error_invalid("resource.personal", "true or false", NULL);
		resource->is.personal = value->val.boolean;
	}
	else
		return false;
	resource->described = true;
	return true;
}

static void
read_member(Resource *resource, const char *key, const JsonbValue *value)
{
	if (strcmp(key, "type") == 0)
	{
		resource->type = get_type(value);
		return;
	}
	resource->given = true;
	if (strcmp(key, "credential") == 0)
		resource->credential = get_uuid(value, "resource.credential");
	else if (strcmp(key, "version") == 0)
		resource->version = get_version(value);
	else if (strcmp(key, "name") == 0)
		resource->is.name = get_word(value, "resource.name");
	else if (!read_described(resource, key, value))
		ks_error_invalid("resource", "an object with credential and version, with environment, provider, name, kind, tags and personal, or with type and name",
						 NULL);
}

static void
read_resource(const Jsonb *given, Resource *resource)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *key = NULL;

	if (!JB_ROOT_IS_OBJECT(given))
		ks_error_invalid("resource", "a JSON object", NULL);
	iterator = JsonbIteratorInit(unconstify(JsonbContainer *, &given->root));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			read_member(resource, key, &value);
	}
}

void
ks_policy_request_resource(const Jsonb *given, KsPolicyRequest *request)
{
	Resource   *resource = palloc0(sizeof(Resource));
	const uint8 *workspace = ks_policy_request_workspace(request);

	read_resource(given, resource);
	if (resource->type != NULL)
		request->resource_type = resource->type;
	if (strcmp(request->resource_type, "credential") != 0)
	{
		if (resource->credential != NULL || resource->described || resource->version != 0)
			ks_error_invalid("resource", "an object with type and name only", NULL);
		request->name = resource->is.name;
		return;
	}
	if (!resource->given)
		return;
	if (resource->credential != NULL)
	{
		if (resource->described || resource->is.name != NULL)
			ks_error_invalid("resource", "an object with credential and version only", "The server fills in the rest.");
		if (!ks_store_find_id(resource->credential, 0, &resource->is, NULL) || resource->is.destroyed ||
			memcmp(resource->is.workspace, workspace, KS_ID_LEN) != 0)
			ks_error_not_found(NULL);
		request->version = resource->version != 0 ? resource->version : resource->is.current_version;
	}
	else
	{
		memcpy(resource->is.workspace, workspace, KS_ID_LEN);
		memcpy(resource->is.owner, request->call->actor.principal, KS_ID_LEN);
		resource->is.is_active = true;
		request->version = resource->version;
	}
	request->credential = &resource->is;
}


/*-------------------------------------------------------------------------
 * What Cedar sees
 *-------------------------------------------------------------------------
 */

/* A record that is made. */
typedef struct Maker
{
	int			n;
	KsCedarMember members[MEMBERS_MAX];
} Maker;

static KsCedarString
string_of(const char *text)
{
	KsCedarString string = {text, strlen(text)};

	return string;
}

static void
add_value(Maker *maker, const char *key, KsCedarValue value)
{
	Assert(maker->n < MEMBERS_MAX);
	maker->members[maker->n].key = string_of(key);
	maker->members[maker->n++].value = value;
}

/* Nothing for NULL. */
static void
add_text(Maker *maker, const char *key, const char *text)
{
	if (text != NULL)
		add_value(maker, key, ks_cedar_text_value(string_of(text)));
}

static void
add_number(Maker *maker, const char *key, int64 number)
{
	add_value(maker, key, ks_cedar_number(KS_CEDAR_TYPE_LONG, number));
}

/* Cedar has milliseconds; what is earlier is rounded down. */
static void
add_time(Maker *maker, const char *key, TimestampTz time)
{
	int64		ms = time / 1000 - (time % 1000 < 0 ? 1 : 0);

	if (!TIMESTAMP_NOT_FINITE(time))
		add_value(maker, key, ks_cedar_number(KS_CEDAR_TYPE_DATETIME, ms + EPOCH_MS));
}

static char *
uuid_text(const uint8 *id)
{
	char	   *word = palloc(37);

	ks_text_from_uuid(id, word);
	return word;
}

static const KsCedarRecord *
finish(Maker *maker)
{
	return ks_cedar_make_record(maker->members, maker->n);
}

static const KsCedarRef *
make_ref(const char *type, const char *id)
{
	KsCedarUid	uid;

	uid.type = string_of(type);
	uid.id = string_of(id);
	return ks_cedar_make_ref(uid);
}

/* A set of texts, such as tags. */
static void
add_texts(Maker *maker, const char *key, Datum array)
{
	KsCedarValue *members;
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			n = 0;

	if (array == (Datum) 0)
		return;
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	members = palloc(Max(count, 1) * sizeof(KsCedarValue));
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i])
			members[n++] = ks_cedar_text_value(string_of(TextDatumGetCString(elements[i])));
	}
	add_value(maker, key, ks_cedar_make_set(members, n));
}

static void
add_permissions(Maker *maker, uint32 permissions)
{
	static const char *const names[] = {
		"view", "reveal", "store", "rotate", "approve", "audit", "policy", "workspace", "billing"
	};
	KsCedarValue members[lengthof(names)];
	int			n = 0;

	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (permissions & ks_permission_bit(names[i]))
			members[n++] = ks_cedar_text_value(string_of(names[i]));
	}
	add_value(maker, "permissions", ks_cedar_make_set(members, n));
}

static const KsCedarRecord *
principal_attrs(const KsPolicyRequest *request)
{
	const KsActor *actor = &request->call->actor;
	Maker		maker = {0};
	const char *kind = NULL;

	if (actor->source != KS_SOURCE_ANONYMOUS)
		(void) ks_principal_state(actor->principal, &kind);
	add_text(&maker, "kind", kind);
	if (request->member != NULL)
	{
		add_text(&maker, "role", request->member->role);
		add_permissions(&maker, request->member->permissions);
	}
	if (actor->delegated)
		add_value(&maker, "on_behalf_of",
				  ks_cedar_entity_value(make_ref("Keystone::Principal", uuid_text(actor->on_behalf_of))));
	add_text(&maker, "source", ks_source_name(actor->source));
	if (OidIsValid(actor->session_role))
		add_text(&maker, "db_role", GetUserNameFromId(actor->session_role, true));
	if (request->mfa_at != 0)
		add_time(&maker, "mfa_at", request->mfa_at);
	return finish(&maker);
}

/* What a credential's row says beyond KsCredential, and the workspace's. */
typedef struct RowFacts
{
	bool		found;
	uint8		created_by[KS_ID_LEN];
	TimestampTz created_at;
	TimestampTz last_rotated_at;
	const char *plan;			/* its own, or the default */
} RowFacts;

static const char *const row_attributes[] = {"created_by", "created_at", "last_rotated_at", "plan"};

static void
read_row_facts(const KsPolicyRequest *request, RowFacts *facts)
{
	static KsPlan plan = {.sql =
		"SELECT w.plan, c.created_by, c.created_at, c.last_rotated_at FROM keystone.workspaces w"
		" LEFT JOIN keystone_private.credentials c ON c.workspace_id = w.id AND c.id = $2 WHERE w.id = $1"
	};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, ks_policy_request_workspace(request));
	ks_arg_uuid(&args, request->credential != NULL ? request->credential->id : NULL);
	if (ks_spi_read(&plan, &args) == 1)
	{
		facts->plan = ks_col_text(&spi, 0, 1);
		if (facts->plan == NULL)
			facts->plan = ks_default_plan;
		facts->found = ks_col_uuid(0, 2, facts->created_by);
		(void) ks_col_time(0, 3, &facts->created_at);
		(void) ks_col_time(0, 4, &facts->last_rotated_at);
	}
	ks_spi_end(&spi);
}

/* Whether a request is about a credential that there is. */
static bool
is_stored(const KsCredential *credential)
{
	return credential != NULL && memcmp(credential->id, nil, KS_ID_LEN) != 0;
}

/* context.counts: what is committed now, uses as the log has counted them. */
static void
add_counts(Maker *context, const KsPolicyRequest *request)
{
	static KsPlan plan = {.sql =
		"SELECT (SELECT count(*) FROM keystone_private.ciphertext x WHERE x.workspace_id = $1 AND x.credential_id = $2),"
		" coalesce((SELECT u.usage_count FROM keystone_private.credential_usage u"
		" WHERE u.workspace_id = $1 AND u.credential_id = $2), 0),"
		" (SELECT count(*) FROM keystone.approval_requests a WHERE a.workspace_id = $1 AND a.requester = $3"
		" AND a.state IN ('pending', 'approved') AND a.expires_at > $4),"
		" (SELECT count(*) FROM keystone.members m JOIN keystone.principals p ON p.id = m.principal_id"
		" WHERE m.workspace_id = $1 AND m.removed_at IS NULL AND p.disabled_at IS NULL)"
	};
	static const char *const names[] = {"versions", "reveals", "open_requests", "members"};
	bool		stored = is_stored(request->credential);
	int64		numbers[lengthof(names)] = {0};
	Maker		maker = {0};
	KsArgs		args = {0};
	KsSpi		spi;

	ks_spi_begin(&spi);
	ks_arg_uuid(&args, ks_policy_request_workspace(request));
	ks_arg_uuid(&args, stored ? request->credential->id : NULL);
	ks_arg_uuid(&args, request->call->actor.principal);
	ks_arg_time(&args, true, request->now);
	(void) ks_spi_read(&plan, &args);
	for (int i = 0; i < (int) lengthof(names); i++)
		(void) ks_col_bigint(0, i + 1, &numbers[i]);
	ks_spi_end(&spi);
	for (int i = stored ? 0 : 2; i < (int) lengthof(names); i++)
		add_number(&maker, names[i], numbers[i]);
	add_value(context, "counts", ks_cedar_record_value(finish(&maker)));
}

static const KsCedarRecord *
credential_attrs(const KsPolicyRequest *request, const RowFacts *facts)
{
	const KsCredential *credential = request->credential;
	Maker		maker = {0};

	add_text(&maker, "name", credential->name);
	add_text(&maker, "environment", credential->environment);
	add_text(&maker, "provider", credential->provider);
	add_text(&maker, "kind", credential->kind);
	add_value(&maker, "personal", ks_cedar_bool(credential->personal));
	if (credential->personal)
		add_value(&maker, "owner",
				  ks_cedar_entity_value(make_ref("Keystone::Principal", uuid_text(credential->owner))));
	add_texts(&maker, "tags", credential->tags);
	add_number(&maker, "version", request->version != 0 ? request->version : credential->current_version);
	add_value(&maker, "active", ks_cedar_bool(credential->is_active));
	if (credential->has_expiry)
		add_time(&maker, "expires_at", credential->expires_at);
	if (facts->found)
	{
		add_value(&maker, "created_by",
				  ks_cedar_entity_value(make_ref("Keystone::Principal", uuid_text(facts->created_by))));
		add_time(&maker, "created_at", facts->created_at);
		add_time(&maker, "last_rotated_at", facts->last_rotated_at);
	}
	return finish(&maker);
}

static const KsCedarRecord *
context_record(const KsPolicyRequest *request, const RowFacts *facts, bool counts)
{
	const char *address = ks_request_client_address();
	Maker		maker = {0};
	KsCedarIp  *ip = palloc(sizeof(KsCedarIp));
	KsCedarValue value = {.type = KS_CEDAR_TYPE_IP};

	add_time(&maker, "now", request->now);
	if (address != NULL && ks_cedar_read_ip(address, strlen(address), ip))
	{
		value.of.ip = ip;
		add_value(&maker, "client_addr", value);
	}
	add_text(&maker, "reason", request->reason);
	if (request->approval != NULL)
		add_text(&maker, "approval", uuid_text(request->approval));
	if (request->member != NULL)
		add_text(&maker, "workspace", request->member->slug);
	add_text(&maker, "plan", facts->plan);
	if (counts)
		add_counts(&maker, request);
	if (request->claimed != NULL)
	{
		KsCedarError error = {.position = -1};
		const KsCedarValue *claimed = ks_cedar_value_from_json(request->claimed, &error);

		/* What is no value, such as a fraction, claims nothing. */
		if (claimed != NULL && claimed->type == KS_CEDAR_TYPE_RECORD)
			add_value(&maker, "claimed", *claimed);
	}
	return finish(&maker);
}

/* "Keystone::Credential" and such, with the name or id that tells it. */
static const KsCedarRef *
resource_ref(const KsPolicyRequest *request)
{
	char	   *type = psprintf("Keystone::%s", request->resource_type);
	const char *id = request->name;

	type[strlen("Keystone::")] = (char) pg_toupper((unsigned char) request->resource_type[0]);
	if (request->credential != NULL)
		id = is_stored(request->credential) ? uuid_text(request->credential->id) : request->credential->name;
	else if (strcmp(request->resource_type, "workspace") == 0)
		id = uuid_text(ks_policy_request_workspace(request));
	return make_ref(type, id != NULL ? id : "");
}

void
ks_policy_request_cedar(const KsPolicyRequest *request, int looks, KsCedarRequest *cedar)
{
	const KsCedarRef *principal = make_ref("Keystone::Principal", uuid_text(request->call->actor.principal));
	const KsCedarRef *action = make_ref("Keystone::Action", request->action);
	const KsCedarRef *resource = resource_ref(request);
	const KsCedarRef **parents = palloc(sizeof(KsCedarRef *));
	KsCedarEntities *entities = ks_cedar_entities();
	RowFacts	facts = {0};
	Maker		maker = {0};
	const KsCedarRecord *attrs;

	if (looks & KS_LOOK_ROW)
		read_row_facts(request, &facts);
	if (request->credential != NULL)
		attrs = credential_attrs(request, &facts);
	else
	{
		add_text(&maker, "name", request->name);
		attrs = finish(&maker);
	}
	parents[0] = make_ref("Keystone::Workspace", uuid_text(ks_policy_request_workspace(request)));
	ks_cedar_add_entity(entities, principal, principal_attrs(request), &ks_cedar_empty_record, NULL, 0);
	ks_cedar_add_entity(entities, action, &ks_cedar_empty_record, &ks_cedar_empty_record, NULL, 0);
	ks_cedar_add_entity(entities, resource, attrs, &ks_cedar_empty_record, parents,
						ks_cedar_ref_equal(resource, parents[0]) ? 0 : 1);
	(void) ks_cedar_finish_entities(entities);
	ks_cedar_request(cedar, entities, principal, action, resource,
					 context_record(request, &facts, (looks & KS_LOOK_COUNTS) != 0 && !request->past));
}

static bool
is_of_row(KsCedarString name)
{
	for (size_t i = 0; i < lengthof(row_attributes); i++)
	{
		if (ks_cedar_string_equal(name, string_of(row_attributes[i])))
			return true;
	}
	return false;
}

static bool
is_context(const KsCedarExpr *expr)
{
	return expr->kind == KS_CEDAR_VAR && expr->of.var == KS_CEDAR_CONTEXT;
}

/* Of the attribute, or the path, that an expression names. */
static int
looks_of_attributes(const KsCedarExpr *expr)
{
	const KsCedarString *names = expr->kind == KS_CEDAR_GET_ATTR ? &expr->of.string : expr->of.list;
	int			n = expr->kind == KS_CEDAR_GET_ATTR ? 1 : expr->nlist;
	int			looks = 0;

	for (int i = 0; i < n; i++)
	{
		if (is_of_row(names[i]))
			looks |= KS_LOOK_ROW;
	}
	if (is_context(expr->operands[0]) && ks_cedar_string_equal(names[0], string_of("counts")))
		looks |= KS_LOOK_COUNTS;
	return looks;
}

int
ks_policy_request_looks(const KsCedarExpr *expr)
{
	int			looks = 0;

	if (expr == NULL)
		return 0;
	if (is_context(expr))
		return KS_LOOK_ROW | KS_LOOK_COUNTS;
	if (expr->kind == KS_CEDAR_GET_ATTR || expr->kind == KS_CEDAR_HAS_ATTR)
	{
		looks = looks_of_attributes(expr);
		if (is_context(expr->operands[0]))
			return looks;
	}
	for (int i = 0; i < expr->noperands; i++)
		looks |= ks_policy_request_looks(expr->operands[i]);
	return looks;
}
