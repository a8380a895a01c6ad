# I4: what is refused does not tell by the time that it takes whether it is
# there, and no value is given to a GET.
use strict;
use warnings;

use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(conf => <<'EOF2');
keystone.authenticators = 'authenticator'
keystone.trust_claims = on
keystone.denials_per_minute = 20
log_statement = none
log_min_error_statement = panic
log_min_messages = log
autovacuum = off
EOF2

# query SQL [ROLE]
sub query
{
	my ($sql, $role) = @_;
	return $node->safe_psql('postgres', $sql, $role ? (extra_params => [ '-U', $role ]) : ());
}

my %id = (alice => 'a11ce000-0000-4000-8000-000000000001', mallory => 'bad00000-0000-4000-8000-000000000003');
query('CREATE EXTENSION keystone; CREATE ROLE authenticator LOGIN');
foreach my $role (qw(alice mallory))
{
	query("CREATE ROLE $role LOGIN; SELECT keystone.register_principal('$role', id => '$id{$role}', db_role => '$role')");
}
query("SELECT keystone.grant_access(r, 'client') FROM unnest('{alice,mallory,authenticator}'::name[]) r");
query(<<"EOF2", 'alice');
SELECT keystone.create_workspace('foreign'), keystone.create_workspace('common');
SELECT keystone.add_member('common', '$id{mallory}', 'operator');
SELECT keystone.store('foreign', 'token ' || n, 'value', 'env ' || n, 'gemini', metadata => jsonb_build_object('long', repeat(md5(n::text), 10 * n)))
FROM generate_series(1, 50) n;
SELECT keystone.store('common', 'token ' || n, 'value', personal => true) FROM generate_series(1, 50) n;
EOF2

# Medians over 2,000 calls of each kind, ten at a time, in turns.
query(<<'EOF2');
CREATE TABLE ids AS SELECT array_agg(c.id) FILTER (WHERE w.slug = 'foreign') AS "foreign", array_agg(c.id) FILTER (WHERE w.slug = 'common') AS invisible
FROM keystone_private.credentials c JOIN keystone.workspaces w ON w.id = c.workspace_id;
GRANT SELECT ON ids TO PUBLIC;
CREATE FUNCTION probe(call text) RETURNS TABLE (kind text, microseconds numeric) LANGUAGE plpgsql AS $$
DECLARE
	kinds text[] := '{missing,foreign,invisible}';
	probed text;
	started timestamptz;
	wanted uuid;
	there ids;
BEGIN
	SELECT * INTO there FROM ids;
	CREATE TEMP TABLE took (kind text, microseconds float8) ON COMMIT DROP;
	FOR i IN 1 .. 630 LOOP
		probed := kinds[1 + i % 3];
		wanted := CASE probed WHEN 'foreign' THEN there."foreign"[1 + i % 50] WHEN 'invisible' THEN there.invisible[1 + i % 50] ELSE gen_random_uuid() END;
		started := clock_timestamp();
		FOR j IN 1 .. 10 LOOP
			BEGIN
				CASE call
					WHEN 'reveal_by_id' THEN PERFORM keystone.reveal_by_id(wanted);
					WHEN 'delete_credential' THEN PERFORM keystone.delete_credential(wanted);
				END CASE;
				RAISE EXCEPTION 'not refused';
			EXCEPTION WHEN SQLSTATE 'PT404' THEN
				NULL;
			END;
		END LOOP;
		-- the first ones have entries of their own, and fill caches
		IF i > 30 THEN
			INSERT INTO took VALUES (probed, extract(epoch FROM clock_timestamp() - started) * 100000);
		END IF;
	END LOOP;
	RETURN QUERY SELECT t.kind, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY t.microseconds)::numeric, 2) FROM took t GROUP BY t.kind;
