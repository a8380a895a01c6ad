/*-------------------------------------------------------------------------
 *
 * test_cedar.c
 *	  Tests of Cedar's text: ks_cedar_lex, ks_cedar_text, ks_cedar_print and
 *	  the trees of ks_cedar_ast.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "ks_cedar_print.h"
#include "ks_cedar_text.h"

#define SCOPE	"permit (principal, action, resource)"

/*
 * Expressions, and how they are written back.  The writer puts parentheses
 * only where the tree asks for them, so this shows how they were read; NULL:
 * as they stand.
 */
static const struct
{
	const char *text;
	const char *written;
}			expressions[] = {

	/* literals */
	{"true", NULL},
	{"false", NULL},
	{"0", NULL},
	{"007", "7"},
	{"00000000000000000000000000000001", "1"},
	{"9223372036854775807", NULL},
	{"-9223372036854775808", NULL},
	{"- 9223372036854775808", "-9223372036854775808"},
	{"\"\"", NULL},
	{"\"a\\n\\r\\t\\\\\\0\\\"\\'\"", "\"a\\n\\r\\t\\\\\\0\\\"'\""},
	{"\"\\x41\\x7f\\u{41}\\u{0000e9}\\u{1_F511}\\u{4_1_}\"", "\"A\\x7fA\xc3\xa9\xf0\x9f\x94\x91" "A\""},
	{"\"two\nlines\"", "\"two\\nlines\""},
	{"\"*\"", NULL},
	{"User::\"alice\"", NULL},
	{"A :: B\n::\"x y\"", "A::B::\"x y\""},
	{"principal::\"x\"", NULL},
	{"permit::when::\"x\"", NULL},

	/* variables, attributes, methods */
	{"principal", NULL},
	{"context.a.b", NULL},
	{"context[\"a\"][\"b c\"].d", "context.a[\"b c\"].d"},
	{"context[\"if\"]", NULL},
	{"context[\"__cedar\"]", NULL},
	{"context.principal.contains", NULL},
	{"1.x", NULL},
	{"true.x", NULL},
	{"(1 + 2).x", NULL},
	{"[1, 2].contains(1)", NULL},
	{"context.a.containsAll([1,]).b", "context.a.containsAll([1]).b"},
	{"context.a.containsAny([])", NULL},
	{"context.a.isEmpty()", NULL},
	{"principal.hasTag(\"a\") && principal.getTag(context.b) == 1", NULL},
	{"ip(\"10.0.0.1\").isInRange(ip(\"10.0.0.0/8\"))", NULL},
	{"ip()", NULL},
	{"ip(1, 2,)", "ip(1, 2)"},
	{"context.d.offset(duration(\"1h\")).toDate() < datetime(\"2024-10-15\")", NULL},
	{"decimal(\"1.0\").lessThanOrEqual(context.x)", NULL},

	/* sets and records */
	{"[]", NULL},
	{"{}", NULL},
	{"[[1], {a: [2]}]", NULL},
	{"{b: 1, \"a c\": 2, a: 3,}", "{a: 3, \"a c\": 2, b: 1}"},
	{"{\"if\": 1, principal: 2}", NULL},

	/* signs */
	{"-1", NULL},
	{"--1", "-(-1)"},
	{"----1", "-(-(-(-1)))"},
	{"-(1)", NULL},
	{"-1.a", "-1.a"},
	{"(-1).a", NULL},
	{"!!!!true", "!(!(!(!true)))"},
	{"!context.a", NULL},
	{"-context.a", NULL},
	{"--9223372036854775808", "-(-9223372036854775808)"},

	/* how close operators bind */
	{"1 + 2 * 3 - 4", NULL},
	{"(1 + 2) * 3", NULL},
	{"1 - 2 - 3", NULL},
	{"1 - (2 - 3)", NULL},
	{"1--1", "1 - -1"},
	{"2 * (3 * 4)", NULL},
	{"true || false && true", NULL},
	{"(true || false) && true", NULL},
	{"true || (false || true)", NULL},
	{"(true || false) || true", "true || false || true"},
	{"(1 < 2) == (3 >= 4)", NULL},
	{"1 + 1 != 2 && 1 <= 2 && 1 > 2", NULL},
	{"principal in [principal, resource]", NULL},
	{"!(1 == 2)", NULL},

	/* has, like, is */
	{"context has a", NULL},
	{"context has a.b.principal", NULL},
	{"context has \"a b\"", NULL},
	{"context has \"a\"", "context has a"},
	{"context has \"if\"", NULL},
	{"1 + 2 has a", NULL},
	{"\"a\" like \"b*c\\*d**\"", NULL},
	{"\"a\" like \"\"", NULL},
	{"\"a\" like \"\\x2a\\u{2a}\\n\"", "\"a\" like \"**\\n\""},
	{"principal is User", NULL},
	{"principal is A::B in Group::\"x\"", NULL},
	{"principal is User in [Group::\"x\"] && true", NULL},
	{"(principal is User) in resource", NULL},

	/* if */
	{"if true then 1 else 2", NULL},
	{"if true then if false then 1 else 2 else 3 + 4", NULL},
	{"(if true then 1 else 2) + 3", NULL},
	{"[if true then 1 else 2, 3]", NULL},
	{"if (if true then true else false) then 1 else 2", "if if true then true else false then 1 else 2"},

	/* space and comments */
	{"\t1\v+\f2\r\n", "1 + 2"},
	{"1 // one\n+ 2 // two", "1 + 2"},
	{"//\r1", "1"},
	{"\xc2\xa0" "1\xe3\x80\x80==\xe2\x80\xa8" "1\xc2\x85", "1 == 1"},
};

