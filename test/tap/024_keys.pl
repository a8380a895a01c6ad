# I6, I7, I11: root keys and workspace keys are replaced beside everything else;
# a crash at any moment loses nothing, and what was begun is finished by the
# next call.  Each reason for which a value does not open has its name.
use strict;
use warnings;

use IPC::Run;
use KeystoneNode;
use KeystoneTools qw(crash_postmaster pgbench start_pgbench wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my %key = map { $_ => "$_ " . KeystoneNode::fresh_key() } qw(k1 k2 k3 k4);
my $node = KeystoneNode->start(name => 'keys', keys => [ $key{k1} ], conf => <<'EOF2');
keystone.housekeeper_interval = '100ms'
keystone.audit_timeout = '30s'
restart_after_crash = on
keystone.reveal_limit = ''
keystone.workspace_reveal_limit = ''
EOF2

sub query
{
	my ($sql, $role) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role // 'postgres' ]);
}

sub sqlstate
{
	my ($sql, $role) = @_;
	return $node->psql_err('postgres', $sql, extra_params => [ '-U', $role // 'ana' ]);
}

# Writes the keyring and waits until the server has it.
my $generation = 0;

sub keyring
{
	my @ids = @_;
	my $before = query('SELECT generation FROM keystone_private.seal_state()');
	$node->write_root_keys(map { $key{$_} // $_ } @ids);
	$node->reload;
	$node->poll_query_until('postgres', "SELECT generation > $before FROM keystone_private.seal_state()") or die 'no reload';
	return;
}

sub status
{
	return query('SELECT sealed, current_root_key, reason, pending_rewraps FROM keystone.seal_status');
}

# How many keys have which wraps.
sub wraps
{
	return query(<<'EOF2');
SELECT string_agg(w, ' ' ORDER BY w) FROM (
	SELECT concat_ws('/', root_key, previous_root_key) || ':' || count(*) AS w FROM (
		SELECT root_key, previous_root_key FROM keystone_private.workspace_keys
		UNION ALL SELECT root_key, previous_root_key FROM keystone_private.system_keys) k
	GROUP BY root_key, previous_root_key) x
EOF2
}

sub bad
{
	return query(q{SELECT count(*) FILTER (WHERE NOT ok) || ' of ' || count(*) FROM keystone.verify_all()});
}

sub progress
{
	my ($slug) = @_;
	return query("SELECT values_current, values_pending, values_failed FROM keystone.key_progress WHERE workspace = '$slug'");
}

query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE ana LOGIN;
CREATE ROLE dba LOGIN;
SELECT keystone.grant_access('ana', 'client'), keystone.grant_access('dba', 'admin');
EOF2
query(<<'EOF2', 'ana');
SELECT keystone.create_workspace('ws-' || n) FROM generate_series(1, 20) n;
SELECT keystone.store('ws-' || n, 'name', 'value of ' || n) FROM generate_series(1, 20) n;
EOF2

# A new root key.
is(wraps(), 'k1:21', 'each key is wrapped once');
keyring('k2', 'k1');
is(status(), 'f|k2||21', 'I7 what another root key wraps is counted');

# Nobody who has stored something is waited for, and a crash undoes it all.
my $caller = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'ana' ]);
$caller->query_safe(q{BEGIN; SELECT keystone.store('ws-1', 'name', 'second value of 1')});
my $rotating = $node->background_psql('postgres', on_error_stop => 0);
is($rotating->query_safe(q{BEGIN; SET statement_timeout = '20s'; SELECT keystone.rotate_root_key()}), 21,
	'I7 rotate_root_key() waits for no caller');
$caller->query_safe('COMMIT');
ok(crash_postmaster($node), 'the server is killed before it commits');
$_->quit foreach $caller, $rotating;
$node->poll_query_until('postgres', 'SELECT sealed FROM keystone.seal_status', 'f') or die;
is(wraps(), 'k1:21', 'I7 each key is as it was');
is(query(q{SELECT keystone.reveal('ws-1', 'name')}, 'ana'), 'second value of 1', 'and opens');

is(query('SELECT keystone.rotate_root_key()', 'dba'), 21, 'I7 all keys are wrapped by the new one');
is(wraps(), 'k2/k1:21', 'I7 and by the former one, too');
is(status(), 'f|k2||0', 'none is left');
is(query('SELECT keystone.rotate_root_key()', 'dba'), 0, 'once more there is nothing to do');
ok(crash_postmaster($node), 'the server is killed after it has committed');
$node->poll_query_until('postgres', 'SELECT sealed FROM keystone.seal_status', 'f') or die;
is(bad(), '0 of 21', 'I7 everything opens by both');

# Whoever has one of the two root keys opens everything.
keyring('k1');
is(bad(), '0 of 21', 'I7 everything opens by the former root key alone, as on a standby with the older file');
is(query(q{SELECT keystone.store('ws-2', 'name', 'second value of 2') IS NOT NULL, keystone.reveal('ws-2', 'name')}, 'ana'),
	't|second value of 2', 'and can be stored');
keyring('k2');
is(bad(), '0 of 22', 'I7 and by the new one alone');
$node->poll_query_until('postgres', 'SELECT count(previous_wrapped) = 0 FROM keystone_private.workspace_keys') or die 'former wraps are left';
is(wraps(), 'k2:21', 'when the former root key has left the keyring, its wraps go');
query('SELECT keystone_private.audit_flush()');
is(query(<<'EOF2'), "21||k1|k2|3\n|21|||3", 'I7 the log has both, with the digests of the rows');
SELECT detail ->> 'keys', detail ->> 'former_dropped', detail ->> 'former_root_keys', detail ->> 'root_key', count(*)
FROM keystone.audit_log WHERE action = 'key.rewrap' GROUP BY 1, 2, 3, 4 ORDER BY 1
EOF2
is(query('SELECT count(*) FROM keystone.audit_reconcile()'), 0, 'which agrees with the tables');

keyring('k1');
like(status(), qr/^t\|\|root key "k2" wraps this database's system key, and is not in the keyring\|$/, 'I6 without the new one the database is sealed then, which names it');

# A key that is held for destroying is passed over; without its root key its
# workspace alone is sealed.
keyring('k3', 'k2');
my $holding = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'ana' ]);
$holding->query_safe(q{BEGIN; SELECT keystone.shred_workspace('ws-3', 'ws-3')});
is(query(q{SET statement_timeout = '20s'; SELECT keystone.rotate_root_key()}, 'dba'), 20, 'I7 a key that somebody destroys is not waited for');
$holding->query_safe('ROLLBACK');
$holding->quit;
is(status(), 'f|k3||1', 'it is counted as left');
keyring('k3');
is(status(), 'f|k3|root key "k2" is missing from the keyring: 1 keys of workspaces need it|1', 'I6 a reload without its root key names that');
like(query(q{SELECT detail FROM keystone.health WHERE check_name = 'root keys'}), qr/root key "k2" is missing/, 'so does health');
my $position = -s $node->logfile;
is(sqlstate(q{SELECT keystone.reveal('ws-3', 'name')}), 'PT423', 'I6 the workspace is sealed');
like($node->log_since($position), qr/root key "k2" is missing from the keyring/, 'I6 the server log names the missing root key');
is(sqlstate(q{SELECT keystone.store('ws-3', 'name', 'x')}), 'PT423', 'nothing is stored there');
is(query(q{SELECT keystone.reveal('ws-4', 'name')}, 'ana'), 'value of 4', 'I6 and that one alone');
is(query(q{SELECT problem FROM keystone.verify_all() WHERE NOT ok}), 'root key "k2" is missing from the keyring', 'verify_all() names it');
my ($ok, $stdout, $stderr) = $node->psql('postgres', 'SELECT keystone.rotate_root_key()');
like($stderr, qr/WARNING:  1 keys were left: the keyring lacks the root keys that wrap them/, 'it cannot be wrapped anew');

# A wrong key under a known id.
keyring('k4');
keyring('k3', 'k2');
is(query('SELECT keystone.rotate_root_key()', 'dba'), 1, 'with it the last key is wrapped anew');
is(bad(), '0 of 22', 'and everything opens');
keyring('k3 ' . KeystoneNode::fresh_key(), 'k2');
like(status(), qr/^t\|\|root key "k3" is not the key that this database knows by that name\|/, 'I6 a wrong key under a known id is recognised');
is(sqlstate('SELECT keystone.rotate_root_key()', 'dba'), 'PT423', 'I6 and nothing is wrapped by it');
keyring('k3');
is(bad(), '0 of 22', 'with the right one everything opens again');

# I7: reencrypt_all() is killed, twice.
query(q{SELECT keystone.create_workspace('big')}, 'ana');
query(q{SELECT count(keystone.store('big', 'n' || n, 'value of ' || n)) FROM generate_series(1, 4000) n}, 'ana');
query(q{SELECT keystone.rotate_workspace_key('big')}, 'ana');
is(progress('big'), '0|4000|0', 'all values of a workspace wait for its new key');
foreach my $what ('backend', 'postmaster')
{
	# What somebody holds is tried again for a while, in which it is killed; so
	# is a batch that is not committed.
	my $held = $what eq 'backend' ? '[0-4]' : '[0-1]';
	my $holder = $node->background_psql('postgres', on_error_stop => 0);
	$holder->query_safe(qq{BEGIN; SELECT FROM keystone_private.credentials WHERE name ~ '^n.*$held\$' FOR UPDATE});
	my $out = '';
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' user=ana application_name=reencrypting', '-c', q{CALL keystone.reencrypt_all('big', 10)} ],
		'<', \undef, '>&', \$out);
	my $left = $what eq 'backend' ? 2000 : 800;
	$node->poll_query_until('postgres', "SELECT values_pending = $left FROM keystone.key_progress WHERE workspace = 'big'") or die 'nothing happens';
	query('CHECKPOINT');    # its transactions do not wait for the disk
	is($holder->query_safe(q{SELECT keystone.reencrypt('big', 100)}), 100, 'a batch is under way');
	if ($what eq 'backend')
	{
		kill 'KILL', query(q{SELECT pid FROM pg_stat_activity WHERE application_name = 'reencrypting'});
		sleep 1;
		wait_until(60, sub { my $r; eval { $r = query('SELECT 1') }; $r }) or die 'no recovery';
	}
	else { crash_postmaster($node) or die 'no start'; }
	$run->finish;
	$holder->quit;
	$node->poll_query_until('postgres', 'SELECT sealed FROM keystone.seal_status', 'f') or die;
	my ($current, $pending) = split /\|/, progress('big');
	ok($current >= 4000 - $left && $pending > 0 && $current + $pending == 4000, "I7 after kill -9 of the $what what was on the disk is done ($current), the rest waits");
	is(bad(), '0 of 4022', 'I7 and all of it opens');
}
($ok, $stdout, $stderr) = $node->psql('postgres', q{CALL keystone.reencrypt_all('big')}, extra_params => [ '-U', 'ana' ]);
like($stderr, qr/NOTICE:  \d+ values encrypted again in [\d.]+ s/, 'the next call says what it has done');
is(progress('big'), '4000|0|0', 'I7 and nothing is left');
is(bad(), '0 of 4022', 'everything opens');

