-- part: once
-- Default limits: openai and sendgrid have their own, the others share one.
INSERT INTO keystone_private.provider_catalogue (name, category, label, default_kind, value_pattern, limits) VALUES
	('openai',		'shared_key',	'OpenAI',			'api_key',				'^sk-[A-Za-z0-9_-]{16,}$',		'10/hour, 100/day, 2000/month'),
	('anthropic',	'shared_key',	'Anthropic',		'api_key',				'^sk-ant-[A-Za-z0-9_-]{16,}$',	'20/hour, 200/day, 5000/month'),
	('gemini',		'shared_key',	'Google Gemini',	'api_key',				NULL,							'20/hour, 200/day, 5000/month'),
	('cohere',		'shared_key',	'Cohere',			'api_key',				NULL,							'20/hour, 200/day, 5000/month'),
	('voyage',		'shared_key',	'Voyage AI',		'api_key',				NULL,							'20/hour, 200/day, 5000/month'),
	('sendgrid',	'shared_key',	'SendGrid',			'api_key',				'^SG\.[A-Za-z0-9_.-]{16,}$',	'5/hour, 50/day, 1000/month'),
	('telegram',	'shared_key',	'Telegram',			'bot_token',			'^[0-9]{5,}:[A-Za-z0-9_-]{30,}$',	'20/hour, 200/day, 5000/month'),
	('discord',		'shared_key',	'Discord',			'bot_token',			NULL,							'20/hour, 200/day, 5000/month'),
	('slack',		'oauth',		'Slack',			'oauth_token',			'^xox[a-z]-[A-Za-z0-9-]{10,}$',	'20/hour, 200/day, 5000/month'),
	('github',		'oauth',		'GitHub',			'oauth_token',			'^(gh[a-z]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|[0-9a-f]{40})$',	'20/hour, 200/day, 5000/month'),
	('notion',		'oauth',		'Notion',			'oauth_token',			NULL,							'20/hour, 200/day, 5000/month'),
	('airtable',	'oauth',		'Airtable',			'oauth_token',			NULL,							'20/hour, 200/day, 5000/month'),
	('google',		'oauth',		'Google',			'oauth_token',			NULL,							'20/hour, 200/day, 5000/month'),
	('microsoft365', 'oauth',		'Microsoft 365',	'oauth_token',			NULL,							'20/hour, 200/day, 5000/month'),
	('salesforce',	'oauth',		'Salesforce',		'oauth_token',			NULL,							'20/hour, 200/day, 5000/month'),
	('reddit',		'oauth',		'Reddit',			'oauth_token',			NULL,							'20/hour, 200/day, 5000/month'),
	('stripe',		'shared_key',	'Stripe',			'api_key',				'^[a-z]+_(test_|live_)?[A-Za-z0-9]{10,}$',	'20/hour, 200/day, 5000/month'),
	('aws',			'shared_key',	'AWS',				'access_key',			NULL,							'20/hour, 200/day, 5000/month'),
	('gcp',			'shared_key',	'Google Cloud',		'service_account',		NULL,							'20/hour, 200/day, 5000/month'),
	('azure',		'shared_key',	'Microsoft Azure',	'client_secret',		NULL,							'20/hour, 200/day, 5000/month'),
	('vultr',		'shared_key',	'Vultr',			'api_key',				NULL,							'20/hour, 200/day, 5000/month'),
	('vercel',		'shared_key',	'Vercel',			'api_key',				NULL,							'20/hour, 200/day, 5000/month'),
	('render',		'shared_key',	'Render',			'api_key',				NULL,							'20/hour, 200/day, 5000/month'),
	('pinecone',	'shared_key',	'Pinecone',			'api_key',				NULL,							'20/hour, 200/day, 5000/month'),
	('openrouter',	'shared_key',	'OpenRouter',		'api_key',				'^sk-or-[A-Za-z0-9_-]{16,}$',	'20/hour, 200/day, 5000/month'),
	('postgresql',	'shared_key',	'PostgreSQL',		'connection_string',	NULL,							'20/hour, 200/day, 5000/month'),
	('mysql',		'shared_key',	'MySQL',			'connection_string',	NULL,							'20/hour, 200/day, 5000/month');

INSERT INTO keystone.plans (name, rotations, overage_micros, members, workspaces, hosted_providers, features) VALUES
	('free',		100,	NULL,	1,		1,		0,		'{basic_policies,alerts_email}'),
	('starter',		1000,	10000,	5,		1,		2,		'{basic_policies,alerts_email,maintenance_windows,alerts_slack}'),
	('pro',			10000,	10000,	20,		3,		NULL,	'{basic_policies,alerts_email,maintenance_windows,alerts_slack,approvals,alerts_webhook,all_policies}'),
	('enterprise',	NULL,	NULL,	NULL,	NULL,	NULL,	'{basic_policies,alerts_email,maintenance_windows,alerts_slack,approvals,alerts_webhook,all_policies,customer_keys}');
