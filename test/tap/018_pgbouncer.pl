# I4 through PgBouncer in transaction mode: many callers, proved by API keys
# and by tokens, share two connections, and each gets its own only.  What one
# client leaves behind in a session gives nothing to the next.
use strict;
use warnings;

use KeystoneJwt qw(json jwt);
use KeystoneNode;
use KeystoneTools qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
plan skip_all => 'PgBouncer is not installed' unless $pgbouncer;

my $secret = KeystoneNode::fresh_key();
my $node = KeystoneNode->start(start => 0, conf => "keystone.authenticators = 'authenticator'\nkeystone.denials_per_minute = 100000\n");
my $keys_file = $node->basedir . '/jwt_keys';
append_to_file($keys_file, "$secret\n");
chmod 0600, $keys_file or die "$keys_file: $!";
$node->append_conf('postgresql.conf', "keystone.jwt_keys_file = '$keys_file'");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE vault');
$node->safe_psql('vault', <<~'EOF2');
	CREATE EXTENSION keystone;
	CREATE ROLE authenticator LOGIN NOINHERIT;
	CREATE ROLE authenticated;
	CREATE ROLE service_role;
	CREATE ROLE pool LOGIN;
	GRANT authenticated, service_role TO authenticator;
	SELECT keystone.grant_access(r, 'client') FROM unnest(ARRAY['authenticated', 'service_role', 'pool']) r;
	EOF2

# Callers: each has a workspace of its own with a value of its own, which it
# makes by its JWT; half of them go on with an API key.
my $callers = 12;
my (@token, @id);
foreach my $n (1 .. $callers)
{
	$id[$n] = sprintf('ca11e000-0000-4000-8000-%012d', $n);
	$token[$n] = jwt($secret, sub => $id[$n], exp => time + 3600);
	my $made = $node->safe_psql('vault', <<~"EOF2", extra_params => [ '-U', 'pool' ]);
		BEGIN;
		SELECT FROM keystone.authenticate('$token[$n]');
		SELECT FROM keystone.create_workspace('ws-$n');
		SELECT FROM keystone.store('ws-$n', 'token', 'value of $n');
		SELECT api_key FROM keystone.create_api_key('ws-$n', 'key');
		COMMIT;
		EOF2
	$token[$n] = $made if $n % 2;
}

# PgBouncer: "vault" has two connections, "one" a single one.
my $directory = $node->basedir;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $host = $node->host;
append_to_file("$directory/users.txt", qq("pool" ""\n"authenticator" ""\n));
append_to_file("$directory/pgbouncer.ini", <<"EOF2");
[databases]
vault = host=$host port=${\$node->port}
one = host=$host port=${\$node->port} dbname=vault pool_size=1
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $host
auth_type = trust
auth_file = $directory/users.txt
pool_mode = transaction
default_pool_size = 2
logfile = $directory/pgbouncer.log
ignore_startup_parameters = extra_float_digits
EOF2
my $log = '';
my $bouncer = IPC::Run::start([ $pgbouncer, '-q', "$directory/pgbouncer.ini" ], '>&', \$log, IPC::Run::timeout(300));

sub connect_to
{
	my ($role, $database) = @_;
	return "host=$host port=$port dbname=$database user=$role";
}

# One client: runs SQL through PgBouncer.  Returns what it prints, or the
# SQLSTATE of the first error.
sub client
{
	my ($role, $database, $sql) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=sqlstate', '-d', connect_to($role, $database) ],
		'<', \$sql, '>', \$out, '2>', \$err);
	chomp $out;
	return $err =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5})\b/ ? $1 : $out . $err;
}

# Scripts of pgbench: it ends with the first error, and there is one when a
# condition is false.
my $scripts = 0;

sub script
{
	my ($text) = @_;
	my $file = "$directory/script" . ++$scripts . '.sql';
	append_to_file($file, "$text\n");
	return ('-f', $file);
}

sub holds { my ($condition, $from) = @_; return "SELECT 1 / ($condition)::int" . ($from ? " FROM $from" : '') . ';' }

# Runs all of them at once.  Returns pgbench's complaints, and how often each ran.
sub together
{
	my ($role, @scripts) = @_;
	my $out = '';
	my $ok = IPC::Run::run([ 'pgbench', '-n', '-c', '16', '-j', '2', '-t', '60', @scripts, connect_to($role, 'vault') ],
		'>&', \$out, IPC::Run::timeout(180));
	return $ok ? '' : $out, $out =~ /^ - (\d+) transactions/mg;
}

my $anonymous = holds("source = 'anonymous' AND workspaces = '[]'", 'keystone.whoami()');
ok(wait_until(10, sub { client('pool', 'vault', 'SELECT 1') eq '1' }), 'PgBouncer runs') or diag $log;
is($node->safe_psql('vault', q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'pool'}) <= 2, 1, 'with few connections');

