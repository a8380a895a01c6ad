# Cedar's text and JSON form: each is the other.
#
# The rooms are built into a module of their own, with functions that Keystone
# does not have.  KEYSTONE_CORPORA names a directory with Cedar's public
# corpora, as in 030_cedar.pl; without it, and without cedar-wasm, the cases
# written here are all there is.
use strict;
use warnings;

use CedarWasm;
use FindBin;
use IPC::Run;
use JSON::PP;
use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $directory = PostgreSQL::Test::Utils::tempdir;

# Builds the module; returns its name.
sub build
{
	my $library = "$directory/cedar_json.so";
	my $config = $ENV{PG_CONFIG} // 'pg_config';
	chomp(my $include = `$config --includedir-server`);
	my @rooms = map { "$top/src/ks_$_.c" }
	  qw(mem crypto error cedar_ast cedar_lex cedar_text cedar_print cedar_json cedar_to_json);
	system('cc', qw(-std=gnu11 -O1 -fPIC -shared -Wall -Wextra -Werror -Wno-unused-parameter), '-Wl,-Bsymbolic', '-o',
		$library, "-I$top/src", '-isystem', $include,
		"$top/test/tap/module/cedar_json.c", @rooms, '-lcrypto') == 0
	  or die 'could not build the module';
	return $library;
}

my $module = build();
my $node = KeystoneNode->start(name => 'cedar_json');
$node->safe_psql('postgres', <<"EOF");
CREATE FUNCTION cedar_policy_to_json(text) RETURNS jsonb
	AS '$module', 'ks_fn_cedar_policy_to_json' LANGUAGE c STRICT;
CREATE FUNCTION cedar_policy_to_text(jsonb) RETURNS text
	AS '$module', 'ks_fn_cedar_policy_to_text' LANGUAGE c STRICT;
CREATE FUNCTION cedar_expr_to_json(text) RETURNS jsonb
	AS '$module', 'ks_fn_cedar_expr_to_json' LANGUAGE c STRICT;
CREATE FUNCTION cedar_expr_to_text(jsonb) RETURNS text
	AS '$module', 'ks_fn_cedar_expr_to_text' LANGUAGE c STRICT;
CREATE FUNCTION cedar_again(text) RETURNS text
	AS '$module', 'ks_fn_cedar_again' LANGUAGE c STRICT;

-- The same, but for NUL, which JSON of the server does not have.
CREATE FUNCTION again(policies text) RETURNS text LANGUAGE plpgsql AS \$\$
BEGIN
	RETURN cedar_again(policies);
EXCEPTION WHEN untranslatable_character THEN
	RETURN 'NUL';
END \$\$;
CREATE FUNCTION to_json(policy text) RETURNS jsonb LANGUAGE plpgsql AS \$\$
BEGIN
	RETURN cedar_policy_to_json(policy);
EXCEPTION WHEN untranslatable_character THEN
	RETURN NULL;
END \$\$;
CREATE TABLE sources (n int, name text, policies text, oracle json);
EOF

sub quote
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

# The SQLSTATE and the hint of a call that fails.
sub refusal
{
	my ($call) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	return 'no error' if $code == 0;
	my ($state) = $err =~ /ERROR:  (\w{5}):/;
	my ($hint) = $err =~ /HINT:  (.*)/;
	return join ' ', $state // $err, $hint // ();
}

