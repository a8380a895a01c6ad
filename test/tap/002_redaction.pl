# I1: a secret that stands in a statement, or was bound to one, is in no line
# of the server's log and in no text of pg_stat_activity, whatever the server
# is told to log.
use strict;
use warnings;

use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# What nothing may show, and a number, for pgbench can bind only numbers.
my $marker = 'zqMARKERqz';
my $number = '7731994477';

# Tokens, of which nothing may show this: an API key is hexadecimal, and a JSON
# Web Token has the marker.
my $hex = 'facade7731facade';
my $api_key = 'ks_0123456789ab_' . $hex x 4;
my $jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJub2JvZHkifQ.' . $marker;

my $node = KeystoneNode->start(
	name => 'redaction',
	conf => <<'EOF2');
shared_preload_libraries = 'auto_explain,keystone'
logging_collector = on
log_directory = 'everything'
log_filename = 'server'
log_destination = 'stderr,csvlog,jsonlog'
log_statement = all
log_min_duration_statement = 0
log_duration = on
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_min_messages = info
log_min_error_statement = info
log_lock_waits = on
log_temp_files = 0
log_disconnections = on
deadlock_timeout = 200ms
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_nested_statements = on
max_prepared_transactions = 5
restart_after_crash = on
EOF2
my $log_directory = $node->data_dir . '/everything';

# All that was logged, in the three formats.
sub logged
{
	return join '', map { slurp_file($_) } glob "$log_directory/server*";
}

# What was logged as text since the position.
sub text_since
{
	my ($position) = @_;
	return substr slurp_file("$log_directory/server"), $position;
}

# The same, when a line that is on its way has come.
sub text_with
{
	my ($position, $line) = @_;
	for (1 .. 200)
	{
		last if text_since($position) =~ $line;
		usleep(50_000);
	}
	return text_since($position);
}

my $runs = 0;

# Runs statements, some of which may fail; returns what was logged as text.
# No statement is echoed: $sql is the whole input of one psql.
sub run_logged
{
	my ($sql) = @_;
	my $position = -s "$log_directory/server";
	local $ENV{PGAPPNAME} = 'run ' . ++$runs;
	my ($out, $err) = ('', '');
	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err, on_error_stop => 0);

	# what this session logs last, so that all before it is there
	my $text = text_with($position, qr/run $runs LOG:  disconnection:/);
	return wantarray ? ($text, $out, $err) : $text;
}

sub is_clean
{
	my ($name, $sql) = @_;
	my ($text, $out, $err) = run_logged($sql);
	unlike($text, qr/$marker|$hex/, "$name: not in the log");
	like($text, qr/withheld/, "$name: the log says that something is withheld");
	return ($text, $out, $err);
}

$node->safe_psql('postgres', 'CREATE EXTENSION keystone');
$node->safe_psql('postgres', q{SELECT keystone.create_workspace('acme')});

# Without this the test would show nothing.
like(run_logged("SELECT 'plain$number'"), qr/plain$number/, 'ordinary statements are logged');
like(run_logged("SELECT 'plain'::int"), qr/invalid input syntax for type integer: "plain"/,
	'and so are their errors');
like(run_logged(q{SELECT keystone.reveal('acme', 'none')}), qr/keystone\.reveal/, 'and functions that take no secret');

# Literals, in all spellings.
my ($text) = is_clean('a literal', "SELECT keystone.store('acme', 'a', '$marker');");
like($text, qr/LOG:  statement withheld/, 'log_statement is replaced');
like($text, qr/LOG:  duration: \d+\.\d+ ms  statement withheld/, 'durations are kept');
is_clean('named notation', "SELECT keystone.store(workspace => 'acme', name => 'a', value => '$marker');");
is_clean('comments, quotes and case',
	qq{SELECT KeyStone /* a */ . -- b\n "store" /* /* c */ */ ('acme', 'a', '$marker');});
is_clean('FROM', "SELECT * FROM keystone.store('acme', 'a', '$marker');");
is_clean('search_path', "SET search_path = public, keystone;\nSELECT store('acme', 'a', '$marker');");
is_clean('many statements at once', "SELECT 1\\; SELECT keystone.store('acme', 'a', '$marker')\\; SELECT 2;");
is_clean('rotate',
	"SELECT keystone.rotate(keystone.credential_id('acme', 'a'), '$marker');");
