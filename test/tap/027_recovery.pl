# The cases of docs/recovery.md, with its commands: a root key that is missing,
# wrong, or lost for good; a base backup that was restored; a clone.  A dump and
# pg_upgrade are in 028_dump_restore.pl, a standby in 006_standby.pl.  A bundle
# is made and opened as docs/bundle.md says.
use strict;
use warnings;

use IPC::Run;
use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my ($k1, $k2, $k3) = map { KeystoneNode::fresh_key() } 1 .. 3;
my $node = KeystoneNode->start(name => 'recovery', keys => ["k1 $k1"], init => [ has_archiving => 1, allows_streaming => 1 ],
	conf => "max_worker_processes = 20\n");
my $base = $node->basedir;
my $reveal = q{SELECT keystone.reveal('acme', 'token')};
my $all_open = q{SELECT count(*) > 0, count(*) FILTER (WHERE NOT ok) FROM keystone.verify_all()};

sub query
{
	my ($database, $sql, %more) = @_;
	return ($more{server} // $node)->safe_psql($database, $sql, $more{role} ? (extra_params => [ '-U', $more{role} ]) : ());
}

sub state_of
{
	my ($database, $sql, %more) = @_;
	return ($more{server} // $node)->psql_err($database, $sql, extra_params => [ '-U', $more{role} // 'ana' ]);
}

sub use_keys
{
	my ($sealed, @lines) = @_;
	$node->write_root_keys(@lines);
	$node->reload_and_wait(database => 'vault', expected => $sealed);
	return query('vault', 'SELECT reason FROM keystone.seal_status');
}

query('postgres', 'CREATE ROLE ana LOGIN; CREATE ROLE ben LOGIN; CREATE DATABASE vault');
query('vault', q{CREATE EXTENSION keystone; SELECT keystone.grant_access('ana', 'client')});
query('vault', q{SELECT keystone.create_workspace('acme'); SELECT keystone.store('acme', 'token', 'value'); SELECT keystone.store('acme', 'mine', 'own', personal => true)},
	role => 'ana');
is(query('vault', $reveal, role => 'ana'), 'value', 'a value');

# A bundle, for a key that is made as the documentation says.
sub shell
{
	my ($command) = @_;
	my ($out, $err) = ('', '');
	ok(IPC::Run::run([ 'sh', '-c', $command ], '>', \$out, '2>', \$err), $command) or diag($err);
	chomp $out;
	return $out;
}
shell("umask 077; openssl genpkey -algorithm X25519 -out '$base/import.pem'");
my $public = shell("openssl pkey -in '$base/import.pem' -pubout -outform DER | tail -c 32 | od -An -v -tx1 | tr -d ' \\n'");
is(length $public, 64, 'a public key');
append_to_file("$base/export.sql", <<"EOF2");
SELECT keystone.export_bundle('acme', '\\x$public') AS bundle \\gset
\\o $base/acme.bundle
\\qecho :bundle
\\o
EOF2
command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-U', 'ana', '-d', $node->connstr('vault'), '-f', "$base/export.sql" ], 'a bundle is exported');
like(slurp_file("$base/acme.bundle"), qr/^\\x4b5342554e444c450101[0-9a-f]+\n$/, 'it is in the file');
is(query('vault', q{SELECT keystone_private.audit_flush(); SELECT count(*) FROM keystone.audit_log WHERE action = 'key.export' AND outcome = 'ok'}), "\n1",
	'I2 and in the log');

# The root key is missing.
unlink $node->root_key_file;
$node->reload_and_wait(database => 'vault', expected => 't');
like(query('vault', 'SELECT reason FROM keystone.seal_status'), qr/does not exist/, 'I6 missing: sealed, with the reason');
is(state_of('vault', $reveal), 'PT423', 'I6 missing: no value');
is(state_of('vault', q{SELECT keystone.export_bundle('acme', '\x} . $public . q{')}), 'PT423', 'I6 missing: no bundle');
is(query('vault', 'SELECT count(*) FROM keystone.credentials', role => 'ana'), 2, 'I6 missing: metadata can be read');
use_keys('f', "k1 $k1");
is(query('vault', $reveal, role => 'ana'), 'value', 'I6 missing: back again, without a restart');

# The wrong one, another one, and two that were mixed up.
like(use_keys('t', "k1 $k2"), qr/^root key "k1" is not the key that this database knows by that name/, 'I6 wrong: recognised');
is(state_of('vault', q{SELECT keystone.store('acme', 'token', 'under a wrong key')}), 'PT423', 'I6 wrong: nothing is written under it');
is(state_of('vault', $reveal), 'PT423', 'I6 wrong: nothing is read');
like(use_keys('t', "k2 $k2"), qr/^root key "k1" .*not in the keyring/, 'I6 another: the id that is missing is named');
use_keys('f', "k2 $k2", "k1 $k1");
is(query('vault', $reveal, role => 'ana'), 'value', 'I6 both: it opens');
is(query('vault', 'SELECT current_root_key FROM keystone.seal_status'), 'k2', 'I6 both: the first wraps');
is(query('vault', $all_open), 't|0', 'I6 all open');

# A base backup, and what happened after it.
use_keys('f', "k1 $k1");
$node->backup('base');
query('vault', q{SELECT keystone.store('acme', 'token', 'after the backup'); SELECT keystone.store('acme', 'late', 'late')}, role => 'ana');
query('vault', 'SELECT keystone_private.audit_flush()');
my $entries = query('vault', 'SELECT max(seq) FROM keystone_private.audit_entries');
query('vault', 'SELECT pg_switch_wal()');
$node->poll_query_until('postgres', q{SELECT last_archived_wal IS NOT NULL AND last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 16777216) FROM pg_stat_archiver});
my $restored = KeystoneNode->new('restored');
$restored->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
$restored->write_root_keys("k1 $k1");
$restored->append_conf('postgresql.conf', "keystone.root_key_file = '" . $restored->root_key_file . "'");
$restored->start;
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is(query('vault', $reveal, server => $restored, role => 'ana'), 'after the backup', 'I10 base backup: it opens, with what was archived');
is(query('vault', 'SELECT keystone_private.audit_flush(); SELECT ok FROM keystone.audit_verify()', server => $restored), "\nt", 'I10 base backup: the log verifies');
is(query('vault', 'SELECT reason, first_seq FROM keystone_private.audit_epochs ORDER BY epoch DESC LIMIT 1', server => $restored),
	'promoted|' . ($entries + 1), 'I10 base backup: it goes on in a new epoch');
is(query('vault', $all_open, server => $restored), 't|0', 'I10 base backup: all open');
$restored->stop;

# A clone.
query('postgres', 'CREATE DATABASE staging TEMPLATE vault');
is(state_of('staging', $reveal), 'PT423', 'I10 clone: refused');
is(state_of('staging', q{SELECT keystone.export_bundle('acme', '\x} . $public . q{')}), 'PT423', 'I10 clone: no bundle either');
query('staging', q{SELECT keystone.accept_restore('staging of November')});
is(query('staging', $reveal, role => 'ana'), 'after the backup', 'I10 clone: accepted, it opens');

# The root key is lost for good: another one, another database, and the bundle.
like(use_keys('t', "k3 $k3"), qr/^root key "k1" .*not in the keyring/, 'I6 lost: sealed');
query('postgres', 'CREATE DATABASE vault_new');
$node->append_conf('postgresql.conf', "keystone.import_key_file = '$base/import.pem'");
$node->reload;
query('vault_new', q{CREATE EXTENSION keystone; SELECT keystone.grant_access(r, 'client') FROM unnest('{ana,ben}'::name[]) r});
append_to_file("$base/import.sql", "\\set bundle `cat $base/acme.bundle`\nSELECT keystone.import_bundle(:'bundle') IS NOT NULL;\n");
my ($imported) = run_command([ 'psql', '-XAtq', '-U', 'ben', '-d', $node->connstr('vault_new'), '-f', "$base/import.sql" ]);
is($imported, 't', 'I10 lost: the bundle is imported');
is(query('vault_new', $reveal, role => 'ben'), 'value', 'I10 lost: its value is there, as of then');
is(query('vault_new', q{SELECT keystone.reveal('acme', 'mine', scope => 'own')}, role => 'ben'), 'own', 'I10 lost: the personal one is who imports');
is(state_of('vault_new', $reveal), '42501', 'I4 lost: the one who had it before is nobody there');
is(query('vault_new', $all_open), 't|0', 'I10 lost: all open');
is(query('vault_new', q{SELECT keystone_private.audit_flush(); SELECT count(*) FROM keystone.audit_log WHERE action = 'key.import'; SELECT ok FROM keystone.audit_verify()}),
	"\n1\nt", 'I10 lost: the log of the new one has it');
is(query('vault', 'SELECT count(*) FROM keystone.audit_log WHERE action = \'key.export\' AND outcome = \'ok\'; SELECT ok FROM keystone.audit_verify()'), "1\nt",
	'I10 lost: the old log can be read and verified without the key');

my $log = slurp_file($node->logfile);
unlike($log, qr/$k1|$k2|$k3/i, 'no root key is in the server log');
my $private = shell("openssl pkey -in '$base/import.pem' -outform DER | tail -c 32 | od -An -v -tx1 | tr -d ' \\n'");
is(length $private, 64, 'a private key');
unlike($log, qr/$private/i, 'nor is the private key of bundles');

$node->stop;
done_testing();
