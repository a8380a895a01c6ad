# I4: who is calling is proved, not asserted.  Requests as PostgREST makes
# them, and what injected SQL can make of them: settings of one's own, tokens
# that are forged, stale or somebody else's, savepoints, pooled connections,
# functions, triggers, casts and indexes that run as others.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use KeystoneNode;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = KeystoneNode::fresh_key();
my $node = KeystoneNode->start(
	start => 0,
	conf => "keystone.authenticators = 'authenticator, \"Other\"'\nkeystone.jwt_issuer = 'https://auth.example.com'\n");
my $keys_file = $node->basedir . '/jwt_keys';
append_to_file($keys_file, "$secret\n");
chmod 0600, $keys_file;
$node->append_conf('postgresql.conf', "keystone.jwt_keys_file = '$keys_file'");
$node->start;

my %id = (
	alice => 'a11ce000-0000-4000-8000-000000000001',
	bob => 'b0b00000-0000-4000-8000-000000000002',
	mallory => 'bad00000-0000-4000-8000-000000000003',
	none => '00000000-0000-0000-0000-000000000000');

sub json
{
	my ($value) = @_;
	return '{' . join(',', map { qq("$_":) . ($value->{$_} =~ /^\d+$/ ? $value->{$_} : qq("$value->{$_}")) } sort keys %$value) . '}';
}