is_clean('import_env', "SELECT keystone.import_env('acme', 'KEY=$marker');");
is_clean('EXPLAIN', "EXPLAIN (ANALYZE, VERBOSE) SELECT keystone.store('acme', 'a', '$marker');");
is_clean('COPY', "COPY (SELECT keystone.store('acme', 'a', '$marker')) TO STDOUT;");
is_clean('CREATE TABLE AS', "CREATE TABLE made AS SELECT keystone.store('acme', 'a', '$marker');");
is_clean('a cursor', "BEGIN; DECLARE c CURSOR FOR SELECT keystone.store('acme', 'a', '$marker'); FETCH c; COMMIT;");

my $quiet = 'SET log_statement = none;';

# Errors: Keystone's own say what is wrong, others may quote the secret.
my ($out, $err);
($text, $out, $err) = is_clean('an error of Keystone', "SELECT keystone.store('acme', '', '$marker');");
like($text, qr/ERROR 22023: parameter "name"/, 'its message is kept');
like($err, qr/parameter "name"/, 'the client gets it too');
($text, $out, $err) = is_clean('a syntax error', "SELECT keystone.store('acme', 'a', '$marker' '$marker');");
like($text, qr/ERROR 42601: message withheld/, 'severity and SQLSTATE are kept');
like($err, qr/syntax error/, 'the client gets all of it');
is_clean('a missing parenthesis', "SELECT keystone.store('acme', 'a', '$marker';");
is_clean('a wrong number of arguments', "SELECT keystone.store('$marker');");
is_clean('a failing cast', "SELECT '$marker'::int, keystone.store('acme', 'a', 'x');");
is_clean('a failing cast elsewhere', "SELECT keystone.store('acme', 'a', '$marker'), '$marker'::text::int;");
is_clean('an error without STATEMENT',
	"SET log_min_error_statement = panic; SELECT keystone.store('acme', 'a', '$marker') '$marker';");
($text) = is_clean('a constant message', "SELECT keystone.store('acme', 'a', '$marker'), 1 / (random() < 0)::int;");
like($text, qr/ERROR 22012: division by zero/, 'is kept, since nothing was put into it');
($text) = is_clean('a cancel', "SET statement_timeout = 200; SELECT pg_sleep(10), keystone.store('acme', 'a', '$marker');");
like($text, qr/ERROR 57014: canceling statement due to statement timeout/, 'its reason is kept');
is_clean('a transaction that is aborted', "BEGIN; SELECT 1/0; SELECT keystone.store('acme', 'a', '$marker'); COMMIT;");

# PL/pgSQL.
is_clean('DO', "DO \$\$ BEGIN PERFORM keystone.store('acme', 'a', '$marker'); END \$\$;");
is_clean('DO with EXECUTE',
	"DO \$\$ BEGIN EXECUTE 'SELECT keystone.store(''acme'', ''a'', ''$marker'')'; END \$\$;");
is_clean('DO with RAISE',
	"DO \$\$ BEGIN PERFORM keystone.store('acme', 'a', '$marker'); RAISE LOG '$marker'; RAISE WARNING '$marker'; RAISE EXCEPTION '$marker'; END \$\$;"
);
is_clean('an exception block',
	"DO \$\$ BEGIN PERFORM keystone.store('acme', '', '$marker'); EXCEPTION WHEN OTHERS THEN RAISE LOG '%', SQLERRM; END \$\$;"
);

