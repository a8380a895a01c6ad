# JSON Web Tokens: the signature of a key of keystone.jwt_keys_file, and only
# that, proves who is calling.  Tokens are made here, with the openssl program;
# what is forged, confused, stale or for somebody else is refused, and a file
# that is wrong anywhere gives no keys.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256 sha1);
use KeystoneNode;
use KeystoneTools qw(wait_until);
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(
	name => 'jwt',
	conf => <<~'EOF2');
		keystone.authenticators = 'authenticator'
		keystone.auth_failures_per_minute = 1000000
		EOF2
my $base = $node->basedir;
my $file = "$base/jwt_keys";
my $alice = 'a11ce000-0000-4000-8000-00000000000a';
my @tokens;    # everything that must not be in the log

sub query
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

# Keys.

sub openssl
{
	my (@arguments) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'openssl', @arguments ], '>', \$out, '2>', \$err) or die "openssl @arguments: $err";
	return $out;
}

sub der_of_public
{
	my ($name) = @_;
	return openssl('pkey', '-in', "$base/$name.pem", '-pubout', '-outform', 'DER');
}

foreach my $name ('rsa', 'rsa2')
{
	openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', "$base/$name.pem");
}
openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024', '-out', "$base/weak.pem");
openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', "$base/$_.pem") foreach 'ec', 'ec2';
openssl('genpkey', '-algorithm', 'ED25519', '-out', "$base/ed.pem");

my $secret = KeystoneNode::fresh_key();

# The JWK of a key, as JSON; more replaces and adds members, given as JSON.
sub jwk
{
	my ($name, %more) = @_;
	my %jwk;
	if ($name =~ /^(rsa|weak)/)
	{
		my ($modulus) = openssl('rsa', '-in', "$base/$name.pem", '-noout', '-modulus') =~ /=([0-9A-F]+)/;
		%jwk = (kty => '"RSA"', n => '"' . encode_base64url(pack 'H*', $modulus) . '"', e => '"AQAB"');
	}
	elsif ($name =~ /^ec/)
	{
		my $der = der_of_public($name);
		%jwk = (
			kty => '"EC"', crv => '"P-256"',
			x => '"' . encode_base64url(substr $der, -64, 32) . '"',
			y => '"' . encode_base64url(substr $der, -32) . '"');
	}
	elsif ($name eq 'ed')
	{
		%jwk = (kty => '"OKP"', crv => '"Ed25519"', x => '"' . encode_base64url(substr der_of_public($name), -32) . '"');
	}
	else
	{
		%jwk = (kty => '"oct"', k => '"' . encode_base64url($secret) . '"');
	}
	%jwk = (%jwk, kid => "\"$name\"", %more);
	return '{' . join(',', map { "\"$_\":$jwk{$_}" } grep { defined $jwk{$_} } sort keys %jwk) . '}';
}

sub jwks
{
	my (@jwks) = @_;
	return "{\n  \"keys\": [" . join(",\n  ", @jwks) . "]\n}\n";
}

# Tokens.

sub sign_with_openssl
{
	my ($text, @command) = @_;
	unlink "$base/signed_text";
	append_to_file("$base/signed_text", $text);
	return openssl(@command, "$base/signed_text");
}

# The two integers of an ECDSA signature in DER, as 64 bytes.
sub raw_ecdsa
{
	my ($der) = @_;
	my ($r, $s) = unpack 'x2 (x C/a)2', $der;
	return join '', map { substr(("\0" x 32) . $_, -32) } $r, $s;
}

