# I3, I10, I12: erasing details of the audit log.  What is erased is gone from
# the table's file once it was vacuumed; crash, prepared transactions, a dump
# and a slow reader leave log and rows as they should be; an export says by
# itself what was erased; nobody hides behind an erasure what was done past the
# log.
use strict;
use warnings;

use Digest::SHA qw(sha256);
use JSON::PP;
use KeystoneNode;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = KeystoneNode->start(name => 'erase', start => 0);
$node->append_conf('postgresql.conf', <<"EOF2");
max_prepared_transactions = 5
autovacuum = off
keystone.audit_timeout = '3s'
EOF2
$node->start;

sub query
{
	my ($sql, %params) = @_;
	return $node->safe_psql('postgres', $sql, %params);
}

sub flush
{
	return query('SELECT keystone_private.audit_flush()');
}

sub is_sound
{
	my ($name) = @_;
	is(query('SELECT ok, verdict, problem FROM keystone.audit_verify()'), 't|self-consistent|', "I3 $name: the log is sound");
	is(query('SELECT count(*) FROM keystone.audit_reconcile()'), '0', "I3 $name: the rows agree with it");
	is(query(q{SELECT count(*) FROM keystone.audit_reconcile('acme')}), '0', "I3 $name: those of a workspace, too");
	return;
}

# Entries whose details have a word.
sub seqs_of
{
	my ($word) = @_;
	return query("SELECT array_agg(seq ORDER BY seq) FROM keystone.audit_log WHERE detail::text ~ '$word' AND action !~ '^log'");
}

sub left_of
{
	my ($word) = @_;
	return query("SELECT count(*) FROM keystone_private.audit_entries WHERE detail IS NOT NULL AND position('$word'::bytea IN detail) > 0");
}

query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE ana LOGIN;
SELECT keystone.grant_access('ana', 'client'), keystone.register_principal('ana', db_role => 'ana');
EOF2
my @as_ana = (extra_params => [ '-U', 'ana' ]);
query(q{SELECT keystone.create_workspace('acme')}, @as_ana);
query("SELECT keystone.store('acme', '$_-name', 'a value that is long enough', personal => true)", @as_ana) foreach qw(file crash prepared slow put);
flush();

# The bytes are in the table's file, and are not any more.
sub file_has
{
	my ($word) = @_;
	query('CHECKPOINT');
	return slurp_file($node->data_dir . '/' . query(q{SELECT pg_relation_filepath('keystone_private.audit_entries')})) =~ /\Q$word\E/ ? 1 : 0;
}

is(file_has('file-name'), 1, 'control: the name is in the file of the log');
is(query(sprintf q{SELECT keystone.audit_erase('%s', 'a request')}, seqs_of('file-name')), '1', 'erased');
flush();
is(left_of('file-name'), '0', 'I3 no row has the name');
is_sound('erased');
is(query(q{SELECT reloptions FROM pg_class WHERE oid = 'keystone_private.audit_entries'::regclass}),
	'{autovacuum_vacuum_scale_factor=0,autovacuum_vacuum_threshold=0}', 'a single dead row is a reason for autovacuum');
query('VACUUM FULL keystone_private.audit_entries');
is(file_has('file-name'), 0, 'after VACUUM FULL the name is nowhere in the file');
is(file_has('crash-name'), 1, 'control: others are');
is_sound('rewritten');

# Autovacuum comes by itself.
query(q{ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET autovacuum_naptime = 1; SELECT pg_reload_conf()});
query(sprintf q{SELECT keystone.audit_erase('%s', 'a request')}, seqs_of('acme'));
flush();
ok($node->poll_query_until('postgres', q{SELECT n_dead_tup = 0 AND autovacuum_count > 0 FROM pg_stat_all_tables
	WHERE relid = 'keystone_private.audit_entries'::regclass}), 'autovacuum removes dead rows');
query(q{ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf()});

