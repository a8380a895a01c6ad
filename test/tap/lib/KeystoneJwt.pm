# JSON Web Tokens with an HMAC, as an identity provider makes them.
#
#   my $token = jwt($secret, sub => '5b6f…', exp => time + 600);
package KeystoneJwt;

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use Exporter 'import';
use MIME::Base64 qw(encode_base64url);

our @EXPORT_OK = qw(json jwt);

# A flat JSON object; what looks like a number is one.
sub json
{
	my (%value) = @_;
	return '{' . join(',', map { qq("$_":) . ($value{$_} =~ /^\d+$/ ? $value{$_} : qq("$value{$_}")) } sort keys %value) . '}';
}

sub jwt
{
	my ($secret, %claims) = @_;
	my $text = encode_base64url('{"alg":"HS256","typ":"JWT"}') . '.' . encode_base64url(json(%claims));
	return "$text." . encode_base64url(hmac_sha256($text, $secret));
}

1;