my %sign = (
	HS256 => sub { my ($text, $key) = @_; return hmac_sha256($text, $key // $secret) },
	RS256 => sub { my ($text, $key) = @_; return sign_with_openssl($text, 'dgst', '-sha256', '-sign', "$base/$key.pem") },
	PS256 => sub {
		my ($text, $key) = @_;
		return sign_with_openssl($text, 'dgst', '-sha256', '-sign', "$base/$key.pem",
			'-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:-1');
	},
	ES256 => sub {
		my ($text, $key) = @_;
		return raw_ecdsa(sign_with_openssl($text, 'dgst', '-sha256', '-sign', "$base/$key.pem"));
	},
	EdDSA => sub {
		my ($text, $key) = @_;
		return sign_with_openssl($text, 'pkeyutl', '-sign', '-rawin', '-inkey', "$base/$key.pem", '-in');
	});

# The usual claims as JSON; more replaces and adds, given as JSON, undef removes.
sub claims
{
	my (%more) = @_;
	my %claims = (sub => "\"$alice\"", exp => time + 600, %more);
	return '{' . join(',', map { "\"$_\":$claims{$_}" } grep { defined $claims{$_} } sort keys %claims) . '}';
}

# A token of header and payload, both JSON.  sign is a name above.
sub raw_token
{
	my ($header, $payload, $sign, $key) = @_;
	my $text = encode_base64url($header) . '.' . encode_base64url($payload);
	my $token = "$text." . encode_base64url($sign{$sign}->($text, $key));
	push @tokens, $token;
	return $token;
}

# One whose header says how it is signed; kid undef: none.
sub token
{
	my ($sign, $key, $kid, %claims) = @_;
	my $header = "{\"alg\":\"$sign\"" . (defined $kid ? ",\"kid\":\"$kid\"" : '') . ',"typ":"JWT"}';
	return raw_token($header, claims(%claims), $sign, $key);
}

# HS256 with the secret, and these claims.
sub hs256
{
	my (%claims) = @_;
	return token('HS256', undef, undef, %claims);
}

# "principal|source", or "SQLSTATE: why".
sub outcome
{
	my ($token) = @_;
	my ($out, $err) = ('', '');
	$token =~ s/'/''/g;
	$node->psql('postgres',
		"BEGIN; SELECT keystone.authenticate('$token') \\g /dev/null\nSELECT principal, source FROM keystone.whoami(); COMMIT",
		stdout => \$out, stderr => \$err, on_error_stop => 1, extra_params => [ '-U', 'authenticator', '-v', 'VERBOSITY=verbose' ]);
	return $err =~ /ERROR:\s+(\w{5}): authentication failed\n(?:.*\n)*?HINT:\s+(.*)/ ? "$1: $2" : $out . $err;
}

sub accepted
{
	my ($token, $name, $principal) = @_;
	is(outcome($token), ($principal // $alice) . '|jwt', $name);
	return;
}

sub refused
{
	my ($token, $reason, $name) = @_;
	is(outcome($token), "42501: $reason", $name);
	return;
}

# Files.  Each load leaves one line in the log.

sub health
{
	return query(q{SELECT ok, detail FROM keystone.health WHERE check_name = 'jwt keys'});
}

sub load
{
	my $position = -s $node->logfile;
	$node->reload;
	ok( wait_until(
			20,
			sub {
				my $log = $node->log_since($position);
				return $log =~ /keys for tokens/ && $log =~ /root keyring loaded|sealed/;
			}),
		'the launcher has read the file');
	return;
}

sub write_keys
{
	my ($text, $mode) = @_;
	unlink $file;
	append_to_file($file, $text);
	chmod $mode // 0600, $file or die $!;
	return;
}

sub use_keys
{
	my ($text, $expected) = @_;
	write_keys($text);
	load();
	is(health(), $expected, "health: $expected");
	return;
}

my $no_keys = 'no keys for tokens are configured';
my $no_key = q{no key fits the token's algorithm and kid};
my $forged = q{the token's signature is not that of a key};

query('CREATE EXTENSION keystone');
query(q{CREATE ROLE authenticator LOGIN; SELECT keystone.grant_access('authenticator', 'client')});

is(health(), 't|not configured', 'health: without keys nothing is wrong');
refused(hs256(), $no_keys, 'without keys no token is believed');
query("ALTER SYSTEM SET keystone.jwt_keys_file = '$file'");

# A secret.
use_keys("$secret\n", 't|1 key');
accepted(hs256(), 'HS256 with a secret');
accepted(token('HS256', undef, 'some-kid'), 'a key without a name fits any kid');
refused(token('HS256', 'x' x 64), $forged, 'HS256 with another secret');
refused(token('RS256', 'rsa'), $no_key, 'a secret verifies nothing but HS256');
use_keys("$secret\r\n\n", 't|1 key');
accepted(hs256(), 'a line, without what ends it');
use_keys($secret, 't|1 key');
accepted(hs256(), 'a line without an end');
accepted(raw_token('{"alg":"HS256"}', claims(), 'HS256'), 'without typ');
accepted(raw_token('{"alg":"HS256","typ":"at+JWT"}', claims(), 'HS256'), 'an access token of RFC 9068');
accepted(raw_token('{"alg":"HS256","typ":"application/jwt"}', claims(), 'HS256'), 'a media type in full');

# The header.
refused(raw_token('{"alg":"none"}', claims(), 'HS256'), q{the token's algorithm is not accepted}, 'alg none');
refused(raw_token("{\"alg\":\"$_\"}", claims(), 'HS256'), q{the token's algorithm is not accepted}, "alg $_")
  foreach 'None', 'hs256', 'HS512', 'HS256 ', '';
refused(raw_token('{"alg":["HS256"]}', claims(), 'HS256'), q{the token's algorithm is not accepted}, 'alg as an array');
refused(raw_token('{"typ":"JWT"}', claims(), 'HS256'), q{the token's algorithm is not accepted}, 'no alg');
refused(raw_token('{"alg":"HS256","alg":"HS256"}', claims(), 'HS256'), q{the token's header has a name twice}, 'alg twice');
refused(raw_token('{"alg":"HS256","kid":"a","kid":"b"}', claims(), 'HS256'), q{the token's header has a name twice}, 'kid twice');
refused(raw_token('{"alg":"HS256","kid":7}', claims(), 'HS256'), q{the token's kid is no text}, 'kid as a number');
refused(raw_token('{"alg":"HS256","crit":["exp"],"exp":1}', claims(), 'HS256'), 'the token has extensions that are not supported', 'crit');
refused(raw_token('{"alg":"HS256","b64":false}', claims(), 'HS256'), 'the token has extensions that are not supported', 'b64');
refused(raw_token('{"alg":"HS256","typ":"JOSE"}', claims(), 'HS256'), 'the token is of another type than JWT', 'another typ');
refused(raw_token($_, claims(), 'HS256'), q{the token's header is no JSON object}, "header $_")
  foreach '{"alg":"HS256"', '{"alg"', '{"alg":"HS256"}}', '{"alg":"HS256","x":"\u0000"}', "{\"alg\":\"HS256\",\"x\":\"\xff\"}",
  '{"alg":"HS256","x":' . ('[' x 100) . (']' x 100) . '}';
refused(raw_token($_, claims(), 'HS256'), q{the token's header does not begin with a name}, "header $_")
  foreach '', 'null', '["alg"]', '{}', '{ "alg":"HS256"}', ' {"alg":"HS256"}', "\xef\xbb\xbf{\"alg\":\"HS256\"}";
accepted(raw_token('{"alg":"HS256","jku":"https://evil.example.com","jwk":' . jwk('oct') . ',"x5c":[]}', claims(), 'HS256'),
	'keys that a token brings are not looked at');

# The form.
my $good = hs256();
my @parts = split /\./, $good;
refused("$good.", 'the token does not have three parts', 'four parts');
refused("$parts[0].$parts[1]", 'the token does not have three parts', 'two parts');
refused('', 'the token does not have three parts', 'nothing');
refused("$parts[0].$parts[1].", $forged, 'without a signature');
refused("$parts[0].$parts[1]." . substr($parts[2], 0, 40), $forged, 'a shorter signature');
refused("$good=", q{the token's signature is no base64url}, 'padding');
refused(" $good", q{the token's header does not begin with a name}, 'a blank in front');
refused("$parts[0]." . encode_base64url(claims(sub => '"b0b00000-0000-4000-8000-00000000000b"')) . ".$parts[2]", $forged, 'another payload');
refused('x' x 20000, 'the token is too long', 'a long text');
refused(raw_token('{"alg":"HS256"}', $_, 'HS256'), q{the token's claims are no JSON object}, "claims $_") foreach '', '[]', '"x"', '{';
is(length(hs256(x => '"' . ('x' x 12000) . '"')) > 16000, 1, 'a token of some size');
accepted(hs256(x => '"' . ('x' x 11900) . '"'), 'is read');

# Time.
my $expired = 'the token is expired';
refused(hs256(exp => time - 40), $expired, 'expired');
accepted(hs256(exp => time - 15), 'expired within the leeway');
refused(hs256(exp => undef), 'the token has no time of expiry', 'good for ever');
accepted(hs256(exp => (time + 60) . '.75'), 'a fraction of a second');
accepted(hs256(exp => '3.0e10'), 'an exponent');
refused(hs256(exp => '1e999'), 'a time in the token is out of range', 'infinity');
refused(hs256(exp => '-1'), $expired, 'before 1970');
refused(hs256(nbf => time + 60), 'the token is not valid yet', 'not valid yet');
accepted(hs256(nbf => time + 15), 'not valid yet within the leeway');
accepted(hs256(nbf => time - 60), 'valid since a minute');
refused(hs256($_ => '"' . (time + 60) . '"'), 'a claim of the token is of a wrong type', "$_ as text") foreach 'exp', 'nbf';
refused(hs256($_ => 'null'), 'a claim of the token is of a wrong type', "$_ null") foreach 'exp', 'nbf', 'sub', 'iss', 'aud';
refused(hs256($_ => '[1]'), 'a claim of the token is of a wrong type', "$_ as an array of a number") foreach 'exp', 'sub', 'iss', 'aud';
refused(raw_token('{"alg":"HS256"}', '{"exp":1,' . substr(claims(), 1), 'HS256'), 'the token has a claim twice', 'exp twice');
refused(raw_token('{"alg":"HS256"}', substr(claims(), 0, -1) . ',"sub":"x"}', 'HS256'), 'the token has a claim twice', 'sub twice');
refused(raw_token('{"alg":"HS256"}', substr(claims(), 0, -1) . ',"s\u0075b":"x"}', 'HS256'), 'the token has a claim twice', 'sub twice, once escaped');
accepted(hs256(role => '["x"]', name => '7', email => '{}', user_metadata => '"x"', deep => '{"a":{"b":{"c":{"d":{"sub":"x"}}}}}'),
	'claims of other types that only describe are passed over');

# Issuer and audience.
query(q{ALTER SYSTEM SET keystone.jwt_issuer = 'https://auth.example.com'});
query(q{ALTER SYSTEM SET keystone.jwt_audience = 'vault'});
load();
my @both = (iss => '"https://auth.example.com"', aud => '"vault"');
accepted(hs256(@both), 'issuer and audience');
accepted(hs256(@both, aud => '["other","vault"]'), 'one of several audiences');
refused(hs256(@both, aud => '["other"]'), 'the token is for another audience', 'other audiences');
refused(hs256(@both, aud => '"vaul"'), 'the token is for another audience', 'another audience');
refused(hs256(@both, aud => '[]'), 'the token is for another audience', 'an empty audience');
refused(hs256(@both, aud => undef), 'the token is for another audience', 'no audience');
refused(hs256(@both, aud => '["vault",1]'), 'a claim of the token is of a wrong type', 'an audience that is a number');
refused(hs256(@both, aud => '{"vault":"vault"}'), 'a claim of the token is of a wrong type', 'an audience that is an object');
refused(hs256(@both, iss => '"https://auth.example.com/"'), 'the token is from another issuer', 'another issuer');
refused(hs256(@both, iss => undef), 'the token is from another issuer', 'no issuer');
query("ALTER SYSTEM RESET keystone.$_") foreach 'jwt_issuer', 'jwt_audience';

# A JWK Set: each algorithm, and what names a key.
use_keys(jwks(jwk('rsa'), jwk('ec', use => '"sig"'), jwk('ed', key_ops => '["sign","verify"]'), jwk('oct', alg => '"HS256"'), jwk('rsa2', alg => '"RS256"')),
	't|5 keys');
my %made = (
	RS256 => token('RS256', 'rsa', 'rsa'),
	PS256 => token('PS256', 'rsa', 'rsa'),
	ES256 => token('ES256', 'ec', 'ec'),
	EdDSA => token('EdDSA', 'ed', 'ed'),
	HS256 => token('HS256', undef, 'oct'));
foreach my $alg (sort keys %made)
{
	my ($header, $payload, $signature) = split /\./, $made{$alg};
	my $other = encode_base64url(claims(sub => '"b0b00000-0000-4000-8000-00000000000b"'));
	accepted($made{$alg}, $alg);
	refused("$header.$other.$signature", $forged, "$alg: another payload");
	refused("$header.$payload.", $forged, "$alg: no signature");
	foreach my $confused (grep { $_ ne $alg } sort keys %made)
	{
		my $kid = $alg =~ /^[RP]S/ ? 'rsa' : $alg eq 'ES256' ? 'ec' : $alg eq 'EdDSA' ? 'ed' : 'oct';
		my $named = encode_base64url("{\"alg\":\"$confused\",\"kid\":\"$kid\"}");
		like(outcome("$named.$payload.$signature"), qr/^42501: (\Q$no_key\E|\Q$forged\E)$/, "$alg as $confused");
	}
}
accepted(token('RS256', 'rsa'), 'no kid: each key that fits is tried');
accepted(token('RS256', 'rsa2'), 'the last one too');
accepted(token('RS256', 'rsa2', 'rsa2'), 'the kid chooses');
refused(token('RS256', 'rsa2', 'rsa'), $forged, 'the kid of another key');
refused(token('RS256', 'rsa', 'ec'), $no_key, 'the kid of a key of another type');
refused(token('RS256', 'rsa', 'nobody'), $no_key, 'the kid of no key');
refused(token('RS256', 'rsa', ''), q{the token's kid is no text}, 'an empty kid');
refused(token('PS256', 'rsa2', 'rsa2'), $no_key, 'a key with an alg is for no other');
refused(token('ES256', 'ec2', 'ec'), $forged, 'ES256 with another key');

# What is public of a key is no secret.
my $pem = openssl('pkey', '-in', "$base/rsa.pem", '-pubout');
my ($modulus) = openssl('rsa', '-in', "$base/rsa.pem", '-noout', '-modulus') =~ /=([0-9A-F]+)/;
foreach my $public ($pem, $pem =~ s/\n\z//r, der_of_public('rsa'), pack('H*', $modulus), encode_base64url(pack 'H*', $modulus), jwk('rsa'))
{
	refused(token('HS256', $public, 'rsa'), $no_key, 'HS256 with what is public of an RSA key');
	refused(token('HS256', $public), $forged, 'the same without a kid');
}

# Keys for something else, and keys of unknown types, are passed over.
use_keys(
	jwks(
		jwk('rsa', use => '"enc"'), jwk('ec', key_ops => '["sign"]'), jwk('ed', d => '"AAAA"'),
		jwk('rsa2', alg => '"RS512"'), '{"kty":"EC","crv":"P-384","kid":"p384"}', '{"kty":"AKP","kid":"pq","alg":7}',
		'{"kty":"OKP","crv":"X25519","x":"AAAA"}', jwk('oct')),
	't|1 key');
refused($made{RS256}, $no_key, 'a key for encryption verifies nothing');
refused($made{ES256}, $no_key, 'nor does one whose operations lack it');
refused($made{EdDSA}, $no_key, 'nor a private key');
refused(token('RS256', 'rsa2'), $no_key, 'nor one of another algorithm');
accepted($made{HS256}, 'what is left does');
use_keys(jwk('ec'), 't|1 key');
accepted($made{ES256}, 'a JWK alone');
use_keys(" \n\t" . jwk('ec', kid => undef), 't|1 key');
accepted($made{ES256}, 'a JWK without a name fits any kid');
use_keys(jwks(jwk('rsa', kid => "\"schl\xc3\xbcssel\"")), 't|1 key');
accepted(raw_token('{"alg":"RS256","kid":"schl\u00fcssel"}', claims(), 'RS256', 'rsa'), 'a kid beyond ASCII');

# Rotation, in a session that is there all the time.
my $session = IPC::Run::start(
	[ 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr('postgres') . ' user=authenticator' ],
	'<', \my $in, '>', \my $out, '2>', \my $err, IPC::Run::timeout(60));

sub in_session
{
	my ($token) = @_;
	$out = $err = '';
	$in .= "SELECT keystone.authenticate('$token');\n\\echo done\n";
	$session->pump until $out =~ /^done$/m;
	return $out . $err;
}
use_keys(jwks(jwk('rsa')), 't|1 key');
like(in_session($made{RS256}), qr/^$alice$/m, 'a session believes a key');
use_keys(jwks(jwk('rsa2'), jwk('rsa')), 't|2 keys');
like(in_session($made{RS256}), qr/^$alice$/m, 'the old key beside a new one');
my $new = token('RS256', 'rsa2', 'rsa2');
like(in_session($new), qr/^$alice$/m, 'the new key');
use_keys(jwks(jwk('rsa2')), 't|1 key');
like(in_session($made{RS256}), qr/42501/, 'the old key is gone');
like(in_session($new), qr/^$alice$/m, 'the new one stays');

# A file that is wrong anywhere gives no keys: the good ones of it neither.
sub broken
{
	my ($name, $text, $problem) = @_;
	use_keys(jwks(jwk('rsa2')), 't|1 key');
	use_keys($text, "f|keystone.jwt_keys_file $problem");
	refused($new, $no_keys, "$name: no keys");
	return;
}
my $unusable = 'has a key that cannot be used:';
broken('cut', substr(jwks(jwk('rsa2')), 0, -4), 'is no JSON');
broken('a weak RSA key', jwks(jwk('rsa2'), jwk('weak')), "$unusable an RSA key needs at least 2048 bits");
broken('a point off the curve', jwks(jwk('rsa2'), jwk('ec', y => '"' . encode_base64url('x' x 32) . '"')), "$unusable a P-256 key is no point of the curve");
broken('padding', jwks(jwk('rsa2'), jwk('rsa', e => '"AQAB=="')), qq{$unusable its "n" or "e" is no base64url});
broken('a short coordinate', jwks(jwk('ec', x => '"AAAA"')), qq{$unusable its "x" or "y" is not 32 bytes of base64url});
broken('a missing member', jwks(jwk('ed', x => undef)), qq{$unusable its "x" is not 32 bytes of base64url});
broken('a short secret', jwks(jwk('rsa2'), jwk('oct', k => '"' . encode_base64url('x' x 31) . '"')), "$unusable a secret needs at least 32 bytes");
broken('no type', jwks(jwk('rsa2'), '{"kid":"x"}'), 'has a key without "kty"');
broken('no curve', jwks(jwk('rsa2'), jwk('ec', crv => undef)), 'has a key without "crv"');
broken('a wrong type', jwks(jwk('rsa2'), jwk('rsa', kid => '7')), 'has a key with a member of a wrong type');
broken('a member twice', jwks(jwk('rsa2'), '{"kty":"oct",' . substr(jwk('rsa'), 1)), 'has a key with a member that comes twice');
broken('an alg of another type', jwks(jwk('rsa2'), jwk('rsa', alg => '"HS256"')), 'has a key with an "alg" of another type of key');
broken('keys twice', '{"keys":[' . jwk('rsa2') . '],"keys":[]}', 'has "keys" twice');
broken('keys that are none', '{"keys":{}}', 'has "keys" that are no array');
broken('a key that is none', '{"keys":[7]}', 'has a key that is no object');
broken('no keys', '{"keys":[]}', 'has no key that verifies tokens');
broken('65 keys', jwks((jwk('ed')) x 65), 'has more than 64 keys');
broken('too long', jwks(jwk('rsa2')) . (' ' x 66000), 'is too long');
broken('a secret of 31 characters', ('x' x 31) . "\n", "$unusable a secret needs at least 32 bytes");
broken('an empty line', "\n$secret\n", 'begins with an empty line');
broken('a second line', "$secret\n$_", 'has more than one line, and is no JWK Set') foreach "another\n", ' ', "\n\0";
broken('a secret with a letter beyond ASCII', "schl\xc3\xbcssel$secret\n", 'is neither a JWK Set nor a secret');
broken('a secret with a blank', $_, 'is neither a JWK Set nor a secret') foreach "secret $secret\n", " $secret\n", "$secret \n";
broken('an escape that the launcher cannot read', jwks(jwk('rsa', kid => '"schl\u00fcssel"')),
	'has an escape of a character beyond ASCII; write the character itself');
broken('no UTF-8', '{"keys":[],"x":"' . "\xff" . '"}', 'is not UTF-8');

# What everybody can know must not become a secret.
my $bare = join '', grep { !/-----/ } split /\n/, $pem;
broken('a public key', $_, 'is neither a JWK Set nor a secret')
  foreach $pem, "$bare\n", '[' . jwk('rsa') . "]\n", "\xef\xbb\xbf" . jwk('rsa'), "https://auth.example.com/.well-known/jwks.json\n",
  "jwks={'keys':[]}" . ('x' x 32), '# JWT secret of the project ' . ('x' x 32), 'AAAAC3NzaC1lZDI1NTE5AAAAI' . ('A' x 43), "secret of the\tproject" . ('x' x 32),
  openssl('pkey', '-in', "$base/ec.pem", '-pubout', '-outform', 'DER'),
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";

# The file itself.
sub bad_file
{
	my ($name, $change, $problem) = @_;
	use_keys(jwks(jwk('rsa2')), 't|1 key');
	$change->();
	load();
	is(health(), "f|keystone.jwt_keys_file $problem", "$name: health says so");
	refused($new, $no_keys, "$name: no keys");
	return;
}
bad_file('readable by others', sub { chmod 0604, $file or die $! }, 'is accessible by its group or by others');
bad_file('readable by the group', sub { chmod 0640, $file or die $! }, 'is accessible by its group or by others');
bad_file('missing', sub { unlink $file or die $! }, 'does not exist');
bad_file('empty', sub { write_keys('') }, 'is empty');
bad_file('a FIFO', sub { unlink $file; system('mkfifo', '-m', '600', $file) == 0 or die }, 'is not a regular file');
bad_file(
	'in the data directory',
	sub {
		unlink $file;
		append_to_file($node->data_dir . '/jwt_keys', jwks(jwk('rsa2')));
		chmod 0600, $node->data_dir . '/jwt_keys' or die $!;
		symlink $node->data_dir . '/jwt_keys', $file or die $!;
	},
	'lies inside the data directory');
use_keys(jwks(jwk('rsa2')), 't|1 key');
accepted($new, 'a good file again');
is(query('SELECT sealed FROM keystone.seal_status'), 'f', 'the root keyring is not concerned');
like(in_session($new), qr/^$alice$/m, 'nor is the session');
$in .= "\\q\n";
$session->finish;
$node->restart;
accepted($new, 'who comes after a start waits for the first load');
query('ALTER SYSTEM RESET keystone.jwt_keys_file');
$node->reload;
ok(wait_until(20, sub { health() eq 't|not configured' }), 'without the setting');
ok(wait_until(20, sub { outcome($new) eq "42501: $no_keys" }), 'there are no keys');
query("ALTER SYSTEM SET keystone.jwt_keys_file = '$file'");

# Who a token names.
use_keys("$secret\n", 't|1 key');

# RFC 9562, section 5.5, over issuer and subject behind their lengths.
sub name_based
{
	my ($iss, $sub) = @_;
	my $digest = sha1(pack 'H* N/a N/a', '71c2b3f7109344c991d68309099f8bd2', $iss, $sub);
	vec($digest, 6, 8) = vec($digest, 6, 8) & 0x0f | 0x50;
	vec($digest, 8, 8) = vec($digest, 8, 8) & 0x3f | 0x80;
	return join '-', unpack 'H8 H4 H4 H4 H12', substr $digest, 0, 16;
}
accepted(hs256(sub => '"' . uc($alice) . '"'), 'a uuid in capitals is the same principal');
accepted(hs256(iss => '"https://other.example.com"'), 'a uuid is itself for every issuer');
accepted(hs256(sub => '"auth0|4711"', iss => '"https://a.example.com"'), 'a subject that is no uuid', name_based('https://a.example.com', 'auth0|4711'));
accepted(hs256(sub => '"auth0|4711"', iss => '"https://a.example.com"'), 'is the same principal each time', name_based('https://a.example.com', 'auth0|4711'));
accepted(hs256(sub => '"auth0|4711"', iss => '"https://b.example.com"'), 'and another one with another issuer', name_based('https://b.example.com', 'auth0|4711'));
accepted(hs256(sub => '"auth0|4711"'), 'or none', name_based('', 'auth0|4711'));
accepted(hs256(sub => '"bc"', iss => '"a"'), 'issuer and subject', name_based('a', 'bc'));
accepted(hs256(sub => '"c"', iss => '"ab"'), 'do not run together', name_based('ab', 'c'));
isnt(name_based('a', 'bc'), name_based('ab', 'c'), 'as their lengths see to');
accepted(hs256(sub => "\"{$alice}\""), 'a uuid in another form is a name', name_based('', "{$alice}"));
accepted(hs256(sub => '"00000000-0000-0000-0000-000000000000"'), 'and so is the nil uuid', name_based('', '00000000-0000-0000-0000-000000000000'));
accepted(hs256(sub => '"J\u00fcrgen \ud83d\udd11"'), 'a subject with escapes', name_based('', "J\xc3\xbcrgen \xf0\x9f\x94\x91"));

# Without a subject the role may be one.
refused(hs256(sub => undef), 'the token has neither a subject nor a role', 'neither subject nor role');
refused(hs256(sub => '""'), 'the token has neither a subject nor a role', 'an empty subject is none');
refused(hs256(sub => undef, role => '"service_role"'),
	'the token has no subject, and no principal is registered under role:<its role>', 'a role that nobody has registered');
my $service = query(q{SELECT keystone.register_principal('Backend', 'service', external_id => 'role:service_role')});
accepted(hs256(sub => undef, role => '"service_role"'), 'a registered role', $service);
accepted(hs256(role => '"service_role"'), 'a subject comes before the role');
refused(hs256(sub => undef, role => '"anon"'),
	'the token has no subject, and no principal is registered under role:<its role>', 'another role');

# The name that a token gives its bearer.
sub name_is
{
	my ($expected, %claims) = @_;
	my $token = hs256(%claims);
	is( $node->safe_psql('postgres', "BEGIN; SELECT keystone.authenticate('$token') \\g /dev/null\nSELECT display_name FROM keystone.whoami(); COMMIT",
			extra_params => [ '-U', 'authenticator' ]),
		$expected, "name: $expected");
	return;
}
name_is('Alice', name => '"Alice"', email => '"alice@example.com"', user_metadata => '{"full_name":"A."}');
name_is('Alice A.', email => '"alice@example.com"', user_metadata => '{"name":"A.","full_name":"Alice A."}');
name_is('A.', email => '"alice@example.com"', user_metadata => '{"name":"A.","full_name":7}');
name_is('', email => '"alice@example.com"');
my $carol = 'ca201000-0000-4000-8000-00000000000c';
my $carols = hs256(sub => "\"$carol\"", email => '"carol@example.com"');
$node->safe_psql('postgres', "BEGIN; SELECT keystone.authenticate('$carols'); SELECT keystone.create_workspace('carols'); COMMIT", extra_params => [ '-U', 'authenticator' ]);
is(query("SELECT display_name FROM keystone.principals WHERE id = '$carol'"), 'user ca201000', 'the address of a token is no name that others see');

# The log says what happened, and shows no secret of it.
my $log = slurp_file($node->logfile);
like($log, qr/LOG:.*keystone: keys for tokens loaded \(5 keys\)/, 'the log counts keys');
like($log, qr/LOG:.*keystone: no keys for tokens: keystone\.jwt_keys_file is no JSON: "\Q$file\E"/, 'and says what is wrong with a file');
is(index($log, $secret), -1, 'the secret is not there');
is(scalar(grep { my ($signature) = /\.([^.]+)\z/; defined $signature && index($log, $signature) >= 0 } @tokens), 0, 'nor is a token');

$node->stop;
done_testing();
