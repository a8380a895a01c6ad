# I2 and I3 for long: kill -9 of a client backend, the appender, the launcher
# and the postmaster in turn, under load.  Each acknowledged reveal and change
# is in the log, the log verifies, and no call takes longer than its deadline.
#
# SOAK_KILLS (200) says how often; SOAK_CLIENTS (8) how many clients.
use strict;
use warnings;

use AuditLoad;
use KeystoneNode;
use List::Util qw(max sum);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $kills = $ENV{SOAK_KILLS} // 200;
my $deadline = 5;
my $patience = 2;	# what a busy machine may need more

my $node = KeystoneNode->start(name => 'soak', start => 0, conf => <<"EOF2");
max_connections = 60
shared_buffers = 32MB
restart_after_crash = on
log_statement = none
log_min_messages = warning
wal_writer_delay = 10s
keystone.audit_timeout = ${deadline}s
keystone.audit_checkpoint_interval = 200ms
keystone.housekeeper_interval = 200ms
keystone.reveal_limit = ''
keystone.workspace_reveal_limit = ''
EOF2
foreach my $name ('key', 'anchor')
{
	my $directory = $node->basedir . "/audit_$name";
	mkdir $directory, 0700 or die "$directory: $!";
	$node->append_conf('postgresql.conf', "keystone.audit_${name}_dir = '$directory'");
}
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE vault; CREATE ROLE alice LOGIN');
$node->safe_psql('vault', q{CREATE EXTENSION keystone; SELECT keystone.grant_access('alice', 'client')});
$node->safe_psql('vault', q{SELECT keystone.create_workspace('acme'); SELECT keystone.store('acme', 'token', 'value')}, extra_params => [ '-U', 'alice' ]);

sub query { return $node->safe_psql('vault', $_[0]) }

my $load = AuditLoad->start($node, database => 'vault', role => 'alice', clients => $ENV{SOAK_CLIENTS} // 8, pause => 0.01);
ok($load->wait_for(100), 'calls are under way');

my @verified;

sub check
{
	my ($name) = @_;
	my @missing = $load->missing;
	is_deeply(\@missing, [], "$name: each acknowledged call is in the log");
	my $from = time;
	is(query('SELECT ok, first_bad, problem, verdict FROM keystone.audit_verify()'), 't|||self-consistent', "$name: the log verifies");
	push @verified, time - $from;
	return;
}

my @targets = ('backend', 'appender', 'launcher', 'postmaster');
my %pauses;
foreach my $n (1 .. $kills)
{
	my $target = $targets[ ($n - 1) % @targets ];
	sleep rand 0.5;
	my $seconds = $load->kill_one($target);
	if (!defined $seconds)
	{
		fail("kill $n, $target: calls go on");
		last;
	}
	push @{ $pauses{$target} }, $seconds;
	check("after $n kills") if $n % 10 == 0;
}
is(sum(0, map { scalar @$_ } values %pauses), $kills, "$kills kills: calls go on after each");

ok($load->stop($deadline + 30), 'no client hangs');
check('at the end');
is($load->wrong, 0, 'no wrong value');
cmp_ok($load->longest, '<', $deadline + $patience, 'no call takes longer than the deadline');
is($load->errors('PT424', '57P01', '57P02', '57P03'), '', 'the only errors are PT424 and those of the crashes');
is(query(q{SELECT count(*) FROM (SELECT at < lag(at) OVER (ORDER BY seq) AS back FROM keystone.audit_log) t WHERE back}), 0, 'times do not go back');
is(query('SELECT count(*) FROM keystone_private.audit_epochs'), 1, 'a crash begins no epoch');
is(query('SELECT count(*) FROM keystone.verify_all() WHERE NOT ok'), 0, 'every version opens');

diag(sprintf '%d kills, %d acknowledged calls, all in the log of %d entries', $kills, $load->acknowledged,
	query('SELECT max(seq) FROM keystone_private.audit_entries'));
diag(sprintf 'longest call %.2f s; %s', $load->longest,
	join ', ', map { sprintf '%s: calls go on after %.2f s (%.2f s at most)', $_, sum(@{ $pauses{$_} }) / @{ $pauses{$_} }, max(@{ $pauses{$_} }) } sort keys %pauses);
diag(sprintf 'verification took %.2f s at most; errors: %s', max(@verified), $load->errors || 'none');
$node->stop;
done_testing();
