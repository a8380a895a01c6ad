# Columns of an application's own.  I2: no row is decrypted before an entry that
# covers it is durable, whatever becomes of the statement, the transaction, the
# session, the log or the server; I4: what changes of rights and keys holds from
# the next row on, in other sessions too.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(crash_postmaster wait_until);
use PlaintextScan;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $key = KeystoneNode::fresh_key();
my $node = KeystoneNode->start(
	name => 'encrypt',
	init => [ allows_streaming => 1 ],
	keys => ["k1 $key"],
	conf => <<'EOF2');
log_statement = none
log_min_error_statement = panic
keystone.authenticators = 'gateway'
keystone.trust_claims = on
keystone.audit_timeout = 2s
EOF2

sub query
{
	my ($sql, $role) = @_;
	return $node->safe_psql('postgres', $sql, $role ? (extra_params => [ '-U', $role ]) : ());
}

# The SQLSTATE that a role's statements end in, 00000 for none.
sub state_of
{
	my ($sql, $role, $server) = @_;
	my $stderr = '';
	($server // $node)->psql('postgres', $sql, stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=verbose', '-v', 'ON_ERROR_STOP=1', '-U', $role ]);
	return $stderr =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}):/ ? $1 : '00000';
}

# What the log says of decryptions since it was asked last.
my $seen = 0;
sub logged
{
	query('SELECT keystone_private.audit_flush()');
	my $result = query(<<"EOF2");
SELECT coalesce(string_agg(CASE WHEN outcome <> 'ok' THEN outcome WHEN detail ? 'up_to' THEN '<=' || (detail ->> 'up_to')
	ELSE '=' || (detail ->> 'decrypted') END, ' ' ORDER BY seq), '') FROM keystone.audit_log WHERE action = 'decrypt' AND seq > $seen
EOF2
	$seen = query('SELECT max(seq) FROM keystone_private.audit_entries');
	return $result;
}

query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE gateway LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE friend LOGIN;
SELECT keystone.grant_access(r, 'worker') FROM unnest('{gateway,app,friend}'::text[]) r;
SELECT keystone.register_principal(r, db_role => r::name) FROM unnest('{app,friend}'::text[]) r;
CREATE TABLE rows (i int, c bytea);
GRANT ALL ON rows TO PUBLIC;
EOF2
my $secret = 'Vq7ZrKx2WmT9sLpD4';
my $friend = query("SELECT id FROM keystone.principals WHERE db_role = 'friend'");
query(<<"EOF2", 'app');
SELECT keystone.create_workspace('acme');
SELECT keystone.add_member('acme', '$friend', 'service');
BEGIN;
PREPARE fill(text) AS INSERT INTO rows SELECT i, keystone.encrypt('acme', convert_to(\$1 || i, 'UTF8')) FROM generate_series(1, 300) i;
EXECUTE fill('$secret');
COMMIT;
EOF2
logged();

# I2: a bound that does not become durable gives no row.
query("SELECT count(keystone.decrypt('acme', c)) FROM rows", 'app');
is(logged(), '<=1 <=4 <=16 <=64 <=256 <=1024 =300', 'I2: bounds come before the rows, then their number');

