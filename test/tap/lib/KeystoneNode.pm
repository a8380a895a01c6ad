# A PostgreSQL::Test::Cluster node that has Keystone preloaded, and a root key
# file of its own outside the data directory.
#
#   my $node = KeystoneNode->start(name => 'main');
#   $node->safe_psql('postgres', 'CREATE EXTENSION keystone');
#
# test/check says in KEYSTONE_EXTENSION_CONF where the extension is.
package KeystoneNode;

use strict;
use warnings;

use parent 'PostgreSQL::Test::Cluster';

use PostgreSQL::Test::Utils ();
use Fcntl;

# As a class method: makes a node, initialises and starts it.  Options:
#	name		of the node ("main")
#	new			array of options for new(), such as install_path => '/opt/pg15'
#	init		array of options for init(), such as allows_streaming => 1
#	conf		lines for postgresql.conf
#	keys		array of lines for the root key file (one fresh key)
#	start		0: do not start it yet
# As an object method: PostgreSQL::Test::Cluster's start().
sub start
{
	my ($self, %opts) = @_;
	return $self->SUPER::start(%opts) if ref $self;

	my $node = $self->new($opts{name} // 'main', @{ $opts{new} // [] });
	my %init = @{ $opts{init} // [] };
	$init{extra} = [ '--encoding=UTF8', '--locale=C.UTF-8', @{ $init{extra} // [] } ];
	$node->init(%init);
	$node->write_root_keys(@{ $opts{keys} // [ 'test-1 ' . fresh_key() ] });
	$node->append_conf('postgresql.conf', <<~"EOF");
		include '$ENV{KEYSTONE_EXTENSION_CONF}'
		shared_preload_libraries = 'keystone'
		keystone.root_key_file = '${\$node->root_key_file}'
		EOF
	$node->append_conf('postgresql.conf', $opts{conf}) if defined $opts{conf};
	$node->SUPER::start if $opts{start} // 1;
	return $node;
}

# 64 random hexadecimal digits.
sub fresh_key
{
	open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!";
	read($random, my $bytes, 32) == 32 or die "/dev/urandom: $!";
	return unpack 'H*', $bytes;
}

# Where the root keys are.
sub root_key_file
{
	my ($self) = @_;
	return $self->basedir . '/root_keys';
}

# Replaces the root key file, without a moment in which it is half written.
sub write_root_keys
{
	my ($self, @lines) = @_;
	my $file = $self->root_key_file;

	unlink "$file.new";
	sysopen my $out, "$file.new", Fcntl::O_WRONLY | Fcntl::O_CREAT | Fcntl::O_EXCL, 0600
	  or die "$file.new: $!";
	print $out map { "$_\n" } @lines;
	close $out or die "$file.new: $!";
	rename "$file.new", $file or die "$file: $!";
	return;
}

# Reloads the configuration, and waits until a query in database gives what is
# expected ("select sealed from keystone.seal_status" gives "f" by default).
sub reload_and_wait
{
	my ($self, %opts) = @_;
	$self->reload;
	$self->poll_query_until(
		$opts{database} // 'postgres',
		$opts{query} // 'SELECT sealed FROM keystone.seal_status',
		$opts{expected} // 'f') or die 'timed out waiting for the root keys';
	return;
}

# The SQLSTATE of the first error in sql, "00000" without one.
sub psql_err
{
	my ($self, $database, $sql, %opts) = @_;
	my $stderr = '';
	$self->psql($database, $sql, %opts, stderr => \$stderr, on_error_stop => 1,
		extra_params => [ '-v', 'VERBOSITY=sqlstate', @{ $opts{extra_params} // [] } ]);
	return $stderr =~ /(?:ERROR|FATAL|PANIC):\s+([0-9A-Z]{5})\b/ ? $1 : '00000';
}

# What the server has logged since the position (from -s $node->logfile).
sub log_since
{
	my ($self, $position) = @_;
	return substr PostgreSQL::Test::Utils::slurp_file($self->logfile), $position // 0;
}

1;