# A proof in the statement that needs it; explicit transactions; clients who
# prove nothing; and ones whose statement, or transaction, ends in an error.
{
	my @reveals = map { (
			script(holds("keystone.reveal('ws-$_', 'token') = 'value of $_'", "keystone.authenticate('$token[$_]')")),
			script("BEGIN;\nSELECT FROM keystone.authenticate('$token[$_]');\n"
				  . holds("keystone.reveal('ws-$_', 'token') = 'value of $_'") . "\n"
				  . holds("count(*) = 1 AND min(workspace) = 'ws-$_'", 'keystone.credentials') . "\n"
				  . "SAVEPOINT s;\n" . holds("keystone.current_principal() IS NOT NULL AND NOT keystone.has_permission('ws-" . ($_ % $callers + 1) . "', 'view')") . "\nROLLBACK TO s;\nCOMMIT;")) } 1 .. $callers;
	my @others = (
		script($anonymous), script(holds('count(*) = 0', 'keystone.credentials')),
		script("BEGIN;\nSELECT FROM keystone.authenticate('$token[1]');\nROLLBACK;\n$anonymous"),
		script("BEGIN;\nSAVEPOINT s;\nSELECT FROM keystone.authenticate('$token[1]');\nROLLBACK TO s;\n$anonymous\nCOMMIT;"),
		script("DO \$\$ BEGIN PERFORM keystone.authenticate('$token[2]'); PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END \$\$;\n$anonymous"));
	my ($complaints, @times) = together('pool', @reveals, @others);
	is($complaints, '', 'I4 many callers through two connections get their own each');
	$node->safe_psql('vault', 'SELECT keystone_private.audit_flush()');
	my $revealed = $node->safe_psql('vault', q{SELECT string_agg(n::text, ' ' ORDER BY substr(workspace, 4)::int) FROM
		(SELECT workspace, count(*) AS n FROM keystone.audit_log WHERE action = 'credential.reveal' AND outcome = 'ok' GROUP BY workspace) x});
	is($revealed, join(' ', map { $times[ 2 * $_ - 2 ] + $times[ 2 * $_ - 1 ] } 1 .. $callers), 'each reveal stands in the log, as many as there were');
	is($node->safe_psql('vault', q{SELECT count(*), count(DISTINCT workspace), count(DISTINCT actor) FROM
		(SELECT DISTINCT workspace, actor FROM keystone.audit_log WHERE action = 'credential.reveal') x}), "$callers|$callers|$callers", 'I4 under one name for each workspace');
	is($node->safe_psql('vault', q{SELECT count(*) FROM keystone.audit_log WHERE outcome = 'denied'}), '0', 'and nobody was refused');
}

# Requests as PostgREST makes them, among clients who leave settings behind.
{
	my $request = sub {
		my ($n, $rest) = @_;
		my $headers = json($n % 2 ? ('x-keystone-key' => $token[$n]) : (authorization => "Bearer $token[$n]"));
		return "BEGIN;\nSELECT set_config('request.method', 'POST', true), set_config('request.headers', '$headers', true), set_config('role', 'authenticated', true);\n$rest\nCOMMIT;";
	};
	my @requests = map {
		script($request->($_, holds("keystone.reveal('ws-$_', 'token') = 'value of $_'") . "\n"
			  . holds("count(*) = 1 AND min(workspace) = 'ws-$_'", 'keystone.credentials')))
	} 1 .. $callers;
	my @leavers = map {
		my $headers = json($_ % 2 ? ('x-keystone-key' => $token[$_]) : (authorization => "Bearer $token[$_]"));
		(
			script("SELECT set_config('request.headers', '$headers', false), set_config('request.jwt.claims', '{\"sub\": \"$id[$_]\"}', false);"),
			script("BEGIN;\nSET SESSION \"request.headers\" = '$headers';\nCOMMIT;"),
			script("SET ROLE service_role;"))
	} 1 .. 3;
	my @none = (
		script("BEGIN;\nSET LOCAL ROLE authenticated;\n$anonymous\n" . holds('count(*) = 0', 'keystone.credentials') . "\nCOMMIT;"),
		script("BEGIN;\nSET LOCAL ROLE authenticated;\nSET LOCAL \"request.method\" = 'GET';\n$anonymous\nCOMMIT;"),
		script("BEGIN;\nSELECT set_config('request.headers', '{}', true), set_config('role', 'authenticated', true);\n$anonymous\nCOMMIT;"));
	my ($complaints) = together('authenticator', @requests, @leavers, @none);
	is($complaints, '', 'I4 what other clients have set in the sessions is nobody\'s');
}