# Expressions and their JSON form.
my @expressions = (
	[ 'true', '{"Value": true}' ],
	[ '9223372036854775807', '{"Value": 9223372036854775807}' ],
	[ '-9223372036854775808', '{"Value": -9223372036854775808}' ],
	[ '"a\"b"', '{"Value": "a\"b"}' ],
	[ 'A::B::"c"', '{"Value": {"__entity": {"type": "A::B", "id": "c"}}}' ],
	[ 'context', '{"Var": "context"}' ],
	[ '!true', '{"!": {"arg": {"Value": true}}}' ],
	[ '-(1)', '{"neg": {"arg": {"Value": 1}}}' ],
	[ 'context.a', '{".": {"left": {"Var": "context"}, "attr": "a"}}' ],
	[ 'context has a', '{"has": {"left": {"Var": "context"}, "attr": "a"}}' ],
	[ 'context has a.b', '{"has": {"left": {"Var": "context"}, "attr": ["a", "b"]}}' ],
	[ '"x" like "ä*\\*"', '{"like": {"left": {"Value": "x"}, "pattern": [{"Literal": "ä"}, "Wildcard", {"Literal": "*"}]}}' ],
	[ 'principal is A', '{"is": {"left": {"Var": "principal"}, "entity_type": "A"}}' ],
	[ 'principal is A in resource', '{"is": {"left": {"Var": "principal"}, "entity_type": "A", "in": {"Var": "resource"}}}' ],
	[ 'if true then 1 else 2', '{"if-then-else": {"if": {"Value": true}, "then": {"Value": 1}, "else": {"Value": 2}}}' ],
	[ '[1, []]', '{"Set": [{"Value": 1}, {"Set": []}]}' ],
	[ '{a: 1, "b c": {}}', '{"Record": {"a": {"Value": 1}, "b c": {"Record": {}}}}' ],
	[ 'ip("x").isIpv4()', '{"isIpv4": [{"ip": [{"Value": "x"}]}]}' ],
	[ 'decimal()', '{"decimal": []}' ],
	[ 'context.a.isEmpty()', '{"isEmpty": {"arg": {".": {"left": {"Var": "context"}, "attr": "a"}}}}' ],
	map({ [ "1 $_ 2", "{\"$_\": {\"left\": {\"Value\": 1}, \"right\": {\"Value\": 2}}}" ] }
		qw(&& || == != < <= > >= + - * in)),
	map({ [ "1.$_(2)", "{\"$_\": {\"left\": {\"Value\": 1}, \"right\": {\"Value\": 2}}}" ] }
		qw(contains containsAll containsAny getTag hasTag)));
foreach (@expressions)
{
	my ($text, $json) = @$_;
	is($node->safe_psql('postgres',
			'SELECT cedar_expr_to_json(' . quote($text) . ') = ' . quote($json) . ', cedar_expr_to_text(' . quote($json) . ')'),
		"t|$text", "$text has its JSON form");
}

# JSON that the text has no equal of, and what it is written as.
my @others = (
	[ '{"Value": [1, "x", {"a": true}]}', '[1, "x", {a: true}]' ],
	[ '{"Value": 1e3}', '1000' ],
	[ '{"Value": {"__extn": {"fn": "ip", "arg": "1.1.1.1"}}}', 'ip("1.1.1.1")' ],
	[ '{"Value": {"__extn": {"fn": "offset", "args": [1, {"__extn": {"fn": "duration", "arg": "1h"}}]}}}', '1.offset(duration("1h"))' ],
	[ '{"Value": {"a": 1, "__entity": {"type": "A", "id": "b"}}}', '{__entity: {id: "b", type: "A"}, a: 1}' ],
	[ '{"has": {"left": {"Var": "context"}, "attr": ["a b"]}}', 'context has "a b"' ],
	[ '{"like": {"left": {"Value": "x"}, "pattern": [{"Literal": "ab"}, {"Literal": ""}, {"Literal": "c*"}, "Wildcard"]}}', '"x" like "abc\**"' ],
	[ '{"neg": {"arg": {"Value": -1}}}', '-(-1)' ]);
foreach (@others)
{
	my ($json, $text) = @$_;
	is($node->safe_psql('postgres', 'SELECT cedar_expr_to_text(' . quote($json) . ')'), $text, "$json is read");
}