# What somebody holds is passed over, and said.
query(q{SELECT keystone.rotate_workspace_key('ws-5')}, 'ana');
my $writer = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'ana' ]);
$writer->query_safe(q{BEGIN; SELECT keystone.set_active(keystone.credential_id('ws-5', 'name'), false)});
($ok, $stdout, $stderr) = $node->psql('postgres', q{SELECT keystone.reencrypt('ws-5')}, extra_params => [ '-U', 'ana' ]);
is($stdout, 0, 'a row that somebody holds is passed over');
like($stderr, qr/NOTICE:  1 values were left, since other transactions hold them/, 'which is said');
$writer->query_safe('ROLLBACK');
$writer->quit;
is(query(q{SELECT keystone.reencrypt('ws-5')}, 'ana'), 1, 'it is done when it is free');

# A workspace that cannot be opened does not keep the others.
query(q{SELECT keystone.rotate_workspace_key('ws-' || n) FROM generate_series(6, 8) n}, 'ana');
query(q{UPDATE keystone_private.workspace_keys SET root_key = 'k1' FROM keystone.workspaces w WHERE w.id = workspace_id AND w.slug = 'ws-7'});
($ok, $stdout, $stderr) = $node->psql('postgres', 'CALL keystone.reencrypt_all()', extra_params => [ '-U', 'dba' ]);
like($stderr, qr/WARNING:  values of a workspace could not be encrypted again/, 'I11 a workspace without its root key is named');
is(join(' ', map { progress($_) } qw(ws-6 ws-7 ws-8)), '1|0|0 0|1|0 1|0|0', 'I11 and does not keep the others');
query(q{UPDATE keystone_private.workspace_keys SET root_key = 'k3' FROM keystone.workspaces w WHERE w.id = workspace_id AND w.slug = 'ws-7'});

