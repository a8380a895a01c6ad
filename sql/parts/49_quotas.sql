-- part: replay
-- Plans and quotas.

CREATE OR REPLACE FUNCTION keystone.set_plan(workspace text, plan text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_set_plan';
COMMENT ON FUNCTION keystone.set_plan(text, text) IS
	'Sets the plan of a workspace; what is used stays used, and nobody is removed; the admin profile, and holders of billing, who may choose a greater one only where keystone.default_plan is enterprise; PT404, 42501, 22023';

CREATE OR REPLACE FUNCTION keystone.plan_allows(workspace text, feature text) RETURNS boolean
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'ks_fn_plan_allows';
COMMENT ON FUNCTION keystone.plan_allows(text, text) IS
	'Whether the workspace''s plan has a feature of keystone.plans; members with view, and the admin profile; never NULL; PT404, 42501, 22023';

CREATE OR REPLACE FUNCTION keystone.quota_consume(workspace text, meter text, quantity bigint DEFAULT 1, idempotency_key text DEFAULT NULL, principal uuid DEFAULT NULL,
	OUT allowed boolean, OUT used bigint, OUT included bigint, OUT overage bigint, OUT cost_micros bigint, OUT reservation uuid) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_quota_consume';
COMMENT ON FUNCTION keystone.quota_consume(text, text, bigint, text, uuid) IS
	'Counts so much of a meter in this transaction, or changes nothing and says that it is not allowed; the same idempotency key again gives the first answer and counts nothing; the worker profile, members with rotate for rotations, with reveal or rotate for other meters; PT404, 42501, 22023';

CREATE OR REPLACE FUNCTION keystone.quota_reserve(workspace text, meter text, quantity bigint DEFAULT 1, idempotency_key text DEFAULT NULL, principal uuid DEFAULT NULL,
	OUT allowed boolean, OUT used bigint, OUT included bigint, OUT overage bigint, OUT cost_micros bigint, OUT reservation uuid) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_quota_reserve';
COMMENT ON FUNCTION keystone.quota_reserve(text, text, bigint, text, uuid) IS
	'As quota_consume(), but holds it only, for a day: quota_commit() counts it and quota_release() gives it back; overage and cost are what it would be now';

CREATE OR REPLACE FUNCTION keystone.quota_commit(reservation uuid,
	OUT allowed boolean, OUT used bigint, OUT included bigint, OUT overage bigint, OUT cost_micros bigint, OUT reservation uuid) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_quota_commit';
COMMENT ON FUNCTION keystone.quota_commit(uuid) IS
	'Counts what quota_reserve() holds, in the period in which it was reserved; again gives the same answer; PT404 when it has expired or was released, 42501';

CREATE OR REPLACE FUNCTION keystone.quota_release(reservation uuid,
	OUT allowed boolean, OUT used bigint, OUT included bigint, OUT overage bigint, OUT cost_micros bigint, OUT reservation uuid) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_quota_release';
COMMENT ON FUNCTION keystone.quota_release(uuid) IS
	'Gives back what quota_reserve() holds; again gives the same answer; PT404 when it has expired or was committed, 42501';
