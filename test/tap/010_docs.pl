# The documentation says what is true.
#
#	a) Each ```sql block of README.md and docs/*.md runs.  A line that must fail
#	   says so at its end: -- fails: SQLSTATE.  The blocks of a file run in
#	   order, in one session and one database per file; each begins as the
#	   superuser, or as the role in its first line: -- as ROLE.  A file that
#	   creates the extension itself starts with nothing, others with what
#	   prelude() makes.  The variables ana_token and ben_token are JWTs.
#	b) docs/configuration.md lists the settings as pg_settings has them.
#	c) docs/functions.md and the tables of README.md list the functions, views,
#	   tables and columns of schema keystone, no less and no more.
#	d) docs/errors.md lists the SQLSTATEs, the refusals, the duplicates and the
#	   reasons for sealing that are in the sources; docs/functions.md what
#	   verify_all() finds; docs/install.md the health checks.
#	e) Links between the pages lead somewhere.
#	f) docs/quickstart.sql runs.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use FindBin;
use KeystoneNode;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my @pages = ("$top/README.md", sort glob "$top/docs/*.md");
my $node = KeystoneNode->start(name => 'docs', start => 0, conf => "keystone.authenticators = 'authenticator'\n");
my $secret = KeystoneNode::fresh_key();
append_to_file($node->basedir . '/jwt_keys', "$secret\n");
chmod 0600, $node->basedir . '/jwt_keys';
$node->append_conf('postgresql.conf', "keystone.jwt_keys_file = '${\$node->basedir}/jwt_keys'");
$node->start;

# A user's token, as an application's login service makes it.
sub token
{
	my ($subject) = @_;
	my $claims = sprintf '{"sub":"%s","role":"authenticated","exp":%d}', $subject, time + 3600;
	my $text = join '.', map { encode_base64url($_) } '{"alg":"HS256","typ":"JWT"}', $claims;
	return "$text." . encode_base64url(hmac_sha256($text, $secret));
}
my @tokens = (
	'ana_token=' . token('a0000000-0000-4000-8000-000000000001'),
	'ben_token=' . token('b0000000-0000-4000-8000-000000000002'));

cmp_ok(scalar @pages, '>=', 7, 'the pages are there');

sub page
{
	my ($name) = @_;
	return slurp_file("$top/$name");
}

# The rows of the tables of a text, as lists of cells; without the rules and
# whatever is not in a table.
sub rows
{
	my ($text) = @_;
	my @rows;
	foreach (split /\n/, $text)
	{
		next unless /^\| *(.*?) *\|$/;
		my @cells = split / *\| */, $1, -1;
		push @rows, \@cells unless $cells[0] =~ /^:?-+:?$/;
	}
	return @rows;
}