/* Expressions that are refused: where, and why. */
static const struct
{
	const char *text;
	int			position;
	const char *problem;
}			bad_expressions[] = {
	{"", 0, "the text ends too early"},
	{"1 +", 3, "the text ends too early"},
	{"(1", 2, "the text ends too early"},
	{"1 2", 2, "this is not expected here"},
	{"1)", 1, "this is not expected here"},
	{"[,]", 1, "this is not expected here"},
	{"[1 2]", 3, "this is not expected here"},
	{"1 % 2", 2, "the character is not expected"},
	{"1 / 2", 2, "the character is not expected"},
	{"a = 1", 2, "the character is not expected"},
	{"1 & 2", 2, "the character is not expected"},
	{"\xc3\xa9", 0, "the character is not expected"},
	{"1 \xe2\x80\x8b", 2, "the character is not expected"},
	{"\xff", 0, "the text is not UTF-8"},
	{"\"\xed\xa0\x80\"", 1, "the text is not UTF-8"},
	{"\"\xc0\x80\"", 1, "the text is not UTF-8"},
	{"\"\xf4\x90\x80\x80\"", 1, "the text is not UTF-8"},
	{"\"\xe2\x82", 1, "the text is not UTF-8"},
	{"\"a", 0, "the string is not closed"},
	{"\"a\\\"", 0, "the string is not closed"},
	{"\"\\a\"", 1, "the escape is not valid"},
	{"\"\\*\"", 1, "the escape is not valid"},
	{"\"\\x80\"", 1, "the escape is not valid"},
	{"\"\\x4\"", 1, "the escape is not valid"},
	{"\"\\u{}\"", 1, "the escape is not valid"},
	{"\"\\u{_1}\"", 1, "the escape is not valid"},
	{"\"\\u{0000041}\"", 1, "the escape is not valid"},
	{"\"\\u{110000}\"", 1, "the escape is not valid"},
	{"\"\\u{d800}\"", 1, "the escape is not valid"},
	{"\"\\u41\"", 1, "the escape is not valid"},
	{"\"\\u{41\"", 1, "the escape is not valid"},
	{"\"a\rb\"", 2, "the escape is not valid"},
	{"\"\\\n\"", 1, "the escape is not valid"},
	{"9223372036854775808", 0, "the integer is out of range"},
	{"-9223372036854775809", 1, "the integer is out of range"},
	{"-(9223372036854775808)", 2, "the integer is out of range"},
	{"-9223372036854775808.a", 1, "the integer is out of range"},
	{"99999999999999999999999", 0, "the integer is out of range"},
	{"-----1", 4, "there are more than four signs in a row"},
	{"!!!!!true", 4, "there are more than four signs in a row"},
	{"!-1", 1, "this is not expected here"},
	{"1 == 2 == 3", 7, "relations in a row need parentheses"},
	{"1 < 2 like \"a\"", 6, "relations in a row need parentheses"},
	{"context has a has b", 14, "relations in a row need parentheses"},
	{"principal is A in A::\"a\" in A::\"b\"", 25, "relations in a row need parentheses"},
	{"1 + if true then 1 else 2", 4, "the identifier is reserved"},
	{"if true then 1", 14, "the text ends too early"},
	{"context.if", 8, "the identifier is reserved"},
	{"context.__cedar", 8, "the identifier is reserved"},
	{"{if: 1}", 1, "the identifier is reserved"},
	{"context has a.in", 14, "the identifier is reserved"},
	{"A::is::\"x\"", 3, "the identifier is reserved"},
	{"__cedar::\"x\"", 0, "the identifier is reserved"},
	{"principal is true", 13, "the identifier is reserved"},
	{"{a: 1, \"a\": 2}", 12, "a key of the record comes twice"},
	{"{1: 2}", 1, "this is not expected here"},
	{"{a}", 2, "this is not expected here"},
	{"context has \"a\".b", 15, "this is not expected here"},
	{"context has 1", 12, "this is not expected here"},
	{"context[1]", 8, "this is not expected here"},
	{"context.\"a\"", 8, "this is not expected here"},
	{"\"a\" like context", 9, "this is not expected here"},
	{"principal is \"A\"", 13, "this is not expected here"},
	{"User::{id: \"x\"}", 6, "this is not expected here"},
	{"user", 0, "there is no such variable"},
	{"A::b", 0, "there is no such variable"},
	{"foo(1)", 0, "there is no such function"},
	{"isIpv4(1)", 0, "there is no such function"},
	{"contains(1)", 0, "there is no such function"},
	{"A::ip(\"x\")", 0, "there is no such function"},
	{"principal(1)", 0, "there is no such function"},
	{"context.foo()", 8, "there is no such method"},
	{"context.ip(\"x\")", 8, "there is no such method"},
	{"context.neg()", 8, "there is no such method"},
	{"context.contains()", 8, "the method has another number of arguments"},
	{"context.isEmpty(1)", 8, "the method has another number of arguments"},
	{"ip(\"x\")(1)", 7, "this is not expected here"},
	{"?principal", 0, "templates are not supported: a slot cannot stand here"},
};

