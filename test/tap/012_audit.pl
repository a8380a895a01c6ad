# I2 and I3: a reveal is in the log before the caller has the value, and stays
# there whatever becomes of the transaction; if it cannot be written, there is
# no value.  One process writes the log, and it verifies, whatever is stopped,
# locked, killed, promoted, restored or copied.  The traps of the audit log
# (T1 to T17) by their numbers.
use strict;
use warnings;

use AuditLoad;
use Digest::SHA qw(sha256);
use IPC::Run;
use KeystoneNode;
use KeystoneTools qw(crash_postmaster pgbench wait_until);
use MIME::Base64;
use PlaintextScan;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $key = KeystoneNode::fresh_key();
my $me = getpwuid $<;	# the superuser

# Where keys and checkpoints are kept: outside the data directory.
sub give_audit_directories
{
	my ($server) = @_;
	foreach my $name ('key', 'anchor')
	{
		my $directory = $server->basedir . "/audit_$name";
		mkdir $directory, 0700 or die "$directory: $!";
		$server->append_conf('postgresql.conf', "keystone.audit_${name}_dir = '$directory'");
	}
	return;
}

my $node = KeystoneNode->start(
	name => 'audit',
	init => [ allows_streaming => 1 ],
	keys => ["k1 $key"],
	start => 0,
	conf => <<'EOF2');
max_connections = 60
shared_buffers = 16MB
max_prepared_transactions = 5
restart_after_crash = on
autovacuum = off
log_statement = none
wal_writer_delay = 10s
keystone.audit_ring_size = 64kB
keystone.audit_checkpoint_interval = 200ms
keystone.housekeeper_interval = 200ms
keystone.denials_per_minute = 5
keystone.reveal_limit = ''
keystone.workspace_reveal_limit = ''
EOF2
give_audit_directories($node);
$node->start;
my $started_at = time;

