# Budgets, quotas and limits that are nearly used up give alerts, each threshold
# once in a period: a row, an entry in the log, a notification.  Callers at once
# never get beyond a hard budget.  Metrics are text that Prometheus can read.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(name => 'usage', conf => <<'EOF');
max_worker_processes = 16
keystone.housekeeper_interval = 200ms
keystone.near_limit = 75
keystone.default_plan = 'free'
EOF
my @as_app = (extra_params => [ '-U', 'app' ]);
my @as_other = (extra_params => [ '-U', 'other' ]);
my @as_monitor = (extra_params => [ '-U', 'watch' ]);

sub query
{
	my ($sql, @options) = @_;
	return $node->safe_psql('postgres', $sql, @options);
}

sub becomes
{
	my ($sql, $expected, $name) = @_;
	my $got;
	wait_until(20, sub { ($got = query($sql)) eq $expected });
	is($got, $expected, $name);
	return;
}

# After the housekeeper has made several rounds.
sub stays
{
	my ($sql, $expected, $name) = @_;
	query('SELECT pg_sleep(1)');
	is(query($sql), $expected, $name);
	return;
}

query(<<'EOF');
CREATE EXTENSION keystone;
CREATE ROLE app LOGIN;
CREATE ROLE watch LOGIN;
CREATE ROLE other LOGIN;
SELECT keystone.grant_access('app', 'worker'), keystone.grant_access('other', 'worker'), keystone.grant_access('watch', 'monitor');
SELECT keystone.register_principal('Other', db_role => 'other');
EOF
query(q{SELECT keystone.create_workspace('acme'); SELECT keystone.budget_set('acme', NULL, 100)}, @as_app);

sub alerts
{
	my ($condition) = @_;
	return q{SELECT string_agg(concat_ws(' ', w.slug, kind, subject, threshold, used, allowed), ', ' ORDER BY w.slug, kind, subject, threshold)
		FROM keystone_private.alerts a LEFT JOIN keystone.workspaces w ON w.id = a.workspace_id WHERE } . $condition;
}

# Budgets: near_limit per cent of the hard one, or the soft one, and all of it.
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN keystone_alerts');
query(q{SELECT keystone.usage_record('acme', 'openai', 1, 74)}, @as_app);
stays(alerts("kind = 'budget'"), '', 'nothing is near yet');
query(q{SELECT keystone.usage_record('acme', 'openai', 1, 1)}, @as_app);
becomes(alerts("kind = 'budget'"), 'acme budget month 75 75 100', 'a budget is near');
query(q{SELECT keystone.usage_record('acme', 'openai', 1, 5)}, @as_app);
stays(alerts("kind = 'budget'"), 'acme budget month 75 75 100', 'said once');
query(q{SELECT keystone.usage_record('acme', 'openai', 1, 20)}, @as_app);
becomes(alerts("kind = 'budget'"), 'acme budget month 75 75 100, acme budget month 100 100 100', 'and again when it is spent');
query(q{SELECT keystone.budget_set('acme', 30, NULL, 'week')}, @as_app);
becomes(alerts("subject = 'week'"), 'acme budget week 75 100 30', 'a soft budget without a hard one');
stays(alerts("subject = 'week'"), 'acme budget week 75 100 30', 'has one threshold');

query('SELECT keystone_private.audit_flush()');
is(query(q{SELECT string_agg(concat_ws(' ', workspace, actor, detail ->> 'kind', detail ->> 'subject', detail ->> 'threshold', detail ->> 'used', detail ->> 'allowed'), ', ' ORDER BY seq)
	FROM keystone.audit_log WHERE action = 'limit.near'}),
	'acme keystone budget month 75 75 100, acme keystone budget month 100 100 100, acme keystone budget week 75 100 30',
	'the log has them');
my $heard = $listener->query('SELECT 1');
my @payloads = $heard =~ /with payload "(.*)" received/g;
is_deeply(\@payloads, [
		'{"kind": "budget", "threshold": 75}', '{"kind": "budget", "threshold": 100}', '{"kind": "budget", "threshold": 75}' ],
	'and whoever listens hears of each, and of no workspace');
$listener->quit;

# Quotas: of the plan's rotations.
query(q{SELECT keystone.store('acme', 'c', 'v')}, @as_app);
query(q{SELECT count(keystone.rotate(keystone.credential_id('acme', 'c'), 'v' || i)) FROM generate_series(1, 74) i}, @as_app);
stays(alerts("kind = 'quota'"), '', 'a quota that is not near');
query(q{SELECT keystone.rotate(keystone.credential_id('acme', 'c'), 'w')}, @as_app);
becomes(alerts("kind = 'quota'"), 'acme quota rotations 75 75 100', 'one that is');
query(q{SELECT count(keystone.rotate(keystone.credential_id('acme', 'c'), 'x' || i)) FROM generate_series(1, 25) i}, @as_app);
becomes(alerts("kind = 'quota'"), 'acme quota rotations 75 75 100, acme quota rotations 100 100 100', 'and is used up');