/* Policies; NULL: written back as they stand. */
static const struct
{
	const char *text;
	const char *written;
}			policies[] = {
	{"", NULL},
	{"// nothing", ""},
	{SCOPE ";\n", NULL},
	{"forbid(principal,action,resource,);", "forbid (principal, action, resource);\n"},
	{"permit (principal == U::\"a\", action == Action::\"x\", resource in R::\"q\");\n", NULL},
	{"permit (principal is U, action in A::Action::\"x\", resource is A::B in R::\"x\");\n", NULL},
	{"permit (principal, action in [], resource);\n", NULL},
	{"permit (principal, action in [Action::\"x\", Action::\"x\"], resource);\n", NULL},
	{"permit (principal, action in ([Action::\"x\",]), resource);",
	"permit (principal, action in Action::\"x\", resource);\n"},
	{"permit (principal in ((U::\"a\")), action, resource);", "permit (principal in U::\"a\", action, resource);\n"},
	{"@b(\"1\\n\") @a @if(\"\") " SCOPE ";", "@a\n@b(\"1\\n\")\n@if(\"\")\n" SCOPE ";\n"},
	{SCOPE " when { true } unless { 1 } when { {} };", SCOPE "\nwhen { true }\nunless { 1 }\nwhen { {} };\n"},
	{SCOPE "; forbid (principal, action, resource);", SCOPE ";\n\nforbid (principal, action, resource);\n"},
};

