# A workspace whose key its customer wraps: nothing opens without the customer's
# service (a SoftHSM token), nor later than keystone.kms_cache_ttl after the key
# was withdrawn; a service that fails, hangs or lies costs others nothing, and
# no key is ever taken from it that is not the right one.
use strict;
use warnings;

use IPC::Run;
use KeystoneKms;
use KeystoneNode;
use KeystoneTools qw(crash_postmaster wait_until);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $key = KeystoneNode::fresh_key();
my $me = getpwuid $<;
my $node = KeystoneNode->start(name => 'kms', keys => ["k1 $key"], start => 0, conf => <<'EOF2');
max_connections = 40
restart_after_crash = on
keystone.housekeeper_interval = 200ms
keystone.kms_timeout = 2s
keystone.kms_cache_ttl = 300s
keystone.denials_per_minute = 1000
EOF2
$node->start;
my $kms = KeystoneKms->new($node->basedir);
$kms->make_key($_) foreach '01', '02', '03', '04';

my $database = 'vault';
sub query { my ($sql, $role) = @_; return $node->safe_psql($database, $sql, $role ? (extra_params => [ '-U', $role ]) : ()) }
sub quote { my ($text) = @_; return "'" . $text =~ s/'/''/gr . "'" }

# SQLSTATE and seconds of a statement, and what it printed.
sub attempt
{
	my ($sql, $role, %opts) = @_;
	my ($out, $err) = ('', '');
	my $from = time;
	$node->psql($opts{database} // $database, $sql, stdout => \$out, stderr => \$err, on_error_stop => 1,
		extra_params => [ '-v', 'VERBOSITY=sqlstate', '-U', $role // 'alice' ]);
	return ($err =~ /(?:ERROR|FATAL|PANIC):\s+([0-9A-Z]{5})\b/ ? $1 : '00000', time - $from, $out);
}
sub state_of { my @result = attempt(@_); return $result[0] }
sub reveal { my ($workspace) = @_; my @result = attempt("SELECT keystone.reveal('$workspace', 'token')"); return "$result[0] $result[2]" }
sub set_kms { my ($workspace, $id, $role) = @_; return state_of("SELECT keystone.set_workspace_kms('$workspace', " . quote($kms->uri($id)) . ')', $role) }

sub configure
{
	my (%settings) = @_;
	foreach my $name (sort keys %settings)
	{
		query("ALTER SYSTEM SET keystone.$name = " . quote($settings{$name}));
	}
	$node->reload;
	foreach my $name (sort keys %settings)
	{
		wait_until(10, sub { query("SHOW keystone.$name") eq $settings{$name} }) or die "keystone.$name";
	}
	sleep 0.2;	# the runner, too
	return;
}

# Starts anew, so that nothing is cached and every circuit is closed.
sub fresh { $kms->fault('none'); $node->restart; return }
sub column { my ($what, $workspace, $role) = @_; return query("SELECT $what FROM keystone.kms_status WHERE workspace = '" . ($workspace // 'acme') . "'", $role) }

# The pid of the runner, which is in no pg_stat_activity, as it has no database.
sub has_runner
{
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	my ($pid) = map { /^\s*(\d+) .*keystone runner/ } split /\n/, `ps -o pid=,args= --ppid $postmaster`;
	return $pid;
}

$node->safe_psql('postgres', "CREATE DATABASE $database");
query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN;
CREATE ROLE mallory LOGIN;
SELECT keystone.grant_access(r, 'client') FROM unnest('{alice,bob,mallory}'::name[]) r;
SELECT keystone.register_principal(r, db_role => r::name) FROM unnest('{alice,mallory}'::text[]) r;
SELECT keystone.register_principal('bob', db_role => 'bob') AS bob \gset
SET SESSION AUTHORIZATION alice;
SELECT keystone.create_workspace(w) FROM unnest('{acme,beta,hosted}'::text[]) w;
SELECT keystone.store(w, 'token', 'value of ' || w) FROM unnest('{acme,beta,hosted}'::text[]) w;
SELECT keystone.add_member(w, :'bob', 'admin') FROM unnest('{acme,beta}'::text[]) w;
EOF2

# Who may, and what is refused before anything is asked.
is(set_kms('acme', '01'), 'PT423', 'without a command nothing is set');
configure(kms_command => $kms->command);
ok(wait_until(10, \&has_runner), 'the runner starts with the command');
is(set_kms('acme', '01', 'bob'), '42501', 'an admin does not choose the key');
is(set_kms('acme', '01', 'mallory'), 'PT404', 'a stranger sees no workspace');
is(state_of("SELECT keystone.set_workspace_kms('acme', NULL)"), '22004', 'I9: no URI');
is(state_of("SELECT keystone.set_workspace_kms(NULL, 'a://b')"), '22004', 'I9: no workspace');
foreach my $bad ('', 'softhsm', '://x', 'softhsm:x', 'softhsm://', 'Softhsm://x', '1a://x', 'a://b c', q{a://b"c}, q{a://b'c}, 'a://b$c', 'a://b`c', 'a://b;c',
	'a://b|c', 'a://b&c', 'a://b\\c', "a://b\nc", "a://b\x{7f}", 'a://é', 'a://*', 'a/../b://c', 'a://-x', 'a://b/--c', 'a://b/../c', 'a://..', 'a://b/.', 'a://b/c/..', 'a://' . 'x' x 509)
{
	is(state_of('SELECT keystone.set_workspace_kms(\'acme\', ' . quote($bad) . ')'), '22023', 'I12: no URI: ' . substr($bad =~ s/[^ -~]/?/gr, 0, 20));
}
query("SELECT keystone.set_plan('acme', 'pro')");
is(set_kms('acme', '01'), 'PT429', 'a plan without the feature');
query("SELECT keystone.set_plan('acme', 'enterprise')");
is($kms->calls, 0, 'none of these asked the service');

# Set, and used.
is(set_kms('acme', '01'), '00000', 'an owner sets it');
is($kms->calls, 2, 'the service wrapped the key, and unwrapped it again');
is($kms->calls('^(un)?wrap softhsm://customer/01 ' . query("SELECT id FROM keystone.workspaces WHERE slug = 'acme'") . '$'), 2, 'it was told operation, URI and workspace');
is(query(q{SELECT string_agg(DISTINCT coalesce(k.kms_uri, '-'), ' ') FROM keystone_private.workspace_keys k JOIN keystone.workspaces w ON w.id = k.workspace_id WHERE w.slug = 'acme'}),
	$kms->uri('01'), 'the row names it');
is(reveal('acme'), '00000 value of acme', 'what was stored before is revealed');
is($kms->calls, 2, 'from the cache');
is(state_of("SELECT keystone.store('acme', 'new', 'stored later')"), '00000', 'a value is stored');
is(column('state || \' \' || keys || \' \' || (cached_until > now()) || \' \' || (last_success_at IS NOT NULL)', 'acme', 'alice'), 'closed 1 true true', 'its owner sees the state');
is(column('state', 'acme', 'bob'), 'closed', 'so does an admin');
is(query('SELECT count(*) FROM keystone.kms_status', 'mallory'), 0, 'I4: a stranger sees none');
query('SELECT keystone_private.audit_flush()');
is(query(q{SELECT string_agg(action || ' ' || (detail ->> 'kms_uri'), ',') FROM keystone.audit_log WHERE action LIKE 'kms.%' AND outcome = 'ok'}),
	'kms.set ' . $kms->uri('01'), 'the log has it');
is(query(q{SELECT ok FROM keystone.health WHERE check_name = 'customer keys'}), 't', 'health() has it');

# Restart: nothing is kept on disk.
$node->restart;
is(column('state'), 'unknown', 'after a restart nothing is known');
$kms->forget;
is(reveal('acme'), '00000 value of acme', 'the service is asked again');
is($kms->calls('^unwrap'), 1, 'once');

# Single flight.
fresh();
$kms->forget;
$kms->fault('slow');
my @clients = map { IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($database) . ' user=alice', '-c', q{SELECT keystone.reveal('acme', 'token')} ],
	'<', \undef, '>', \my $out, '2>', \my $err) } 1 .. 10;
$_->finish foreach @clients;
is(scalar(grep { $_->result == 0 } @clients), 10, 'ten callers at the same time all get the value');
is($kms->calls, 1, 'and share one call');

# Waiting is interruptible, and leaves nothing.
fresh();
$kms->fault('hang');
my ($state, $seconds) = attempt(q{SET statement_timeout = '300ms'; SELECT keystone.reveal('acme', 'token')});
is($state, '57014', 'a caller that waits can be cancelled');
cmp_ok($seconds, '<', 1.5, 'at once');
my $waiting = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($database) . ' user=alice application_name=waits', '-c', q{SELECT keystone.reveal('acme', 'new')} ],
	'<', \undef, '>', \my $ignored_out, '2>', \my $ignored_err);
ok(wait_until(10, sub { query(q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'waits' AND state = 'active'}) > 0 }), 'and its session ended');
eval { $waiting->finish };
($state, $seconds) = attempt(q{SELECT keystone.reveal('acme', 'token')});
is($state, 'PT423', 'a service that hangs: PT423');
cmp_ok($seconds, '<', 5, 'soon after the timeout');
like(column('last_problem'), qr/did not finish within 2 s/, 'and the reason');
is(reveal('hosted'), '00000 value of hosted', 'other workspaces do not notice');

# Each way in which a command can fail.  What it says is told to owners and
# administrators; the client gets a constant.
my %faults = (
	fail => 'failed with exit status 3',
	killed => 'was ended by signal 15',
	nothing => 'printed nothing',
	garbage => 'printed another key than the one that was wrapped',
	short => 'did not print a key of 32 bytes',
	much => 'printed more than a wrapped key can be',
	more => 'printed more than a wrapped key can be',
	same => 'did not print a key of 32 bytes');
foreach my $fault (sort keys %faults)
{
	fresh();
	$kms->fault($fault);
	my $log = -s $node->logfile;
	my ($out, $err) = ('', '');
	$node->psql($database, q{SELECT keystone.reveal('acme', 'token')}, stdout => \$out, stderr => \$err, extra_params => [ '-U', 'alice' ]);
	like($err, qr/^psql:<stdin>:1: ERROR:  the customer's key is not available\nHINT:  The owner of the workspace sees the state in keystone.kms_status\.\n?$/,
		"$fault: the client gets a constant");
	is(column('last_problem', 'acme', 'alice'), "keystone.kms_command $faults{$fault}", "$fault: the owner sees why");
	like($node->log_since($log), qr/keystone\.kms_command \Q$faults{$fault}\E/, "$fault: so does the server log");
}
is(set_kms('beta', '02'), '00000', 'no fault of one workspace is in the way of another') if fresh() || 1;
foreach my $fault ('same', 'garbage', 'nothing', 'fail')
{
	fresh();
	$kms->fault($fault);
	is(set_kms('beta', '03'), 'PT423', "$fault: a key that would not come back is not set");
	$kms->fault('none');
	is(column('key_uri', 'beta'), $kms->uri('02'), "$fault: nothing changed");
}
fresh();
$kms->fault('noisy');
is(reveal('acme'), '00000 value of acme', 'what a command says on its standard error is dropped');
unlike(slurp_file($node->logfile), qr/secret on standard error/, 'and in no log');

# The circuit.
fresh();
$kms->forget;
$kms->fault('fail');
my $noted = query('SELECT keystone_private.audit_flush(); SELECT max(seq) FROM keystone.audit_log') =~ s/.*\n//sr;
($state, $seconds) = attempt(q{SELECT keystone.reveal('acme', 'token')});
is($state, 'PT423', 'three failures');
is($kms->calls, 3, 'of three calls');
cmp_ok($seconds, '>', 0.4, 'with pauses');
is(column("state || ' ' || failures"), 'open 3', 'open the circuit');
($state, $seconds) = attempt(q{SELECT keystone.reveal('acme', 'token')});
is("$state " . $kms->calls, 'PT423 3', 'then nothing is asked');
cmp_ok($seconds, '<', 0.5, 'and callers fail at once');
is(query(q{SELECT ok FROM keystone.health WHERE check_name = 'customer keys'}), 'f', 'health() says so');
is(query(q{SELECT DISTINCT ok || ' ' || problem FROM keystone.verify_all('acme')}, 'alice'),
	"false the customer's key is not available: key URI \"" . $kms->uri('01') . '": keystone.kms_command failed with exit status 3', 'verify_all() does, too');
is(state_of(q{SELECT keystone.encrypt('acme', 'x')}) . state_of(q{SELECT keystone.store('acme', 'other', 'x')}), 'PT423PT423', 'nothing is encrypted either');
ok(wait_until(10, sub { query(q{SELECT keystone_private.audit_flush(); SELECT count(*) FROM keystone.audit_log WHERE action = 'kms.fail' AND outcome = 'error'
	AND detail ->> 'kms_uri' = '} . $kms->uri('01') . qq{' AND detail ->> 'problem' ~ 'exit status 3' AND seq > $noted}) =~ /(^|\n)1\z/ }), 'the audit log has one entry');
ok(wait_until(5, sub { column('state') eq 'half-open' }), 'after a time it is half-open');
is(state_of(q{SELECT keystone.reveal('acme', 'token')}) . ' ' . $kms->calls, 'PT423 4', 'one call probes');
is(column('state'), 'open', 'and opens it again');
my $longer = query(q{SELECT extract(epoch FROM retry_at - last_failure_at) FROM keystone.kms_status WHERE workspace = 'acme'});
cmp_ok($longer, '>', 1.4, 'for longer');
$kms->fault('none');
ok(wait_until(10, sub { column('state') eq 'half-open' }), 'half-open');
is(reveal('acme'), '00000 value of acme', 'a probe that succeeds');
is(column("state || ' ' || failures"), 'closed 0', 'closes it');
query('SELECT keystone_private.audit_flush()');
is(query(qq{SELECT count(*) FROM keystone.audit_log WHERE action = 'kms.fail' AND seq > $noted}), 1, 'and no other entry was made');

# One that hangs stops no other, nor the anchor command.
mkdir $node->basedir . '/audit_key', 0700 or die;
my $anchored = $node->basedir . '/anchored';
$node->append_conf('postgresql.conf', <<"EOF2");
keystone.kms_timeout = 6s
keystone.audit_key_dir = '${\$node->basedir}/audit_key'
keystone.audit_anchor_command = 'cat > $anchored'
keystone.audit_checkpoint_interval = 200ms
EOF2
fresh();
ok(wait_until(20, sub { -e $anchored }), 'the runner executes the anchor command, too');
query("SELECT keystone.reveal('beta', 'token')", 'alice');
$kms->fault('hang', '01');
my $from;
my @hanging = map {
	IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($database) . ' user=alice', '-c', q{SELECT keystone.reveal('acme', 'token')} ], '<', \undef, '>', \my $out, '2>', \my $err) } 1 .. 6;
