# A key management service for tests: a SoftHSM token behind the program that
# docs/kms.md shows, and faults in front of it.
#
#   my $kms = KeystoneKms->new($directory);
#   $kms->command;						# for keystone.kms_command
#   $kms->make_key('01'); $kms->delete_key('01');
#   $kms->uri('01');
#   $kms->fault('hang');				# of all calls; 'none' ends all faults
#   $kms->fault('hang', '02');			# of those for one key
#   $kms->calls;						# how many there were, since forget()
package KeystoneKms;

use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Utils;

my $module = '/usr/lib/softhsm/libsofthsm2.so';
my $token = 'customer';
my $pin = '271828';

sub new
{
	my ($class, $base) = @_;
	my $self = bless { base => $base }, $class;

	mkdir "$base/$_", 0700 or die "$base/$_: $!" foreach 'tokens', 'faults';
	$self->write('softhsm2.conf', "directories.tokendir = $base/tokens\nobjectstore.backend = file\nlog.level = ERROR\n");
	$self->write('pin', "$pin\n");
	$self->write('calls', '');
	$self->write('softhsm', page_program('softhsm'));
	chmod 0700, "$base/softhsm";
	$self->run('softhsm2-util', '--init-token', '--free', '--label', $token, '--pin', $pin, '--so-pin', '314159');
	$self->write('kms', $self->faulty_program);
	chmod 0700, "$base/kms";
	return $self;
}

# A program of docs/kms.md.
sub page_program
{
	my ($name) = @_;
	my $text = slurp_file("$FindBin::RealBin/../../docs/kms.md");
	$text =~ /^```sh\n(#![^\n]*\n# \Q$name\E\n.*?)^```$/ms or die "docs/kms.md has no program $name";
	return $1;
}

sub faulty_program
{
	my ($self) = @_;
	my $base = $self->{base};
	return <<"EOF2";
#!/bin/sh
export SOFTHSM2_CONF=$base/softhsm2.conf KEYSTONE_HSM_PIN_FILE=$base/pin
echo "\$KEYSTONE_KMS_OPERATION \$KEYSTONE_KMS_URI \$KEYSTONE_KMS_WORKSPACE" >> $base/calls
name=\${KEYSTONE_KMS_URI##*/}
fault=none
[ ! -e $base/faults/all ] || read -r fault < $base/faults/all
[ ! -e "$base/faults/\$name" ] || read -r fault < "$base/faults/\$name"
case \$fault in
	hang) sleep 600 ;;
	slow) sleep 1 ;;
	fail) exit 3 ;;
	killed) kill -TERM \$\$ ;;
	nothing) exit 0 ;;
	garbage) exec head -c 32 /dev/urandom ;;
	short) exec head -c 16 /dev/urandom ;;
	much) exec cat /dev/zero ;;
	more) exec head -c 2049 /dev/zero ;;
	same) exec cat ;;
	noisy) echo "secret on standard error" >&2 ;;
esac
exec $base/softhsm
EOF2
}

sub write
{
	my ($self, $name, $text) = @_;
	open my $out, '>', "$self->{base}/$name.new" or die "$name: $!";
	print $out $text;
	close $out or die "$name: $!";
	rename "$self->{base}/$name.new", "$self->{base}/$name" or die "$name: $!";
	return;
}

sub run
{
	my ($self, @command) = @_;
	my $output = '';
	local $ENV{SOFTHSM2_CONF} = "$self->{base}/softhsm2.conf";
	IPC::Run::run(\@command, '<', \undef, '>&', \$output) or die "@command: $output";
	return;
}

sub pkcs11
{
	my ($self, @options) = @_;
	return $self->run('pkcs11-tool', '--module', $module, '--token-label', $token, '--login', '--pin', $pin, @options);
}

sub make_key { my ($self, $id) = @_; return $self->pkcs11('--keygen', '--key-type', 'AES:32', '--label', "key $id", '--id', $id) }
sub delete_key { my ($self, $id) = @_; return $self->pkcs11('--delete-object', '--type', 'secrkey', '--id', $id) }
sub uri { my ($self, $id) = @_; return "softhsm://$token/$id" }
sub command { my ($self) = @_; return "exec $self->{base}/kms" }

sub fault
{
	my ($self, $fault, $id) = @_;
	if ($fault eq 'none')
	{
		unlink $id ? "$self->{base}/faults/$id" : glob "$self->{base}/faults/*";
		return;
	}
	return $self->write('faults/' . ($id // 'all'), "$fault\n");
}

sub forget { my ($self) = @_; return $self->write('calls', '') }

sub calls
{
	my ($self, $pattern) = @_;
	$pattern //= '.';
	return scalar grep { /$pattern/ } split /\n/, slurp_file("$self->{base}/calls");
}

1;
