# I10: pg_upgrade from another version, by copying the files and by linking
# them.  Everything that Keystone has is the same bytes afterwards, the catalog
# is that of a fresh install, and once the copy is accepted all works as
# before: values, keys, rights, policies, approvals, limits, quotas, audited
# tables, encrypted columns.  While pg_upgrade runs servers, nothing of
# Keystone does.
#
# test/versions/upgrade says where the old version is.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use KeystoneNode;
use KeystoneTools qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my ($k1, $k2) = map { KeystoneNode::fresh_key() } 1 .. 2;
my $dba = getpwuid $<;
my $old_bin = "$ENV{KEYSTONE_OLD}/bin";
chomp(my $new_bin = `pg_config --bindir`);
my $keys = PostgreSQL::Test::Utils::tempdir;
mkdir "$keys/audit", 0700 or die $!;
my $conf = <<"EOF2";
max_worker_processes = 30
keystone.audit_key_dir = '$keys/audit'
keystone.audit_checkpoint_interval = 200ms
keystone.housekeeper_interval = 200ms
keystone.limit_flush_interval = 200ms
keystone.audit_origin = 'example.com/vault'
EOF2

# make_node NAME, OPTION...: with data checksums, which initdb makes by itself since version 18
sub make_node
{
	my ($name, %more) = @_;
	mkdir "$keys/$name", 0700 or die $!;
	return KeystoneNode->start(name => $name, keys => ["k2 $k2", "k1 $k1"], start => 0,
		init => [ extra => ['--data-checksums'] ], conf => $conf . "keystone.audit_anchor_dir = '$keys/$name'\n", %more);
}

my $old;
{
	local $ENV{KEYSTONE_EXTENSION_CONF} = $ENV{KEYSTONE_OLD_EXTENSION_CONF};
	$old = make_node('old', keys => ["k1 $k1"], new => [ install_path => $ENV{KEYSTONE_OLD} ]);
}
$old->start;

