# What policy leaves of a limit (settings hard_limit and soft_limit): exactly so
# much, with many clients at once, while transactions are rolled back, and while
# the policy is put and dropped under them; also of the settings' own limits on
# reveals, and after a restart.  Where it is near, an alert says so.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(pgbench start_pgbench wait_until);
use Test::More;

my $clients = 8;
my $node = KeystoneNode->start(name => 'thresholds', conf => <<'EOF2');
max_connections = 40
max_worker_processes = 16
log_min_messages = error
log_min_error_statement = panic
keystone.housekeeper_interval = 200ms
keystone.reveal_limit = '40/day'
keystone.workspace_reveal_limit = '100/day'
EOF2
my @as_app = (extra_params => [ '-U', 'app' ]);

sub query
{
	my ($sql, @options) = @_;
	return $node->safe_psql('postgres', $sql, @options);
}

query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE app LOGIN;
SELECT keystone.grant_access('app', 'worker');
CREATE TABLE admitted (race text, n int);
GRANT INSERT ON admitted TO app;
-- A fifth of the attempts are in subtransactions that are rolled back.
CREATE FUNCTION attempt(name text, n int, cost int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	admitted int := 0;
BEGIN
	FOR i IN 1 .. n LOOP
		BEGIN
			admitted := admitted + (keystone.limit_consume(name, 'k', cost, 'acme')).allowed::int;
			IF i % 5 = 0 THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION WHEN division_by_zero THEN
		END;
	END LOOP;
	RETURN admitted;
END
$$;
CREATE FUNCTION attempt_reveal(name text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	RETURN (keystone.reveal('acme', name) IS NOT NULL)::int;
EXCEPTION WHEN SQLSTATE 'PT429' THEN
	RETURN 0;
END
$$;
CREATE FUNCTION put(settings jsonb) RETURNS void LANGUAGE sql AS $$
	SELECT keystone.policy_put('acme', jsonb_build_object('apiVersion', 'keystone.policy/v1', 'id', 'thresholds',
		'scope', '{"level": "workspace"}'::jsonb, 'rules', '[]'::jsonb, 'settings', settings)) $$;
EOF2
query(<<'EOF2', @as_app);
SELECT keystone.create_workspace('acme');
SELECT keystone.limit_define('sliding', '10000/day', 'acme'),
	keystone.limit_define('calendar', '10000/month', 'acme', '{"algorithm": "calendar", "timezone": "Asia/Kathmandu"}'),
	keystone.limit_define('log', '16/day', 'acme', '{"algorithm": "log"}'),
	keystone.limit_define('two', '100000/day, 9999/week', 'acme'),
	keystone.limit_define('costly', '10000/week', 'acme'),
	keystone.limit_define('changed', '10000/week', 'acme'),
	keystone.limit_define('calls', '10/day', 'acme', '{"near": 90}');
SELECT keystone.store('acme', 'c', 'value');
SELECT put('{"hard_limit": 33}');
EOF2

# All clients at once, in transactions that are rolled back; how many were admitted.
sub race
{
	my ($name, $cost) = @_;
	my $script = sprintf "BEGIN;\nSELECT attempt('%s', 150, %d) AS n \\gset\nROLLBACK;\nINSERT INTO admitted VALUES ('%s', :n);", $name, $cost // 1, $name;
	my ($ok, $output) = pgbench($node, [$script], '-c', $clients, '-j', 2, '-t', 10, '-U', 'app', 'postgres');
	ok($ok, "$name: 12000 attempts") or diag($output);
	return query("SELECT sum(n) FROM admitted WHERE race = '$name'");
}

sub left { return query("SELECT remaining || '/' || limit_value FROM keystone.limit_peek('$_[0]', 'k', 'acme')", @as_app) }

is(race('sliding'), 3300, 'I8 sliding: exactly what policy leaves of it');
is(race('calendar'), 3300, 'I8 calendar: exactly what policy leaves of it');
is(race('log'), 5, 'I8 log: exactly what policy leaves of it');
is(race('two'), 3299, 'I8 two windows: exactly what policy leaves of the tighter');
is(race('costly', 7), int(3300 / 7), 'I8 attempts that cost seven: exactly what fits');
is(left('costly'), (3300 % 7) . '/3300', 'I8 and the rest is left');

# A restart gives nothing back; without the policy the rest is there.
$node->restart;
is(left('sliding'), '0/3300', 'a restart gives nothing back');
query(q{SELECT keystone.policy_drop('acme', 'thresholds')}, @as_app);
is(left('sliding'), '6700/10000', 'without the policy the rest of the limit is there');
is(race('sliding'), 10000, 'I8 and both together are exactly the limit');

# Put and dropped while the clients are at it: never more than the limit, and
# each admitted attempt counts once.
{
	my $script = "SELECT attempt('changed', 100, 1) AS n \\gset\nINSERT INTO admitted VALUES ('changed', :n);";
	my @races = map { start_pgbench($node, [$script], '-c', 1, '-t', 10, '-U', 'app', 'postgres') } 1 .. $clients;
	foreach my $i (1 .. 20)
	{
		query($i % 2 ? q{SELECT put('{"hard_limit": 60}')} : q{SELECT keystone.policy_drop('acme', 'thresholds')}, @as_app);
	}
	$_->finish foreach @races;
	my $admitted = query(q{SELECT sum(n) FROM admitted WHERE race = 'changed'});
	is(left('changed'), (10000 - $admitted) . '/10000', "I8 $admitted were admitted under a policy that comes and goes, and count");
	cmp_ok($admitted, '>=', 6000, 'as many as it leaves');
}

# The settings that limit reveals: of the principal's 40 a day a quarter.
query(q{SELECT put('{"hard_limit": 25, "soft_limit": 50}')}, @as_app);
my ($ok, $output) = pgbench($node, [q{INSERT INTO admitted SELECT 'reveals', attempt_reveal('c');}], '-c', $clients, '-j', 2, '-t', 20, '-U', 'app', 'postgres');
ok($ok, '160 reveals') or diag($output);
is(query(q{SELECT sum(n) FROM admitted WHERE race = 'reveals'}), 10, 'exactly what policy leaves of keystone.reveal_limit');
query('SELECT keystone_private.audit_flush()');
is(query(q{SELECT string_agg(DISTINCT concat_ws(' ', detail ->> 'limit', detail ->> 'window'), ', ') FROM keystone.audit_log WHERE action = 'credential.reveal' AND outcome = 'denied'}),
	'keystone.reveal_limit day', 'the log has which it was');

# Alerts: at the soft limit and at the lowered number, for definitions and for
# what the verbs apply.
sub alerts
{
	my ($subject, $columns) = @_;
	$columns //= 'threshold, used, allowed';
	return qq{SELECT string_agg(concat_ws(' ', workspace, $columns), ', ' ORDER BY threshold)
		FROM keystone.alerts WHERE kind = 'limit' AND subject = '$subject'};
}

sub becomes
{
	my ($sql, $expected, $name) = @_;
	my $got;
	wait_until(20, sub { ($got = query($sql, @as_app)) eq $expected });
	is($got, $expected, $name);
	return;
}
becomes(alerts('keystone.reveal_limit/day', 'threshold, allowed'), 'acme 50 10, acme 100 10', 'half of what is left of keystone.reveal_limit, and all of it, gave alerts');
query(q{SELECT put('{"hard_limit": 60, "soft_limit": 50}')}, @as_app);
query(q{SELECT keystone.limit_consume('calls', 'k', 2, 'acme'); SELECT pg_sleep(1)}, @as_app);
is(query(alerts('calls/day'), @as_app), '', 'two of six are not near');
query(q{SELECT keystone.limit_consume('calls', 'k', 1, 'acme')}, @as_app);
becomes(alerts('calls/day'), 'acme 50 3 6', 'three are, whatever its own option says');
query(q{SELECT keystone.limit_consume('calls', 'k', 1, 'acme') FROM generate_series(1, 4)}, @as_app);
becomes(alerts('calls/day'), 'acme 50 3 6, acme 100 6 6', 'and six are all');

# Without a soft limit nothing warns of what is no definition, and a definition
# does where it says itself.
query(q{SELECT put('{"hard_limit": 50}')}, @as_app);
query(q{SELECT keystone.limit_consume('calls', 'other', 4, 'acme')}, @as_app);
is(query(q{SELECT near FROM keystone.limit_peek('calls', 'other', 'acme')}, @as_app), 'f', 'its own option holds where policy says nothing');
query(q{SELECT keystone.policy_drop('acme', 'thresholds')}, @as_app);
is(left('calls'), '4/10', 'nothing that was refused has counted');

$node->stop;
done_testing();
