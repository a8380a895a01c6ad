-- part: once
CREATE TYPE keystone.decision AS (
	decision			text,
	reasons				jsonb,
	obligations			jsonb,
	errors				jsonb,
	not_before			timestamptz,
	request_hash		bytea
);
COMMENT ON TYPE keystone.decision IS 'What policy makes of a request';
COMMENT ON COLUMN keystone.decision.decision IS 'permit, require, defer or deny';
COMMENT ON COLUMN keystone.decision.reasons IS 'array of {"policy", "version", "rule", "effect", "reason", "code"}: the rules that decided; code is rbac, forbid, window, obligation or error';
COMMENT ON COLUMN keystone.decision.obligations IS 'array of what is still needed, each with its type';
COMMENT ON COLUMN keystone.decision.errors IS 'array of {"policy", "rule", "message"}: rules whose condition failed';
COMMENT ON COLUMN keystone.decision.not_before IS 'when it could be asked again; NULL unless it is deferred';
COMMENT ON COLUMN keystone.decision.request_hash IS 'SHA-256 of the exact request, to which an approval is bound';
REVOKE ALL ON TYPE keystone.decision FROM PUBLIC;