# query SERVER, SQL, ROLE, DATABASE
sub query
{
	my ($server, $sql, $role, $database) = @_;
	return $server->safe_psql($database // 'vault', $sql, extra_params => [ '-U', $role // $dba ]);
}

# What somebody gets: rows, or the SQLSTATE.
sub try
{
	my ($server, $sql, $role) = @_;
	my ($stdout, $stderr) = ('', '');
	$server->psql('vault', $sql, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1,
		extra_params => [ '-v', 'VERBOSITY=sqlstate', '-U', $role // $dba ]);
	return $stderr =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5})\b/ ? $1 : $stdout;
}

sub flush { return query($_[0], 'SELECT keystone_private.audit_flush()') }

# --- What there is before.
my @people = qw(ana ben carl dora);
query($old, join(';', map { "CREATE ROLE $_ LOGIN" } @people, qw(shop_app logs vault_admin)), undef, 'postgres');
query($old, 'CREATE DATABASE vault', undef, 'postgres');
query($old, 'CREATE DATABASE untouched', undef, 'postgres');
query($old, 'CREATE EXTENSION keystone', undef, 'untouched');
query($old, <<'EOF2');
CREATE EXTENSION keystone;
SELECT keystone.grant_access(r, 'worker') FROM unnest('{ana,shop_app}'::name[]) r;
SELECT keystone.grant_access(r, 'client') FROM unnest('{ben,carl,dora}'::name[]) r;
SELECT keystone.grant_access('logs', 'auditor'), keystone.grant_access('vault_admin', 'admin'), keystone.grant_access('vault_admin', 'monitor');
SELECT keystone.register_principal(r, 'user', db_role => r::name) FROM unnest('{ana,ben,carl,dora}'::text[]) r;
SELECT keystone.register_principal('Shop', 'service', db_role => 'shop_app');
SELECT keystone.provider_define('openai', 'shared_key', cost_micros => 2500);
CREATE TABLE known (name text PRIMARY KEY, value text);
GRANT ALL ON known TO PUBLIC;
INSERT INTO known SELECT display_name, id FROM keystone.principals;
CREATE FUNCTION known(name text) RETURNS text LANGUAGE sql STABLE AS 'SELECT value FROM public.known k WHERE k.name = $1';
EOF2
query($old, <<'EOF2', 'ana');
SELECT keystone.create_workspace(w) FROM unnest('{acme,shredded,left}'::text[]) w;
SELECT keystone.set_plan('acme', 'pro');
SELECT keystone.add_member('acme', known('ben')::uuid, 'operator', '{reveal}'), keystone.add_member('acme', known('carl')::uuid, 'admin'),
	keystone.add_member('acme', known('Shop')::uuid, 'service', '{store}'), keystone.add_member('acme', known('dora')::uuid, 'viewer');
SELECT keystone.remove_member('acme', known('dora')::uuid);
SELECT keystone.store('acme', 'token', 'token ' || i) FROM generate_series(1, 3) i;
SELECT keystone.store('acme', 'db', 'db 1', 'prod', tags => '{a,b}', metadata => '{"host": "db"}', expires_at => now() + '1 year');
SELECT keystone.store('acme', 'db', 'db 2', 'prod', state => 'pending');
SELECT keystone.store('acme', 'mine', 'own', personal => true), keystone.store('acme', 'gone', 'gone'), keystone.store('acme', 'key', 'openai key', provider => 'openai');
SELECT keystone.store('shredded', 'token', 'never again'), keystone.store('left', 'token', 'left');
SELECT keystone.share_credential(keystone.credential_id('acme', 'mine', personal => true), known('ben')::uuid);
SELECT keystone.destroy_version(keystone.credential_id('acme', 'token'), 1);
SELECT keystone.delete_credential(keystone.credential_id('acme', 'gone'));
SELECT keystone.shred_workspace('shredded', 'shredded'), keystone.offboard_workspace('left', confirm => 'left');
SELECT keystone.rotate_workspace_key('acme');
SELECT keystone.store('acme', 'large', repeat('0123456789abcdef', 4000)), keystone.store('acme', 'token', 'token 4');
SELECT keystone.provider_configure('acme', 'openai', config => '{"region": "eu"}');
INSERT INTO known SELECT 'api key', api_key FROM keystone.create_api_key('acme', 'ci', environments => '{default}');
INSERT INTO known SELECT 'invitation', keystone.invite_member('acme', 'dora@example.com', 'viewer');
SELECT keystone.limit_define('sliding', '100/day, 2000/month', 'acme'), keystone.limit_define('log', '10/day', 'acme', '{"algorithm": "log"}'),
	keystone.limit_define('calendar', '1000/month', 'acme', '{"algorithm": "calendar", "timezone": "Europe/Berlin"}'),
	keystone.limit_define('gcra', '40/month', 'acme', '{"algorithm": "gcra"}'), keystone.limit_define('reveals', '500/day', 'acme', '{"enforce": {"action": "reveal"}}');
SELECT keystone.limit_consume(l, 'k', 3, 'acme') FROM unnest('{sliding,log,calendar,gcra}'::text[]) l;
SELECT keystone.limit_block('sliding', 'blocked', now() + '1 day', 'a test', 'acme');
SELECT keystone.quota_consume('acme', 'rotations', 12, 'once');
SELECT keystone.usage_record('acme', 'openai', 1200, idempotency_key => 'request 42', context => '{"workflow": "invoices"}');
SELECT keystone.budget_set('acme', 5000000, 9000000);
SELECT keystone.policy_put('acme', $${"apiVersion": "keystone.policy/v1", "id": "two-people", "scope": {"level": "workspace"},
	"rules": [{"id": "prod", "effect": "oblige", "reason": "two people for production", "match": {"actions": ["rotate"], "env": ["prod*"]},
		"unless": "context has reason && context.reason == \"emergency\"",
		"obligations": [{"type": "require_approval", "factors": [{"permission": "approve", "count": 1}], "timeout": "PT4H", "valid_for": "PT4H"}]}]}$$);
EOF2
query($old, <<'EOF2', 'ben');
INSERT INTO known SELECT n, keystone.request_approval('acme', 'rotate', jsonb_build_object('credential', keystone.credential_id('acme', 'db', 'prod')), reason => n)
FROM unnest('{approved,pending}'::text[]) n;
EOF2
query($old, q{SELECT keystone.approve(known('approved')::uuid, 'as discussed')}, 'carl');

# A table of the application's: encrypted columns, audited, with views, a
# policy; and a column of a type of Keystone's.
query($old, <<'EOF2');
CREATE SCHEMA shop AUTHORIZATION shop_app;
CREATE TABLE seen (seen keystone.limit_result);
GRANT ALL ON seen TO PUBLIC;
EOF2
query($old, q{INSERT INTO seen SELECT keystone.limit_peek('log', 'k', 'acme')}, 'ana');
query($old, <<'EOF2', 'shop_app');
CREATE TABLE shop.customers (id int PRIMARY KEY, name text, email text, email_index bytea, workspace uuid);
SELECT keystone.audit_table('shop.customers', '{id,name}');
INSERT INTO shop.customers SELECT i, 'customer ' || i, keystone.encrypt_text('acme', i || '@example.com', 'email ' || i), keystone.blind_index('acme', i || '@example.com', 'email'),
	(SELECT id FROM keystone.workspaces WHERE slug = 'acme')
FROM generate_series(1, 5) i;
CREATE VIEW shop.customers_open WITH (security_barrier) AS SELECT id, keystone.decrypt_text('acme', email, 'email ' || id) AS email FROM shop.customers;
CREATE VIEW shop.vault AS SELECT * FROM keystone.credentials;
CREATE POLICY tenants ON shop.customers USING (workspace = ANY (ARRAY(SELECT keystone.permitted_workspaces('view'))));
ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE shop.customers FORCE ROW LEVEL SECURITY;
GRANT USAGE ON SCHEMA shop TO ana, dora;
GRANT SELECT ON shop.customers TO ana, dora;
UPDATE shop.customers SET name = 'Emil' WHERE id = 2;
EOF2

# A root key is rotated: what there was is wrapped by the new one.
$old->write_root_keys("k2 $k2", "k1 $k1");
$old->reload_and_wait(database => 'vault', query => 'SELECT current_root_key FROM keystone.seal_status', expected => 'k2');
query($old, 'SELECT keystone.rotate_root_key()');
query($old, q{SELECT keystone.store('acme', 'token', 'token 5')}, 'ana');

# --- What must be so before and after: NAME, ROLE, SQL.
my @same = (
	[ 'a value', 'ana', q{SELECT keystone.reveal('acme', 'token')} ],
	[ 'a version that an old key wraps', 'ana', q{SELECT keystone.reveal('acme', 'token', version => 3)} ],
	[ 'a destroyed version', 'ana', q{SELECT keystone.reveal('acme', 'token', version => 1)} ],
	[ 'a large value', 'ana', q{SELECT md5(keystone.reveal('acme', 'large'))} ],
	[ 'a personal one', 'ana', q{SELECT keystone.reveal('acme', 'mine', scope => 'own')} ],
	[ 'a shared one', 'ben', q{SELECT keystone.reveal('acme', 'mine', owner => known('ana')::uuid)} ],
	[ 'a deleted one', 'ana', q{SELECT keystone.reveal('acme', 'gone')} ],
	[ 'a whole environment', 'carl', q{SELECT name, version, md5(value), problem FROM keystone.reveal_env('acme') ORDER BY name} ],
	[ 'a shredded workspace', 'ana', q{SELECT keystone.reveal('shredded', 'token')} ],
	[ 'an offboarded workspace', 'ana', q{SELECT keystone.reveal('left', 'token')} ],
	[ 'who was removed', 'dora', q{SELECT keystone.reveal('acme', 'token')} ],
	[ 'a DBA', 'vault_admin', q{SELECT keystone.reveal('acme', 'token')} ],
	[ 'an API key', 'ben', q{SELECT keystone.reveal('acme', 'token') FROM keystone.authenticate(known('api key'))} ],
	[ 'an API key elsewhere', 'ben', q{SELECT keystone.reveal('acme', 'db', 'prod') FROM keystone.authenticate(known('api key'))} ],
	[ 'who one is', 'ben', q{SELECT source, display_name, workspaces FROM keystone.whoami()} ],
	[ 'a list', 'ana', q{SELECT name, environment, current_version, tags, metadata, expires_at, hint FROM keystone.credentials ORDER BY 1, 2} ],
	[ 'versions', 'ana', q{SELECT credential_id, version, state FROM keystone.credential_versions ORDER BY 1, 2} ],
	[ 'members', 'ana', q{SELECT principal_id, role, extra_permissions, removed_at FROM keystone.members ORDER BY 1, 2} ],
	[ 'a policy', 'ben', q{SELECT keystone.rotate(keystone.credential_id('acme', 'db', 'prod'), 'x')} ],
	[ 'its decision', 'ben', q{SELECT decision, obligations FROM keystone.policy_evaluate('acme', 'rotate', jsonb_build_object('credential', keystone.credential_id('acme', 'db', 'prod')))} ],
	[ 'approvals', 'ben', q{SELECT id, state, reason FROM keystone.approval_requests ORDER BY 1} ],
	[ 'limits', 'ana', q{SELECT l, remaining FROM unnest('{sliding,log,calendar,gcra}'::text[]) l CROSS JOIN LATERAL keystone.limit_peek(l, 'k', 'acme') ORDER BY 1} ],
	[ 'a block', 'ana', q{SELECT allowed FROM keystone.limit_peek('sliding', 'blocked', 'acme')} ],
	[ 'a plan', 'ana', q{SELECT keystone.plan_allows('acme', 'approvals')} ],
	[ 'a quota that is consumed once', 'ana', q{SELECT allowed, included, reservation FROM keystone.quota_consume('acme', 'rotations', 12, 'once')} ],
	[ 'usage', 'ana', q{SELECT operations, cost_micros FROM keystone.usage_summary} ],
	[ 'usage that is recorded once', 'ana', q{SELECT keystone.usage_record('acme', 'openai', 1200, idempotency_key => 'request 42')} ],
	[ 'encrypted columns', 'shop_app', 'SELECT * FROM shop.customers_open ORDER BY 1' ],
	[ 'a blind index', 'shop_app', q{SELECT id FROM shop.customers WHERE email_index = keystone.blind_index('acme', '3@example.com', 'email')} ],
	[ 'a policy of the application', 'ana', 'SELECT count(*) FROM shop.customers' ],
	[ 'and whom it hides all from', 'dora', 'SELECT count(*) FROM shop.customers' ],
	[ 'a column of a type of the extension', 'shop_app', 'SELECT (seen).limit_name, (seen).remaining FROM seen' ],
	[ 'a view of a view', 'shop_app', 'SELECT count(*) FROM shop.vault' ],
	[ 'the log of an audited table', 'shop_app', q{SELECT action, count(*) FROM keystone.audit_log WHERE action LIKE 'table.%' AND seq <= known('entries')::bigint GROUP BY 1 ORDER BY 1} ],
	[ 'settings', 'vault_admin', q{SELECT name, value FROM keystone.settings WHERE name NOT LIKE '%root_key_file' ORDER BY 1} ],
	[ 'seal', 'vault_admin', 'SELECT sealed, current_root_key, pending_rewraps FROM keystone.seal_status' ],
	[ 'rows against the log', 'vault_admin', 'SELECT * FROM keystone.audit_reconcile()' ],
	[ 'every version', 'vault_admin', 'SELECT * FROM keystone.verify_all() ORDER BY 1, 2' ]);

query($old, q{SELECT keystone_private.audit_flush(); INSERT INTO known SELECT 'entries', max(seq) FROM keystone_private.audit_entries});
my %before = map { $_->[0] => try($old, $_->[2], $_->[1]) } @same;
note("$_->[0]: $before{$_->[0]}") foreach @same;
is($before{'a value'}, 'token 5', 'before: a value');
is(join(', ', grep { $before{$_} =~ /^[0-9A-Z]{5}$/ } map { $_->[0] } @same),
	'a destroyed version, a deleted one, a shredded workspace, an offboarded workspace, who was removed, a DBA, an API key elsewhere, a policy', 'before: what is refused');
is($before{$_->[0]}, $_->[1], "before: $_->[0]") foreach [ 'a version that an old key wraps', 'token 3' ], [ 'a shared one', 'own' ], [ 'an API key', 'token 5' ],
  [ 'a policy', 'PT428' ], [ 'a block', 'f' ], [ 'a blind index', 3 ], [ 'a policy of the application', 5 ], [ 'and whom it hides all from', 0 ], [ 'rows against the log', '' ],
  [ 'the log of an audited table', "table.audit|1\ntable.insert|5\ntable.update|1" ], [ 'seal', 'f|k2|0' ], [ 'a column of a type of the extension', 'log|7' ];

# Every row of every table of Keystone, but for what a server writes by itself.
my $tables = <<'EOF2';
SELECT format('SELECT %L, count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE "C")) FROM %s t', oid::regclass, oid::regclass)
FROM pg_class WHERE relkind = 'r' AND relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace)
	AND relname NOT IN ('housekeeping') ORDER BY relname \gexec