# Tokens, whoever they are given to.
foreach my $token ($api_key, $jwt)
{
	my $kind = $token eq $api_key ? 'an API key' : 'a JSON Web Token';
	is_clean("$kind, given to authenticate()", "SELECT keystone.authenticate('$token');");
	($text) = is_clean("$kind as a literal", "SELECT length('$token');");
	like($text, qr/LOG:  duration: \d+\.\d+ ms  statement withheld/, "$kind: durations are kept");
	is_clean("$kind in a failing cast", "SELECT '$token'::int;");
	is_clean("$kind in a syntax error", "SELECT '$token' '$token';");
	is_clean("$kind after an escape", "SELECT length(E'x\\n$token');");
	is_clean("$kind in a header", "SELECT length('{\"authorization\": \"Bearer $token\"}');");
	is_clean("$kind in a DO block", "DO \$\$ BEGIN PERFORM length('$token'); RAISE LOG '$token'; END \$\$;");
	is_clean("$kind given to EXECUTE", "PREPARE p(text) AS SELECT length(\$1); EXECUTE p('$token'); EXECUTE p('$token', 1);");
	is_clean("$kind in a line of COPY", "CREATE TEMP TABLE n (n int);\nCOPY n FROM STDIN;\n$token\n\\.\n");
	is_clean("$kind that is put together", "$quiet DO \$\$ BEGIN RAISE LOG '%', replace('$token', '_', '_'); END \$\$;");
}
is_clean('an API key that was cut', 'SELECT \'' . substr($api_key, 0, 40) . "'::int;");

# The statement by which PostgREST sets what it knows of a request, whatever
# the token looks like.
foreach my $sql (
	"SELECT set_config('request.headers', '{\"authorization\": \"Basic $marker\"}', true);",
	"SET request.headers = '$marker';",
	"set local \"request.headers\" to '$marker';",
	"PREPARE h(text) AS SELECT set_config('request.headers', \$1, true); EXECUTE h('$marker');")
{
	(my $name = $sql) =~ s/$marker/.../g;
	is_clean($name, $sql);
}
like(run_logged("SELECT current_setting('request.headers', true), 'reads$number';"), qr/reads$number/,
	'a statement that reads request.headers is logged');
like(run_logged("SELECT 'ks_0123456789ab', 'ks_0123456789ab_x', 'eyJmore.', 'plain$number';"), qr/plain$number/,
	'and so is the prefix of a key, which is public');

# A function of a user: the statement does not tell what it does before it has
# run, so that only log_statement, which logs before, has the literal.
$node->safe_psql('postgres', <<'EOF2');
CREATE FUNCTION keep(text) RETURNS text LANGUAGE plpgsql AS
	$$ BEGIN RETURN (keystone.store('acme', 'a', $1)).action; END $$;
CREATE FUNCTION keep_sql(text) RETURNS text LANGUAGE sql AS
	$$ SELECT (keystone.store('acme', 'a', $1)).action $$;
CREATE TABLE written (t text);
CREATE FUNCTION keep_new() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM keystone.store('acme', 'a', NEW.t); NEW.t = 'kept'; RETURN NEW; END $$;
CREATE TRIGGER keep BEFORE INSERT ON written FOR EACH ROW EXECUTE FUNCTION keep_new();
CREATE TABLE deferred (t text);
CREATE FUNCTION keep_late() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN PERFORM keystone.store('acme', 'a', NEW.t); RAISE EXCEPTION 'late %', NEW.t; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION keep_late();
EOF2
is_clean('a function that calls it', "$quiet SELECT keep('$marker');");
is_clean('an SQL function that calls it', "$quiet SELECT keep_sql('$marker');");
is_clean('an error after a function called it', "$quiet SELECT (keep('$marker') || '$marker')::int;");
is_clean('a trigger that calls it', "$quiet INSERT INTO written VALUES ('$marker');");
is_clean('a deferred trigger that calls it', "$quiet SET auto_explain.log_min_duration = -1; SET log_min_duration_statement = -1; INSERT INTO deferred VALUES ('$marker');");
$node->safe_psql('postgres', <<"EOF2");
CREATE FUNCTION has_literal(divisor int) RETURNS void LANGUAGE plpgsql AS
	\$\$ BEGIN PERFORM keystone.store('acme', 'a', '$marker' || 1 / divisor); END \$\$;
EOF2
is_clean('a context line', 'SELECT has_literal(0);');
like(run_logged("SELECT keep('x'); SELECT 'after$number';"), qr/after$number/, 'the next statement is logged again');

# Prepared statements.
is_clean('EXECUTE',
	"PREPARE p(text) AS SELECT keystone.store('acme', 'a', \$1); EXECUTE p('$marker'); EXECUTE p('$marker');");
