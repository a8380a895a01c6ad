# API keys that somebody guesses: failures are counted by the key's prefix and
# the client's address, too many are refused, and the log has their number; a
# valid key is never locked out.  And what is left of a key's secret in the
# server's files: nothing.
use strict;
use warnings;

use File::Find;
use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $limit = 5;
my $node = KeystoneNode->start(
	conf => "keystone.auth_failures_per_minute = $limit\nkeystone.authenticators = 'gateway'\n"
	  . "keystone.denials_per_minute = 30\nlog_statement = all\n");
$node->safe_psql('postgres', <<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE program LOGIN;
CREATE ROLE gateway LOGIN;
SELECT keystone.grant_access(r, 'client') FROM unnest('{program,gateway}'::name[]) r;
SELECT keystone.create_workspace('acme');
SELECT keystone.store('acme', 'db', 'the value');
EOF2

# (key, prefix)
sub make_key
{
	my ($name) = @_;
	return split /\|/, $node->safe_psql('postgres', "SELECT api_key, prefix FROM keystone.create_api_key('acme', '$name')");
}

sub with_key
{
	my ($key) = @_;
	return $node->safe_psql('postgres', "SELECT keystone.reveal('acme', 'db') FROM keystone.authenticate('$key')",
		extra_params => [ '-U', 'program' ]);
}

# What is told to who proves nothing, as "42501" or "PT429 <seconds>".
sub refusal
{
	my ($token, %opts) = @_;
	my $stderr = '';
	$node->psql($opts{database} // 'postgres', ($opts{before} // '') . "SELECT keystone.authenticate('$token')",
		stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=verbose', '-U', $opts{user} // 'program' ]);
	my ($state) = $stderr =~ /ERROR:  ([0-9A-Z]{5}):/;
	my ($after) = $stderr =~ /"retry_after": (\d+)/;
	return join ' ', grep { defined } $state, $after;
}

sub wrong
{
	my ($prefix) = @_;
	return "ks_${prefix}_" . KeystoneNode::fresh_key();
}

sub failures_in_log
{
	$node->safe_psql('postgres', 'SELECT keystone_private.audit_flush()');
	return $node->safe_psql('postgres', q{SELECT count(*) FROM keystone.audit_log WHERE action = 'auth.fail'});
}

my ($key, $prefix) = make_key('guessed');
my ($other, $other_prefix) = make_key('other');
is(with_key($key), 'the value', 'a key works');

# One prefix, from one address.
is(refusal(wrong($prefix)), '42501', "failure $_ is answered by itself") foreach 1 .. $limit;
my $locked = time;
like(refusal(wrong($prefix)), qr/^PT429 (5\d|60)$/, 'the next one is refused, and told when to try again');
like(refusal(wrong($prefix)), qr/^PT429 /, 'and the one after it');
is(failures_in_log(), $limit + 2, 'the log has all of them');
is(with_key($key), 'the value', 'the valid key is not locked out');
is(with_key($other), 'the value', 'nor is another one from the same address');
like(refusal(wrong($other_prefix)), qr/^PT429 /, 'another prefix from the same address is refused');
like(refusal('eyJhbGciOiJub25lIn0.e30.'), qr/^PT429 /, 'and so is a token of another kind');

# Over a gateway the address is the one that it forwards; only there.
sub forwarded
{
	my ($address) = @_;
	return "SET request.headers = '{\"x-forwarded-for\": \"$address\"}'; BEGIN; SET LOCAL request.headers = '{\"x-forwarded-for\": \"$address\"}'; ";
}

is(refusal(wrong(sprintf '%012x', $_), before => forwarded('203.0.113.7'), user => 'gateway'), '42501',
	"failure $_ from another address, each for another prefix")
  foreach 1 .. $limit;
like(refusal(wrong('aaaaaaaaaaaa'), before => forwarded('203.0.113.7'), user => 'gateway'), qr/^PT429 /, 'that address is refused then');
is(refusal(wrong('aaaaaaaaaaab'), before => forwarded('203.0.113.8'), user => 'gateway'), '42501', 'its neighbour is not');
like(refusal(wrong($prefix), before => forwarded('203.0.113.9'), user => 'gateway'), qr/^PT429 /,
	'but for the prefix that was guessed at, from anywhere');
like(refusal(wrong('aaaaaaaaaaac'), before => forwarded('203.0.113.9')), qr/^PT429 /, 'who is no gateway forwards nothing');

# Each database by itself.
$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$node->safe_psql('elsewhere', "CREATE EXTENSION keystone; SELECT keystone.grant_access('program', 'client')");
is(refusal(wrong($prefix), database => 'elsewhere'), '42501', 'another database counts by itself');

# The first lock lasts a minute, whatever comes in it.
sub wait_from
{
	my ($from, $seconds) = @_;
	my $rest = $from + $seconds - time;
	sleep $rest if $rest > 0;
	return;
}
wait_from($locked, 62);
is(refusal(wrong($prefix)), '42501', 'after a minute a failure is answered by itself again');

# The limit can be changed meanwhile.
$node->append_conf('postgresql.conf', 'keystone.auth_failures_per_minute = 1');
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('keystone.auth_failures_per_minute') = '1'});
$locked = time;
like(refusal(wrong($prefix)), qr/^PT429 (11\d|120)$/, 'a new limit holds at once, and the second lock lasts twice as long');

