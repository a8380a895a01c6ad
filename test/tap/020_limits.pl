# Limits in shared memory: exact with many clients; rollback, errors and cancels
# give nothing back; what restarts and crashes keep; floods of keys; databases
# apart.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(pgbench start_pgbench wait_until);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $max_keys = 1024;
my $node = KeystoneNode->start(
	name => 'limits',
	conf => <<"EOF2");
keystone.limit_max_keys = $max_keys
keystone.limit_flush_interval = 200
restart_after_crash = on
autovacuum = off
EOF2

sub query
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql);
}

sub consume
{
	my ($name, $key, $cost) = @_;
	return query(sprintf q{SELECT allowed, remaining FROM keystone.limit_consume('%s', '%s', %d)}, $name, $key, $cost // 1);
}

sub remaining
{
	my ($name, $key, $database) = @_;
	return query("SELECT remaining FROM keystone.limit_peek('$name', '$key')", $database);
}

sub stat_of
{
	my ($column, $database) = @_;
	return query("SELECT $column FROM keystone.limit_stats", $database);
}

query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE TABLE hits (test text, allowed boolean);
EOF2

# 8 clients, 500 attempts each: how many were admitted.
sub race
{
	my ($test, @calls) = @_;
	my @scripts = map { "INSERT INTO hits SELECT '$test', bool_and(allowed) FROM $_;" } @calls;
	ok(scalar pgbench($node, \@scripts, '-c', '8', '-j', '2', '-t', '500', 'postgres'), "$test: 4000 attempts");
	is(query("SELECT count(*) FROM hits WHERE test = '$test'"), 4000, "$test: all were answered");
	return query("SELECT count(*) FROM hits WHERE test = '$test' AND allowed");
}

# Exact counts.
{
	query(q{SELECT keystone.limit_define('one', '1000/hour');
		SELECT keystone.limit_define('three', '100000/hour, 1000/day, 100000/month');
		SELECT keystone.limit_define('a', '1000/hour');
		SELECT keystone.limit_define('b', '600/hour');
		SELECT keystone.limit_define('month', '1000/month', options => '{"algorithm": "calendar"}')});

	is(race('one', q{keystone.limit_consume('one', 'k')}), 1000, 'one window: exactly 1000');
	is(race('month', q{keystone.limit_consume('month', 'k')}), 1000, 'a calendar month: exactly 1000');
	is(race('three', q{keystone.limit_consume('three', 'k')}), 1000, 'three windows: exactly 1000');
	query(q{SELECT keystone.limit_define('three', '1001/hour')});
	is(remaining('three', 'k'), 1, 'and what one refused the others did not count');

	# Two keys, locked in one order whatever the caller's is.
	is( race(
			'two',
			q{keystone.limit_consume_many('[{"name": "a", "key": "x"}, {"name": "b", "key": "y"}]')},
			q{keystone.limit_consume_many('[{"name": "b", "key": "y"}, {"name": "a", "key": "x"}]')}),
		600, 'two keys: exactly 600');
	is(remaining('a', 'x'), 400, 'and what one refused the other did not count');

	# One key twice: costs add up.
	is( query(q{SELECT string_agg(allowed::text, ' ') FROM keystone.limit_consume_many('[{"name": "a", "key": "x", "cost": 300}, {"name": "a", "key": "x", "cost": 101}]')}),
		'false false', 'one key twice: together too much');
	is(remaining('a', 'x'), 400, 'nothing was charged');
	is( query(q{SELECT string_agg(allowed::text, ' ') FROM keystone.limit_consume_many('[{"name": "a", "key": "x", "cost": 300}, {"name": "a", "key": "x", "cost": 99}]')}),
		'true true', 'one key twice: together just enough');
	is(remaining('a', 'x'), 1, 'both were charged');
}

# Somebody's definitions change while others count by many, and nobody's memory
# goes away under them.
{
	query(q{CREATE ROLE counter LOGIN; SELECT keystone.grant_access('counter', 'worker')});
	my @user = (extra_params => [ '-U', 'counter' ]);
	$node->safe_psql('postgres', q{SELECT keystone.create_workspace('many' || i) FROM generate_series(1, 16) i}, @user);
	$node->safe_psql('postgres', q{SELECT keystone.limit_define('each', '1000000000/hour', 'many' || i, '{"refund": true}') FROM generate_series(1, 16) i}, @user);
	my $requests = join ',', map { qq({"name": "each", "key": "k", "workspace": "many$_"}) } 1 .. 16;
	my $position = -s $node->logfile;
	my $many = start_pgbench($node, [qq{SELECT count(*) FROM keystone.limit_consume_many('[$requests]');}], '-U', 'counter', '-c', '3', '-T', '4', 'postgres');
	my $define = start_pgbench($node, [q{SELECT keystone.limit_define('changing' || :client_id, '1/hour');}], '-c', '4', '-T', '4', 'postgres');
	$_->finish foreach $many, $define;
	unlike($node->log_since($position), qr/terminated by signal/, 'definitions change while many are asked for');
}

# Nothing rolls back.
{
	query(q{SELECT keystone.limit_define('kept', '100000000/hour')});
	my $before = remaining('kept', 'k');
	query(q{BEGIN; SELECT keystone.limit_consume('kept', 'k'); ROLLBACK});
	is(remaining('kept', 'k'), $before - 1, 'a rollback gives nothing back');
	query(q{BEGIN; SAVEPOINT s; SELECT keystone.limit_consume('kept', 'k'); ROLLBACK TO s; COMMIT});
	is(remaining('kept', 'k'), $before - 2, 'nor does a savepoint');
	$node->psql('postgres', q{SELECT 1 / (remaining - remaining) FROM keystone.limit_consume('kept', 'k')});
	is(remaining('kept', 'k'), $before - 3, 'nor does an error');

	# Cancelled at random, it counts what it has admitted, and holds no lock.
	my $load = start_pgbench(
		$node, [q{DO $$BEGIN LOOP PERFORM keystone.limit_consume('kept', 'k'); END LOOP; END$$;}],
		'-c', '3', '-t', '1', 'dbname=postgres application_name=load');
	my $cancelled = 0;
	ok(wait_until(30, sub { remaining('kept', 'k') < $before - 3 }), 'calls go on');
	ok( wait_until(
			30,
			sub {
				usleep(int(rand(20_000)));
				$cancelled += query(q{SELECT count(*) FROM (SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'load' AND state = 'active') c});
				return query(q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'load'}) == 0 && $cancelled;
			}),
		'calls can be cancelled');
	$load->finish;
	my $left = remaining('kept', 'k');
	cmp_ok($left, '<', $before - 3, 'what they admitted is counted');
	is(consume('kept', 'k'), 't|' . ($left - 1), 'and counting goes on');
}

