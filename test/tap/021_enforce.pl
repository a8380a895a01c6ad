# Limits that reveal() applies by itself: over PostgREST as an answer with
# headers, with many clients at once to the exact number, after a restart, and
# the settings that guard all of them.
use strict;
use warnings;

use JSON::PP;
use KeystoneNode;
use KeystoneTools qw(pgbench);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(name => 'enforce', conf => <<'EOF2');
max_connections = 40
log_statement = none
log_min_messages = error
log_min_error_statement = panic
keystone.authenticators = 'gateway'
keystone.trust_claims = on
keystone.denials_per_minute = 20
EOF2

sub query
{
	my ($sql, $role) = @_;
	return $node->safe_psql('postgres', $sql, $role ? (extra_params => [ '-U', $role ]) : ());
}

# SQLSTATE, message and DETAIL of what a role's statements end in.
sub refusal
{
	my ($sql, $role) = @_;
	my $stderr = '';
	$node->psql('postgres', $sql, stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=verbose', '-U', $role ]);
	my ($state, $message) = $stderr =~ /ERROR:  ([0-9A-Z]{5}): (.*)/;
	my ($detail) = $stderr =~ /DETAIL:  (.*)/;
	return ($state // '', $message // '', $detail // '');
}

# How many values the log says that a principal was given, and how many were refused.
sub given
{
	my ($who) = @_;
	query('SELECT keystone_private.audit_flush()');
	return query("SELECT count(*) FROM keystone.audit_log WHERE actor = '$who' AND action = 'credential.reveal' AND outcome = 'ok'");
}

query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE gateway LOGIN;
SELECT keystone.grant_access('gateway', 'client');
-- What a client gets, without an error that ends its run.
CREATE FUNCTION attempt(name text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN keystone.reveal('acme', name);
EXCEPTION WHEN SQLSTATE 'PT429' THEN
	RETURN NULL;
END $$;
EOF2
my %id;
foreach my $role (qw(owner alice bob carol))
{
	query("CREATE ROLE $role LOGIN; SELECT keystone.grant_access('$role', 'client')");
	$id{$role} = query("SELECT keystone.register_principal('$role', db_role => '$role')");
}
query(q{SELECT keystone.grant_access('owner', 'worker')});
query(<<'EOF2', 'owner');
SELECT keystone.create_workspace('acme');
SELECT keystone.store('acme', 'plain', 'value');
SELECT keystone.store('acme', 'OPENAI', 'sk-FAKEfakeFAKEfakeFAKE', provider => 'openai');
EOF2
query("SELECT keystone.add_member('acme', '$id{$_}', 'admin')", 'owner') foreach qw(alice bob carol);

# Many clients of one user: the tenth value of the hour is the last.
my ($ok, $output) = pgbench($node, ["SELECT attempt('OPENAI');"], '-c', 8, '-j', 2, '-t', 40, '-U', 'alice', 'postgres');
ok($ok, '8 clients ask for one credential') or diag $output;
is(given($id{alice}), 10, 'the provider allows 10 an hour: 10 values were given');
is((refusal("SELECT keystone.reveal('acme', 'OPENAI')", 'alice'))[0], 'PT429', 'and no more');

# The same with a limit that many users share.
query(q{SELECT keystone.limit_define('all', '1000/hour', 'acme', '{"enforce": {"action": "reveal"}, "key": ["workspace"]}')}, 'owner');
my $before = given($id{bob});
($ok, $output) = pgbench($node, ["SELECT attempt('plain');"], '-c', 8, '-j', 2, '-t', 300, '-U', 'bob', 'postgres');
ok($ok, '8 clients ask 2,400 times') or diag $output;
is(given($id{bob}) - $before, 1000, 'the workspace allows 1,000 an hour: 1,000 values were given');
my $denied = query("SELECT count(*) FROM keystone.audit_log WHERE actor = '$id{bob}' AND outcome = 'denied' AND detail ->> 'limit' = 'all' AND detail ->> 'window' = 'hour'");
cmp_ok($denied, '>=', 20, 'refusals are in the log, with the limit and its window');
cmp_ok($denied, '<=', 100, 'and within the bound on denials');
is((refusal("SELECT keystone.reveal('acme', 'plain')", 'carol'))[0], 'PT429', 'another member is refused, too');

# A restart gives nothing back.
$node->restart;
is((refusal("SELECT keystone.reveal('acme', 'plain')", 'carol'))[0], 'PT429', 'a restart gives nothing back');
query(q{SELECT keystone.limit_drop('all', 'acme')}, 'owner');
is((refusal("SELECT keystone.reveal('acme', 'OPENAI')", 'alice'))[0], 'PT429', 'nor of what the provider allows');

# Over PostgREST: an answer with its status and headers.
sub over_http
{
	my ($user, $method) = @_;
	return
		"BEGIN; SET LOCAL request.jwt.claims = '{\"sub\": \"$id{$user}\"}';"
	  . ($method ? " SET LOCAL request.method = '$method';" : '')
	  . " SELECT keystone.reveal('acme', 'OPENAI')";
}
is(query(over_http('carol', 'POST'), 'gateway'), 'sk-FAKEfakeFAKEfakeFAKE', 'a request reveals');
my ($state, $body, $answer) = refusal(over_http('alice', 'POST'), 'gateway');
is($state, 'PGRST', 'a request that is refused takes the form of PostgREST');
$body = decode_json($body);
$answer = decode_json($answer);
my $detail = decode_json($body->{details});
my $wait = $detail->{retry_after};
is($body->{code}, 'PT429', 'the body has the code');
is($body->{message}, 'too many attempts', 'a constant message');
is($body->{hint}, "Try again in $wait seconds.", 'and a hint');
is_deeply(
	[ @{$detail}{qw(limit window limit_value remaining)} ],
	[ 'provider:openai', 'hour', 10, 0 ],
	'its details say which limit');
cmp_ok($wait, '>', 0, 'and when to try again');
cmp_ok($wait, '<=', 3600, 'which is within the hour');
like($detail->{reset_at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$/, 'and when all of it is there again');
is($answer->{status}, 429, 'the status');
is_deeply(
	$answer->{headers},
	{   'Retry-After' => "$wait",
		'Cache-Control' => 'no-store',
		'RateLimit-Policy' => '"hour";q=10;w=3600',
		'RateLimit' => "\"hour\";r=0;t=$wait" },
	'and the headers');
is((refusal(over_http('alice'), 'gateway'))[0], 'PT429', 'without a request it is PT429');
is((refusal("BEGIN; SET LOCAL request.method = 'POST'; SELECT keystone.reveal('acme', 'OPENAI')", 'alice'))[0], 'PT429',
	'and so it is for who is no authenticator');
# The settings that guard every principal and workspace, in a session that was
# there before.
sub attempts
{
	my ($role, $times) = @_;
	return "SET SESSION AUTHORIZATION $role; SELECT count(attempt('plain')) FROM generate_series(1, $times); RESET SESSION AUTHORIZATION;";
}

sub set_limit
{
	my ($name, $windows) = @_;
	return "ALTER SYSTEM SET keystone.$name = '$windows';\nSELECT FROM pg_reload_conf();\nSELECT FROM pg_sleep(0.5);\n";
}
my @counts = split /\n+/,
  query(attempts('carol', 20) . "\n"
	  . set_limit('reveal_limit', '25/hour')
	  . attempts('carol', 20) . "\n"
	  . attempts('bob', 3) . "\n"
	  . set_limit('reveal_limit', '')
	  . attempts('carol', 20) . "\n");
is("@counts", '20 20 3 20', 'a setting that nothing has counted for yet counts from then on')
  or diag 'other windows have other counters';
@counts = split /\n+/,
  query(set_limit('reveal_limit', '25/day')
	  . attempts('carol', 20) . "\n"
	  . attempts('carol', 20) . "\n"
	  . attempts('bob', 3) . "\n"
	  . set_limit('reveal_limit', '30/day')
	  . attempts('carol', 20) . "\n"
	  . set_limit('reveal_limit', '')
	  . attempts('carol', 20) . "\n");
is("@counts", '20 5 3 5 20', 'keystone.reveal_limit binds each principal, holds at once, and a raised one goes on');
($state, undef, $detail) = refusal("SELECT keystone.reveal('acme', 'plain')", 'carol');
is($state, '', 'without the setting nothing is refused');
query(set_limit('reveal_limit', '1/day'));
($state, undef, $detail) = refusal("SELECT keystone.reveal('acme', 'plain')", 'carol');
is("$state " . decode_json($detail)->{limit}, 'PT429 keystone.reveal_limit', 'the refusal names the setting');
query(set_limit('reveal_limit', ''));
@counts = split /\n+/,
  query(set_limit('workspace_reveal_limit', '25/day')
	  . attempts('carol', 20) . "\n"
	  . attempts('bob', 20) . "\n"
	  . set_limit('workspace_reveal_limit', '')
	  . attempts('bob', 20) . "\n");
is("@counts", '20 5 20', 'keystone.workspace_reveal_limit binds all members together');

# Who waits as long as it was told to gets the value.
query(set_limit('reveal_limit', '2/2 seconds'));
($state, undef, $detail) = refusal("SELECT keystone.reveal('acme', 'plain') FROM generate_series(1, 5)", 'bob');
is($state, 'PT429', 'the third in two seconds is refused');
sleep decode_json($detail)->{retry_after};
is(query("SELECT keystone.reveal('acme', 'plain')", 'bob'), 'value', 'and given when the time is over');

# What they cost: transactions a second of one client, the best of some rounds,
# since others may be busy on this machine.
sub reveals_a_second
{
	my ($windows) = @_;
	query(set_limit('reveal_limit', $windows) . set_limit('workspace_reveal_limit', $windows));
	my (undef, $printed) = pgbench($node, ["SELECT keystone.reveal('acme', 'plain');"], '-c', 1, '-M', 'prepared', '-T', 1, '-U', 'bob', 'postgres');
	return $printed =~ /^tps = ([0-9.]+)/m ? $1 : 0;
}
my ($without, $with) = (0, 0);
foreach (1 .. 4)
{
	my $tps = reveals_a_second('');
	$without = $tps if $tps > $without;
	$tps = reveals_a_second('1000000000/minute, 2000000000/hour, 4000000000/day');
	$with = $tps if $tps > $with;
}
note(sprintf 'reveals a second: %.0f without the settings, %.0f with three windows each, ratio %.3f', $without, $with, $with / $without);
cmp_ok($with, '>', 0.5 * $without, 'limits that refuse nothing do not slow a reveal down');
done_testing();