sleep 0.3;
$node->append_conf('postgresql.conf', "keystone.kms_cache_ttl = 0\n");
$node->reload;
$from = time;
unlink $anchored;
query("SELECT keystone.store('hosted', 'another', 'x')", 'alice');
ok(wait_until(4, sub { -e $anchored }), 'a checkpoint is anchored while a service hangs');
cmp_ok(time - $from, '<', 4.5, 'meanwhile');
($state, $seconds) = attempt(q{SELECT keystone.reveal('beta', 'token')});
is($state, '00000', 'a key of another service is unwrapped meanwhile');
cmp_ok($seconds, '<', 1.5, 'without a wait');
eval { $_->finish } foreach @hanging;

# Nor do many workspaces of somebody, with a key that hangs.
query(q{SELECT keystone.create_workspace('many-' || n) FROM generate_series(1, 5) n}, 'mallory');
$kms->fault('hang', '04');
@hanging = map {
	my $workspace = 'many-' . (1 + $_ % 5);
	IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($database) . ' user=mallory', '-c', "SELECT keystone.set_workspace_kms('$workspace', " . quote($kms->uri('04')) . ')' ],
		'<', \undef, '>', \my $out, '2>', \my $err) } 1 .. 10;
ok(wait_until(5, sub { $kms->calls('^wrap .*/04 ') >= 4 }), 'many calls hang');
sleep 0.5;
($state, $seconds) = attempt(q{SELECT keystone.reveal('beta', 'token')});
is($state, '00000', 'I4: many workspaces whose calls hang leave room for others');
cmp_ok($seconds, '<', 1.5, 'I4: without a wait');
eval { $_->finish } foreach @hanging;
$kms->fault('none', '04');
$kms->fault('none', '01');
$kms->forget;
is(reveal('beta'), '00000 value of beta', 'with keystone.kms_cache_ttl = 0') foreach 1, 2;
is($kms->calls, 2, 'each use asks the service');
$node->append_conf('postgresql.conf', "keystone.kms_cache_ttl = 300\nkeystone.kms_timeout = 2s\n");

