-- part: replay
-- Cedar.

CREATE OR REPLACE FUNCTION keystone.cedar_authorize(policies text, entities jsonb, request jsonb,
	OUT decision text, OUT reasons text[], OUT errors text[]) RETURNS record
	LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'ks_fn_cedar_authorize';
COMMENT ON FUNCTION keystone.cedar_authorize(text, jsonb, jsonb) IS
	'What Cedar policies say to a request: allow or deny, the policies that decided, and those that had an error and were skipped, each by its number as policy0; the request has principal, action, resource and context; 22023 for what is not Cedar; any profile';