EOF2
my $catalog = slurp_file("$FindBin::Bin/catalog.sql");
my $privileges = q{SELECT oid::regprocedure, x FROM pg_proc CROSS JOIN LATERAL unnest(proacl) x
	WHERE pronamespace = 'keystone'::regnamespace AND x::text ~ '^(ana|ben|logs|vault_admin|shop_app)=' ORDER BY oid::regprocedure::text, x::text};
my $log = 'SELECT count(*), max(seq), md5(string_agg(entry::text, chr(10) ORDER BY seq)) FROM keystone_private.audit_entries';
ok(wait_until(20, sub { query($old, 'SELECT count(*) FROM keystone.health WHERE NOT ok') == 0 }), 'before: all is well')
  or diag(query($old, 'SELECT check_name, detail FROM keystone.health WHERE NOT ok'));
ok(wait_until(20, sub { query($old, 'SELECT dirty FROM keystone.limit_stats') == 0 }), 'before: counters of limits are saved');
flush($old);

# The last change before the server stops: its entry still waits to be written.
my $appender = query($old, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'keystone appender' AND datname = 'vault'});
kill 'STOP', $appender;
query($old, q{SELECT keystone.update_metadata(keystone.credential_id('acme', 'large'), '{"description": "the last change"}')}, 'ana');
system("(sleep 0.3; kill -CONT $appender) &");
$old->stop;

