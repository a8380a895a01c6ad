# Maintenance windows open and close when another program says so, in zones
# with all kinds of changes of their clocks.
#
# The room is built into a module of its own, with functions that Keystone does
# not have; the other program is test/policy/windows.py.  From 2020 to 2035 each
# opening and closing is compared, and every minute around each change; with
# KEYSTONE_SOAK every minute.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no python3 with zoneinfo'
  unless IPC::Run::run([ 'python3', '-c', 'import zoneinfo; zoneinfo.ZoneInfo("Africa/Casablanca")' ], '>&', \my $output);

my $top = "$FindBin::RealBin/../..";
my $directory = PostgreSQL::Test::Utils::tempdir;
my @zones = qw(
  Africa/Cairo Africa/Casablanca Africa/El_Aaiun America/Asuncion America/Havana America/New_York America/Nuuk
  America/Santiago America/Sao_Paulo America/Scoresbysund America/St_Johns Antarctica/Troll Asia/Amman
  Asia/Beirut Asia/Gaza Asia/Kathmandu Asia/Tehran Australia/Lord_Howe Europe/Berlin Europe/Dublin Europe/London
  Pacific/Apia Pacific/Chatham Pacific/Easter UTC);

# Builds the module; returns its name.
sub build
{
	my $library = "$directory/tz_window.so";
	my $config = $ENV{PG_CONFIG} // 'pg_config';
	chomp(my $include = `$config --includedir-server`);
	system('cc', qw(-std=gnu11 -O2 -fPIC -shared -Wall -Wextra -Werror -Wno-unused-parameter), '-Wl,-Bsymbolic', '-o',
		$library, "-I$top/src", '-isystem', $include, "$top/test/tap/module/tz_window.c", "$top/src/ks_tzwindow.c") == 0
	  or die 'could not build the module';
	return $library;
}

my $module = build();
my $node = KeystoneNode->start(name => 'windows');
my $window = 'text, text, text, bigint, boolean, text, text[], bigint, bigint';
$node->safe_psql('postgres', <<~"EOF");
	CREATE FUNCTION tz_window_runs($window) RETURNS bigint[] AS '$module', 'ks_fn_tz_window_runs' LANGUAGE c;
	CREATE FUNCTION tz_window_wrong_at($window, bigint[]) RETURNS timestamptz
		AS '$module', 'ks_fn_tz_window_wrong_at' LANGUAGE c;
	EOF

# Windows in some zones for some years.
sub check
{
	my ($first, $last, @names) = @_;
	my $file = "$directory/windows.tsv";
	my $columns = 'zone, rule, start, seconds, elapsed, begins, excluded';

	IPC::Run::run([ 'python3', "$top/test/policy/windows.py", $first, $last, @names ], '>', $file)
	  or die 'the oracle failed';
	$node->safe_psql('postgres', <<~"EOF");
		DROP TABLE IF EXISTS windows;
		CREATE TABLE windows (zone text, rule text, start text, seconds bigint, elapsed boolean, begins text,
			excluded text[], runs bigint[], changes bigint[]);
		\\copy windows FROM '$file'
		EOF
	my ($windows, $runs, $changes) = split /\|/, $node->safe_psql('postgres',
		'SELECT count(*), sum(cardinality(runs) / 2), sum(cardinality(changes)) FROM windows');
	diag("$first to $last: $windows windows, $runs openings, $changes changes of offset");
	cmp_ok($runs, '>', 0, "$first to $last: there are openings");

	# The last ones depend on where each side has stopped.
	is($node->safe_psql('postgres', <<~"EOF"), '', "$first to $last: each opening and closing");
		SELECT zone, rule, start, seconds, elapsed, to_timestamp(wrong)
		FROM windows w, cardinality(runs) n,
			LATERAL tz_window_runs($columns, runs[1] - 1, runs[n - 1] + 1) found,
			LATERAL (SELECT min(time) FROM unnest(runs[1:n - 2], found[1:n - 2]) e (time, got)
					 WHERE time IS DISTINCT FROM got) d (wrong)
		WHERE runs[1:n - 2] IS DISTINCT FROM found[1:n - 2] ORDER BY 1, 2 LIMIT 10
		EOF
	is($node->safe_psql('postgres', <<~"EOF"), '', "$first to $last: each minute around a change");
		SELECT zone, rule, start, seconds, elapsed, wrong
		FROM windows, unnest(changes) c, tz_window_wrong_at($columns, c - 12 * 3600, c + 36 * 3600, runs) wrong
		WHERE wrong IS NOT NULL ORDER BY 1, 2 LIMIT 10
		EOF
	return unless $ENV{KEYSTONE_SOAK};
	is($node->safe_psql('postgres', <<~"EOF"), '', "$first to $last: each minute");
		SELECT zone, rule, start, seconds, elapsed, wrong
		FROM windows, tz_window_wrong_at($columns, extract(epoch FROM timestamptz '$first-01-01Z')::bigint,
			extract(epoch FROM timestamptz '$last-12-31Z')::bigint, runs) wrong
		WHERE wrong IS NOT NULL ORDER BY 1, 2 LIMIT 10
		EOF
	return;
}

check(2020, 2035, @zones);
# Dates that were skipped.
check(2011, 2012, 'Pacific/Apia', 'Pacific/Fakaofo');
check(1993, 1994, 'Pacific/Kwajalein');

# Openings and closings, in UTC.
sub runs
{
	my ($what, $begin, $finish) = @_;
	return $node->safe_psql('postgres', <<~"EOF");
		SET timezone = 'UTC';
		SELECT string_agg(to_char(to_timestamp(t), 'MM-DD HH24:MI'), ' ' ORDER BY n)
		FROM unnest(tz_window_runs($what, extract(epoch FROM timestamptz '${begin}Z')::bigint,
				extract(epoch FROM timestamptz '${finish}Z')::bigint)) WITH ORDINALITY u (t, n)
		EOF
}

sub nightly
{
	my ($start, $hours, $elapsed) = @_;
	return sprintf q{'America/New_York', 'FREQ=DAILY', '%s', %d, '%s', NULL, '{}'}, $start, $hours * 3600, $elapsed;
}

is(runs(nightly('02:30', 1, 'f'), '2026-03-08 04:00', '2026-03-09 04:00'), '03-08 07:30 03-08 08:30',
	'an opening that clocks skip is later by as much');
is(runs(nightly('01:30', 1, 'f'), '2026-11-01 04:00', '2026-11-02 05:00'), '11-01 05:30 11-01 07:30',
	'an opening that comes twice is the first, and lasts until the wall shows its end');
is(runs(nightly('01:30', 1, 't'), '2026-11-01 04:00', '2026-11-02 05:00'), '11-01 05:30 11-01 06:30',
	'or as long as it says');
is(runs(nightly('22:00', 6, 'f'), '2026-03-07 12:00', '2026-03-08 12:00'), '03-08 03:00 03-08 08:00',
	'six hours on the wall are five in the night when clocks go forward');
is( runs(q{'Pacific/Apia', 'FREQ=DAILY', '12:00', 3600, false, NULL, '{}'}, '2011-12-29 12:00', '2012-01-01 12:00'),
	'12-29 22:00 12-29 23:00 12-30 22:00 12-30 23:00 12-31 22:00 12-31 23:00',
	'a date that was skipped has no opening');

done_testing();
