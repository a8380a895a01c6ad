# What the gate of policy takes from a token, and whom it tells: second factors
# as JWTs prove them, notifications, transactions that only read.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use KeystoneNode;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(name => 'gate', start => 0);
my $secret = KeystoneNode::fresh_key();
append_to_file($node->basedir . '/jwt_keys', "$secret\n");
chmod 0600, $node->basedir . '/jwt_keys';
$node->append_conf('postgresql.conf', "keystone.jwt_keys_file = '${\$node->basedir}/jwt_keys'");
$node->start;

my $alice = 'a11ce000-0000-4000-8000-00000000000a';

sub token
{
	my ($claims) = @_;
	my $text = join '.', map { encode_base64url($_) } '{"alg":"HS256","typ":"JWT"}',
	  sprintf '{"sub":"%s","exp":%d%s}', $alice, time + 3600, $claims;
	return "$text." . encode_base64url(hmac_sha256($text, $secret));
}

# The SQLSTATE of a query by Alice, whose token has more claims; "done".
sub try_as
{
	my ($claims, $query) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', "BEGIN; SELECT keystone.authenticate(:'token'); SET LOCAL ROLE app; $query; COMMIT;",
		stdout => \$out, stderr => \$err, extra_params => [ '-v', 'VERBOSITY=sqlstate', '-v', 'token=' . token($claims) ]);
	return $err =~ /ERROR:\s+(\w+)/ ? $1 : 'done';
}

$node->safe_psql('postgres', <<~EOF2);
	CREATE EXTENSION keystone;
	CREATE ROLE app;
	SELECT keystone.grant_access('app', 'client'), keystone.register_principal('Alice', id => '$alice');
	SELECT keystone.create_workspace('gate');
	SELECT keystone.add_member('gate', '$alice', 'admin');
	SELECT keystone.store('gate', 'key', 'value', 'prod'), keystone.store('gate', 'told', 'value', 'dev');
	SELECT keystone.policy_put('gate', '{"apiVersion": "keystone.policy/v1", "id": "p", "scope": {"level": "workspace"}, "rules": [
		{"id": "mfa", "effect": "oblige", "match": {"actions": ["reveal"], "env": ["prod"]}, "obligations": [{"type": "require_mfa", "max_age": "PT15M"}]},
		{"id": "tell", "effect": "oblige", "match": {"actions": ["reveal"], "secret": ["told"]}, "obligations": [{"type": "notify", "channel": "slack:#ops"}]}]}');
	EOF2

# Second factors.
my $reveal = "SELECT keystone.reveal('gate', 'key', 'prod')";
my $now = time;
my $old = $now - 3600;
my $future = $now + 7200;
my @cases = (
	[ 'no claim',								'',														'PT428' ],
	[ 'amr without mfa',						qq(,"amr":["pwd"],"auth_time":$now),					'PT428' ],
	[ 'amr with mfa, and when',					qq(,"amr":["pwd","mfa"],"auth_time":$now),				'done' ],
	[ 'the other order',						qq(,"auth_time":$now.5,"amr":["mfa"]),					'done' ],
	[ 'amr with mfa, but not when',				qq(,"amr":["mfa"]),										'PT428' ],
	[ 'too long ago',							qq(,"amr":["mfa"],"auth_time":$old),					'PT428' ],
	[ 'in the future',							qq(,"amr":["mfa"],"auth_time":$future),					'PT428' ],
	[ 'a time that is no number',				qq(,"amr":["mfa"],"auth_time":"$now"),					'PT428' ],
	[ 'a time that is out of range',			qq(,"amr":["mfa"],"auth_time":1e300),					'PT428' ],
	[ 'amr that is no array',					qq(,"amr":"mfa","auth_time":$now),						'PT428' ],
	[ 'mfa deeper down',						qq(,"amr":[["mfa"]],"auth_time":$now),					'PT428' ],
	[ 'GoTrue: totp',							qq(,"amr":[{"method":"password","timestamp":$old},{"method":"totp","timestamp":$now}]), 'done' ],
	[ 'GoTrue: the time first',					qq(,"amr":[{"timestamp":$now,"method":"mfa/phone"}]),	'done' ],
	[ 'GoTrue: a password only',				qq(,"amr":[{"method":"password","timestamp":$now}]),	'PT428' ],
	[ 'GoTrue: totp long ago, a password now',	qq(,"amr":[{"method":"totp","timestamp":$old},{"method":"password","timestamp":$now}]), 'PT428' ],
	[ 'GoTrue: a method without a time',		qq(,"amr":[{"method":"totp"},{"timestamp":$now}]),		'PT428' ]);
is(try_as($_->[1], $reveal), $_->[2], "second factor: $_->[0]") foreach @cases;
is(try_as(qq(,"amr":["mfa"],"amr":["mfa"],"auth_time":$now), $reveal), '42501', 'a claim that comes twice proves nothing');

# Notifications come with the commit, and have ids only.
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN keystone_policy');
is(try_as('', "SELECT keystone.reveal('gate', 'told', 'dev'); ROLLBACK; BEGIN"), 'done', 'revealed, rolled back');
is(try_as('', "SELECT keystone.reveal('gate', 'told', 'dev')"), 'done', 'revealed');
my ($heard) = $listener->query_safe('SELECT 1; SELECT 2');
my @payloads = $heard =~ /notification "keystone_policy" with payload "(.*?)" received/g;
is(scalar @payloads, 1, 'one notification');
like($payloads[0] // '', qr/^\{"workspace": "[-0-9a-f]{36}", "action": "reveal", "credential": "[-0-9a-f]{36}", "principal": "$alice", "channels": \["slack:#ops"\]\}$/,
	'with ids only');
$listener->quit;

# A transaction that only reads reveals under policy as without.
is(try_as(qq(,"amr":["mfa"],"auth_time":$now), "SET TRANSACTION READ ONLY; $reveal"), 'done', 'in a read-only transaction');

$node->stop;
done_testing();