# What must be the same, as the old server has left it.
my %kept;

sub remember
{
	my ($server) = @_;
	$kept{rows} = query($server, $tables);
	$kept{log} = query($server, $log);
	$kept{privileges} = query($server, $privileges);
	$kept{entries} = query($server, 'SELECT max(seq) FROM keystone_private.audit_entries');
	is(query($server, 'SELECT count(*) FROM keystone_private.audit_outbox'), 1, 'before: an entry waits to be written');
	return;
}

# --- In binary upgrade mode there are the functions, and nothing else.
sub nothing_runs
{
	my ($name, $server, $bin) = @_;
	my @pg_ctl = ("$bin/pg_ctl", '-s', '-w', '-D', $server->data_dir);
	my $position = -s $server->logfile || 0;
	ok(IPC::Run::run([ @pg_ctl, '-l', $server->logfile, '-o', '-b', 'start' ]), "$name: a server for pg_upgrade");
	remember($server) if !%kept;
	my $sql = sub { return try($server, $_[0]) };
	is($sql->(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'keystone%'}), 0, "$name: no process of Keystone");
	is($sql->(q{SELECT count(*) FROM pg_shmem_allocations WHERE name LIKE 'keystone%'}), 0, "$name: no shared memory");
	is($sql->(q{SELECT count(*) FROM pg_settings WHERE name LIKE 'keystone.%'}), 0, "$name: no setting");
	is($sql->(q{SELECT keystone.reveal('acme', 'token')}), '55000', "$name: no value");
	is($sql->($log), $kept{log}, "$name: no entry");
	IPC::Run::run([ @pg_ctl, '-m', 'fast', 'stop' ]);
	my $said = join "\n", grep { !/upgrade\.pl / && /:  keystone\b|"keystone / } split /\n/, $server->log_since($position);
	is($said, '', "$name: and nothing in the server log");
	return;
}
nothing_runs('binary upgrade, old', $old, $old_bin);

