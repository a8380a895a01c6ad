-- cedar_authorize(): Cedar's own semantics.  What the language does is compared
-- with the public corpora and with cedar-wasm elsewhere; here is what comes in
-- and out, and the edges that those do not reach.
\set VERBOSITY default
\set SHOW_CONTEXT never

CREATE TEMP TABLE world AS SELECT '[
	{"uid": {"type": "User", "id": "ana"}, "attrs": {"level": 3, "tags": ["x", "y", "x"], "boss": {"__entity": {"type": "User", "id": "ben"}}},
	 "parents": [{"type": "Team", "id": "red"}], "tags": {"colour": "blue"}},
	{"uid": {"__entity": {"type": "Team", "id": "red"}}, "attrs": {}, "parents": [{"__entity": {"type": "Team", "id": "all"}}]},
	{"uid": "Doc::\"plan\"", "attrs": {"owner": {"__entity": {"type": "User", "id": "ana"}}}, "parents": ["Folder::\"top\""]}
]'::jsonb AS entities;

CREATE FUNCTION pg_temp.ask(policies text, context jsonb DEFAULT '{}', OUT decision text, OUT reasons text[], OUT errors text[])
	LANGUAGE sql AS $$
	SELECT a.* FROM world, keystone.cedar_authorize(policies, entities, jsonb_build_object('principal', 'User::"ana"',
		'action', jsonb_build_object('type', 'Action', 'id', 'view'),
		'resource', '{"__entity": {"type": "Doc", "id": "plan"}}'::jsonb, 'context', context)) a
	$$;
-- Whether an expression is true, false or at fault.
CREATE FUNCTION pg_temp.holds(expression text, context jsonb DEFAULT '{}') RETURNS text
	LANGUAGE sql AS $$
	SELECT CASE WHEN errors <> '{}' THEN 'fault' ELSE decision END
	FROM pg_temp.ask(format('permit(principal, action, resource) when { %s };', expression), context)
	$$;

-- Denied by default; forbid wins; a policy at fault is skipped and named; the
-- policies that decided are the reasons.
SELECT * FROM pg_temp.ask('');
SELECT * FROM pg_temp.ask('permit(principal, action, resource);');
SELECT * FROM pg_temp.ask('permit(principal, action, resource); permit(principal == User::"ben", action, resource); permit(principal, action, resource);');
SELECT * FROM pg_temp.ask('permit(principal, action, resource); forbid(principal, action, resource); forbid(principal, action, resource) when { context.missing };');
SELECT * FROM pg_temp.ask('forbid(principal, action, resource) when { 1 + true == 2 }; @id("named") permit(principal, action, resource);');
SELECT * FROM pg_temp.ask('permit(principal, action, resource) unless { principal.level };');
SELECT * FROM pg_temp.ask('permit(principal, action, resource) when { false } when { 1 };');
-- Scopes.
SELECT policy, (pg_temp.ask(format('permit(%s);', policy))).decision FROM (VALUES
	('principal == User::"ana", action, resource'), ('principal in Team::"red", action, resource'), ('principal in Team::"all", action, resource'),
	('principal in User::"ana", action, resource'), ('principal is User, action, resource'), ('principal is User in Team::"all", action, resource'),
	('principal, action == Action::"view", resource'), ('principal, action in [Action::"edit", Action::"view"], resource'),
	('principal, action, resource is Doc in Folder::"top"'),
	('principal == User::"ben", action, resource'), ('principal in Team::"blue", action, resource'), ('principal is Team, action, resource'),
	('principal is Team in Team::"all", action, resource'), ('principal, action in [], resource'), ('principal, action, resource in Doc::"top"')) v (policy);

