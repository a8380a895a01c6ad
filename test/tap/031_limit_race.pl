# I8 under 1,000,000 attempts of 8 clients: never more than a limit admits, and
# never fewer, whatever algorithm counts, while transactions and subtransactions
# are rolled back; and never more while calls are cancelled, whenever that is.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(pgbench start_pgbench);
use Test::More;
use Time::HiRes qw(time usleep);

my $clients = 8;
my $calls = 20;
my $attempts = 1000;	# of a call
my $total = $clients * $calls * $attempts;

my $node = KeystoneNode->start(name => 'limit_race', conf => <<'EOF2');
autovacuum = off
max_connections = 30
EOF2

sub query { return $node->safe_psql('postgres', $_[0]) }

# A fifth of the attempts are in subtransactions that are rolled back: they
# count, and what they were told is remembered in the function's variables.
query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE TABLE admitted (race text, n int);
CREATE FUNCTION attempt(limits text[], n int, cost int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	admitted int := 0;
	ok boolean;
	requests jsonb := (SELECT jsonb_agg(jsonb_build_object('name', l, 'key', 'k', 'cost', cost)) FROM unnest(limits) l);
BEGIN
	FOR i IN 1 .. n LOOP
		BEGIN
			IF cardinality(limits) = 1 THEN
				ok := (keystone.limit_consume(limits[1], 'k', cost)).allowed;
			ELSE
				ok := (SELECT bool_and(allowed) FROM keystone.limit_consume_many(requests));
			END IF;
			admitted := admitted + ok::int;
			IF i % 5 = 0 THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION WHEN division_by_zero THEN
		END;
	END LOOP;
	RETURN admitted;
END
$$;
EOF2

# All clients at once; how many were admitted.
sub race
{
	my ($name, $limits, $cost) = @_;
	my $call = sprintf q{SELECT attempt('{%s}', %d, %d) AS n}, join(',', @$limits), $attempts, $cost // 1;

	# the transaction of the attempts is rolled back; what it was told is not
	my $script = "BEGIN;\n$call \\gset\nROLLBACK;\nINSERT INTO admitted VALUES ('$name', :n);";
	my ($ok, $output) = pgbench($node, [$script], '-c', $clients, '-j', '2', '-t', $calls, 'postgres');
	ok($ok, "$name: $total attempts") or diag($output);
	is(query("SELECT count(*) FROM admitted WHERE race = '$name'"), $clients * $calls, "$name: all were answered");
	return query("SELECT sum(n) FROM admitted WHERE race = '$name'");
}

sub remaining { return query("SELECT remaining FROM keystone.limit_peek('$_[0]', 'k')") }

query(q{SELECT keystone.limit_define('sliding', '100000/day'),
	keystone.limit_define('log', '16/day', options => '{"algorithm": "log"}'),
	keystone.limit_define('calendar', '100000/month', options => '{"algorithm": "calendar", "timezone": "Asia/Kathmandu"}'),
	keystone.limit_define('gcra', '50000/month', options => '{"algorithm": "gcra"}'),
	keystone.limit_define('three', '1000000/day, 70001/week, 100000/month'),
	keystone.limit_define('costly', '70000/week'),
	keystone.limit_define('left', '1000000/week'),
	keystone.limit_define('right', '60000/week'),
	keystone.limit_define('shut', '100000/week')});

is(race('sliding', ['sliding']), 100000, 'I8 sliding: exactly the limit');
is(race('log', ['log']), 16, 'I8 log: exactly the limit');
is(race('calendar', ['calendar']), 100000, 'I8 calendar: exactly the limit');
is(race('three', ['three']), 70001, 'I8 three windows: exactly the tightest');

# A tenth at once, then what drips back while the race lasts, and no more.
{
	my $from = time;
	my $admitted = race('gcra', ['gcra']);
	my $dripped = (time - $from) * 50000 / (28 * 86400) + 1;
	ok($admitted >= 5000 && $admitted <= 5000 + $dripped, "I8 gcra: its burst, and what drips back ($admitted)");
}

is(race('costly', ['costly'], 3), int(70000 / 3), 'I8 attempts that cost three: exactly what fits');
is(remaining('costly'), 70000 % 3, 'I8 and the rest is left');
is(race('both', [ 'left', 'right' ]), 60000, 'I8 two limits at once: exactly the tighter');
is(remaining('left'), 1000000 - 60000, 'I8 and the other one counted no refused attempt');

# Cancelled at random: what was counted and not told is the caller's loss.
{
	my $script = "SELECT attempt('{shut}', 2000, 1) AS n \\gset\nINSERT INTO admitted VALUES ('shut', :n);";
	my @races = map { start_pgbench($node, [$script], '-c', 1, '-t', 100, 'dbname=postgres application_name=racer') } 1 .. $clients;
	my $cancelled = 0;
	foreach (1 .. 40)
	{
		usleep(20000);
		$cancelled += query(q{SELECT count(*) FROM (SELECT pg_cancel_backend(pid) FROM pg_stat_activity
			WHERE application_name = 'racer' AND state = 'active' AND random() < 0.1 OFFSET 0) c});
	}
	$_->finish foreach @races;
	my $admitted = query(q{SELECT coalesce(sum(n), 0) FROM admitted WHERE race = 'shut'});
	cmp_ok($cancelled, '>', 0, "$cancelled calls were cancelled");
	cmp_ok($admitted, '<=', 100000 - remaining('shut'), 'I8 none was admitted that does not count');
	my $rest = query(q{SELECT sum((keystone.limit_consume('shut', 'k')).allowed::int) FROM generate_series(1, 120000)});
	cmp_ok($admitted + $rest, '<=', 100000, 'I8 and all together never more than the limit');
	is(remaining('shut'), 0, 'I8 it is used up');
}

$node->stop;
done_testing();