my $appender = query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'keystone appender'");
kill('STOP', $appender) or die $!;
is(state_of("SELECT count(keystone.decrypt('acme', c)) FROM rows", 'app'), 'PT424', 'I2: nothing is decrypted while the log does not answer');
my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
kill('CONT', $appender) or die $!;
query('SELECT keystone_private.audit_flush()');
$session->query_safe("BEGIN; DECLARE d CURSOR FOR SELECT i, convert_from(keystone.decrypt('acme', c), 'UTF8') FROM rows ORDER BY i");
is($session->query('FETCH 3 FROM d') =~ tr/\n//, 2, 'three rows of a cursor');
kill('STOP', $appender) or die $!;
is($session->query('FETCH 1 FROM d') =~ /^4\|/ ? 'row' : 'none', 'row', 'I2: the fourth is covered by the bound of four');
is($session->query('FETCH 1 FROM d') // '', '', 'I2: the fifth is not, and is not given while the log does not answer');
kill('CONT', $appender) or die $!;
$session->query('ROLLBACK');
$session->quit;
query('SELECT keystone_private.audit_flush()');
logged();

# The session is killed, then the server: what was reserved is in the log.
$session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
$session->query_safe("BEGIN; DECLARE d CURSOR FOR SELECT keystone.decrypt('acme', c) FROM rows ORDER BY i");
$session->query_safe('FETCH 3 FROM d');
query("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'app'");
eval { $session->quit };
is(logged(), '<=1 <=4', 'I2: a session that is terminated leaves its bound');
$session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
$session->query_safe("BEGIN; DECLARE d CURSOR FOR SELECT keystone.decrypt('acme', c) FROM rows ORDER BY i");
$session->query_safe('FETCH 5 FROM d');
crash_postmaster($node);
eval { $session->quit };
is(logged(), '<=1 <=4 <=16', 'I2: a crash leaves it too');

# Encryptions count towards the replacement of a key, those that are rolled back too.
query("SELECT keystone.encrypt('acme', 'x')", 'app');
my $count = "SELECT encryptions FROM keystone_private.key_usage WHERE workspace_id = (SELECT id FROM keystone.workspaces WHERE slug = 'acme') AND version = 1";
$node->poll_query_until('postgres', "SELECT EXISTS ($count)");
my $encryptions = query($count);
query("BEGIN; SELECT count(keystone.encrypt('acme', c)) FROM rows; ROLLBACK", 'app');
ok($node->poll_query_until('postgres', "SELECT ($count) >= $encryptions + 300"), 'encryptions are counted');

# I4: rights and keys, changed by others while a statement runs.
sub interrupted
{
	my ($role, $sql, $change) = @_;
	my $running = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', $role ]);
	$running->query_safe("BEGIN; DECLARE d CURSOR FOR $sql");
	my $before = $running->query('FETCH 2 FROM d');
	$change->();
	my $after = $running->query('FETCH 1 FROM d') // '';
	$running->query('ROLLBACK');
	$running->quit;
	return ($before ne '' ? 'given' : 'refused', $after ne '' ? 'given' : 'refused');
}
my $decrypt = "SELECT length(keystone.decrypt('acme', c)) FROM rows";
is_deeply([ interrupted('friend', $decrypt, sub { }) ], [ 'given', 'given' ], 'a statement that nobody disturbs');
is_deeply([ interrupted('friend', $decrypt, sub { query("SELECT keystone.remove_member('acme', '$friend')", 'app') }) ],
	[ 'given', 'refused' ], 'I4: a member that was removed gets no more rows');
query("SELECT keystone.add_member('acme', '$friend', 'service')", 'app');
is_deeply([ interrupted('friend', $decrypt, sub { query("SELECT keystone.set_member_role('acme', '$friend', 'viewer')", 'app') }) ],
	[ 'given', 'refused' ], 'I4: one that lost the permission neither');
query("SELECT keystone.set_member_role('acme', '$friend', 'service')", 'app');
is_deeply([ interrupted('app', $decrypt, sub { query("SELECT keystone.update_workspace('acme', '{\"status\": \"suspended\"}')", 'app') }) ],
	[ 'given', 'refused' ], 'I4: a workspace that was suspended gives no more');
query("SELECT keystone.update_workspace('acme', '{\"status\": \"active\"}')", 'app');
is_deeply([ interrupted('friend', $decrypt, sub { query("SELECT keystone.revoke_access('friend', 'worker')") }) ],
	[ 'given', 'refused' ], 'I4: a role that lost its profile gets no more');
query("SELECT keystone.grant_access('friend', 'worker')");
is_deeply([ interrupted('app', "SELECT length(keystone.encrypt('acme', c)) FROM rows", sub { query("SELECT keystone.update_workspace('acme', '{\"status\": \"suspended\"}')", 'app') }) ],
	[ 'given', 'refused' ], 'I4: nor does it take any');
query("SELECT keystone.update_workspace('acme', '{\"status\": \"active\"}')", 'app');

# I6: without the root key, in the middle of a statement.
is_deeply([ interrupted('app', $decrypt, sub {
	$node->write_root_keys('k2 ' . KeystoneNode::fresh_key());
	$node->reload_and_wait(expected => 't');
}) ], [ 'given', 'refused' ], 'I6: nothing is decrypted after the root key is gone');
is(state_of("SELECT keystone.encrypt('acme', 'x')", 'app'), 'PT423', 'I6: nor encrypted');
is(state_of("SELECT keystone.blind_index('acme', 'x')", 'app'), 'PT423', 'I6: nor looked for');
$node->write_root_keys("k1 $key");
$node->reload_and_wait;

# By GET no value is given; a POST is.
my $claims = q({"sub": "a0000000-0000-4000-8000-000000000001"});
my $person = query("SET SESSION AUTHORIZATION gateway; BEGIN; SELECT set_config('request.jwt.claims', '$claims', true) IS NULL; SELECT keystone.create_workspace('web'); COMMIT;");
sub request
{
	my ($method, $sql) = @_;
	return "BEGIN; SELECT set_config('request.jwt.claims', '$claims', true), set_config('request.method', '$method', true); $sql; COMMIT";
}
my ($text) = query(request('POST', "SELECT 'is ' || keystone.encrypt_text('web', 'x')"), 'gateway') =~ /is (\S+)/;
is(state_of(request('GET', "SELECT keystone.decrypt_text('web', '$text')"), 'gateway'), '25006', 'a GET decrypts nothing');
is(state_of(request('HEAD', "SELECT keystone.decrypt_text('web', '$text')"), 'gateway'), '25006', 'nor does a HEAD');
is(state_of(request('POST', "SELECT keystone.decrypt_text('web', '$text')"), 'gateway'), '00000', 'a POST does');

# On a standby nothing is decrypted; it finds by index.
$node->backup('copy');
my $standby = KeystoneNode->new('encrypt_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', "keystone.root_key_file = '${\$standby->root_key_file}'");
$standby->write_root_keys("k1 $key");
$standby->start;
$node->wait_for_catchup($standby);
is(state_of("SELECT keystone.decrypt('acme', c) FROM rows LIMIT 1", 'app', $standby), '25006', 'I2: a standby decrypts nothing');
is(state_of("SELECT keystone.encrypt('acme', 'x')", 'app', $standby), '25006', 'nor does it encrypt');
is($standby->safe_psql('postgres', "SELECT keystone.blind_index('acme', 'x')", extra_params => [ '-U', 'app' ]),
	query("SELECT keystone.blind_index('acme', 'x')", 'app'), 'it finds what the primary would find');
$standby->stop;

# A key that was destroyed.
is_deeply([ interrupted('app', $decrypt, sub { query("DELETE FROM keystone_private.workspace_keys WHERE workspace_id = (SELECT id FROM keystone.workspaces WHERE slug = 'acme')") }) ],
	[ 'given', 'refused' ], 'nothing is decrypted once the keys are destroyed');
is(state_of($decrypt, 'app'), 'PT423', 'nor by another statement');

# I1: what was encrypted, from a parameter, stands nowhere.
query('CHECKPOINT');
$node->stop;
my $scan = PlaintextScan->new(secret => $secret);
$scan->look_below($node->data_dir, sub { my ($path) = @_; return (split m{/}, $path)[0] });
$scan->look('log', slurp_file($node->logfile));
is_deeply({ $scan->found('secret') }, {}, 'I1: the plaintext is in no file');

done_testing();