-- Expressions: what the values are.
SELECT expression, pg_temp.holds(expression, '{"n": 9223372036854775807, "least": -9223372036854775808, "deep": {"a": {"b": 1}},
	"ip": {"__extn": {"fn": "ip", "arg": "10.1.2.3"}}, "when": {"__extn": {"fn": "offset", "args": [{"__extn": {"fn": "datetime", "arg": "1970-01-01"}},
		{"__extn": {"fn": "duration", "arg": "1d"}}]}}, "set": [1, 1, [2]], "half": {"__extn": {"fn": "ip"}}, "odd": {"__entity": 1}}') FROM (VALUES
	('principal.tags == ["y", "x"]'), ('principal.boss.level == 1'), ('principal.boss has level'), ('resource.owner.level == 3'),
	('principal.hasTag("colour") && principal.getTag("colour") == "blue"'), ('principal.getTag("size") == 1'), ('User::"no".hasTag("x")'), ('User::"no".getTag("x") == 1'),
	('context.n + 0 == 9223372036854775807'), ('context.n + 1 == 0'), ('context.least - 1 == 0'), ('-context.least == 0'), ('context.least == -9223372036854775808'),
	('context.n * 2 == 0'), ('context has deep.a.b'), ('context has deep.a.c'), ('context has deep.a.b.c'), ('context.ip.isInRange(ip("10.0.0.0/8"))'),
	('context.when == datetime("1970-01-02")'), ('context.set == [[2], 1]'), ('context.set.contains([2])'), ('context.half.__extn.fn == "ip"'), ('context.odd.__entity == 1'),
	('"a*b" like "a\*b" && "axb" like "a*b" && !("axb" like "a\*b")'), ('"aXbXc" like "*b*c" && !("ab" like "a*b*b") && "" like "*" && !("" like "a*")'),
	('"\0" == "\0" && "\0" != ""'), ('ip("127.0.0.1") == ip("127.0.0.1/32")'), ('ip("127.0.0.1/8").isLoopback() && !ip("127.0.0.1/7").isLoopback()'),
	('ip("::1/127").isLoopback()'), ('ip("10.0.0.0/33").isIpv4()'), ('ip("00001::").isIpv6()'), ('ip("::1.2.3.4").isIpv6()'), ('ip("1:2:3:4:5:6:7::").isIpv6()'),
	('decimal("922337203685477.5807").greaterThan(decimal("-922337203685477.5808"))'), ('decimal("922337203685477.5808") == 1'), ('decimal("1.0") == decimal("1.0000")'),
	('datetime("2024-02-29T23:59:59.999-2359") > datetime("2024-02-29")'), ('datetime("2023-02-29") == 1'), ('datetime("1969-12-31T12:00:00Z").toTime() == duration("12h")'),
	('duration("-9223372036854775808ms").toDays() == -106751991167'), ('duration("1m1h") == 1'), ('duration("1d2h3m4s5ms").toMilliseconds() == 93784005'),
	('1 < true'), ('1 == true'), ('if true then true else 1'), ('false && 1'), ('true || 1'), ('true && 1'), ('1 && false'), ('principal in [User::"ana", 1]')) v (expression);

