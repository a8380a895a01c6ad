# I3: whatever is changed in the tables of the audit log, by a superuser with
# the guards off, audit_verify() finds it and names the entry.  Each case is
# undone, and the log is sound again afterwards.
#
# One column is not covered by anything: made_at of a checkpoint.  Checkpoints
# that were deleted are missed only if the appender has just made them; that is
# what copies outside the database are for.
use strict;
use warnings;

use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(name => 'tamper', start => 0);
my $keys = $node->basedir . '/audit_keys';
mkdir $keys, 0700 or die "$keys: $!";
$node->append_conf('postgresql.conf', <<"EOF2");
keystone.audit_key_dir = '$keys'
keystone.audit_key_period = 0
keystone.audit_checkpoint_interval = '100ms'
keystone.audit_timeout = '2s'
autovacuum = off
EOF2
$node->start;

sub query
{
	my ($sql, %params) = @_;
	return $node->safe_psql('postgres', $sql, %params);
}

query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE ana LOGIN;
CREATE ROLE auditor LOGIN;
EOF2
is(query('SELECT ok, checked, first_bad, verdict FROM keystone.audit_verify()'), 't|0||empty', 'no log is empty, not broken');
query(q{SELECT keystone.grant_access('ana', 'client'), keystone.grant_access('auditor', 'auditor')});
my @as_ana = (extra_params => [ '-U', 'ana' ]);
query(<<'EOF2', @as_ana);
SELECT keystone.create_workspace('acme'), keystone.create_workspace('other');
SELECT keystone.store('acme', 'shared', 'a value that is long enough');
SELECT keystone.store('acme', 'own', 'a value that is long enough', personal => true);
SELECT keystone.rotate(keystone.credential_id('acme', 'shared'), 'another value of it');
EOF2
query(q{SELECT keystone.reveal('acme', 'own')}, @as_ana) foreach 1 .. 3;

# A second epoch of the log, as after the restore of a backup, and a key that
# was rotated.
my $position = -s $node->logfile;
query(<<'EOF2');
CREATE TABLE orders (id int PRIMARY KEY, note text);
SELECT keystone.audit_table('orders');
INSERT INTO orders SELECT i, 'note ' || i FROM generate_series(1, 300) i;
SELECT keystone_private.audit_flush();
ALTER TABLE keystone_private.instance DISABLE TRIGGER audit_guard;
UPDATE keystone_private.instance SET system_id = system_id + 1;
ALTER TABLE keystone_private.instance ENABLE ALWAYS TRIGGER audit_guard;
EOF2
$node->restart;
query(q{SELECT keystone.accept_restore('a copy')});
$node->poll_query_until('postgres', 'SELECT count(*) = 2 FROM keystone_private.audit_epochs') or die 'no second epoch';
query(q{INSERT INTO orders SELECT i, 'note ' || i FROM generate_series(301, 900) i; SELECT keystone_private.audit_flush()});
query(q{ALTER SYSTEM SET keystone.audit_key_period = 1; SELECT pg_reload_conf()});
$node->poll_query_until('postgres',
	q{SELECT count(*) >= 2 FROM keystone_private.audit_keys WHERE epoch = 2 AND keystone.version() IS NOT NULL
	  AND keystone_private.audit_flush() IS NOT NULL}) or die 'no second key';
query(q{ALTER SYSTEM RESET keystone.audit_key_period; SELECT pg_reload_conf()});
query(q{SELECT keystone.reveal('acme', 'own')}, @as_ana) foreach 1 .. 3;
query('SELECT keystone.audit_checkpoint()');

my $sound = query('SELECT ok, verdict, problem FROM keystone.audit_verify()');
is($sound, 't|self-consistent|', 'I3 a log with two epochs and several keys is sound');
cmp_ok(query('SELECT checked FROM keystone.audit_verify()'), '>=', 900, 'all of it was read');