sub pg_upgrade
{
	my ($name, $to, @options) = @_;
	my $directory = $to->basedir . '/upgrade';
	my $said = '';
	mkdir $directory;
	chdir $directory;
	my $ok = IPC::Run::run([ "$new_bin/pg_upgrade", '-d', $old->data_dir, '-D', $to->data_dir, '-b', $old_bin, '-B', $new_bin,
			'-s', $old->host, '-p', $old->port, '-P', $to->port, @options ], '<', \undef, '>&', \$said);
	ok($ok, "$name: pg_upgrade @options");
	if (!$ok)
	{
		diag($said);
		foreach my $file (split /\n/, `find '@{[ $to->data_dir ]}/pg_upgrade_output.d' -type f`)
		{
			diag("$file:\n" . substr slurp_file($file), -3000);
		}
	}
	chdir $FindBin::Bin;
	# Each goes on from where the old one was.
	system('cp', '-r', "$keys/old/.", "$keys/$name") == 0 or die;
	return $ok;
}

# Lines that are in one text only.
sub differences
{
	my ($one, $two) = @_;
	my (%one, %two);
	$one{$_} = 1 foreach split /\n/, $one;
	$two{$_} = 1 foreach split /\n/, $two;
	return join "\n", (map { "- $_" } grep { !$two{$_} } sort keys %one), (map { "+ $_" } grep { !$one{$_} } sort keys %two);
}