static const struct
{
	const char *text;
	int			position;
	const char *problem;
}			bad_policies[] = {
	{SCOPE, 36, "the text ends too early"},
	{SCOPE ";;", 37, "this is not expected here"},
	{SCOPE " when {};", 43, "this is not expected here"},
	{SCOPE " where {true};", 37, "this is not expected here"},
	{"allow (principal, action, resource);", 0, "this is not expected here"},
	{"permit (principal, action);", 25, "this is not expected here"},
	{"permit (action, principal, resource);", 8, "this is not expected here"},
	{"permit (principal, action, resource, context);", 37, "this is not expected here"},
	{"permit (principal: U, action, resource);", 17, "this is not expected here"},
	{"permit (principal != U::\"a\", action, resource);", 18, "this is not expected here"},
	{"permit (principal in [U::\"a\"], action, resource);", 21, "this is not expected here"},
	{"permit (principal, action is Action, resource);", 26, "this is not expected here"},
	{"permit (principal == principal, action, resource);", 21, "an entity must stand here"},
	{"permit (principal, action == User::\"x\", resource);", 29, "an entity of type Action must stand here"},
	{"permit (principal, action in [MyAction::\"x\"], resource);", 30, "an entity of type Action must stand here"},
	{"permit (principal == ?principal, action, resource);", 21,
	"templates are not supported: a slot cannot stand here"},
	{"permit (principal, action, resource in ?resource);", 39,
	"templates are not supported: a slot cannot stand here"},
	{"@a(\"1\") @a(\"2\") " SCOPE ";", 0, "an annotation comes twice"},
	{"@a(1) " SCOPE ";", 3, "this is not expected here"},
	{"\xef\xbb\xbf" SCOPE ";", 0, "the character is not expected"},
};

/* Reads from memory of exactly that size. */
static KsCedarExpr *
read_expr(const char *text, size_t len, KsCedarError *error)
{
	char	   *copy = unit_copy(text, len);
	KsCedarExpr *expr = ks_cedar_parse_expr(copy, len, error);

	free(copy);
	return expr;
}

static KsCedarPolicies *
read_policies(const char *text, size_t len, KsCedarError *error)
{
	char	   *copy = unit_copy(text, len);
	KsCedarPolicies *read = ks_cedar_parse(copy, len, error);

	free(copy);
	return read;
}

/* What is written is read back as the same tree. */
static void
check_again(const KsCedarExpr *expr, const char *name)
{
	KsCedarString written = ks_cedar_print_expr(expr);
	KsCedarError error;
	KsCedarExpr *again = read_expr(written.data, written.len, &error);

	if (CHECK(again != NULL, "%s: \"%s\" is not read: %s", name, written.data, error.problem))
		CHECK(ks_cedar_expr_equal(expr, again), "%s: \"%s\" is another tree", name, written.data);
}

static void
expressions_are_read(void)
{
	for (size_t i = 0; i < lengthof(expressions); i++)
	{
		const char *text = expressions[i].text;
		const char *expected = expressions[i].written != NULL ? expressions[i].written : text;
		KsCedarError error;
		KsCedarExpr *expr = read_expr(text, strlen(text), &error);

		if (CHECK(expr != NULL, "\"%s\": %s at %d", text, error.problem, error.position))
		{
			KsCedarString written = ks_cedar_print_expr(expr);

			CHECK(strcmp(written.data, expected) == 0, "\"%s\" is written \"%s\"", text, written.data);
			CHECK(strlen(written.data) == written.len, "\"%s\": length", text);
			check_again(expr, text);
		}
		ks_cedar_release();
	}
}

static void
expressions_are_refused(void)
{
	for (size_t i = 0; i < lengthof(bad_expressions); i++)
	{
		const char *text = bad_expressions[i].text;
		KsCedarError error;

		CHECK(read_expr(text, strlen(text), &error) == NULL, "\"%s\" is read", text);
		CHECK(error.problem != NULL && strcmp(error.problem, bad_expressions[i].problem) == 0 &&
			  error.position == bad_expressions[i].position,
			  "\"%s\": %s at %d", text, error.problem, error.position);
		ks_cedar_release();
	}
}

static void
policies_are_read(void)
{
	for (size_t i = 0; i < lengthof(policies); i++)
	{
		const char *text = policies[i].text;
		const char *expected = policies[i].written != NULL ? policies[i].written : text;
		KsCedarError error;
		KsCedarPolicies *read = read_policies(text, strlen(text), &error);
		KsCedarPolicies *again;
		KsCedarString written;

		if (!CHECK(read != NULL, "\"%s\": %s at %d", text, error.problem, error.position))
			continue;
		written = ks_cedar_print(read);
		CHECK(written.len == strlen(expected) && memcmp(written.data, expected, written.len) == 0,
			  "\"%s\" is written \"%s\"", text, written.data);
		again = read_policies(written.data, written.len, &error);
		if (!CHECK(again != NULL && again->npolicies == read->npolicies, "\"%s\" again", text))
			continue;
		for (int j = 0; j < read->npolicies; j++)
		{
			char		id[32];

			snprintf(id, sizeof(id), "policy%d", j);
			CHECK(strcmp(read->policies[j].id.data, id) == 0, "\"%s\": id %s", text, read->policies[j].id.data);
			CHECK(ks_cedar_policy_equal(&read->policies[j], &again->policies[j]), "\"%s\" is another", text);
		}
		ks_cedar_release();
	}
}