# What outlives the server: each algorithm, a block.
my @counters = (['one', 'k'], ['month', 'k'], ['three', 'k'], ['a', 'x'], ['b', 'y'], ['kept', 'k'], ['log', 'k']);
query(q{SELECT keystone.limit_define('log', '10/day'); SELECT keystone.limit_consume('log', 'k', 3);
	SELECT keystone.limit_block('kept', 'blocked', now() + '1 day', 'a test')});
my $file = $node->data_dir . '/pg_stat/keystone_limits';

sub counts
{
	return join ' ', map { "$_->[0]=" . remaining(@$_) } @counters;
}

sub is_blocked
{
	return query(q{SELECT NOT allowed AND retry_after > 80000 FROM keystone.limit_peek('kept', 'blocked')}) eq 't';
}

sub flush
{
	return wait_until(20, sub { stat_of('dirty') == 0 });
}

my $before = counts();
my $entries = stat_of('entries');
cmp_ok($entries, '>', scalar @counters, 'there are counters');
$node->stop;
ok(-e $file, 'a clean stop leaves a file');
$node->start;
ok(!-e $file, 'which goes with the start');
is(stat_of('entries'), $entries, 'all counters are back');
is(counts(), $before, 'with all that they counted');
ok(is_blocked(), 'and the block');

# A damaged file: what was saved in the database.
ok(flush(), 'all is saved');
foreach my $damage ([ 'a flipped bit', sub { substr($_[0], length($_[0]) / 2, 1) ^= "\1" } ],
	[ 'cut short', sub { substr($_[0], -20) = '' } ], [ 'garbage', sub { $_[0] = 'garbage' } ])
{
	my ($name, $do) = @$damage;
	$node->stop;
	my $content = slurp_file($file);
	$do->($content);
	unlink $file;
	append_to_file($file, $content);
	my $position = -s $node->logfile;
	$node->start;
	like($node->log_since($position), qr/LOG:  ignoring damaged file/, "$name: the log says so");
	is(counts(), $before, "$name: the counts are those saved in the database");
	ok(is_blocked(), "$name: and the block");
}

