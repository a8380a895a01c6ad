# Many at once: through PgBouncer each session acts as its login role; twenty
# clients store, reveal and rotate without an error and without a lost update,
# whatever the key cache; and a session that goes on for long does not grow.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(pgbench wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(
	name => 'load',
	conf => <<'EOF2');
max_connections = 60
log_statement = none
log_min_error_statement = panic
keystone.reveal_limit = ''
keystone.workspace_reveal_limit = ''
EOF2

# query SQL [ROLE]
sub query
{
	my ($sql, $role) = @_;
	return $node->safe_psql('postgres', $sql, $role ? (extra_params => [ '-U', $role ]) : ());
}

my @roles = qw(alice bob carol);
query('CREATE EXTENSION keystone');
foreach my $role (@roles)
{
	query("CREATE ROLE $role LOGIN; SELECT keystone.grant_access('$role', 'client')");
	query("SELECT keystone.create_workspace('of-$role'); SELECT keystone.store('of-$role', 'token', 'value of $role')", $role);
}

# Twenty clients.  try_rotate() notes which version it made after the one that
# was read, or none.
query(<<'EOF2', 'alice');
SELECT keystone.store('of-alice', 'counter', '0');
SELECT keystone.store('of-alice', 'shared' || i, 'initial') FROM generate_series(0, 9) i;
EOF2
query(<<'EOF2');
CREATE TABLE done (expected int, version int);
GRANT INSERT, SELECT ON done TO alice;
CREATE FUNCTION try_rotate(expected int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	made int;
BEGIN
	made := (keystone.rotate(keystone.credential_id('of-alice', 'counter'), expected::text, expected_version => expected)).version;
	INSERT INTO done VALUES (expected, made);
EXCEPTION WHEN SQLSTATE 'PT409' THEN
	INSERT INTO done VALUES (expected, NULL);
END
$$;
EOF2
my @mix = (
	"\\set i random(0, 9)\nSELECT keystone.store('of-alice', 'shared' || :i, 'stored');\n"
	  . "SELECT 1 / (keystone.reveal('of-alice', 'shared' || :i) IN ('initial', 'stored', 'rotated'))::int;",
	"\\set i random(0, 9)\nSELECT keystone.rotate(keystone.credential_id('of-alice', 'shared' || :i), 'rotated');",
	"SELECT count(*) FROM keystone.reveal_env('of-alice');",
	"\\set i random(0, 9)\nBEGIN;\nSELECT keystone.update_metadata(keystone.credential_id('of-alice', 'shared' || :i), '{\"metadata\": {\"a\": :i}}');\n"
	  . "SELECT keystone.reveal('of-alice', 'shared' || :i);\nCOMMIT;",
	"\\set i random(1, 1000000000)\nSELECT keystone.store('of-alice', 'new ' || :i, 'new', expected_version => 0);",
	"SELECT current_version AS v FROM keystone.credentials WHERE name = 'counter' \\gset\nSELECT try_rotate(:v);",
	"SELECT count(*) FROM keystone.credentials;");

sub is_without_loss
{
	my ($name) = @_;
	my ($successes, $conflicts) = split /\|/, query('SELECT count(version), count(*) - count(version) FROM done');
	cmp_ok($successes, '>', 0, "$name: some went on from what they had read ($conflicts did not)");
	is( query(q{SELECT last_version, current_version FROM keystone_private.credentials WHERE name = 'counter'}),
		($successes + 1) . '|' . ($successes + 1), "$name: no update is lost");
	is(query('SELECT count(*) - count(DISTINCT version) FROM done WHERE version IS NOT NULL'), 0, "$name: no version is given out twice");
	is(query('SELECT count(*) FROM done WHERE version <> expected + 1'), 0, "$name: each follows the one that was expected");
	is(query(q{SELECT keystone.reveal('of-alice', 'counter')}, 'alice'), $successes, "$name: the last one is current");
	is(query('SELECT count(*) FROM keystone.verify_all() WHERE NOT ok'), 0, "$name: all versions open");
	is(query(<<'EOF2'), '', "$name: versions are consistent");
SELECT c.name FROM keystone_private.credentials c JOIN keystone.credential_versions v ON v.credential_id = c.id
GROUP BY c.id, c.name, c.last_version, c.current_version
HAVING count(*) <> c.last_version OR max(v.version) <> c.last_version OR count(*) FILTER (WHERE v.state = 'current') <> 1
	OR c.current_version <> max(v.version) FILTER (WHERE v.state = 'current')
EOF2
	return;
}

foreach my $ttl ('300s', '1s', '0')
{
	query("ALTER SYSTEM SET keystone.key_cache_ttl = '$ttl'");
	$node->reload_and_wait(query => q{SELECT current_setting('keystone.key_cache_ttl')}, expected => $ttl eq '300s' ? '5min' : $ttl);
	my ($ok, $output) = pgbench($node, \@mix, '-c', '20', '-j', '2', '-t', '30', '-U', 'alice', 'postgres');
	ok($ok && $output =~ m{actually processed: 600/600}, "key_cache_ttl $ttl: no client fails") or diag($output);
	is_without_loss("key_cache_ttl $ttl");
}

# Connections that come and go.
my ($ok, $output) = pgbench($node, \@mix, '-C', '-c', '5', '-t', '20', '-U', 'alice', 'postgres');
ok($ok, 'a connection for each transaction') or diag($output);
is_without_loss('new connections');
unlike($node->log_since(0), qr/deadlock|terminated by signal/, 'no deadlock, no crash');

# What a session holds: in memory contexts, in bytes, and in all, in kB, for
# libcrypto has its own memory.  Only Linux tells the latter; elsewhere it is 0.
query(<<'EOF2');
CREATE FUNCTION size(OUT contexts bigint, OUT process bigint) LANGUAGE sql SECURITY DEFINER AS $$
	SELECT sum(total_bytes)::bigint, coalesce(substring(pg_read_file('/proc/self/status', 0, 8192, true) FROM 'RssAnon:\s+(\d+) kB')::bigint, 0)
	FROM pg_backend_memory_contexts
$$;
EOF2
my $reveals = 5000;

sub is_stable
{
	my ($name, $ttl, @statements) = @_;
	query("ALTER SYSTEM SET keystone.key_cache_ttl = '$ttl'");
	$node->reload_and_wait(query => q{SELECT current_setting('keystone.key_cache_ttl')}, expected => $ttl);

	# the first ones fill caches
	my $calls = join '', map { "$_;\n" } @statements;
	my $file = $node->basedir . '/statements.sql';
	unlink $file;
	append_to_file($file, $calls x 1000 . "SELECT * FROM size();\n" . $calls x $reveals . "SELECT * FROM size();\n");
	my $output = '';
	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' user=alice', '-f', $file ], '>', \$output, '2>', '/dev/null');
	my @sizes = map { [ split /\|/ ] } grep { /^\d+\|\d+$/ } split /\n/, $output;
	is(scalar(() = $output =~ /^value of alice$/mg), 1000 + $reveals, "$name: values are revealed");
	cmp_ok($sizes[1][0] - $sizes[0][0], '<', 65536, "$name: the session's memory contexts do not grow");
	cmp_ok($sizes[1][1] - $sizes[0][1], '<', 512, "$name: nor does the process");
	return;
}