is_clean('EXECUTE that fails before it runs',
	"PREPARE p(text) AS SELECT keystone.store('acme', 'a', \$1); EXECUTE p('$marker', 1); EXECUTE \"p\"('$marker'::int);");
is_clean('EXECUTE that fails in the function',
	"PREPARE p(text) AS SELECT keystone.store('acme', '', \$1); EXECUTE p('$marker');");
is_clean('EXPLAIN EXECUTE',
	"PREPARE p(text) AS SELECT keystone.store('acme', 'a', \$1); EXPLAIN (ANALYZE) EXECUTE p('$marker');");

# Debugging output has the parse tree, with the literal as bytes.
my $bytes = join ' ', map { ord } split //, $marker;
($text) = is_clean('debug_print_parse',
	"SET debug_print_parse = on; SET debug_print_plan = on; SET debug_print_rewritten = on; SELECT keystone.store('acme', 'a', '$marker');"
);
unlike($text, qr/\Q$bytes\E/, 'debug_print_parse: not as bytes either');
is_clean('log_parser_stats',
	"SET log_parser_stats = on; SET log_planner_stats = on; SET log_executor_stats = on; SELECT keystone.store('acme', 'a', '$marker');"
);
is_clean('DEBUG5', "SET log_min_messages = debug5; SELECT keystone.store('acme', 'a', '$marker');");

# Binds.  pgbench speaks the protocol's extended query.
sub pgbench
{
	my ($file, @options) = @_;
	my $output = '';
	return IPC::Run::run([ 'pgbench', '-h', $node->host, '-p', $node->port, '-n', '-D', "v=$number",
			'-f', $file, @options, 'postgres' ], '>&', \$output);
}

my $script = $node->basedir . '/script.sql';
append_to_file($script, <<"EOF2");
SELECT keystone.store('acme', 'a', '$marker');
SELECT keystone.store('acme', 'bound', (:v)::text);
EOF2
foreach my $mode ('extended', 'prepared')
{
	my $position = -s "$log_directory/server";
	ok(pgbench($script, '-M', $mode, '-t', '4'), "pgbench -M $mode");
	is($node->safe_psql('postgres', q{SELECT keystone.reveal('acme', 'bound')}), $number, "$mode: it was bound");
	like(text_since($position), qr/withheld/, "$mode: withheld");
	unlike(text_since($position), qr/$number/, "$mode: not in the log");
}

append_to_file("$script.2", "SELECT keystone.store('acme', '', (:v)::text);\n");
my $before_failure = -s "$log_directory/server";
ok(!pgbench("$script.2", '-M', 'extended', '-t', '1'), 'a bind that fails');
like(text_since($before_failure), qr/ERROR 22023: parameter "name"/, 'its error is logged');
unlike(text_since($before_failure), qr/$number/, 'its parameters are not');

# Tokens that are bound to statements which take no secret of Keystone's.
append_to_file("$script.3", "SELECT length(:v);\n");
append_to_file("$script.4", "SELECT length(:v), 1 / (random() < 0)::int;\n");
append_to_file("$script.5", "SELECT set_config('request.headers', :v, true);\n");
foreach my $case ([ 3, $api_key, 1 ], [ 3, $jwt, 1 ], [ 4, $api_key, 0 ], [ 4, $jwt, 0 ], [ 5, $marker, 1 ])
{
	my ($file, $token, $succeeds) = @$case;
	my $position = -s "$log_directory/server";
	is(!!pgbench("$script.$file", '-M', 'extended', '-t', '2', '-D', "v=$token"), !!$succeeds,
		"a token is bound, script $file");
	like(text_with($position, qr/withheld/), qr/withheld/, "a bound token, script $file: withheld");
	unlike(text_since($position), qr/$marker|$hex/, "a bound token, script $file: not in the log");
}

# pg_stat_activity, while the statement runs and after it.
my $session = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
	'<', \my $in, '>', \my $shown, '2>', \my $errors, IPC::Run::timeout(120));

sub send_to_session
{
	my ($sql) = @_;
	$shown = '';
	$in .= "$sql\n\\echo done\n";
	$session->pump until $shown =~ /^done$/m;
	return;
}