# More subjects than there is room for: all count together then.
my ($refused, $answered) = split /\|/, $node->safe_psql('postgres', <<'EOF2', extra_params => [ '-U', 'gateway' ]);
CREATE FUNCTION pg_temp.flood(OUT refused int, OUT answered int) LANGUAGE plpgsql AS $$
BEGIN
	refused := 0;
	answered := 0;
	FOR i IN 1 .. 6000 LOOP
		BEGIN
			PERFORM set_config('request.headers', format('{"x-forwarded-for": "10.0.%s.%s"}', i / 256, i % 256), true);
			PERFORM keystone.authenticate('ks_' || lpad(to_hex(i + 100000), 12, '0') || '_' || repeat('0', 64));
		EXCEPTION
			WHEN insufficient_privilege THEN answered := answered + 1;
			WHEN SQLSTATE 'PT429' THEN refused := refused + 1;
		END;
	END LOOP;
END $$;
SELECT * FROM pg_temp.flood();
EOF2
is($refused + $answered, 6000, 'a flood of prefixes and addresses: none gets in');
cmp_ok($answered, '<=', 4096, 'no more are answered by themselves than there is room for');
cmp_ok($answered, '>=', 1024, 'and there is room for many');
# One by one up to keystone.denials_per_minute, which may begin anew once; the rest as numbers.
cmp_ok(failures_in_log(), '<', 200, 'the log has few of them one by one');
cmp_ok($node->safe_psql('postgres', q{SELECT max((detail->>'up_to')::int) FROM keystone.audit_log WHERE action = 'denials' AND detail->>'action' = 'auth.fail'}),
	'>', 1000, 'and the number of the others');
is(with_key($key), 'the value', 'the valid key works during the flood');

# Who goes on while it is locked makes the lock longer.
wait_from($locked, 62);
like(refusal(wrong($prefix)), qr/^PT429 (2[34]\d)$/, 'a failure in a further locked minute doubles the lock again');
like(refusal(wrong($prefix)), qr/^PT429 (2[34]\d)$/, 'another one in the same minute does not');
is(with_key($key), 'the value', 'and the valid key works all the time');

# A server that starts anew has forgotten, and knows the key.
$node->restart;
is(refusal(wrong($prefix)), '42501', 'a restart forgets the failures');
is(with_key($key), 'the value', 'and not the key');

# Rotated and revoked; then no file has any of the secrets.
my ($newer) = split /\|/, $node->safe_psql('postgres', "SELECT api_key FROM keystone.rotate_api_key('acme', 'guessed')");
is(with_key($newer), 'the value', 'the new secret works');
is(with_key($key), 'the value', 'the old one during the overlap');
$node->safe_psql('postgres', "SELECT keystone.revoke_api_key('acme', 'guessed'); CHECKPOINT");
isnt(refusal($newer), '', 'a revoked key proves nothing');
$node->stop;
my @secrets = map { (split /_/)[2] } $key, $other, $newer;
my @bytes = map { pack 'H*', $_ } @secrets;
my @found;
my $files = 0;
find(
	{   no_chdir => 1,
		wanted => sub {
			return unless -f && -s;
			my $content = slurp_file($_);
			$files++;
			push @found, $_ if grep { index($content, $_) >= 0 } @secrets, @bytes;
		} },
	$node->data_dir);
cmp_ok($files, '>', 500, 'all files of the server were read');
is("@found", '', 'no file has a secret: no table, no WAL');
my $log = slurp_file($node->logfile);
is(scalar(grep { index($log, $_) >= 0 } @secrets), 0, 'nor has the log');
like($log, qr/statement withheld/, 'in which the statements that had them are withheld');
done_testing();
