# I2's half and I10's: what was committed survives kill -9 of a backend or of
# the postmaster, in the middle of concurrent changes; what was not leaves
# nothing.  Long calls can be cancelled.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(start_pgbench crash_postmaster wait_until);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = KeystoneNode->start(
	name => 'crash',
	conf => <<'EOF2');
restart_after_crash = on
autovacuum = off
log_statement = none
keystone.reveal_limit = ''
keystone.workspace_reveal_limit = ''
EOF2

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE app LOGIN;
SELECT keystone.grant_access('app', 'client');
EOF2
my @as_app = (extra_params => [ '-U', 'app' ]);
$node->safe_psql('postgres', q{SELECT keystone.create_workspace('acme');
	SELECT keystone.store('acme', 'shared' || i, 'initial') FROM generate_series(0, 9) i}, @as_app);

# Writers that say what was committed: psql prints the version of each store
# of a value that tells it.
my $writers = 0;

sub start_writer
{
	my $name = 'writer' . ++$writers;
	my $script = $node->basedir . "/$name.sql";
	my $output = $node->basedir . "/$name.out";
	append_to_file($script,
		join '', map { "SELECT version FROM keystone.store('acme', '$name', 'value $name.$_');\n" } 1 .. 20000);
	my $handle = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') . ' user=app', '-f', $script ],
		'>', $output, '2>', '/dev/null', IPC::Run::timeout(120));
	return { name => $name, handle => $handle, output => $output };
}

# The last version that a writer was told of.
sub acknowledged
{
	my ($writer) = @_;
	my @lines = slurp_file($writer->{output}) =~ /^(\d+)$/mg;
	return $lines[-1] // 0;
}

my @mix = (
	"\\set i random(0, 9)\nSELECT keystone.store('acme', 'shared' || :i, 'stored ' || :client_id);",
	"\\set i random(0, 9)\nSELECT keystone.rotate(keystone.credential_id('acme', 'shared' || :i), 'rotated ' || :client_id);",
	"\\set i random(0, 9)\nBEGIN;\nSELECT keystone.store('acme', 'shared' || :i, 'gone');\nROLLBACK;",
	"\\set i random(0, 1000000)\nSELECT keystone.store('acme', 'new' || :i, repeat('new ', 2000));",
	"\\set i random(0, 9)\nSELECT keystone.update_metadata(keystone.credential_id('acme', 'shared' || :i), '{\"metadata\": {\"a\": :i}}');");

# Whatever happened, this must hold.
sub is_consistent
{
	my ($name) = @_;
	is(query('SELECT count(*) FROM keystone.verify_all() WHERE NOT ok'), 0, "$name: every version opens");
	cmp_ok(query('SELECT count(*) FROM keystone.verify_all()'), '>=', 10, "$name: they are there");
	is(query(<<'EOF2'), '', "$name: versions are consistent");
SELECT c.name, c.last_version, c.current_version, count(v.version), max(v.version), count(t.version),
	count(*) FILTER (WHERE v.state = 'current'), max(v.version) FILTER (WHERE v.state = 'current')
FROM keystone_private.credentials c
LEFT JOIN keystone.credential_versions v ON v.workspace_id = c.workspace_id AND v.credential_id = c.id
LEFT JOIN keystone_private.ciphertext t ON t.workspace_id = v.workspace_id AND t.credential_id = v.credential_id AND t.version = v.version
GROUP BY c.workspace_id, c.id
HAVING c.last_version IS DISTINCT FROM max(v.version) OR count(v.version) <> c.last_version OR count(t.version) <> c.last_version
	OR count(*) FILTER (WHERE v.state = 'current') <> 1
	OR c.current_version IS DISTINCT FROM max(v.version) FILTER (WHERE v.state = 'current')
EOF2
	is(query(q{SELECT count(*) FROM keystone_private.workspace_keys k
		WHERE NOT EXISTS (SELECT FROM keystone.workspaces w WHERE w.id = k.workspace_id)}), 0, "$name: no key without a workspace");
	is(query('SELECT count(*) FROM keystone.health WHERE NOT ok'), 0, "$name: healthy");
	is($node->safe_psql('postgres', q{SELECT value FROM keystone.reveal_env('acme') WHERE problem IS NOT NULL OR value = 'gone'}, @as_app),
		'', "$name: the owner reveals all, and nothing that was rolled back");
	return;
}