# The part of a page below a heading, up to the next of the same level or above.
sub section
{
	my ($text, $heading) = @_;
	my ($level) = $heading =~ /^(#+)/;
	my $depth = length $level;
	$text =~ /^\Q$heading\E\n(.*?)(?=^#{1,$depth} |\z)/ms or die "no section $heading";
	return $1;
}

sub sorted_is
{
	my ($got, $expected, $name) = @_;
	is(join("\n", sort @$got), join("\n", sort @$expected), $name);
	return;
}

sub lines_of
{
	my ($sql) = @_;
	return split /\n/, $node->safe_psql('postgres', $sql);
}

# a) The blocks.

# What the examples of docs/ take for granted: Ana owns the workspace acme, Ben
# is an operator there, Carl is somebody else; there is one credential.
sub prelude
{
	return <<'EOF2';
CREATE EXTENSION keystone;
CREATE ROLE ana LOGIN;
CREATE ROLE ben LOGIN;
CREATE ROLE carl LOGIN;
SELECT keystone.grant_access(r, 'client') FROM unnest('{ana,ben,carl}'::name[]) r \g /dev/null
SELECT keystone.register_principal('Ana', db_role => 'ana') AS ana,
	keystone.register_principal('Ben', db_role => 'ben') AS ben,
	keystone.register_principal('Carl', db_role => 'carl') AS carl \gset
SET SESSION AUTHORIZATION ana;
SELECT keystone.create_workspace('acme') \g /dev/null
SELECT keystone.add_member('acme', :'ben', 'operator') \g /dev/null
SELECT keystone.store('acme', 'openai', 'sk-FAKEfakeFAKEfakeFAKE0001', 'prod', provider => 'openai') \g /dev/null
EOF2
}

my $blocks = 0;
foreach my $page (@pages)
{
	(my $name = $page) =~ s{.*/(?=docs/|README)}{};
	my $text = slurp_file($page);
	my @sql = $text =~ /^```sql\n(.*?)^```$/msg;
	next unless @sql;

	my $script = '';
	my @announced;
	$script .= prelude() unless $text =~ /^CREATE EXTENSION keystone;/m;
	foreach my $i (0 .. $#sql)
	{
		my ($role) = $sql[$i] =~ /\A-- as (\w+)\n/;
		$script .= "RESET SESSION AUTHORIZATION;\n\\warn block $i\n";
		$script .= "SET SESSION AUTHORIZATION $role;\n" if $role;
		$script .= $sql[$i];
		$announced[$i] = join ' ', $sql[$i] =~ /-- fails: (\w{5})/g;
	}

	$node->safe_psql('postgres', 'CREATE DATABASE page');
	my ($out, $err) = ('', '');
	$node->psql('page', $script, stdout => \$out, stderr => \$err, on_error_stop => 0,
		extra_params => [ '-v', 'VERBOSITY=sqlstate', map { ('-v', $_) } @tokens ]);
	my ($before, @parts) = split /^block \d+\n/m, $err;
	is($before // '', '', "$name: nothing fails before the first block");
	foreach my $i (0 .. $#sql)
	{
		my $failed = join ' ', ($parts[$i] // 'not run') =~ /(?:ERROR|FATAL|not run):? *(\w*)/g;
		my ($first) = grep { !/^--/ } split /\n/, $sql[$i];
		is($failed, $announced[$i], "$name: $first");
		$blocks++;
	}
	$node->safe_psql('postgres', 'DROP DATABASE page WITH (FORCE)');
	$node->safe_psql('postgres', "DROP ROLE $_")
	  foreach lines_of(q{SELECT quote_ident(rolname) FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> current_user});
}
cmp_ok($blocks, '>=', 20, 'there are examples');

# The tour has no role of that name.
$node->append_conf('postgresql.conf', "keystone.authenticators = ''");
$node->reload;

# b) The settings.
$node->safe_psql('postgres', 'CREATE EXTENSION keystone');
my @documented = map { s/`//gr } map { join ' | ', @$_ }
  grep { $_->[0] =~ /^`keystone\./ } rows(page('docs/configuration.md'));
sorted_is(\@documented,
	[ lines_of(<<'EOF2') ], 'the table of settings is that of pg_settings');
SELECT concat_ws(' | ', name, vartype, CASE boot_val WHEN '' THEN '(empty)' ELSE boot_val END,
	coalesce(unit, '-'), coalesce(min_val || ' to ' || max_val, '-'), context, short_desc)
FROM pg_settings WHERE name LIKE 'keystone.%'
EOF2
sorted_is([ page('docs/configuration.md') =~ /^## (keystone\.\w+)$/mg ],
	[ lines_of(q{SELECT name FROM pg_settings WHERE name LIKE 'keystone.%'}) ],
	'each setting has a section');

# c) Functions, views and tables.
sub short_type
{
	my ($type) = @_;
	return "replace(replace(format_type($type, NULL), 'timestamp with time zone', 'timestamptz'), 'integer', 'int')";
}

my $functions = page('docs/functions.md');
my @signatures = $functions =~ /^```text\n(keystone\..*?)^```$/msg;
s/\s+/ /g, s/ $//, s/\( /(/g foreach @signatures;
sorted_is(\@signatures, [ lines_of(<<"EOF2") ], 'docs/functions.md has the signatures of all functions');
SELECT 'keystone.' || p.proname || '(' || coalesce(i.list, '') || ') RETURNS '
	|| CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END
	|| coalesce('(' || o.list || ')', ${\short_type('p.prorettype')})
FROM pg_proc p
CROSS JOIN LATERAL (
	SELECT string_agg(concat_ws(' ', p.proargnames[n], ${\short_type('p.proargtypes[n - 1]')},
		'DEFAULT ' || regexp_replace(pg_get_function_arg_default(p.oid, n), '::[a-z ]+(\\[\\])?\$', '')), ', ' ORDER BY n) AS list
	FROM generate_series(1, p.pronargs) n) i
CROSS JOIN LATERAL (
	SELECT string_agg(p.proargnames[n] || ' ' || ${\short_type('p.proallargtypes[n]')}, ', ' ORDER BY n) AS list
	FROM generate_series(1, cardinality(p.proallargtypes)) n WHERE p.proargmodes[n] IN ('o', 't')) o
WHERE p.pronamespace = 'keystone'::regnamespace
EOF2
my ($calls, $relations) = split /^## Views and tables\n/m, $functions;
sorted_is([ $calls =~ /^### (\w+)$/mg ],
	[ lines_of(q{SELECT proname FROM pg_proc WHERE pronamespace = 'keystone'::regnamespace}) ],
	'each function has a section');

my @columns;
foreach my $part (split /^### /m, $relations)
{
	my ($kind, $relation) = $part =~ /\A(view|table) (\w+)\n/ or next;
	push @columns, join ' ', $kind, $relation, $_->[0] =~ s/`//gr, @$_[ 1, 2 ]
	  foreach grep { $_->[0] =~ /^`/ } rows($part);
}
sorted_is(\@columns, [ lines_of(<<"EOF2") ], 'docs/functions.md has all views and tables, with columns, types and comments');
SELECT concat_ws(' ', CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, c.relname, a.attname,
	${\short_type('a.atttypid')}, col_description(c.oid, a.attnum))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'keystone'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
AND a.attnum > 0 AND NOT a.attisdropped
EOF2

# README names the parameters without a default; "..." stands for the others.
my @reference = rows(section(page('README.md'), '## Reference'));
sorted_is([ map { $_->[0] =~ /^`(\w+\(.*\))`$/ ? $1 : () } @reference ], [ lines_of(<<'EOF2') ],
SELECT p.proname || '(' || concat_ws(', ', array_to_string(p.proargnames[1 : p.pronargs - p.pronargdefaults], ', '),
	CASE WHEN p.pronargdefaults > 0 THEN '...' END) || ')'
FROM (SELECT proname, pronargs, pronargdefaults, NULLIF(proargnames[1 : pronargs - pronargdefaults], '{}') AS proargnames
	FROM pg_proc WHERE pronamespace = 'keystone'::regnamespace) p
EOF2
	'README.md has all functions');
sorted_is([ map { $_->[0] =~ /^`(\w+)`$/ ? $1 : () } @reference ],
	[ lines_of(q{SELECT relname FROM pg_class WHERE relnamespace = 'keystone'::regnamespace AND relkind IN ('r', 'v')}) ],
	'README.md has all views and tables');
is(join(' ', grep { $_ !~ /^\d+\.\d+\.\d+$/ } map { $_->[2] } grep { $_->[0] =~ /^`/ } @reference), '', 'each says since when');

# d) SQLSTATEs, refusals, reasons.
my $errors = page('docs/errors.md');
my %sources = map { (m{([^/]+)$})[0] => slurp_file($_) } glob "$top/src/ks_*.[ch]";
s{/\*.*?\*/}{}sg, s{"\s+"}{}g foreach values %sources;
my $all = join "\n", @sources{ sort keys %sources };

chomp(my $include = `$ENV{PG_CONFIG} --includedir-server`);
my $codes = slurp_file("$include/utils/errcodes.h") . $all;
my %sqlstate = $codes =~ /^#define\s+(\w*ERRCODE_\w+)\s+MAKE_SQLSTATE\((.*?)\)/mg;
s/[', ]//g foreach values %sqlstate;
my %raised = map { ($sqlstate{$_} // "unknown $_") => 1 }
  grep { $_ ne 'ERRCODE_SUCCESSFUL_COMPLETION' } $all =~ /errcode\((\w*ERRCODE_\w+)\)/g;
my @listed = map { $_->[0] =~ /^\[`(\w{5})`\]/ ? $1 : () } rows($errors);
sorted_is(\@listed, [ keys %raised ], 'docs/errors.md has the SQLSTATEs of the sources');
sorted_is([ $errors =~ /^## (\w{5})$/mg ], \@listed, 'each SQLSTATE has a section');
my @limited = (phrases(function_body($sources{'ks_error.c'}, 'limited_message')),
	$sources{'ks_error.h'} =~ /^#define KS_LIMITED_MESSAGE\s+"(.*?)"/m);
is(scalar @limited, 4, 'the messages of PT429 are found in the sources');
foreach my $pt (@limited, grep { $_ ne '%s' } $sources{'ks_error.c'} =~ /errcode\(KS_ERRCODE_\w+\),\s*errmsg\("(.*?)"/g)
{
	like($errors, qr/^\| \[`PT\d+`\].*\Q$pt\E/m, "the message \"$pt\"");
}

foreach my $pt ($sources{'ks_error.h'} =~ /^#define KS_POLICY_(?:REQUIRES|DEFERS)\s+"(.*?)"/mg)
{
	like($errors, qr/^\| \[`PT428`\].*\Q$pt\E/m, "the message \"$pt\"");
	like(section($errors, '## PT428'), qr/^\| \Q$pt\E \|/m, 'and what to do');
}
foreach my $answer ($sources{'ks_approval.c'} =~ /\[KS_APPROVAL_\w+\] = "(.*?)"/g)
{
	like(section($errors, '## PT428'), qr/^\| \Q$answer\E \|/m, "what is wrong with an approval: $answer");
}

my @refusals = ($all =~ /(?:ks_error_denied\(|ERRCODE_INSUFFICIENT_PRIVILEGE, )"(.*?)"/g,
	$sources{'ks_error.h'} =~ /^#define KS_POLICY_DENIES\s+"(.*?)"/m);
cmp_ok(scalar @refusals, '>=', 8, 'refusals are found in the sources');
my %refusals = map { $_->[0] => 1 } rows(section($errors, '## 42501'));
foreach my $refusal (sort keys %{ { map { $_ => 1 } @refusals } })
{
	ok($refusals{$refusal}, "the refusal \"$refusal\"");
}
my @whys = sort keys %{ { map { $_ => 1 } grep { length }
	$sources{'ks_identity.c'} =~ /why = "(.*?)"/g, phrases($sources{'ks_identity.c'} =~ s/^#.*$//mgr),
	phrases($sources{'ks_jwt.c'}), $sources{'ks_jwt.c'} =~ /note_\w*problem\(\w+, "(.*?)"\)/g,
	phrases(function_body($sources{'ks_rights.c'}, 'refuse_principal')) } };
cmp_ok(scalar @whys, '>=', 30, 'reasons for having no identity are found in the sources');
foreach my $why (@whys)
{
	ok($refusals{$why}, "no identity: $why");
}
my %said = map { $_ => 1 } @refusals, @whys,
	'message', 'hint', 'the caller is anonymous', 'table "..." cannot be truncated',
	'permission denied for function ..., schema keystone, view ...';
is(join("\n", grep { !$said{$_} } sort keys %refusals), '', 'docs/errors.md has no other refusals');

sorted_is([ grep { $_ ne 'message' } map { $_->[0] } rows(section($errors, '## 23505')) ],
	[ keys %{ { map { $_ => 1 } $all =~ /ks_error_duplicate\("(.*?)"/g } } ], 'docs/errors.md has the duplicates of the sources');

# A reason is put together of the setting, what is wrong with it, and a place,
# which the page leaves out.
my $loader = $sources{'ks_launcher_keys.c'};
my $keyfile = $sources{'ks_keyfile.c'};
my $command = $sources{'ks_command.c'};
my $wire = substr $sources{'ks_wire.c'}, index $sources{'ks_wire.c'}, 'parse_root_key_id(';
sub function_body
{
	my ($source, $name) = @_;
	$source =~ /^\Q$name\E\([^;{]*\)\n\{\n(.*?)^\}/ms or die "no function $name";
	return $1;
}
sub phrases
{
	my ($code) = @_;
	return $code =~ /(?:return|problem =|\bseal\(|\?|:)\s*(?:psprintf\()?"((?:[^"\\]|\\.)*)"/g;
}
my @reasons = (
	(map { "keystone.root_key_file $_" }
		map { phrases(function_body($keyfile, $_)) } qw(check_ownership check_place read_checked ks_keyfile_read)),
	(map { "keystone.root_key_file $_" } function_body($loader, 'load_from_file') =~ /problem = "(.*?)"/g),
	(map { "keystone.root_key_command $_" } phrases(function_body($command, 'ks_command_problem')),
		(map { /problem = "(.*?)"/g } function_body($command, 'ks_command_start'), function_body($loader, 'watch_command'))),
	(grep { !/%s/ } phrases(function_body($loader, 'begin_load'))),
	phrases($wire),
	(map { "root key \"ID\" $_" } $sources{'ks_keyring.c'} =~ /seal_view\([^;]*?"((?:[^"\\]|\\.)*)"\)/g),
	($all =~ /ks_keyring_seal\("(.*?)"\)/g),
	($sources{'ks_admin_sql.c'} =~ /KS_SEAL_LOADING \?\s*"(the root keyring is .*?)"/g),
	(map { $sources{$_} =~ /ks_error_sealed\((?:psprintf\()?"((?:[^"\\]|\\.)*)"/g } qw(ks_keys.c ks_vault.c)));
s/\\"/"/g, s/%d/N/g, s/%s/ID/g foreach @reasons;
cmp_ok(scalar @reasons, '>=', 30, 'reasons are found in the sources');
my @reasons_listed = map { $_->[0] =~ /^`(.*)`$/ ? $1 : () } rows(section($errors, '## PT423'));
sorted_is(\@reasons_listed, [ keys %{ { map { $_ => 1 } @reasons } } ], 'docs/errors.md has the reasons for sealing');

# What is wrong with a ciphertext.
my @problems = map { function_body($sources{'ks_vault.c'}, $_) =~ /(refuse(?:_damaged)?\(problem,[^;]*;)/g } qw(ks_vault_open open_with_key);
@problems = grep { !/^(?:the vault is sealed|the workspace's keys were destroyed|the customer's key is not available)$/ } map { /"((?:[^"\\]|\\.)*)"/g } @problems;
push @problems, function_body($sources{'ks_keys.c'}, 'ks_keys_damage_text') =~ /"((?:[^"\\]|\\.)*)"/;
s/\\"/"/g, s/%d/N/g, s/%s/ID/g foreach @problems;
cmp_ok(scalar @problems, '>=', 8, 'problems are found in the sources');
sorted_is([ map { $_->[0] =~ /^`(.*)`$/ ? $1 : () } rows(section($functions, '### verify_all')) ], \@problems,
	'docs/functions.md has what verify_all() finds');

sorted_is([ map { $_->[0] =~ /^`(.*)`$/ ? $1 : () } rows(section(page('docs/install.md'), '## Health')) ],
	[ lines_of('SELECT check_name FROM keystone.health') ], 'docs/install.md has the health checks');

# e) Links.
my %anchors;
foreach my $page (@pages)
{
	(my $text = slurp_file($page)) =~ s/^```.*?^```$//msg;
	foreach my $heading ($text =~ /^#+ (.*)$/mg)
	{
		(my $anchor = lc $heading) =~ s/[^a-z0-9 _-]//g;
		$anchors{ ($page =~ m{([^/]+)$})[0] . '#' . ($anchor =~ s/ /-/gr) } = 1;
	}
}
my @dead;
foreach my $page (@pages)
{
	my ($directory, $name) = $page =~ m{(.*/)([^/]+)$};
	foreach my $link (slurp_file($page) =~ /\]\(([^)\s]+)\)/g)
	{
		next if $link =~ m{^https://};
		my ($file, $anchor) = $link =~ /^([^#]*)(?:#(.*))?$/;
		my $target = $file eq '' ? $name : $file;
		push @dead, "$name: $link" unless -e "$directory$target";
		push @dead, "$name: $link"
		  if defined $anchor && !$anchors{ ($target =~ m{([^/]+)$})[0] . "#$anchor" };
	}
}
is(join("\n", @dead), '', 'links lead somewhere');

# f) The tour.  It fails when a call that must be refused is not.
my $tour = page('docs/quickstart.sql');
sub run_tour
{
	my ($name, $sql) = @_;
	my $file = $node->basedir . "/$name.sql";
	append_to_file($file, $sql);
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'psql', '-Xq', '-d', $node->connstr($name), '-f', $file ], '>', \$out, '2>', \$err);
	$node->safe_psql('postgres', "DROP DATABASE $name WITH (FORCE)");
	$node->safe_psql('postgres', "DROP ROLE IF EXISTS ana, ben, cara");
	return ($ok, $out, $err);
}

my ($ok, $out, $err) = run_tour('quickstart', $tour);
ok($ok, 'docs/quickstart.sql runs');
like($out, qr/All steps gave what they should/, 'to its end');
is(join(' ', $err =~ /ERROR: +(.*)$/mg),
	'permission denied no such object ciphertext does not open the vault is sealed'
	  . ' table "audit_entries" is written by Keystone only', 'with the errors that it shows');
is($node->safe_psql('postgres', 'SELECT sealed FROM keystone.seal_status'), 'f', 'and leaves the vault open');

# Each expectation matters: with any of them changed the tour stops there.
my @expected = $tour =~ /pg_temp\.expect\(:'got', '(\w+)'\)/g;
foreach my $wanted ('42501', 'PT404', 'XX001', 'PT423')
{
	ok((grep { $_ eq $wanted } @expected), "the tour checks $wanted");
}
(my $wrong = $tour) =~ s/expect\(:'got', '42501'\)/expect(:'got', '00000')/ or die;
($ok, $out, $err) = run_tour('wrong', $wrong);
ok(!$ok, 'it fails when a step gives something else');
like($err, qr/this step should have given 00000, not 42501/, 'and says so');

$node->stop;
done_testing();
