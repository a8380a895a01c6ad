-- part: once
-- Plans, quotas, usage, budgets, alerts.  Money is in millionths of the
-- currency unit (micros), in integers.

CREATE TABLE keystone.plans (
	name				text NOT NULL,
	rotations			bigint,
	overage_micros		bigint,
	members				bigint,
	workspaces			bigint,
	hosted_providers	bigint,
	features			text[] NOT NULL,
	CONSTRAINT plans_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE keystone.plans IS 'What each plan includes; comes with the extension and is not dumped';
COMMENT ON COLUMN keystone.plans.name IS 'free, starter, pro or enterprise';
COMMENT ON COLUMN keystone.plans.rotations IS 'rotations included in a month; NULL for any number';
COMMENT ON COLUMN keystone.plans.overage_micros IS 'price of each further one; NULL: there is none, or it is refused';
COMMENT ON COLUMN keystone.plans.members IS 'members of a workspace, its owner among them; NULL for any number';
COMMENT ON COLUMN keystone.plans.workspaces IS 'workspaces that a principal owns, personal ones not counted; NULL for any number';
COMMENT ON COLUMN keystone.plans.hosted_providers IS 'providers configured with mode hosted; NULL for any number';
COMMENT ON COLUMN keystone.plans.features IS 'what plan_allows() knows';

-- One counter for each workspace, meter and period: the row that a hard stop
-- is decided by.  No CHECK: each UPDATE would read its expression anew, which
-- costs as much as the UPDATE.
CREATE TABLE keystone.quotas (
	workspace_id		uuid NOT NULL,
	meter				text NOT NULL,
	period_start		timestamptz NOT NULL,
	period_end			timestamptz NOT NULL,
	used				bigint NOT NULL,
	reserved			bigint NOT NULL DEFAULT 0,
	overage				bigint NOT NULL DEFAULT 0,
	cost_micros			bigint NOT NULL DEFAULT 0,
	closed_at			timestamptz,
	CONSTRAINT quotas_pkey PRIMARY KEY (workspace_id, meter, period_start),
	CONSTRAINT quotas_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES keystone.workspaces (id)
);
-- For the housekeeper, which closes periods.
CREATE INDEX quotas_open_idx ON keystone.quotas (period_end) WHERE closed_at IS NULL;
COMMENT ON TABLE keystone.quotas IS 'How much of each meter a workspace used in each period';
COMMENT ON COLUMN keystone.quotas.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.quotas.meter IS 'what is counted, such as rotations';
COMMENT ON COLUMN keystone.quotas.period_start IS 'beginning of the period';
COMMENT ON COLUMN keystone.quotas.period_end IS 'its end, which does not belong to it';
COMMENT ON COLUMN keystone.quotas.used IS 'what was used';
COMMENT ON COLUMN keystone.quotas.reserved IS 'what is reserved besides';
COMMENT ON COLUMN keystone.quotas.overage IS 'the part of used beyond what the plan includes';
COMMENT ON COLUMN keystone.quotas.cost_micros IS 'what the overage costs';
COMMENT ON COLUMN keystone.quotas.closed_at IS 'when the period was closed, with an entry in the audit log';

CREATE TABLE keystone_private.quota_events (
	workspace_id		uuid NOT NULL,
	id					uuid NOT NULL,
	meter				text NOT NULL,
	period_start		timestamptz NOT NULL,
	quantity			bigint NOT NULL,
	overage				bigint NOT NULL DEFAULT 0,
	cost_micros			bigint NOT NULL DEFAULT 0,
	used				bigint NOT NULL,
	included			bigint,
	state				text NOT NULL,
	principal_id		uuid,
	idempotency_key		text,
	created_at			timestamptz NOT NULL,
	expires_at			timestamptz,
	CONSTRAINT quota_events_pkey PRIMARY KEY (workspace_id, id),
	CONSTRAINT quota_events_quantity_check CHECK (quantity > 0),
	CONSTRAINT quota_events_state_check CHECK (state IN ('used', 'reserved', 'released')),
	CONSTRAINT quota_events_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES keystone.workspaces (id)
);
CREATE UNIQUE INDEX quota_events_idempotency_key ON keystone_private.quota_events (workspace_id, meter, idempotency_key)
	WHERE idempotency_key IS NOT NULL;
CREATE INDEX quota_events_expires_idx ON keystone_private.quota_events (expires_at) WHERE state = 'reserved';
-- For quota_commit() and quota_release(), which are told no workspace.
CREATE INDEX quota_events_id_idx ON keystone_private.quota_events (id) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE keystone_private.quota_events IS 'Each consumption with an idempotency key, and each reservation';
COMMENT ON COLUMN keystone_private.quota_events.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.quota_events.id IS 'the event; of a reservation, what quota_commit() takes';
COMMENT ON COLUMN keystone_private.quota_events.meter IS 'what is counted';
COMMENT ON COLUMN keystone_private.quota_events.period_start IS 'the period that it counts in';
COMMENT ON COLUMN keystone_private.quota_events.quantity IS 'how much';
COMMENT ON COLUMN keystone_private.quota_events.overage IS 'how much of it is beyond what the plan includes';
COMMENT ON COLUMN keystone_private.quota_events.cost_micros IS 'what that costs';
COMMENT ON COLUMN keystone_private.quota_events.used IS 'what was used and reserved then, this included: a part of the answer, which a second call gets again';
COMMENT ON COLUMN keystone_private.quota_events.included IS 'what the plan included then; NULL for any number';
COMMENT ON COLUMN keystone_private.quota_events.state IS 'used, reserved or released';
COMMENT ON COLUMN keystone_private.quota_events.principal_id IS 'for whom';
COMMENT ON COLUMN keystone_private.quota_events.idempotency_key IS 'the caller''s key: a second call with it counts nothing';
COMMENT ON COLUMN keystone_private.quota_events.created_at IS 'when it was made';
COMMENT ON COLUMN keystone_private.quota_events.expires_at IS 'when a reservation is released by itself';

-- No foreign key: callers who record at once would all lock the row of their
-- workspace, which costs more than the event.  Nothing deletes a workspace.
CREATE TABLE keystone.usage_events (
	workspace_id		uuid NOT NULL,
	id					uuid NOT NULL,
	provider			text NOT NULL,
	principal_id		uuid,
	quantity			bigint NOT NULL,
	cost_micros			bigint NOT NULL,
	workflow			text,
	context				jsonb NOT NULL DEFAULT '{}',
	idempotency_key		text,
	created_at			timestamptz NOT NULL,
	CONSTRAINT usage_events_pkey PRIMARY KEY (workspace_id, id)
);
CREATE INDEX usage_events_created_at_idx ON keystone.usage_events (workspace_id, created_at);
CREATE UNIQUE INDEX usage_events_idempotency_key ON keystone.usage_events (workspace_id, provider, idempotency_key)
	WHERE idempotency_key IS NOT NULL;
COMMENT ON TABLE keystone.usage_events IS 'Operations and what they cost: append-only, a correction is a negative event';
COMMENT ON COLUMN keystone.usage_events.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.usage_events.id IS 'the event';
COMMENT ON COLUMN keystone.usage_events.provider IS 'name of the provider';
COMMENT ON COLUMN keystone.usage_events.principal_id IS 'on whose account; NULL when nobody''s';
COMMENT ON COLUMN keystone.usage_events.quantity IS 'how many operations, or units such as tokens; negative in a correction';
COMMENT ON COLUMN keystone.usage_events.cost_micros IS 'what they cost, frozen at that time, in millionths of the currency unit';
COMMENT ON COLUMN keystone.usage_events.workflow IS 'the workflow that the context names';
COMMENT ON COLUMN keystone.usage_events.context IS 'what the caller said besides';
COMMENT ON COLUMN keystone.usage_events.idempotency_key IS 'the caller''s key: a second call with it records nothing';
COMMENT ON COLUMN keystone.usage_events.created_at IS 'when it was recorded';

CREATE TABLE keystone_private.usage_corrections (
	workspace_id		uuid NOT NULL,
	event_id			uuid NOT NULL,
	quantity			bigint NOT NULL,
	cost_micros			bigint NOT NULL,
	CONSTRAINT usage_corrections_pkey PRIMARY KEY (workspace_id, event_id)
);
COMMENT ON TABLE keystone_private.usage_corrections IS 'What corrections have taken back of an event of usage, all together';
COMMENT ON COLUMN keystone_private.usage_corrections.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.usage_corrections.event_id IS 'the event that was corrected';
COMMENT ON COLUMN keystone_private.usage_corrections.quantity IS 'how much of its quantity, at most all';
COMMENT ON COLUMN keystone_private.usage_corrections.cost_micros IS 'how much of its cost, at most all';

CREATE TABLE keystone_private.provider_prices (
	provider			text NOT NULL,
	valid_from			timestamptz NOT NULL,
	cost_micros			bigint NOT NULL,
	CONSTRAINT provider_prices_pkey PRIMARY KEY (provider, valid_from),
	CONSTRAINT provider_prices_cost_micros_check CHECK (cost_micros >= 0)
);
COMMENT ON TABLE keystone_private.provider_prices IS 'Price of one operation of each provider, from when on; provider_define() adds to it';
COMMENT ON COLUMN keystone_private.provider_prices.provider IS 'name of the provider';
COMMENT ON COLUMN keystone_private.provider_prices.valid_from IS 'from then on, until the next';
COMMENT ON COLUMN keystone_private.provider_prices.cost_micros IS 'the price in millionths of the currency unit';

CREATE TABLE keystone.budgets (
	workspace_id		uuid NOT NULL,
	period				text NOT NULL,
	soft_micros			bigint,
	hard_micros			bigint,
	updated_by			uuid NOT NULL,
	updated_at			timestamptz NOT NULL,
	CONSTRAINT budgets_pkey PRIMARY KEY (workspace_id, period),
	CONSTRAINT budgets_period_check CHECK (period IN ('day', 'week', 'month')),
	CONSTRAINT budgets_micros_check CHECK (soft_micros >= 0 AND hard_micros >= 0 AND soft_micros <= hard_micros),
	CONSTRAINT budgets_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES keystone.workspaces (id)
);
COMMENT ON TABLE keystone.budgets IS 'What a workspace may spend in a period';
COMMENT ON COLUMN keystone.budgets.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.budgets.period IS 'day, week or month';
COMMENT ON COLUMN keystone.budgets.soft_micros IS 'from then on there are warnings; NULL for none';
COMMENT ON COLUMN keystone.budgets.hard_micros IS 'from then on usage is refused; NULL for never';
COMMENT ON COLUMN keystone.budgets.updated_by IS 'the principal who set it';
COMMENT ON COLUMN keystone.budgets.updated_at IS 'when it was set';

CREATE TABLE keystone.budget_spending (
	workspace_id		uuid NOT NULL,
	period				text NOT NULL,
	period_start		timestamptz NOT NULL,
	period_end			timestamptz NOT NULL,
	spent_micros		bigint NOT NULL DEFAULT 0,
	CONSTRAINT budget_spending_pkey PRIMARY KEY (workspace_id, period, period_start),
	CONSTRAINT budget_spending_budget_fkey FOREIGN KEY (workspace_id, period) REFERENCES keystone.budgets (workspace_id, period)
);
COMMENT ON TABLE keystone.budget_spending IS 'What a workspace with a budget spent in each period';
COMMENT ON COLUMN keystone.budget_spending.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.budget_spending.period IS 'day, week or month';
COMMENT ON COLUMN keystone.budget_spending.period_start IS 'beginning of the period';
COMMENT ON COLUMN keystone.budget_spending.period_end IS 'its end, which does not belong to it';
COMMENT ON COLUMN keystone.budget_spending.spent_micros IS 'what was spent in it';

CREATE TABLE keystone_private.alerts (
	workspace_id		uuid NOT NULL,
	kind				text NOT NULL,
	subject				text NOT NULL,
	period_start		timestamptz NOT NULL,
	threshold			int NOT NULL,
	used				bigint NOT NULL,
	allowed				bigint NOT NULL,
	created_at			timestamptz NOT NULL,
	CONSTRAINT alerts_pkey PRIMARY KEY (workspace_id, kind, subject, period_start, threshold),
	CONSTRAINT alerts_kind_check CHECK (kind IN ('limit', 'quota', 'budget', 'break_glass'))
);
COMMENT ON TABLE keystone_private.alerts IS 'Thresholds that were reached, each once in a period; the housekeeper writes them';
COMMENT ON COLUMN keystone_private.alerts.workspace_id IS 'the workspace; the nil uuid for a limit of the whole database';
COMMENT ON COLUMN keystone_private.alerts.kind IS 'limit, quota, budget or break_glass';
COMMENT ON COLUMN keystone_private.alerts.subject IS 'name of the limit and its window, meter, period of the budget, or the request';
COMMENT ON COLUMN keystone_private.alerts.period_start IS 'the period in which it was reached';
COMMENT ON COLUMN keystone_private.alerts.threshold IS 'in per cent';
COMMENT ON COLUMN keystone_private.alerts.used IS 'how much was used then';
COMMENT ON COLUMN keystone_private.alerts.allowed IS 'of how much';
COMMENT ON COLUMN keystone_private.alerts.created_at IS 'when the housekeeper saw it';

SELECT pg_extension_config_dump('keystone.quotas', '');
SELECT pg_extension_config_dump('keystone_private.quota_events', '');
SELECT pg_extension_config_dump('keystone.usage_events', '');
SELECT pg_extension_config_dump('keystone_private.usage_corrections', '');
SELECT pg_extension_config_dump('keystone_private.provider_prices', '');
SELECT pg_extension_config_dump('keystone.budgets', '');
SELECT pg_extension_config_dump('keystone.budget_spending', '');
SELECT pg_extension_config_dump('keystone_private.alerts', '');
