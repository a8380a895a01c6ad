# I4: services that have worked and then hang, of many workspaces at once: the
# others' reveals do not wait for them, and the runner is nobody's; no process
# stays; what hung works again by itself; a customer that withdraws its key
# while its service hangs is obeyed at the latest after keystone.kms_cache_ttl.
use strict;
use warnings;

use IPC::Run;
use KeystoneKms;
use KeystoneNode;
use KeystoneTools qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $key = KeystoneNode::fresh_key();
my $node = KeystoneNode->start(name => 'kms_hang', keys => ["k1 $key"], start => 0, conf => <<'EOF2');
max_connections = 100
keystone.housekeeper_interval = 200ms
keystone.kms_timeout = 5s
keystone.kms_cache_ttl = 300s
keystone.denials_per_minute = 1000
EOF2
$node->start;

# Two services: a program that only says what the service would, by the URI.
# Wrapped is what was to be wrapped, masked.
my $base = $node->basedir;
my $services = "$base/services";
mkdir $services, 0700 or die;
append_to_file("$base/kms", <<"EOF2");
#!/usr/bin/perl
# scheme://SERVICE/...: hangs while $services/SERVICE.hang is there
use strict;
my (\$service) = \$ENV{KEYSTONE_KMS_URI} =~ m{^[^:]+://([^/]+)};
open my \$log, '>>', '$services/calls' or die;
syswrite \$log, "\$service \$ENV{KEYSTONE_KMS_WORKSPACE}\\n";
close \$log;
if (-e "$services/\$service.hang")
{
	close STDOUT if -e "$services/\$service.mute";
	system 'sleep', '600';
}

binmode STDIN;
binmode STDOUT;
local \$/;
my \$in = <STDIN>;
print \$ENV{KEYSTONE_KMS_OPERATION} eq 'wrap' ? 'wrapped' . (\$in ^ ("\\x5a" x length \$in)) : substr(\$in, 7) ^ ("\\x5a" x (length(\$in) - 7));
EOF2
chmod 0700, "$base/kms";
sub fault { my ($service, $what, $on) = @_; if ($on) { append_to_file("$services/$service.$what", '') } else { unlink "$services/$service.$what" } return }
sub calls { my ($service) = @_; return scalar grep { /^$service / } split /\n/, -e "$services/calls" ? slurp_file("$services/calls") : '' }

# Processes of the program and of what it started, by what they were told.
sub processes
{
	return scalar grep { (eval { slurp_file($_) } // '') =~ m{\0KEYSTONE_KMS_URI=test://} } grep { -r } glob '/proc/[0-9]*/environ';
}

my $database = 'vault';
sub query { my ($sql, $role) = @_; return $node->safe_psql($database, $sql, $role ? (extra_params => [ '-U', $role ]) : ()) }

# SQLSTATE and seconds of a statement.
sub attempt
{
	my ($sql, $role) = @_;
	my ($out, $err) = ('', '');
	my $from = time;
	$node->psql($database, $sql, stdout => \$out, stderr => \$err, on_error_stop => 1, extra_params => [ '-v', 'VERBOSITY=sqlstate', '-U', $role // 'alice' ]);
	return ($err =~ /(?:ERROR|FATAL|PANIC):\s+([0-9A-Z]{5})\b/ ? $1 : '00000', time - $from, $out);
}

# Reveals of workspaces, all at once, each in a session of its own.
sub begin_reveals
{
	my (@workspaces) = @_;
	return map { IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($database) . ' user=alice', '-c', "SELECT keystone.reveal('$_', 'token')" ],
		'<', \undef, '>', \my $out, '2>', \my $err) } @workspaces;
}
sub finish { my (@runs) = @_; foreach my $run (@runs) { eval { $run->finish } } return scalar grep { $_->result == 0 } @runs }
sub reload_with { my (%settings) = @_; query("ALTER SYSTEM SET keystone.$_ = '$settings{$_}'") foreach sort keys %settings; $node->reload; sleep 0.5; return }

$node->safe_psql('postgres', "CREATE DATABASE $database");
$node->append_conf('postgresql.conf', "keystone.kms_command = 'exec $base/kms'\n");
$node->reload;
query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE alice LOGIN;
SELECT keystone.grant_access('alice', 'client'), keystone.register_principal('alice', db_role => 'alice');
SET SESSION AUTHORIZATION alice;
SELECT keystone.create_workspace(w), keystone.store(w, 'token', 'value of ' || w)
FROM (SELECT 'big-' || n AS w FROM generate_series(1, 24) n UNION ALL SELECT unnest('{small,late,hosted}'::text[])) w;
EOF2
sleep 1;
my @big = map { "big-$_" } 1 .. 24;
query("SELECT keystone.set_workspace_kms('$_', 'test://big.example/keys/$_')", 'alice') foreach @big;
query("SELECT keystone.set_workspace_kms('small', 'test://small.example/key')", 'alice');
query("SELECT keystone.set_workspace_kms('late', 'test://late.example/key')", 'alice');

# Each of them has worked; nothing is cached any more.
reload_with(kms_cache_ttl => '0');
is(finish(begin_reveals(@big)), 24, 'a service that works answers for all of its workspaces');
is((attempt(q{SELECT keystone.reveal('small', 'token')}))[0], '00000', 'so does another one');

fault('big.example', 'hang', 1);
my $calls = calls('big.example');
my @hanging = begin_reveals(@big);
ok(wait_until(5, sub { calls('big.example') > $calls }), 'it begins to hang');
cmp_ok(processes(), '>', 2, 'in processes of its own');
my @seconds;
my @states;
for my $n (1 .. 12)
{
	my ($sqlstate, $took) = attempt(q{SELECT keystone.reveal('small', 'token')});
	push @states, $sqlstate;
	push @seconds, $took;
	sleep 0.25;
}
is("@states", join(' ', ('00000') x 12), 'I4: while 24 workspaces of one customer hang, another one is answered');
my ($longest) = sort { $b <=> $a } @seconds;
cmp_ok($longest, '<', 1.5, 'I4: without a wait');
(my $sqlstate, my $took) = attempt(q{SELECT keystone.reveal('hosted', 'token')});
ok($sqlstate eq '00000' && $took < 1, 'hosted ones do not notice');
is(finish(@hanging), 0, 'those that hang fail');
my $attempts = calls('big.example') - $calls;
cmp_ok($attempts, '>=', 24, 'though each of them was tried');
ok(wait_until(5, sub { processes() == 0 }), 'no process stays');

# Again and again, until all circuits are open, beside one that was never asked
# before in this server's life.
$node->restart;
@hanging = begin_reveals(@big);
sleep 0.5;
($sqlstate, $took) = attempt(q{SELECT keystone.reveal('late', 'token')});
is($sqlstate, '00000', 'I4: after a restart, when nobody has a good name yet, either');
cmp_ok($took, '<', 1.5, 'I4: without a wait');
finish(@hanging);

# It works again: by itself, once circuits let a call through.
fault('big.example', 'hang', 0);
ok(wait_until(60, sub { (attempt(q{SELECT keystone.reveal('big-1', 'token')}))[0] eq '00000' }), 'what hung works again by itself');
is(query(q{SELECT state FROM keystone.kms_status WHERE workspace = 'big-1'}), 'closed', 'and its circuit is closed');

# One that closes its output and hangs has nothing that wakes the runner.
fault('big.example', 'mute', 1);
fault('big.example', 'hang', 1);
ok(wait_until(60, sub { finish(begin_reveals(@big[ 1 .. 5 ])) >= 0 }), 'programs that hang without an output');
@hanging = begin_reveals(@big[ 6 .. 20 ]);
sleep 0.3;
($sqlstate, $took) = attempt(q{SELECT keystone.reveal('small', 'token')});
is($sqlstate, '00000', 'hold up nobody, either');
cmp_ok($took, '<', 1.8, 'for long');
finish(@hanging);
fault('big.example', 'mute', 0);

# Withdrawn while it hangs.
fault('big.example', 'hang', 0);
reload_with(kms_cache_ttl => '4s');
ok(wait_until(60, sub { (attempt(q{SELECT keystone.reveal('big-2', 'token')}))[0] eq '00000' }), 'it works once more');
sleep 4.2;
my $session = $node->background_psql($database, on_error_stop => 0, extra_params => [ '-U', 'alice' ]);
my $from = time;
is($session->query(q{SELECT keystone.reveal('big-2', 'token')}), 'value of big-2', 'a session has the key');
my $by = time;
fault('big.example', 'hang', 1);
is($session->query(q{SELECT keystone.reveal('big-2', 'token')}), 'value of big-2', 'before its time is over it goes on') if time - $from < 3.5;
sleep 0.05 while time - $by < 4.05;
isnt($session->query(q{SELECT keystone.reveal('big-2', 'token')}) // '', 'value of big-2', 'I4: after keystone.kms_cache_ttl the key is gone also while the service hangs');
$session->quit;
is(query(q{SELECT cached_until FROM keystone.kms_status WHERE workspace = 'big-2'}), '', 'and nothing is kept');
ok(wait_until(10, sub { processes() == 0 }), 'nor does a process stay');

unlike(slurp_file($node->logfile), qr/value of/, 'I1: no value in the server log');
is(query('SELECT ok FROM keystone.audit_verify()'), 't', 'the log verifies');
$node->stop;
ok(wait_until(10, sub { processes() == 0 }), 'after the stop nothing runs');
done_testing();
