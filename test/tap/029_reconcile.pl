# I3, I5, I10, I11: the housekeeper compares all rows with the audit log, all
# the time.  Beside any load it finds nothing; what is done past the log it
# finds within keystone.reconcile_interval, names in health, and writes to the
# log, once.  Copies of a database agree with the log that they brought.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(start_pgbench wait_until);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $interval = 4;
my $node = KeystoneNode->start(name => 'reconcile', start => 0);
$node->append_conf('postgresql.conf', <<"EOF2");
max_worker_processes = 20
keystone.housekeeper_interval = 200ms
keystone.reconcile_interval = ${interval}s
keystone.limit_max_keys = 4096
EOF2
$node->start;
my @as_app = (extra_params => [ '-U', 'app' ]);

sub query
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql);
}

sub query_as_app
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql, @as_app);
}

my $findings = q{SELECT count(*) FROM keystone.audit_reconcile()};
my $health = q{SELECT ok FROM keystone.health WHERE check_name = 'reconcile'};
my $text = q{SELECT detail FROM keystone.health WHERE check_name = 'reconcile'};
my $rounds = q{SELECT done_at FROM keystone_private.housekeeping WHERE task = 'reconcile'};

# Waits until a round that begins now has ended.
sub full_round
{
	for (1 .. 2)
	{
		my $before = query($rounds);
		wait_until(30, sub { query($rounds) ne $before }) or die 'there is no round';
	}
	query('SELECT keystone_private.audit_flush()');
	return;
}

# Number of entries audit.reconcile of the housekeeper with an outcome.
sub entries
{
	my ($outcome) = @_;
	query('SELECT keystone_private.audit_flush()');
	return query(qq{SELECT count(*) FROM keystone.audit_log WHERE action = 'audit.reconcile' AND actor = 'keystone' AND outcome = '$outcome'});
}

# Statements with all triggers of a table off.
sub past_the_log
{
	my ($table, $sql, $database) = @_;
	query(<<"EOF2", $database);
BEGIN;
SET LOCAL session_replication_role = replica;
ALTER TABLE $table DISABLE TRIGGER audit;
$sql;
ALTER TABLE $table ENABLE ALWAYS TRIGGER audit;
COMMIT;
EOF2
	return;
}

query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE app LOGIN;
SELECT keystone.grant_access('app', 'client');
EOF2
query_as_app(<<'EOF2');
SELECT keystone.create_workspace(w) FROM unnest('{acme,globex}'::text[]) w;
SELECT count(keystone.store('acme', 'c' || n, 'value ' || n)) FROM generate_series(1, 50) n;
SELECT keystone.store('acme', 'large', repeat('large ', 2000));
EOF2
full_round();
is(query($health), 't', 'rows agree with the log');
like(query($text), qr/^the last round ended \d+ s ago, every row agreed with the log$/, 'health says so');

# Load of all kinds, while rounds go on and audit_reconcile() is called.
my $reencrypts = query(q{SELECT to_regproc('keystone.rotate_workspace_key') IS NOT NULL}) eq 't';
my $load = start_pgbench($node, [
	q{\set n random(1, 50)
SELECT keystone.store('acme', 'c' || :n, 'another value', description => 'number ' || :n);},
	q{\set n random(1, 50)
BEGIN;
SELECT keystone.update_metadata(keystone.credential_id('acme', 'c' || :n), '{"tags": ["x"]}');
SELECT keystone.update_metadata(keystone.credential_id('acme', 'c' || :n), '{"tags": ["y"]}');
COMMIT;},
	q{\set n random(1, 50)
BEGIN;
SELECT keystone.store('acme', 'c' || :n, 'not for long');
ROLLBACK;},
	q{\set n random(1, 1000000000)
SELECT keystone.store('globex', 'new ' || :n, 'v');
SELECT keystone.rename(keystone.credential_id('globex', 'new ' || :n), '{"name": "renamed }. q{' || :n || '"}');
SELECT keystone.delete_credential(keystone.credential_id('globex', 'renamed ' || :n));},
	q{\set n random(1, 50)
SELECT keystone.reveal('acme', 'c' || :n);},
	], '-c', '4', '-T', '12', '-U', 'app', 'postgres');