# Guards, not the verifier, stop statements.
foreach my $table (qw(audit_epochs audit_entries audit_tiles audit_checkpoints audit_keys audit_outbox instance))
{
	foreach my $statement ("UPDATE keystone_private.$table SET ctid = ctid", "DELETE FROM keystone_private.$table")
	{
		next if $statement =~ /^UPDATE/;
		my $rows = query("SELECT count(*) FROM keystone_private.$table");
		next if $rows == 0;
		is($node->psql_err('postgres', $statement), '42501', "I3 a superuser's $statement is refused");
	}
}

# Guards off for the rest.
my @tables = qw(audit_epochs audit_entries audit_tiles audit_checkpoints audit_keys);
query(join ';', map { "ALTER TABLE keystone_private.$_ DISABLE TRIGGER audit_guard; ALTER TABLE keystone_private.$_ DISABLE TRIGGER refuse_truncate" } @tables);
query(<<'EOF2');
-- Runs a statement, verifies, and undoes the statement.
CREATE FUNCTION tamper(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v record;
	n bigint;
BEGIN
	EXECUTE statement;
	GET DIAGNOSTICS n = ROW_COUNT;
	SELECT * INTO v FROM keystone.audit_verify();
	RAISE EXCEPTION USING ERRCODE = 'KSOUT',
		MESSAGE = CASE WHEN n = 0 AND statement !~ '^(TRUNCATE|ALTER)' THEN 'nothing was changed' ELSE v.verdict || ' ' || coalesce(v.first_bad::text, '-') END,
		DETAIL = coalesce(v.problem, '-');
EXCEPTION
	WHEN SQLSTATE 'KSOUT' THEN
		RETURN SQLERRM;
	WHEN OTHERS THEN
		RETURN 'ERROR ' || SQLSTATE || ' ' || SQLERRM;
END
$$;
-- One byte changed.
CREATE FUNCTION flip(bytes bytea, i int) RETURNS bytea LANGUAGE sql AS
	'SELECT set_byte($1, $2, get_byte($1, $2) # 1)';
CREATE VIEW entries AS SELECT * FROM keystone_private.audit_entries;
EOF2

sub tamper
{
	my ($statement) = @_;
	return query("SELECT tamper(\$t\$$statement\$t\$)");
}

sub found
{
	my ($name, $seq, $statement) = @_;
	$statement =~ s/\b(audit_(?:entries|tiles|checkpoints|keys|epochs))\b/keystone_private.$1/g;
	is(tamper($statement), "broken $seq", "I3 $name");
	return;
}

# An entry with all columns but relation, one about an audited table, and what
# else is changed below.
my $at = query(q{SELECT seq FROM entries WHERE kind = 32 AND owner IS NOT NULL AND epoch = 1 ORDER BY seq OFFSET 1 LIMIT 1});
my $table_at = query(q{SELECT min(seq) + 100 FROM entries WHERE relation IS NOT NULL AND epoch = 2});
my $next = $at + 1;
my $second = query('SELECT first_seq FROM keystone_private.audit_epochs WHERE epoch = 2');
my $uuid = q{'deadbeef-0000-4000-8000-000000000001'};

# audit_entries: each column.
found('entries.seq', $at, "UPDATE audit_entries SET seq = seq + 1000000 WHERE seq = $at");
found('entries.epoch', $at, "UPDATE audit_entries SET epoch = 2 WHERE seq = $at");
found('entries.at (T10)', $at, "UPDATE audit_entries SET at = at + interval '1 microsecond' WHERE seq = $at");
found('entries.kind (T10)', $at, "UPDATE audit_entries SET kind = 33 WHERE seq = $at");
foreach my $column (qw(workspace_id object_id actor_id owner))
{
	found("entries.$column (T10)", $at, "UPDATE audit_entries SET $column = $uuid WHERE seq = $at");
	found("entries.$column (T10), removed", $at, "UPDATE audit_entries SET $column = NULL WHERE seq = $at");
	found("entries.$column (T10), added", $second, "UPDATE audit_entries SET $column = $uuid WHERE seq = $second");
}
found('entries.relation (T10)', $table_at, "UPDATE audit_entries SET relation = 'public.other' WHERE seq = $table_at");
found('entries.relation (T10), removed', $table_at, "UPDATE audit_entries SET relation = NULL WHERE seq = $table_at");
found('entries.relation (T10), added', $at, "UPDATE audit_entries SET relation = 'public.orders' WHERE seq = $at");
found('entries.salt', $at, "UPDATE audit_entries SET salt = flip(salt, 5) WHERE seq = $at");
found('entries.salt, removed', $at, "UPDATE audit_entries SET salt = NULL WHERE seq = $at");
found('entries.detail', $at, "UPDATE audit_entries SET detail = flip(detail, 20) WHERE seq = $at");
found('entries.detail, removed', $at, "UPDATE audit_entries SET detail = NULL WHERE seq = $at");
found('entries.detail and salt, removed without an erasure', $at, "UPDATE audit_entries SET detail = NULL, salt = NULL WHERE seq = $at");
found('entries.entry, emptied', $at, "UPDATE audit_entries SET entry = '' WHERE seq = $at");
found('entries.entry, garbage (T18)', $at, "UPDATE audit_entries SET entry = decode(repeat('ff', 4000), 'hex') WHERE seq = $at");
found('entries.entry, longer', $at, "UPDATE audit_entries SET entry = entry || '\\x00' WHERE seq = $at");

# Every single byte of an entry, in the middle of an epoch, as its first, and
# as its last one.
foreach my $where ([ 'in the middle', $at ], [ 'that begins an epoch', $second ], [ 'that ends an epoch', $second - 1 ])
{
	my ($name, $seq) = @$where;
	my $count = query(<<"EOF2");
SELECT string_agg(DISTINCT r, ', ') FROM entries e CROSS JOIN LATERAL generate_series(0, length(e.entry) - 1) i
CROSS JOIN LATERAL tamper(format('UPDATE keystone_private.audit_entries SET entry = flip(entry, %s) WHERE seq = $seq', i)) r
WHERE e.seq = $seq
EOF2
	is($count, "broken $seq", "I3 each byte of the entry $name");
}

# Rows that are gone, moved, doubled.
my $last = sub { return query('SELECT max(seq) FROM entries'); };
found('an entry dropped', $at, "DELETE FROM audit_entries WHERE seq = $at");
found('the first entry dropped', 1, 'DELETE FROM audit_entries WHERE seq = 1');
found('the first entry of an epoch dropped', $second, "DELETE FROM audit_entries WHERE seq = $second");
found('two entries in each other\'s place', $at, <<"EOF2");
UPDATE audit_entries a SET entry = b.entry, salt = b.salt, detail = b.detail, at = b.at, kind = b.kind, workspace_id = b.workspace_id,
	object_id = b.object_id, actor_id = b.actor_id, owner = b.owner, relation = b.relation
FROM audit_entries b WHERE (a.seq, b.seq) IN (($at, $at + 1), ($at + 1, $at))
EOF2
found('an entry replaced by another', $next, <<"EOF2");
UPDATE audit_entries a SET entry = b.entry, salt = b.salt, detail = b.detail FROM audit_entries b WHERE a.seq = $next AND b.seq = $at
EOF2
found('all entries dropped', 1, 'TRUNCATE audit_entries');
my $end = $last->();
found('the end of the log dropped', $end - 20, "DELETE FROM audit_entries WHERE seq >= $end - 20");
$end = $last->();
found('the last entry dropped', $end + 1 - 1, "DELETE FROM audit_entries WHERE seq = $end");
$end = $last->();
found('an entry copied to the end', $end + 1, <<"EOF2");
INSERT INTO audit_entries SELECT seq + 1, epoch, at, kind, workspace_id, object_id, actor_id, owner, relation, entry, salt, detail
FROM audit_entries WHERE seq = $end
EOF2

# A forged entry that continues chain and tree: index and previous leaf are
# right.  It is not the appender's.
$end = $last->();
found('a forged entry at the end', $end + 1, <<"EOF2");
INSERT INTO audit_entries SELECT seq + 1, epoch, at, kind, workspace_id, object_id, actor_id, owner, relation,
	overlay(overlay(entry PLACING int8send(seq + 1 - (SELECT first_seq FROM audit_epochs ORDER BY epoch DESC LIMIT 1)) FROM 41)
		PLACING sha256('\\x00'::bytea || entry) FROM 54), salt, detail
FROM audit_entries WHERE seq = $end AND substr(entry, 36, 5) = '\\x0300000008'::bytea AND workspace_id IS NULL
EOF2

# audit_tiles: each column, each kind of change.
my $tile_at = $second + 256 + 77;
found('tiles.hashes', $tile_at, 'UPDATE audit_tiles SET hashes = flip(hashes, 77 * 32 + 3) WHERE epoch = 2 AND level = 0 AND n = 1');
found('tiles.hashes, shorter', $second, 'UPDATE audit_tiles SET hashes = substr(hashes, 1, 8191) WHERE epoch = 2 AND n = 0');
found('tiles.epoch', 1, 'UPDATE audit_tiles SET epoch = 3 WHERE epoch = 1 AND n = 0');
found('tiles.level', $second, 'UPDATE audit_tiles SET level = 1 WHERE epoch = 2 AND n = 0');
found('tiles.n', $second + 256, 'UPDATE audit_tiles SET n = 7 WHERE epoch = 2 AND n = 1');
found('a tile dropped', $second + 256, 'DELETE FROM audit_tiles WHERE epoch = 2 AND n = 1');
found('all tiles dropped', 1, 'TRUNCATE audit_tiles');
like(tamper("INSERT INTO keystone_private.audit_tiles SELECT epoch, level, 99, hashes FROM keystone_private.audit_tiles WHERE epoch = 2 AND n = 0"),
	qr/^broken \d+$/, 'I3 a tile too many');

# audit_checkpoints.
my $size = query(<<'EOF2');
SELECT min(size) FROM keystone_private.audit_checkpoints c
WHERE epoch = 2 AND size > 300 AND NOT EXISTS (SELECT FROM keystone_private.audit_checkpoints d WHERE d.epoch = 2 AND d.size = c.size - 1)
EOF2
my $signed_at = $second + $size - 1;
found('checkpoints.root', $signed_at, "UPDATE audit_checkpoints SET root = flip(root, 3) WHERE epoch = 2 AND size = $size");
found('checkpoints.note of another', $signed_at, "UPDATE audit_checkpoints SET note = (SELECT note FROM audit_checkpoints WHERE epoch = 1 LIMIT 1) WHERE epoch = 2 AND size = $size");
found('checkpoints.size', $signed_at - 1, "UPDATE audit_checkpoints SET size = size - 1 WHERE epoch = 2 AND size = $size");
found('checkpoints.size, nonsense', $second, "UPDATE audit_checkpoints SET size = -1 WHERE epoch = 2 AND size = $size");
like(tamper("UPDATE keystone_private.audit_checkpoints SET epoch = 3 WHERE epoch = 2 AND size = $size"), qr/^broken \d+$/, 'I3 checkpoints.epoch');
is(tamper("UPDATE keystone_private.audit_checkpoints SET made_at = made_at + interval '1 day' WHERE epoch = 2 AND size = $size"),
	'self-consistent -', 'checkpoints.made_at is covered by nothing');
is(query(<<"EOF2"), "broken $signed_at", 'I3 each character of a checkpoint');
SELECT string_agg(DISTINCT r, ', ') FROM keystone_private.audit_checkpoints c CROSS JOIN LATERAL generate_series(1, length(c.note)) i
CROSS JOIN LATERAL tamper(format('UPDATE keystone_private.audit_checkpoints SET note = overlay(note PLACING CASE substr(note, %s, 1) WHEN ''A'' THEN ''B'' ELSE ''A'' END FROM %s) WHERE epoch = 2 AND size = $size', i, i)) r
WHERE c.epoch = 2 AND c.size = $size
EOF2
query('SELECT keystone.audit_checkpoint()');
like(tamper('DELETE FROM keystone_private.audit_checkpoints WHERE made_at > now() - interval \'1 hour\''), qr/^broken \d+$/,
	'I3 the newest checkpoint dropped, while the appender knows it');

# audit_keys.
my ($first_key, $later_key) = split /\n/, query('SELECT valid_from FROM keystone_private.audit_keys WHERE epoch = 2 ORDER BY valid_from LIMIT 2');
found('keys.vkey', $first_key, "UPDATE audit_keys SET vkey = overlay(vkey PLACING 'AAAA' FROM length(vkey) - 8) WHERE valid_from = $first_key");
found('keys.vkey, another', $first_key, "UPDATE audit_keys SET vkey = (SELECT vkey FROM audit_keys WHERE valid_from = $later_key) WHERE valid_from = $first_key");
found('keys.signature', $later_key, "UPDATE audit_keys SET signature = flip(signature, 7) WHERE valid_from = $later_key");
found('keys.signature, removed', $later_key, "UPDATE audit_keys SET signature = NULL WHERE valid_from = $later_key");
found('keys.epoch', $later_key, "UPDATE audit_keys SET epoch = 1 WHERE valid_from = $later_key");
like(tamper("UPDATE keystone_private.audit_keys SET valid_from = valid_from + 1 WHERE valid_from = $later_key"), qr/^broken $later_key$/, 'I3 keys.valid_from');
found('a key dropped', $later_key, "DELETE FROM audit_keys WHERE valid_from = $later_key");
like(tamper("INSERT INTO keystone_private.audit_keys SELECT 2, valid_from + 3, vkey, signature FROM keystone_private.audit_keys WHERE valid_from = $later_key"),
	qr/^broken \d+$/, 'I3 a key too many');

# audit_epochs.
found("epochs.$_->[0]", $_->[2] // $second, "UPDATE audit_epochs SET $_->[0] = $_->[1] WHERE epoch = 2") foreach (
	[ 'log_id', $uuid, $second ], [ 'origin', q{origin || 'x'} ], [ 'system_id', 'system_id + 1' ], [ 'database', 'database + 1' ],
	[ 'timeline', 'timeline + 1' ], [ 'previous_size', 'previous_size + 1' ], [ 'previous_root', 'flip(previous_root, 0)' ],
	[ 'previous_root', q{''} ], [ 'started_at', q{started_at + interval '1 hour'} ], [ 'reason', q{'first'} ]);
like(tamper("UPDATE keystone_private.audit_epochs SET first_seq = first_seq + 1 WHERE epoch = 2"), qr/^broken $second$/, 'I3 epochs.first_seq');
like(tamper("UPDATE keystone_private.audit_epochs SET epoch = 3 WHERE epoch = 2"), qr/^broken \d+$/, 'I3 epochs.epoch');
found('the last epoch dropped', $second, 'DELETE FROM audit_epochs WHERE epoch = 2');
found('all epochs dropped', 1, 'TRUNCATE audit_epochs');

# Damage that is not a value: columns and keys of a table.
like(tamper('ALTER TABLE keystone_private.audit_checkpoints RENAME made_at TO made'), qr/^broken 1$/, 'I3 a table that was altered');

# A row that cannot be read is one bad row (I11, T10, T18).
is(query(<<"EOF2"), "t|t", 'I11 T10 the view shows what the bytes say, and bad bytes show nothing');
BEGIN;
CREATE TEMP TABLE before AS SELECT * FROM keystone.audit_log WHERE seq IN ($at, $next);
UPDATE keystone_private.audit_entries SET at = at + interval '1 day', kind = 16, workspace_id = NULL, object_id = NULL, actor_id = NULL, epoch = 9 WHERE seq = $at;
UPDATE keystone_private.audit_entries SET entry = '\\xdead', detail = '\\xbeef' WHERE seq = $next;
SELECT (SELECT l FROM keystone.audit_log l WHERE seq = $at) IS NOT DISTINCT FROM (SELECT b FROM before b WHERE seq = $at),
	(SELECT at IS NULL AND action IS NULL AND actor IS NULL FROM keystone.audit_log WHERE seq = $next);
ROLLBACK;
EOF2
is(query("BEGIN; UPDATE keystone_private.audit_entries SET entry = '\\xdead' WHERE seq = $next; SELECT count(*) > 900 FROM keystone.audit_export(); ROLLBACK"),
	't', 'I11 a bad row does not stop the export');

# Part of the log.
is(query("SELECT ok, checked, verdict FROM keystone.audit_verify($at, $at + 9)"), 't|10|self-consistent', 'a part of it');
is(query("SELECT ok, checked FROM keystone.audit_verify($second + 300, $second + 500)"), 't|201', 'a part that begins within a tile');
is(query("SELECT ok, checked FROM keystone.audit_verify($second - 5, $second + 5)"), 't|11', 'a part over two epochs');
is(query("SELECT ok, first_bad FROM keystone.audit_verify($end, $end + 1000000)") =~ s/\|.*//r, 'f', 'a part that is not there is missing');

# The log cannot be written: reading goes on (T2).
is(query(<<'EOF2'), 't', 'T2 verification while its own record cannot be written');
BEGIN;
LOCK TABLE keystone_private.audit_entries IN SHARE MODE;
SELECT ok FROM keystone.audit_verify();
COMMIT;
EOF2
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM keystone.health WHERE check_name = 'workers' AND NOT ok}) or die;