# A crash right after the commit loses neither the removal nor the entry.
query(sprintf q{SELECT keystone.audit_erase('%s', 'before the crash')}, seqs_of('crash-name'));
$node->stop('immediate');
$node->start;
flush();
is(left_of('crash-name'), '0', 'I10 erased after a crash');
is(query(q{SELECT count(*) FROM keystone.audit_log WHERE detail ->> 'basis' = 'before the crash'}), '1', 'I10 said once');
is_sound('after a crash');

# Prepared: when it commits.
my $prepared = seqs_of('prepared-name');
query("BEGIN; SELECT keystone.audit_erase('$prepared', 'prepared'); PREPARE TRANSACTION 'e'");
flush();
is(left_of('prepared-name'), '1', 'not before it commits');
query(q{COMMIT PREPARED 'e'});
flush();
is(left_of('prepared-name'), '0', 'a prepared transaction erases when it commits');
is_sound('prepared');

# Two at once: both say so, it is gone once.
my $slow = seqs_of('slow-name');
my @sessions = map { $node->background_psql('postgres') } 1 .. 2;
$_->query_safe("BEGIN; SELECT keystone.audit_erase('$slow', 'two at once')") foreach @sessions;
# A reader that has begun before sees the log as it was.
my $reader = $node->background_psql('postgres');
$reader->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM keystone.audit_log");
$_->query_safe('COMMIT') foreach @sessions;
flush();
is($reader->query_safe(q{SELECT count(*) FROM keystone_private.audit_entries WHERE detail IS NOT NULL AND position('slow-name'::bytea IN detail) > 0}),
	'1', 'an old snapshot has the detail still');
is($reader->query_safe('SELECT ok FROM keystone.audit_verify()'), 't', 'and verifies what is there now');
$reader->query_safe('COMMIT');
$_->quit foreach @sessions, $reader;
is(query(q{SELECT count(*) FROM keystone.audit_log WHERE detail ->> 'basis' = 'two at once' AND outcome = 'ok'}), '2', 'both calls are entries');
is(left_of('slow-name'), '0', 'erased once');
is_sound('two at once');

