# What policies cost is bounded: a report on many members keeps nothing of the
# decisions that it has made, and whatever takes long ends when it is cancelled.
use strict;
use warnings;

use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = KeystoneNode->start(name => 'policy_cost', conf => "keystone.denials_per_minute = 0\n");

# Members, all of whom many rules are about.
my $rules = join ',', map
  { qq({"id": "r$_", "effect": "oblige", "match": {"actions": ["reveal"]}, "reason": "because", "obligations": [{"type": "require_reason"}]}) }
  1 .. 1000;
$node->safe_psql('postgres', <<"EOF2");
CREATE EXTENSION keystone;
CREATE ROLE ana LOGIN;
SELECT keystone.grant_access('ana', 'client'), keystone.register_principal('ana', db_role => 'ana');
CREATE TABLE people AS SELECT keystone.register_principal('p' || n) AS id FROM generate_series(1, 400) n;
GRANT SELECT ON people TO ana;
SET SESSION AUTHORIZATION ana;
SELECT keystone.create_workspace('acme');
SELECT count(keystone.add_member('acme', id, 'admin')) FROM people;
SELECT id FROM keystone.policy_put('acme', '{"apiVersion": "keystone.policy/v1", "id": "p", "scope": {"level": "workspace"}, "rules": [$rules]}');
EOF2

# Megabytes that a session has had at most.
sub peak
{
	my ($session) = @_;
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m ? $1 / 1024 : undef;
}

SKIP:
{
	skip 'no /proc', 2 unless -e "/proc/$$/status";
	my $session = $node->background_psql('postgres', on_error_stop => 1);
	$session->query_safe("SET SESSION AUTHORIZATION ana; SELECT keystone.policy_explain('acme', 'reveal') IS NULL");
	my $before = peak($session);
	is($session->query_safe("SELECT count(*) FROM keystone.policy_who_can('acme', 'reveal')"), 401, 'who can: everybody');
	my $grown = peak($session) - $before;
	cmp_ok($grown, '<', 32, "policy_who_can keeps nothing of its decisions ($grown MB)");
	$session->quit;
}

# How long it takes until a query is cancelled that would take much longer.
sub is_cancelled
{
	my ($query, $name) = @_;
	my $begin = time;
	my ($stdout, $stderr) = ('', '');

	$node->psql('postgres', "SET SESSION AUTHORIZATION ana; SET statement_timeout = '200ms'; $query", stdout => \$stdout, stderr => \$stderr);
	like($stderr, qr/canceling statement due to statement timeout/, "$name: cancelled");
	cmp_ok(time - $begin, '<', 1.5, "$name: soon");
}

# One condition that is as much work as a request may make.
is_cancelled(<<'EOF2', 'containsAll');
SELECT keystone.cedar_authorize(
	'permit (principal, action, resource) when { ' || (SELECT string_agg('context.s.containsAll(context.s)', ' && ') FROM generate_series(1, 490)) || ' };',
	'[]', jsonb_build_object('principal', 'U::"a"', 'action', 'A::"a"', 'resource', 'R::"a"',
		'context', jsonb_build_object('s', (SELECT jsonb_agg('x' || n) FROM generate_series(1, 39000) n))))
EOF2

# Patterns that take long, in as many policies as a workspace may have.
my $globs = join ',', map { '"*' . 'a' x 117 . sprintf('b%03d"', $_) } 1 .. 64;
my $slow = join ',', map { qq({"id": "r$_", "effect": "forbid", "match": {"actions": ["rotate"], "secret": [$globs]}}) } 1 .. 20;
$node->safe_psql('postgres', "SET SESSION AUTHORIZATION ana;" . join '', map
  { qq(SELECT id FROM keystone.policy_put('acme', '{"apiVersion": "keystone.policy/v1", "id": "g$_", "scope": {"level": "workspace"}, "rules": [$slow]}');\n) } 1 .. 120);
is_cancelled("SELECT keystone.policy_allowed('acme', 'rotate', jsonb_build_object('name', repeat('a', 200))) FROM generate_series(1, 2)", 'patterns');

$node->stop;
done_testing();
