# Workers do not stand in a DBA's way: statements about whole databases succeed
# while workers run in them, and reveals work again afterwards.  Whatever ends
# a worker, it comes back (T1); too few processes or slots are reported (T16);
# the log does not go with an extension that its owner drops (T19).
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(
	name => 'databases',
	conf => "max_worker_processes = 20\nkeystone.max_databases = 6\n");
my $value = 'what is in there';

sub query
{
	my ($sql, $database, $role) = @_;
	return $node->safe_psql($database // 'postgres', $sql, $role ? (extra_params => [ '-U', $role ]) : ());
}

# Workers that are connected to a database: "appender:pid housekeeper:pid".
sub workers
{
	my ($database) = @_;
	return query(qq{SELECT coalesce(string_agg(substr(backend_type, 10) || ':' || pid, ' ' ORDER BY backend_type), '')
		FROM pg_stat_activity WHERE backend_type ~ '^keystone ' AND datname = '$database'});
}

# Waits for both workers of a database; returns them.
sub both_workers
{
	my ($database) = @_;
	return wait_until(20, sub {
		my $workers = workers($database);
		return $workers =~ /^appender:\d+ housekeeper:\d+$/ && $workers;
	}) // '';
}

sub no_workers
{
	my ($database) = @_;
	return wait_until(20, sub { return workers($database) eq '' });
}

sub launcher
{
	return query(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'keystone launcher'});
}

sub revealed
{
	my ($database) = @_;
	return query(q{SELECT keystone.reveal('acme', 'token')}, $database);
}

# What the health view says of a check, once it is (not) ok.
sub health
{
	my ($database, $check, $ok) = @_;
	return wait_until(30, sub {
		my ($code, $out) = $node->psql($database,
			qq{SELECT detail FROM keystone.health WHERE check_name = '$check' AND ok = $ok});
		return $code == 0 && $out;
	}) // '';
}