# A token; claims replace the usual ones, undef removes one.
sub token
{
	my ($sub, $claims, $key) = @_;
	my %all = (iss => 'https://auth.example.com', sub => $sub, role => 'authenticated', exp => time + 600, %{ $claims // {} });
	delete $all{$_} foreach grep { !defined $all{$_} } keys %all;
	my $text = encode_base64url('{"alg":"HS256","typ":"JWT"}') . '.' . encode_base64url(json(\%all));
	return "$text." . encode_base64url(hmac_sha256($text, $key // $secret));
}

my %token = map { $_ => token($id{$_}) } qw(alice bob mallory);

# What PostgREST puts in front of a request: settings local to the transaction.
sub request
{
	my (%opts) = @_;
	my %headers = ('user-agent' => 'test/1', 'x-forwarded-for' => '198.51.100.7, 10.0.0.1');
	$headers{authorization} = "Bearer $opts{token}" if defined $opts{token};
	$headers{'x-keystone-key'} = $opts{key} if defined $opts{key};
	my $sql = "BEGIN;\nSELECT set_config('request.method', '" . ($opts{method} // 'POST') . "', true)"
	  . ", set_config('request.headers', '" . json(\%headers) . "', true)"
	  . ", set_config('request.jwt.claims', '" . ($opts{claims} // '{"role":"anon"}') . "', true)"
	  . ", set_config('role', '" . ($opts{role} // 'authenticated') . "', true) \\g /dev/null\n";
	$sql .= "SELECT keystone.pre_request() \\g /dev/null\n" if $opts{pre_request};
	return $sql;
}

# Runs SQL as a login role.  Returns its output, or the first error's SQLSTATE.
sub run_as
{
	my ($role, $sql) = @_;
	my ($stdout, $stderr) = ('', '');
	$node->psql('vault', $sql, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1,
		extra_params => [ '-U', $role, '-v', 'VERBOSITY=sqlstate' ]);
	return $stderr =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5})\b/ ? $1 : $stdout;
}

sub request_is
{
	my ($opts, $sql, $expected, $name) = @_;
	is(run_as('authenticator', request(%$opts) . "$sql;\nCOMMIT;"), $expected, $name);
	return;
}

my $who = 'SELECT coalesce(principal::text, reason), source FROM keystone.whoami()';

$node->safe_psql('postgres', 'CREATE DATABASE vault');
$node->safe_psql('vault', <<~'EOF2');
	CREATE EXTENSION keystone;
	CREATE ROLE authenticator LOGIN NOINHERIT;
	CREATE ROLE anon;
	CREATE ROLE authenticated;
	CREATE ROLE service_role;
	CREATE ROLE backend LOGIN;
	CREATE ROLE worker LOGIN;
	GRANT anon, authenticated, service_role TO authenticator;
	SELECT keystone.grant_access(r, 'client') FROM unnest(ARRAY['anon', 'authenticated', 'service_role', 'backend', 'worker']) r;
	SELECT keystone.register_principal('Backend', db_role => 'backend');
	GRANT CREATE ON SCHEMA public TO authenticated;
	EOF2

# Proof by a token in the request.
request_is({ token => $token{alice} }, $who, "$id{alice}|jwt", 'a verified token is an identity');
request_is({ token => $token{alice} }, q{SELECT keystone.create_workspace('acme') IS NOT NULL}, 't', 'its first write makes the principal');
request_is({ token => $token{alice} }, q{SELECT action FROM keystone.store('acme', 'token', 'the value of a token')}, 'created', 'and it stores');
request_is({ token => $token{alice} }, q{SELECT keystone.reveal('acme', 'token')}, 'the value of a token', 'and reveals');
request_is({ token => $token{alice}, method => 'GET' }, q{SELECT keystone.reveal('acme', 'token')}, '25006', 'not by GET');
request_is({ token => $token{alice}, method => 'HEAD' }, q{SELECT keystone.reveal('acme', 'token')}, '25006', 'nor by HEAD');
request_is({ token => $token{bob} }, q{SELECT keystone.reveal('acme', 'token')}, 'PT404', 'I4 another token is another caller');
request_is({ token => $token{bob} }, 'SELECT count(*) FROM keystone.credentials', '0', 'I4 who sees nothing');
request_is({}, 'SELECT source FROM keystone.whoami()', 'anonymous', 'without a token one is nobody');
request_is({}, q{SELECT keystone.reveal('acme', 'token')}, '42501', 'and is refused');
request_is({ token => token('auth0|4711') }, q{SELECT principal <> '4711' AND source = 'jwt' FROM (SELECT principal::text, source FROM keystone.whoami()) x}, 't', 'a subject that is no uuid is one');
request_is({ token => token($id{none}) }, "SELECT source, principal = '$id{none}' FROM keystone.whoami()", 'jwt|f', 'the nil uuid is no identity of its own');

# Tokens that prove nothing.
my %bad = (
	'signed with another key' => token($id{alice}, {}, 'x' x 32),
	'expired' => token($id{alice}, { exp => time - 60 }),
	'of another issuer' => token($id{alice}, { iss => 'https://evil.example.com' }),
	'without a signature' => join('.', (split /\./, $token{alice})[0, 1], ''),
	'of algorithm none' => encode_base64url('{"alg":"none"}') . '.' . (split /\./, $token{alice})[1] . '.',
	'with another payload' => join('.', (split /\./, $token{alice})[0], (split /\./, $token{bob})[1], (split /\./, $token{alice})[2]),
	'empty' => '',
	'cut' => substr($token{alice}, 0, 40));
foreach my $kind (sort keys %bad)
{
	request_is({ token => $bad{$kind}, claims => json({ sub => $id{alice}, role => 'authenticated' }) },
		q{SELECT keystone.reveal('acme', 'token')}, '42501', "I4 a token $kind proves nothing");
	request_is({ token => $bad{$kind} }, 'SELECT source FROM keystone.whoami()', 'anonymous', "and a caller with a token $kind is nobody");
}

# What injected SQL can set.
request_is({ token => $token{bob} },
	"SELECT set_config('request.jwt.claims', '" . json({ sub => $id{alice} }) . "', true) \\g /dev/null\n$who", "$id{bob}|jwt", 'I4 claims that are set later are not believed');
request_is({ token => $token{bob} },
	"SELECT set_config('request.headers', '{}', true), set_config('request.jwt.claims', '" . json({ sub => $id{alice} }) . "', true) \\g /dev/null\nSELECT source FROM keystone.whoami()",
	'anonymous', 'I4 nor without the headers');
request_is({ token => $token{bob} },
	"SELECT keystone.current_principal() \\g /dev/null\nSELECT set_config('request.headers', '" . json({ authorization => "Bearer $token{alice}" }) . "', true) \\g /dev/null\n$who",
	"$id{bob}|jwt", 'I4 once proved, an identity is not replaced by another request');
request_is({ token => $token{bob}, pre_request => 1 },
	"SELECT set_config('request.headers', '" . json({ authorization => "Bearer $token{alice}" }) . "', true) \\g /dev/null\n$who",
	"$id{bob}|jwt", 'I4 and pre_request() proves it first');
request_is({ token => $token{bob} },
	"SELECT keystone.current_principal() \\g /dev/null\nSELECT keystone.authenticate('$token{alice}')", '42501', 'I4 a second, different proof is refused');
request_is({ token => $token{bob} }, "SELECT keystone.authenticate('$token{bob}')", $id{bob}, 'the same one is not');
request_is({ token => $token{bob} }, "SET LOCAL ROLE anon;\n$who", "$id{bob}|jwt", 'the current role is not the identity');
request_is({ token => $token{bob} }, "SELECT set_config('request.headers', 'no json', true) \\g /dev/null\nSELECT source FROM keystone.whoami()", 'anonymous', 'headers that are no JSON are none');
request_is({}, "SELECT set_config('request.headers', repeat('[', 60000), true) \\g /dev/null\nSELECT source FROM keystone.whoami()", 'anonymous', 'nor deeply nested ones');
is(run_as('authenticator', "SET keystone.trust_claims = on"), '55P02', 'I4 the settings are not the session\'s');

# ROLLBACK TO undoes a proof, and only what came after the savepoint.
is(run_as('authenticator', "BEGIN; SAVEPOINT s; SELECT keystone.authenticate('$token{bob}') \\g /dev/null\nROLLBACK TO s; SELECT source FROM keystone.whoami(); COMMIT"), '42501', 'the login role of an authenticator has no profile by itself');
$node->safe_psql('vault', q{SELECT keystone.grant_access('authenticator', 'client')});
is(run_as('authenticator', "BEGIN; SAVEPOINT s; SELECT keystone.authenticate('$token{bob}') \\g /dev/null\nROLLBACK TO s; SELECT source FROM keystone.whoami(); COMMIT"), 'anonymous', 'I4 ROLLBACK TO undoes a proof');
is(run_as('authenticator', "BEGIN; SELECT keystone.authenticate('$token{bob}') \\g /dev/null\nSAVEPOINT s; ROLLBACK TO s; $who; COMMIT"), "$id{bob}|jwt", 'not one from before');
is(run_as('authenticator', "BEGIN; SAVEPOINT s; SELECT keystone.authenticate('$token{bob}') \\g /dev/null\nRELEASE s; $who; COMMIT"), "$id{bob}|jwt", 'a released one stays');
is(run_as('authenticator', "BEGIN; SAVEPOINT r; SAVEPOINT s; SELECT keystone.authenticate('$token{bob}') \\g /dev/null\nRELEASE s; ROLLBACK TO r; SELECT source FROM keystone.whoami(); COMMIT"), 'anonymous', 'until the outer one is undone');
is(run_as('authenticator', "BEGIN; SELECT keystone.authenticate('$token{bob}') \\g /dev/null\nCOMMIT; SELECT source FROM keystone.whoami()"), 'anonymous', 'the transaction\'s end is the proof\'s');
is(run_as('authenticator', "BEGIN; SAVEPOINT s; SELECT keystone.authenticate('$token{bob}') \\g /dev/null\nROLLBACK TO s; SELECT keystone.authenticate('$token{alice}'); COMMIT"), $id{alice}, 'after it is undone another is possible');
is(run_as('authenticator', "DO \$\$ BEGIN PERFORM keystone.authenticate('$token{bob}'); RAISE EXCEPTION 'x'; EXCEPTION WHEN raise_exception THEN NULL; END \$\$; SELECT source FROM keystone.whoami()"), 'anonymous', 'an exception block undoes it, too');

# One statement through a pool.
is(run_as('worker', "SELECT keystone.reveal('acme', 'token') FROM keystone.authenticate('$token{alice}')"), 'the value of a token', 'a proof serves its own statement');
is(run_as('worker', "SELECT source FROM keystone.whoami()"), 'anonymous', 'and no other');
is(run_as('backend', "BEGIN; SELECT keystone.authenticate('$token{alice}') \\g /dev/null\n$who; COMMIT; SELECT source FROM keystone.whoami()"), "$id{alice}|jwt\ndb_role", 'a proof is stronger than the login role');

# What a pooled connection has left behind.
is(run_as('authenticator', "SELECT set_config('request.headers', '" . json({ authorization => "Bearer $token{alice}" }) . "', false) \\g /dev/null\nSELECT source FROM keystone.whoami()"), 'anonymous', 'I4 headers that outlive their transaction are nobody\'s');
is(run_as('backend', "SELECT set_config('request.jwt.claims', '" . json({ sub => $id{alice} }) . "', false) \\g /dev/null\nSELECT source FROM keystone.whoami()"), 'anonymous', 'I4 a session that serves requests is not its login role');
is(run_as('authenticator', "BEGIN; SET LOCAL \"request.headers\" = '{}'; SET \"request.headers\" = '" . json({ authorization => "Bearer $token{alice}" }) . "'; SELECT source FROM keystone.whoami(); COMMIT"), 'anonymous', 'I4 nor what a SET in the transaction leaves');
$node->safe_psql('vault', "CREATE FUNCTION public.with_headers() RETURNS text LANGUAGE sql SET \"request.headers\" = '" . json({ authorization => "Bearer $token{alice}" }) . "' AS 'SELECT source FROM keystone.whoami()'");
is(run_as('authenticator', 'SELECT public.with_headers()'), 'anonymous', 'I4 nor a function\'s SET clause');

# Roles of the token, without a subject.
my $service = token(undef, { role => 'service_role' });
request_is({ token => $service, role => 'service_role' }, 'SELECT source FROM keystone.whoami()', 'anonymous', 'a role claim alone is nobody');
my $service_id = $node->safe_psql('vault', q{SELECT keystone.register_principal('Service', 'service', external_id => 'role:service_role')});
request_is({ token => $service, role => 'service_role' }, $who, "$service_id|jwt", 'until an administrator maps it to a principal');
request_is({ token => token(undef, { role => 'anon' }) }, 'SELECT source FROM keystone.whoami()', 'anonymous', 'another role is not mapped');

# A principal that may not act any more.
$node->safe_psql('vault', "SELECT keystone.disable_principal('$id{alice}')");
request_is({ token => $token{alice} }, 'SELECT source, reason FROM keystone.whoami()', 'anonymous|the principal is disabled', 'I4 a disabled principal\'s token proves nothing');
is(run_as('worker', "SELECT keystone.reveal('acme', 'token') FROM keystone.authenticate('$token{alice}')"), '42501', 'nor when it is given by hand');
$node->safe_psql('vault', "SELECT keystone.enable_principal('$id{alice}')");
request_is({ token => $token{alice} }, $who, "$id{alice}|jwt", 'until it is enabled again');

# API keys in requests.
my $key = run_as('authenticator', request(token => $token{alice}) . "SELECT api_key FROM keystone.create_api_key('acme', 'ci');\nCOMMIT;");
like($key, qr/^ks_[0-9a-f]{12}_[0-9a-f]{64}$/, 'an API key is made');
request_is({ key => $key }, q{SELECT source, keystone.reveal('acme', 'token') FROM keystone.whoami()}, 'api_key|the value of a token', 'and proves itself in a header');
request_is({ token => $key }, 'SELECT source FROM keystone.whoami()', 'api_key', 'or as a bearer token');
request_is({ key => $key, token => $token{bob} }, 'SELECT source FROM keystone.whoami()', 'api_key', 'before the user\'s token');
request_is({ key => substr($key, 0, -1) . ($key =~ /0$/ ? '1' : '0'), token => $token{alice} }, 'SELECT source FROM keystone.whoami()', 'anonymous', 'I4 a wrong one is not passed over for a weaker proof');

# What the log says.
$node->safe_psql('vault', 'SELECT keystone_private.audit_flush()');
my $key_id = $node->safe_psql('vault', q{SELECT id FROM keystone.api_keys WHERE name = 'ci'});
is($node->safe_psql('vault', "SELECT DISTINCT on_behalf_of, claimed_addr, user_agent, detail ->> 'key_creator' FROM keystone.audit_log WHERE actor = '$key_id'"),
	"$id{alice}|198.51.100.7|test/1|$id{alice}", 'an API key acts on behalf of its creator; what headers claim stands beside it');
is($node->safe_psql('vault', q{SELECT count(*) > 8, bool_and(outcome = 'denied') FROM keystone.audit_log WHERE action = 'auth.fail'}), 't|t', 'failures are in the log');
is($node->safe_psql('vault', q{SELECT DISTINCT detail ->> 'key_prefix' FROM keystone.audit_log WHERE action = 'auth.fail' AND detail ->> 'token' = 'api_key'}), substr($key, 3, 12), 'with the prefix of a key');
is($node->safe_psql('vault', "SELECT count(*) FROM keystone.audit_log WHERE detail::text LIKE '%" . substr($key, 16, 30) . "%'"), '0', 'and never its secret');

# No identity where somebody else's statement runs.
$node->safe_psql('vault', 'CREATE TABLE public.seen (who text, how text); GRANT ALL ON public.seen TO PUBLIC');
$node->safe_psql('vault', <<~'EOF2');
	CREATE FUNCTION public.spy(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		INSERT INTO public.seen SELECT source, current_query() FROM keystone.whoami();
		RETURN i;
	EXCEPTION WHEN OTHERS THEN
		RETURN i;
	END $$;
	SELECT keystone.create_workspace('postgres-own');
	EOF2
run_as('worker', 'SELECT 1');
$node->safe_psql('vault', <<~'EOF2');
	CREATE TABLE public.bait (i int);
	INSERT INTO public.bait VALUES (1), (2);
	CREATE INDEX bait_idx ON public.bait (public.spy(i));
	ALTER TABLE public.bait OWNER TO authenticated;
	ALTER FUNCTION public.spy OWNER TO authenticated;
	TRUNCATE public.seen;
	ANALYZE public.bait;
	REINDEX TABLE public.bait;
	VACUUM FULL public.bait;
	EOF2
is($node->safe_psql('vault', q{SELECT count(*) FROM public.seen WHERE who <> 'anonymous'}), '0', 'I4 an index expression that an administrator\'s ANALYZE runs has no identity');
ok($node->safe_psql('vault', 'SELECT keystone.current_principal() IS NOT NULL') eq 't', 'while the administrator has one');

$node->safe_psql('vault', <<~'EOF2');
	CREATE FUNCTION public.definer() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT source FROM keystone.whoami()';
	ALTER FUNCTION public.definer OWNER TO authenticated;
	CREATE FUNCTION public.takes(t text) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT keystone.authenticate(t)::text';
	ALTER FUNCTION public.takes OWNER TO authenticated;
	CREATE TYPE public.trick AS (x int);
	CREATE FUNCTION public.cast_it(public.trick) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT source FROM keystone.whoami()';
	ALTER FUNCTION public.cast_it OWNER TO authenticated;
	CREATE CAST (public.trick AS text) WITH FUNCTION public.cast_it(public.trick);
	CREATE TABLE public.fired (i int);
	CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN INSERT INTO public.seen SELECT source FROM keystone.whoami(); RETURN NEW; END';
	ALTER FUNCTION public.fire OWNER TO authenticated;
	CREATE TRIGGER fire BEFORE INSERT ON public.fired FOR EACH ROW EXECUTE FUNCTION public.fire();
	GRANT ALL ON public.fired TO PUBLIC;
	TRUNCATE public.seen;
	EOF2
is(run_as('backend', 'SELECT source, public.definer() FROM keystone.whoami()'), 'db_role|anonymous', 'I4 a SECURITY DEFINER function of an untrusted owner has no identity');
request_is({ token => $token{alice} }, 'SELECT source, public.definer() FROM keystone.whoami()', 'jwt|anonymous', 'I4 nor what was proved before');
is(run_as('worker', "SELECT public.takes('$token{alice}')"), '42501', 'I4 nor can it prove one');
is(run_as('backend', 'SELECT ROW(1)::public.trick::text'), 'anonymous', 'I4 a cast that runs as its owner has no identity');
run_as('backend', 'INSERT INTO public.fired VALUES (1)');
is($node->safe_psql('vault', 'SELECT DISTINCT who FROM public.seen'), 'anonymous', 'I4 nor has such a trigger');
is(run_as('backend', 'SET debug_parallel_query = on') . run_as('backend', 'SELECT source FROM keystone.whoami()'), run_as('backend', 'SET debug_parallel_query = on') . 'db_role', 'in the session itself there is one');

# Claims, for those who must.
$node->append_conf('postgresql.conf', "keystone.trust_claims = on\nkeystone.jwt_keys_file = ''");
$node->reload_and_wait(database => 'vault', query => 'SHOW keystone.trust_claims', expected => 'on');
$node->poll_query_until('vault', q{SELECT detail ~ 'not configured' FROM keystone.health WHERE check_name = 'jwt keys'}) or die 'jwt keys are still there';
my $alice_claims = json({ sub => $id{alice}, iss => 'https://auth.example.com', role => 'authenticated' });
my $bob_claims = json({ sub => $id{bob}, iss => 'https://auth.example.com', role => 'authenticated' });
request_is({ claims => $alice_claims, token => $token{alice} }, $who, "$id{alice}|claims", 'trusted claims are an identity');
request_is({ claims => $alice_claims }, q{SELECT keystone.reveal('acme', 'token')}, 'the value of a token', 'that may do the same');
request_is({ claims => $bob_claims, pre_request => 1 },
	"SELECT set_config('request.jwt.claims', '$alice_claims', true) \\g /dev/null\n$who", "$id{bob}|claims", 'I4 pre_request() pins them');
request_is({ pre_request => 1 },
	"SELECT set_config('request.jwt.claims', '$alice_claims', true) \\g /dev/null\nSELECT source FROM keystone.whoami()", 'anonymous', 'I4 and that there are none');
request_is({ pre_request => 1 },
	"SAVEPOINT s; ROLLBACK TO s; SELECT set_config('request.jwt.claims', '$alice_claims', true) \\g /dev/null\nSELECT source FROM keystone.whoami()", 'anonymous', 'I4 also after ROLLBACK TO');
request_is({ claims => '[]' }, 'SELECT source FROM keystone.whoami()', 'anonymous', 'claims that are no object are none');
is(run_as('authenticator', "SET \"request.jwt.claims\" = '$alice_claims'; SELECT source FROM keystone.whoami()"), 'anonymous', 'I4 stale claims of a pooled connection are nobody\'s');
is(run_as('backend', "BEGIN; SELECT set_config('request.jwt.claims', '$alice_claims', true) \\g /dev/null\nSELECT source FROM keystone.whoami(); COMMIT"), 'anonymous', 'I4 claims outside an authenticator\'s session are not believed');

# Who may create roles can make one that is listed and does not exist: the
# check of health() tells before.
is($node->safe_psql('vault', q{SELECT ok, detail ~ 'Other' FROM keystone.health WHERE check_name = 'authenticators'}), 'f|t', 'health() names listed roles that do not exist');

done_testing();