# Changes go on, crash() happens; then what the writers were told must be there.
sub survives
{
	my ($name, $crash) = @_;
	my $bench = start_pgbench($node, \@mix, '-c', '4', '-T', '60', 'dbname=postgres user=app application_name=load');
	$node->poll_query_until('postgres', q{SELECT count(*) = 4 FROM pg_stat_activity WHERE application_name = 'load'});
	my @writers = (start_writer(), start_writer());
	ok(wait_until(20, sub { !grep { acknowledged($_) < 100 } @writers }), "$name: changes are under way");

	$crash->();
	$_->{handle}->finish foreach @writers;
	ok(!$bench->finish, "$name: the clients were cut off");

	foreach my $writer (@writers)
	{
		my $told = acknowledged($writer);
		my $there = query("SELECT last_version FROM keystone_private.credentials WHERE name = '$writer->{name}'");
		ok($there == $told || $there == $told + 1, "$name: a writer was told of $told, $there are there");
		is( $node->safe_psql('postgres', "SELECT keystone.reveal('acme', '$writer->{name}', version => $told)", @as_app),
			"value $writer->{name}.$told", "$name: its value is there");
	}
	is_consistent($name);
	return;
}

survives(
	'kill -9 of a backend',
	sub {
		my $pid = query(q{SELECT pid FROM pg_stat_activity WHERE application_name = 'load' LIMIT 1});
		kill('KILL', $pid) or die $!;
		wait_until(30, sub { !`ps -o pid= -p $pid` });
		$node->poll_query_until('postgres', 'SELECT sealed FROM keystone.seal_status', 'f') or die;
	});
survives('kill -9 of the postmaster', sub { crash_postmaster($node) or die 'no start after the crash' });
survives('an immediate stop', sub { $node->stop('immediate'); $node->start });

# Orderly stops change nothing.
my $all = q{SELECT md5(string_agg(concat_ws(' ', credential, version, value), ',' ORDER BY credential)) FROM keystone.reveal_env('acme')};
my $before = $node->safe_psql('postgres', $all, @as_app);
foreach my $mode ('fast', 'immediate')
{
	$node->stop($mode);
	$node->start;
	is($node->safe_psql('postgres', $all, @as_app), $before, "a $mode stop and a start keep everything");
}

# A workspace that was never committed.
sub count_keys { return query('SELECT count(*) FROM keystone_private.workspace_keys') }
my $keys = count_keys();
my $session = $node->background_psql('postgres', @as_app);
$session->query_safe(q{BEGIN; SELECT keystone.create_workspace('lost'); SELECT keystone.store('lost', 'a', 'lost')});
my $lost_key = query(q{SELECT count(*) FROM keystone_private.workspace_keys});
is($lost_key, $keys, 'a key that is not committed is not seen');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
kill('KILL', $pid) or die $!;
wait_until(30, sub { !`ps -o pid= -p $pid` });
eval { $session->quit };
$node->poll_query_until('postgres', 'SELECT sealed FROM keystone.seal_status', 'f') or die;
is(count_keys(), $keys, 'a crash before the commit leaves no key');
is(query(q{SELECT count(*) FROM keystone.workspaces WHERE slug = 'lost'}), 0, 'and no workspace');
is($node->psql_err('postgres', q{SELECT keystone.store('lost', 'a', 'v')}, @as_app), 'PT404', 'which takes nothing');

# The same with ROLLBACK, in a session that had the key in use.
$session = $node->background_psql('postgres', @as_app);
$session->query_safe(q{BEGIN; SELECT keystone.create_workspace('lost'); SELECT keystone.store('lost', 'a', 'lost'); SELECT keystone.reveal('lost', 'a'); ROLLBACK});
$session->query_safe(q{BEGIN; SAVEPOINT s; SELECT keystone.create_workspace('lost'); SELECT keystone.store('lost', 'a', 'lost'); ROLLBACK TO s;
	SELECT keystone.create_workspace('lost'); SELECT keystone.store('lost', 'a', 'kept'); COMMIT});
$session->query_safe(q{SELECT keystone.store('lost', 'b', 'kept too')});
is($session->query_safe(q{SELECT keystone.reveal('lost', 'a')}), 'kept', 'after a rollback another key is made and used');
$session->quit;
is($node->safe_psql('postgres', q{SELECT keystone.reveal('lost', n) FROM unnest('{a,b}'::text[]) n}, @as_app), "kept\nkept too",
	'another session opens what it stored');