# A statement that succeeds although workers run in the database, and leaves
# it as it was.
sub undisturbed
{
	my ($name, $sql, %more) = @_;
	my $database = $more{database} // 'vault';
	ok(both_workers('vault'), "$name: the workers run before");
	is($node->psql_err('postgres', $sql, extra_params => [ '-U', $more{role} // $ENV{PGUSER} // (getpwuid $<)[0] ]),
		$more{error} // '00000', "$name: " . ($more{error} ? 'fails' : 'succeeds'));
	is(revealed($database), $value, "$name: reveals work again");
	ok(both_workers($database), "$name: the workers run again");
	return;
}

query(<<'EOF2');
CREATE DATABASE vault;
CREATE ROLE tenant LOGIN;
CREATE ROLE outsider LOGIN CREATEDB;
EOF2
query(qq{CREATE EXTENSION keystone;
	SELECT keystone.create_workspace('acme'); SELECT keystone.store('acme', 'token', '$value')}, 'vault');
is(revealed('vault'), $value, 'a value is revealed');
ok(both_workers('vault'), 'a database with the extension has its workers');
is(workers('postgres'), '', 'one without it has none');

# Statements that need a database for themselves.
my $tablespace = $node->basedir . '/tablespace';
mkdir $tablespace or die $!;
query("CREATE TABLESPACE elsewhere LOCATION '$tablespace'");

undisturbed('CREATE DATABASE TEMPLATE', 'CREATE DATABASE copied TEMPLATE vault');
ok(both_workers('copied'), 'the copy has workers, too');
is(query('CREATE DATABASE copied_from_inside TEMPLATE vault; SELECT 1', 'vault'), '1',
	'CREATE DATABASE TEMPLATE of the current database');
undisturbed('SET TABLESPACE', 'ALTER DATABASE vault SET TABLESPACE elsewhere');
undisturbed('RENAME', 'ALTER DATABASE vault RENAME TO moved', database => 'moved');
query('ALTER DATABASE moved RENAME TO vault');
is(revealed('vault'), $value, 'RENAME back: reveals work again');
undisturbed('RENAME that is rolled back', 'BEGIN; ALTER DATABASE vault RENAME TO moved; ROLLBACK');
undisturbed('RENAME that fails', 'ALTER DATABASE vault RENAME TO copied', error => '42P04');
undisturbed('CREATE DATABASE that fails', 'CREATE DATABASE copied TEMPLATE vault', error => '42P04');
undisturbed('DROP DATABASE of a database that does not exist', 'DROP DATABASE IF EXISTS nowhere');
undisturbed('CREATE DATABASE of another template', 'CREATE DATABASE plain');

# Who may not do it disturbs nobody.
my $before = both_workers('vault');
foreach my $sql (
	'DROP DATABASE vault', 'DROP DATABASE vault WITH (FORCE)', 'ALTER DATABASE vault RENAME TO mine',
	'ALTER DATABASE vault SET TABLESPACE pg_default', 'CREATE DATABASE mine TEMPLATE vault')
{
	is($node->psql_err('postgres', $sql, extra_params => [ '-U', 'outsider' ]), '42501', "an outsider's $sql is refused");
}
is($node->psql_err('postgres', 'BEGIN; DROP DATABASE vault'), '25001', 'DROP DATABASE inside a transaction is refused');
is($node->psql_err('vault', 'DROP DATABASE vault'), '55006', 'DROP DATABASE of the current database is refused');
is(workers('vault'), $before, 'none of them has disturbed the workers');

# Databases that go.
query('ALTER DATABASE copied OWNER TO tenant');
ok(both_workers('copied'), 'DROP DATABASE by its owner: the workers run before');
is($node->psql_err('postgres', 'DROP DATABASE copied', extra_params => [ '-U', 'tenant' ]), '00000',
	'DROP DATABASE by its owner');
ok(both_workers('copied_from_inside'), 'DROP DATABASE WITH FORCE: the workers run before');
my $session = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('copied_from_inside'), '-c', 'SELECT pg_sleep(60)' ],
	'>', \my $out, '2>', \my $err, IPC::Run::timeout(60));
wait_until(10, sub { return query(q{SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'}) eq '1' });
query('DROP DATABASE copied_from_inside WITH (FORCE)');
$session->finish;
is(query(q{SELECT count(*) FROM pg_database WHERE datname ~ 'copied'}), '0', 'DROP DATABASE WITH FORCE');

# The extension comes later, and goes.
ok(no_workers('plain'), 'a database without the extension has no workers');
query('CREATE EXTENSION keystone', 'plain');
ok(both_workers('plain'), 'it has them once the extension is there');
query('UPDATE pg_extension SET extowner = \'tenant\'::regrole WHERE extname = \'keystone\'', 'plain');
my ($code, undef, $stderr) = $node->psql('plain', 'DROP EXTENSION keystone CASCADE', extra_params => [ '-U', 'tenant' ]);
like($stderr, qr/only a superuser may drop the extension keystone/, 'T19: its owner cannot drop it');
is($node->psql_err('plain', 'DROP EXTENSION keystone', extra_params => [ '-U', 'tenant' ]), '42501', 'T19: SQLSTATE');
is($node->psql_err('postgres', 'DROP EXTENSION IF EXISTS keystone', extra_params => [ '-U', 'tenant' ]), '00000',
	'T19: nothing is refused where it is not installed');
query('DROP EXTENSION keystone CASCADE', 'plain');
ok(no_workers('plain'), 'without the extension the workers go');
query('CREATE EXTENSION keystone', 'plain');
ok(both_workers('plain'), 'and come again with it');
query('ALTER DATABASE plain IS_TEMPLATE true');
ok(no_workers('plain'), 'a template has no workers');
query('ALTER DATABASE plain IS_TEMPLATE false');
ok(both_workers('plain'), 'and has them again when it is none any more');

# T1: whatever ends a worker, it comes back.
foreach my $kind ('appender', 'housekeeper')
{
	foreach my $round (1 .. 3)
	{
		my $workers = both_workers('vault');
		my ($pid) = $workers =~ /$kind:(\d+)/;
		query("SELECT pg_terminate_backend($pid, 10000)");
		is(revealed('vault'), $value, "T1: reveals work after the $kind was ended ($round)");
		my $now = both_workers('vault');
		ok($now ne '' && $now !~ /$kind:$pid\b/, "T1: there is another $kind ($round)");
	}
	my ($pid) = both_workers('vault') =~ /$kind:(\d+)/;
	query("SELECT pg_cancel_backend($pid)");
	is(revealed('vault'), $value, "T5: reveals work after the $kind was cancelled");
	ok(both_workers('vault'), "T5: the $kind was cancelled, and runs");
}

$before = both_workers('vault');
my $launcher = launcher();
query("SELECT pg_cancel_backend($launcher)");
is(query('SELECT sealed FROM keystone.seal_status', 'vault'), 'f', 'T5: cancelling the launcher does not seal');
is(launcher(), $launcher, 'T5: nor does it end it');
query("SELECT pg_terminate_backend($launcher, 10000)");
is(revealed('vault'), $value, 'T1: without the launcher reveals work');
my $next = wait_until(30, sub { my $pid = launcher(); return $pid ne '' && $pid ne $launcher && $pid });
ok($next, 'T1: there is another launcher');
is(workers('vault'), $before, 'T1: which takes over the workers that run');
my ($appender) = $before =~ /appender:(\d+)/;
query("SELECT pg_terminate_backend($appender, 10000)");
ok(both_workers('vault'), 'T1: and restarts them');
is(revealed('vault'), $value, 'T1: so that reveals work');

# The runner has no database, and no line in pg_stat_activity.
sub runner
{
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my ($pid) = `ps -A -o pid= -o ppid= -o args=` =~ /^\s*(\d+)\s+$postmaster\s.*keystone runner/m;
	return $pid;
}

is(runner(), undef, 'without a command there is no runner');
query(q{ALTER SYSTEM SET keystone.audit_anchor_command = 'cat > /dev/null'});
$node->reload;
my $runner = wait_until(20, \&runner);
ok($runner, 'with a command there is one');
kill 'TERM', $runner;
ok(wait_until(20, sub { return (runner() // $runner) != $runner }), 'T1: it comes back when it is ended');
query('ALTER SYSTEM RESET keystone.audit_anchor_command');
$node->reload;
ok(wait_until(20, sub { return !defined runner() }), 'it ends when the command is unset');

# Too few slots: vault and plain have the extension.
ok(health('vault', 'databases', 'true'), 'max_databases: enough');
query('ALTER SYSTEM SET keystone.max_databases = 1');
$node->restart;
my $served = wait_until(30, sub {
	my ($one) = grep { workers($_) ne '' } 'vault', 'plain';
	return $one;
}) // 'vault';
like(health($served, 'databases', 'false'), qr/max_databases/, 'max_databases too small: health says so');
is((grep { workers($_) ne '' } 'vault', 'plain'), 1, 'max_databases too small: one is served');
query('ALTER SYSTEM RESET keystone.max_databases');

# T16: too few processes.  The server's own logical replication launcher takes
# one, the launcher another.
my $position = -s $node->logfile;
query('ALTER SYSTEM SET max_worker_processes = 3');
$node->restart;
like(health('vault', 'workers', 'false'), qr/max_worker_processes/, 'T16: max_worker_processes too low: health says so');
my @said = $node->log_since($position) =~ /no background process is free/g;
is(scalar @said, 1, 'T16: the log says so once');
query('ALTER SYSTEM RESET max_worker_processes');
$node->restart;
ok(both_workers('vault'), 'T16: with enough of them all run');
ok(health('vault', 'workers', 'true'), 'T16: health is content');
is(revealed('vault'), $value, 'T16: reveals work');

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/TRAP:|PANIC|segmentation|signal 11/i, 'nothing crashed');
done_testing();