my $others = $reencrypts ? start_pgbench($node, [
	q{SELECT keystone.rotate_workspace_key('acme');
SELECT keystone.reencrypt('acme', 20);
SELECT keystone.reencrypt('acme', 20);
SELECT pg_sleep(0.2);}
	], '-c', '1', '-T', '12', '-U', 'app', 'postgres') : undef;
my $until = time + 12;
my ($calls, $found) = (0, '');
while (time < $until)
{
	$found .= query('SELECT * FROM keystone.audit_reconcile()') . query(q{SELECT * FROM keystone.audit_reconcile('acme')});
	$calls++;
}
$load->finish;
$others->finish if $others;
is($found, '', "I3 nothing is found beside a load, $calls times");
full_round();
is(query($health), 't', 'I3 nor by the housekeeper') or diag query($text);
is(entries('error'), 0, 'nor is there an entry');
cmp_ok(query('SELECT count(*) FROM keystone_private.audit_entries'), '>', 200, 'there was a load');

# Each attack: found in time, named, written once, and settled when it is undone.
my $id = query(q{SELECT id FROM keystone_private.credentials WHERE name = 'c1'});
query("CREATE TABLE kept_$_->[0] AS SELECT * FROM $_->[1]") foreach ([ 'c', 'keystone_private.credentials' ], [ 'v', 'keystone.credential_versions' ],
	[ 't', 'keystone_private.ciphertext' ], [ 'm', 'keystone.members' ]);
my @attacks = (
	[ 'a credential row edited', 'keystone_private.credentials', "UPDATE keystone_private.credentials SET expires_at = 'infinity' WHERE id = '$id'",
		"UPDATE keystone_private.credentials c SET expires_at = k.expires_at FROM kept_c k WHERE k.id = c.id AND c.id = '$id'", "credentials [-0-9a-f]+/$id" ],
	[ 'a membership edited', 'keystone.members', q{UPDATE keystone.members SET extra_permissions = '{reveal}'},
		'UPDATE keystone.members m SET extra_permissions = k.extra_permissions FROM kept_m k WHERE k.principal_id = m.principal_id AND k.workspace_id = m.workspace_id', 'members' ],
	[ 'ciphertext deleted', 'keystone_private.ciphertext', "DELETE FROM keystone_private.ciphertext WHERE credential_id = '$id' AND version = 1",
		"INSERT INTO keystone_private.ciphertext SELECT * FROM kept_t WHERE credential_id = '$id' AND version = 1", "ciphertext $id" ],
	[ 'a member inserted', 'keystone.members', q{INSERT INTO keystone.members (workspace_id, principal_id, role, row_mac) SELECT workspace_id, gen_random_uuid(), 'owner', row_mac FROM keystone.members LIMIT 1},
		'DELETE FROM keystone.members m WHERE NOT EXISTS (SELECT FROM kept_m k WHERE k.principal_id = m.principal_id AND k.workspace_id = m.workspace_id)', 'members' ],
);
foreach my $attack (@attacks)
{
	my ($name, $table, $attacked, $undone, $like) = @$attack;
	my ($errors, $oks, $position) = (entries('error'), entries('ok'), -s $node->logfile);
	my $start = time;
	past_the_log($table, $attacked);
	wait_until(30, sub { query($health) eq 'f' });
	cmp_ok(time - $start, '<=', $interval + 2, "I3 $name: found within the interval");
	like(query($text), qr/$like/, "I3 $name: health names it");
	wait_until(10, sub { entries('error') > $errors });
	my $written = entries('error') - $errors;
	full_round();
	is(entries('error') - $errors, $written, "I3 $name: written once");
	like(query(q{SELECT detail ->> 'problem' FROM keystone.audit_log WHERE action = 'audit.reconcile' AND outcome = 'error' ORDER BY seq DESC LIMIT 1}),
		qr/$like/, "I3 $name: the entry says it");
	like($node->log_since($position), qr/keystone: a row differs from the audit log/, "I3 $name: the server log, too");
	past_the_log($table, $undone);
	wait_until(30, sub { query($health) eq 't' });
	is(query($health), 't', "I3 $name: settled");
	is(entries('ok') - $oks, $written, "I3 $name: and written that it is");
}

