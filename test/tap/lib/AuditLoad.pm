# Clients that reveal and store all the time and keep what they were told, for
# tests of the audit log: whatever happens to the server, each acknowledged
# call must be in the log.
#
#   my $load = AuditLoad->start($node, database => 'vault', role => 'alice', clients => 8);
#   $load->acknowledged;		# number of calls so far
#   $load->stop;
#   $load->missing($query);		# acknowledged, and not in the log
#   $load->longest;				# seconds of the longest call
#
# A client is a loop of psql runs, of which each ends with its first error.
# Every call has a request id of its own.  There must be a workspace "acme"
# with a credential "token", whose value is "value".
package AuditLoad;

use strict;
use warnings;

use IPC::Run;
use KeystoneTools qw(crash_postmaster wait_until);
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

my $loads = 0;

# Options: database, role, clients (4), pause (seconds between calls, 0),
# stores (each so manieth call stores, 10; 0 for none).
sub start
{
	my ($class, $node, %opts) = @_;
	my $self = bless {
		node => $node,
		database => $opts{database},
		prefix => sprintf('load%d.%d', $$, ++$loads),
		acknowledged => {},
		wrong => 0,
		longest => 0,
		errors => {},
	}, $class;
	my $base = $node->basedir . "/$self->{prefix}";
	my $stores = $opts{stores} // 10;

	mkdir $base or die "$base: $!";
	$self->{stop_file} = "$base/stop";
	append_to_file("$base/calls.sql", join '', "\\timing on\n", map { call($_, $stores, $opts{pause} // 0) } 1 .. 200);
	foreach my $n (1 .. $opts{clients} // 4)
	{
		my $client = { out => "$base/$n.out", err => "$base/$n.err", done => "$base/$n.done", at => 0, err_at => 0 };
		append_to_file($client->{$_}, '') foreach 'out', 'err';
		$client->{handle} = IPC::Run::start(
			[
				'sh', '-c', <<'EOF2', 'client', "$self->{prefix}.$n", $base, $n, $node->connstr($opts{database}) . " user=$opts{role} application_name=$self->{prefix}"
run=0
while [ ! -e "$2/stop" ]; do
	run=$((run + 1))
	psql -XAtq -v ON_ERROR_STOP=1 -v VERBOSITY=sqlstate -v "run=$1.$run" -v "client=load $3" \
		-d "$4" -f "$2/calls.sql" >> "$2/$3.out" 2>> "$2/$3.err" < /dev/null || sleep 0.05
done
: > "$2/$3.done"
EOF2
			],
			'<', \undef, IPC::Run::timeout(3600));
		push @{ $self->{clients} }, $client;
	}
	return $self;
}

# The n-th call of a run: prints "ack" and its request id, or "WRONG".
sub call
{
	my ($n, $stores, $pause) = @_;
	my $context = "context => jsonb_build_object('request_id', :'run' || '.$n')";
	my $sql =
	  $stores && $n % $stores == 0
	  ? "SELECT 'ack ' || :'run' || '.$n' FROM keystone.store('acme', :'client', :'run', $context);\n"
	  : "SELECT CASE keystone.reveal('acme', 'token', $context) WHEN 'value' THEN 'ack ' ELSE 'WRONG ' END || :'run' || '.$n';\n";
	$sql .= "SELECT FROM pg_sleep($pause);\n" if $pause;
	return $sql;
}

# What a file has had since the last look, as whole lines.
sub read_on
{
	my ($file, $at) = @_;
	open my $in, '<', $file or die "$file: $!";
	seek $in, $$at, 0;
	local $/;
	my $text = <$in> // '';
	close $in;
	$text =~ s/[^\n]*\z//;
	$$at += length $text;
	return $text;
}

# Reads what the clients have printed.
sub look
{
	my ($self) = @_;
	foreach my $client (@{ $self->{clients} })
	{
		my $text = read_on($client->{out}, \$client->{at});
		$self->{acknowledged}{$1} = 1 while $text =~ /^ack (\S+)$/mg;
		$self->{wrong} += () = $text =~ /^WRONG/mg;
		while ($text =~ /^Time: ([0-9.]+) ms/mg)
		{
			$self->{longest} = $1 / 1000 if $self->{longest} < $1 / 1000;
		}
		$text = read_on($client->{err}, \$client->{err_at});
		$self->{errors}{$1}++ while $text =~ /^psql:\S+ (?:ERROR|FATAL|PANIC):\s+(\S+)/mg;
	}
	return;
}

sub acknowledged
{
	my ($self) = @_;
	$self->look;
	return scalar keys %{ $self->{acknowledged} };
}

# Waits until so many more calls were acknowledged.
sub wait_for
{
	my ($self, $more, $seconds) = @_;
	my $wanted = $self->acknowledged + $more;
	return wait_until($seconds // 30, sub { $self->acknowledged >= $wanted });
}

sub longest { my ($self) = @_; $self->look; return $self->{longest} }
sub wrong { my ($self) = @_; $self->look; return $self->{wrong} }

# Error codes that the clients got, other than those named: "code times".
sub errors
{
	my ($self, @expected) = @_;
	$self->look;
	my %errors = %{ $self->{errors} };
	delete @errors{@expected};
	return join ', ', map { "$_ $errors{$_}" } sort keys %errors;
}

# Lets the clients end their runs.  False when one does not within that time.
sub stop
{
	my ($self, $seconds) = @_;
	my $ok = 1;
	append_to_file($self->{stop_file}, '');
	$ok = 0 unless wait_until($seconds // 30, sub { !grep { !-e $_->{done} } @{ $self->{clients} } });
	foreach my $client (@{ $self->{clients} })
	{
		if ($ok) { $client->{handle}->finish }
		else { $client->{handle}->kill_kill }
	}
	$self->look;
	return $ok;
}

# Request ids of acknowledged calls that are not in the log, among those that
# were not looked for before.
sub missing
{
	my ($self) = @_;
	my %looked_for;
	$self->look;
	%looked_for = map { $_ => 1 } grep { $self->{acknowledged}{$_} == 1 } keys %{ $self->{acknowledged} };
	$self->{node}->safe_psql($self->{database}, 'SELECT keystone_private.audit_flush()');
	my ($last, @logged) = split /\n/, $self->{node}->safe_psql($self->{database}, sprintf <<'EOF2', $self->{seen} // 0, "$self->{prefix}.");
SELECT max(seq) FROM keystone_private.audit_entries;
SELECT request_id FROM keystone.audit_log WHERE seq > %d AND request_id LIKE '%s%%' AND outcome = 'ok'
EOF2
	my %logged = map { $_ => 1 } @logged, @{ $self->{logged_early} // [] };
	my @missing = sort grep { !$logged{$_} } keys %looked_for;

	# In the log, and not acknowledged yet, or never.
	$self->{logged_early} = [ grep { !$self->{acknowledged}{$_} } keys %logged ];
	$self->{acknowledged}{$_} = 2 foreach keys %looked_for;
	$self->{seen} = $last;
	return @missing;
}

# A process of a kind, undef when there is none for long.
sub find_pid
{
	my ($self, $what) = @_;
	my $whose =
		$what eq 'backend' ? "application_name = '$self->{prefix}'"
	  : $what eq 'launcher' ? q{backend_type = 'keystone launcher'}
	  : "backend_type = 'keystone $what' AND datname = '$self->{database}'";
	my @psql = ('psql', '-XAtq', '-d', $self->{node}->connstr($self->{database}), '-c',
		"SELECT pid FROM pg_stat_activity WHERE $whose ORDER BY random() LIMIT 1");

	# Without input, which psql would not take while the server is down.
	return wait_until(
		30,
		sub {
			my ($pid, $ignored) = ('', '');
			IPC::Run::run(\@psql, '<', \undef, '>', \$pid, '2>', \$ignored);
			chomp $pid;
			return $pid;
		});
}

# kill -9 of one of: backend (of the load), appender, housekeeper, launcher,
# postmaster.  Waits until the load goes on.  Returns the seconds that took,
# undef when it does not.
sub kill_one
{
	my ($self, $what) = @_;
	my $node = $self->{node};
	my $launcher = $self->find_pid('launcher') or return;
	my $from = time;

	if ($what eq 'postmaster')
	{
		crash_postmaster($node) or return;
	}
	else
	{
		# A client's backend may just have ended.
		wait_until(
			30,
			sub {
				my $pid = $self->find_pid($what);
				$from = time;
				return $pid && kill('KILL', $pid);
			}) or return;

		# All processes of the server start anew.
		wait_until(60, sub { ($self->find_pid('launcher') // $launcher) != $launcher }) or return;
	}
	return unless $self->wait_for(scalar @{ $self->{clients} }, 60);
	return time - $from;
}

1;
