# I10, and I6 for copies: dump and restore, into a fresh database and a fresh
# cluster, with the right root key, another one and none; DROP and CREATE
# EXTENSION; copies of a database; what an installation refuses.
use strict;
use warnings;

use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $key = KeystoneNode::fresh_key();
my $node = KeystoneNode->start(name => 'old', keys => ["k1 $key"],
	conf => "max_worker_processes = 40\nkeystone.max_databases = 16\n");
my $base = $node->basedir;

# query DATABASE SQL [ROLE [NODE]]
sub query
{
	my ($database, $sql, $role, $server) = @_;
	return ($server // $node)->safe_psql($database, $sql, $role ? (extra_params => [ '-U', $role ]) : ());
}

# The SQLSTATE of a failing statement, and its text with hint.
sub failure
{
	my ($database, $sql, $role, $server) = @_;
	my $err = '';
	($server // $node)->psql($database, $sql, stderr => \$err, on_error_stop => 1,
		extra_params => [ '-v', 'VERBOSITY=verbose', $role ? ('-U', $role) : () ]);
	return $err;
}

# Something of everything that is dumped.
query('postgres', 'CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE nobody LOGIN');
query('postgres', 'CREATE DATABASE vault');
query('vault', <<'EOF2');
CREATE EXTENSION keystone;
SELECT keystone.grant_access(r, 'client') FROM unnest('{alice,bob}'::name[]) r;
SELECT keystone.register_principal('Bob', db_role => 'bob', external_id => 'bob@example.org');
SELECT keystone.provider_define('ours', 'shared_key', label => 'Our own', value_pattern => '^own-');
SELECT keystone.provider_define('openai', 'shared_key', label => 'OpenAI, by us');
EOF2
query('vault', <<'EOF2', 'alice');
SELECT keystone.create_workspace('acme', 'The Acme "Company"');
SELECT keystone.personal_workspace();
SELECT keystone.store('acme', 'token', 'value ' || i) FROM generate_series(1, 5) i;
SELECT keystone.store('acme', 'ours', 'own-1', provider => 'ours', tags => '{a,"b c"}', metadata => '{"a": [1, "\u00e9\t"]}', description => E'tab\tand\nline');
SELECT keystone.store('acme', 'mine', 'personal', personal => true, expires_at => '2099-01-01');
SELECT keystone.store('acme', 'large', repeat('large ', 10000));
SELECT keystone.store('acme', 'deleted', 'deleted');
SELECT keystone.delete_credential(keystone.credential_id('acme', 'deleted'));
SELECT keystone.store('acme', 'destroyed', 'destroyed');
SELECT keystone.destroy_credential(keystone.credential_id('acme', 'destroyed'));
SELECT keystone.provider_configure('acme', 'ours', config => '{"a": 1}');
EOF2
my $bob = query('vault', q{SELECT keystone.current_principal()}, 'bob');
query('vault', qq{SELECT keystone.add_member('acme', '$bob', 'viewer', '{reveal}')}, 'alice');

# What a copy must have, as superuser and as members.
sub contents
{
	my ($database, $server) = @_;
	return join "\n",
	  query($database, <<'EOF2', undef, $server),
SELECT count(*), count(*) FILTER (WHERE NOT ok) FROM keystone.verify_all();
SELECT * FROM keystone.providers ORDER BY name;
SELECT * FROM keystone.principals ORDER BY id;
SELECT * FROM keystone_private.external_ids ORDER BY 1;
SELECT * FROM keystone.workspaces ORDER BY id;
SELECT * FROM keystone.members ORDER BY 1, 2;
SELECT * FROM keystone.provider_configs;
SELECT * FROM keystone_private.credentials ORDER BY id;
SELECT * FROM keystone.credential_versions ORDER BY 1, 2, 3;
SELECT * FROM keystone_private.profile_grants ORDER BY 1, 2;
SELECT check_name, ok FROM keystone.health;
SELECT relname, relacl FROM pg_class WHERE relnamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace) ORDER BY 1;
SELECT proname, proacl FROM pg_proc WHERE pronamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace) ORDER BY 1;
SELECT nspname, nspacl FROM pg_namespace WHERE nspname ~ '^keystone' ORDER BY 1;
EOF2
	  query($database, q{SELECT * FROM keystone.reveal_env('acme'); SELECT keystone.reveal('acme', 'token', version => 2); SELECT principal, workspaces FROM keystone.whoami()}, 'alice', $server),
	  query($database, q{SELECT * FROM keystone.reveal_env('acme'); SELECT slug FROM keystone.workspaces}, 'bob', $server);
}