# A row of the outbox that the appender would not come by again, which stands
# for a change past the log: it is an entry soon, as if it had been made.
my $direct = q{SELECT count(*) FROM keystone.audit_log WHERE action = 'credential.update' AND detail ->> 'source' = 'direct'};
is(query($direct), 0, 'nothing is changed by hand yet');
query(<<'EOF2');
BEGIN;
UPDATE keystone_private.credentials SET description = 'masked' WHERE name = 'c4';
SELECT encode(body, 'hex') AS body FROM keystone_private.audit_outbox WHERE xid = pg_current_xact_id() \gset
ROLLBACK;
BEGIN;
SET LOCAL session_replication_role = replica;
ALTER TABLE keystone_private.credentials DISABLE TRIGGER audit;
ALTER TABLE keystone_private.audit_outbox DISABLE TRIGGER audit_guard;
UPDATE keystone_private.credentials SET description = 'masked' WHERE name = 'c4';
INSERT INTO keystone_private.audit_outbox (id, xid, body) VALUES (1, pg_current_xact_id(), decode(:'body', 'hex'));
ALTER TABLE keystone_private.credentials ENABLE ALWAYS TRIGGER audit;
ALTER TABLE keystone_private.audit_outbox ENABLE ALWAYS TRIGGER audit_guard;
COMMIT;
EOF2
wait_until(20, sub { query($direct) eq '1' });
is(query($direct), 1, 'I3 a row put below all others of the outbox gets into the log');
is(query('SELECT count(*) FROM keystone_private.audit_outbox WHERE id = 1'), 0, 'I3 and does not stay to stand for a change');

# An old credential with its version and ciphertext, put back.
query_as_app(q{SELECT keystone.rotate(keystone.credential_id('acme', 'c1'), 'the newest')});
full_round();
is(query($health), 't', 'a rotation agrees');
past_the_log($_->[0], "DELETE FROM $_->[0] WHERE $_->[1] = '$id'") foreach ([ 'keystone_private.ciphertext', 'credential_id' ],
	[ 'keystone.credential_versions', 'credential_id' ], [ 'keystone_private.credentials', 'id' ]);
past_the_log($_->[0], "INSERT INTO $_->[0] SELECT * FROM $_->[2] WHERE $_->[1] = '$id'") foreach ([ 'keystone_private.credentials', 'id', 'kept_c' ],
	[ 'keystone.credential_versions', 'credential_id', 'kept_v' ], [ 'keystone_private.ciphertext', 'credential_id', 'kept_t' ]);
is(query("SELECT count(DISTINCT credential) FROM keystone.audit_reconcile('acme')"), 1, 'I5 an old credential put back is found');
wait_until(30, sub { query($health) eq 'f' });
is(query($health), 'f', 'I5 also by the housekeeper');
full_round();

# What the findings are shown by can be emptied, the log not; a restart forgets
# neither.
my $errors = entries('error');
query('DELETE FROM keystone_private.reconcile_findings; DELETE FROM keystone_private.housekeeping');
wait_until(30, sub { query($health) eq 'f' });
is(query($health), 'f', 'I3 findings that were deleted come back');
$node->restart;
full_round();
is(query($health), 'f', 'I3 and after a restart');
is(entries('error'), $errors, 'I3 without being written anew');