# Everything at once.
my @load = (
	start_pgbench($node, [ <<'EOF2' ], '-c', 2, '-T', 12, '-U', 'ana', 'postgres'),
\set n random(1, 4000)
SELECT keystone.reveal('big', 'n' || :n);
EOF2
	start_pgbench($node, [ <<'EOF2' ], '-c', 1, '-T', 12, '-U', 'ana', 'postgres'),
\set n random(1, 4000)
SELECT version FROM keystone.store('big', 'n' || :n, 'another value of ' || :n);
SELECT version FROM keystone.rotate(keystone.credential_id('big', 'n' || :n), 'a rotated value of ' || :n);
EOF2
	start_pgbench($node, [ q{SELECT keystone.rotate_workspace_key('big')} . ";\n\\sleep 500 ms" ], '-c', 1, '-T', 12, '-U', 'ana', 'postgres'),
	start_pgbench($node, [ q{CALL keystone.reencrypt_all('big', 50)} ], '-c', 1, '-T', 12, '-U', 'ana', 'postgres'));
foreach my $ids ([ 'k4', 'k3' ], [ 'k3', 'k4' ], [ 'k4', 'k3' ])
{
	keyring(@$ids);
	query('SELECT keystone.rotate_root_key()', 'dba');
	sleep 1;
}
is(scalar(grep { !$_->finish } @load), 0, 'I7 storing, revealing, rotating and encrypting again at the same time give no error');
is(status(), 'f|k4||0', 'all keys are under the last root key');
query(q{CALL keystone.reencrypt_all('big')}, 'ana');
like(progress('big'), qr/^\d+\|0\|0$/, 'I7 nothing is left');
like(bad(), qr/^0 of/, 'I7 and everything opens');
query('SELECT keystone_private.audit_flush()');
is(query('SELECT ok, problem FROM keystone.audit_verify()'), 't|', 'I7 the log is sound');
is(query(q{SELECT count(*) FROM keystone.audit_reconcile()}), query(q{SELECT count(*) FROM keystone.audit_reconcile('ws-7')}), 'and agrees with the tables');