# What differs from its commitment is not erased: not by the call, nor by one
# that was on its way when it was changed.
my $put = seqs_of('put-name');
my ($put_seq) = $put =~ /(\d+)/;
my $flip = "ALTER TABLE keystone_private.audit_entries DISABLE TRIGGER audit_guard;
	UPDATE keystone_private.audit_entries SET detail = set_byte(detail, 20, get_byte(detail, 20) # 1) WHERE seq = $put_seq;
	ALTER TABLE keystone_private.audit_entries ENABLE ALWAYS TRIGGER audit_guard";
query($flip);
is($node->psql_err('postgres', "SELECT keystone.audit_erase('$put', 'no trace')"), 'XX001', 'I3 what was changed by hand is not erased');
query($flip);
query("BEGIN; SELECT keystone.audit_erase('$put', 'on its way'); PREPARE TRANSACTION 'e'");
query($flip);
my $position = -s $node->logfile;
query(q{COMMIT PREPARED 'e'});
flush();
is(left_of('ame'), query(q{SELECT count(*) FROM keystone_private.audit_entries WHERE detail IS NOT NULL AND position('ame'::bytea IN detail) > 0}), 'control');
is(query("SELECT detail IS NOT NULL AND salt IS NOT NULL AND erased_in IS NULL FROM keystone_private.audit_entries WHERE seq = $put_seq"), 't',
	'I3 nor is it when the change comes between');
is(query(q{SELECT outcome FROM keystone.audit_log WHERE detail ->> 'basis' = 'on its way'}), 'error', 'the entry says that it failed');
like($node->log_since($position), qr/details of the audit log were not erased/, 'so does the server log');
is(query('SELECT first_bad FROM keystone.audit_verify()'), $put_seq, 'I3 and verification finds what was changed');
query($flip);
$node->restart;
flush();
is_sound('put right');

# An event that somebody has put into the outbox keeps other digests than the
# detail has: it erases nothing.
my $forged = query(<<"EOF2");
BEGIN;
SELECT keystone.audit_erase('$put', 'forged')::text || ' erased';
ALTER TABLE keystone_private.audit_outbox DISABLE TRIGGER audit_guard;
UPDATE keystone_private.audit_outbox SET body = overlay(body PLACING 'AAAA'::bytea FROM position(convert_to('rows.$put_seq', 'UTF8') IN body) + length('rows.$put_seq') + 25)
WHERE position('forged'::bytea IN body) > 0;
ALTER TABLE keystone_private.audit_outbox ENABLE ALWAYS TRIGGER audit_guard;
COMMIT;
EOF2
like($forged, qr/1 erased/, 'an event on its way was forged');
flush();
is(left_of('put-name'), '1', 'I3 a forged event erases nothing');
is(query(q{SELECT outcome FROM keystone.audit_log WHERE detail ->> 'basis' = 'forged'}), 'error', 'and is an entry');
is_sound('forged');

# What was done past the log is found after the erasure as before.
query(<<'EOF2');
ALTER TABLE keystone_private.credentials DISABLE TRIGGER audit;
UPDATE keystone_private.credentials SET is_active = false WHERE name = 'put-name';
ALTER TABLE keystone_private.credentials ENABLE ALWAYS TRIGGER audit;
EOF2
my $found = query(q{SELECT problem FROM keystone.audit_reconcile()});
like($found, qr/the row is not the one that entry $put_seq left/, 'I3 control: an edit is found');
is(query("SELECT keystone.audit_erase('$put', 'to hide it')"), '1', 'its entry is erased');
flush();
is(query(q{SELECT problem FROM keystone.audit_reconcile()}), $found, 'I3 it is found with the detail erased');

# The housekeeper has said so once, and knows that it has when its entry is
# erased, too.
my $reports = q{SELECT count(*) FROM keystone.audit_log WHERE action = 'audit.reconcile' AND outcome = 'error'};
my $round = q{SELECT count(*) = 1 FROM keystone.health WHERE check_name = 'reconcile' AND NOT ok};
$node->restart;
ok($node->poll_query_until('postgres', $reports, '1'), 'the housekeeper says that it was found');
is(query(q{SELECT keystone.audit_erase(array_agg(seq), 'to hide that, too') FROM keystone.audit_log WHERE action = 'audit.reconcile' AND outcome = 'error'}),
	'1', 'its entry is erased');
flush();
$node->restart;
ok($node->poll_query_until('postgres', $round), 'I3 it finds the row again');
sleep 1;
flush();
is(query($reports), '1', 'and need not say it again');
query(<<'EOF2');
ALTER TABLE keystone_private.credentials DISABLE TRIGGER audit;
UPDATE keystone_private.credentials SET is_active = true WHERE name = 'put-name';
ALTER TABLE keystone_private.credentials ENABLE ALWAYS TRIGGER audit;
EOF2
is_sound('and put right');

# A role that is called like a principal's id is told from one after that.
my $like = '11111111-2222-4333-8444-555555555555';
query(qq{CREATE ROLE "$like" LOGIN; SELECT keystone.grant_access('$like', 'client')});
is($node->psql_err('postgres', q{SELECT keystone.create_workspace('theirs')}, extra_params => [ '-U', $like ]), '00000', 'somebody with such a name');
query(qq{SELECT keystone.revoke_access('$like', 'client')});
is($node->psql_err('postgres', q{SELECT keystone.rotate(gen_random_uuid(), 'x')}, extra_params => [ '-U', $like ]), '42501', 'is refused');
flush();
my $by_role = query(qq{SELECT array_agg(seq) FROM keystone_private.audit_entries e WHERE actor_id IS NULL AND detail IS NOT NULL
	AND (keystone_private.audit_decode(entry, detail)).actor = '$like'});
cmp_ok(query("SELECT keystone.audit_erase('$by_role', 'such a name')"), '>', 0, 'entries of such a role are erased') if $by_role;
ok($by_role, 'there are some');
flush();
is_sound('such a name');

# The housekeeper, which reads the log anew when it starts, agrees.
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT ok FROM keystone.health WHERE check_name = 'reconcile' AND detail ~ 'the last round ended'}),
	'I3 the housekeeper finds nothing');

