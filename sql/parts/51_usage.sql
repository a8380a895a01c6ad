-- part: replay
-- Usage, budgets, alerts and metrics.

CREATE OR REPLACE FUNCTION keystone.usage_record(workspace text, provider text, quantity bigint DEFAULT 1, cost_micros bigint DEFAULT NULL,
	principal uuid DEFAULT NULL, context jsonb DEFAULT '{}', idempotency_key text DEFAULT NULL) RETURNS uuid
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_usage_record';
COMMENT ON FUNCTION keystone.usage_record(text, text, bigint, bigint, uuid, jsonb, text) IS
	'Records operations with a provider, and what they cost: by default the provider''s price at that time; gives the event, the first one for an idempotency key that comes again; a negative quantity is a correction, needs billing and the corrected event as "corrects" in the context, of which no more is taken back than is left; worker profile, members with reveal or rotate; PT429 beyond a hard budget';

CREATE OR REPLACE FUNCTION keystone.budget_set(workspace text, soft_micros bigint, hard_micros bigint, period text DEFAULT 'month') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_budget_set';
COMMENT ON FUNCTION keystone.budget_set(text, bigint, bigint, text) IS
	'Sets from which sum on there is an alert and from which sum on usage is refused, in millionths of the currency unit; NULL for no such; period day, week or month; needs billing';

CREATE OR REPLACE FUNCTION keystone.metrics_text() RETURNS keystone."text/plain"
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_metrics_text';
COMMENT ON FUNCTION keystone.metrics_text() IS 'keystone.metrics in the text format of Prometheus; monitor or admin profile';

CREATE OR REPLACE FUNCTION keystone_private.metric_samples(
	OUT name text, OUT labels jsonb, OUT value double precision, OUT kind text, OUT help text) RETURNS SETOF record
	LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'ks_fn_metric_samples';
COMMENT ON FUNCTION keystone_private.metric_samples() IS 'One row a sample; monitor or admin profile';

CREATE OR REPLACE FUNCTION keystone_private.period_at(period text, anchor timestamptz, moment timestamptz,
	OUT period_start timestamptz, OUT period_end timestamptz) RETURNS record
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'ks_fn_period_at';
COMMENT ON FUNCTION keystone_private.period_at(text, timestamptz, timestamptz) IS 'The day, week or month from an anchor that a moment lies in; 22023 for another word';

CREATE OR REPLACE FUNCTION keystone_private.usage_guard() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_usage_guard';
COMMENT ON FUNCTION keystone_private.usage_guard() IS 'Refuses every change of an event of usage; row trigger';

CREATE OR REPLACE TRIGGER usage_guard BEFORE UPDATE OR DELETE ON keystone.usage_events
	FOR EACH ROW EXECUTE FUNCTION keystone_private.usage_guard();
ALTER TABLE keystone.usage_events ENABLE ALWAYS TRIGGER usage_guard;
COMMENT ON TRIGGER usage_guard ON keystone.usage_events IS 'events are only added';