# --- After: everything is there, and goes on.
sub is_upgraded
{
	my ($name, $server) = @_;

	is(differences($kept{rows}, query($server, $tables)), '', "I10 $name: every row of every table is the same");
	is(query($server, $log), $kept{log}, "I10 $name: so is the log, and nothing was added");
	is(query($server, $privileges),
		$kept{privileges}, "I10 $name: so are privileges");
	query($server, 'CREATE DATABASE fresh', undef, 'postgres');
	query($server, 'CREATE EXTENSION keystone', undef, 'fresh');
	my $fresh = query($server, $catalog, undef, 'fresh');
	cmp_ok(scalar(split /\n/, $fresh), '>', 1000, "$name: a catalog");
	is(differences($fresh, query($server, $catalog, undef, 'untouched')), '', "I10 $name: the catalog is that of a fresh install");

	# As docs/recovery.md says.
	is(try($server, q{SELECT keystone.reveal('acme', 'token')}, 'ana'), 'PT423', "I10 $name: values are refused before accept_restore()");
	is(try($server, q{SELECT FROM keystone.store('acme', 'token', 'x')}, 'ana'), 'PT423', "I10 $name: so are changes");
	query($server, "SELECT keystone.accept_restore('$name')", 'vault_admin');
	foreach my $what (@same)
	{
		is(try($server, $what->[2], $what->[1]), $before{$what->[0]}, "I10 $name: $what->[0]");
	}
	flush($server);
	is(query($server, 'SELECT epoch, reason, first_seq FROM keystone_private.audit_epochs ORDER BY epoch DESC LIMIT 1'), "2|restored: $name|" . ($kept{entries} + 1),
		"I10 $name: the log goes on in a new epoch");
	is(query($server, q{SELECT count(*) FROM keystone.audit_log WHERE action = 'credential.update' AND detail ->> 'changed' = 'description'}), 1,
		"I10 $name: it has what waited, once");
	is(query($server, 'SELECT min(seq) = 1, count(*) = max(seq) FROM keystone_private.audit_entries'), 't|t', "I10 $name: no entry is missing or doubled");

	goes_on($name, $server);
	is(query($server, 'SELECT ok, problem FROM keystone.audit_verify()', 'logs'), 't|', "I10 $name: the log verifies");
	is(try($server, q{SELECT count(*) > 0, count(*) FILTER (WHERE NOT ok AND problem NOT LIKE '%destroyed') FROM keystone.verify_all()}, 'vault_admin'), 't|0',
		"I10 $name: every version opens");
	ok(wait_until(20, sub { query($server, q{SELECT count(*) FROM keystone.health WHERE NOT ok}) == 0 }), "I10 $name: all is well")
	  or diag(query($server, q{SELECT check_name, detail FROM keystone.health WHERE NOT ok}));
	is(query($server, 'SELECT sealed FROM keystone.seal_status', undef, 'untouched'), 'f', "I10 $name: the other database is open");
	unlike($server->log_since(0), qr/\b(?:WARNING|PANIC):|terminated by signal|\Q$k1\E|\Q$k2\E|token 5/i, "I10 $name: no warning, and no secret, in the server log");
	return;
}