static void
policies_are_refused(void)
{
	for (size_t i = 0; i < lengthof(bad_policies); i++)
	{
		const char *text = bad_policies[i].text;
		KsCedarError error;

		CHECK(read_policies(text, strlen(text), &error) == NULL, "\"%s\" is read", text);
		CHECK(error.problem != NULL && strcmp(error.problem, bad_policies[i].problem) == 0 &&
			  error.position == bad_policies[i].position,
			  "\"%s\": %s at %d", text, error.problem, error.position);
		ks_cedar_release();
	}
}

static void
cut_anywhere(void)
{
	KsCedarError error;

	/* the sanitizers and valgrind say what is wrong */
	for (size_t i = 0; i < lengthof(expressions); i++)
	{
		for (size_t n = 0; n < strlen(expressions[i].text); n++)
		{
			KsCedarExpr *expr = read_expr(expressions[i].text, n, &error);

			CHECK((expr == NULL) == (error.problem != NULL), "\"%.*s\"", (int) n, expressions[i].text);
			ks_cedar_release();
		}
	}
	for (size_t i = 0; i < lengthof(policies); i++)
	{
		for (size_t n = 0; n < strlen(policies[i].text); n++)
		{
			KsCedarPolicies *read = read_policies(policies[i].text, n, &error);

			CHECK((read == NULL) == (error.problem != NULL), "\"%.*s\"", (int) n, policies[i].text);
			ks_cedar_release();
		}
	}
}

static void
nul_is_kept(void)
{
	static const char text[] = "{\"a\0b\": \"\\0\", \"a\": \"\" like \"a\0*\\0\"}";
	KsCedarError error;
	KsCedarExpr *expr = read_expr(text, sizeof(text) - 1, &error);
	KsCedarExpr *pattern;

	if (CHECK(expr != NULL, "%s at %d", error.problem, error.position))
	{
		CHECK(expr->of.list[0].len == 1 && expr->of.list[1].len == 3, "the keys");
		CHECK(expr->operands[1]->of.string.len == 1, "the string");
		pattern = expr->operands[0];
		CHECK(pattern->nlist == 2 && pattern->of.list[0].len == 2 && pattern->of.list[1].len == 1, "the pattern's parts");
		check_again(expr, "NUL");
	}
	ks_cedar_release();
	CHECK(read_expr("1\0", 2, &error) == NULL && error.position == 1, "NUL is white space");
	ks_cedar_release();
}

/* A text of n times one thing, something, and n times another. */
static KsCedarExpr *
read_nested(const char *before, const char *middle, const char *after, int n, KsCedarError *error)
{
	size_t		size = (size_t) n * (strlen(before) + strlen(after)) + strlen(middle) + 1;
	char	   *text = malloc(size);
	char	   *at = text;
	KsCedarExpr *expr;

	if (text == NULL)
		abort();
	for (int i = 0; i < n; i++)
		at += snprintf(at, size - (size_t) (at - text), "%s", before);
	at += snprintf(at, size - (size_t) (at - text), "%s", middle);
	for (int i = 0; i < n; i++)
		at += snprintf(at, size - (size_t) (at - text), "%s", after);
	expr = read_expr(text, (size_t) (at - text), error);
	free(text);
	return expr;
}

