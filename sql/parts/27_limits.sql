-- part: once
-- Limits that somebody defined, and what of their counters outlives a crash.

CREATE TABLE keystone_private.limits (
	workspace_id		uuid NOT NULL,
	name				text NOT NULL,
	windows				text NOT NULL,
	algorithm			text NOT NULL,
	timezone			text NOT NULL,
	class				text NOT NULL,
	shadow				boolean NOT NULL,
	enforce_action		text,
	enforce_provider	text,
	key_by				text NOT NULL,
	near_percent		int NOT NULL,
	refundable			boolean NOT NULL,
	created_by			text NOT NULL,
	created_at			timestamptz NOT NULL DEFAULT now(),
	updated_at			timestamptz NOT NULL,
	dropped_at			timestamptz,
	row_mac				bytea NOT NULL,
	CONSTRAINT limits_pkey PRIMARY KEY (workspace_id, name),
	CONSTRAINT limits_algorithm_check CHECK (algorithm IN ('sliding', 'log', 'calendar', 'gcra')),
	CONSTRAINT limits_class_check CHECK (class IN ('protect', 'fair')),
	CONSTRAINT limits_near_percent_check CHECK (near_percent BETWEEN 1 AND 99)
);
COMMENT ON TABLE keystone_private.limits IS 'Limits as limit_define() wrote them; clients read the view keystone.limits';
COMMENT ON COLUMN keystone_private.limits.workspace_id IS 'the workspace; the nil uuid for a limit of the whole database';
COMMENT ON COLUMN keystone_private.limits.name IS 'its name';
COMMENT ON COLUMN keystone_private.limits.windows IS 'how many in which time, such as 10/hour, 100/day';
COMMENT ON COLUMN keystone_private.limits.algorithm IS 'sliding, log, calendar or gcra';
COMMENT ON COLUMN keystone_private.limits.timezone IS 'time zone of calendar windows';
COMMENT ON COLUMN keystone_private.limits.class IS 'protect: refuses when there is no room to count; fair: allows then';
COMMENT ON COLUMN keystone_private.limits.shadow IS 'true: counts and reports, and refuses nothing';
COMMENT ON COLUMN keystone_private.limits.enforce_action IS 'the verb that applies the limit by itself; NULL when callers do';
COMMENT ON COLUMN keystone_private.limits.enforce_provider IS 'only for credentials of this provider; NULL for all';
COMMENT ON COLUMN keystone_private.limits.key_by IS 'what an enforced limit counts by: principal, workspace, credential or provider, with commas between';
COMMENT ON COLUMN keystone_private.limits.near_percent IS 'from which share on the limit is near, in per cent';
COMMENT ON COLUMN keystone_private.limits.refundable IS 'true: consuming gives a token for limit_refund()';
COMMENT ON COLUMN keystone_private.limits.created_by IS 'the principal, or the role without one, who defined it first';
COMMENT ON COLUMN keystone_private.limits.created_at IS 'when it was first defined';
COMMENT ON COLUMN keystone_private.limits.updated_at IS 'when it was defined last';
COMMENT ON COLUMN keystone_private.limits.dropped_at IS 'when it was dropped; the row stays as a tombstone';
COMMENT ON COLUMN keystone_private.limits.row_mac IS 'HMAC-SHA-256 over all columns but created_by and created_at';

-- Not dumped: counters belong to the server that counted.
CREATE TABLE keystone_private.limit_seed (
	seed				bytea NOT NULL
);
COMMENT ON TABLE keystone_private.limit_seed IS 'Random key of the hashes by which counters are found, so that nobody can choose keys that collide';
COMMENT ON COLUMN keystone_private.limit_seed.seed IS '32 random bytes';
INSERT INTO keystone_private.limit_seed
	SELECT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

CREATE TABLE keystone_private.limit_state (
	hash				bytea NOT NULL,
	state				bytea NOT NULL,
	saved_at			timestamptz NOT NULL,
	CONSTRAINT limit_state_pkey PRIMARY KEY (hash)
);
COMMENT ON TABLE keystone_private.limit_state IS 'Counters as the housekeeper saved them last, for after a crash';
COMMENT ON COLUMN keystone_private.limit_state.hash IS 'keyed hash of limit, key and window';
COMMENT ON COLUMN keystone_private.limit_state.state IS 'the counter, in the format of this version';
COMMENT ON COLUMN keystone_private.limit_state.saved_at IS 'when it was saved';

SELECT pg_extension_config_dump('keystone_private.limits', '');
