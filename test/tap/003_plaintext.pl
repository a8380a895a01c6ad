# I1: no plaintext outside memory.  Values are stored in every way, as literals
# and as bind parameters, with success and without, while the server logs and
# counts all that it can.  Then everything that the server has written or shows
# is searched for them, in several encodings.  A control word, written to an
# ordinary table and in ordinary statements, shows that the search finds.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(has_library pgbench);
use PlaintextScan;
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'zqSecretWordXvKwJ';
my $control = 'qzControlWordYvWk';
my $utility = 'xqUtilityWordVkZj';

my $has_statements = has_library('pg_stat_statements');
my $has_decoding = has_library('test_decoding');

my $node = KeystoneNode->start(
	name => 'plaintext',
	init => [ allows_streaming => 'logical' ],
	conf => ($has_statements
		? "shared_preload_libraries = 'pg_stat_statements,keystone'\npg_stat_statements.track = all\n"
		: '')
	  . <<'EOF2');
log_statement = all
log_min_duration_statement = 0
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_min_error_statement = debug5
log_temp_files = 0
log_lock_waits = on
track_activities = on
track_activity_query_size = 64kB
max_prepared_transactions = 5
wal_log_hints = on
autovacuum = off
EOF2

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

my $scan = PlaintextScan->new(secret => $secret, control => $control, utility => $utility);

# A value of its own for each use: "zqSecretWordXvKwJ-017-end".  What keystone
# keeps as a hint is the end.
my $values = 0;
sub value { return sprintf '%s-%03d-end', $secret, ++$values }

query('CREATE EXTENSION keystone');
query('CREATE EXTENSION pg_stat_statements') if $has_statements;
query(q{CREATE PUBLICATION everything FOR ALL TABLES});
query(q{SELECT pg_create_logical_replication_slot('decoded', 'test_decoding')}) if $has_decoding;
query(q{SELECT pg_create_logical_replication_slot('published', 'pgoutput')});
query(q{SELECT keystone.create_workspace('acme')});
query(<<'EOF2');
CREATE ROLE stranger LOGIN;
SELECT keystone.grant_access('stranger', 'client');
SELECT keystone.register_principal('stranger', db_role => 'stranger');
EOF2

# Statements that take a value as :v, in one transaction each unless they say
# otherwise.  :n is a number of its own for each run.
my @good = (
	q{SELECT keystone.store('acme', 'plain:n', :v);},
	q{SELECT keystone.store('acme', 'plain:n', :v, expected_version => 1);},
	q{SELECT keystone.store('acme', 'personal:n', :v, personal => true);},
	q{SELECT keystone.store(workspace => 'acme', name => 'all:n', value => 'sk-' || :v, environment => 'prod', provider => 'openai',
		kind => 'api_key', expires_at => now() + interval '1 day', description => 'd', tags => '{a,b}', metadata => '{"a": 1}');},
	q{SELECT keystone.store('acme', 'pending:n', :v, state => 'pending');},
	q{SELECT keystone.promote(keystone.credential_id('acme', 'pending:n'), 1);},
	q{SELECT keystone.store('acme', 'json:n', '{"user": "u", "password": "' || :v || '"}');},
	q{SELECT keystone.rotate(keystone.credential_id('acme', 'plain:n'), :v);},
	q{SELECT keystone.rotate(keystone.credential_id('acme', 'plain:n'), :v, dry_run => true);},
	q{SELECT * FROM keystone.import_env('acme', 'A:n=' || :v || E'\nB:n="' || :v || E' two"\n');},
	q{SELECT keystone.store('acme', 'compressible:n', repeat(:v || ' and so on ', 1000));},
	"BEGIN;\nSELECT keystone.store('acme', 'gone:n', :v);\nROLLBACK;",
	"BEGIN;\nSAVEPOINT s;\nSELECT keystone.store('acme', 'saved:n', :v);\nROLLBACK TO s;\n"
	  . "SELECT keystone.store('acme', 'saved:n', :v);\nRELEASE s;\nCOMMIT;",
	"BEGIN;\nSELECT keystone.store('acme', 'two_phases:n', :v);\nPREPARE TRANSACTION 'p:n';\nCOMMIT PREPARED 'p:n';",
	"BEGIN;\nSELECT keystone.store('acme', 'two_phases_gone:n', :v);\nPREPARE TRANSACTION 'q:n';\nROLLBACK PREPARED 'q:n';");

