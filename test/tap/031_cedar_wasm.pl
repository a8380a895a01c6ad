# Sets of many policies: keystone.cedar_authorize() says what cedar-wasm says.
#
# cedar-wasm comes from the npm registry, unless KEYSTONE_CEDAR_WASM names a
# node_modules directory that has it; without Node.js or a network there is
# nothing to compare with.  CEDAR_SETS is how many sets of up to 50 policies
# there are (500), each asked four times, CEDAR_SEED which (1).
use strict;
use warnings;

use CedarCases qw(make_table add_rows compare);
use CedarWasm;
use FindBin;
use IPC::Run;
use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $sets = $ENV{CEDAR_SETS} // 500;
my $seed = $ENV{CEDAR_SEED} // 1;
my $directory = PostgreSQL::Test::Utils::tempdir;
my ($modules, $reason) = cedar_wasm($directory);
plan skip_all => $reason unless defined $modules;

my $file = "$directory/random.tsv";
{
	local $ENV{NODE_PATH} = $modules;
	my $complaint;
	IPC::Run::run([ 'node', "$FindBin::RealBin/../cedar/random.cjs", $seed, $sets ], '>', $file, '2>', \$complaint)
	  or die "random.cjs: $complaint";
}

my $node = KeystoneNode->start(name => 'wasm');
make_table($node);
add_rows($node, $file);
compare($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM cases'), 4 * $sets, "$sets sets with four requests each");
cmp_ok($node->safe_psql('postgres', "SELECT least(count(*) FILTER (WHERE decision = 'allow'), count(*) FILTER (WHERE errors <> '{}'),
	count(*) FILTER (WHERE cardinality(reasons) > 1))"
		  . ' FROM cases'), '>', $sets / 10, 'many are allowed, many have errors, many have several reasons');
is($node->safe_psql('postgres', <<'EOF'), '', "Keystone and cedar-wasm say the same (CEDAR_SEED=$seed)");
	SELECT name, n, request, decision, reasons, errors, got_decision, got_reasons, got_errors, problem FROM cases
	WHERE (got_decision = decision AND got_reasons = reasons AND got_errors = errors) IS NOT TRUE ORDER BY name, n LIMIT 5
EOF

done_testing();
