# What several of the tests do: pgbench runs, sessions that measure, crashes.
package KeystoneTools;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

our @EXPORT_OK = qw(has_library pgbench start_pgbench crash_postmaster wait_until);

# Whether the server has a library, such as pg_stat_statements.
sub has_library
{
	my ($name) = @_;
	chomp(my $directory = `pg_config --pkglibdir`);
	return -e "$directory/$name.so" || -e "$directory/$name.dylib";
}

my $files = 0;

sub pgbench_command
{
	my ($node, $scripts, @options) = @_;
	my @arguments;
	foreach my $script (@$scripts)
	{
		my $file = $node->basedir . '/script' . ++$files . '.sql';
		append_to_file($file, "$script\n");
		push @arguments, '-f', $file;
	}
	return ('pgbench', '-n', '-h', $node->host, '-p', $node->port, @arguments, @options);
}

# Runs scripts, an array of their texts.  The last option is the database, or
# a connection string.  Returns whether pgbench was content, and its output.
sub pgbench
{
	my ($node, $scripts, @options) = @_;
	my $output = '';
	my $ok = IPC::Run::run([ pgbench_command($node, $scripts, @options) ], '>&', \$output,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return wantarray ? ($ok, $output) : $ok;
}

# The same in the background; the result has finish().
sub start_pgbench
{
	my ($node, $scripts, @options) = @_;
	my $output = '';
	return IPC::Run::start([ pgbench_command($node, $scripts, @options) ], '>&', \$output,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
}

# Calls code until it returns true, at most for that many seconds.
sub wait_until
{
	my ($seconds, $code) = @_;
	for (1 .. 20 * $seconds)
	{
		my $result = $code->();
		return $result if $result;
		usleep(50_000);
	}
	return;
}

# kill -9 of the postmaster, and a start as soon as the server allows it.
# Where nobody adopts orphans the postmaster stays as a zombie, which would
# keep the next server from starting.
sub crash_postmaster
{
	my ($node) = @_;
	my $pidfile = $node->data_dir . '/postmaster.pid';
	my ($pid) = split /\n/, slurp_file($pidfile);

	$node->kill9;
	wait_until(10, sub { (`ps -o stat= -p $pid` || 'Z') =~ /^Z/ });
	unlink $pidfile if `ps -o stat= -p $pid` =~ /^Z/;
	return wait_until(60, sub { $node->start(fail_ok => 1) });
}

1;
