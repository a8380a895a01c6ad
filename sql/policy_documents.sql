-- Policy documents: what is told about wrong ones, all at once.
SET client_min_messages = warning;
\pset format unaligned
\pset tuples_only on

-- A document, with members replaced or added.
CREATE FUNCTION doc(changes jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT '{"apiVersion": "keystone.policy/v1", "id": "p", "scope": {"level": "workspace"}, "rules": []}'::jsonb || changes
$$;
-- One with a rule that has these members.
CREATE FUNCTION rule(changes jsonb, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT doc(jsonb_build_object('rules', jsonb_build_array(
		'{"id": "r", "effect": "forbid", "match": {"actions": ["rotate"]}}'::jsonb || changes)) || more)
$$;
CREATE FUNCTION duty(obligation jsonb, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT rule(jsonb_build_object('effect', 'oblige', 'obligations', jsonb_build_array(obligation)), more)
$$;
-- One with a window that has these members, and is used.
CREATE FUNCTION maintenance(changes jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT rule('{"windows": {"allow": ["w"]}}', jsonb_build_object('windows', jsonb_build_object('w',
		'{"tz": "Europe/Berlin", "rrule": "FREQ=WEEKLY;BYDAY=TU,TH", "start": "22:00", "duration": "PT4H"}'::jsonb || changes)))
$$;
CREATE FUNCTION problems(document jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', '"' || path || '"', severity || ':', message) FROM keystone.policy_validate(document)
$$;

-- The document of the manual has nothing wrong with it.
SELECT count(*) FROM keystone.policy_validate($${ "apiVersion": "keystone.policy/v1",
  "id": "prod-two-person", "description": "Two people for production",
  "scope": {"level": "workspace"}, "enforcement": "enforce",
  "rules": [
    { "id": "freeze", "effect": "forbid",
      "match": {"actions": ["rotate", "de*"], "env": ["prod*"], "provider": ["*"], "secret": ["**"], "roles": ["*"]},
      "when":  {"==": {"left": {".": {"left": {"Var":"context"}, "attr":"freeze"}}, "right": {"Value": true}}},
      "unless": "principal has roles && principal.roles.contains(\"owner\")",
      "reason": "change freeze" },
    { "id": "prod-approve", "effect": "permit",
      "match": {"actions": ["rotate"], "env": ["prod"], "roles": ["operator","admin","owner"],
                "principals": ["group:security", "00000000-0000-0000-0000-00000000000c"]},
      "windows": {"allow": ["mw-nightly"]},
      "obligations": [
        {"type":"require_approval","factors":[{"group":"security","count":2},{"role":"admin","count":1},{"permission":"approve"}],
         "distinct":true, "timeout":"PT4H","valid_for":"PT30M",
         "escalate":[{"after":"PT1H","to":{"role":"admin"}},{"after":"PT2H","to":{"group":"security"}}],"loops":1,"on_timeout":"expire"},
        {"type":"require_preview","max_age":"PT1H"}, {"type":"wait","duration":"PT10M"},
        {"type":"notify","channel":"slack:#sec"}, {"type":"require_reason"}, {"type":"require_mfa","max_age":"PT15M"} ] } ],
  "settings": {"auto_redeploy": false, "soft_limit": 80, "hard_limit": 100, "max_secret_age": "P90D", "approvals": 2},
  "delegates": ["soft_limit"],
  "windows": {"mw-nightly": {"tz":"Europe/Berlin","rrule":"FREQ=WEEKLY;BYDAY=TU,TH","start":"22:00","duration":"PT4H","dst":"wall",
                             "exclude":["2026-12-24/2026-12-27", "2027-01-01"]}},
  "groups": {"security": ["00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"]} }$$);

-- Everything at once, by JSON Pointer.
SELECT problems('{"apiVersion": "v2", "id": "no spaces", "scope": {"level": "galaxy", "x": 1}, "enforcment": "shadow",
	"rules": [{"id": "a", "effect": "permit", "match": {"actions": []}, "unles": "true"},
			  {"id": "a", "effect": "deny", "match": {"actions": ["rotat", "rot*", "x*"], "envs": ["prod"]}, "when": "1 +"}, 7],
	"a/b~c": null, "settings": {"soft_limit": 0, "color": "red"}}');

-- What is no document.
SELECT problems(d::jsonb) FROM (VALUES ('null'), ('[]'), ('"x"'), ('1'), ('{}')) v (d);
\set SHOW_CONTEXT never
\pset tuples_only off
\set VERBOSITY sqlstate
SELECT * FROM keystone.policy_validate(NULL);
\pset tuples_only on

-- Members of the document.
SELECT problems(doc(d::jsonb)) FROM (VALUES
	('{"id": ""}'), ('{"id": "' || repeat('x', 65) || '"}'), ('{"enforcement": true}'), ('{"rules": {}}'),
	('{"description": ""}'), ('{"groups": {"g": []}}'), ('{"groups": {"g": ["me"]}}'), ('{"groups": []}'),
	('{"groups": {"a b": ["00000000-0000-0000-0000-00000000000a"]}}'),
	('{"delegates": ["soft_limit", "limit"]}'), ('{"delegates": "soft_limit"}'),
	('{"scope": {"level": "provider"}}'), ('{"scope": {"level": "provider", "id": "aws*"}}'), ('{"scope": {"level": "secret"}}'),
	('{"scope": {"level": "system", "id": "x"}}'),
	('{"settings": {"auto_redeploy": "no"}}'), ('{"settings": {"hard_limit": 101}}'), ('{"settings": {"soft_limit": 1.5}}'),
	('{"settings": {"soft_limit": 90, "hard_limit": 80}}'), ('{"settings": {"max_secret_age": "90 days"}}'),
	('{"settings": {"max_secret_age": "PT1M"}}'), ('{"settings": {"approvals": 0}}'),
	('{"settings": {"soft_limit": 9223372036854775808}}')) v (d);
SELECT count(*) FROM (VALUES ('{"level": "provider", "id": "aws"}'::jsonb), ('{"level": "secret", "id": "db/**"}'),
	('{"level": "secret", "id": "00000000-0000-0000-0000-00000000000a"}'), ('{"level": "system"}'), ('{"level": "workspace", "id": "acme"}')) v (d),
	problems(doc('{"settings": {"soft_limit": 80}}' || jsonb_build_object('scope', d)));

-- Rules.
SELECT problems(rule(d::jsonb)) FROM (VALUES
	('{"match": {}}'), ('{"match": {"actions": "rotate"}}'), ('{"match": {"actions": [""]}}'), ('{"match": {"actions": [1]}}'),
	('{"match": {"actions": ["deploy"]}}'), ('{"match": {"actions": ["*"], "roles": ["root", "root*", "ad*"]}}'),
	('{"match": {"actions": ["*"], "env": []}}'), ('{"match": {"actions": ["*"], "env": ["' || U&'e\0301' || '"]}}'),
	('{"match": {"actions": ["*"], "principals": ["ana", "group:nobody"]}}'),
	('{"match": {"actions": ["*_member"], "env": ["prod"]}}'), ('{"match": {"actions": ["reveal", "export_bundle"], "env": ["prod"]}}'),
	('{"match": {"actions": ["reveal", "export_bundle"], "env": ["*"]}}'), ('{"match": {"actions": ["policy_*"]}}'), ('{"match": {"actions": ["policy_put"]}}'),
	('{"obligations": [{"type": "require_reason"}]}'), ('{"effect": "oblige"}'), ('{"effect": "oblige", "obligations": []}'), ('{"effect": "permit"}'),
	('{"windows": {}}'), ('{"windows": {"allow": []}}'), ('{"windows": {"deny": ["w"]}}'), ('{"reason": ""}'), ('{"reason": 1}'),
	('{"when": true}'), ('{"when": ""}'), ('{"when": "principal ==="}'), ('{"when": "1 + 1"}'), ('{"when": "principal"}'), ('{"when": "true", "unless": "?principal"}'),
	('{"when": {"Value": "yes"}}'), ('{"when": {"Values": true}}'), ('{"when": {"&&": {"left": {"Value": true}}}}'), ('{"when": {}}')) v (d);

-- Obligations.
SELECT problems(duty(d)) FROM (VALUES
	('{}'::jsonb), ('[]'), ('{"type": "require"}'), ('{"type": "require_reason", "min": 1}'), ('{"type": "notify"}'), ('{"type": "notify", "channel": ""}'),
	('{"type": "wait"}'), ('{"type": "wait", "duration": "P31D"}'), ('{"type": "require_mfa", "max_age": "PT59S"}'), ('{"type": "require_preview", "max_age": 60}'),
	('{"type": "require_approval", "factors": []}'), ('{"type": "require_approval", "factors": [{"role": "admin", "group": "g"}]}'),
	('{"type": "require_approval", "factors": [{"count": 2}]}'), ('{"type": "require_approval", "factors": [{"role": "boss"}]}'),
	('{"type": "require_approval", "factors": [{"permission": "sign", "count": 11}]}'),
	('{"type": "require_approval", "distinct": false}'), ('{"type": "require_approval", "on_timeout": "approve"}'),
	('{"type": "require_approval", "loops": 0}'), ('{"type": "require_approval", "timeout": "PT0S", "valid_for": "P8D"}'),
	('{"type": "require_approval", "escalate": [{"after": "PT1H"}]}'), ('{"type": "require_approval", "escalate": [{"after": "PT1H", "to": {"role": "owner", "count": 2}}]}'),
	('{"type": "require_approval", "timeout": "PT2H", "escalate": [{"after": "PT1H", "to": {"role": "owner"}}, {"after": "PT1H", "to": {"role": "owner"}}]}')) v (d);
SELECT problems(duty('{"type": "require_approval", "factors": [{"group": "g", "count": 2}]}',
	'{"groups": {"g": ["00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000A"], "h": ["00000000-0000-0000-0000-00000000000a"]}}'));

-- Durations.
SELECT string_agg(d, ' ') FILTER (WHERE n = 0) AS good, string_agg(d, ' ') FILTER (WHERE n > 0) AS bad
FROM (SELECT d, (SELECT count(*) FROM problems(duty(jsonb_build_object('type', 'wait', 'duration', d)))) AS n
	  FROM unnest('{PT4H,P1D,P2W,P1DT2H3M4S,PT90M,PT60S,P,PT,P1DT,P1M,P1Y,PT1.5H,P-1D,-P1D,p1d,PT1H1D,P1W1D,P1D1W,PT1M1H,PT4H ,4H,PT1W,P99999999D,PT99999999999999999999H}'::text[]) d) v;

-- Windows.
SELECT problems(maintenance(d)) FROM (VALUES
	('{"tz": "Europe/Springfield"}'::jsonb), ('{"tz": ""}'), ('{"start": "24:00"}'), ('{"start": "9:00"}'), ('{"duration": "P8D"}'), ('{"duration": "PT30S"}'),
	('{"dst": "summer"}'), ('{"from": "2026-02-29"}'), ('{"exclude": ["2026-12-24/2026-12-01"]}'), ('{"exclude": ["soon"]}'), ('{"cron": "* * * * *"}'),
	('{"rrule": "FREQ=WEEKLY;BYDAY=TU;UNTIL=20200101"}'), ('{"rrule": "FREQ=MONTHLY;BYMONTHDAY=30;INTERVAL=12", "from": "2026-02-01"}')) v (d);
SELECT r, p FROM unnest('{FREQ=DAILY,FREQ=DAILY;BYDAY=MO,"FREQ=MONTHLY;BYDAY=2TU,-1FR","FREQ=MONTHLY;BYMONTHDAY=1,-1",FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13,
	FREQ=WEEKLY;BYDAY=MO;UNTIL=20991231T220000Z,"",FREQ=YEARLY,FREQ=HOURLY,FREQ=WEEKLY,freq=daily,FREQ=WEEKLY;BYDAY=2MO,FREQ=WEEKLY;BYDAY=MO;BYMONTHDAY=1,
	FREQ=MONTHLY,FREQ=MONTHLY;BYDAY=6MO,FREQ=MONTHLY;BYDAY=0MO,FREQ=MONTHLY;BYDAY=XX,"FREQ=MONTHLY;BYDAY=MO,",FREQ=MONTHLY;BYMONTHDAY=32,FREQ=MONTHLY;BYMONTHDAY=-32,
	FREQ=DAILY;COUNT=3,FREQ=DAILY;BYHOUR=3,FREQ=DAILY;INTERVAL=2,FREQ=DAILY;INTERVAL=0,FREQ=DAILY;INTERVAL=101,FREQ=DAILY;FREQ=DAILY,FREQ=DAILY;,RRULE:FREQ=DAILY,
	FREQ=DAILY;UNTIL=2030,FREQ=DAILY;UNTIL=20301301,FREQ=DAILY;UNTIL=20301231T220000,FREQ=DAILY;UNTIL=20301231T250000Z}'::text[]) r
	LEFT JOIN LATERAL problems(maintenance(jsonb_build_object('rrule', r))) p ON true;
SELECT count(*) FROM problems(maintenance('{"rrule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "from": "2026-01-05", "dst": "elapsed"}'));
SELECT problems(doc('{"windows": {"w": {"tz": "UTC", "rrule": "FREQ=DAILY", "start": "00:00", "duration": "P1D"}}, "settings": {"soft_limit": 1}}'));

-- The caps.
SELECT problems(doc(jsonb_build_object('description', repeat('x', 300000))));
SELECT problems(doc(jsonb_build_object('x', (repeat('[', 40) || repeat(']', 40))::jsonb)));
SELECT problems(doc(jsonb_build_object('rules', (SELECT jsonb_agg(7) FROM generate_series(1, 1001)))));
SELECT count(*), min(p) FROM problems(doc(jsonb_build_object('rules', (SELECT jsonb_agg(7) FROM generate_series(1, 1000))))) p;
SELECT problems(rule(jsonb_build_object('match', jsonb_build_object('actions', (SELECT jsonb_agg('*'::text) FROM generate_series(1, 65))))));
SELECT problems(rule(jsonb_build_object('match', jsonb_build_object('actions', jsonb_build_array(repeat('*', 257))))));
SELECT problems(doc() || jsonb_build_object('rules', jsonb_build_array((SELECT jsonb_build_object('id', 'r', 'effect', 'oblige',
	'match', '{"actions": ["*"]}'::jsonb, 'obligations', jsonb_agg('{"type": "require_reason"}'::jsonb)) FROM generate_series(1, 17)))));
SELECT problems(rule(jsonb_build_object('when', (SELECT string_agg('true', ' && ') FROM generate_series(1, 400)), 'unless',
	'[' || (SELECT string_agg('1', ', ') FROM generate_series(1, 1300)) || '].contains(2)')));
SELECT count(*) FROM problems(rule(jsonb_build_object('unless',
	'[' || (SELECT string_agg('1', ', ') FROM generate_series(1, 1900)) || '].contains(2)')));
SELECT problems(doc(jsonb_build_object('windows', (SELECT jsonb_object_agg('w' || n, 7) FROM generate_series(1, 33) n))));
SELECT problems(rule(jsonb_build_object('when', repeat('!', 600) || 'true')));

-- Nothing to do.
SELECT problems(doc());
SELECT problems(doc('{"scope": {"level": "secret", "id": "x"}, "delegates": ["approvals"]}'));

-- The schema is one.
SELECT s ->> '$schema', jsonb_typeof(s #> '{$defs,rule}') FROM keystone.policy_schema() s;
-- It names what the validator knows.
SELECT string_agg(k, ' ' ORDER BY k) FROM keystone.policy_schema() s, jsonb_object_keys(s -> 'properties') k;

DROP FUNCTION doc, rule, duty, maintenance, problems;