END
$$;
EOF2
foreach my $call (qw(reveal_by_id delete_credential))
{
	my %took = map { split /\|/ } split /\n/, query("SELECT * FROM probe('$call')", 'mallory');
	diag("$call, median in microseconds: " . join ', ', map { "$_ $took{$_}" } qw(missing foreign invisible));
	my $ratio = $took{foreign} / $took{missing};
	cmp_ok($ratio > 1 ? $ratio : 1 / $ratio, '<', 1.25, "$call: missing and foreign take the same time");
}

# Values over HTTP: by a POST only.
# request METHOD, SQL: the outcome of a statement in a request for Alice
sub request
{
	my ($method, $sql) = @_;
	my $out = '';
	my $err = '';
	$node->psql('postgres', <<"EOF2", stdout => \$out, stderr => \$err, on_error_stop => 1, extra_params => [ '-U', 'authenticator', '-q', '-v', 'VERBOSITY=sqlstate' ]);
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub": "$id{alice}"}', true), set_config('request.method', '$method', true) \\g /dev/null
$sql;
COMMIT;
EOF2
	return $err =~ /ERROR: *(\w+)/ ? $1 : $out;
}

my ($shared) = query("SELECT id FROM keystone_private.credentials WHERE name = 'token 1' AND environment = 'env 1'");
my %reveals = (
	reveal => [ "SELECT keystone.reveal('foreign', 'token 1', 'env 1')", 'value' ],
	reveal_by_id => [ "SELECT keystone.reveal_by_id('$shared')", 'value' ],
	reveal_many => [ "SELECT value FROM keystone.reveal_many(ARRAY['$shared']::uuid[])", 'value' ],
	reveal_env => [ "SELECT value FROM keystone.reveal_env('foreign', 'env 1')", 'value' ],
	export_env => [ "SELECT length(keystone.export_env('foreign', 'env 1')) > 0", 't' ]);
foreach my $function (sort keys %reveals)
{
	my ($sql, $value) = @{ $reveals{$function} };
	is(request('POST', $sql), $value, "POST $function");
	is(request($_, $sql), '25006', "$_ $function") foreach qw(GET HEAD);
}
is(request('GET', "SELECT count(*) FROM keystone.credentials WHERE workspace = 'foreign'"), 50, 'GET of a list');
is(request('GET', "SELECT name FROM keystone.resolve('foreign', 'gemini', environment => 'env 1')"), 'token 1', 'GET resolve');

# Elsewhere a request's method is nobody's business, and READ ONLY no obstacle.
is(query("SET request.method = 'GET'; SELECT keystone.reveal('foreign', 'token 1', 'env 1')", 'alice'), 'value', 'a backend that sets request.method');
is(query("BEGIN READ ONLY; SELECT keystone.reveal('foreign', 'token 1', 'env 1'); COMMIT", 'alice'), 'value', 'a read-only transaction');

# I2: each caller's denials are counted by themselves, also when many are denied
# in the same minute.
query(<<'EOF2');
CREATE ROLE crowd;
SELECT keystone.grant_access('crowd', 'client');
DO $$ BEGIN FOR i IN 1 .. 300 LOOP EXECUTE format('CREATE ROLE crowd_%s LOGIN IN ROLE crowd', i); END LOOP; END $$;
EOF2
query(<<'EOF2');
DO $$
BEGIN
	FOR i IN 1 .. 600 LOOP
		EXECUTE format('SET SESSION AUTHORIZATION crowd_%s', i % 300 + 1);
		BEGIN
			PERFORM keystone.reveal('foreign', 'token 1');
		EXCEPTION WHEN SQLSTATE 'PT404' OR insufficient_privilege THEN
		END;
	END LOOP;
END $$;
EOF2
is(query(q{SELECT count(*), count(DISTINCT db_role) FROM keystone.audit_log WHERE outcome = 'denied' AND db_role LIKE 'crowd%' AND action <> 'denials'}),
	'600|300', 'I2 no caller takes the place of another in the log of denials');

done_testing();