is(count_keys(), $keys + 1, 'one key came of it');

# An error in the middle of a store, after the credential's row was written.
query(q{ALTER TABLE keystone_private.ciphertext ADD CONSTRAINT ciphertext_broken CHECK (key_version < 1) NOT VALID});
my $rows = q{SELECT (SELECT count(*) FROM keystone_private.credentials), (SELECT count(*) FROM keystone.credential_versions),
	(SELECT count(*) FROM keystone_private.ciphertext), (SELECT sum(last_version) FROM keystone_private.credentials)};
$before = query($rows);
is($node->psql_err('postgres', q{SELECT keystone.store('acme', 'half', 'v')}, @as_app), '23514', 'a store fails half-way');
is($node->psql_err('postgres', q{SELECT keystone.rotate(keystone.credential_id('acme', 'shared1'), 'v')}, @as_app), '23514', 'a rotate too');
$node->safe_psql('postgres', <<'EOF2', @as_app);
DO $$
BEGIN
	BEGIN
		PERFORM keystone.store('acme', 'half', 'v');
	EXCEPTION WHEN check_violation THEN
		NULL;
	END;
END
$$
EOF2
is(query($rows), $before, 'neither leaves a row, in an exception block either');
query(q{ALTER TABLE keystone_private.ciphertext DROP CONSTRAINT ciphertext_broken});
is($node->psql_err('postgres', qq{SELECT keystone.import_env('acme', E'HALF_A=1\\nHALF_B=2\\nnot an assignment')}, @as_app),
	'22023', 'an import fails at its last line');
is(query($rows), $before, 'and leaves none of its rows');

# Long calls can be cancelled.  Rows that were copied by hand do not open, and
# take as long.
query(<<'EOF2');
SET session_replication_role = replica;
INSERT INTO keystone_private.ciphertext
SELECT t.workspace_id, t.credential_id, g, t.key_version, t.envelope, t.aad_digest
FROM (SELECT t.* FROM keystone_private.ciphertext t JOIN keystone_private.credentials c ON c.id = t.credential_id
	WHERE c.name = 'shared1' LIMIT 1) t, generate_series(100000, 180000) g;
INSERT INTO keystone.credential_versions (workspace_id, credential_id, version, state, created_by)
SELECT c.workspace_id, c.id, g, 'previous', c.created_by
FROM keystone_private.credentials c, generate_series(100000, 180000) g WHERE c.name = 'shared1';
EOF2
$node->safe_psql('postgres', q{SELECT keystone.store('acme', 'large', repeat('x', 65000))}, @as_app);
my $many = q{SELECT count(*) FROM keystone.reveal_many(ARRAY(SELECT keystone.credential_id('acme', 'large') FROM generate_series(1, 10000)))};

# Seconds that a call took, and its SQLSTATE.
sub timed
{
	my ($sql) = @_;
	my $from = time;
	my $state = $node->psql_err('postgres', $sql, @as_app);
	return ($state, time - $from);
}

foreach my $case ([ 'verify_all', 'SELECT count(*) FROM keystone.verify_all()' ], [ 'reveal_many', $many ])
{
	my ($name, $sql) = @$case;
	my ($state, $seconds) = timed("SET statement_timeout = 100; $sql");
	is($state, '57014', "$name: statement_timeout");
	cmp_ok($seconds, '<', 0.8, "$name: it is prompt");

	my $victim = $node->background_psql('postgres', @as_app, on_error_stop => 0);
	my $pid = $victim->query_safe('SELECT pg_backend_pid()');
	$victim->query_until(qr/started/, "\\echo started\n$sql;\n");
	$node->poll_query_until('postgres', "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $pid");
	my $from = time;
	query("SELECT pg_cancel_backend($pid)");
	ok($node->poll_query_until('postgres', "SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $pid"), "$name: pg_cancel_backend");
	cmp_ok(time - $from, '<', 0.8, "$name: it is prompt");
	$victim->query('SELECT 1');
	like($victim->{stderr}, qr/canceling statement due to user request/, "$name: the call was cancelled");
	$victim->{stderr} = '';
	is($victim->query(q{SELECT left(keystone.reveal('acme', 'large'), 1)}), 'x', "$name: the session goes on");
	$victim->quit;
}

$node->stop;
done_testing();