# What fails, and how.
my @bad = (
	[ 'no such workspace', 'PT404', q{SELECT keystone.store('nowhere', 'x', :v)} ],
	[ 'a value for a workspace', '22023', q{SELECT keystone.store(:v, 'x', 'y')} ],
	[ 'NULL for a workspace', '22004', q{SELECT keystone.store(NULL, 'x', :v)} ],
	[ 'NULL for a name', '22004', q{SELECT keystone.store('acme', NULL, :v)} ],
	[ 'an empty name', '22023', q{SELECT keystone.store('acme', '', :v)} ],
	[ 'a value that is too long', '22023', q{SELECT keystone.store('acme', 'x', repeat(:v, 5000))} ],
	[ 'not what the provider gives out', '22023', q{SELECT keystone.store('acme', 'x', :v, provider => 'openai')} ],
	[ 'an unknown provider', '22023', q{SELECT keystone.store('acme', 'x', :v, provider => 'unknown')} ],
	[ 'a duplicate', 'PT409', q{SELECT keystone.store('acme', 'taken', :v, expected_version => 0)} ],
	[ 'another version', 'PT409', q{SELECT keystone.store('acme', 'taken', :v, expected_version => 99)} ],
	[ 'an unknown state', '22023', q{SELECT keystone.store('acme', 'x', :v, state => 'done')} ],
	[ 'metadata that is no object', '22023', q{SELECT keystone.store('acme', 'x', :v, metadata => '[]')} ],
	[ 'an unknown approval', 'PT428', q{SELECT keystone.store('acme', 'x', :v, approval => gen_random_uuid())} ],
	[ 'rotate of nothing', 'PT404', q{SELECT keystone.rotate(gen_random_uuid(), :v)} ],
	[ 'rotate of another version', 'PT409', q{SELECT keystone.rotate(keystone.credential_id('acme', 'taken'), :v, 99)} ],
	[ 'import of no assignment', '22023', q{SELECT keystone.import_env('acme', :v)} ],
	[ 'import of an open quote', '22023', q{SELECT keystone.import_env('acme', 'A=b' || E'\nKEY="' || :v)} ],
	[ 'an error elsewhere', '22012', q{SELECT keystone.store('acme', 'x', :v), 1 / (random() < 0)::int} ],
	[ 'a constraint', '23514', q{SELECT keystone.store('acme', 'x', :v, environment => 'forbidden')} ],
	[ 'a transaction that only reads', '25006', "BEGIN READ ONLY;\nSELECT keystone.store('acme', 'x', :v);\nCOMMIT" ],
	[ 'no member', 'PT404', q{SELECT keystone.store('acme', 'x', :v)}, 'stranger' ]);

# The detail of its error has the row.
query(q{ALTER TABLE keystone_private.credentials ADD CONSTRAINT credentials_forbidden CHECK (environment <> 'forbidden')});
query(q{SELECT keystone.store('acme', 'taken', 'x')});

# As a literal.
sub with_literal
{
	my ($sql, $value, $n) = @_;
	$sql =~ s/:v\b/'$value'/g;
	$sql =~ s/:n\b/$n/g;
	return $sql;
}

my $large = join '', map { value() . KeystoneNode::fresh_key() } 1 .. 600;
query(with_literal($_, value(), 1)) foreach @good;
query(with_literal($good[0], $large, 2));
is(query(q{SELECT keystone.reveal('acme', 'plain2')}), $large, 'a large value is stored');

foreach my $case (@bad)
{
	my ($name, $expected, $sql, $role) = @$case;
	my @as = $role ? (extra_params => [ '-U', $role ]) : ();
	is($node->psql_err('postgres', with_literal($sql, value(), 3) . ';', @as), $expected, "as a literal, $name: $expected");
}

# As a bind parameter, for the protocol's extended query.
sub pgbench_bound
{
	my ($mode, $value, $n, $role, @scripts) = @_;
	my $script = join "\n", @scripts;
	$script =~ s/:v\b/(:v)::text/g;
	$script =~ s/:n\b/$n/g;
	return pgbench($node, [$script], '-M', $mode, '-t', '1', '-D', "v=$value", '-U', $role, 'postgres');
}

my $me = query('SELECT current_user');
foreach my $mode (qw(extended prepared))
{
	my ($ok, $output) = pgbench_bound($mode, value(), "_$mode", $me, @good);
	ok($ok, "as a parameter, $mode: good statements") or diag($output);
	like(query("SELECT keystone.reveal('acme', 'saved_$mode')"), qr/^$secret-\d+-end$/, "$mode: it was bound");
}
ok(pgbench_bound('extended', $large, 3, $me, $good[0]), 'a large parameter');