# Limits: of a workspace, and of the database.
query(q{SELECT keystone.limit_define('calls', '4/day', 'acme', '{"near": 50}')}, @as_app);
query(q{SELECT keystone.limit_define('all', '2/week')});
query(q{SELECT keystone.limit_consume('calls', 'k', workspace => 'acme')}, @as_app);
stays(alerts("kind = 'limit'"), '', 'a limit that is not near');
query(q{SELECT keystone.limit_define('unused', '10/day', 'acme'); SELECT keystone.limit_define('even', '100/day', 'acme', '{"algorithm": "gcra"}');
	SELECT keystone.limit_block('unused', 'b', now() + '1 hour', 'a test', 'acme');
	SELECT keystone.limit_consume('unused', k, c, 'acme') FROM (VALUES ('k', 11), ('b', 1)) v (k, c); SELECT keystone.limit_consume('even', 'k', 7, 'acme')}, @as_app);
stays(alerts("kind = 'limit'"), '', 'nor is what refuses one that is too large, or blocked, nor a burst that is not used up');
query(q{SELECT keystone.limit_consume('calls', 'k', workspace => 'acme')}, @as_app);
becomes(alerts("kind = 'limit'"), 'acme limit calls/day 50 2 4', 'one that is');
query(q{SELECT keystone.limit_consume('calls', 'k', workspace => 'acme') FROM generate_series(1, 5)}, @as_app);
becomes(alerts("kind = 'limit'"), 'acme limit calls/day 50 2 4, acme limit calls/day 100 4 4', 'and is used up');
query(q{SELECT keystone.limit_consume('all', 'k') FROM generate_series(1, 2)}, @as_app);
becomes(alerts("kind = 'limit' AND w.slug IS NULL"), 'limit all/week 75 2 2, limit all/week 100 2 2', 'one of the whole database');

# One that a verb applies by itself.
query(q{SELECT keystone.limit_define('reveals', '2/day', 'acme', '{"enforce": {"action": "reveal"}}')}, @as_app);
query(q{SELECT keystone.reveal('acme', 'c') FROM generate_series(1, 2)}, @as_app);
becomes(alerts("subject LIKE 'reveals/%'"), 'acme limit reveals/day 75 2 2, acme limit reveals/day 100 2 2', 'one that reveal() applies');
is($node->psql_err('postgres', q{SELECT keystone.reveal('acme', 'c')}, @as_app), 'PT429', 'which then refuses');
is(query('SELECT count(*) FROM keystone_private.alerts'), 11, 'no more than these');

# Who sees them.
is(query('SELECT count(*) FROM keystone.alerts', @as_app), 9, 'members see those of their workspaces');
is(query('SELECT count(*) FROM keystone.alerts', @as_other), 0, 'nobody else does');
is(query(q{SELECT string_agg(DISTINCT subject, ' ') FROM keystone.alerts}, @as_monitor), 'all/week', 'the monitor sees those of the database');

# They come once, also after a restart.
$node->restart;
query(q{SELECT keystone.limit_consume('calls', 'k', workspace => 'acme')}, @as_app);
stays('SELECT count(*) FROM keystone_private.alerts', 11, 'nothing comes twice');

# Many callers at once: not one gets beyond the hard budget, and sums agree.
query(q{SELECT keystone.create_workspace('race'); SELECT keystone.budget_set('race', NULL, 500), keystone.budget_set('race', 10, NULL, 'day')}, @as_other);
my $script = $node->basedir . '/race.sql';
append_to_file($script, <<'EOF');
DO $$
BEGIN
	PERFORM keystone.usage_record('race', 'openai', 1, 7);
