# Cases for keystone.cedar_authorize(), with the answers that are expected, in
# a table: one row a request.
package CedarCases;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;

our @EXPORT_OK = qw(make_table add_source add_rows compare read_file);

# What stands in for NUL, which jsonb does not have; no case uses it.
my $nul = '{e000}';

sub read_file
{
	my ($path) = @_;
	open my $in, '<:raw', $path or die "$path: $!";
	local $/ = undef;
	return scalar <$in>;
}

sub make_table
{
	my ($node) = @_;
	$node->safe_psql('postgres', <<~'EOF');
		CREATE EXTENSION IF NOT EXISTS keystone;
		CREATE UNLOGGED TABLE sources (name text, policies text, entities jsonb, expected jsonb);
		CREATE UNLOGGED TABLE cases (name text, n bigint, policies text, entities jsonb, request jsonb,
			decision text, reasons text[], errors text[], got_decision text, got_reasons text[], got_errors text[], problem text);
		EOF
	return;
}

sub quoted
{
	my ($text) = @_;
	$text =~ s/([\\\t\n\r])/{ "\\" => '\\\\', "\t" => '\t', "\n" => '\n', "\r" => '\r' }->{$1}/ge;
	return $text;
}

# A line for the table of sources: three texts as they are in the files.
sub add_source
{
	my ($out, $name, $policies, $entities, $expected) = @_;
	if (grep { /(?<!\\)(?:\\\\)*\\u0000/ } $entities, $expected)
	{
		s/(?<!\\)((?:\\\\)*)\\u0000/$1\\ue000/g foreach $entities, $expected;
		$policies =~ s/(?<!\\)((?:\\\\)*)\\0/$1\\u$nul/g;
	}
	print $out join("\t", map { quoted($_) } $name, $policies, $entities, $expected), "\n";
	return;
}

# Reads those lines, and makes cases of the requests in each.
sub add_rows
{
	my ($node, $file) = @_;
	$node->safe_psql('postgres', "\\copy sources FROM '$file'");
	$node->safe_psql('postgres', <<~'EOF');
		INSERT INTO cases SELECT s.name, r.n, s.policies, s.entities, r.request, r.request ->> 'decision',
			ARRAY(SELECT jsonb_array_elements_text(r.request -> 'reason') ORDER BY 1),
			ARRAY(SELECT jsonb_array_elements_text(r.request -> 'errors') ORDER BY 1)
		FROM sources s, jsonb_array_elements(s.expected -> 'requests') WITH ORDINALITY r (request, n);
		TRUNCATE sources;
		ANALYZE cases;
		EOF
	return;
}

# Asks Keystone for all of them; an error is noted and is none of the others'
# business.
sub compare
{
	my ($node) = @_;
	$node->safe_psql('postgres', <<~'EOF');
		DO $$
		DECLARE
			c record;
		BEGIN
			FOR c IN SELECT ctid, policies, entities, request FROM cases LOOP
				BEGIN
					UPDATE cases SET (got_decision, got_reasons, got_errors) = (SELECT a.decision,
						ARRAY(SELECT unnest(a.reasons) ORDER BY 1), ARRAY(SELECT unnest(a.errors) ORDER BY 1)
						FROM keystone.cedar_authorize(c.policies, c.entities, c.request) a) WHERE cases.ctid = c.ctid;
				EXCEPTION WHEN OTHERS THEN
					UPDATE cases SET problem = sqlstate || ' ' || sqlerrm WHERE cases.ctid = c.ctid;
				END;
			END LOOP;
		END
		$$;
		EOF
	return;
}

1;