# What is no expression: where, and why.
my @bad = (
	[ '1', 'an expression, an object of one member, must stand here.' ],
	[ '{}', 'an expression, an object of one member, must stand here.' ],
	[ '[{"Value": 1}]', 'an expression, an object of one member, must stand here.' ],
	[ '{"Value": 1, "Var": "context"}', 'an expression, an object of one member, must stand here.' ],
	[ '{"foo": []}', 'foo: there is no such operator.' ],
	[ '{"Slot": "?principal"}', 'Slot: templates are not supported: a slot cannot stand here.' ],
	[ '{"Unknown": {"name": "x"}}', 'Unknown: there is no such operator.' ],
	[ '{"Var": "user"}', 'Var: there is no such variable.' ],
	[ '{"Value": null}', 'Value: Cedar has no such value.' ],
	[ '{"Value": 1.0}', 'Value: the number is not an integer of 64 bits.' ],
	[ '{"Value": 9007199254740993.0}', 'Value: the number is not an integer of 64 bits.' ],
	[ '{"Value": 1.5}', 'Value: the number is not an integer of 64 bits.' ],
	[ '{"Value": 9223372036854775808}', 'Value: the number is not an integer of 64 bits.' ],
	[ '{"Value": -9223372036854775809}', 'Value: the number is not an integer of 64 bits.' ],
	[ '{"Value": 9223372036854775807.5}', 'Value: the number is not an integer of 64 bits.' ],
	[ '{"Value": 1e400}', 'Value: the number is not an integer of 64 bits.' ],
	[ '{"Value": {"__expr": "1"}}', 'Value.__expr: the member is not known.' ],
	[ '{"Value": {"__entity": {"type": "a b", "id": "c"}}}', 'Value.__entity.type: the name of an entity type must stand here.' ],
	[ '{"Value": {"__entity": {"type": "A"}}}', 'Value.__entity.id: the member is missing.' ],
	[ '{"Value": {"__entity": {"type": "A", "id": "b", "x": 1}}}', 'Value.__entity.x: the member is not known.' ],
	[ '{"Value": {"__extn": {"fn": "nope", "arg": 1}}}', 'Value.__extn.fn: there is no such function.' ],
	[ '{"Value": {"__extn": {"fn": "ip"}}}', 'Value.__extn: one of arg and args must be there.' ],
	[ '{"Value": [1, {"a": [null]}]}', 'Value[1].a[0]: Cedar has no such value.' ],
	[ '{"==": {"left": {"Value": 1}}}', '==.right: the member is missing.' ],
	[ '{"==": {"left": {"Value": 1}, "right": {"Value": 2}, "x": 1}}', '==.x: the member is not known.' ],
	[ '{"==": [{"Value": 1}, {"Value": 2}]}', '==: an object must stand here.' ],
	[ '{"&&": {"left": {"Value": true}, "right": {"||": {"left": 1, "right": {"Value": true}}}}}',
		'&&.right.||.left: an expression, an object of one member, must stand here.' ],
	[ '{"isEmpty": {"left": {"Value": 1}}}', 'isEmpty.left: the member is not known.' ],
	[ '{"ip": {"Value": "x"}}', 'ip: an array must stand here.' ],
	[ '{"isIpv4": []}', 'isIpv4: the method has no object.' ],
	[ '{"Set": {"Value": 1}}', 'Set: an array must stand here.' ],
	[ '{"Record": []}', 'Record: an object must stand here.' ],
	[ '{"has": {"left": {"Var": "context"}, "attr": []}}', 'has.attr: an attribute must stand here.' ],
	[ '{"has": {"left": {"Var": "context"}, "attr": ["a", "b c"]}}', 'has.attr[1]: an identifier must stand here.' ],
	[ '{"has": {"left": {"Var": "context"}, "attr": 1}}', 'has.attr: a string must stand here.' ],
	[ '{"like": {"left": {"Value": "a"}, "pattern": "a*"}}', 'like.pattern: an array must stand here.' ],
	[ '{"like": {"left": {"Value": "a"}, "pattern": ["Wildcart"]}}', 'like.pattern[0]: an object must stand here.' ],
	[ '{"is": {"left": {"Value": "a"}, "entity_type": "A :: B"}}', 'is.entity_type: the name of an entity type must stand here.' ]);