EXCEPTION WHEN SQLSTATE 'PT429' THEN
END
$$;
EOF
$node->command_ok([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', 50, '-f', $script, '-U', 'other', '-h', $node->host, '-p', $node->port, 'postgres' ], '400 attempts of 8 clients');
is(query(q{SELECT count(*) || ' ' || sum(e.cost_micros) FROM keystone.usage_events e JOIN keystone.workspaces w ON w.id = e.workspace_id WHERE w.slug = 'race'}),
	'71 497', 'as many as fit');
becomes(alerts("kind = 'budget' AND w.slug = 'race' AND threshold = 100"), 'race budget month 100 497 500', 'who was refused has spent it, though not to the last');
is(query(q{SELECT string_agg(period || ' ' || spent_micros, ', ' ORDER BY period) FROM keystone.budget_status WHERE workspace = 'race'}, @as_other),
	'day 497, month 497', 'budgets have the same sum');
is(query(q{SELECT sum(operations) || ' ' || sum(cost_micros) FROM keystone.usage_summary WHERE workspace = 'race'}, @as_other), '71 497', 'and so has the summary');

# A dump has the events, and can be restored past the guard.
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-h', $node->host, '-p', $node->port, 'postgres' ], 'a dump');
query('CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-h', $node->host, '-p', $node->port, 'restored' ], 'is restored');
foreach my $table (qw(keystone.usage_events keystone.budgets keystone.budget_spending keystone_private.alerts keystone_private.provider_prices))
{
	my $digest = "SELECT count(*) || ' ' || md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM $table t";
	is($node->safe_psql('restored', $digest), query($digest), "with $table");
}

# https://prometheus.io/docs/instrumenting/exposition_formats/
sub problems
{
	my ($text) = @_;
	my (%type, %help, %seen, @problems);
	my $family = '';
	push @problems, 'no line break at the end' unless $text =~ /\n\z/;
	foreach my $line (split /\n/, $text)
	{
		if ($line =~ /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/)
		{
			my ($what, $name, $rest) = ($1, $2, $3);
			push @problems, "$what of $name comes twice" if $what eq 'HELP' ? $help{$name}++ : exists $type{$name};
			next if $what eq 'HELP';
			push @problems, "$name has no HELP before" unless $help{$name};
			push @problems, "$name has type $rest" unless $rest =~ /^(counter|gauge|histogram)$/;
			push @problems, "$name is a counter without _total" if $rest eq 'counter' && $name !~ /_total$/;
			push @problems, "$name is a gauge with _total" if $rest eq 'gauge' && $name =~ /_total$/;
			$type{$name} = $rest;
			$family = $name;
			next;
		}
		my ($name, $labels, $value) = $line =~ /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*",?)+\})? (\S+)$/
		  or push(@problems, "what is: $line"), next;
		my ($suffix) = $name =~ /^\Q$family\E(|_bucket|_sum|_count)$/;
		push @problems, "$name stands under $family"
		  if $family eq '' || !defined $suffix || ($suffix ne '') != ($type{$family} eq 'histogram');
		push @problems, "$line comes twice" if $seen{ $name . ($labels // '') }++;
		push @problems, "$name has value $value" unless $value =~ /^[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?$/;
	}
	push @problems, 'nothing' unless %seen;
	return join "\n", @problems;
}
my $text = query('SELECT keystone.metrics_text()', @as_monitor) . "\n";
is(problems($text), '', 'metrics_text() is what Prometheus reads');
like($text, qr/^keystone_usage_cost_micros_total\{provider="openai"\} 597$/m, 'with the cost of usage');
like($text, qr/^keystone_quota_used\{meter="rotations"\} 100$/m, 'quotas');
like($text, qr/^keystone_alerts_total\{kind="limit"\} 6$/m, 'alerts');
like($text, qr/^keystone_limit_entries [1-9]/m, 'counters of limits');
like($text, qr/^keystone_active_principals 2$/m, 'principals of the day');
like($text, qr/^keystone_housekeeper_failures 0$/m, 'and the housekeeper');
isnt(problems("a 1\n"), '', 'the checker finds a sample without a type');
isnt(problems("# HELP a_total x\n# TYPE a_total counter\na_total{l=\"\"\"} 1\n"), '', 'and a label that is not escaped');

# A quota that refuses more than is left is used up, too; each is told once.
query(q{SELECT keystone.quota_consume('race', 'rotations', 98)}, @as_other);
becomes(alerts("kind = 'quota' AND w.slug = 'race'"), 'race quota rotations 75 98 100', 'a quota that has refused nobody');
query(q{SELECT keystone.quota_consume('race', 'rotations', 5)}, @as_other);
becomes(alerts("kind = 'quota' AND w.slug = 'race'"), 'race quota rotations 75 98 100, race quota rotations 100 98 100', 'and one that has');
query(q{SELECT keystone.quota_consume('race', 'rotations', 2), keystone.quota_consume('race', 'rotations', 5)}, @as_other);
is($node->psql_err('postgres', q{SELECT keystone.usage_record('race', 'openai', 1, 7)}, @as_other), 'PT429', 'the budget refuses again');
stays(alerts("w.slug = 'race' AND threshold = 100"), 'race budget month 100 497 500, race quota rotations 100 98 100', 'each once');
query(q{SELECT keystone.quota_consume('race', 'no plan knows it', 1000000)}, @as_other);
stays(alerts("w.slug = 'race' AND kind = 'quota' AND subject <> 'rotations'"), '', 'another meter has no end');

# A limit of a few seconds that is always used up is told once an hour.
query(q{SELECT keystone.limit_define('quick', '1/second, 1/2 seconds', 'acme')}, @as_app);
query(q{DO $$BEGIN FOR i IN 1..60 LOOP PERFORM keystone.limit_consume('quick', 'k', 1, 'acme'); PERFORM pg_sleep(0.1); END LOOP; END$$}, @as_app);
query('SELECT pg_sleep(1)');
my $told = query(q{SELECT count(*) FROM keystone_private.alerts WHERE subject LIKE 'quick/%'});
ok($told == 4 || $told == 8, "short windows have no alerts of their own each time: $told");

done_testing();