# And that one can go on with it.
sub is_a_copy
{
	my ($name, $database, $original, $server) = @_;
	like(failure($database, q{SELECT keystone.reveal('acme', 'token')}, 'alice', $server), qr/ERROR:  PT423/,
		"$name: no value before the copy is accepted");
	query($database, q{SELECT keystone.accept_restore('a copy for the test')}, undef, $server);
	is(contents($database, $server), $original, "$name: everything is there, and works for members");
	is( query($database, q{SELECT version FROM keystone.store('acme', 'token', 'after'); SELECT keystone.reveal('acme', 'token')}, 'alice', $server),
		"6\nafter", "$name: new versions can be stored");
	query($database, q{SELECT keystone.restore_credential(id) FROM keystone.credentials WHERE name = 'deleted'; SELECT keystone.create_workspace('another')}, 'alice', $server);
	is(query($database, q{SELECT keystone.reveal('acme', 'deleted')}, 'alice', $server), 'deleted', "$name: a deleted credential can be restored");
	like(failure($database, q{SELECT keystone.whoami()}, 'nobody', $server), qr/ERROR:  42501/, "$name: others have no access");
	like(failure($database, q{SELECT keystone.store('acme', 'x', 'y')}, 'bob', $server), qr/ERROR:  42501/, "$name: a viewer does not store");
	return;
}

my $original = contents('vault');
like($original, qr/^value 5$|\|value 5\|/m, 'the original has its values');
like($original, qr/^9\|0$/m, 'and all of them open');

sub dump_to
{
	my ($file, @options) = @_;
	command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', "$base/$file", @options ], "pg_dump to $file");
	return;
}

sub restore
{
	my ($server, $database, $file, @options) = @_;
	my ($out, $err) = run_command([ 'pg_restore', '-h', $server->host, '-p', $server->port, '-e', '-d', $database, @options, "$base/$file" ]);
	is($err, '', "pg_restore of $file");
	return;
}

dump_to('plain.sql', 'vault');
dump_to('custom', '-Fc', 'vault');
dump_to('schema', '-Fc', '--schema-only', 'vault');
dump_to('data', '-Fc', '--data-only', 'vault');
my $plain = slurp_file("$base/plain.sql");
like($plain, qr/COPY keystone_private\.ciphertext /, 'the dump has the ciphertext');
unlike($plain, qr/COPY keystone_private\.provider_catalogue /, 'it has no row of the catalogue');
unlike($plain, qr/CREATE (TABLE|FUNCTION|SCHEMA) keystone/, 'nor an object of the extension');
unlike($plain, qr/value 5|own-1|large large/, 'nor a value');

# Into fresh databases of the same cluster.
query('postgres', "CREATE DATABASE $_") foreach qw(from_plain from_custom from_parallel from_parts from_single);
command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('from_plain'), '-o', "$base/out", '-f', "$base/plain.sql" ], 'psql restores');
is_a_copy('a plain dump', 'from_plain', $original);
restore($node, 'from_custom', 'custom');
is_a_copy('a custom dump', 'from_custom', $original);
{
	# pg_restore does not know that the data of one table of an extension must
	# come before that of another: without this the foreign keys fail.
	local $ENV{PGOPTIONS} = '-c session_replication_role=replica';
	restore($node, 'from_parallel', 'custom', '-j', '3');
}
is_a_copy('restored in parallel', 'from_parallel', $original);
restore($node, 'from_single', 'custom', '--single-transaction');
is_a_copy('restored in one transaction', 'from_single', $original);
restore($node, 'from_parts', 'schema');
restore($node, 'from_parts', 'data');
is_a_copy('schema, then data', 'from_parts', $original);