# Rotation of both kinds of keys.
fresh();
is(state_of("SELECT keystone.rotate_workspace_key('acme')"), '00000', 'a new version of the workspace key');
is(column('keys'), 2, 'is wrapped by the customer, too');
is(state_of("SELECT keystone.store('acme', 'newest', 'under version 2')"), '00000', 'and used');
$kms->fault('fail');
is(state_of("SELECT keystone.rotate_workspace_key('acme')"), 'PT423', 'not while the service is down');
is(column('keys'), 2, 'nothing was made');
fresh();
$kms->fault('fail');
$node->write_root_keys('k2 ' . KeystoneNode::fresh_key(), "k1 $key");
$node->reload;
ok(wait_until(10, sub { query('SELECT current_root_key FROM keystone.seal_status') eq 'k2' }), 'another root key');
is(state_of('SELECT keystone.rotate_root_key()', $me), '00000', 'I7: the root key is rotated while the service is down');
is(query(q{SELECT count(*) FROM keystone_private.workspace_keys WHERE root_key <> 'k2'}), 0, 'all keys are wrapped by it');
fresh();
is(reveal('acme'), '00000 value of acme', 'and open');
is(set_kms('acme', '03'), '00000', 'another key of the customer');
is(column("key_uri || ' ' || keys"), $kms->uri('03') . ' 2', 'wraps all versions');
is(query(q{SELECT count(*) FROM keystone_private.workspace_keys WHERE kms_uri IS NOT NULL AND previous_wrapped IS NOT NULL AND kms_uri LIKE '%/03'}), 0, 'and no former wrap is left');