# Only the last of its transactions waits for the disk.
query(q{ALTER SYSTEM SET wal_writer_delay = '10s'; SELECT pg_reload_conf()});
query(q{SELECT keystone.create_workspace('durable')}, 'ana');
query(q{SELECT count(keystone.store('durable', 'n' || n, 'value')) FROM generate_series(1, 500) n}, 'ana');
query(q{SELECT keystone.rotate_workspace_key('durable')}, 'ana');
query(q{CALL keystone.reencrypt_all('durable', 70)}, 'ana');
ok(crash_postmaster($node), 'the server is killed when all is encrypted again');
$node->poll_query_until('postgres', 'SELECT sealed FROM keystone.seal_status', 'f') or die;
is(progress('durable'), '500|0|0', 'I7 what reencrypt_all() has done is on the disk when it has returned');
like(bad(), qr/^0 of/, 'I7 and opens');
query(q{ALTER SYSTEM RESET wal_writer_delay; SELECT pg_reload_conf()});

# By age, and by number.
query(q{SELECT keystone.create_workspace(s) FROM unnest('{old,busy,young}'::text[]) s}, 'ana');
query(q{SELECT keystone.store(s, 'name', 'value') FROM unnest('{old,busy,young}'::text[]) s}, 'ana');
$node->poll_query_until('postgres', q{SELECT count(*) = 3 FROM keystone_private.key_usage u JOIN keystone.workspaces w ON w.id = u.workspace_id
	WHERE w.slug IN ('old', 'busy', 'young') AND u.encryptions = 1}) or die 'encryptions are not counted';
pass('encryptions are counted and saved');
query(q{UPDATE keystone_private.workspace_keys k SET created_at = now() - interval '31 days' FROM keystone.workspaces w WHERE w.id = k.workspace_id AND w.slug = 'old';
	UPDATE keystone_private.key_usage u SET encryptions = 3000000 FROM keystone.workspaces w WHERE w.id = u.workspace_id AND w.slug = 'busy'});
query(q{ALTER SYSTEM SET keystone.key_max_age = 30; ALTER SYSTEM SET keystone.key_max_encryptions = 3; SELECT pg_reload_conf()});
$node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM keystone.key_progress WHERE workspace IN ('old', 'busy') AND key_version = 2 AND values_pending = 0 AND values_current = 1})
  or die 'keys are not replaced';
pass('I7 a key that is too old, or has encrypted too often, is replaced, and what it has encrypted is encrypted again');
sleep 1;
is(query(q{SELECT string_agg(workspace || ' ' || key_version, ',' ORDER BY workspace) FROM keystone.key_progress WHERE workspace IN ('old', 'busy', 'young')}),
	'busy 2,old 2,young 1', 'once, and no other');