foreach (@bad)
{
	my ($json, $hint) = @$_;
	is(refusal('cedar_expr_to_text(' . quote($json) . ')'), "22023 $hint", "$json is refused");
}

# Policies and their JSON form.
my $all = '"principal": {"op": "All"}, "action": {"op": "All"}, "resource": {"op": "All"}';
my @policies = (
	[ "permit (principal, action, resource);\n", "{\"effect\": \"permit\", $all, \"conditions\": []}" ],
	[ "\@a\n\@b(\"\")\n\@c(\"x\")\nforbid (principal, action, resource)\nwhen { true }\nunless { 1 };\n",
		"{\"effect\": \"forbid\", $all, \"conditions\": [{\"kind\": \"when\", \"body\": {\"Value\": true}}, "
		  . '{"kind": "unless", "body": {"Value": 1}}], "annotations": {"a": null, "b": "", "c": "x"}}' ],
	[ "permit (principal == U::\"a\", action == Action::\"b\", resource in R::\"c\");\n",
		'{"effect": "permit", "principal": {"op": "==", "entity": {"type": "U", "id": "a"}}, '
		  . '"action": {"op": "==", "entity": {"type": "Action", "id": "b"}}, '
		  . '"resource": {"op": "in", "entity": {"type": "R", "id": "c"}}, "conditions": []}' ],
	[ "permit (principal is U, action in [A::Action::\"a\", Action::\"b\"], resource is A::B in R::\"c\");\n",
		'{"effect": "permit", "principal": {"op": "is", "entity_type": "U"}, '
		  . '"action": {"op": "in", "entities": [{"type": "A::Action", "id": "a"}, {"type": "Action", "id": "b"}]}, '
		  . '"resource": {"op": "is", "entity_type": "A::B", "in": {"entity": {"type": "R", "id": "c"}}}, "conditions": []}' ],
	[ "permit (principal, action in [], resource);\n",
		'{"effect": "permit", "principal": {"op": "All"}, "action": {"op": "in", "entities": []}, '
		  . '"resource": {"op": "All"}, "conditions": []}' ],
	[ "permit (principal, action in Action::\"b\", resource);\n",
		'{"effect": "permit", "principal": {"op": "All"}, "action": {"op": "in", "entity": {"type": "Action", "id": "b"}}, '
		  . '"resource": {"op": "All"}, "conditions": []}' ]);
foreach (@policies)
{
	my ($text, $json) = @$_;
	is($node->safe_psql('postgres',
			'SELECT cedar_policy_to_json(' . quote($text) . ') = ' . quote($json)
			  . ', cedar_policy_to_text(' . quote($json) . ') = ' . quote($text)),
		't|t', "$text has its JSON form");
}
is($node->safe_psql('postgres', 'SELECT cedar_policy_to_text('
		  . quote('{"effect": "permit", "principal": {"op": "all"}, "action": {"op": "in", "entities": '
		  . '[{"__entity": {"type": "Action", "id": "b"}}]}, "resource": {"op": "All"}, "conditions": []}') . ')'),
	"permit (principal, action in Action::\"b\", resource);\n", 'escapes and "all" are read');

sub policy
{
	my (%change) = @_;
	my %member = (
		effect => '"permit"', principal => '{"op": "All"}', action => '{"op": "All"}', resource => '{"op": "All"}',
		conditions => '[]', %change);
	return '{' . join(', ', map { defined $member{$_} ? "\"$_\": $member{$_}" : () } sort keys %member) . '}';
}