# Nothing of it can be exchanged.
fresh();
query(q{UPDATE keystone_private.workspace_keys SET kms_uri = '} . $kms->uri('04') . q{' WHERE kms_uri LIKE '%/03'});
is(state_of(q{SELECT keystone.reveal('acme', 'token')}), 'XX001', 'I5: with another URI in its row a key does not open');
query(q{UPDATE keystone_private.workspace_keys SET kms_uri = NULL WHERE kms_uri LIKE '%/04'});
is(state_of(q{SELECT keystone.reveal('acme', 'token')}), 'XX001', 'I5: nor with none');
query(q{UPDATE keystone_private.workspace_keys k SET kms_uri = '} . $kms->uri('03') . q{' FROM keystone.workspaces w WHERE w.id = k.workspace_id AND w.slug = 'acme'});
is(reveal('acme'), '00000 value of acme', 'with the right one it does');
query(q{CREATE TABLE kept AS SELECT * FROM keystone_private.workspace_keys;
	UPDATE keystone_private.workspace_keys k SET wrapped = other.wrapped, kms_uri = other.kms_uri FROM kept other
	WHERE other.kms_uri LIKE '%/02' AND other.version = k.version AND k.kms_uri LIKE '%/03'});
is(state_of(q{SELECT keystone.reveal('acme', 'token')}), 'XX001', 'I5: nor with what belongs to another workspace');
query(q{UPDATE keystone_private.workspace_keys k SET wrapped = kept.wrapped, kms_uri = kept.kms_uri FROM kept WHERE (kept.workspace_id, kept.version) = (k.workspace_id, k.version); DROP TABLE kept});
is(reveal('acme'), '00000 value of acme', 'put back, it opens');