# What the session shows; whoever asked before may not be gone yet.
sub activity
{
	return $node->safe_psql('postgres',
		q{SELECT query FROM pg_stat_activity WHERE backend_type = 'client backend' AND query NOT LIKE '%FROM pg_stat_activity%'});
}

foreach my $sql (
	"SELECT keystone.store('acme', 'a', '$marker');",
	"SELECT keystone.store('acme', '', '$marker');",
	"SELECT keystone.store('acme', 'a', '$marker' '$marker');",
	"SELECT keystone.store('$marker');",
	"EXPLAIN SELECT keystone.store('acme', 'a', '$marker');",
	"DO \$\$ BEGIN PERFORM keystone.store('acme', 'a', '$marker'); END \$\$;",
	"SET log_statement = none; SELECT keep('$marker');",
	"PREPARE p(text) AS SELECT keystone.store('acme', 'a', \$1); EXECUTE p('$marker');",
	"EXECUTE p('$marker', 1);")
{
	send_to_session($sql);
	(my $name = $sql) =~ s/$marker/.../g;
	is(activity(), 'SELECT keystone.store(<redacted>)', "pg_stat_activity after $name");
}
foreach my $sql ("SELECT length('$api_key');", "SELECT '$jwt'::int;", "SELECT length('$jwt');", "SET request.headers = '$marker';",
	"SELECT set_config('request.headers', '$marker', false);", "SELECT keystone.authenticate('$api_key');")
{
	send_to_session($sql);
	(my $name = $sql) =~ s/\Q$api_key\E|\Q$jwt\E|$marker/.../g;
	is(activity(), 'SELECT keystone.authenticate(<redacted>)', "pg_stat_activity after $name");
}
send_to_session("SELECT 'shown$number';");
is(activity(), "SELECT 'shown$number';", 'pg_stat_activity shows the next statement');

# A statement that takes its time, and a crash during it, which the postmaster
# logs with the text that pg_stat_activity has.
send_to_session('SELECT pg_backend_pid();');
my ($pid) = $shown =~ /^(\d+)$/m;
$in .= "SELECT pg_sleep(600), keystone.store('acme', 'a', '$marker');\n";
$session->pump_nb;
$node->poll_query_until('postgres',
	"SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $pid");
is(activity(), 'SELECT keystone.store(<redacted>)', 'pg_stat_activity while it runs');
my $before_crash = -s "$log_directory/server";
kill 'KILL', $pid;
$session->finish;
$node->poll_query_until('postgres', q{SELECT sealed FROM keystone.seal_status}, 'f');
like(text_since($before_crash),
	qr/\(PID $pid\) was terminated by signal 9.*\n.*Failed process was running: SELECT keystone\.store\(<redacted>\)/,
	'a crash is logged without the statement');

# A deadlock, whose report has the statements of both sides.
$node->safe_psql('postgres', "CREATE TABLE locked (id int, t text); INSERT INTO locked VALUES (1), (2);");
my $before_deadlock = -s "$log_directory/server";
my @sides = map {
	my ($first, $second) = @$_;
	my $input = $node->basedir . "/side$first.sql";
	my $output = '';
	append_to_file($input,
		"BEGIN; UPDATE locked SET t = (keystone.store('acme', 'side$first', '$marker')).action WHERE id = $first;\n"
		  . "SELECT pg_sleep(1);\n"
		  . "UPDATE locked SET t = (keystone.store('acme', 'side$first', '$marker')).action WHERE id = $second; COMMIT;\n");
	IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', $input ],
		'>&', \$output, IPC::Run::timeout(60));
} ([ 1, 2 ], [ 2, 1 ]);
$_->finish foreach @sides;
like(text_since($before_deadlock), qr/ERROR 40P01: deadlock detected/, 'a deadlock is logged');

# Everything together, in all formats: stderr, CSV and JSON.
my @shown = grep { /$marker|$hex/ } split /\n/, logged() . slurp_file($node->logfile);
is(join("\n", @shown), '', 'the marker is in no line of the logs');
ok(scalar(glob("$log_directory/server*.json")) && scalar(glob("$log_directory/server*.csv")), 'all formats were written');

$node->stop;
done_testing();