my @bad_policies = (
	[ '[]', 'an object must stand here.' ],
	[ '"permit"', 'an object must stand here.' ],
	[ policy(effect => '"Permit"'), 'effect: permit or forbid must stand here.' ],
	[ policy(effect => undef), 'effect: the member is missing.' ],
	[ policy(conditions => undef), 'conditions: the member is missing.' ],
	[ policy(unles => '[]'), 'unles: the member is not known.' ],
	[ policy(principal => '{"op": "=="}'), 'principal: these are not the members of such a constraint.' ],
	[ policy(principal => '{"op": "All", "entity": {"type": "A", "id": "b"}}'), 'principal: these are not the members of such a constraint.' ],
	[ policy(principal => '{"op": "in", "entities": []}'), 'principal: these are not the members of such a constraint.' ],
	[ policy(principal => '{"op": "==", "slot": "?principal"}'), 'principal.slot: templates are not supported: a slot cannot stand here.' ],
	[ policy(principal => '{"op": "!="}'), 'principal.op: there is no such operator.' ],
	[ policy(principal => '{"op": "is", "entity_type": "if"}'), 'principal.entity_type: the name of an entity type must stand here.' ],
	[ policy(resource => '{"op": "is", "entity_type": "A", "in": {"entity": {"type": "A"}}}'), 'resource.in.entity.id: the member is missing.' ],
	[ policy(action => '{"op": "is", "entity_type": "Action"}'), 'action: the action has no "is".' ],
	[ policy(action => '{"op": "==", "entity": {"type": "User", "id": "b"}}'), 'action.entity: an entity of type Action must stand here.' ],
	[ policy(action => '{"op": "in", "entities": [{"type": "User", "id": "b"}]}'), 'action.entities[0]: an entity of type Action must stand here.' ],
	[ policy(conditions => '[{"kind": "When", "body": {"Value": true}}]'), 'conditions[0].kind: when or unless must stand here.' ],
	[ policy(conditions => '[{"kind": "when", "body": {"Value": true}}, {"kind": "when", "body": {"!": 1}}]'),
		'conditions[1].body.!: an object must stand here.' ],
	[ policy(annotations => '{"a b": "x"}'), 'annotations.a b: an annotation is not an identifier.' ],
	[ policy(annotations => '{"a": 1}'), 'annotations.a: a string must stand here.' ]);
foreach (@bad_policies)
{
	my ($json, $hint) = @$_;
	is(refusal('cedar_policy_to_text(' . quote($json) . ')'), "22023 $hint", "$json is refused");
}

# Text that is refused says where.
is(refusal("cedar_policy_to_json(E'permit (principal, action, resource)\\nwhen { \"\xc3\xa4\" == user };')"),
	'22023 Line 2, column 15: there is no such variable.', 'a problem of text has its line and column');
is(refusal(q{cedar_expr_to_json('"a\\0b"')}), '22P05', 'NUL has no JSON form');

# However deep it nests.
is($node->safe_psql('postgres', q{SELECT cedar_again('permit (principal, action, resource) when { '
	|| repeat('1 + (', 500) || '1' || repeat(')', 500) || ' };')}), 'same', 'nesting 500 deep is written and read');
is(refusal(q{cedar_expr_to_text((repeat('{"!": {"arg": ', 512) || '{"Value": true}' || repeat('}}', 512))::jsonb)}) =~ s/ .*: / /r,
	'22023 the expression nests too deep.', 'nesting 512 deep in JSON is refused');
is(refusal(q{cedar_expr_to_text(('{"Value": ' || repeat('[', 600) || repeat(']', 600) || '}')::jsonb)}) =~ s/ .*: / /r,
	'22023 the expression nests too deep.', 'a value that nests 600 deep is refused');

