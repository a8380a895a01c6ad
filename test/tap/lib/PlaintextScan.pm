# Looks for a word in bytes, in the forms in which it might have been left:
# as it is, in pieces as pglz leaves it, in lower and upper case, as
# hexadecimal digits, in Base64 and in UTF-16.
#
#   my $scan = PlaintextScan->new(secret => 'word', control => 'other');
#   $scan->look($place, $bytes);
#   my %found = $scan->found('secret');		# "place form" => bytes around it
#
# A word has 16 characters or more, with letters of both cases.
package PlaintextScan;

use strict;
use warnings;

use MIME::Base64;

# pglz puts a byte of its own before each eight characters, so that of 16 that
# are not a copy of earlier ones some 8 stay together.
use constant PIECE => 8;

# The forms of a word: name => string.
sub forms
{
	my ($word) = @_;
	my %forms = (
		'plain' => $word,
		'lower case' => lc $word,
		'upper case' => uc $word,
		'hex' => unpack('H*', $word),
		'HEX' => uc unpack('H*', $word),
		'UTF-16LE' => pack('v*', unpack 'C*', $word),
		'UTF-16BE' => pack('n*', unpack 'C*', $word));

	# What is the same whatever stands before and after it.
	foreach my $before (0 .. 2)
	{
		my $encoded = encode_base64(("\0" x $before) . $word, '');
		my $whole = int(8 * ($before + length $word) / 6);
		my $skipped = (0, 2, 3)[$before];
		$forms{"base64 at $before"} = substr $encoded, $skipped, $whole - $skipped;
	}
	$forms{"piece at $_"} = substr $word, $_, PIECE foreach 0 .. length($word) - PIECE;
	return %forms;
}

sub new
{
	my ($class, %words) = @_;
	my %names;
	while (my ($label, $word) = each %words)
	{
		my %forms = forms($word);
		$names{ $forms{$_} } = [ $label, $_ ] foreach keys %forms;
	}
	# a whole word before its pieces
	my @strings = sort { length $b <=> length $a } keys %names;
	my $pattern = join '|', map { quotemeta } @strings;
	return bless { names => \%names, pattern => qr/($pattern)/, found => {} }, $class;
}

# Returns whether something was found.
sub look
{
	my ($self, $place, $bytes) = @_;
	my $any = 0;
	while ($bytes =~ /$self->{pattern}/g)
	{
		my ($label, $form) = @{ $self->{names}{$1} };
		my $from = $-[0] > 60 ? $-[0] - 60 : 0;
		(my $around = substr $bytes, $from, $+[0] - $from + 40) =~ s/[^ -~]/./g;
		$form = 'piece' if $form =~ /^piece/;
		$self->{found}{$label}{"$place: $form"} //= $around;
		$any = 1;
	}
	return $any;
}

# All files below a directory.  place names a file's place, from its path
# inside the directory.
sub look_below
{
	my ($self, $directory, $place) = @_;
	require File::Find;
	File::Find::find(
		{
			no_chdir => 1,
			wanted => sub {
				return unless -f $_;
				open my $in, '<:raw', $_ or die "$_: $!";
				local $/;
				my $bytes = <$in> // '';
				close $in;
				$self->look($place->(substr $_, 1 + length $directory), $bytes);
			}
		},
		$directory);
	return;
}

sub found
{
	my ($self, $label) = @_;
	return %{ $self->{found}{$label} // {} };
}

1;
