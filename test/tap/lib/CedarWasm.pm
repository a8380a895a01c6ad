# The package @cedar-policy/cedar-wasm of npm, as an oracle.
#
#   my ($modules, $reason) = cedar_wasm($directory);
#
# $modules is a node_modules directory that has it; without it, $reason says
# why.  KEYSTONE_CEDAR_WASM names one, else npm makes one in $directory.
package CedarWasm;

use strict;
use warnings;

use Exporter qw(import);
use IPC::Run ();

our @EXPORT = qw(cedar_wasm);
our @EXPORT_OK = qw(npm_package);

# Its language is Cedar 4.5.
my $package = '@cedar-policy/cedar-wasm';
my $version = '4.13.0';

# Whether a command runs, without a word.
sub runs
{
	my (@command) = @_;
	my $output;
	return eval { IPC::Run::run(\@command, '<', \undef, '>&', \$output, IPC::Run::timeout(120)) };
}

# The same for any package: named says where it is, if that is known.
sub npm_package
{
	my ($directory, $name, $its_version, $named) = @_;
	my $modules = $ENV{$named};

	return (undef, 'no Node.js') unless runs('node', '--version');
	if (!defined $modules)
	{
		local $ENV{HOME} = $directory;
		local $ENV{npm_config_cache} = "$directory/cache";
		return (undef, "npm cannot install $name")
		  unless runs('npm', 'install', '--silent', '--no-audit', '--no-fund', '--ignore-scripts',
			'--prefix', $directory, "$name\@$its_version");
		$modules = "$directory/node_modules";
	}
	return -d "$modules/$name" ? ($modules) : (undef, "$name is not in $named");
}

sub cedar_wasm
{
	my ($directory) = @_;
	return npm_package($directory, $package, $version, 'KEYSTONE_CEDAR_WASM');
}

1;
