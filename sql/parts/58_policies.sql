-- part: replay
-- Policies: putting, dropping and asking them.

CREATE OR REPLACE FUNCTION keystone.policy_put(workspace text, document jsonb, expected_version int DEFAULT NULL,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}',
	OUT id text, OUT version int, OUT warnings jsonb) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_policy_put';
COMMENT ON FUNCTION keystone.policy_put(text, jsonb, int, uuid, text, jsonb) IS
	'Puts a policy, or its next version, which holds from the commit on; workspace NULL for the whole database; expected_version 0: there must be none; warnings as of policy_validate(); needs policy, or the profile admin for the database''s; PT409, PT428, 22023, 54000';

CREATE OR REPLACE FUNCTION keystone.policy_get(workspace text, id text) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_policy_get';
COMMENT ON FUNCTION keystone.policy_get(text, text) IS
	'The document of a policy that holds; workspace NULL for the whole database; needs policy or audit, or the profile admin or auditor for the database''s; PT404';

CREATE OR REPLACE FUNCTION keystone.policy_drop(workspace text, id text,
	approval uuid DEFAULT NULL, reason text DEFAULT NULL, context jsonb DEFAULT '{}') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_policy_drop';
COMMENT ON FUNCTION keystone.policy_drop(text, text, uuid, text, jsonb) IS
	'Drops a policy, whose versions stay; workspace NULL for the whole database; needs policy, or the profile admin for the database''s; PT404, PT428';

CREATE OR REPLACE FUNCTION keystone.policy_evaluate(workspace text, action text, resource jsonb DEFAULT '{}', context jsonb DEFAULT '{}',
	principal uuid DEFAULT NULL) RETURNS keystone.decision
	LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000 AS 'MODULE_PATHNAME', 'ks_fn_policy_evaluate';
COMMENT ON FUNCTION keystone.policy_evaluate(text, text, jsonb, jsonb, uuid) IS
	'What would be decided now, by what is committed now; resource is {"credential": id}, or {"environment", "provider", "name", ...}, or {"type", "name"}; context is what the caller claims; another principal needs policy; writes nothing; needs view; PT404, 22023';

CREATE OR REPLACE FUNCTION keystone.policy_allowed(workspace text, action text, resource jsonb DEFAULT '{}', context jsonb DEFAULT '{}') RETURNS boolean
	LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000 AS 'MODULE_PATHNAME', 'ks_fn_policy_allowed';
COMMENT ON FUNCTION keystone.policy_allowed(text, text, jsonb, jsonb) IS
	'Whether policy_evaluate() says permit: false for require, defer and deny; never NULL; needs view; PT404, 22023';

CREATE OR REPLACE FUNCTION keystone.policy_explain(workspace text, action text, resource jsonb DEFAULT '{}', context jsonb DEFAULT '{}',
	principal uuid DEFAULT NULL) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000 AS 'MODULE_PATHNAME', 'ks_fn_policy_explain';
COMMENT ON FUNCTION keystone.policy_explain(text, text, jsonb, jsonb, uuid) IS
	'What policy_evaluate() says, and why: each rule with its level, whether it matched, the first clause that did not, its error and its outcome; what shadow policies would say; settings; needs policy; PT404, 22023';

CREATE OR REPLACE FUNCTION keystone.policy_who_can(workspace text, action text, resource jsonb DEFAULT '{}') RETURNS SETOF uuid
	LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 10 AS 'MODULE_PATHNAME', 'ks_fn_policy_who_can';
COMMENT ON FUNCTION keystone.policy_who_can(text, text, jsonb) IS
	'Members for whom policy_evaluate() says permit or require: they can do it, some when they have what is required; needs policy; PT404, 22023';

CREATE OR REPLACE FUNCTION keystone.policy_lint(workspace text,
	OUT policy text, OUT rule text, OUT severity text, OUT finding text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 10 AS 'MODULE_PATHNAME', 'ks_fn_policy_lint';
COMMENT ON FUNCTION keystone.policy_lint(text) IS
	'Rules that are odd: shadowed by one that denies, unreachable, of no effect, or matching nothing that exists; needs policy';

CREATE OR REPLACE FUNCTION keystone.policy_simulate(workspace text, document jsonb, since interval DEFAULT '7 days',
	OUT seq bigint, OUT before text, OUT after text, OUT changed_by text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 100 AS 'MODULE_PATHNAME', 'ks_fn_policy_simulate';
COMMENT ON FUNCTION keystone.policy_simulate(text, jsonb, interval) IS
	'What a document would have changed: the workspace''s entries of the log, at most the last 10,000, decided at their time by the policies that hold, and by those with the document; who and what they were about count as they are now; needs policy; 22023';