# Who holds an export tells by it alone that details were erased, and rightly.
sub pairs_of
{
	my ($bytes) = @_;
	my %pairs;
	while (length $bytes)
	{
		my ($key, $value);
		($key, $value, $bytes) = unpack 'x N/a* x N/a* a*', $bytes;
		$pairs{$key} = $value;
	}
	return \%pairs;
}

# Details that are missing, and those that an entry of the export has erased.
sub read_export
{
	my ($sql) = @_;
	my (@missing, %erased);
	foreach my $line (split /\n/, query($sql))
	{
		my $entry = decode_json($line);
		next unless defined $entry->{entry};
		my $bytes = decode_base64($entry->{entry});
		my $commitment = substr($bytes, -37, 5) eq "\x11\0\0\0\x20" ? substr($bytes, -32) : undef;
		if (defined $commitment && !defined $entry->{detail})
		{
			push @missing, "$entry->{seq} in $entry->{erased_in}";
			ok(!defined $entry->{salt}, "entry $entry->{seq} has no salt");
		}
		next if !defined $commitment || !defined $entry->{detail};
		my $detail = decode_base64($entry->{detail});
		is(sha256("keystone.audit.detail.v1\0" . decode_base64($entry->{salt}) . $detail), $commitment, "entry $entry->{seq} commits to its detail")
		  if $entry->{decoded}{action} eq 'log.erase';
		next if $entry->{decoded}{action} ne 'log.erase' || $entry->{decoded}{outcome} ne 'ok';
		foreach my $range (split /,/, pairs_of($detail)->{seqs})
		{
			my ($from, $to) = split /-/, $range;
			$erased{"$_ in $entry->{seq}"} = 1 foreach $from .. $to // $from;
		}
	}
	return (\@missing, \%erased);
}

foreach my $export ('SELECT keystone.audit_export()', q{SELECT keystone.audit_export(workspace => 'acme')})
{
	my ($missing, $erased) = read_export($export);
	cmp_ok(scalar @$missing, '>=', 5, "$export: details are missing");
	is(join(', ', grep { !$erased->{$_} } @$missing), '', "I3 $export: an entry of it has erased each");
}

# A dump brings along what was erased, and nothing else.
my $dump = $node->basedir . '/vault.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'I10 dumped');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('copy'), $dump ], 'I10 restored');
is($node->safe_psql('copy', 'SELECT ok, problem FROM keystone.audit_verify()'), 't|', 'I10 its log verifies');
is($node->safe_psql('copy', 'SELECT count(*) FROM keystone_private.audit_entries WHERE erased_in IS NOT NULL'),
	query('SELECT count(*) FROM keystone_private.audit_entries WHERE erased_in IS NOT NULL'), 'I10 and is as much erased');

# A thousand at once do not keep others waiting for long.
query(<<'EOF2');
CREATE TABLE orders (id int PRIMARY KEY, note text);
SELECT keystone.audit_table('orders');
INSERT INTO orders SELECT i, 'note ' || i FROM generate_series(1, 1000) i;
SELECT keystone_private.audit_flush();
EOF2
my $began = time;
is(query(q{SELECT keystone.audit_erase(array_agg(seq), 'a thousand') FROM (SELECT seq FROM keystone.audit_log WHERE action = 'table.insert' ORDER BY seq LIMIT 1000) e}),
	'1000', 'a thousand at once');
flush();
cmp_ok(time - $began, '<', 5, 'within seconds');
note(sprintf 'a thousand: %.3f s', time - $began);
is(query(q{SELECT count(*) FROM keystone.audit_log WHERE action = 'table.insert' AND detail IS NULL}), '1000', 'erased');
is_sound('a thousand');

$node->stop;
done_testing();
