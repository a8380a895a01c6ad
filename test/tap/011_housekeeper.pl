# What the housekeeper does: reveals are counted from the log, and the use of
# API keys noted; deleted credentials and offboarded workspaces are destroyed
# when their time is over, expiries are noted once, checkpoints leave the
# database.  Signing keys lie in a directory that nobody
# else can read, and an old one is destroyed when the next has taken over.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(wait_until crash_postmaster);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(name => 'housekeeper', start => 0);
my %dir = map { $_ => $node->basedir . "/$_" } qw(keys anchors commanded);
mkdir $_ or die "$_: $!" foreach values %dir;
chmod 0700, $dir{keys} or die $!;
$node->append_conf('postgresql.conf', <<"EOF");
max_worker_processes = 16
keystone.housekeeper_interval = 200ms
keystone.audit_checkpoint_interval = 200ms
keystone.audit_key_dir = '$dir{keys}'
keystone.audit_anchor_dir = '$dir{anchors}'
EOF
$node->start;

my $housekeeper = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'keystone housekeeper' AND datname = 'postgres'};
my @as_app = (extra_params => [ '-U', 'app' ]);

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

sub query_as_app
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql, @as_app);
}

# Waits until a query gives what is expected, and tests that.
sub becomes
{
	my ($sql, $expected, $name) = @_;
	my $got;
	wait_until(20, sub { ($got = query($sql)) eq $expected });
	is($got, $expected, $name);
	return;
}

# A value that stays what it is while the housekeeper makes several rounds.
sub stays
{
	my ($sql, $expected, $name) = @_;
	my $before = query($housekeeper);
	query('SELECT pg_sleep(1)');
	is(query($sql), $expected, $name);
	is(query($housekeeper), $before, "$name: the housekeeper runs");
	return;
}

# Number of log entries of an action about a credential.
sub entries
{
	my ($kind, $credential) = @_;
	return "SELECT count(*) FROM keystone_private.audit_entries WHERE kind = $kind AND object_id = '$credential'";
}

my ($REVEAL, $DESTROY, $EXPIRE) = (0x20, 0x18, 0x1f);

query(<<'EOF');
CREATE EXTENSION keystone;
CREATE ROLE app LOGIN;
SELECT keystone.grant_access('app', 'client');
EOF
query_as_app(q{SELECT keystone.create_workspace('acme'); SELECT keystone.store('acme', n, 'v') FROM unnest('{a,b,c,d}'::text[]) n});
my %id = map { $_ => query_as_app("SELECT keystone.credential_id('acme', '$_')") } qw(a b c d);

sub usage
{
	my ($name) = @_;
	return "SELECT usage_count, last_used_at > now() - interval '1 minute' FROM keystone.credentials WHERE id = '$id{$name}'";
}

# The log begins with the first change; a reveal waits for it.
ok(wait_until(20, sub { $node->psql_err('postgres', q{SELECT keystone.reveal('acme', 'a')}, @as_app) eq '00000' }), 'a reveal succeeds');
becomes(usage('a'), '1|t', 'it is counted');

# Reveals are counted, each once; denials and what was never revealed are not.
query_as_app(q{SELECT keystone.reveal('acme', 'a') FROM generate_series(1, 5)});
query_as_app("SELECT count(*) FROM keystone.reveal_many(ARRAY['$id{a}', '$id{b}']::uuid[])");
query(q{CREATE ROLE stranger LOGIN; SELECT keystone.grant_access('stranger', 'client')});
is($node->psql_err('postgres', "SELECT keystone.reveal_by_id('$id{a}')", extra_params => [ '-U', 'stranger' ]),
	'42501', 'a stranger is refused');
becomes(usage('a'), '7|t', 'reveals and reveal_many() are counted');
becomes(usage('b'), '1|t', 'the other one of reveal_many(), too');
is(query_as_app(usage('c')), '0|', 'what was not revealed has no count, and no time');
stays(usage('a'), '7|t', 'nothing is counted twice');