foreach my $case (@bad)
{
	my ($name, undef, $sql, $role) = @$case;
	my ($ok, $output) = pgbench_bound('extended', value(), 4, $role // $me, "$sql;");
	ok(!$ok && $output =~ /ERROR:/, "as a parameter, $name: fails") or diag($output);
}

# As a literal in statements that pg_stat_statements takes as they are.
foreach my $sql (
	q{DO $$ BEGIN PERFORM keystone.store('acme', 'utility', :v); END $$},
	q{EXPLAIN ANALYZE SELECT keystone.store('acme', 'utility', :v)},
	q{COPY (SELECT keystone.store('acme', 'utility', :v)) TO STDOUT},
	q{CREATE TABLE made AS SELECT s.action FROM keystone.store('acme', 'utility', :v) s},
	q{PREPARE p AS SELECT keystone.store('acme', 'utility', :v)},
	q{BEGIN; DECLARE c CURSOR FOR SELECT keystone.store('acme', 'utility', :v); FETCH c; COMMIT})
{
	is($node->psql_err('postgres', with_literal($sql, "$utility-end", 0) . ';'), '00000', "a literal: $sql");
}

# Many at once: a file of a thousand entries.
my $file = join "\n", map { "MANY_$_=" . value() } 1 .. 1000;
is(query("SELECT count(*) FROM keystone.import_env('acme', '$file', 'many')"), 1000, 'a large import');

# What opens values and seals them again, and what shows them to the caller.
query(<<'EOF2');
SELECT keystone.rename(keystone.credential_id('acme', 'plain1'), '{"name": "renamed", "environment": "stage"}');
SELECT keystone.update_metadata(keystone.credential_id('acme', 'renamed', 'stage'), '{"metadata": {"b": 2}, "expires_at": "2099-01-01"}');
SELECT keystone.rollback_to(keystone.credential_id('acme', 'renamed', 'stage'), 1);
SELECT keystone.mark_verified(keystone.credential_id('acme', 'renamed', 'stage'), true);
SELECT keystone.destroy_version(keystone.credential_id('acme', 'renamed', 'stage'), 2);
SELECT keystone.delete_credential(keystone.credential_id('acme', 'compressible1'));
SELECT keystone.destroy_credential(keystone.credential_id('acme', 'saved1'));
EOF2
like(query(q{SELECT keystone.reveal('acme', 'renamed', 'stage')}), qr/^$secret/, 'values are sealed again');
my $shown = query(<<'EOF2');
SELECT keystone.reveal('acme', 'json1', field => 'password');
SELECT keystone.reveal_by_id(keystone.credential_id('acme', 'json1'));
SELECT * FROM keystone.reveal_many(ARRAY(SELECT id FROM keystone.credentials));
SELECT * FROM keystone.reveal_env('acme');
SELECT * FROM keystone.reveal_env('acme', names => '{json1,none}');
SELECT keystone.export_env('acme', 'many');
SELECT count(*) FROM keystone.verify_all();
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM keystone.reveal_env('acme');
FETCH ALL FROM c;
COMMIT;
EOF2
cmp_ok(scalar(() = $shown =~ /$secret/g), '>', 2000, 'values are shown to the caller');
is(query('SELECT count(*) FROM keystone.verify_all() WHERE NOT ok'), 0, 'all versions open');

# A result of several megabytes stays in memory.
query(q{SELECT count(keystone.store('acme', 'big ' || i, repeat(md5(i::text), 1900), 'big')) FROM generate_series(1, 100) i});
my $before = -s $node->logfile;
is($node->safe_psql('postgres', <<'EOF2'), "6080000\n6080000\n6080000", 'large results');
SET work_mem = '64kB';
SELECT sum(length(value)) FROM keystone.reveal_env('acme', 'big');
SELECT sum(length(value)) FROM keystone.reveal_many(ARRAY(SELECT id FROM keystone.credentials WHERE environment = 'big'));
SELECT sum(length((r).value)) FROM (SELECT keystone.reveal_env('acme', 'big') AS r) x;
EOF2
unlike($node->log_since($before), qr/temporary file/, 'no temporary file is written for them');
query(q{SET work_mem = '64kB'; SELECT count(*) FROM generate_series(1, 100000)});
like($node->log_since($before), qr/temporary file/, 'one is for others');

# The control word, in the same ways and forms.  Each twice: one of two records
# may have a page's header in its midst.
query('CREATE TABLE ordinary (id serial PRIMARY KEY, t text, b bytea)');
query(qq{INSERT INTO ordinary (t) SELECT unnest(ARRAY['$control', lower('$control'), upper('$control'),
		encode('$control', 'hex'), upper(encode('$control', 'hex')), encode('$control', 'base64'),
		encode('1$control', 'base64'), encode('12$control', 'base64')])}) foreach 1, 2;
query(qq{INSERT INTO ordinary (t) VALUES (repeat('$control and so on ', 1000));});
foreach my $utf16 (('v*', 'n*') x 2)
{
	query(q{INSERT INTO ordinary (b) VALUES ('\x} . unpack('H*', pack $utf16, unpack 'C*', $control) . q{')});
}
my $long = join '', map { $control . KeystoneNode::fresh_key() } 1 .. 600;
query(qq{INSERT INTO ordinary (t) VALUES ('$long')});
query(qq{SELECT 1 AS "$control"});
isnt($node->psql_err('postgres', "SELECT '$control'::int"), '00000', 'an ordinary error');
ok(pgbench($node, ["SELECT length((:v)::text);"], '-M', 'extended', '-t', '1', '-D', "v=$control", 'postgres'),
	'an ordinary parameter');

# Sessions that are idle after a statement.
my $session = $node->background_psql('postgres');
my $idle = $node->background_psql('postgres');
$session->query(q{SELECT action FROM keystone.store('acme', 'idle', '} . value() . q{')});
$idle->query(qq{SELECT '$control'});

# What the server shows.
$scan->look('activity', query(q{SELECT string_agg(query, ' ') FROM pg_stat_activity WHERE pid <> pg_backend_pid()}));
$scan->look('statements', query('SELECT query FROM pg_stat_statements')) if $has_statements;
$_->quit foreach $session, $idle;

# What leaves it.
if ($has_decoding)
{
	my $decoded = query(q{SELECT data FROM pg_logical_slot_get_changes('decoded', NULL, NULL)});
	like($decoded, qr/table keystone_private\.ciphertext: INSERT:/, 'ciphertext is decoded');
	$scan->look('decoded', $decoded);
}
my $published = query(
	q{SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('published', NULL, NULL, 'proto_version', '1', 'publication_names', 'everything')});
$scan->look('published', join "\n", map { pack 'H*', $_ } split /\n/, $published);
foreach my $program ('pg_dump', 'pg_dumpall')
{
	my ($dump, $stderr) = run_command([ $program, '-h', $node->host, '-p', $node->port, $program eq 'pg_dump' ? 'postgres' : () ]);
	like($dump, qr/COPY keystone_private\.ciphertext/, "$program has the ciphertext");
	$scan->look($program, $dump);
}

# What it has written.
query('CHECKPOINT');
my $data = $node->data_dir;
$scan->look_below("$data/pg_stat_tmp", sub { 'pg_stat_tmp' });
$node->stop;
$scan->look_below($data, sub { my ($path) = @_; return (split m{/}, $path)[0] });
$scan->look('log', slurp_file($node->logfile));

my %control = $scan->found('control');
foreach my $place ('activity', 'published', 'pg_dump', 'pg_dumpall', 'base', 'pg_wal', 'log')
{
	ok($control{"$place: plain"}, "control: $place is searched");
}
foreach my $form ('lower case', 'upper case', 'hex', 'HEX', 'piece', 'base64 at 0', 'base64 at 1', 'base64 at 2', 'UTF-16LE', 'UTF-16BE')
{
	ok($control{"base: $form"}, "control: $form is found in a table");
	ok($control{"pg_wal: $form"}, "control: $form is found in the WAL");
}
SKIP:
{
	skip 'pg_stat_statements is not installed', 2 unless $has_statements;
	ok($control{'statements: plain'}, 'control: pg_stat_statements is searched');
	ok($control{'pg_stat: plain'}, 'control: its file is searched');
}
SKIP:
{
	skip 'test_decoding is not installed', 1 unless $has_decoding;
	ok($control{'decoded: plain'}, 'control: decoded changes are searched');
}

my %utility = $scan->found('utility');
sub found_utility { return join "\n", map { "$_: $utility{$_}" } grep { (/^(statements|pg_stat|pg_stat_tmp):/) == $_[0] } sort keys %utility }
is(found_utility(0), '', 'no literal of another statement is found');
SKIP:
{
	is(found_utility(1), '', 'not in pg_stat_statements either');
}

my %secret = $scan->found('secret');
is(join("\n", map { "$_: $secret{$_}" } sort keys %secret), '', 'no value is found anywhere');
done_testing();
