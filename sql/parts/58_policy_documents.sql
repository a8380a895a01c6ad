-- part: replay
-- Policy documents.

CREATE OR REPLACE FUNCTION keystone.policy_validate(document jsonb,
	OUT path text, OUT severity text, OUT message text) RETURNS SETOF record
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10 AS 'MODULE_PATHNAME', 'ks_fn_policy_validate';
COMMENT ON FUNCTION keystone.policy_validate(jsonb) IS
	'What is wrong with a policy document, all at once: JSON Pointer, error or warning, and what must be; policy_put() takes one without errors; any profile';

CREATE OR REPLACE FUNCTION keystone.policy_schema() RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
	AS $$
SELECT $json$
{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Keystone policy",
	"type": "object",
	"additionalProperties": false,
	"required": ["apiVersion", "id", "scope", "rules"],
	"properties": {
		"apiVersion": {"const": "keystone.policy/v1"},
		"id": {"$ref": "#/$defs/id"},
		"description": {"type": "string", "minLength": 1, "maxLength": 1000},
		"scope": {
			"type": "object",
			"additionalProperties": false,
			"required": ["level"],
			"properties": {
				"level": {"enum": ["system", "workspace", "provider", "secret"]},
				"id": {"type": "string", "minLength": 1, "maxLength": 256}
			},
			"allOf": [
				{
					"if": {"properties": {"level": {"enum": ["provider", "secret"]}}},
					"then": {"required": ["id"]}
				},
				{
					"if": {"properties": {"level": {"const": "system"}}},
					"then": {"properties": {"id": false}}
				},
				{
					"if": {"properties": {"level": {"const": "provider"}}},
					"then": {"properties": {"id": {"pattern": "^[^*]*$"}}}
				}
			]
		},
		"enforcement": {"enum": ["enforce", "shadow"]},
		"rules": {"type": "array", "maxItems": 1000, "items": {"$ref": "#/$defs/rule"}},
		"settings": {
			"type": "object",
			"additionalProperties": false,
			"properties": {
				"auto_redeploy": {"type": "boolean"},
				"soft_limit": {
					"description": "Per cent of what hard_limit leaves: from there on a limit is near its end",
					"type": "integer", "minimum": 1, "maximum": 100
				},
				"hard_limit": {
					"description": "Per cent of each limit that may be used",
					"type": "integer", "minimum": 1, "maximum": 100
				},
				"max_secret_age": {"$ref": "#/$defs/duration"},
				"approvals": {"type": "integer", "minimum": 1, "maximum": 10}
			}
		},
		"delegates": {
			"type": "array",
			"maxItems": 64,
			"items": {"enum": ["auto_redeploy", "soft_limit", "hard_limit", "max_secret_age", "approvals"]}
		},
		"windows": {
			"type": "object",
			"maxProperties": 32,
			"propertyNames": {"$ref": "#/$defs/id"},
			"additionalProperties": {"$ref": "#/$defs/window"}
		},
		"groups": {
			"type": "object",
			"maxProperties": 32,
			"propertyNames": {"$ref": "#/$defs/id"},
			"additionalProperties": {
				"type": "array",
				"minItems": 1,
				"maxItems": 256,
				"items": {"$ref": "#/$defs/uuid"}
			}
		}
	},
	"$defs": {
		"id": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
		"uuid": {
			"type": "string",
			"pattern": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"
		},
		"globs": {
			"type": "array",
			"minItems": 1,
			"maxItems": 64,
			"items": {"type": "string", "minLength": 1, "maxLength": 256}
		},
		"names": {"type": "array", "minItems": 1, "maxItems": 32, "items": {"$ref": "#/$defs/id"}},
		"duration": {
			"type": "string",
			"pattern": "^P(?=[0-9T])([0-9]{1,7}W|([0-9]{1,7}D)?(T(?=[0-9])([0-9]{1,7}H)?([0-9]{1,7}M)?([0-9]{1,7}S)?)?)$"
		},
		"date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
		"condition": {
			"description": "A Cedar expression: its text, or its JSON form",
			"anyOf": [{"type": "string", "minLength": 1}, {"type": "object", "minProperties": 1, "maxProperties": 1}]
		},
		"role": {"enum": ["owner", "admin", "operator", "viewer", "auditor", "service"]},
		"permission": {
			"enum": ["view", "reveal", "store", "rotate", "approve", "audit", "policy", "workspace", "billing"]
		},
		"rule": {
			"type": "object",
			"additionalProperties": false,
			"required": ["id", "effect", "match"],
			"properties": {
				"id": {"$ref": "#/$defs/id"},
				"effect": {"enum": ["permit", "forbid", "oblige"]},
				"match": {"$ref": "#/$defs/match"},
				"when": {"$ref": "#/$defs/condition"},
				"unless": {"$ref": "#/$defs/condition"},
				"windows": {
					"type": "object",
					"additionalProperties": false,
					"minProperties": 1,
					"properties": {"allow": {"$ref": "#/$defs/names"}, "deny": {"$ref": "#/$defs/names"}}
				},
				"obligations": {"type": "array", "maxItems": 16, "items": {"$ref": "#/$defs/obligation"}},
				"reason": {"type": "string", "minLength": 1, "maxLength": 500}
			},
			"allOf": [
				{
					"if": {"properties": {"effect": {"const": "forbid"}}},
					"then": {"properties": {"obligations": {"maxItems": 0}}}
				},
				{
					"if": {"properties": {"effect": {"const": "oblige"}}},
					"then": {
						"anyOf": [
							{"required": ["obligations"], "properties": {"obligations": {"minItems": 1}}},
							{"required": ["windows"]}
						]
					}
				}
			]
		},
		"match": {
			"type": "object",
			"additionalProperties": false,
			"required": ["actions"],
			"properties": {
				"actions": {"$ref": "#/$defs/globs"},
				"env": {"$ref": "#/$defs/globs"},
				"provider": {"$ref": "#/$defs/globs"},
				"secret": {"$ref": "#/$defs/globs"},
				"roles": {
					"type": "array",
					"minItems": 1,
					"maxItems": 64,
					"items": {"anyOf": [{"$ref": "#/$defs/role"}, {"type": "string", "pattern": "[*]", "maxLength": 256}]}
				},
				"principals": {
					"type": "array",
					"minItems": 1,
					"maxItems": 64,
					"items": {
						"anyOf": [
							{"$ref": "#/$defs/uuid"},
							{"enum": ["*", "**"]},
							{"type": "string", "pattern": "^group:[A-Za-z0-9_.-]{1,64}$"}
						]
					}
				}
			}
		},
		"who": {
			"type": "object",
			"properties": {
				"role": {"$ref": "#/$defs/role"},
				"group": {"$ref": "#/$defs/id"},
				"permission": {"$ref": "#/$defs/permission"}
			},
			"oneOf": [{"required": ["role"]}, {"required": ["group"]}, {"required": ["permission"]}]
		},
		"factor": {
			"$ref": "#/$defs/who",
			"properties": {"count": {"type": "integer", "minimum": 1, "maximum": 10}},
			"unevaluatedProperties": false
		},
		"obligation": {
			"type": "object",
			"required": ["type"],
			"oneOf": [
				{
					"additionalProperties": false,
					"properties": {
						"type": {"const": "require_approval"},
						"factors": {"type": "array", "minItems": 1, "maxItems": 8, "items": {"$ref": "#/$defs/factor"}},
						"distinct": {"const": true},
						"timeout": {"$ref": "#/$defs/duration"},
						"valid_for": {"$ref": "#/$defs/duration"},
						"escalate": {
							"type": "array",
							"maxItems": 8,
							"items": {
								"type": "object",
								"additionalProperties": false,
								"required": ["after", "to"],
								"properties": {
									"after": {"$ref": "#/$defs/duration"},
									"to": {"$ref": "#/$defs/who", "unevaluatedProperties": false}
								}
							}
						},
						"loops": {"type": "integer", "minimum": 1, "maximum": 10},
						"on_timeout": {"const": "expire"}
					}
				},
				{
					"additionalProperties": false,
					"properties": {
						"type": {"enum": ["require_preview", "require_mfa"]},
						"max_age": {"$ref": "#/$defs/duration"}
					}
				},
				{
					"additionalProperties": false,
					"properties": {"type": {"const": "require_reason"}}
				},
				{
					"additionalProperties": false,
					"required": ["channel"],
					"properties": {
						"type": {"const": "notify"},
						"channel": {"type": "string", "minLength": 1, "maxLength": 256}
					}
				},
				{
					"additionalProperties": false,
					"required": ["duration"],
					"properties": {"type": {"const": "wait"}, "duration": {"$ref": "#/$defs/duration"}}
				}
			]
		},
		"window": {
			"type": "object",
			"additionalProperties": false,
			"required": ["tz", "rrule", "start", "duration"],
			"properties": {
				"tz": {"type": "string", "minLength": 1, "maxLength": 255},
				"rrule": {
					"description": "RFC 5545: FREQ=DAILY, WEEKLY or MONTHLY with INTERVAL, BYDAY, BYMONTHDAY and UNTIL",
					"type": "string",
					"pattern": "^((FREQ|INTERVAL|BYDAY|BYMONTHDAY|UNTIL)=[A-Z0-9,+-]+)(;(FREQ|INTERVAL|BYDAY|BYMONTHDAY|UNTIL)=[A-Z0-9,+-]+)*$"
				},
				"start": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"},
				"duration": {"$ref": "#/$defs/duration"},
				"dst": {"enum": ["wall", "elapsed"]},
				"from": {"$ref": "#/$defs/date"},
				"exclude": {
					"type": "array",
					"maxItems": 64,
					"items": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}(/[0-9]{4}-[0-9]{2}-[0-9]{2})?$"}
				}
			}
		}
	}
}
$json$::jsonb
$$;
COMMENT ON FUNCTION keystone.policy_schema() IS
	'JSON Schema (2020-12) of policy documents; policy_validate() also checks what a schema cannot say; any profile';
