# Cedar's public corpora: every decision, every reason and every error.
#
# KEYSTONE_CORPORA names the directory with cedar-corpus.tar.xz and
# cedar-handwritten.tar.xz; test/check says ../shared/corpora, seen from the
# top of the source tree.
use strict;
use warnings;

use CedarCases qw(make_table add_source add_rows compare read_file);
use File::Basename qw(basename);
use JSON::PP;
use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $corpora = $ENV{KEYSTONE_CORPORA} // '';
plan skip_all => 'no corpora: KEYSTONE_CORPORA names no directory with cedar-corpus.tar.xz'
  unless -r "$corpora/cedar-corpus.tar.xz" && -r "$corpora/cedar-handwritten.tar.xz";

my $directory = PostgreSQL::Test::Utils::tempdir;
foreach my $archive (qw(cedar-corpus cedar-handwritten))
{
	system('tar', 'xJf', "$corpora/$archive.tar.xz", '-C', $directory) == 0 or die "could not unpack $archive";
}

my $node = KeystoneNode->start(name => 'cedar');
make_table($node);

# Requests of one corpus: how many there are, and that each has its answer.
# Cases are named by their file of requests; those that are excluded, with the
# reason, are counted apart.
sub check
{
	my ($name, $expected, $excluded, @cases) = @_;
	my $file = "$directory/$name.tsv";
	open my $out, '>:raw', $file or die "$file: $!";
	add_source($out, @$_) foreach @cases;
	close $out or die "$file: $!";

	$node->safe_psql('postgres', 'TRUNCATE cases');
	add_rows($node, $file);
	compare($node);
	my $same = 'got_decision = decision AND got_reasons = reasons AND got_errors = errors';
	my ($total, $right) = split /\|/, $node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE $same) FROM cases");
	diag("$name: $right of $total requests of " . @cases . ' cases have the expected decision, reasons and errors; '
		  . keys(%$excluded) . ' cases excluded');
	diag("$name: $_ is excluded: $excluded->{$_}") foreach sort keys %$excluded;
	is($total, $expected, "$name: all requests were asked");
	is($node->safe_psql('postgres', <<~"EOF"), '', "$name: all answers are as expected");
		SELECT name, n, request, decision, reasons, errors, got_decision, got_reasons, got_errors, problem
		FROM cases WHERE ($same) IS NOT TRUE ORDER BY name, n LIMIT 10
		EOF
	return;
}

my @generated = map {
	my $base = $_ =~ s/\.json$//r;
	[ basename($base), read_file("$base.cedar"), read_file("$base.entities.json"), read_file($_) ]
} grep { !/\.entities\.json$/ } sort glob "$directory/cedar-corpus/*.json";
check('generated', 30560, {}, @generated);

# What a schema says, these escapes do: that an attribute is an entity.
sub with_escapes
{
	my ($value) = @_;
	return [ map { with_escapes($_) } @$value ] if ref $value eq 'ARRAY';
	return $value unless ref $value eq 'HASH';
	return { __entity => $value } if join(',', sort keys %$value) eq 'id,type';
	return { map { $_ => with_escapes($value->{$_}) } keys %$value };
}

sub read_entities
{
	my ($path) = @_;
	my $entities = decode_json(read_file($path));
	$_->{attrs} = with_escapes($_->{attrs}) foreach @$entities;
	return encode_json($entities);
}

my @handwritten = map {
	my $text = read_file($_);
	my $case = decode_json($text);
	[ s{^\Q$directory/\E}{}r, read_file("$directory/$case->{policies}"), read_entities("$directory/$case->{entities}"), $text ]
} sort glob "$directory/tests/*/*.json";
check('handwritten', 59, {}, @handwritten);

done_testing();