# Withdrawn: a session that has the key in its own memory, too, loses it after
# the time, and not before.
$node->append_conf('postgresql.conf', "keystone.kms_cache_ttl = 3\n");
fresh();
my $session = $node->background_psql($database, on_error_stop => 0, extra_params => [ '-U', 'alice' ]);
sub in_session { return $session->query(q{SELECT keystone.reveal('acme', 'token')}) // '' }
$from = time;
is(in_session(), 'value of acme', 'a session has the key');
my $asked_by = time;
$kms->delete_key('03');
is(in_session(), 'value of acme', 'before its time is over it goes on') if time - $from < 2.5;
sleep 0.05 while time - $asked_by < 3.05;
is(in_session(), '', 'a withdrawn key is obeyed when keystone.kms_cache_ttl is over');
$session->quit;
is(reveal('acme'), 'PT423 ', 'by every session');
is(column('cached_until'), '', 'and nothing is kept');
is(state_of(q{SELECT keystone.clear_workspace_kms('acme')}), 'PT423', 'there is no way back without the customer');
is(state_of(q{SELECT keystone.clear_workspace_kms('beta')}, 'bob'), '42501', 'nor by somebody else than an owner');

# The way back.
is(state_of(q{SELECT keystone.clear_workspace_kms('beta')}), '00000', 'the way back');
is(query("SELECT count(*) FROM keystone.kms_status WHERE workspace = 'beta'"), 0, 'the workspace is hosted again');
$kms->delete_key('02');
fresh();
is(reveal('beta'), '00000 value of beta', 'and needs no service');
is(state_of(q{SELECT keystone.clear_workspace_kms('beta')}), '00000', 'again does nothing');
query('SELECT keystone_private.audit_flush()');
is(query(q{SELECT count(*) FROM keystone.audit_log WHERE action = 'kms.clear' AND outcome = 'ok' AND detail ->> 'source' IS NULL}), 1, 'the log has it');

# The runner ends, or is killed.
is(set_kms('beta', '04'), '00000', 'a key again');
$kms->fault('slow');
kill 'TERM', has_runner();
ok(wait_until(20, sub { reveal('beta') eq '00000 value of beta' }), 'a runner that ended comes back, and answers who waited');
$kms->fault('none');
kill 'KILL', has_runner();
ok(wait_until(30, sub { IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr($database), '-c', 'SELECT 1' ], '<', \undef, '>', \my $out, '2>', \my $err) && has_runner() }), 'one that is killed, too');
ok(wait_until(20, sub { reveal('beta') eq '00000 value of beta' }), 'with the others');
ok(crash_postmaster($node), 'a crash');
ok(wait_until(20, sub { reveal('beta') eq '00000 value of beta' }), 'loses nothing');