my $reveal = q{SELECT keystone.reveal('of-alice', 'token')};
foreach my $ttl ('5min', '0')
{
	is_stable("$reveals reveals and as many denied, key_cache_ttl $ttl", $ttl, $reveal, q{SELECT keystone.reveal('of-alice', 'none')});
}

# The same within one statement, where nothing is freed at its end.
query(<<'EOF2');
CREATE FUNCTION growth(calls int, OUT contexts bigint, OUT process bigint) LANGUAGE plpgsql AS $$
DECLARE
	before record;
	after record;
BEGIN
	FOR i IN 1 .. calls LOOP
		PERFORM keystone.reveal('of-alice', 'token');
		BEGIN
			PERFORM keystone.reveal('of-alice', 'none');
		EXCEPTION WHEN SQLSTATE 'PT404' THEN
			NULL;
		END;
		-- the first two fill caches
		IF i IN (400, 500, calls) THEN
			before := after;
			SELECT * INTO after FROM size();
		END IF;
	END LOOP;
	contexts := after.contexts - before.contexts;
	process := after.process - before.process;
END
$$;
EOF2
my ($contexts, $process) = split /\|/, query("SELECT * FROM growth($reveals)", 'alice');
cmp_ok($contexts, '<', 65536, 'within one statement: memory contexts do not grow');
cmp_ok($process, '<', 512, 'within one statement: nor does the process');