# A copy of the files.
query('postgres', 'CREATE DATABASE template_copy TEMPLATE vault');
is_a_copy('CREATE DATABASE ... TEMPLATE', 'template_copy', $original);
is(query('postgres', 'ALTER DATABASE template_copy RENAME TO renamed; DROP DATABASE renamed; SELECT 1'), 1,
	'a database can be renamed and dropped while the launcher runs');

# Into a fresh cluster.
my $new = KeystoneNode->start(name => 'new', keys => ["k1 $key"]);
query('postgres', 'CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE nobody LOGIN; CREATE DATABASE vault', undef, $new);
restore($new, 'vault', 'custom');
is_a_copy('a fresh cluster', 'vault', $original, $new);

# With wrong keys: sealed, says why, and takes nothing.
sub is_sealed
{
	my ($name, $reason) = @_;
	my $count = q{SELECT (SELECT count(*) FROM keystone_private.credentials), (SELECT count(*) FROM keystone.credential_versions),
		(SELECT count(*) FROM keystone_private.workspace_keys), (SELECT count(*) FROM keystone.workspaces),
		(SELECT count(*) FROM keystone.principals), (SELECT count(*) FROM keystone.members), (SELECT count(*) FROM keystone_private.root_keys),
		(SELECT count(*) FROM keystone_private.profile_grants), (SELECT count(*) FROM keystone_private.provider_definitions)};
	like(query('vault', 'SELECT sealed, reason FROM keystone.seal_status', undef, $new), $reason, "$name: sealed, with the reason");
	my $before = query('vault', $count, undef, $new);
	foreach my $sql (
		q{keystone.store('acme', 'x', 'y')}, q{keystone.rotate(id, 'y') FROM keystone.credentials WHERE name = 'token'},
		q{keystone.create_workspace('sealed')}, q{keystone.import_env('acme', 'A=b')}, q{keystone.reveal('acme', 'token')},
		q{keystone.rename(id, '{"name": "x"}') FROM keystone.credentials WHERE name = 'token'}, q{keystone.verify_all()},
		q{count(*) FROM keystone.reveal_env('acme')}, q{keystone.delete_credential(id) FROM keystone.credentials WHERE name = 'token'})
	{
		like(failure('vault', "SELECT $sql", 'alice', $new), qr/ERROR:  PT423/, "$name: $sql");
	}
	foreach my $sql (
		q{keystone.register_principal('sealed')}, q{keystone.grant_access('nobody', 'client')},
		q{keystone.create_workspace('sealed')}, q{keystone.revoke_access('bob', 'client')},
		q{keystone.remove_member('acme', id) FROM keystone.principals WHERE db_role = 'bob'})
	{
		like(failure('vault', "SELECT $sql", undef, $new), qr/ERROR:  PT423/, "$name: $sql");
	}
	is(query('vault', $count, undef, $new), $before, "$name: nothing was written");
	is(query('vault', q{SELECT count(*) > 5 FROM keystone.credentials}, 'alice', $new), 't', "$name: metadata can be read");
	return;
}

sub use_keys
{
	my ($expected, @lines) = @_;
	$new->write_root_keys(@lines);
	$new->reload_and_wait(database => 'vault', expected => $expected);
	return;
}
use_keys('t', 'k1 ' . KeystoneNode::fresh_key());
is_sealed('another key by the same id', qr/^t\|root key "k1" is not the key that this database knows by that name/);
use_keys('f', "k1 $key");
use_keys('t', 'k2 ' . KeystoneNode::fresh_key());
is_sealed('a keyring without the id', qr/^t\|root key "k1" .*not in the keyring/);
is(query('postgres', 'CREATE EXTENSION keystone; SELECT sealed FROM keystone.seal_status', undef, $new), 'f', 'another database is open with that key');
use_keys('f', 'k2 ' . KeystoneNode::fresh_key(), "k1 $key");
is(query('vault', q{SELECT keystone.reveal('acme', 'token')}, 'alice', $new), 'after', 'with its key the database opens');
$new->stop;