# Another database of the cluster.
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', <<'EOF2');
CREATE EXTENSION keystone;
SELECT keystone.grant_access('alice', 'client');
SELECT keystone.register_principal('alice', db_role => 'alice');
SET SESSION AUTHORIZATION alice;
SELECT keystone.create_workspace('beta');
SELECT keystone.store('beta', 'token', 'of the second');
EOF2
my @second = (database => 'second');
is(state_of("SELECT keystone.set_workspace_kms('beta', " . quote($kms->uri('04')) . ')', 'alice', @second), '00000', 'a second database with the same key');
is((attempt(q{SELECT keystone.reveal('beta', 'token')}, 'alice', @second))[2], 'of the second', 'has its own');
is(reveal('beta'), '00000 value of beta', 'and so has the first');
$kms->fault('fail');
is($node->safe_psql('second', 'SELECT count(*) FROM keystone.kms_status'), 1, 'each sees its own state');

# No command any more.
configure(kms_command => '', audit_anchor_command => '');
ok(wait_until(10, sub { !has_runner() }), 'without a command there is no runner');
is(reveal('beta'), 'PT423 ', 'and no key');
like(query(q{SELECT detail FROM keystone.health WHERE check_name = 'customer keys'}), qr/kms_command is not set/, 'which health() says');

unlike(slurp_file($node->logfile), qr/value of|of the second/, 'I1: no value in the server log');
is(query('SELECT ok FROM keystone.audit_verify()'), 't', 'the log verifies');
$node->stop;
done_testing();
