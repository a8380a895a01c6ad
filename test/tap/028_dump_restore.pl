# I10: what 005_dump.pl does not look at.  A dump has the same bytes of
# ciphertext and the whole log, which goes on in a new epoch; the log counts
# each change once.  Every table is dumped, or named here; dumps of a part do
# what the documentation says.  A dump and what is published have wrapped keys
# and ciphertext, and nothing that was in them.  pg_upgrade keeps the files as they are.
use strict;
use warnings;

use IPC::Run;
use KeystoneNode;
use KeystoneTools qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $key = KeystoneNode::fresh_key();
my $node = KeystoneNode->start(name => 'dumped', keys => ["k1 $key"],
	conf => "max_worker_processes = 20\nwal_level = logical\nmax_wal_senders = 4\n");
my $base = $node->basedir;
my $marker = 'marker-' . substr KeystoneNode::fresh_key(), 0, 24;

sub query
{
	my ($database, $sql, %more) = @_;
	return ($more{server} // $node)->safe_psql($database, $sql, $more{role} ? (extra_params => [ '-U', $more{role} ]) : ());
}

sub state_of
{
	my ($database, $sql, %more) = @_;
	return ($more{server} // $node)->psql_err($database, $sql, extra_params => [ '-U', $more{role} // 'alice' ]);
}

query('postgres', 'CREATE ROLE alice LOGIN; CREATE DATABASE vault');
query('vault', q{CREATE EXTENSION keystone; SELECT keystone.grant_access('alice', 'client')});
query('vault', <<"EOF2", role => 'alice');
SELECT keystone.create_workspace('acme');
SELECT keystone.store('acme', 'token', '$marker ' || i) FROM generate_series(1, 5) i;
SELECT keystone.store('acme', 'mine', '$marker mine', personal => true);
SELECT keystone.reveal('acme', 'token');
EOF2
query('vault', 'SELECT keystone_private.audit_flush()');

# What must be the same, byte by byte.
my $bytes = q{
	SELECT credential_id, version, md5(envelope), md5(aad_digest) FROM keystone_private.ciphertext ORDER BY 1, 2;
	SELECT workspace_id, version, key_id, root_key, md5(wrapped) FROM keystone_private.workspace_keys ORDER BY 1, 2;
	SELECT purpose, version, key_id, md5(wrapped) FROM keystone_private.system_keys ORDER BY 1, 2;
	SELECT id, check_value FROM keystone_private.root_keys ORDER BY 1};
my $log = q{SELECT seq, epoch, md5(entry) FROM keystone_private.audit_entries ORDER BY seq};
my $original = query('vault', $bytes);
my $entries = query('vault', 'SELECT max(seq) FROM keystone_private.audit_entries');
my $original_log = query('vault', $log);

# A copy: refused until it is accepted; then the same, with the log in a new epoch.
sub is_the_same
{
	my ($name, $database, %more) = @_;
	my $server = $more{server} // $node;
	my $reveal = q{SELECT keystone.reveal('acme', 'token')};

	is(state_of($database, $reveal, %more), 'PT423', "I10 $name: values are refused before accept_restore()");
	is(state_of($database, q{SELECT FROM keystone.store('acme', 'token', 'x')}, %more), 'PT423', "I10 $name: so are changes");
	is(query($database, $bytes, %more), $original, "I10 $name: ciphertext and wrapped keys are the same bytes");
	is(query($database, $log, %more), $original_log, "I10 $name: the log is the same bytes, and nothing was added to it");
	is(query($database, q{SELECT ok FROM keystone.health WHERE check_name = 'instance'}, %more), 'f', "I10 $name: health says that it is a copy");
	query($database, "SELECT keystone.accept_restore('a test of $name')", %more);
	is(query($database, $reveal, %more, role => 'alice'), "$marker 5", "I10 $name: accepted, it reveals");
	is(query($database, 'SELECT count(*), count(*) FILTER (WHERE NOT ok) FROM keystone.verify_all()', %more), '6|0', "I10 $name: every version opens");
	is(query($database, $bytes, %more), $original, "I10 $name: nothing was encrypted again");
	is(query($database, 'SELECT keystone_private.audit_flush(); SELECT ok FROM keystone.audit_verify()', %more), "\nt", "I10 $name: the log verifies");
	my $epoch = query($database, 'SELECT epoch, reason, first_seq FROM keystone_private.audit_epochs ORDER BY epoch DESC LIMIT 1', %more);
	is($epoch, '2|restored: a test of ' . $name . '|' . ($entries + 1), "I10 $name: it goes on in a new epoch");
	is(query($database, q{SELECT string_agg(action, ' ' ORDER BY seq) FROM keystone.audit_log WHERE seq > } . $entries . q{ AND action NOT LIKE 'log.%' AND action <> 'audit.verify'}, %more),
		'audit.restore credential.reveal', "I10 $name: and has what happened since, once");
	return;
}

command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-Fc', '-f', "$base/dump", 'vault' ], 'pg_dump');
query('postgres', 'CREATE DATABASE restored');
{
	my (undef, $err) = run_command([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-e', '-d', 'restored', "$base/dump" ]);
	is($err, '', 'pg_restore');
}
is_the_same('pg_restore', 'restored');
query('postgres', 'CREATE DATABASE cloned TEMPLATE vault');
is_the_same('CREATE DATABASE TEMPLATE', 'cloned');
is(query('vault', $log), $original_log, 'I10 the original is as it was');
is(query('vault', q{SELECT keystone.reveal('acme', 'token')}, role => 'alice'), "$marker 5", 'I10 and reveals');

# Nothing is forgotten: a table or sequence is dumped, or is one of these.
is(query('vault', <<'EOF2'), join(' ', sort qw(instance limit_seed limit_state plans provider_catalogue reconcile_findings)), 'I10 what a dump does not have is known');
SELECT coalesce(string_agg(relname, ' ' ORDER BY relname), '') FROM pg_class c, pg_extension e
WHERE e.extname = 'keystone' AND c.relkind IN ('r', 'S') AND c.relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
AND c.oid <> ALL (e.extconfig)
EOF2

# Dumps of a part.
sub dump_of
{
	my (@options) = @_;
	my ($out) = run_command([ 'pg_dump', '-h', $node->host, '-p', $node->port, @options, 'vault' ]);
	unlike($out, qr/\Q$marker\E|\Q$key\E/i, "I1 pg_dump @options: no value and no root key");
	return $out;
}

sub tables_of { return join ' ', sort $_[0] =~ /^COPY keystone(?:_private)?\.(\w+) /mg }

my $all = tables_of(dump_of());
like($all, qr/\baudit_entries\b.*\bciphertext\b.*\bcredentials\b.*\bworkspace_keys\b/, 'a dump has all of it');
is(tables_of(dump_of('--data-only')), $all, 'pg_dump --data-only has the same tables');
is(tables_of(dump_of('--schema-only')), '', 'pg_dump --schema-only has none');
like(dump_of('--schema-only'), qr/CREATE EXTENSION IF NOT EXISTS keystone/, 'and makes the extension');
my $part = dump_of('-t', 'keystone_private.ciphertext');
is(tables_of($part), 'ciphertext', 'pg_dump -t has that table');
unlike($part, qr/CREATE /, 'and makes nothing');
$part = dump_of('--schema', 'keystone');
unlike(tables_of($part), qr/ciphertext|_keys|audit_entries/, 'pg_dump --schema=keystone has no ciphertext, key or log');
unlike($part, qr/CREATE EXTENSION/, 'and does not make the extension');
unlike(tables_of(dump_of('--exclude-schema', 'keystone_private')), qr/ciphertext|_keys|audit_entries/, 'neither has a dump without keystone_private');
$part = dump_of('--exclude-schema', 'keystone*');
is(tables_of($part) . ($part =~ /CREATE EXTENSION IF NOT EXISTS keystone/ ? 'extension' : ''), 'extension', 'one without both schemas has the extension, empty');

# The data of a part into a database that has the extension: it opens nothing.
query('postgres', 'CREATE DATABASE part');
query('part', 'CREATE EXTENSION keystone');
append_to_file("$base/part.sql", dump_of('--data-only', '-t', 'keystone.principals', '-t', 'keystone.workspaces', '-t', 'keystone.members'));
command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('part'), '-o', "$base/out", '-f', "$base/part.sql" ], 'rows of a part can be restored');
is(state_of('part', q{SELECT keystone.create_workspace('new')}, role => getpwuid $<), 'PT423', 'without the key of their MACs nothing is written beside them');

# What is published, of a database that rotates and reveals meanwhile.
query('vault', q{CREATE PUBLICATION everything FOR ALL TABLES; SELECT pg_create_logical_replication_slot('published', 'pgoutput')});
query('vault', qq{SELECT keystone.create_workspace('published'); SELECT keystone.store('published', 'token', '$marker published')}, role => 'alice');
my $published = query('vault',
	q{SELECT encode(data, 'escape') FROM pg_logical_slot_get_binary_changes('published', NULL, NULL, 'proto_version', '1', 'publication_names', 'everything')});
like($published, qr/workspace_keys/, 'I1 wrapped keys are published');
unlike($published, qr/\Q$marker\E|\Q$key\E/, 'I1 values and root keys are not');
query('vault', q{SELECT pg_drop_replication_slot('published'); DROP PUBLICATION everything});

# pg_upgrade, from and to this version; test/versions/upgrade has it between two.
query('vault', 'SELECT keystone_private.audit_flush()');
my $upgraded = KeystoneNode->start(name => 'upgraded', keys => ["k1 $key"], start => 0, conf => "max_worker_processes = 20\n");
my $files = query('vault', q{SELECT relname, relfilenode FROM pg_class WHERE relnamespace = 'keystone_private'::regnamespace AND relkind = 'r' ORDER BY 1});
$original = query('vault', $bytes);
$original_log = query('vault', $log);
$entries = query('vault', 'SELECT max(seq) FROM keystone_private.audit_entries');
$node->stop;
chomp(my $bindir = `pg_config --bindir`);
mkdir "$base/upgrade";
chdir "$base/upgrade";
my $said = '';
ok( IPC::Run::run([
			'pg_upgrade', '-d', $node->data_dir, '-D', $upgraded->data_dir, '-b', $bindir, '-B', $bindir,
			'-s', $node->host, '-p', $node->port, '-P', $upgraded->port ], '>&', \$said),
	'pg_upgrade') or diag($said);
chdir $base;
$upgraded->start;
is(query('vault', q{SELECT relname, relfilenode FROM pg_class WHERE relnamespace = 'keystone_private'::regnamespace AND relkind = 'r' ORDER BY 1}, server => $upgraded),
	$files, 'I10 pg_upgrade: every table has its file');
{
	my $bytes_now = query('vault', $bytes, server => $upgraded);
	is($bytes_now, $original, 'I10 pg_upgrade: ciphertext and wrapped keys are the same bytes');
}
is(query('vault', $log, server => $upgraded), $original_log, 'I10 pg_upgrade: so is the log');
is(state_of('vault', q{SELECT keystone.reveal('acme', 'token')}, server => $upgraded), 'PT423',
	'I10 pg_upgrade: another cluster, which is to be accepted');
query('vault', q{SELECT keystone.accept_restore('pg_upgrade')}, server => $upgraded);
is(query('vault', q{SELECT keystone.reveal('acme', 'token')}, server => $upgraded, role => 'alice'), "$marker 5", 'I10 pg_upgrade: accepted, it reveals');
is(query('vault', q{SELECT version FROM keystone.store('acme', 'token', 'after')}, server => $upgraded, role => 'alice'), 6, 'I10 pg_upgrade: and stores');
is(query('vault', 'SELECT keystone_private.audit_flush(); SELECT ok FROM keystone.audit_verify(); SELECT count(*) FROM keystone.verify_all() WHERE NOT ok', server => $upgraded),
	"\nt\n0", 'I10 pg_upgrade: log and values verify');
is(query('vault', 'SELECT min(seq) = 1, count(*) = max(seq) FROM keystone_private.audit_entries', server => $upgraded), 't|t', 'I10 pg_upgrade: no entry is missing or doubled');
is(query('vault', q{SELECT string_agg(check_name || ': ' || detail, ', ') FROM keystone.health WHERE NOT ok}, server => $upgraded), '', 'I10 pg_upgrade: all is well');
is(query('restored', q{SELECT keystone.accept_restore('pg_upgrade'); SELECT count(*) FROM keystone.verify_all() WHERE NOT ok}, server => $upgraded), "\n0",
	'I10 pg_upgrade: in each database');

$upgraded->stop;
done_testing();