# DROP and CREATE EXTENSION, in one session and with another that stays.
my $stays = $node->background_psql('from_plain', on_error_stop => 0);
$stays->query_safe(q{SELECT keystone.create_workspace('before'); SELECT keystone.store('before', 'a', 'b')});
is(query('from_plain', <<'EOF2'), "0\nagain", 'DROP and CREATE EXTENSION in one session');
SELECT FROM keystone.create_workspace('first');
SELECT FROM keystone.store('first', 'a', 'b');
DROP EXTENSION keystone;
SELECT count(*) FROM pg_namespace WHERE nspname ~ '^keystone';
CREATE EXTENSION keystone;
SELECT FROM keystone.create_workspace('again');
SELECT FROM keystone.store('again', 'a', 'again');
SELECT keystone.reveal('again', 'a');
EOF2
$stays->query_safe(q{SELECT keystone.grant_access('alice', 'client')});
$stays->query_safe(q{SELECT keystone.create_workspace('stays')});
$stays->query_safe(q{SELECT keystone.store('stays', 'a', 'stayed')});
$stays->quit;
is(query('from_plain', q{SELECT keystone.reveal(w, 'a') FROM unnest('{again,stays}'::text[]) w}), "again\nstayed",
	'what both wrote is there for a new session');
is(query('from_plain', 'SELECT count(*) FROM keystone.health WHERE NOT ok'), 0, 'and authentic');
query('from_plain', q{SELECT keystone.create_workspace('alices')}, 'alice');

# Rolled back, the old one stays.
is(query('from_custom', <<'EOF2', 'alice'), 'after', 'a session in use');
SELECT keystone.reveal('acme', 'token');
EOF2
is(query('from_custom', <<'EOF2'), "f", 'DROP EXTENSION rolled back');
SELECT FROM keystone.create_workspace('rolled');
BEGIN; DROP EXTENSION keystone; CREATE EXTENSION keystone; SELECT FROM keystone.create_workspace('rolled'); ROLLBACK;
SELECT FROM keystone.store('rolled', 'a', 'b');
SELECT keystone.reveal('rolled', 'a') IS NULL;
EOF2
is(query('from_custom', q{SELECT count(*) FROM keystone.verify_all() WHERE NOT ok; SELECT keystone.reveal('rolled', 'a')}), "0\nb",
	'the vault is as it was');

# Default privileges that give everything to others (Supabase has such).
query('postgres', 'CREATE DATABASE generous');
query('generous', join "\n", map { my $kind = $_; map { "ALTER DEFAULT PRIVILEGES GRANT ALL ON $kind TO $_;" } ('bob', 'PUBLIC') }
	  qw(TABLES SEQUENCES ROUTINES TYPES SCHEMAS));