query('SELECT keystone_private.audit_flush()');
is(query(q{SELECT action, detail ->> 'source', count(*) FROM keystone.audit_log WHERE workspace IN ('old', 'busy') AND action IN ('key.rotate', 'key.reencrypt') GROUP BY 1, 2 ORDER BY 1}),
	"key.reencrypt|housekeeper|2\nkey.rotate|housekeeper|2", 'the log has it as the housekeeper\'s');
is(query(q{SELECT keystone.reveal('old', 'name'), keystone.reveal('busy', 'name')}, 'ana'), 'value|value', 'and both open');

# Whoever replaces a key again and again does not keep the housekeeper from others.
my ($first, $second) = split /\n/, query(q{SELECT slug FROM keystone.workspaces WHERE slug IN ('old', 'busy') ORDER BY id});
query(qq{SELECT count(keystone.store('$first', 'v' || n, 'value')) FROM generate_series(1, 3000) n}, 'ana');
my $replacing = start_pgbench($node, [ "SELECT keystone.rotate_workspace_key('$first');\nSELECT pg_sleep(0.2);" ], '-c', '1', '-T', '25', '-U', 'ana', 'postgres');
sleep 1;
query("SELECT keystone.rotate_workspace_key('$second')", 'ana');
my $began = time;
$node->poll_query_until('postgres', "SELECT values_pending = 0 FROM keystone.key_progress WHERE workspace = '$second'");
cmp_ok(time - $began, '<', 20, 'I7 a workspace whose key is replaced again and again takes nothing from others');
$replacing->finish;

