# policy_schema() and policy_validate() agree: over a document with everything
# in it, and that document with one thing changed, in each place and each way.
#
# KEYSTONE_AJV names a node_modules directory with the package ajv; without it,
# npm gets one.  Without npm the schema is compared with nothing.
use strict;
use warnings;

use CedarWasm qw(npm_package);
use FindBin;
use IPC::Run;
use JSON::PP;
use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $directory = PostgreSQL::Test::Utils::tempdir;
my ($modules, $reason) = npm_package($directory, 'ajv', '8.17.1', 'KEYSTONE_AJV');
plan skip_all => "no ajv: $reason" unless defined $modules;

my $json = JSON::PP->new->canonical->allow_nonref;
my $document = <<'EOF';
{ "apiVersion": "keystone.policy/v1", "id": "all", "description": "Everything", "enforcement": "shadow",
  "scope": {"level": "secret", "id": "db/**"},
  "settings": {"auto_redeploy": false, "soft_limit": 80, "hard_limit": 100, "max_secret_age": "P90D", "approvals": 2},
  "delegates": ["soft_limit", "approvals"],
  "groups": {"sec": ["00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000B"]},
  "windows": {"w": {"tz": "Europe/Berlin", "rrule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH", "start": "22:00", "duration": "PT4H",
                    "dst": "wall", "from": "2026-01-05", "exclude": ["2026-12-24/2026-12-27", "2027-01-01"]}},
  "rules": [
    {"id": "a", "effect": "forbid", "reason": "freeze", "when": {"Value": true}, "unless": "false", "windows": {"deny": ["w"]},
     "match": {"actions": ["rotate", "de*"], "env": ["prod*"], "provider": ["*"], "secret": ["**"], "roles": ["owner", "a*"],
               "principals": ["*", "group:sec", "00000000-0000-0000-0000-00000000000c"]}},
    {"id": "b", "effect": "oblige", "match": {"actions": ["*"]}, "windows": {"allow": ["w"], "deny": ["w"]}, "obligations": [
      {"type": "require_approval", "factors": [{"group": "sec", "count": 2}, {"role": "admin"}, {"permission": "approve", "count": 1}],
       "distinct": true, "timeout": "PT4H", "valid_for": "PT30M", "loops": 1, "on_timeout": "expire",
       "escalate": [{"after": "PT1H", "to": {"role": "admin"}}, {"after": "PT1H30M", "to": {"group": "sec"}}]}]},
    {"id": "c", "effect": "oblige", "match": {"actions": ["*"]}, "obligations": [
      {"type": "require_preview", "max_age": "P1W"}, {"type": "require_reason"}, {"type": "require_mfa", "max_age": "PT900S"},
      {"type": "require_mfa"}, {"type": "notify", "channel": "ops"}, {"type": "wait", "duration": "PT10M"}]},
    {"id": "d", "effect": "permit", "match": {"actions": ["reveal"]}, "obligations": []}]}
EOF
my @others = map { $json->decode($_) } (
	'null', 'true', '0', '1', '-1', '1.5', '100000', '""', '"x"', '"*"', '"a b"', '"PT1H"', '"P"', '"group:sec"', '[]', '["x"]', '[1]',
	'{}', '{"x": 1}', '{"type": "notify"}', '"owner"', '"forbid"', '"oblige"', '"system"', '"provider"', '"2026-01-05"',
	'"25:00"', '"FREQ=YEARLY"', '"FREQ=DAILY"');

# All documents with one thing changed below a value; put() puts a new value in
# its place in a copy.
my @documents;

sub change
{
	my ($value, $put) = @_;
	push @documents, $put->($_) foreach @others;
	if (ref $value eq 'HASH')
	{
		push @documents, $put->({ %$value, unknown => 1 });
		foreach my $key (sort keys %$value)
		{
			my %without = %$value;
			delete $without{$key};
			push @documents, $put->(\%without);
			change($value->{$key}, sub { $put->({ %$value, $key => $_[0] }) });
		}
	}
	elsif (ref $value eq 'ARRAY')
	{
		push @documents, $put->([ (@$value) x 70 ]) if @$value;
		foreach my $i (0 .. $#$value)
		{
			change($value->[$i], sub { my @copy = @$value; $copy[$i] = $_[0]; $put->(\@copy) });
		}
	}
	elsif (!ref $value && $value =~ /\D/)
	{
		push @documents, $put->($value x 400);
	}
	return;
}

my $whole = $json->decode($document);
push @documents, $whole;
change($whole, sub { $_[0] });

sub write_json
{
	my ($file, $value) = @_;
	open my $out, '>:raw', $file or die "$file: $!";
	print $out $json->encode($value);
	close $out or die "$file: $!";
	return;
}

my $node = KeystoneNode->start(name => 'schema');
$node->safe_psql('postgres', 'CREATE EXTENSION keystone');
write_json("$directory/schema.json", $json->decode($node->safe_psql('postgres', 'SELECT keystone.policy_schema()')));
write_json("$directory/documents.json", \@documents);

local $ENV{NODE_PATH} = $modules;
IPC::Run::run([ 'node', "$FindBin::RealBin/../policy/schema.cjs", "$directory/schema.json", "$directory/documents.json" ],
	'>', \my $answers) or die 'ajv failed';
my @taken = @{ $json->decode($answers) };

open my $out, '>:raw', "$directory/documents.txt" or die $!;
print $out $json->encode($_), "\n" foreach @documents;
close $out or die $!;
$node->safe_psql('postgres', <<~"EOF");
	CREATE TABLE documents (n int GENERATED ALWAYS AS IDENTITY, document jsonb);
	\\copy documents (document) FROM '$directory/documents.txt' (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')
	EOF
# What is wrong with each: all that a schema could know of, and all else.
my @wrong = map { [ split /\|/, $_, -1 ] } split /\n/, $node->safe_psql('postgres', <<~'EOF');
	SELECT count(*) FILTER (WHERE NOT beyond), count(*) FILTER (WHERE beyond)
	FROM documents d LEFT JOIN LATERAL (
		SELECT message ~ 'the document defines|must be a duration|must be a time zone|must be a date|must be a Cedar|for a request$|no other rule|of the actions|that the group has|bytes long|nodes of expressions'
			OR path ~ 'rrule$' AS beyond
		FROM keystone.policy_validate(d.document) WHERE severity = 'error') p ON true
	GROUP BY n ORDER BY n
	EOF
# Without a problem the join has a row of NULL, which counts as neither.
my ($stricter, $laxer, $both, $neither) = (0, 0, 0, 0);
my @differ;
foreach my $i (0 .. $#documents)
{
	my ($plain, $beyond) = @{ $wrong[$i] };
	my $good = $plain + $beyond == 0;
	$both++ if $good && $taken[$i];
	$neither++ if !$good && !$taken[$i];
	push @differ, 'only the schema refuses ' . $json->encode($documents[$i]) if $good && !$taken[$i];
	push @differ, 'only the validator refuses ' . $json->encode($documents[$i]) if $plain > 0 && $taken[$i];
}
diag(@documents . " documents: $both taken by both, $neither refused by both");
is(scalar @wrong, scalar @documents, 'all documents were validated');
ok($taken[0] && $wrong[0][0] + $wrong[0][1] == 0, 'both take the document with everything');
cmp_ok($both, '>', 100, 'some changes are good');
cmp_ok($neither, '>', 1000, 'many are not');
is(join("\n", @differ[ 0 .. ($#differ < 4 ? $#differ : 4) ]), '', 'they differ in nothing that a schema can say');

done_testing();