# PgBouncer, with transactions of several roles mixed.
sub find_pgbouncer
{
	foreach my $directory (split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin')
	{
		return "$directory/pgbouncer" if -x "$directory/pgbouncer";
	}
	return;
}

SKIP:
{
	my $pgbouncer = find_pgbouncer();
	skip 'PgBouncer is not installed', 8 unless $pgbouncer;

	my $directory = $node->basedir;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $host = $node->host;
	append_to_file("$directory/users.txt", join '', map { qq("$_" ""\n) } @roles);
	append_to_file("$directory/pgbouncer.ini", <<"EOF2");
[databases]
postgres = host=$host port=${\$node->port}
as_carol = host=$host port=${\$node->port} dbname=postgres user=carol
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
	my $bouncer = IPC::Run::start([ $pgbouncer, '-q', "$directory/pgbouncer.ini" ], '>&', \$log, IPC::Run::timeout(120));
	my $connect = sub { my ($role, $database) = @_; return "host=$host port=$port dbname=" . ($database // 'postgres') . " user=$role" };
	my $through = sub {
		my ($role, $sql, $database) = @_;
		my ($out, $err) = run_command([ 'psql', '-XAtq', '-d', $connect->($role, $database), '-c', $sql ]);
		return $out . $err;
	};
	my $up = wait_until(10, sub { $through->('alice', 'SELECT 1') eq '1' });
	ok($up, 'PgBouncer runs') or diag($log, $through->('alice', 'SELECT 1'));

	foreach my $role (@roles)
	{
		is($through->($role, "SELECT keystone.reveal('of-$role', 'token')"), "value of $role", "through PgBouncer $role reveals its own");
	}
	my $of_bob = $through->('alice', q{SELECT keystone.reveal('of-bob', 'token')});
	like($of_bob, qr/no such object/, 'and nothing of others');
	is($through->('alice', q{SELECT keystone.reveal('of-carol', 'token')}, 'as_carol'), 'value of carol', 'the role that PgBouncer logs in as counts');

	# all at once, more clients than server connections
	my @runs = map {
		my $role = $_;
		my $script = "$directory/of_$role.sql";
		append_to_file($script,
			    "BEGIN;\nSELECT 1 / (keystone.reveal('of-$role', 'token') = 'value of $role')::int;\n"
			  . "SELECT 1 / (count(*) = 1)::int FROM keystone.workspaces;\nSELECT 1 / (session_user = '$role')::int;\n"
			  . "SELECT keystone.store('of-$role', 'other', '$role');\nCOMMIT;\n");
		my $output = '';
		{
			handle => IPC::Run::start(
				[ 'pgbench', '-n', '-c', '6', '-t', '30', '-f', $script, $connect->($role) ], '>&', \$output, IPC::Run::timeout(120)),
			output => \$output
		}
	} @roles;
	my @failed = grep { !$_->{handle}->finish } @runs;
	is(join("\n", map { ${ $_->{output} } } @failed), '', 'eighteen clients of three roles see their own only');
	is(query(q{SELECT count(DISTINCT last_version), max(last_version) FROM keystone_private.credentials WHERE name = 'other'}), '1|180', 'and store there');
	$bouncer->kill_kill;
}

$node->stop;
done_testing();