# One connection: what a client leaves is what the next one finds.
my $who = 'SELECT source FROM keystone.whoami()';
my $names = 'SELECT string_agg(workspace, \',\') FROM keystone.credentials';
is(client('pool', 'one', "PREPARE p(text) AS SELECT keystone.reveal('ws-1', 'token') FROM keystone.authenticate(\$1); EXECUTE p('$token[1]')"), 'value of 1', 'a prepared statement');
is(client('pool', 'one', "EXECUTE p('$token[1]')"), 'value of 1', 'is there for the next client');
is(client('pool', 'one', "EXECUTE p('$token[2]')"), 'PT404', 'I4 and gives it its own only');
is(client('pool', 'one', "PREPARE q AS $names"), '', 'a query as well');
foreach my $round (1 .. 7)
{
	# By then it has a plan that stays.
	my $n = $round % 3 + 1;
	is(client('pool', 'one', "BEGIN;\nSELECT FROM keystone.authenticate('$token[$n]');\nEXECUTE q;\nCOMMIT;"), "ws-$n", "I4 prepared by one, run by another: round $round");
}
is(client('pool', 'one', 'EXECUTE q'), '', 'I4 and by nobody');
is(client('pool', 'one', "$who;\nSELECT count(*) FROM pg_prepared_statements WHERE name IN ('p', 'q')"), "anonymous\n2", 'they are there still');
is(client('pool', 'one', "DISCARD ALL;\n$who;\nSELECT count(*) FROM pg_prepared_statements WHERE name IN ('p', 'q')"), "anonymous\n0", 'until all is discarded');

my $in_transaction = "BEGIN;\nSELECT FROM keystone.authenticate('$token[2]');\n";
is(client('pool', 'one', "${in_transaction}RESET ALL;\n$who;\nCOMMIT;\n$who"), "jwt\nanonymous", 'RESET ALL is no end of a proof, the transaction\'s is');
is(client('pool', 'one', "${in_transaction}SELECT 1 / 0;"), '22012', 'a client that goes away in an aborted transaction');
is(client('pool', 'one', $who), 'anonymous', 'I4 leaves no identity');
is(client('pool', 'one', "${in_transaction}$who;"), 'jwt', 'one that goes away in the middle');
is(client('pool', 'one', $who), 'anonymous', 'I4 neither');
is(client('pool', 'one', "${in_transaction}CREATE TEMP TABLE kept AS $names;\nCREATE FUNCTION pg_temp.kept() RETURNS text LANGUAGE sql AS '$who';\nSELECT pg_temp.kept();\nCOMMIT;"), 'jwt', 'a temporary function');
is(client('pool', 'one', 'SELECT pg_temp.kept()'), 'anonymous', 'I4 has the identity of who calls it');
is(client('pool', 'one', "${in_transaction}DECLARE c CURSOR WITH HOLD FOR $who;\nCOMMIT;"), '', 'a cursor that is held');
is(client('pool', 'one', "CREATE TEMP VIEW seen AS $names;\nSELECT * FROM seen"), '', 'a view');
is(client('pool', 'one', "${in_transaction}SELECT * FROM seen;\nCOMMIT"), 'ws-2', 'shows each what it sees');
is(client('pool', 'one', "BEGIN;\nSELECT FROM keystone.authenticate('$token[3]');\nSELECT * FROM seen;\nCOMMIT"), 'ws-3', 'I4 and no more');

# A key that is revoked, and a principal that is disabled, end at once for all
# of the pool.
$node->safe_psql('vault', "BEGIN;\nSELECT FROM keystone.authenticate('" . jwt($secret, sub => $id[1], exp => time + 60) . "');\nSELECT FROM keystone.revoke_api_key('ws-1', 'key');\nCOMMIT", extra_params => [ '-U', 'pool' ]);
is(client('pool', $_, "SELECT keystone.reveal('ws-1', 'token') FROM keystone.authenticate('$token[1]')"), '42501', "I4 a revoked key, in each pool: $_") foreach 'one', 'vault', 'vault';
$node->safe_psql('vault', "SELECT keystone.disable_principal('$id[2]'), keystone.disable_principal('$id[3]')");
is(client('pool', $_, "SELECT keystone.reveal('ws-2', 'token') FROM keystone.authenticate('$token[2]')"), '42501', "I4 a disabled principal: $_") foreach 'one', 'vault', 'vault';
is(client('pool', 'one', "SELECT keystone.reveal('ws-3', 'token') FROM keystone.authenticate('$token[3]')"), '42501', 'I4 and its API keys');

$bouncer->kill_kill;
$node->stop;
done_testing();