static void
depth_is_bounded(void)
{
	static const struct
	{
		const char *before;
		const char *middle;
		const char *after;
		int			most;		/* that may be nested */
	}			shapes[] = {
		{"(", "1", ")", KS_CEDAR_DEPTH_MAX - 1},
		{"[", "1", "]", KS_CEDAR_DEPTH_MAX - 1},
		{"{a: ", "1", "}", KS_CEDAR_DEPTH_MAX - 1},
		{"ip(", "1", ")", KS_CEDAR_DEPTH_MAX - 1},
		{"!(", "true", ")", KS_CEDAR_DEPTH_MAX - 1},
		{"1 + (", "1", ")", KS_CEDAR_DEPTH_MAX - 1},
		{"if true then 1 else ", "1", "", KS_CEDAR_DEPTH_MAX - 1},
		{"if ", "1", " then 1 else 2", KS_CEDAR_DEPTH_MAX - 1},
		{"1 || ", "1", "", KS_CEDAR_DEPTH_MAX - 1},
		{"", "context", ".a", KS_CEDAR_DEPTH_MAX - 1},
		{"1 * (1 + (1 == (true && (", "1", "))))", (KS_CEDAR_DEPTH_MAX - 1) / 4},
	};
	KsCedarError error;

	for (size_t i = 0; i < lengthof(shapes); i++)
	{
		KsCedarExpr *expr = read_nested(shapes[i].before, shapes[i].middle, shapes[i].after, shapes[i].most, &error);

		if (CHECK(expr != NULL, "\"%s\": %s", shapes[i].before, error.problem))
		{
			CHECK(expr->depth <= KS_CEDAR_DEPTH_MAX, "\"%s\": too deep", shapes[i].before);
			check_again(expr, shapes[i].before);
		}
		expr = read_nested(shapes[i].before, shapes[i].middle, shapes[i].after, shapes[i].most + 1, &error);
		CHECK(expr == NULL && strcmp(error.problem, "the expression nests too deep") == 0,
			  "\"%s\" once more: %s", shapes[i].before, error.problem);
		expr = read_nested(shapes[i].before, shapes[i].middle, shapes[i].after, 100000, &error);
		CHECK(expr == NULL, "\"%s\" very often", shapes[i].before);
		ks_cedar_release();
	}
}

static KsCedarString
random_string(void)
{
	static const char *const parts[] = {
		"a", "if", "*", "\\", "\"", "\n", "\r", "'", " ", "\x01", "\x7f", "//", "\xc3\xb6", "\xf0\x9f\x94\x91", "principal"
	};
	char		data[64];
	size_t		len = 0;

	for (uint32 n = unit_random() % 4; n > 0; n--)
	{
		const char *part = parts[unit_random() % lengthof(parts)];

		memcpy(data + len, part, strlen(part));
		len += strlen(part);
	}
	if (unit_random() % 8 == 0)
		data[len++] = '\0';
	return ks_cedar_string(data, len);
}

static KsCedarString
random_identifier(void)
{
	static const char *const names[] = {"a", "b1", "_", "principal", "permit", "ip", "contains", "A"};
	const char *name = names[unit_random() % lengthof(names)];

	return ks_cedar_string(name, strlen(name));
}

static KsCedarString
random_type(void)
{
	static const char *const names[] = {"A", "A::B", "Action", "x::Action"};
	const char *name = names[unit_random() % lengthof(names)];

	return ks_cedar_string(name, strlen(name));
}

static void
fill_literal(KsCedarExpr *node)
{
	static const int64 integers[] = {0, 1, -1, INT64_MAX, INT64_MIN};

	switch (node->kind)
	{
		case KS_CEDAR_BOOL:
			node->of.boolean = unit_random() % 2;
			break;
		case KS_CEDAR_LONG:
			node->of.integer = integers[unit_random() % lengthof(integers)];
			break;
		case KS_CEDAR_STRING:
			node->of.string = random_string();
			break;
		case KS_CEDAR_ENTITY:
			node->of.uid.type = random_type();
			node->of.uid.id = random_string();
			break;
		default:
			node->of.var = (KsCedarVar) (unit_random() % KS_CEDAR_VARS);
			break;
	}
}

/* What a node has besides its operands. */
static void
fill(KsCedarExpr *node)
{
	KsCedarString list[4];
	int			nlist = 1 + (int) (unit_random() % lengthof(list));

	switch (node->kind)
	{
		case KS_CEDAR_GET_ATTR:
			node->of.string = random_string();
			break;
		case KS_CEDAR_IS:
			node->of.string = random_type();
			break;
		case KS_CEDAR_HAS_ATTR:
			for (int i = 0; i < nlist; i++)
				list[i] = nlist == 1 ? random_string() : random_identifier();
			ks_cedar_set_list(node, nlist, list);
			break;
		case KS_CEDAR_LIKE:
			for (int i = 0; i < nlist; i++)
				list[i] = random_string();
			ks_cedar_set_list(node, nlist, list);
			break;
		case KS_CEDAR_CALL:
			do
				node->of.function = (KsCedarFunction) (unit_random() % KS_CEDAR_FUNCTIONS);
			while (ks_cedar_functions[node->of.function].method && node->noperands == 0);
			break;
		default:
			if (node->noperands == 0)
				fill_literal(node);
			break;
	}
}