# In transactions that are rolled back as well, since the value went out.
query_as_app(q{BEGIN; SELECT keystone.reveal('acme', 'b'); ROLLBACK});
becomes(usage('b'), '2|t', 'a reveal in a transaction that is rolled back is counted');

# The place in the log is remembered with the counts.
crash_postmaster($node) or die 'no start after the crash';
$node->poll_query_until('postgres', 'SELECT sealed FROM keystone.seal_status', 'f') or die;
ok(wait_until(20, sub { $node->psql_err('postgres', q{SELECT keystone.reveal('acme', 'b')}, @as_app) eq '00000' }), 'a reveal after a crash');
becomes(usage('b'), '3|t', 'it is counted');
is(query(usage('a')), '7|t', 'others are not counted again');
is(query('SELECT sum(usage_count) FROM keystone_private.credential_usage'),
	query("SELECT count(*) FROM keystone_private.audit_entries WHERE kind = $REVEAL AND actor_id IN
		(SELECT id FROM keystone.principals WHERE db_role = 'app')"),
	'counts are what the log has');

# Deleted credentials are destroyed when the time for recovery is over.
query_as_app("SELECT keystone.delete_credential('$id{c}', recovery => '0'); SELECT keystone.delete_credential('$id{d}', recovery => '1 day')");
becomes("SELECT destroyed_at IS NOT NULL FROM keystone.credentials WHERE id = '$id{c}'", 't', 'what was deleted without recovery is destroyed');
is(query("SELECT count(*) FROM keystone_private.ciphertext WHERE credential_id = '$id{c}'"), 0, 'its ciphertext is gone');
becomes(entries($DESTROY, $id{c}), 1, 'the log has it, once');
is(query(entries($DESTROY, $id{c}) . q{ AND position('housekeeper'::bytea in detail) > 0}), 1, 'and who did it');
stays("SELECT destroyed_at IS NULL FROM keystone.credentials WHERE id = '$id{d}'", 't', 'what can be recovered is not destroyed');
query_as_app("SELECT keystone.restore_credential('$id{d}')");
is(query_as_app(q{SELECT keystone.reveal('acme', 'd')}), 'v', 'and can be restored');

# A row that somebody has locked holds nothing else up.
query_as_app(q{SELECT keystone.store('acme', n, 'v') FROM unnest('{e,f}'::text[]) n});
$id{$_} = query_as_app("SELECT keystone.credential_id('acme', '$_')") foreach qw(e f);
query_as_app("SELECT keystone.delete_credential('$id{$_}', recovery => '1 second')") foreach qw(e f);
my $locker = $node->background_psql('postgres');
$locker->query_safe("BEGIN; SELECT FROM keystone_private.credentials WHERE id = '$id{e}' FOR UPDATE");
becomes("SELECT destroyed_at IS NOT NULL FROM keystone.credentials WHERE id = '$id{f}'", 't', 'a locked row is passed over');
is(query("SELECT destroyed_at IS NULL FROM keystone.credentials WHERE id = '$id{e}'"), 't', 'and left alone');
$locker->query_safe('COMMIT');
$locker->quit;
becomes("SELECT destroyed_at IS NOT NULL FROM keystone.credentials WHERE id = '$id{e}'", 't', 'afterwards it has its turn');

# An API key's last use comes from the log, reveals or not.
query_as_app(q{SELECT keystone.create_api_key('acme', 'job', 'service')});
my $api_key = query_as_app(q{SELECT api_key FROM keystone.create_api_key('acme', 'used', 'service')});
my $used = q{SELECT string_agg(k.name || ' ' || (u.last_used_at = (SELECT max(at) FROM keystone_private.audit_entries WHERE actor_id = k.id)), ', ')
	FROM keystone_private.principal_usage u JOIN keystone_private.api_keys k ON k.id = u.principal_id};
is(query($used), '', 'a key that was never used has no time');
query_as_app("BEGIN; SELECT keystone.authenticate('$api_key'); SELECT keystone.reveal('acme', 'a'); COMMIT");
becomes($used, 'used true', 'the last use of an API key is noted');
becomes(usage('a'), '8|t', 'and the reveal counted');
is($node->psql_err('postgres', "BEGIN; SELECT keystone.authenticate('$api_key'); SELECT keystone.store('acme', 'x', 'v'); COMMIT", @as_app),
	'42501', 'a refusal of a key');
stays($used, 'used true', 'is a use as well');
is(query('SELECT count(*) FROM keystone_private.principal_usage'), 1, 'only keys have a time');

# Offboarded workspaces are purged when their time is over.
sub make_workspace
{
	my ($slug, $n) = @_;
	query_as_app("SELECT keystone.create_workspace('$slug'); SELECT keystone.store('$slug', 'c' || i, 'v') FROM generate_series(1, $n) i");
	return query_as_app("SELECT id FROM keystone.workspaces WHERE slug = '$slug'");
}

sub offboard
{
	my ($slug, $after) = @_;
	query_as_app("SELECT keystone.offboard_workspace('$slug', '$after', '$slug')");
	return;
}

sub purged
{
	my ($workspace) = @_;
	return "SELECT purged_at IS NOT NULL FROM keystone.workspaces WHERE id = '$workspace'";
}

# What is left of a workspace: ciphertext, credentials that are not destroyed, keys.
sub left
{
	my ($workspace) = @_;
	return query(qq{SELECT (SELECT count(*) FROM keystone_private.ciphertext WHERE workspace_id = '$workspace'),
		(SELECT count(*) FROM keystone_private.credentials WHERE workspace_id = '$workspace' AND destroyed_at IS NULL),
		(SELECT count(*) FROM keystone_private.workspace_keys WHERE workspace_id = '$workspace')});
}

my %ws = (later => make_workspace('later', 1), now => make_workspace('now', 250));
query_as_app(q{SELECT keystone.delete_credential(keystone.credential_id('now', 'c1'))});
offboard('later', '1 day');
offboard('now', '0');
becomes(purged($ws{now}), 't', 'a workspace whose time is over is purged');
is(left($ws{now}), '0|0|0', 'with all that it held');
is(query("SELECT count(*) FROM keystone.credential_versions WHERE workspace_id = '$ws{now}' AND state <> 'destroyed'"), 0, 'versions say so');
is(query(q{SELECT ok FROM keystone.health WHERE check_name = 'row macs'}), 't', 'under a valid MAC');
is(left($ws{later}), '1|1|1', 'one whose time is not over is not');
query('SELECT keystone_private.audit_flush()');
is(query(qq{SELECT string_agg(action || ' ' || n, ', ' ORDER BY action) FROM (SELECT action, count(*) AS n FROM keystone.audit_log
	WHERE workspace = 'now' AND at > (SELECT max(at) FROM keystone.audit_log WHERE workspace = 'now' AND action = 'workspace.offboard') GROUP BY 1) a}),
	'credential.destroy 250, key.shred 1, workspace.purge 1', 'all of it is in the log');
is($node->psql_err('postgres', q{SELECT keystone.cancel_offboarding('now')}, @as_app), '42501', 'what is purged does not come back');
is($node->psql_err('postgres', q{SELECT keystone.store('now', 'new', 'v')}, @as_app), '42501', 'nor is it used again');
foreach my $change (
	qq{add_member('now', (SELECT id FROM keystone.principals WHERE db_role = 'app'), 'owner')},
	q{set_member_role('now', keystone.current_principal(), 'owner')},
	q{remove_member('now', keystone.current_principal())},
	q{invite_member('now', 'x@example.com', 'viewer')},
	q{cancel_invitation('now', 'x@example.com')},
	q{create_api_key('now', 'x')},
	q{rotate_api_key('now', 'x')},
	q{revoke_api_key('now', 'x')})
{
	my $stderr = '';
	$node->psql('postgres', "SELECT keystone.$change", stderr => \$stderr, @as_app);
	like($stderr, qr/ERROR:  the workspace was offboarded and purged/, "nor changed: $change");
}
query_as_app(q{SELECT keystone.cancel_offboarding('later')});
is(query_as_app(q{SELECT keystone.reveal('later', 'c1')}), 'v', 'what is not, does');

# It waits for nobody: a workspace, a credential or a key that somebody has
# locked is passed over, and other workspaces are not held up.
foreach my $lock (
	[ row => "SELECT FROM keystone.workspaces WHERE id = '%s' FOR NO KEY UPDATE" ],
	[ credential => "SELECT FROM keystone_private.credentials WHERE workspace_id = '%s' LIMIT 1 FOR UPDATE" ],
	[ key => "SELECT FROM keystone_private.workspace_keys WHERE workspace_id = '%s' FOR SHARE" ])
{
	my ($what, $sql) = @$lock;
	my ($held, $free) = map { make_workspace("$what-$_", 2) } qw(held free);
	my $from = -s $node->logfile;
	my $session = $node->background_psql('postgres');
	offboard("$what-held", '1 second');
	$session->query_safe('BEGIN; ' . sprintf $sql, $held);
	offboard("$what-free", '1 second');
	becomes(purged($free), 't', "another workspace is purged beside a locked $what");
	stays(purged($held), 'f', "with a locked $what it is not purged");
	is(left($held) =~ s/.*\|//r, 1, 'and keeps its key');
	$session->query_safe('COMMIT');
	$session->quit;
	becomes(purged($held), 't', 'afterwards it is');
	is(left($held), '0|0|0', 'as a whole');
	unlike($node->log_since($from), qr/lock timeout/, 'no lock was waited for');
}

# Nor is it held up by as many as it looks at in one go: OFFBOARD_BATCH of
# ks_housekeeper.c, of which some are locked and some are forged.
my ($batch, $forged) = (100, 40);
query_as_app("SELECT keystone.create_workspace('old-' || i), keystone.offboard_workspace('old-' || i, '4 seconds', 'old-' || i) FROM generate_series(1, $batch + $forged) i");
my $olds = "slug ~ '^old-'";
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT count(*) FROM (SELECT FROM keystone.workspaces WHERE $olds FOR NO KEY UPDATE) w");
is(query("SELECT count(*) FROM keystone.workspaces WHERE $olds AND purged_at IS NULL"), $batch + $forged, 'more than a batch wait for their purge');
$ws{last} = make_workspace('last', 1);
offboard('last', '5 seconds');
becomes(purged($ws{last}), 't', 'a workspace behind all that are locked is purged');
# The forged ones are the first to be looked at.
$holder->query_safe("UPDATE keystone.workspaces SET purge_after = purge_after - interval '1 hour' WHERE $olds; COMMIT");
$holder->quit;
$ws{forged} = make_workspace('forged', 1);
offboard('forged', '0');
becomes(purged($ws{forged}), 't', 'and so is one behind as many that are forged');
stays("SELECT count(*) FROM keystone.workspaces WHERE $olds AND purged_at IS NOT NULL", 0, 'those are not');
query("UPDATE keystone.workspaces SET purge_after = purge_after + interval '1 hour' WHERE $olds");
becomes("SELECT count(*) FROM keystone.workspaces WHERE $olds AND purged_at IS NOT NULL", $batch + $forged, 'when they are as they were, they are');

# What is stored while the time ends is destroyed, too.
$ws{race} = make_workspace('race', 1);
my $storer = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
$storer->query_safe(q{BEGIN; SELECT keystone.store('race', 'late', 'v')});
offboard('race', '0');
stays(purged($ws{race}), 'f', 'a transaction that stores holds the purge up');
$storer->query_safe('COMMIT');
$storer->quit;
becomes(purged($ws{race}), 't', 'and no longer than that');
is(left($ws{race}), '0|0|0', 'nothing of it is left');

# Of cancelling and purging, the first one wins.
$ws{back} = make_workspace('back', 1);
offboard('back', '2 seconds');
my $canceller = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
$canceller->query_safe(q{BEGIN; SELECT keystone.cancel_offboarding('back')});
query('SELECT pg_sleep(2)');
stays(purged($ws{back}), 'f', 'a workspace that is taken back just now is passed over');
$canceller->query_safe('COMMIT');
$canceller->quit;
stays(purged($ws{back}), 'f', 'and not purged afterwards');
is(query_as_app(q{SELECT keystone.reveal('back', 'c1')}), 'v', 'its values are there');

# A date by hand purges nothing.
query("UPDATE keystone.workspaces SET status = 'cancelled', purge_after = now() - interval '1 day' WHERE id = '$ws{back}'");
stays(purged($ws{back}), 'f', 'a forged offboarding is none');
is(left($ws{back}), '1|1|1', 'and destroys nothing');
query("UPDATE keystone.workspaces SET status = 'active', purge_after = NULL WHERE id = '$ws{back}'");

# Expiries are noted once for each time that is set.
query_as_app(q{SELECT keystone.store('acme', 'g', 'v', expires_at => now() + interval '1 second')});
$id{g} = query_as_app(q{SELECT keystone.credential_id('acme', 'g')});
becomes(entries($EXPIRE, $id{g}), 1, 'an expiry is noted in the log');
is(query(entries($EXPIRE, $id{g}) . q{ AND actor_id IS NULL AND position('keystone'::bytea in entry) > 0}), 1, 'as what nobody did');
stays(entries($EXPIRE, $id{g}), 1, 'once');
query_as_app("SELECT keystone.update_metadata('$id{g}', jsonb_build_object('expires_at', now() + interval '1 second'))");
becomes(entries($EXPIRE, $id{g}), 2, 'a new time is noted, too');
is(query(usage('g')), '0|', 'an expiry is no use');

# Checkpoints: copies, and the server log.
sub copies
{
	my @names = sort map { s{.*/}{}r } glob "$dir{anchors}/*.note";
	return @names;
}

sub newest_copy
{
	my @copies = copies();
	return slurp_file("$dir{anchors}/$copies[-1]");
}

sub newest_note
{
	return query('SELECT note FROM keystone_private.audit_checkpoints ORDER BY epoch DESC, size DESC LIMIT 1');
}

# Something new, and a checkpoint over it.
sub make_checkpoint
{
	query_as_app(q{SELECT keystone.reveal('acme', 'a')});
	my $seq = query('SELECT max(seq) FROM keystone_private.audit_entries');
	$node->poll_query_until('postgres',
		"SELECT max(e.first_seq + c.size) > $seq FROM keystone_private.audit_checkpoints c JOIN keystone_private.audit_epochs e USING (epoch)")
	  or die 'no checkpoint';
	return;
}

make_checkpoint();
ok(wait_until(20, sub { copies() && newest_copy() eq newest_note() }), 'the newest checkpoint is copied');
is(scalar(grep { !/^[0-9a-f]{16}-\d{20}\.note$/ } copies()), 0, 'under its name');
like(slurp_file($node->logfile), qr/LOG:  keystone: audit checkpoint\n.*DETAIL:  \S+\n\t\d+\n\t\S{44}\n/, 'the server log has it');

# A directory that others can write to is not used, and it is said.
my $position = -s $node->logfile;
chmod 0777, $dir{anchors} or die $!;
make_checkpoint();
ok(wait_until(20, sub { $node->log_since($position) =~ /WARNING:  keystone: a checkpoint .* keystone\.audit_anchor_dir is writable by others/ }),
	'a directory that others can write to is refused');
isnt(newest_copy(), newest_note(), 'nothing is written there');
chmod 0755, $dir{anchors} or die $!;
ok(wait_until(20, sub { newest_copy() eq newest_note() }), 'it is tried again');

# A copy that is there already is not touched.
my $copy = "$dir{anchors}/" . (copies())[-1];
my $inode = (stat $copy)[1];
$node->restart;
make_checkpoint();
ok(wait_until(20, sub { newest_copy() eq newest_note() }), 'after a restart copies are made');
is((stat $copy)[1], $inode, 'one that was there stays');

# The command gets checkpoints.
$node->append_conf('postgresql.conf', "keystone.audit_anchor_command = 'cat > $dir{commanded}/new && mv $dir{commanded}/new $dir{commanded}/note'");
$node->reload;
make_checkpoint();
ok(wait_until(20, sub { -e "$dir{commanded}/note" && slurp_file("$dir{commanded}/note") eq newest_note() }), 'the command gets the checkpoint');

# A lock holds up the work that needs it, for as long as it is held; the rest
# goes on.  That is also how a lock timeout is told from pg_cancel_backend().
my $pid = query($housekeeper);
my $before = query(q{SELECT usage_count FROM keystone.credentials WHERE name = 'b'});
$position = -s $node->logfile;
$locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE keystone_private.credential_usage');
query_as_app(q{SELECT keystone.reveal('acme', 'b')});
ok(wait_until(20, sub { $node->log_since($position) =~ /ERROR:  canceling statement due to lock timeout/ }), 'the housekeeper does not wait for a lock for long');
query_as_app(q{SELECT keystone.reveal('acme', 'a')});
ok(wait_until(20, sub { newest_copy() eq newest_note() }), 'checkpoints go out all the same');
$locker->query_safe('COMMIT');
$locker->quit;
becomes(q{SELECT usage_count FROM keystone.credentials WHERE name = 'b'}, $before + 1, 'the reveal is counted afterwards');
query("SELECT pg_cancel_backend($pid), pg_sleep(0.05) FROM generate_series(1, 20)");
unlike($node->log_since($position), qr/due to user request/, 'pg_cancel_backend() does nothing to it');
is(query($housekeeper), $pid, 'it is the same process');

# Settings of the database do not reach it.
query(join ';', map { "ALTER DATABASE postgres SET $_" } 'session_replication_role = replica', 'search_path = public',
	q{default_transaction_isolation = 'serializable'}, 'default_transaction_read_only = on');
query("SELECT pg_terminate_backend($pid, 10000)");
ok(wait_until(20, sub { my $new = query($housekeeper); $new && $new ne $pid }), 'it is started again');
query('SET default_transaction_read_only = off; ALTER DATABASE postgres RESET ALL');
$pid = query($housekeeper);
query_as_app(q{SELECT keystone.reveal('acme', 'b')});
becomes(q{SELECT usage_count FROM keystone.credentials WHERE name = 'b'}, $before + 2, 'it writes whatever the database is set to');
is(query($housekeeper), $pid, 'without another start');

# Rotation: the old key signs the new one, and is destroyed.
sub key_files
{
	return map { s{.*/}{}r } glob "$dir{keys}/*";
}

# Id of the key that is announced last, as its file's name has it.
sub newest_key
{
	return query(q{SELECT split_part(vkey, '+', 2) FROM keystone_private.audit_keys ORDER BY valid_from DESC LIMIT 1});
}

my $key = newest_key();
my @files = key_files();
is(scalar @files, 1, 'there is one key');
like($files[0], qr/^[0-9a-f]{16}-\Q$key\E\.key$/, 'under its name');
is((stat "$dir{keys}/$files[0]")[2] & 07777, 0600, 'for nobody else');
like(slurp_file("$dir{keys}/$files[0]"), qr{^PRIVATE\+KEY\+\S+\+\Q$key\E\+[A-Za-z0-9+/]{44}\n\z}, 'in the format of signed notes');

query('ALTER SYSTEM SET keystone.audit_key_period = 1; SELECT pg_reload_conf()');
ok( wait_until(
		20,
		sub {
			query_as_app(q{SELECT keystone.reveal('acme', 'a')});
			return newest_key() ne $key;
		}),
	'after its time a key has a successor');
query('ALTER SYSTEM RESET keystone.audit_key_period; SELECT pg_reload_conf()');
ok(wait_until(20, sub { my @now = key_files(); my $new = newest_key(); @now == 1 && $now[0] =~ /-\Q$new\E\.key$/ }), 'the old key is destroyed');
is(query('SELECT count(*) FROM keystone_private.audit_keys WHERE signature IS NULL'), 1, 'every key but the first is signed by the one before');
make_checkpoint();
SKIP:
{
	skip 'audit_verify() is not there', 1 if query(q{SELECT to_regproc('keystone.audit_verify') IS NULL}) eq 't';
	is(query('SELECT ok, problem FROM keystone.audit_verify()'), 't|', 'the log verifies');
}

# A key that others can read is not used; values go out all the same, since
# nothing waits for a signature.
sub signs_not
{
	my ($problem, $name) = @_;
	my $from = -s $node->logfile;
	$node->restart;
	$node->poll_query_until('postgres', 'SELECT sealed FROM keystone.seal_status', 'f') or die;
	ok( wait_until(
			20,
			sub {
				$node->psql_err('postgres', q{SELECT keystone.reveal('acme', 'a')}, @as_app);
				return $node->log_since($from) =~ /keystone: audit checkpoints are not signed: \Q$problem\E/;
			}),
		$name);
	return;
}

chmod 0750, $dir{keys} or die $!;
signs_not('keystone.audit_key_dir is accessible by others', 'a directory that others can look into is refused');
is(query_as_app(q{SELECT keystone.reveal('acme', 'a')}), 'v', 'a reveal needs no signature');
chmod 0700, $dir{keys} or die $!;
make_checkpoint();

my $file = "$dir{keys}/" . (key_files())[0];
chmod 0640, $file or die $!;
signs_not(q{the signing key's file is accessible by others}, 'a key that others can read is refused');
chmod 0600, $file or die $!;
make_checkpoint();

my $text = slurp_file($file);
append_to_file($file, 'x');
signs_not(q{the signing key's file is damaged}, 'a damaged key is refused');
unlink $file or die $!;
signs_not(q{the signing key's file is missing}, 'a key that is gone is not replaced');
open my $out, '>', $file or die $!;
print $out $text;
close $out;
chmod 0600, $file or die $!;
make_checkpoint();
pass('with its file back the key signs again');

# Inside the data directory a base backup would take a key along.
mkdir $node->data_dir . '/keys', 0700 or die $!;
symlink $node->data_dir . '/keys', $node->basedir . '/link' or die $!;
query(sprintf q{ALTER SYSTEM SET keystone.audit_key_dir = '%s'}, $node->basedir . '/link');
signs_not('keystone.audit_key_dir lies inside the data directory', 'a directory inside the data directory is refused, also through a link');
query('ALTER SYSTEM RESET keystone.audit_key_dir; SELECT pg_reload_conf()');

# The housekeeper goes with the extension.
query('DROP EXTENSION keystone CASCADE');
becomes(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'keystone housekeeper'}, 0, 'the housekeeper ends with the extension');

# Who drops it may have a lock for which the housekeeper waits, which has others
# that the drop needs.
query(q{ALTER SYSTEM SET keystone.reconcile_interval = 1; ALTER SYSTEM SET keystone.housekeeper_interval = '100ms'; SELECT pg_reload_conf()});
foreach my $table ('keystone_private.credentials', 'keystone.members', 'keystone.workspaces')
{
	query(q{CREATE EXTENSION keystone; SELECT keystone.create_workspace('round'); SELECT count(*) FROM (SELECT keystone.store('round', 'n' || i, 'value') FROM generate_series(1, 50) i) s});
	query('SELECT keystone_private.audit_flush()');
	is( $node->psql_err('postgres', <<"EOF2"), '00000', "the extension can be dropped while the housekeeper waits for $table");
BEGIN;
SET LOCAL deadlock_timeout = '1ms';
LOCK TABLE $table IN ACCESS EXCLUSIVE MODE;
DO \$\$
BEGIN
	FOR i IN 1 .. 2000 LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.backend_type = 'keystone housekeeper' AND NOT l.granted);
		PERFORM pg_sleep(0.01);
	END LOOP;
END
\$\$;
DROP EXTENSION keystone CASCADE;
COMMIT;
EOF2
}

$node->stop;
done_testing();
