-- part: once
-- The catalogue comes with the extension and may change with each version;
-- what administrators define or change lies in a table of its own, with the
-- same columns first, so that a dump holds theirs and only theirs.  (LIKE would
-- give its constraints names that pg_upgrade does not keep.)

CREATE TABLE keystone_private.provider_catalogue (
	name			text NOT NULL,
	category		text NOT NULL,
	label			text NOT NULL,
	default_kind	text NOT NULL,
	value_pattern	text,
	limits			text,
	cost_micros		bigint,
	enabled			boolean NOT NULL DEFAULT true,
	CONSTRAINT provider_catalogue_pkey PRIMARY KEY (name),
	CONSTRAINT provider_catalogue_category_check CHECK (category IN ('no_auth', 'shared_key', 'oauth'))
);
COMMENT ON TABLE keystone_private.provider_catalogue IS 'Providers that come with this version of the extension; not dumped';

CREATE TABLE keystone_private.provider_definitions (
	name			text NOT NULL,
	category		text NOT NULL,
	label			text NOT NULL,
	default_kind	text NOT NULL,
	value_pattern	text,
	limits			text,
	cost_micros		bigint,
	enabled			boolean NOT NULL DEFAULT true,
	updated_at		timestamptz NOT NULL DEFAULT now(),
	updated_by		name NOT NULL,
	CONSTRAINT provider_definitions_pkey PRIMARY KEY (name),
	CONSTRAINT provider_definitions_category_check CHECK (category IN ('no_auth', 'shared_key', 'oauth')),
	CONSTRAINT provider_definitions_cost_micros_check CHECK (cost_micros >= 0)
);
COMMENT ON TABLE keystone_private.provider_definitions IS 'Providers defined by provider_define(); a row replaces the catalogue''s of the same name';
COMMENT ON COLUMN keystone_private.provider_definitions.updated_at IS 'when it was defined last';
COMMENT ON COLUMN keystone_private.provider_definitions.updated_by IS 'session user who defined it';

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['provider_catalogue', 'provider_definitions'] LOOP
		EXECUTE format('COMMENT ON COLUMN keystone_private.%I.name IS ''short name, such as openai''', t);
		EXECUTE format('COMMENT ON COLUMN keystone_private.%I.category IS ''no_auth, shared_key or oauth''', t);
		EXECUTE format('COMMENT ON COLUMN keystone_private.%I.label IS ''a name for people''', t);
		EXECUTE format('COMMENT ON COLUMN keystone_private.%I.default_kind IS ''kind of a credential stored without one''', t);
		EXECUTE format('COMMENT ON COLUMN keystone_private.%I.value_pattern IS ''regular expression that a value must match; NULL for any''', t);
		EXECUTE format('COMMENT ON COLUMN keystone_private.%I.limits IS ''default rate limit windows, such as 10/hour, 100/day''', t);
		EXECUTE format('COMMENT ON COLUMN keystone_private.%I.cost_micros IS ''price of one operation in millionths of the currency unit''', t);
		EXECUTE format('COMMENT ON COLUMN keystone_private.%I.enabled IS ''false: nothing new is stored for it''', t);
	END LOOP;
END
$$;

CREATE TABLE keystone.provider_configs (
	workspace_id	uuid NOT NULL,
	provider		text NOT NULL,
	mode			text NOT NULL DEFAULT 'hosted',
	config			jsonb NOT NULL DEFAULT '{}',
	enabled			boolean NOT NULL DEFAULT true,
	updated_at		timestamptz NOT NULL DEFAULT now(),
	updated_by		uuid NOT NULL,
	CONSTRAINT provider_configs_pkey PRIMARY KEY (workspace_id, provider),
	CONSTRAINT provider_configs_mode_check CHECK (mode IN ('hosted', 'oauth', 'kms', 'api_key')),
	CONSTRAINT provider_configs_config_check CHECK (jsonb_typeof(config) = 'object'),
	CONSTRAINT provider_configs_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES keystone.workspaces (id)
);
ALTER TABLE keystone.provider_configs ALTER COLUMN provider SET STATISTICS 0, ALTER COLUMN config SET STATISTICS 0;
COMMENT ON TABLE keystone.provider_configs IS 'How a workspace uses a provider; written by provider_configure()';
COMMENT ON COLUMN keystone.provider_configs.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.provider_configs.provider IS 'name of the provider';
COMMENT ON COLUMN keystone.provider_configs.mode IS 'hosted: credentials are stored here; oauth, kms and api_key are reserved';
COMMENT ON COLUMN keystone.provider_configs.config IS 'settings of the workspace''s own, without secrets';
COMMENT ON COLUMN keystone.provider_configs.enabled IS 'false: the workspace stores nothing new for it';
COMMENT ON COLUMN keystone.provider_configs.updated_at IS 'when it was changed last';
COMMENT ON COLUMN keystone.provider_configs.updated_by IS 'the principal who changed it last';

SELECT pg_extension_config_dump('keystone_private.provider_definitions', '');
SELECT pg_extension_config_dump('keystone.provider_configs', '');