query('generous', 'CREATE EXTENSION keystone');
is(query('generous', <<'EOF2'), 'type text/plain USAGE for PUBLIC', 'default privileges leave no grant');
SELECT DISTINCT concat_ws(' ', kind, name, privilege_type, 'for', CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
FROM (
	SELECT 'schema' AS kind, nspname AS name, nspowner AS owner, coalesce(nspacl, acldefault('n', nspowner)) AS acl FROM pg_namespace WHERE nspname ~ '^keystone'
	UNION ALL SELECT 'relation', relname, relowner, coalesce(relacl, acldefault('r', relowner)) FROM pg_class WHERE relnamespace::regnamespace::text ~ '^keystone' AND relkind IN ('r', 'v', 'S')
	UNION ALL SELECT 'routine', proname, proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc WHERE pronamespace::regnamespace::text ~ '^keystone'
	UNION ALL SELECT 'type', typname, typowner, coalesce(typacl, acldefault('T', typowner)) FROM pg_type WHERE typnamespace::regnamespace::text ~ '^keystone' AND typtype = 'd'
) o, aclexplode(acl) a WHERE grantee <> owner
EOF2

# Who may not install it, and where.
query('postgres', 'CREATE ROLE dbowner LOGIN; CREATE DATABASE owned OWNER dbowner');
like(failure('owned', 'CREATE EXTENSION keystone', 'dbowner'), qr/ERROR:  42501/, 'the owner of a database does not install it');
foreach my $encoding ('LATIN1', 'SQL_ASCII')
{
	query('postgres', "CREATE DATABASE \L$encoding\E ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	like(failure(lc $encoding, 'CREATE EXTENSION keystone'), qr/ERROR:  0A000: keystone needs a database with encoding UTF8, not $encoding/,
		"a database with encoding $encoding is refused");
	is(query(lc $encoding, q{SELECT count(*) FROM pg_namespace WHERE nspname ~ '^keystone'}), 0, "$encoding: nothing is left");
}

# Not preloaded: nothing works, and says why.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
my $not_preloaded = qr/ERROR:  55000: .*shared_preload_libraries.*HINT:  [^\n]*shared_preload_libraries/s;
query('postgres', 'CREATE DATABASE late');
like(failure('late', 'CREATE EXTENSION keystone'), $not_preloaded, 'not preloaded: CREATE EXTENSION');
like(failure('late', "LOAD 'keystone'; CREATE EXTENSION keystone"), $not_preloaded, 'not preloaded, but loaded: CREATE EXTENSION');

my $calls = query('vault', <<'EOF2');
SELECT p.oid::regprocedure, format('%s %s(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT * FROM' END, p.oid::regproc,
	(SELECT string_agg(CASE
		WHEN p.proargnames[n] = 'requests' THEN '''[{"name": "x", "key": "x"}]''' WHEN p.proargnames[n] = 'permission' THEN '''view''' WHEN p.proargnames[n] = 'profile' THEN '''client''' ELSE CASE t::regtype::text
		WHEN 'uuid' THEN 'gen_random_uuid()' WHEN 'boolean' THEN 'true' WHEN 'integer' THEN '1' WHEN 'bigint' THEN '1' WHEN 'jsonb' THEN '''{}'''
		WHEN 'text[]' THEN '''{}''' WHEN 'uuid[]' THEN '''{}''' WHEN 'bigint[]' THEN '''{}''' WHEN 'interval' THEN '''1 day''' WHEN 'timestamp with time zone' THEN 'now()'
		WHEN 'keystone.limit_result' THEN 'NULL' WHEN 'regclass' THEN '''pg_class''' WHEN 'name[]' THEN '''{}'''
		ELSE '''x''' END END, ', ' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY u (t, n)))
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace IN ('keystone'::regnamespace, 'keystone_private'::regnamespace) AND l.lanname = 'c' AND p.prorettype <> 'trigger'::regtype
	AND p.proname NOT IN ('audit_decode', 'period_at', 'cedar_authorize', 'policy_validate') -- functions of their arguments alone
ORDER BY 1
EOF2
my @calls = map { [ split /\|/, $_, 2 ] } split /\n/, $calls;
cmp_ok(scalar @calls, '>', 40, 'functions are there');
my @wrong;
foreach my $call (@calls)
{
	my $err = failure('vault', $call->[1]);
	push @wrong, "$call->[0]: $err" unless $err =~ $not_preloaded;
}
is(join("\n", @wrong), '', 'not preloaded: each function fails with 55000 and a hint');
foreach my $view ('seal_status', 'health', 'credentials')
{
	my $err = failure('vault', "SELECT * FROM keystone.$view", $view eq 'credentials' ? 'alice' : undef);
	like($err, $not_preloaded, "not preloaded: view $view");
}
is(query('vault', 'SELECT count(*) > 5 FROM keystone.credentials'), 't', 'the server is up');
unlike($node->log_since(0), qr/terminated by signal|PANIC/, 'no process has crashed');

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'keystone'");
$node->restart;
is(contents('vault'), $original, 'preloaded again: everything is there');
$node->stop;
done_testing();