# A newest key that does not unwrap is named, once; nothing is lost by it.
query(q{SELECT keystone.create_workspace('scarred'), keystone.store('scarred', 'name', 'value')}, 'ana');
my $scarred = query(q{SELECT id FROM keystone.workspaces WHERE slug = 'scarred'});
my $position_before = -s $node->logfile;
query(qq{BEGIN;
	SET LOCAL SESSION AUTHORIZATION ana; SELECT keystone.rotate_workspace_key('scarred'); RESET SESSION AUTHORIZATION;
	CREATE TABLE scars AS SELECT * FROM keystone_private.workspace_keys WHERE workspace_id = '$scarred' AND version = 2;
	UPDATE keystone_private.workspace_keys SET wrapped = set_byte(wrapped, 40, get_byte(wrapped, 40) # 1) WHERE workspace_id = '$scarred' AND version = 2;
	COMMIT});
my $damage = "version 2 of the key of workspace $scarred does not unwrap";
ok(wait_until(10, sub { $node->log_since($position_before) =~ /LOG:  keystone: values of workspace $scarred could not be encrypted again under version 2 of its key: $damage\n/ }),
	'I11 the housekeeper names a key that is damaged');
sleep 1;
is(scalar(() = $node->log_since($position_before) =~ /values of workspace $scarred could not/g), 1, 'I11 once, not each time that it looks');
is(query(q{SELECT ok || ' ' || detail FROM keystone.health WHERE check_name = 'workspace keys'}), "false $damage", 'I11 health() names it');
is(query(q{SELECT credential IS NULL, ok, problem FROM keystone.verify_all('scarred') WHERE NOT ok}, 'ana'), "t|f|$damage", 'I11 so does verify_all(), though it has encrypted nothing');
is(query(q{SELECT problem FROM keystone.verify_all() WHERE credential IS NULL}), $damage, 'I11 of all workspaces, too');
is(query(q{SELECT count(*) FROM keystone.verify_all('busy') WHERE credential IS NULL}), 0, 'and of no other one');
is(sqlstate(q{SELECT keystone.store('scarred', 'other', 'value')}), 'XX001', 'nothing is stored under it');
is(query(q{SELECT keystone.reveal('scarred', 'name')}, 'ana'), 'value', 'I11 what an older version has encrypted opens');
query(qq{UPDATE keystone_private.workspace_keys k SET wrapped = o.wrapped FROM scars o WHERE o.workspace_id = k.workspace_id AND o.version = k.version});
$node->poll_query_until('postgres', q{SELECT values_pending = 0 AND values_current = 1 FROM keystone.key_progress WHERE workspace = 'scarred'}) or die 'not encrypted again';
is(query(q{SELECT ok || ' ' || detail FROM keystone.health WHERE check_name = 'workspace keys'}), 'true none is damaged', 'repaired, all goes on');

# Each reason by its name, in the server log; the client gets one of two codes.
# Not while values are encrypted again in the background.
query('ALTER SYSTEM RESET keystone.key_max_age; ALTER SYSTEM RESET keystone.key_max_encryptions; SELECT pg_reload_conf()');
sleep 1;
sub reason
{
	my ($name, $sqlstate, $break, $reason, $mend) = @_;
	query($break);
	my $at = -s $node->logfile;
	is(sqlstate(q{SELECT keystone.reveal('young', 'name')}), $sqlstate, "$name: the client gets $sqlstate");
	like($node->log_since($at), $reason, "I6 $name: the server log says so");
	like(query(q{SELECT problem FROM keystone.verify_all('young')}), $reason, "and verify_all() does");
	query($mend);
	is(query(q{SELECT keystone.reveal('young', 'name')}, 'ana'), 'value', 'repaired, it opens');
	return;
}
query(q{CREATE TABLE kept AS SELECT x.* FROM keystone_private.ciphertext x JOIN keystone.workspaces w ON w.id = x.workspace_id WHERE w.slug = 'young';
	CREATE TABLE kept_keys AS SELECT k.* FROM keystone_private.workspace_keys k JOIN keystone.workspaces w ON w.id = k.workspace_id WHERE w.slug = 'young'});
my $mend = 'UPDATE keystone_private.ciphertext x SET envelope = k.envelope, aad_digest = k.aad_digest FROM kept k WHERE k.credential_id = x.credential_id AND k.version = x.version';
my $mend_keys = 'UPDATE keystone_private.workspace_keys k SET root_key = o.root_key, wrapped = o.wrapped FROM kept_keys o WHERE o.workspace_id = k.workspace_id AND o.version = k.version';
reason('damaged', 'XX001', 'UPDATE keystone_private.ciphertext SET envelope = set_byte(envelope, 40, get_byte(envelope, 40) # 1) WHERE credential_id IN (SELECT credential_id FROM kept)',
	qr/the ciphertext is damaged, or another one was put in its place/, $mend);
reason('moved', 'XX001', q{UPDATE keystone_private.ciphertext x SET envelope = o.envelope, aad_digest = o.aad_digest FROM keystone_private.ciphertext o, keystone.workspaces w
	WHERE x.credential_id IN (SELECT credential_id FROM kept) AND o.workspace_id = w.id AND w.slug = 'ws-9'},
	qr/the ciphertext was moved, or the credential's row was edited/, $mend);
reason('unknown root key', 'PT423', q{UPDATE keystone_private.workspace_keys SET root_key = 'k1' WHERE workspace_id IN (SELECT workspace_id FROM kept)},
	qr/root key "k1" is missing from the keyring/, $mend_keys);
query(q{SELECT keystone.rotate_workspace_key('young')}, 'ana');
reason('unknown key of the workspace', 'PT423', 'DELETE FROM keystone_private.workspace_keys WHERE version = 1 AND workspace_id IN (SELECT workspace_id FROM kept)',
	qr/version 1 of the workspace's key is unknown: its row is missing/, 'INSERT INTO keystone_private.workspace_keys SELECT * FROM kept_keys');
query(q{SELECT keystone.shred_workspace('young', 'young')}, 'ana');
$position = -s $node->logfile;
is(sqlstate(q{SELECT keystone.reveal('young', 'name')}), 'PT423', 'shredded: the client gets PT423');
like($node->log_since($position), qr/version 1 of the workspace's key was destroyed/, 'I6 shredded: the server log says so');
is(query(q{SELECT problem FROM keystone.verify_all('young')}), 'version 1 of the workspace\'s key was destroyed', 'I6 shredded: verify_all() says so');

# A session that has the key in its cache opens nothing after the commit.
query(q{SELECT keystone.create_workspace('doomed'), keystone.store('doomed', 'name', 'value')}, 'ana');
my $cached = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'ana' ]);
is($cached->query_safe(q{SELECT keystone.reveal('doomed', 'name')}), 'value', 'a session has the key in its cache');
query(q{SELECT keystone.shred_workspace('doomed', 'doomed')}, 'ana');
$cached->query(q{SELECT keystone.reveal('doomed', 'name')});
like($cached->{stderr}, qr/the workspace's keys were destroyed/, 'after shred_workspace() that session opens nothing either');
$cached->{stderr} = '';
$cached->query(q{SELECT keystone.store('doomed', 'name', 'value')});
like($cached->{stderr}, qr/the workspace's keys were destroyed/, 'and stores nothing');
$cached->quit;

$node->stop;
done_testing();