-- The request: all of it is there.
SELECT keystone.cedar_authorize('', '[]', '{"principal": "User::\"a\"", "action": "Action::\"b\"", "context": {}}');
SELECT keystone.cedar_authorize('', '[]', '{"principal": "User::\"a\"", "action": "Action::\"b\"", "resource": "Doc::\"c\""}');
SELECT keystone.cedar_authorize('', '[]', '{"principal": "User", "action": "Action::\"b\"", "resource": "Doc::\"c\"", "context": {}}');
SELECT keystone.cedar_authorize('', '[]', '{"principal": {"type": "1x", "id": ""}, "action": "Action::\"b\"", "resource": "Doc::\"c\"", "context": {}}');
SELECT keystone.cedar_authorize('', '[]', '{"principal": {"type": "a"}, "action": "Action::\"b\"", "resource": "Doc::\"c\"", "context": {}}');
SELECT keystone.cedar_authorize('', '[]', '{"principal": "User::\"a\"", "action": "Action::\"b\"", "resource": "Doc::\"c\"", "context": []}');
SELECT keystone.cedar_authorize('', '[]', '{"principal": "User::\"a\"", "action": "Action::\"b\"", "resource": "Doc::\"c\"", "context": {"__extn": {"fn": "ip", "arg": "::"}}}');
SELECT keystone.cedar_authorize('', '[]', '1');
SELECT keystone.cedar_authorize('', '[]', '[]');
\echo :LAST_ERROR_SQLSTATE
-- Values that Cedar has not, with the path to them.
SELECT pg_temp.ask('', '{"a": {"b": [1, 2, null]}}');
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.ask('', '{"a": 1.5}');
SELECT pg_temp.ask('', '{"a": 9223372036854775808}');
SELECT pg_temp.ask('', '{"a": 1e400}');
SELECT pg_temp.ask('', '{"a": {"__expr": "1"}}');
SELECT pg_temp.ask('', '{"a": {"__extn": {"fn": "ip", "arg": "1.2.3"}}}');
SELECT pg_temp.ask('', '{"a": {"__extn": {"fn": "ip", "args": ["::", "::"]}}}');
SELECT pg_temp.ask('', '{"a": {"__extn": {"fn": "now", "arg": ""}}}');
SELECT pg_temp.ask('', '{"a": {"__entity": {"type": "in", "id": ""}}}');
-- An integer has no point; jsonb has written out 1e2 already.
SELECT pg_temp.ask('', '{"a": [1, 1.0]}');
SELECT pg_temp.ask('', '{"a": 9007199254740993.0}');
SELECT keystone.cedar_authorize('', '[{"uid": "U::\"a\"", "attrs": {"x": 0.0}, "parents": []}]', '{}');
SELECT pg_temp.holds('context.a == 9007199254740993 && context.b == 100', '{"a": 9007199254740993, "b": 1e2}');

-- Entities.
SELECT keystone.cedar_authorize('', '{}', '{}');
SELECT keystone.cedar_authorize('', '"x"', '{}');
SELECT keystone.cedar_authorize('', '[1]', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT keystone.cedar_authorize('', '[{"uid": "U::\"a\"", "parents": []}]', '{}');
SELECT keystone.cedar_authorize('', '[{"uid": "U::\"a\"", "attrs": {}}]', '{}');
SELECT keystone.cedar_authorize('', '[{"attrs": {}, "parents": []}]', '{}');
SELECT keystone.cedar_authorize('', '[{"uid": "U::\"a\"", "attrs": {"x": null}, "parents": []}]', '{}');
SELECT keystone.cedar_authorize('', '[{"uid": "U::\"a\"", "attrs": {}, "parents": [1]}]', '{}');
SELECT keystone.cedar_authorize('', '[{"uid": "Action::\"a\"", "attrs": {}, "parents": ["U::\"a\""]}]', '{}');
SELECT keystone.cedar_authorize('', '[{"uid": "U::\"a\"", "attrs": {}, "parents": ["U::\"a\""]}]', '{}');
SELECT keystone.cedar_authorize('', '[{"uid": "U::\"a\"", "attrs": {}, "parents": ["U::\"b\""]}, {"uid": "U::\"b\"", "attrs": {}, "parents": ["U::\"c\""]},
	{"uid": "U::\"c\"", "attrs": {}, "parents": ["U::\"d\"", "U::\"a\""]}]', '{}');
SELECT keystone.cedar_authorize('', '[{"uid": "U::\"a\"", "attrs": {}, "parents": []}, {"uid": "U::\"a\"", "attrs": {"x": 1}, "parents": []}]', '{}');
-- The same twice is the same.
SELECT keystone.cedar_authorize('permit(principal in G::"g", action, resource);', '[{"uid": "U::\"a\"", "attrs": {}, "parents": ["G::\"g\""]},
	{"uid": {"type": "U", "id": "a"}, "attrs": {}, "parents": [{"type": "G", "id": "g"}]}]',
	'{"principal": "U::\"a\"", "action": "Action::\"b\"", "resource": "Doc::\"c\"", "context": {}}');