# Policies that others wrote.
my $corpora = $ENV{KEYSTONE_CORPORA} // '';
my @sources = map { [ "own $_", $policies[$_][0] ] } 0 .. $#policies;
push @sources, map { [ $_->[0], "permit (principal, action, resource) when { $_->[0] };" ] } @expressions;
foreach my $archive (qw(cedar-corpus cedar-handwritten))
{
	next unless -r "$corpora/$archive.tar.xz";
	system('tar', 'xJf', "$corpora/$archive.tar.xz", '-C', $directory) == 0 or die "could not unpack $archive";
}
foreach my $file (sort glob("$directory/cedar-corpus/*.cedar"), glob("$directory/tests/*/*.cedar"),
	glob("$directory/cedar-handwritten/tests/*/*.cedar"))
{
	push @sources, [ $file =~ s{^\Q$directory\E/}{}r, slurp_file($file) ];
}
diag('no corpora: KEYSTONE_CORPORA names no directory with them') if @sources < 1000;

# The oracle's JSON loses integers beyond 2^53, and jsonb has no NUL.
sub ask_oracle
{
	my ($modules) = @_;
	local $ENV{NODE_PATH} = $modules;
	open my $out, '>:raw', "$directory/sources.json" or die $!;
	print $out JSON::PP->new->encode([ map { my $text = $_->[1]; utf8::decode($text); $text } @sources ]) =~
	  s/([^\x00-\x7f]+)/my $text = $1; utf8::encode($text); $text/ger;
	close $out or die $!;
	my ($json, $err);
	IPC::Run::run([ 'node', "$top/test/cedar/policy_json.cjs", "$directory/sources.json" ], '>', \$json, '2>', \$err)
	  or die "cedar-wasm: $err";
	my $answers = JSON::PP->new->utf8->allow_nonref->decode($json);
	return map { defined $_ ? JSON::PP->new->utf8->encode($_) : undef } @$answers;
}

my ($modules, $reason) = cedar_wasm($directory);
my @answers = defined $modules ? ask_oracle($modules) : ();

sub copy_field
{
	my ($text) = @_;
	return '\\N' unless defined $text;
	return $text =~ s/\\/\\\\/gr =~ s/\n/\\n/gr =~ s/\t/\\t/gr =~ s/\r/\\r/gr;
}
open my $tsv, '>:raw', "$directory/sources.tsv" or die $!;
foreach my $n (0 .. $#sources)
{
	my ($name, $text) = @{ $sources[$n] };
	my $answer = $answers[$n];
	$answer = undef if defined $answer && ($answer =~ /\\u0000/ || $text =~ /\d{16}/);
	utf8::encode($text) if utf8::is_utf8($text);
	print $tsv join("\t", $n, map { copy_field($_) } $name, $text, $answer), "\n";
}
close $tsv or die $!;
$node->safe_psql('postgres', "COPY sources FROM '$directory/sources.tsv'");

my ($same, $nul, $other) = split /\|/, $node->safe_psql('postgres', <<'EOF');
SELECT count(*) FILTER (WHERE a = 'same'), count(*) FILTER (WHERE a = 'NUL'), count(*) FILTER (WHERE a NOT IN ('same', 'NUL'))
FROM (SELECT again(policies) AS a FROM sources) s
EOF
diag("of " . @sources . " sources $same are the same when they are written as text and JSON and read again; "
	  . "$nul have a NUL character, which is text only");
is($other, 0, 'policies survive being written as text and JSON');
cmp_ok($same, '>', 0.8 * @sources, 'most policies have no NUL');

SKIP:
{
	skip "no cedar-wasm: $reason", 1 unless defined $modules;
	my ($compared) = $node->safe_psql('postgres', 'SELECT count(oracle) FROM sources');
	diag("cedar-wasm gave $compared JSON forms to compare; "
		  . (@sources - $compared) . ' have NUL, or integers that JavaScript does not keep');
	is($node->safe_psql('postgres', <<'EOF'), '', 'the JSON form is the one of cedar-wasm');
SELECT name, to_json(policies), oracle FROM sources
WHERE oracle IS NOT NULL AND to_json(policies) IS DISTINCT FROM oracle::jsonb ORDER BY n LIMIT 5
EOF
}

done_testing();