# What each part does next.
sub goes_on
{
	my ($name, $server) = @_;
	my @next = (
		[ 'stores', 'ana', q{SELECT version, action FROM keystone.store('acme', 'token', 'token 6')}, '6|rotated' ],
		[ 'reveals that', 'ben', q{SELECT keystone.reveal('acme', 'token')}, 'token 6' ],
		[ 'an approval is good once', 'ben', q{SELECT version FROM keystone.rotate(keystone.credential_id('acme', 'db', 'prod'), 'db 3', approval => known('approved')::uuid)}, 3 ],
		[ 'and not twice', 'ben', q{SELECT keystone.rotate(keystone.credential_id('acme', 'db', 'prod'), 'db 4', approval => known('approved')::uuid)}, 'PT428' ],
		[ 'one that was pending is voted on', 'carl', q{SELECT keystone.approve(known('pending')::uuid)}, 'approved' ],
		[ 'limits count on', 'ana', q{SELECT remaining FROM keystone.limit_consume('log', 'k', 1, 'acme')}, 6 ],
		[ 'an invitation is accepted', 'dora', q{SELECT keystone.accept_invitation(known('invitation')) IS NOT NULL}, 't' ],
		[ 'a deleted credential comes back', 'ana', q{SELECT keystone.restore_credential((SELECT id FROM keystone.credentials WHERE name = 'gone')); SELECT keystone.reveal('acme', 'gone')}, "\ngone" ],
		[ 'keys rotate', 'ana', q{SELECT keystone.rotate_workspace_key('acme')}, 3 ],
		[ 'and are used', 'ana', q{SELECT keystone.reencrypt('acme') > 0; SELECT keystone.reencrypt('acme')}, "t\n0" ],
		[ 'old ciphertext opens', 'shop_app', q{SELECT email FROM shop.customers_open WHERE id = 4}, '4@example.com' ],
		[ 'an audited table is audited', 'shop_app', q{UPDATE shop.customers SET name = 'Fritz' WHERE id = 3}, '' ],
		[ 'a quota counts on', 'ana', q{SELECT allowed FROM keystone.quota_consume('acme', 'rotations', 1)}, 't' ],
		[ 'a checkpoint is signed', 'logs', q{SELECT keystone.audit_checkpoint() ~ '^example.com/vault'}, 't' ],
		[ 'root keys rotate', 'vault_admin', q{SELECT keystone.rotate_root_key() >= 0}, 't' ]);
	foreach my $step (@next)
	{
		my ($what, $role, $sql, $expected) = @$step;
		is(try($server, $sql, $role), $expected, "I10 $name: $what");
	}
	flush($server);
	is(query($server, qq{SELECT detail ->> 'new.name' FROM keystone.audit_log WHERE action = 'table.update' AND seq > $kept{entries}}, 'shop_app'), 'Fritz',
		"I10 $name: its change is in the log");
	return;
}

# --- By copying, which leaves the old cluster as it is; then by linking.
my $copied = make_node('copied');
ok(pg_upgrade('copied', $copied, '--check'), 'pg_upgrade finds nothing in the way');
if (pg_upgrade('copied', $copied))
{
	nothing_runs('binary upgrade, new', $copied, $new_bin);
	$copied->start;
	is_upgraded('copied', $copied);
	$copied->stop;
}
my $linked = make_node('linked');
if (pg_upgrade('linked', $linked, '--link'))
{
	$linked->start;
	is_upgraded('linked', $linked);
	$linked->stop;
}
done_testing();