# The beginning of the log cut off, with what it says of rows: also that is
# found, by who begins to read, and health goes on saying it.
my $broken = q{SELECT string_agg(problem, ' ') FROM keystone_private.reconcile_findings WHERE problem ~ '^audit log'};
my $cut = 'ALTER TABLE keystone_private.audit_entries %s TRIGGER audit_guard';
query(sprintf($cut, 'DISABLE') . '; CREATE TABLE kept_begin AS SELECT * FROM keystone_private.audit_entries WHERE seq < 10;
	DELETE FROM keystone_private.audit_entries WHERE seq < 10; ' . sprintf($cut, 'ENABLE ALWAYS'));
$node->restart;
full_round();
like(query($broken), qr/^audit log, entry 10: the entries before it are missing$/, 'I3 that the beginning of the log is missing is found');
full_round();
like(query($broken), qr/^audit log, entry 10: /, 'I3 and shown as long as it is');
is(query(q{SELECT count(*) FROM keystone.audit_reconcile() WHERE problem ~ '^audit log, entry 10: '}), 1, 'I3 also to who asks');
is(entries('error'), $errors + 1, 'I3 and written once');
query(sprintf($cut, 'DISABLE') . '; INSERT INTO keystone_private.audit_entries SELECT * FROM kept_begin; ' . sprintf($cut, 'ENABLE ALWAYS'));
$node->restart;
full_round();
is(query($broken), '', 'all of that undone');

# An edit that a later change takes over, between two rounds.
query('ALTER SYSTEM SET keystone.reconcile_interval = 1000; SELECT pg_reload_conf()');
query(q{SELECT pg_sleep(3)});
query(q{UPDATE keystone_private.housekeeping SET done_at = now() + interval '1 year' WHERE task = 'reconcile'});
like(query($text), qr/no round has ended yet$/, 'a time to come is not that of a round');
query(q{UPDATE keystone_private.housekeeping SET done_at = now() WHERE task = 'reconcile'});
past_the_log('keystone_private.credentials', q{UPDATE keystone_private.credentials SET description = 'smuggled in' WHERE name = 'c2'});
query_as_app(q{SELECT keystone.update_metadata(keystone.credential_id('acme', 'c2'), '{"tags": ["z"]}')});
query('SELECT keystone_private.audit_flush()');
is(query(q{SELECT count(*) FROM keystone.audit_reconcile('acme') WHERE problem ~ 'changed past the log'}), 1, 'I3 an edit is told although a later change took it over');

# A change that was taken from the outbox before the appender saw it.
my $outbox = 'keystone_private.audit_outbox';
query('SELECT keystone_private.audit_flush()');
query(<<"EOF2");
ALTER TABLE $outbox DISABLE TRIGGER audit_guard;
BEGIN;
UPDATE keystone_private.credentials SET description = 'unseen' WHERE name = 'c3';
DELETE FROM $outbox WHERE xid = pg_current_xact_id();
COMMIT;
ALTER TABLE $outbox ENABLE ALWAYS TRIGGER audit_guard;
EOF2
is(query(q{SELECT c.name FROM keystone.audit_reconcile('acme') r JOIN keystone_private.credentials c ON c.id = r.credential WHERE problem ~ '^credentials' AND c.name = 'c3'}),
	'c3', 'I3 a change that was kept from the log is found');

# The log edited to fit.
query('ALTER TABLE keystone_private.audit_entries DISABLE TRIGGER audit_guard');
my $seq = query(q{SELECT max(seq) FROM keystone_private.audit_entries WHERE detail IS NOT NULL AND object_id = (SELECT id FROM keystone_private.credentials WHERE name = 'c2')});
query("UPDATE keystone_private.audit_entries SET detail = set_byte(detail, length(detail) - 3, get_byte(detail, length(detail) - 3) # 1) WHERE seq = $seq");
is(query(q{SELECT problem FROM keystone.audit_reconcile() WHERE problem ~ '^audit log'}),
	"audit log, entry $seq: the detail or its salt differs from what the entry commits to", 'I3 an edited detail is found');
query("UPDATE keystone_private.audit_entries SET detail = set_byte(detail, length(detail) - 3, get_byte(detail, length(detail) - 3) # 1) WHERE seq = $seq");
query('BEGIN; CREATE TABLE kept_e AS SELECT * FROM keystone_private.audit_entries WHERE seq = ' . ($seq - 1)
	. '; DELETE FROM keystone_private.audit_entries WHERE seq = ' . ($seq - 1) . '; COMMIT');
like(query(q{SELECT string_agg(problem, ' ') FROM keystone.audit_reconcile()}), qr/audit log, entry $seq: the entry before it is missing/, 'I3 a missing entry is found');
query('INSERT INTO keystone_private.audit_entries SELECT * FROM kept_e; ALTER TABLE keystone_private.audit_entries ENABLE ALWAYS TRIGGER audit_guard');
is(query('SELECT verdict FROM keystone.audit_verify()'), 'self-consistent', 'all of that undone');

# Dump and restore: the copy agrees with the log it brought, and goes on.
query('CREATE DATABASE second');
query('CREATE EXTENSION keystone', 'second');
query(q{SELECT keystone.grant_access('app', 'client')}, 'second');
$node->safe_psql('second', q{SELECT keystone.create_workspace('acme'); SELECT count(keystone.store('acme', 'c' || n, repeat('v', n))) FROM generate_series(1, 200, 10) n;
	SELECT keystone.update_metadata(keystone.credential_id('acme', 'c1'), '{"metadata": {"a": [1.10, null, "\u00e9"]}, "tags": ["x", "y z"], "expires_at": "2100-01-01"}')}, @as_app);
query('SELECT keystone_private.audit_flush()', 'second');
my $dump = $node->basedir . '/dump.sql';
command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', $dump, 'second' ], 'pg_dump');
query('CREATE DATABASE copy');
$node->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', 'copy', '-f', $dump ], 'restored');
is(query($findings, 'copy'), 0, 'I10 a restored database agrees with its log before it is accepted');
query(q{SELECT keystone.accept_restore('a test')}, 'copy');
wait_until(30, sub { query('SELECT max(epoch) FROM keystone_private.audit_epochs', 'copy') eq '2' });
$node->safe_psql('copy', q{SELECT keystone.store('acme', 'c1', 'a new value')}, @as_app);
query('SELECT keystone_private.audit_flush()', 'copy');
is(query('SELECT * FROM keystone.audit_reconcile()', 'copy'), '', 'I10 and in its new epoch');
past_the_log('keystone_private.credentials', q{UPDATE keystone_private.credentials SET is_active = false WHERE name = 'c11'}, 'copy');
is(query($findings, 'copy'), 1, 'I10 an edit there is found');

# A value that cannot be read.
my $all = q{SELECT problem FROM keystone.audit_reconcile() WHERE problem !~ 'changed past the log' ORDER BY 1};	# those are told once
my $before = query($all);
query('CHECKPOINT');
my $file = query(q{SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'keystone_private.ciphertext'::regclass});
$node->stop;
my $path = $node->data_dir . "/$file";
my $size = -s $path;
open my $out, '>:raw', $path or die $!;
print $out "\0" x $size;
close $out or die $!;
$node->start;
is(query(q{SELECT count(*) FROM keystone.audit_reconcile('acme') WHERE problem ~ 'the row cannot be read'}), 1, 'I11 a row that cannot be read is one finding');
is(scalar(my @lines = split /\n/, query($all)), 1 + split(/\n/, $before), 'I11 and the others are compared');

# Off.
query('ALTER SYSTEM SET keystone.reconcile_interval = 0; SELECT pg_reload_conf()');
wait_until(20, sub { query($text) =~ /reconcile_interval is 0/ });
is(query("SELECT ok, detail FROM keystone.health WHERE check_name = 'reconcile'"), 't|nothing is compared: keystone.reconcile_interval is 0', 'health says that it is off');

done_testing();