-- A diamond, and a chain of 2000.
SELECT decision FROM keystone.cedar_authorize('permit(principal in U::"d", action, resource in C::"2001");',
	(SELECT '[{"uid": "U::\"a\"", "attrs": {}, "parents": ["U::\"b\"", "U::\"c\""]}, {"uid": "U::\"b\"", "attrs": {}, "parents": ["U::\"d\""]},
		{"uid": "U::\"c\"", "attrs": {}, "parents": ["U::\"d\""]}]'::jsonb
	 || jsonb_agg(jsonb_build_object('uid', format('C::"%s"', i), 'attrs', '{}'::jsonb, 'parents', jsonb_build_array(format('C::"%s"', i + 1))))
	 FROM generate_series(0, 2000) i),
	'{"principal": "U::\"a\"", "action": "Action::\"b\"", "resource": "C::\"0\"", "context": {}}');

-- Bounds: of ancestors, of depth, of steps.
SELECT keystone.cedar_authorize('',
	(SELECT jsonb_agg(jsonb_build_object('uid', format('C::"%s"', i), 'attrs', '{}'::jsonb, 'parents', jsonb_build_array(format('C::"%s"', i + 1))))
	 FROM generate_series(0, 2999) i), '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.holds('context == context', ('{"a": ' || repeat('[', 125) || repeat(']', 125) || '}')::jsonb);
SELECT pg_temp.holds('context == context', ('{"a": ' || repeat('[', 126) || repeat(']', 126) || '}')::jsonb);
SELECT pg_temp.holds(string_agg('context.a == context.b', ' || '), jsonb_build_object('a', a, 'b', a || '[-1]'))
FROM (SELECT jsonb_agg(i) AS a FROM generate_series(1, 100000) i) s, generate_series(1, 300) GROUP BY a;
\echo :LAST_ERROR_SQLSTATE

-- Text that is no Cedar.
SELECT pg_temp.ask(E'permit(principal, action, resource);\nforbid(principal, action);');
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.ask('permit(principal == ?principal, action, resource);');
SELECT pg_temp.ask('permit(principal, action, resource) when { ' || repeat('(', 600) || 'true' || repeat(')', 600) || ' };');

-- NULL is no request.
SELECT keystone.cedar_authorize(NULL, '[]', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT keystone.cedar_authorize('', NULL, '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT keystone.cedar_authorize('', '[]', NULL);
\echo :LAST_ERROR_SQLSTATE

-- One call site that is asked with others in turn answers for what it was
-- given; after an error, too.
SELECT i, (keystone.cedar_authorize(format('%s(principal, action, resource in F::"x");', (ARRAY['permit', 'forbid'])[1 + i % 2]),
	jsonb_build_array(jsonb_build_object('uid', 'D::"d"', 'attrs', '{}'::jsonb, 'parents', jsonb_build_array(format('F::"%s"', (ARRAY['x', 'y'])[1 + i / 2 % 2])))),
	'{"principal": "U::\"a\"", "action": "Action::\"b\"", "resource": "D::\"d\"", "context": {}}')).*
FROM generate_series(0, 7) i ORDER BY i;
DO $$
DECLARE
	said text := '';
	policies text;
BEGIN
	FOREACH policies IN ARRAY ARRAY['permit(principal, action, resource);', 'no Cedar', 'forbid(principal, action, resource);', '', 'no Cedar', 'permit(principal, action, resource);'] LOOP
		BEGIN
			said := said || ' ' || (keystone.cedar_authorize(policies, '[]', '{"principal": "U::\"a\"", "action": "Action::\"b\"", "resource": "D::\"d\"", "context": {}}')).decision;
		EXCEPTION WHEN invalid_parameter_value THEN
			said := said || ' ' || sqlstate;
		END;
	END LOOP;
	RAISE NOTICE '%', said;
END
$$;