static int
random_noperands(KsCedarKind kind)
{
	const KsCedarOperator *operator = ks_cedar_operator_of(kind);

	if (operator != NULL)
		return operator->noperands;
	switch (kind)
	{
		case KS_CEDAR_GET_ATTR:
		case KS_CEDAR_HAS_ATTR:
		case KS_CEDAR_LIKE:
			return 1;
		case KS_CEDAR_IS:
			return 1 + (int) (unit_random() % 2);
		case KS_CEDAR_SET:
		case KS_CEDAR_RECORD:
		case KS_CEDAR_CALL:
			return (int) (unit_random() % 4);
		default:
			return 0;
	}
}

/* A tree of any shape, which need not make sense. */
static KsCedarExpr *
random_expr(int depth)
{
	KsCedarKind kind = (KsCedarKind) (unit_random() % (depth > 0 ? KS_CEDAR_CALL + 1 : KS_CEDAR_VAR + 1));
	int			noperands = random_noperands(kind);
	KsCedarExpr *operands[3];
	KsCedarString keys[3];
	KsCedarError error = {NULL, -1, NULL};
	KsCedarExpr *node;

	for (int i = 0; i < noperands; i++)
		operands[i] = random_expr(depth - 1);
	if (kind == KS_CEDAR_RECORD)
	{
		for (int i = 0; i < noperands; i++)
			keys[i] = random_string();
		node = ks_cedar_record(-1, noperands, keys, operands, &error);
		return node != NULL ? node : random_expr(0);
	}
	node = ks_cedar_node(kind, -1, noperands, operands, &error);
	fill(node);
	return node;
}

static void
round_trips(void)
{
	int			rounds = unit_soak ? 1000000 : 20000;

	for (int i = 0; i < rounds; i++)
	{
		char		name[32];

		snprintf(name, sizeof(name), "round %d", i);
		check_again(random_expr((int) (unit_random() % 6)), name);
		ks_cedar_release();
	}
}

static void
names_are_told_apart(void)
{
	static const struct
	{
		const char *name;
		bool		word;
		bool		identifier;
		bool		path;
	}			names[] = {
		{"", false, false, false},
		{"a", true, true, true},
		{"_9", true, true, true},
		{"9a", false, false, false},
		{"a-b", false, false, false},
		{"if", true, false, false},
		{"__cedar", true, false, false},
		{"__cedarx", true, true, true},
		{"A::B", false, false, true},
		{"A::if", false, false, false},
		{"A:B", false, false, false},
		{"A::", false, false, false},
		{"::A", false, false, false},
		{"A:", false, false, false},
		{"A :: B", false, false, false},
		{"\xc3\xa9", false, false, false},
	};

	for (size_t i = 0; i < lengthof(names); i++)
	{
		KsCedarString name = {unit_copy(names[i].name, strlen(names[i].name)), strlen(names[i].name)};

		CHECK(ks_cedar_is_word(name) == names[i].word, "\"%s\" as a word", names[i].name);
		CHECK(ks_cedar_is_identifier(name) == names[i].identifier, "\"%s\" as an identifier", names[i].name);
		CHECK(ks_cedar_is_path(name) == names[i].path, "\"%s\" as a path", names[i].name);
		free((char *) name.data);
	}
}

const UnitTest cedar_tests[] = {
	{"Cedar's expressions are read as their grammar says", expressions_are_read},
	{"what is no expression of Cedar is refused where it is wrong", expressions_are_refused},
	{"Cedar's policies are read as their grammar says", policies_are_read},
	{"what is no policy of Cedar is refused where it is wrong", policies_are_refused},
	{"Cedar cut anywhere is read within its bounds", cut_anywhere},
	{"NUL is a character of Cedar's strings", nul_is_kept},
	{"however deep Cedar nests, its depth is bounded", depth_is_bounded},
	{"any tree that is written as Cedar is read back the same", round_trips},
	{"Cedar's identifiers and paths are told from other names", names_are_told_apart},
	{NULL, NULL}
};