# A crash of a backend: shared memory is made anew.
sub kill_backend
{
	my $session = start_pgbench($node, ['SELECT pg_sleep(100);'], '-t', '1', 'dbname=postgres application_name=victim');
	my $pid = wait_until(20, sub { query(q{SELECT pid FROM pg_stat_activity WHERE application_name = 'victim' AND state = 'active'}) });
	my $position = -s $node->logfile;
	kill 'KILL', $pid;
	$session->finish;
	ok(wait_until(60, sub { $node->log_since($position) =~ /reinitializing.*ready to accept connections/s }), 'the server starts anew');
	return;
}

foreach my $crash ([ 'kill -9 of a backend', \&kill_backend ], [ 'an immediate shutdown', sub { $node->stop('immediate'); $node->start } ])
{
	my ($name, $do) = @$crash;
	ok(flush(), "$name: all is saved");
	my $saved = remaining('kept', 'k');
	consume('kept', 'k', 1) foreach 1 .. 3;
	$do->();
	my $after = remaining('kept', 'k');
	ok($after >= $saved - 3 && $after <= $saved, "$name: at most what was not saved is forgotten");
	is(remaining('a', 'x'), 1, "$name: the others are as they were");
	is(consume('one', 'k'), 'f|0', "$name: who was refused is refused");
	ok(is_blocked(), "$name: who was blocked is blocked");
}

# What was unblocked or given back does not come back with a crash.
is(query(q{SELECT keystone.limit_unblock('kept', 'blocked')}), 't', 'unblocked');
ok(flush(), 'and saved');
kill_backend();
ok(!is_blocked(), 'it stays so after a crash');

# A second database.
query('CREATE DATABASE other');
query('CREATE EXTENSION keystone', 'other');
query(q{SELECT keystone.limit_define('a', '1000/hour'); SELECT keystone.limit_define('flood', '5/day'); SELECT keystone.limit_define('strict', '5/day', options => '{"class": "protect"}')}, 'other');
is(remaining('a', 'x', 'other'), 1000, 'another database has counters of its own');
query(q{SELECT keystone.limit_consume('a', 'x', 10); SELECT keystone.limit_block('a', 'blocked', now() + '1 day', 'a test')}, 'other');
is(remaining('a', 'x'), 1, 'which are nothing to the first');
is(stat_of('in_database', 'other'), 2, 'each knows its own');

# A principal's share, and a workspace's: a quarter.
query(q{CREATE ROLE app LOGIN; SELECT keystone.grant_access('app', 'worker')}, 'other');
$node->safe_psql('other', q{SELECT keystone.create_workspace('acme')}, extra_params => [ '-U', 'app' ]);
my $others = stat_of('entries', 'other');
$node->safe_psql('other', q{SELECT count(r) FROM generate_series(1, 3000) i, LATERAL keystone.rate_limit('k' || i, '1/day') r},
	extra_params => [ '-U', 'app' ]);
cmp_ok(stat_of('entries', 'other') - $others, '<=', $max_keys / 4, 'nobody takes more than his share');
cmp_ok(stat_of('entries', 'other') - $others, '>', $max_keys / 4 - 20, 'his share is his');

