# I6: without its root keys, or with others, the server runs sealed.  Whatever
# is wrong with the keys, the server is up, says what is wrong, refuses values
# with PT423, and a reload is all it takes to go on.
use strict;
use warnings;

use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $value = 'the value that must survive';
my ($k1, $k2) = map { KeystoneNode::fresh_key() } 1 .. 2;

my $node = KeystoneNode->start(
	name => 'seal',
	keys => ["k1 $k1"],
	conf => "restart_after_crash = on\n");
my $file = $node->root_key_file;
my $base = $node->basedir;
my $data = $node->data_dir;

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

# Waits for a query's result to match; returns the last one.
sub wait_until_like
{
	my ($sql, $pattern, $seconds) = @_;
	my $result = '';
	for (1 .. 10 * ($seconds // 20))
	{
		my ($code, $out) = $node->psql('postgres', $sql);
		$result = $out // '';
		return $result if $code == 0 && $result =~ $pattern;
		usleep(100_000);
	}
	return $result;
}

my $status = q{SELECT sealed, coalesce(reason, '') FROM keystone.seal_status};

sub set_to
{
	my %settings = @_;
	foreach my $name (sort keys %settings)
	{
		(my $quoted = $settings{$name}) =~ s/'/''/g;
		query("ALTER SYSTEM SET keystone.$name = '$quoted'");
	}
	return;
}

# Good keys again, by whichever way: a reload is enough.
sub unseal
{
	my ($name) = @_;
	query('ALTER SYSTEM RESET ALL');
	unlink $file;
	$node->write_root_keys("k1 $k1");
	$node->reload;
	like(wait_until_like($status, qr/^f\|/), qr/^f\|$/, "$name: unsealed by a reload");
	is(query(q{SELECT keystone.reveal('acme', 'token')}), $value, "$name: the value is there");
	return;
}

# One thing that is wrong: change() makes it so, and seal_status says why.
sub sealed_by
{
	my ($name, $change, $reason) = @_;
	$change->();
	$node->reload;
	like(wait_until_like($status, $reason), qr/^t\|.*$reason/, "$name: sealed, with the reason");
	is($node->psql_err('postgres', q{SELECT keystone.reveal('acme', 'token')}),
		'PT423', "$name: reveal is refused");
	is($node->psql_err('postgres', q{SELECT keystone.store('acme', 'other', 'v')}),
		'PT423', "$name: store is refused");
	is(query(q{SELECT name FROM keystone.credentials}), 'token', "$name: metadata can be read");
	unseal($name);
	return;
}

# A root key file with these lines instead.
sub keys_of
{
	my @lines = @_;
	return sub { $node->write_root_keys(@lines) };
}

sub command
{
	my ($text, %more) = @_;
	return sub { set_to(root_key_file => '', root_key_command => $text, %more) };
}

query('CREATE EXTENSION keystone');
like(query($status), qr/^f\|$/, 'open from the start');
query(q{SELECT keystone.create_workspace('acme')});
query(qq{SELECT keystone.store('acme', 'token', '$value')});
is(query('SELECT current_root_key FROM keystone.seal_status'), 'k1', 'the first key wraps');

# The file.
sealed_by('group access', sub { chmod 0640, $file or die $! }, qr/accessible by its group or by others/);
sealed_by('access for all', sub { chmod 0604, $file or die $! }, qr/accessible by its group or by others/);
sealed_by('unreadable', sub { chmod 0000, $file or die $! }, qr/not readable by the server's user/);
sealed_by('missing', sub { unlink $file or die $! }, qr/does not exist/);
sealed_by('empty', sub { open my $out, '>', $file or die $!; close $out }, qr/is empty/);
sealed_by('too long', keys_of(('# ' . 'x' x 98) x 100), qr/longer than a root keyring can be/);
sealed_by('a directory', sub { set_to(root_key_file => $base) }, qr/not a regular file/);
sealed_by('a FIFO', sub { unlink $file; system('mkfifo', '-m', '600', $file) == 0 or die },
	qr/not a regular file/);

# The data directory, by all its names.
sub key_in_data_directory
{
	my $copy = "$data/root_keys";
	append_to_file($copy, "k1 $k1\n");
	chmod 0600, $copy or die $!;
	return $copy;
}

my $inside = key_in_data_directory();
my $inside_reason = qr/lies inside the data directory/;
sealed_by('inside the data directory', sub { set_to(root_key_file => $inside) }, $inside_reason);
sealed_by('a relative name', sub { set_to(root_key_file => 'root_keys') }, $inside_reason);
sealed_by('a link into the data directory', sub { unlink $file; symlink $inside, $file or die $! },
	$inside_reason);
symlink $data, "$base/link" or die $!;
sealed_by('a directory that is a link', sub { set_to(root_key_file => "$base/link/root_keys") },
	$inside_reason);
unlink $inside;

# Links as such are followed: this is how secrets are mounted into containers.
rename $file, "$file.real" or die $!;
symlink "$file.real", $file or die $!;
$node->reload;
query('SELECT pg_sleep(0.5)');
like(query($status), qr/^f\|$/, 'a link to a good file is followed');

# What is in it.
my $pattern = 'ab' x 32;
sealed_by('only a comment', keys_of('# none'), qr/the keyring has no key/);
sealed_by('short', keys_of('k1 abcdef'), qr/shorter than 64 hexadecimal digits \(line 1\)/);
sealed_by('not hexadecimal', keys_of('k1 ' . 'x' x 64), qr/other than hexadecimal digits \(line 1\)/);
sealed_by('patterned', keys_of("k2 $k2", "k1 $pattern"), qr/pattern, not random \(line 2\)/);
sealed_by('duplicate id', keys_of("k1 $k1", "k1 $k2"), qr/id on the line .* earlier line too \(line 2\)/);
sealed_by('another key by a known id', keys_of("k1 $k2"),
	qr/root key "k1" is not the key that this database knows by that name/);
sealed_by('a known key replaced by a new one', keys_of("k2 $k2"), qr/root key "k1" .* not in the keyring/);

# The command.
query(q{SELECT keystone.store('acme', 'token', 'x')});
query(qq{SELECT keystone.store('acme', 'token', '$value')});
sealed_by('command fails', command('exit 3'), qr/failed with exit status 3/);
sealed_by('command does not exist', command("$base/nonexistent"), qr/failed with exit status 127/);
sealed_by('command dies', command('kill -9 $$'), qr/ended by signal 9/);
sealed_by('command prints nothing', command('true'), qr/printed nothing/);
sealed_by('command prints garbage', command('echo "error: not logged in"'), qr/root_key_command: .*line 1/);
sealed_by('command prints without end', command('yes'), qr/printed more than a root keyring can be/);
sealed_by('command fails after the keys', command("cat '$file'; exit 1"), qr/failed with exit status 1/);

# A command that hangs: the keys before it stay until its time is up, and no
# process of it is left.
sub alive
{
	# where nobody adopts orphans, a zombie of what the command started stays
	return grep { `ps -o stat= -p $_` =~ /^[^Z]/ } split ' ', slurp_file("$base/pids");
}

sealed_by(
	'command hangs',
	sub {
		unlink "$base/pids";
		set_to(
			root_key_file => '',
			root_key_timeout => '2s',
			root_key_command => "sleep 600 & echo \$\$ \$! > '$base/pids.new'; mv '$base/pids.new' '$base/pids'; wait");
		$node->reload;
		for (1 .. 200) { last if -e "$base/pids"; usleep(10_000); }
		is(scalar alive(), 2, 'the command runs, and what it started');
		is(query(q{SELECT keystone.reveal('acme', 'token')}), $value, 'the previous keys serve meanwhile');
	},
	qr/did not finish within 2 s/);
is(scalar alive(), 0, 'nothing of the command is left');

sealed_by('both set', sub { set_to(root_key_command => "cat '$file'") }, qr/both set; set one of them/);
sealed_by('neither set', sub { set_to(root_key_file => '') }, qr/neither .* is set; set one of them/);

command("cat '$file'")->();
$node->reload;
like(wait_until_like(q{SELECT current_setting('keystone.root_key_command')}, qr/cat/), qr/cat/, 'a good command is set');
query('SELECT pg_sleep(0.5)');
is(query(q{SELECT keystone.reveal('acme', 'token')}), $value, 'a command gives the keys as well');

# Who comes before the first load waits for it.
set_to(root_key_command => "sleep 1; cat '$file'");
$node->restart;
is(query(q{SELECT keystone.reveal('acme', 'token')}), $value, 'a call waits for the first load');
unseal('file instead of command');

# Another root key, without a restart.
$node->write_root_keys("k2 $k2", "k1 $k1");
$node->reload;
is(wait_until_like('SELECT current_root_key FROM keystone.seal_status', qr/k2/), 'k2', 'a new root key wraps after a reload');
is(query(q{SELECT keystone.reveal('acme', 'token')}), $value, 'values under the old one open');
cmp_ok(query('SELECT pending_rewraps FROM keystone.seal_status'), '>=', 2, 'keys that it wraps are counted');
query(q{SELECT keystone.create_workspace('second')});
query(q{SELECT keystone.store('second', 'new', 'under k2')});

# A session that is connected through all this.
$node->restart;
is(query(q{SELECT keystone.reveal('second', 'new')}), 'under k2', 'after a restart');
my $session = IPC::Run::start(
	[ 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr('postgres') ],
	'<', \my $in, '>', \my $out, '2>', \my $err, IPC::Run::timeout(60));

sub in_session
{
	my ($sql) = @_;
	$out = $err = '';
	$in .= "$sql;\n\\echo done\n";
	$session->pump until $out =~ /^done$/m;
	return $out . $err;
}
like(in_session(q{SELECT keystone.reveal('second', 'new')}), qr/^under k2$/m, 'a session opens a value');
$node->write_root_keys("k1 $k1");
$node->reload;
wait_until_like($status, qr/^f\|/);
wait_until_like('SELECT current_root_key FROM keystone.seal_status', qr/k1/);
like(in_session(q{SELECT keystone.reveal('second', 'new')}),
	qr/PT423/, 'its cached key is gone with the root key');
like(in_session(q{SELECT keystone.reveal('acme', 'token')}),
	qr/^\Q$value\E$/m, 'only what the missing root key wraps is refused');
$node->write_root_keys("k2 $k2", "k1 $k1");
$node->reload;
wait_until_like('SELECT current_root_key FROM keystone.seal_status', qr/k2/);
like(in_session(q{SELECT keystone.reveal('second', 'new')}), qr/^under k2$/m, 'and opens again');
$in .= "\\q\n";
$session->finish;

# Crashes.  The launcher has no entry in pg_stat_activity.
sub launcher
{
	my ($postmaster) = split /\n/, slurp_file("$data/postmaster.pid");
	foreach (split /\n/, `ps -A -o pid= -o ppid= -o args=`)
	{
		return $1 if /^\s*(\d+)\s+$postmaster\s+.*keystone launcher/;
	}
	return;
}

my $before = launcher();
ok($before, 'the launcher runs');
kill 'KILL', $before;
is(wait_until_like(q{SELECT keystone.reveal('second', 'new')}, qr/under/), 'under k2', 'after kill -9 of the launcher');
my $after = launcher();
ok($after && $after != $before, 'there is another launcher');

kill 'TERM', $after;
is(query(q{SELECT keystone.reveal('second', 'new')}), 'under k2', 'without a launcher the keys stay');
for (1 .. 150)
{
	my $now = launcher();
	last if $now && $now != $after;
	usleep(100_000);
}
isnt(launcher() // $after, $after, 'a launcher that was ended is started again');

my ($postmaster) = split /\n/, slurp_file("$data/postmaster.pid");
$node->kill9;
for (1 .. 50)
{
	last unless kill 0, $postmaster;
	usleep(100_000);
}
# Where nobody adopts orphans it stays as a zombie, which would keep the next
# server from starting.
unlink "$data/postmaster.pid" if `ps -o stat= -p $postmaster` =~ /^Z/;
for (1 .. 100)
{
	last if $node->start(fail_ok => 1);
	usleep(100_000);
}
is(wait_until_like(q{SELECT keystone.reveal('second', 'new')}, qr/under/), 'under k2', 'after kill -9 of the postmaster');

$node->stop('immediate');
$node->write_root_keys("k1 $k2");
$node->start;
like(wait_until_like($status, qr/^t\|.*k1/), qr/root key "k1" is not the key/, 'a server starts with a wrong key, sealed');
$node->write_root_keys("k2 $k2", "k1 $k1");
$node->reload;
like(wait_until_like($status, qr/^f\|/), qr/^f\|$/, 'and is unsealed by a reload');

my $log = slurp_file($node->logfile);
unlike($log, qr/$k1|$k2|$pattern/i, 'no key is in the server log');
like($log, qr/keystone: root keyring loaded \(2 keys, "k2" wraps\)/, 'the log says what was loaded');
like($log, qr/keystone: sealed: keystone\.root_key_file is empty/, 'and why it was sealed');

$node->stop;
done_testing();