# A log that is long enough for a tile of the next level.
query(q{INSERT INTO orders SELECT i, 'note' FROM generate_series(1001, 67000) i});
query(q{SET statement_timeout = 0; SELECT keystone_private.audit_flush()}) if $node->poll_query_until('postgres',
	'SELECT count(*) = 0 FROM keystone_private.audit_outbox');
is(query('SELECT ok, verdict, problem FROM keystone.audit_verify()'), $sound, 'I3 a long log is sound');
found('tiles.hashes of level 1', $second + 256 * 9, 'UPDATE audit_tiles SET hashes = flip(hashes, 9 * 32) WHERE epoch = 2 AND level = 1 AND n = 0');
found('a tile of level 1 dropped', $second, 'DELETE FROM audit_tiles WHERE epoch = 2 AND level = 1');
is(query("SELECT ok, checked FROM keystone.audit_verify($second + 65700, $second + 66000)"), 't|301', 'a part behind a tile of level 1');

# As it was.
query(join ';', map { "ALTER TABLE keystone_private.$_ ENABLE ALWAYS TRIGGER audit_guard; ALTER TABLE keystone_private.$_ ENABLE ALWAYS TRIGGER refuse_truncate" } @tables);
is(query('SELECT ok, verdict, problem FROM keystone.audit_verify()'), $sound, 'I3 everything undone, the log is sound again');
cmp_ok(query(q{SELECT count(*) FROM keystone.audit_log WHERE action = 'audit.verify' AND actor = current_user}), '>', 1000,
	'T15 each verification stands in the log itself');
query(q{SELECT keystone.audit_verify()}, extra_params => [ '-U', 'auditor' ]);
is(query(q{SELECT count(*) FROM keystone.audit_log WHERE action = 'audit.verify' AND actor = 'auditor'}), '1', 'T15 under the name of the auditor');

$node->restart;
is(query('SELECT ok FROM keystone.audit_verify()'), 't', 'and after a restart');
$node->stop;
done_testing();