# Ten times as many keys as there is room for: each that is counted is admitted
# once, and all others together as often as one.
sub flood
{
	my ($name) = @_;
	my $used = stat_of('entries', 'other');
	my $overflowed = stat_of('overflowed', 'other');
	my $admitted = query(sprintf(q{SELECT count(*) FILTER (WHERE r.allowed) FROM generate_series(1, %d) i, LATERAL keystone.limit_consume('%s', 'key' || i) r},
			10 * $max_keys, $name), 'other');
	my $made = stat_of('entries', 'other') - $used;
	is($admitted, $made + 5, "$name: keys without room have one limit together");
	is(stat_of('overflowed', 'other') - $overflowed, 5, "$name: which the statistics say");
	return $made;
}
cmp_ok(flood('flood'), '>', $max_keys / 4, 'a flood fills the table');
cmp_ok(flood('strict'), '<', 20, 'the next finds it full');
cmp_ok(stat_of('in_database', 'other'), '<=', $max_keys * 3 / 4, 'a database leaves a quarter to others');
cmp_ok(stat_of('entries', 'other'), '<=', stat_of('capacity', 'other'), 'the table does not grow');
is(remaining('a', 'x', 'other'), 990, 'existing counts are intact');
is(query(q{SELECT allowed FROM keystone.limit_peek('a', 'blocked')}, 'other'), 'f', 'existing blocks are, too');
is(counts() =~ s/kept=\d+ //r, $before =~ s/kept=\d+ //r, 'so are those of the first database');

# Where a counter may lie is a matter of its hash.  Nearly each finds room; one
# of which all places are taken, though the table has others, shares the sink.
{
	my ($entries, $overflowed) = map { stat_of($_) } 'entries', 'overflowed';
	is( query(q{SELECT count(*) FILTER (WHERE r.allowed AND r.remaining <= 999) FROM generate_series(1, 50) i, LATERAL keystone.limit_consume('a', 'new' || i) r}),
		50, 'which finds room for more');
	my $made = stat_of('entries') - $entries;
	cmp_ok($made, '>=', 45, 'with counters of their own');
	is(stat_of('overflowed') - $overflowed, 50 - $made, 'or else the sink counted them');
}

# A full table comes back as full as it was.
$entries = stat_of('entries');
$node->restart;
is(stat_of('entries'), $entries, 'a full table outlives a restart');
is(remaining('a', 'x', 'other'), 990, 'with its counts');

# What goes with a database, and with the extension.
my $mine = stat_of('in_database');
query('DROP DATABASE other');
is(stat_of('entries'), $mine, 'DROP DATABASE frees the counters');
query('CREATE DATABASE other');
query('CREATE EXTENSION keystone', 'other');
query(q{SELECT keystone.limit_define('a', '1000/hour'); SELECT keystone.limit_consume('a', 'x')}, 'other');
is(stat_of('entries'), $mine + 1, 'a new database has room again');
# Without room a token is not taken: the sink that would remember it forgets whose
# mark it has, and the token would pass once more. A block that is to last longer
# stays as it is.
{
	query(q{SELECT keystone.grant_access('app', 'worker')}, 'other');
	my $app = sub { $node->safe_psql('other', $_[0], extra_params => [ '-U', 'app' ]) };
	$app->(q{SELECT keystone.create_workspace('small')});
	$app->(q{SELECT keystone.limit_define('given', '100/hour', 'small', '{"refund": true}'), keystone.limit_define('short', '9/2 seconds', 'small'),
		keystone.limit_define('pair', '10/hour', 'small')});
	$app->(q{SELECT keystone.limit_block('pair', 'k', now() + '1 hour', 'a test', 'small')});
	$app->(q{SELECT keystone.limit_define('pair', '10/hour, 20/day', 'small')});
	my $token = $app->(q{SELECT token FROM keystone.limit_consume('given', 'k', 1, 'small')});
	$app->(q{SELECT keystone.limit_consume('given', 'k', 10, 'small')});
	my $fill = q{SELECT count(*) FROM generate_series(1, 2000) i, keystone.limit_consume('short', i::text, 1, 'small')};
	my $full = $app->("$fill; SELECT keystone.limit_block('pair', 'k', now() + '2 hours', 'a test', 'small'); SELECT keystone.limit_refund('$token')");
	is((split /\n/, $full)[1], 'f', 'no room to block what is blocked for longer');
	is($app->(q{SELECT allowed FROM keystone.limit_peek('pair', 'k', 'small')}), 'f', 'the block that was there stays');
	my $given = (split /\n/, $full)[2] eq 't' ? 1 : 0;
	ok(wait_until(20, sub { usleep(500_000); $app->("SELECT keystone.limit_refund('$token')") eq 't' || $given }), 'a token is good when there is room again');
	sleep 3;
	$app->("SELECT keystone.limit_refund('$token')") foreach 1 .. 3;
	is($app->(q{SELECT remaining FROM keystone.limit_peek('given', 'k', 'small')}), 90, 'and gives back once');

	# Who has many workspaces has not the whole table.
	$app->(q{SELECT keystone.create_workspace('fill' || i) FROM generate_series(1, 6) i});
	$app->(q{SELECT keystone.limit_define('long', '1/300 days', 'fill' || i) FROM generate_series(1, 6) i});
	$app->(q{SELECT count(*) FROM generate_series(1, 6) w, generate_series(1, 400) i, keystone.limit_consume('long', i::text, 1, 'fill' || w)});
	cmp_ok(stat_of('in_database', 'other'), '<=', $max_keys * 0.6 + 5, 'all workspaces together leave room');
	my $overflowed = stat_of('overflowed', 'other');
	is( query(q{SELECT count(*) FILTER (WHERE r.allowed AND r.remaining = 999) FROM generate_series(1, 100) i, keystone.limit_consume('a', 'not theirs ' || i) r}, 'other'),
		100, 'for what is nobody\'s');
	is(stat_of('overflowed', 'other'), $overflowed, 'which needs no sink');
}

query('DROP EXTENSION keystone CASCADE', 'other');
is(stat_of('entries'), $mine, 'DROP EXTENSION frees the counters');

done_testing();