# The checkpoints that were published by a server.
sub outside
{
	my ($from) = @_;
	my @found;
	foreach my $file (glob $from->basedir . '/audit_anchor/*')
	{
		my ($origin, $size, $root) = split /\n/, slurp_file($file);
		push @found, { file => $file, origin => $origin, size => $size, root => $root } if ($size // '') =~ /^\d+$/;
	}
	return @found;
}

# The size of the newest of an origin, or of all.
sub newest_outside
{
	my ($from, $origin) = @_;
	my $newest = 0;
	foreach my $checkpoint (outside($from))
	{
		$newest = $checkpoint->{size} if $checkpoint->{size} > $newest && $checkpoint->{origin} eq ($origin // $checkpoint->{origin});
	}
	return $newest;
}

# What follows is about this server and database, until told otherwise.
my ($server, $database) = ($node, 'vault');

# query SQL [ROLE]
sub query
{
	my ($sql, $role) = @_;
	return $server->safe_psql($database, $sql, $role ? (extra_params => [ '-U', $role ]) : ());
}

# SQLSTATE, seconds, and what was printed, of statements.
sub attempt
{
	my ($sql, $role) = @_;
	my ($out, $err) = ('', '');
	my $from = time;
	$server->psql($database, $sql, stdout => \$out, stderr => \$err, on_error_stop => 1,
		extra_params => [ '-v', 'VERBOSITY=sqlstate', '-U', $role // 'alice' ]);
	my $seconds = time - $from;
	return ($err =~ /(?:ERROR|FATAL|PANIC):\s+([0-9A-Z]{5})\b/ ? $1 : '00000', $seconds, $out);
}

sub session
{
	my ($role) = @_;
	return $server->background_psql($database, on_error_stop => 0, extra_params => [ '-U', $role // 'alice' ]);
}

# A call that reveals 'value' under a request id.
my $ids = 0;
sub new_id { return 'request ' . ++$ids }
sub reveal { my ($id, $name) = @_; return "keystone.reveal('acme', '" . ($name // 'token') . qq{', context => '{"request_id": "$id"}')} }

sub store
{
	my ($id, $name, $value) = @_;
	return "keystone.store('acme', '$name', '" . ($value // 'value') . qq{', context => '{"request_id": "$id"}')};
}

# Entries with a request id; of an outcome.
sub logged
{
	my ($id, $outcome) = @_;
	return query("SELECT count(*) FROM keystone.audit_log WHERE request_id = '$id'" . ($outcome ? " AND outcome = '$outcome'" : ''));
}
sub flush { return query('SELECT keystone_private.audit_flush()') }

sub reveals
{
	my ($name, $role) = @_;
	my $id = new_id();
	my ($state, undef, $value) = attempt('SELECT ' . reveal($id), $role // 'alice');
	is("$state $value, " . logged($id, 'ok'), '00000 value, 1', "$name: a reveal works, and is in the log");
	return;
}

sub verifies
{
	my ($name) = @_;
	is(query('SELECT ok, first_bad, problem, verdict FROM keystone.audit_verify()'), 't|||self-consistent', "$name: the log verifies");
	return;
}

sub set
{
	my ($setting, $value) = @_;
	my $before = query("SELECT pg_conf_load_time()");
	query("ALTER SYSTEM SET $setting = '$value'");
	query('SELECT pg_reload_conf()');
	wait_until(10, sub { query('SELECT pg_conf_load_time()') ne $before }) or die "$setting was not reloaded";
	return;
}

# Pids of a background process of this database; the launcher has none.
sub pids
{
	my ($kind) = @_;
	my $where = $kind eq 'launcher' ? '' : " AND datname = '$database'";
	return split /\n/, query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'keystone $kind'$where");
}

sub pid_of
{
	my ($kind) = @_;
	my @pids;
	wait_until(20, sub { @pids = pids($kind); @pids == 1 }) or die "there are " . @pids . " ${kind}s";
	return $pids[0];
}

sub is_waiting
{
	my ($pid) = @_;
	return wait_until(10, sub { query("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND state = 'active' AND wait_event_type IN ('Extension', 'IPC')") });
}

$node->safe_psql('postgres', 'CREATE DATABASE vault; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN');
query(<<'EOF2');
CREATE EXTENSION keystone;
SELECT keystone.grant_access(r, 'client') FROM unnest('{alice,bob,carol}'::name[]) r;
SELECT keystone.register_principal(initcap(r), db_role => r) FROM unnest('{bob,carol}'::name[]) r;
SELECT keystone.register_principal('Root', db_role => current_user);
EOF2
query(q{SELECT keystone.create_workspace('acme'); SELECT keystone.store('acme', 'token', 'value')}, 'alice');
foreach my $role ('bob', $me)
{
	my $principal = query('SELECT keystone.current_principal()', $role);
	query("SELECT keystone.add_member('acme', '$principal', 'admin')", 'alice');
}
reveals('at first');

# Denials of one caller: bounded entries, and later the exact number.  Not at
# the turn of a minute.
my $denials = 200;
my ($denied_id, $denied_minute);
{
	my $left = 60 - query('SELECT extract(second FROM clock_timestamp())');
	sleep $left + 0.1 if $left < 4;
	$denied_id = new_id();
	$denied_minute = query(q{SELECT extract(epoch FROM date_trunc('minute', clock_timestamp()))::bigint});
	query(<<"EOF2", 'carol');
DO \$\$
BEGIN
	FOR i IN 1 .. $denials LOOP
		BEGIN
			PERFORM ${\reveal($denied_id)};
		EXCEPTION WHEN SQLSTATE 'PT404' OR SQLSTATE '42501' THEN
			NULL;
		END;
	END LOOP;
END
\$\$
EOF2
	is(logged($denied_id), 5, 'denials: as many entries as denials_per_minute says');
	is(logged($denied_id, 'denied'), 5, 'denials: their outcome is denied');
	my @bounds = split /\n/, query(q{SELECT detail ->> 'up_to' FROM keystone.audit_log WHERE action = 'denials' AND detail ->> 'up_to' IS NOT NULL ORDER BY seq});
	cmp_ok(scalar @bounds, '>', 0, 'denials: further ones are covered');
	cmp_ok(scalar @bounds, '<', 10, 'denials: by few entries');
	cmp_ok($bounds[-1], '>=', $denials, "denials: up to $bounds[-1], not fewer than there were");
	is(query(q{SELECT count(DISTINCT db_role), min(db_role), count(*) FILTER (WHERE outcome <> 'denied') FROM keystone.audit_log WHERE action = 'denials'}),
		'1|carol|0', 'denials: they say whose');
	reveals('denials', 'bob');
}


# I2: what is revealed stays recorded.
my @endings = (
	[ 'ROLLBACK', 'BEGIN; SELECT %s; ROLLBACK' ],
	[ 'ROLLBACK TO', 'BEGIN; SAVEPOINT s; SELECT %s; ROLLBACK TO s; COMMIT' ],
	[ 'an exception block', q{DO $$ BEGIN PERFORM %s; RAISE EXCEPTION 'gone'; EXCEPTION WHEN OTHERS THEN NULL; END $$} ],
	[ 'a cursor', 'BEGIN; DECLARE c CURSOR FOR SELECT %s; FETCH c; CLOSE c; ROLLBACK' ],
	[ 'READ ONLY', 'BEGIN READ ONLY; SELECT %s; ROLLBACK' ],
	[ 'REPEATABLE READ', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; SELECT %s; ROLLBACK' ],
	[ 'SERIALIZABLE', 'BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; SELECT %s; ROLLBACK' ],
	[ 'SERIALIZABLE READ ONLY DEFERRABLE', 'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT %s; ROLLBACK' ],
	[ 'ROLLBACK PREPARED', q{BEGIN; SELECT %s; PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'} ],
	[ 'synchronous_commit = off', 'SET synchronous_commit = off; BEGIN; SELECT %s; ROLLBACK' ],
	[ 'an error after it', 'SELECT %s, 1 / (random() < 0)::int', '22012' ],
	[ 'statement_timeout after it', 'SET statement_timeout = 400; SELECT %s, pg_sleep(60)', '57014' ],
	[ 'pg_cancel_backend after it', 'SELECT %s, pg_cancel_backend(pg_backend_pid()), pg_sleep(60)', '57014' ],
	[ 'the end of the session after it', 'SELECT %s, pg_terminate_backend(pg_backend_pid()), pg_sleep(60)', '57P01' ]);
foreach my $ending (@endings)
{
	my ($name, $sql, $expected) = @$ending;
	my $id = new_id();
	my ($state) = attempt(sprintf($sql, reveal($id)));
	is($state, $expected // '00000', "I2, $name: $state");
	is(logged($id, 'ok'), 1, "I2, $name: the entry stays");
}
foreach my $name ('a refusal', 'a refusal that is rolled back')
{
	my $id = new_id();
	my ($state) = attempt(($name =~ /rolled/ ? 'BEGIN; ' : '') . 'SELECT ' . reveal($id, 'none'));
	is($state . logged($id, 'denied'), 'PT4041', "I2, $name: the entry stays");
}

# A change is in the log when it is committed, else not.
{
	my $id = new_id();
	query("BEGIN; SELECT FROM ${\store($id, 'rolled')}; ROLLBACK; BEGIN; SAVEPOINT s; SELECT FROM ${\store($id, 'rolled')}; ROLLBACK TO s; COMMIT", 'alice');
	flush();
	is(logged($id), 0, 'I2: a change that was rolled back is not in the log');

	foreach my $end ('COMMIT', 'ROLLBACK')
	{
		$id = new_id();
		query("BEGIN; SELECT FROM ${\store($id, $end)}; PREPARE TRANSACTION 'p'", 'alice');
		flush();
		is(logged($id), 0, "I2: a change that is prepared is not in the log");
		query("$end PREPARED 'p'", 'alice');
		if ($end eq 'COMMIT')
		{
			ok(wait_until(10, sub { logged($id) == 1 }), 'I2: after COMMIT PREPARED it is');
		}
		else
		{
			sleep 0.5;
			flush();
			is(logged($id), 0, 'I2: after ROLLBACK PREPARED it is not');
		}
	}

	# T12
	$id = new_id();
	is(query("BEGIN; SELECT FROM ${\store($id, 'token', 'never')}; SELECT ${\reveal($id)}; SAVEPOINT s; SELECT FROM ${\store($id, 'new', 'never')}; SELECT ${\reveal($id, 'new')}; ROLLBACK", 'alice'),
		"never\nnever", 'T12: versions that are rolled back later are revealed');
	is(logged($id), 2, 'T12: the reveals are in the log, the changes are not');
	is(query("SELECT count(version) FROM keystone.audit_log WHERE request_id = '$id' AND action = 'credential.reveal'"), 2, 'T12: they say which versions');
	verifies('T12');
}


# I2: the log cannot be written: there is no value, and no call hangs.
my $patience = 1.5;	# what a busy machine may need more
{
	my $appender = pid_of('appender');
	my $late = new_id();
	my $timeout = 1;
	set('keystone.audit_timeout', '1s');
	kill('STOP', $appender) or die $!;

	foreach my $call ("SELECT ${\reveal($late)}", "SELECT * FROM keystone.reveal_env('acme')", "SELECT keystone.export_env('acme')",
		"SELECT * FROM keystone.reveal_many(ARRAY[keystone.credential_id('acme', 'token')])")
	{
		my ($state, $seconds, $out) = attempt($call);
		is($state, 'PT424', "I2, appender stopped: PT424: $call");
		ok($seconds > 0.9 * $timeout && $seconds < $timeout + $patience,
			sprintf 'I2, appender stopped: after the deadline of %.1f s (%.1f s)', $timeout, $seconds);
		is($out, '', 'I2, appender stopped: no value');
		set('keystone.audit_timeout', '300ms') if $timeout == 1;
		$timeout = 0.3;
	}
	my ($state, $seconds) = attempt('SELECT ' . reveal(new_id(), 'none'));
	is($state, 'PT424', 'I2, appender stopped: a refusal that cannot be recorded is PT424');
	cmp_ok($seconds, '<', $timeout + $patience, 'I2, appender stopped: after the deadline');
	my $change = new_id();
	($state, $seconds) = attempt("SELECT FROM ${\store($change, 'changed')}");
	is($state, '00000', 'I2, appender stopped: a change does not wait for the log');

	# Waits can be ended before the deadline.
	set('keystone.audit_timeout', '30s');
	($state, $seconds) = attempt("SET statement_timeout = 200; SELECT ${\reveal(new_id())}");
	is($state, '57014', 'I2: statement_timeout ends the wait');
	cmp_ok($seconds, '<', 0.2 + $patience, 'I2: at once');

	my $session = session();
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	foreach my $how ('cancel', 'terminate')
	{
		$session->query_until(qr/go/, "\\echo go\nSELECT ${\reveal(new_id())};\n");
		ok(is_waiting($pid), "I2: a reveal waits");
		my $from = time;
		query("SELECT pg_${how}_backend($pid)");
		wait_until(10, sub { !query("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND state = 'active'") });
		cmp_ok(time - $from, '<', $patience, "I2: pg_${how}_backend ends the wait at once");
	}
	eval { $session->quit };

	# A storm of them: a share of the ring is full after some, the others wait
	# for room.
	my $cancelled = 0;
	my $script = $node->basedir . '/storm.sql';
	append_to_file($script, "SET statement_timeout = 50;\n" . ("SELECT ${\reveal('storm')};\n" x 10));
	my @storm = map {
		my $out = '';
		{
			out => \$out,
			handle => IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $server->connstr($database) . ' user=alice', '-f', $script ],
				'<', \undef, '>&', \$out, IPC::Run::timeout(60))
		}
	} 1 .. 10;
	foreach my $client (@storm)
	{
		$client->{handle}->finish;
		$cancelled += () = ${ $client->{out} } =~ /ERROR:  57014/g;
	}
	is($cancelled, 100, 'cancel storm: 100 waits are cancelled');

	my @waiting = map { session($_) } 'alice', 'bob';
	my @promised = map { new_id() } @waiting;
	foreach my $n (0, 1)
	{
		my $pid = $waiting[$n]->query_safe('SELECT pg_backend_pid()');
		$waiting[$n]->query_until(qr/go/, "\\echo go\nSELECT ${\reveal($promised[$n])};\n");
		ok(is_waiting($pid), 'I2: a reveal waits');
	}
	kill('CONT', $appender) or die $!;
	foreach my $n (0, 1)
	{
		is($waiting[$n]->query('SELECT 1'), "value\n1", 'I2, appender goes on: a reveal that waited gives its value');
		$waiting[$n]->quit;
	}
	is(pid_of('appender'), $appender, 'I2, appender goes on: it is the same');
	is(join(' ', map { logged($_, 'ok') } @promised), '1 1', 'I2, appender goes on: both are in the log');
	cmp_ok(logged($late), '<=', 4, 'I2, appender goes on: the log may have more reveals than were given');
	flush();
	is(logged($change), 1, 'I2, appender goes on: the change is in the log');
	reveals('I2, appender goes on');
	my $active = q{SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND backend_type = 'client backend'};
	ok(wait_until(5, sub { query($active) == 0 }), 'cancel storm: nobody is stuck');
	verifies('I2, appender goes on');
	set('keystone.audit_timeout', '5s');
}


# T1, T8: the appender is terminated under load.
{
	my $load = AuditLoad->start($node, database => 'vault', role => 'alice', clients => 4);
	ok($load->wait_for(200), 'T1: reveals are under way');
	my %appenders;
	my $most = 0;
	foreach (1 .. 6)
	{
		my $pid = pid_of('appender');
		$appenders{$pid} = 1;
		query("SELECT pg_terminate_backend($pid)");
		wait_until(20, sub { my @pids = pids('appender'); @pids == 1 && $pids[0] != $pid }) or last;
	}
	$appenders{ pid_of('appender') } = 1;
	is(scalar keys %appenders, 7, 'T1: a terminated appender comes back each time');
	ok($load->wait_for(200), 'T1: reveals go on');

	# T5
	my $pid = pid_of('appender');
	query("SELECT pg_cancel_backend($pid), pg_sleep(0.01) FROM generate_series(1, 50)");
	ok($load->wait_for(200), 'T5: pg_cancel_backend on the appender: reveals go on');
	is(pid_of('appender'), $pid, 'T5: it is the same process');

	ok($load->stop, 'T1: no client hangs');
	cmp_ok($load->longest, '<', 5 + $patience, sprintf 'T1: no call takes longer than the deadline (%.2f s)', $load->longest);
	is($load->errors('PT424'), '', 'T1: the only error is PT424');
	is($load->wrong, 0, 'T1: no wrong value');
	is_deeply([ $load->missing ], [], 'T1: each of ' . $load->acknowledged . ' acknowledged calls is in the log');
	is(scalar(() = pids('appender')), 1, 'T8: there is one appender');
	verifies('T1, T5, T8');

	# T8: two entries with one number, the guards being out of the way.
	my $copy = q{INSERT INTO keystone_private.audit_entries SELECT * FROM keystone_private.audit_entries WHERE seq = 3};
	is((attempt($copy, $me))[0], '42501', 'T8: nobody else writes entries');
	is((attempt("SET session_replication_role = replica; $copy", $me))[0], '42501', 'T8: not as a replica either');
	is((attempt("BEGIN; ALTER TABLE keystone_private.audit_entries DISABLE TRIGGER ALL; $copy; COMMIT", $me))[0], '23505',
		'T8: without guards the primary key refuses a second entry of a number');
	reveals('T8');
}


# T2, T9: the caller holds a lock that the appender needs.
sub is_proven
{
	my ($name, $seq) = @_;
	my @lines = split /\n/, query("SELECT keystone.audit_inclusion($seq)"), -1;
	my ($index, @path, $size, $root);
	shift @lines;
	while (defined(my $line = shift @lines))
	{
		last if $line eq '';
		if ($line =~ /^index (\d+)/) { $index = $1 }
		elsif ($line !~ /^extra/) { push @path, decode_base64($line) }
	}
	($size, $root) = ($lines[1], decode_base64($lines[2]));
	my $entry = pack 'H*', query("SELECT encode(entry, 'hex') FROM keystone_private.audit_entries WHERE seq = $seq");

	# RFC 9162, 2.1.3.2
	my ($fn, $sn, $hash) = ($index, $size - 1, sha256("\0$entry"));
	my $ok = $index < $size;
	foreach my $other (@path)
	{
		$ok = 0, last if $sn == 0;
		if ($fn % 2 == 1 || $fn == $sn)
		{
			$hash = sha256("\1$other$hash");
			until ($fn % 2 == 1 || $fn == 0) { $fn >>= 1; $sn >>= 1 }
		}
		else
		{
			$hash = sha256("\1$hash$other");
		}
		$fn >>= 1;
		$sn >>= 1;
	}
	ok($ok && $sn == 0 && $hash eq $root, "$name: inclusion of entry $seq is proven");
	return;
}

query(q{SELECT keystone.store('acme', 'token', 'value')});
foreach my $table ('audit_entries', 'audit_outbox', 'audit_checkpoints')
{
	foreach my $before ('', "SELECT FROM ${\store(new_id(), 'changed')}; COMMIT; BEGIN; ")
	{
		next if $before && $table eq 'audit_checkpoints';
		my $id = new_id();
		my ($state, $seconds, $out) = attempt(
			"BEGIN; ${before}LOCK TABLE keystone_private.$table IN ACCESS EXCLUSIVE MODE; SELECT FROM pg_sleep(0.3); SELECT ${\reveal($id)}; COMMIT", $me);
		my $name = "T2, lock on $table" . ($before ? ' after a change' : '');
		like($state, $table eq 'audit_entries' ? qr/^PT424$/ : qr/^(PT424|00000)$/, "$name: $state");
		is($out, $state eq '00000' ? 'value' : '', "$name: a value only without error");
		cmp_ok($seconds, '<', 5 + $patience, sprintf "$name: bounded (%.1f s)", $seconds);
		cmp_ok(logged($id, 'ok'), '>=', $state eq '00000' ? 1 : 0, "$name: no value without entry");
		reveals($name);
	}
}
verifies('T9: after batches that failed');
{
	my ($first, $last) = split /\|/, query(q{SELECT min(seq), max(seq) FROM keystone.audit_log WHERE action = 'credential.reveal'});
	is_proven('T9', $_) foreach 1, $first, int(($first + $last) / 2), $last;
}


# T7: triggers fire.
{
	my $id = new_id();
	query("SET session_replication_role = replica; SELECT FROM ${\store($id, 'token')}");
	flush();
	is(logged($id), 1, 'T7: session_replication_role = replica does not silence a change');
	query(q{SET session_replication_role = replica; UPDATE keystone_private.credentials SET description = 'by hand' WHERE name = 'token'});
	flush();
	is(query(q{SELECT count(*) FROM keystone.audit_log WHERE detail ->> 'source' = 'direct' AND action LIKE 'credential.%'}), 1, 'T7: nor one by hand');
	query(q{SET session_replication_role = replica; COPY (SELECT * FROM keystone_private.credentials WHERE false) TO STDOUT;});
	foreach my $table ('credentials', 'ciphertext', 'members')
	{
		my $schema = $table eq 'members' ? 'keystone' : 'keystone_private';
		my $before = query('SELECT max(seq) FROM keystone.audit_log');
		my ($state) = attempt("SET session_replication_role = replica; BEGIN; TRUNCATE $schema.$table CASCADE; COMMIT", $me);
		flush();
		isnt($state, '00000', "T7: $table cannot be truncated");
	}
}

# T13: one that takes long holds up nobody.
{
	my $session = session();
	my ($long, $other) = (new_id(), new_id());
	$session->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM ${\store($long, 'long')}");
	query("SELECT FROM ${\store($other, 'other')}", 'alice');
	flush();
	is(logged($other) . logged($long), '10', 'T13: a transaction that is open does not hold up the change of another');
	reveals('T13');
	$session->query_safe('COMMIT');
	$session->quit;
	flush();
	is(logged($long), 1, 'T13: and is in the log when it commits');
	verifies('T13');
}


# The ring: many events of one caller, others are served meanwhile.
{
	my ($session, $bobs) = (session(), session('bob'));
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $many = new_id();
	my ($served, $longest) = (0, 0);
	my $from = time;
	$session->query_until(qr/go/, <<"EOF2");
\\echo go
SELECT count(*), count(DISTINCT value), min(value)
FROM generate_series(1, 3) n, keystone.reveal_many(ARRAY(SELECT keystone.credential_id('acme', 'token') FROM generate_series(1, 10000)),
	context => jsonb_build_object('request_id', '$many.' || n));
EOF2
	while (1)
	{
		my $begin = time;
		my $value = $bobs->query('SELECT ' . reveal('meanwhile'));
		my $seconds = time - $begin;
		last unless query("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid = $pid");
		$served++ if $value eq 'value';
		$longest = $seconds if $seconds > $longest;
	}
	$bobs->quit;
	is($session->query('SELECT 1'), "30000|1|value\n1", sprintf 'ring: three times reveal_many of 10,000 through 64 kB (%.1f s)', time - $from);
	$session->quit;
	is(query("SELECT count(*) FROM keystone.audit_log WHERE request_id LIKE '$many.%' AND outcome = 'ok'"), 30000, 'ring: each is in the log');
	cmp_ok($served, '>', 0, "ring: another caller is served $served times meanwhile");
	cmp_ok($longest, '<', $patience, sprintf 'ring: without waiting for its end (%.2f s at most)', $longest);
	verifies('ring');
}


# T6: the outbox's order is that of commits for each object, whoever changes it.
{
	query(q{SELECT keystone.store('acme', 'contended', 'first')});
	my ($ok, $output) = pgbench($node, [ "SELECT keystone.rotate(keystone.credential_id('acme', 'contended'), 'next');" ],
		'-c', '8', '-t', '20', '-U', 'alice', 'vault');
	ok($ok, 'T6: eight clients rotate one credential') or diag($output);
	flush();
	is(query(q{SELECT string_agg(l.version::text, ',' ORDER BY l.seq) = (SELECT string_agg(i::text, ',' ORDER BY i) FROM generate_series(1, 161) i)
		FROM keystone.audit_log l JOIN keystone.credentials c ON c.id = l.object WHERE c.name = 'contended' AND l.action ~ 'create|rotate'}),
		't', 'T6: their entries stand in the order of the versions');
}


# T11: a digest in the log is of ciphertext, so that nobody can guess values by it.
{
	query(q{SELECT keystone.store('acme', 'guess' || i, 'the same guessable value') FROM generate_series(1, 2) i});
	flush();
	is(query(q{SELECT count(*), count(DISTINCT d) FROM keystone_private.audit_entries e, keystone.credentials c,
		substring(e.entry from position('\x0e00000020'::bytea in e.entry) + 5 for 32) d
		WHERE c.name ~ '^guess' AND e.object_id = c.id AND position('\x0e00000020'::bytea in e.entry) > 0}),
		'2|2', 'T11: the same value gives different digests');
	is(query(q{SELECT count(*) FROM keystone_private.audit_entries e, (SELECT sha256('the same guessable value') AS d) x
		WHERE position(x.d in e.entry) > 0 OR position(x.d in coalesce(e.detail, '')) > 0
			OR position(encode(x.d, 'hex')::bytea in coalesce(e.detail, '')) > 0}),
		0, 'T11: none of them is a digest of the value');
}


# T17: no plaintext in the log, nor in the processes that write it.
{
	my ($secret, $control) = ('zqAuditWordXvKwJ', 'qzControlWordYvWk');
	my $scan = PlaintextScan->new(secret => $secret, control => $control);
	my $position = -s $node->logfile;
	my $from = time;
	my $context = qq{context => '{"request_id": "$control"}'};
	my @calls = (
		"SELECT keystone.store('acme', 'secret', (:v)::text, $context);", "SELECT keystone.reveal('acme', 'secret', $context);",
		"SELECT keystone.rotate(keystone.credential_id('acme', 'secret'), (:v)::text || 'x');",
		"SELECT * FROM keystone.reveal_env('acme', $context);", "SELECT keystone.export_env('acme');",
		"BEGIN;", "SELECT keystone.store('acme', 'secret2', (:v)::text);", "SELECT keystone.reveal('acme', 'secret2');", "ROLLBACK;",
		"SELECT * FROM keystone.reveal_many(ARRAY[keystone.credential_id('acme', 'secret')]);");
	my ($ok, $output) = pgbench($node, [ join "\n", @calls ], '-M', 'extended', '-c', '2', '-t', '20', '-D', "v=$secret-and-more", '-U', 'alice', 'vault');
	ok($ok, 'T17: values are stored and revealed') or diag($output);
	like(query(q{SELECT keystone.reveal('acme', 'secret')}), qr/^$secret/, 'T17: they were bound');
	flush();

	my $copies = $node->basedir . '/copies';
	mkdir $copies or die;
	foreach my $table (split /\n/, query(q{SELECT relname FROM pg_class WHERE relnamespace = 'keystone_private'::regnamespace AND relkind = 'r' AND relname ~ '^(audit|approval_claims|instance|credential_usage|housekeeping)'}))
	{
		query("\\copy keystone_private.$table TO '$copies/$table' (FORMAT binary)");
	}
	$scan->look_below($copies, sub { $_[0] });
	$scan->look('log', $node->log_since($position));
	foreach my $file (glob $node->data_dir . '/pg_wal/0*')
	{
		$scan->look('wal', slurp_file($file)) if (stat $file)[9] >= $from - 1;
	}
	my %searched;
	foreach my $kind ('appender', 'housekeeper', 'launcher')
	{
		my $pid = pid_of($kind);
		my $bytes = look_at_memory($scan, $kind, $pid, $kind ne 'appender') or next;
		$searched{$kind} = $bytes;
	}
	my %control = $scan->found('control');
	ok($control{'audit_entries: plain'}, 'T17, control: the log is searched');
	ok($control{'wal: plain'}, 'T17, control: the WAL is searched');
	SKIP:
	{
		skip 'the memory of other processes cannot be read', 4 unless keys %searched == 3;
		ok($control{'shared memory: plain'}, 'T17, control: shared memory is searched');
		ok($control{'appender: plain'}, 'T17, control: the memory of the appender is searched');
		cmp_ok($searched{$_}, '>', 100_000, "T17: the memory of the $_ is searched") foreach 'housekeeper', 'launcher';
	}
	my %found = $scan->found('secret');
	is(join("\n", map { "$_: $found{$_}" } sort keys %found), '', 'T17: no value is found in the log, the WAL, the server log or memory');
}

# Searches what a process can write to.  Returns how many bytes, 0 when that is
# not possible.
sub look_at_memory
{
	my ($scan, $name, $pid, $without_shared) = @_;
	my $total = 0;
	no warnings 'portable';	# 64 bits
	open my $maps, '<', "/proc/$pid/maps" or return 0;
	open my $memory, '<:raw', "/proc/$pid/mem" or return 0;
	while (my $line = <$maps>)
	{
		my ($from, $to, $mode, $path) = $line =~ /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)$/ or next;
		my $is_shared = $mode =~ /s$/;
		next if $mode !~ /^rw/ || ($is_shared && $without_shared);
		my ($at, $end, $tail) = (hex $from, hex $to, '');
		while ($at < $end)
		{
			sysseek $memory, $at, 0 or last;
			my $n = sysread $memory, my $bytes, $end - $at < 1 << 20 ? $end - $at : 1 << 20;
			last unless $n;
			$scan->look($is_shared ? 'shared memory' : $name, $tail . $bytes);
			$tail = substr $bytes, -200;
			$at += $n;
			$total += $n;
		}
	}
	return $total;
}


# A claim is decided once, by the appender: a rollback does not give it back.
{
	my $claim = sub { return "SELECT keystone_private.claim_request('00000000-0000-0000-0000-$_[0]')" };
	is(query('BEGIN; ' . $claim->('000000000001') . '; ROLLBACK'), 't', 'I8: the first claim wins');
	is(query($claim->('000000000001')), 'f', 'I8: a rollback gives no claim back');
	is(query('SELECT count(*) FROM keystone_private.approval_claims'), 1, 'the claim stands in the table');
	is(query("SELECT string_agg(outcome, ',' ORDER BY seq) FROM keystone.audit_log WHERE action = 'approval.claim'"),
		'ok,denied', 'I2: both claims are in the log');
	my $script = $node->basedir . '/claims.sql';
	my @racers;
	append_to_file($script, join '', map { $claim->(sprintf '%012d', $_) . ";\n" } 100 .. 299);
	foreach my $racer (1 .. 4)
	{
		my $out = '';
		push @racers, { out => \$out, handle => IPC::Run::start(
				[ 'psql', '-XAtq', '-d', $node->connstr('vault'), '-f', $script ], '>', \$out, '2>', '/dev/null') };
	}
	$_->{handle}->finish foreach @racers;
	my $wins = grep { $_ eq 't' } map { split /\n/, ${ $_->{out} } } @racers;
	is($wins, 200, 'I8: of four sessions that claim the same request exactly one wins');
}


# Copies of the database: a template, a dump.
my ($first_log) = query('SELECT log_id FROM keystone_private.audit_epochs ORDER BY epoch DESC LIMIT 1');
my $entries = query('SELECT count(*) FROM keystone_private.audit_entries');
$node->safe_psql('postgres', 'CREATE DATABASE clone TEMPLATE vault');
reveals('a copy was made');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-Fc', '-f', $node->basedir . '/dump', 'vault' ], 'pg_dump');
{
	my (undef, $err) = run_command([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-e', '-d', 'restored', $node->basedir . '/dump' ]);
	is($err, '', 'pg_restore');
}
foreach my $copy ('clone', 'restored')
{
	$database = $copy;
	my $there = query('SELECT count(*) FROM keystone_private.audit_entries');
	cmp_ok($there, '>=', $entries, "$copy: it has the log");
	foreach my $call ('SELECT ' . reveal('copy'), "SELECT FROM ${\store('copy', 'token')}", "SELECT * FROM keystone.reveal_env('acme')")
	{
		my ($state, $seconds, $out) = attempt($call);
		is("$state $out", 'PT423 ', "$copy: not accepted: PT423: $call");
	}
	is((attempt(q{SELECT keystone.accept_restore('by a client')}))[0], '42501', "$copy: a client does not accept it");
	is(query('SELECT count(*) FROM keystone_private.audit_entries'), $there, "$copy: nothing was written");

	# A row in its outbox wakes the appender, which may do nothing with it.
	query(q{UPDATE keystone_private.credentials SET description = 'by hand' WHERE name = 'token'});
	{
		my $ticks = sub { my ($pid) = @_; my @stat = split ' ', slurp_file("/proc/$pid/stat") =~ s/.*\) //sr; return $stat[11] + $stat[12] };
		my $pid = pid_of('appender');
		my $before = $ticks->($pid);
		sleep 1;
		cmp_ok($ticks->($pid) - $before, '<', 30, "$copy: its appender does not spin");
	}
	query("SELECT keystone.accept_restore('moved here')");
	reveals($copy);
	like(query('SELECT reason FROM keystone_private.audit_epochs ORDER BY epoch DESC LIMIT 1'), qr/^restored: moved here/, "$copy: a new epoch");
	isnt(query('SELECT log_id FROM keystone_private.audit_epochs ORDER BY epoch DESC LIMIT 1'), $first_log, "$copy: of a new log");
	is(query('SELECT count(*) - count(DISTINCT origin) FROM keystone_private.audit_epochs'), 0, "$copy: with an origin of its own");
	verifies($copy);
	is(query(q{SELECT count(*) FROM keystone.audit_log WHERE action = 'audit.restore'}), 1, "$copy: who accepted it is in the log");
	$database = 'vault';
}
reveals('copies are in use');
verifies('copies are in use');

# Accepting a copy does not take the original's signing key away.
query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'keystone appender' AND datname = 'vault'});
reveals('after its appender was started again');
is(query(q{SELECT count(*) FROM keystone_private.audit_epochs WHERE reason = 'key lost'}), 0, 'the original still has its signing key');
like(query('SELECT keystone.audit_checkpoint()'), qr/^\S+\n\d+\n/, 'and signs with it');


# A standby, and its promotion.
$node->backup('base');
my $standby = KeystoneNode->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->write_root_keys("k1 $key");
$standby->append_conf('postgresql.conf', "keystone.root_key_file = '" . $standby->root_key_file . "'");
give_audit_directories($standby);
$standby->start;
reveals('with a standby');
$node->wait_for_catchup($standby);
$server = $standby;
is((attempt('SELECT ' . reveal('standby')))[0], '25006', 'standby: nothing is revealed');
is(query('SELECT ok FROM keystone.audit_verify()'), 't', 'standby: the log can be verified');
is(scalar(() = pids('appender')), 0, 'standby: there is no appender');
$entries = query('SELECT count(*) FROM keystone_private.audit_entries');
$standby->promote;
reveals('promoted');
is(query(q{SELECT count(*) FROM keystone_private.audit_epochs WHERE reason = 'promoted'}), 1, 'promoted: a new epoch');
is(query('SELECT previous_size + sum(0) FROM keystone_private.audit_epochs GROUP BY epoch, previous_size ORDER BY epoch DESC LIMIT 1'),
	query('SELECT count(*) FROM keystone_private.audit_entries WHERE epoch = (SELECT max(epoch) - 1 FROM keystone_private.audit_epochs)'),
	'promoted: it commits to what was there');
is(query('SELECT count(DISTINCT log_id) FROM keystone_private.audit_epochs'), 1, 'promoted: of the same log');
is(query('SELECT count(*) - count(DISTINCT origin) FROM keystone_private.audit_epochs'), 0, 'promoted: origins differ');
verifies('promoted');
$server = $node;
reveals('the old primary goes on');
verifies('the old primary goes on');


# T4: what was promised to be replicated is not.
$server = $standby;
set('keystone.audit_timeout', '1s');
set('synchronous_standby_names', 'nobody');
{
	my $id = new_id();
	my ($state, $seconds, $out) = attempt('SELECT ' . reveal($id));
	is("$state $out", 'PT424 ', 'T4: without its synchronous standby: PT424, and no value');
	cmp_ok($seconds, '<', 1 + $patience, 'T4: after the deadline');
	set('synchronous_standby_names', '');
	reveals('T4, no standby is asked for any more');
	verifies('T4');

	set('synchronous_standby_names', 'nobody');
	set('keystone.audit_timeout', '30s');
	my $session = session();
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$session->query_until(qr/go/, "\\echo go\nSELECT ${\reveal($id)};\n");
	ok(is_waiting($pid), 'T4: a reveal waits for the standby');
	my $appender = pid_of('appender');
	ok(wait_until(10, sub { query("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $appender") eq 't' }), 'T4: so does the appender');
	query("SELECT pg_cancel_backend($appender), pg_sleep(0.02) FROM generate_series(1, 10)");
	is(query("SELECT wait_event FROM pg_stat_activity WHERE pid = $appender"), 'SyncRep', 'T4: cancelling the appender does not end that');
	query("SELECT pg_terminate_backend($appender)");
	is($session->query('SELECT 1'), '1', 'T4: when it is terminated there is no value');
	like($session->{stderr}, qr/the audit log is not available/, 'T4: but an error');
	$session->{stderr} = '';

	wait_until(20, sub { my @pids = pids('appender'); @pids == 1 && $pids[0] != $appender });
	$session->query_until(qr/go/, "\\echo go\nSELECT ${\reveal($id)};\n");
	ok(is_waiting($pid), 'T4: with the next appender a reveal waits as well');
	my $from = time;
	$standby->stop('fast');
	cmp_ok(time - $from, '<', 10, 'T4: a fast shutdown does not hang');
	eval { $session->quit };
	unlike($session->{stdout} // '', qr/value/, 'T4: and gives no value');

	$standby->append_conf('postgresql.auto.conf', "synchronous_standby_names = ''\nkeystone.audit_timeout = '5s'");
	$standby->start;
	reveals('T4, after the restart');
	verifies('T4, after the restart');
}


# T3: settings of the database do not make an acknowledgement less durable.
query('ALTER DATABASE vault SET synchronous_commit = off');
{
	my $before = pid_of('appender');
	query("SELECT pg_terminate_backend($before)");
	wait_until(20, sub { my @pids = pids('appender'); @pids == 1 && $pids[0] != $before });
	reveals('T3');
	my $load = AuditLoad->start($standby, database => 'vault', role => 'alice', clients => 4, stores => 0);
	ok($load->wait_for(300), 'T3: reveals are under way');
	ok(crash_postmaster($standby), 'T3: kill -9 of the postmaster, and a start');
	ok($load->wait_for(20), 'T3: reveals go on');

	# Some more kills, of each kind of process.
	foreach my $what ('backend', 'appender', 'launcher')
	{
		my $seconds = $load->kill_one($what);
		ok($seconds, sprintf 'kill -9 of %s %s: reveals go on after %.1f s', $what eq 'appender' ? 'an' : 'a', $what, $seconds // 0);
	}
	ok($load->stop, 'no client hangs');
	cmp_ok($load->longest, '<', 5 + $patience, sprintf 'no call takes longer than the deadline (%.2f s)', $load->longest);
	is($load->wrong, 0, 'no wrong value');
	is_deeply([ $load->missing ], [], 'T3: each of ' . $load->acknowledged . ' acknowledged reveals is in the log');
	verifies('T3');

	# T8: no checkpoint had left before it was durable.
	my ($outside, @unknown) = (0);
	my %ours = map { $_ => 1 } split /\n/, query('SELECT origin FROM keystone_private.audit_epochs');
	my %inside = map { $_ => 1 } split /\n/, query(q{SELECT c.size || ' ' || encode(c.root, 'base64') FROM keystone_private.audit_checkpoints c});
	foreach my $checkpoint (grep { $ours{ $_->{origin} } } outside($standby))
	{
		$outside++;
		push @unknown, $checkpoint->{file} unless $inside{"$checkpoint->{size} $checkpoint->{root}"};
	}
	cmp_ok($outside, '>', 0, 'T8: checkpoints are outside');
	is("@unknown", '', 'T8: the log has each of them');
}


# An old copy of the data directory, when checkpoints outside tell of more.
{
	my $origin = query('SELECT origin FROM keystone_private.audit_epochs ORDER BY epoch DESC LIMIT 1');
	my $epoch = query('SELECT max(epoch) FROM keystone_private.audit_epochs');
	my $data = $standby->data_dir;
	$standby->stop;
	PostgreSQL::Test::RecursiveCopy::copypath($data, "$data.old");
	$standby->start;
	my $before = query('SELECT count(*) FROM keystone_private.audit_entries WHERE epoch = (SELECT max(epoch) FROM keystone_private.audit_epochs)');
	reveals('before the loss') foreach 1 .. 3;
	ok(wait_until(20, sub { newest_outside($standby, $origin) > $before }), 'loss: a checkpoint of what is lost is outside');
	$standby->stop;
	rename $data, "$data.new" or die $!;
	rename "$data.old", $data or die $!;
	chmod 0700, $data;
	$standby->start;
	reveals('loss');
	is(query(q{SELECT count(*) FROM keystone.audit_log WHERE action = 'log.loss'}), 1, 'loss: an entry says so');
	is(query("SELECT max(epoch) - $epoch FROM keystone_private.audit_epochs"), 1, 'loss: a new epoch');
	is(query('SELECT reason FROM keystone_private.audit_epochs ORDER BY epoch DESC LIMIT 1'), 'loss', 'loss: for that reason');
	is(query('SELECT count(*) - count(DISTINCT origin) FROM keystone_private.audit_epochs'), 0, 'loss: with an origin of its own');
	verifies('loss');
	$standby->restart;
	reveals('loss, after a restart');
	is(query(q{SELECT count(*) FROM keystone.audit_log WHERE action = 'log.loss'}), 1, 'loss: it is said once');
	verifies('loss, after a restart');
	$standby->stop;
}


# The exact number of denials, once the minute is over.
$server = $node;
SKIP:
{
	my $left = $denied_minute + 62 - time;
	skip 'the minute of the denials is not over yet', 1 if $left > 65 - (time - $started_at) && $left > 5;
	sleep $left if $left > 0;
	my $exact = qq{SELECT sum((detail ->> 'count')::int) FROM keystone.audit_log WHERE action = 'denials' AND detail ->> 'count' IS NOT NULL
		AND (detail ->> 'minute')::bigint = $denied_minute AND detail ->> 'caller' = keystone_private_caller};
	my $caller = query('SELECT keystone.current_principal()', 'carol');
	$exact =~ s/keystone_private_caller/'$caller'/ if $caller ne '';
	$exact =~ s/ AND detail ->> 'caller' = keystone_private_caller//;
	ok(wait_until(15, sub { query($exact) ne '' }), 'denials: when the minute is over they are counted');
	is(query($exact), $denials, 'denials: exactly');
}

# T14
foreach my $time ('at')
{
	is(query("SELECT count(*) FROM (SELECT $time < lag($time) OVER (ORDER BY seq) AS back FROM keystone.audit_log) t WHERE back"), 0,
		'T14: times of entries do not go back');
}
verifies('at last');
is(scalar(() = pids('appender')), 1, 'at last: there is one appender');
is(query(q{SELECT string_agg(check_name || ': ' || detail, ', ') FROM keystone.health WHERE NOT ok}), '', 'at last: healthy');
$node->stop;
unlike($node->log_since(0), qr/PANIC|terminated by signal|TRAP:/, 'no process has crashed');
done_testing();
