# Approvals: a long random sequence of calls agrees with a small model of the
# state machine (A1 to A3, A7 to A12, A15); what an approval is bound to; time
# that passes; a claim survives kill -9.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(wait_until crash_postmaster);
use PostgreSQL::Test::Utils;
use Test::More;

my $steps = $ENV{KEYSTONE_APPROVAL_STEPS} || 600;
my $seed = $ENV{KEYSTONE_SEED} || time;
srand($seed);
note "seed $seed";

my $node = KeystoneNode->start(name => 'approvals', conf => <<'EOF2');
restart_after_crash = on
keystone.housekeeper_interval = 200ms
keystone.denials_per_minute = 0
EOF2

sub query
{
	my ($sql, $role) = @_;
	return $node->safe_psql('postgres', $sql, $role ? (extra_params => [ '-U', $role ]) : ());
}

# The result of a query of a role, or its SQLSTATE.
sub try
{
	my ($role, $sql) = @_;
	my ($stdout, $stderr) = ('', '');
	$node->psql('postgres', $sql, stdout => \$stdout, stderr => \$stderr,
		extra_params => [ '-v', 'VERBOSITY=sqlstate', '-U', $role ]);
	return $stderr =~ /ERROR:  ([0-9A-Z]{5})/ ? $1 : $stdout;
}

my @askers = qw(op1 op2 adm1);
my @voters = qw(own adm1 adm2 adm3);
my @people = (qw(own adm1 adm2 adm3 op1 op2));

query('CREATE EXTENSION IF NOT EXISTS keystone');
query(join '', map { "CREATE ROLE $_ LOGIN; SELECT keystone.grant_access('$_', 'client'); SELECT keystone.register_principal('$_', db_role => '$_');" } @people);
query(<<'EOF2');
CREATE TABLE asked (n int, id uuid);
CREATE TABLE things (name text, id uuid);
GRANT ALL ON asked, things TO PUBLIC;
CREATE FUNCTION r(n int) RETURNS uuid LANGUAGE sql AS 'SELECT id FROM asked WHERE asked.n = r.n';
CREATE FUNCTION t(n text) RETURNS jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('credential', id) FROM things WHERE name = n$$;
CREATE FUNCTION try(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE query INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END
$$;
EOF2
query("SELECT keystone.create_workspace('team')", 'own');
my %role = (own => 'owner', adm1 => 'admin', adm2 => 'admin', adm3 => 'admin', op1 => 'operator', op2 => 'operator');
my %id = map { my ($name, $id) = split /\|/; $name => $id } split /\n/, query('SELECT db_role, id FROM keystone.principals WHERE db_role IS NOT NULL');
query("SELECT keystone.add_member('team', '$id{$_}', '$role{$_}')", 'own') for grep { $_ ne 'own' } @people;
query("INSERT INTO things SELECT n, (SELECT credential FROM keystone.store('team', n, 'value', e)) FROM (VALUES ('pw', 'prod'), ('pw2', 'prod'), ('short', 'short'), ('esc', 'esc')) v (n, e)", 'own');
query(q{SELECT keystone.policy_put('team', '{"apiVersion": "keystone.policy/v1", "id": "p", "scope": {"level": "workspace"}, "rules": [
	{"id": "two", "effect": "oblige", "match": {"actions": ["rotate", "delete_credential"], "env": ["prod"]},
	 "obligations": [{"type": "require_approval", "factors": [{"permission": "approve", "count": 2}]}]},
	{"id": "short", "effect": "oblige", "match": {"actions": ["rotate"], "env": ["short"]},
	 "obligations": [{"type": "require_approval", "factors": [{"permission": "approve", "count": 1}], "timeout": "PT1M", "valid_for": "PT1M"}]},
	{"id": "esc", "effect": "oblige", "match": {"actions": ["rotate"], "env": ["esc"]},
	 "obligations": [{"type": "require_approval", "factors": [{"role": "admin", "count": 1}], "timeout": "PT1H",
					  "escalate": [{"after": "PT1M", "to": {"role": "owner"}}]}]}]}')}, 'own');

sub ask
{
	my ($n, $who, $thing) = @_;
	return try($who, "INSERT INTO asked VALUES ($n, keystone.request_approval('team', 'rotate', t('$thing'))); SELECT 'ok'");
}

# A9: the server dies with a claim that is not committed
is(ask(-10, 'op1', 'pw2'), 'ok', 'a request whose claim will be cut off');
is(try($_->[0], 'SELECT keystone.approve(r(-10))'), $_->[1], "$_->[0] approves") foreach [ own => 'pending' ], [ adm2 => 'approved' ];
my $session = $node->background_psql('postgres', extra_params => [ '-U', 'op1' ]);
is($session->query("BEGIN; SELECT keystone.claim_approval(r(-10))"), 'claimed', 'a claim in a transaction that stays open');
crash_postmaster($node);
eval { $session->{run}->kill_kill; };
is(try('op1', "SELECT keystone.claim_approval(r(-10))"), 'PT428', 'I2: after kill -9 it cannot be claimed again');
is(try('op1', rotate('pw2', 'r(-10)')), 'PT428', 'nor be used');
wait_until(30, sub { query("SELECT state FROM keystone.approval_requests WHERE id = r(-10)") eq 'failed' });
is(query("SELECT state, detail FROM keystone.approval_requests WHERE id = r(-10)"), 'failed|the transaction that used it was rolled back', 'and has failed');

# What has to wait for its time is asked now.
my $begun = time;
is(ask(-1, 'op1', 'short'), 'ok', 'a request that expires is made');
is(ask(-2, 'op1', 'short'), 'ok', 'one whose approval expires');
is(try('adm1', 'SELECT keystone.approve(r(-2))'), 'approved', 'it is approved');
is(ask(-3, 'op1', 'esc'), 'ok', 'one that is escalated');
is(try('own', 'SELECT keystone.approve(r(-3))'), '42501', 'whom it will be escalated to does not vote yet');

# What is under way when the time of a request is over holds its row until then,
# so that nobody else settles it before.  In a workspace of their own: who votes
# stays a member as it is.
query("SELECT keystone.create_workspace('race'), keystone.add_member('race', '$id{adm1}', 'admin'), keystone.add_member('race', '$id{op1}', 'operator')", 'own');
query("INSERT INTO things SELECT n, (SELECT credential FROM keystone.store('race', n, 'value', n)) FROM unnest('{once,later}'::text[]) n", 'own');
query(q{SELECT keystone.policy_put('race', '{"apiVersion": "keystone.policy/v1", "id": "p", "scope": {"level": "workspace"}, "rules": [
	{"id": "once", "effect": "oblige", "match": {"actions": ["rotate"], "env": ["once"]},
	 "obligations": [{"type": "require_approval", "timeout": "PT1M", "valid_for": "PT1M"}]},
	{"id": "later", "effect": "oblige", "match": {"actions": ["rotate"], "env": ["later"]},
	 "obligations": [{"type": "require_approval", "timeout": "PT1M", "valid_for": "PT1H"}]}]}')}, 'own');
my %under_way;

sub ask_for_race
{
	my ($n, $thing, $approved) = @_;
	is(try('op1', "INSERT INTO asked VALUES ($n, keystone.request_approval('race', 'rotate', t('$thing'))); SELECT 'ok'"), 'ok', "a request: $n");
	is(try('own', "SELECT keystone.approve(r($n))"), 'approved', 'it is approved') if $approved;
	return;
}

sub hold
{
	my ($n, $who, $query) = @_;
	$under_way{$n} = $node->background_psql('postgres', extra_params => [ '-U', $who ]);
	return $under_way{$n}->query("BEGIN; SELECT $query");
}
foreach my $n (-4, -5)
{
	ask_for_race($n, 'later', 0);
	is(hold($n, 'adm1', "keystone.approve(r($n))"), 'approved', 'a vote that is not committed');
}
foreach my $n (-6, -7)
{
	ask_for_race($n, 'once', 1);
	is(hold($n, 'op1', "keystone.claim_approval(r($n))"), 'claimed', 'a claim that is not committed');
}
foreach my $n (-8, -9)
{
	ask_for_race($n, 'once', $n == -9);
	hold($n, 'postgres', "FROM keystone.approval_requests WHERE id = r($n) FOR NO KEY UPDATE");
}
my $raced = time;


# The model.  Of a request: state, burnt (claimed by what was rolled back),
# when it was asked, who asks, who has voted for it.
my (@requests, %changed, @script, @expected);
my $step = 0;
$changed{$_} = 0 for @people;

sub may_approve { return $role{ $_[0] } eq 'owner' || $role{ $_[0] } eq 'admin' }

sub entitled
{
	my ($request, $who) = @_;
	return $who ne $request->{asker} && may_approve($who) && $changed{$who} < $request->{asked};
}

# What the lock of the request's row brings to light.
sub settle
{
	my ($request) = @_;
	$request->{state} = 'failed' if $request->{state} eq 'approved' && $request->{burnt};
	return;
}

sub is_open { return $_[0]->{state} eq 'pending' || $_[0]->{state} eq 'approved' }

sub enough
{
	my ($request) = @_;
	return 2 <= grep { entitled($request, $_) } keys %{ $request->{votes} };
}

# PT404 for whom it is nothing to do with.
sub hidden
{
	my ($request, $who) = @_;
	return $who ne $request->{asker} && !may_approve($who);
}

sub vote
{
	my ($request, $who, $vote) = @_;
	return 'PT404' if hidden($request, $who);
	return '42501' if !entitled($request, $who);
	settle($request);
	if (is_open($request))
	{
		if ($vote eq 'reject') { $request->{state} = 'rejected'; }
		else
		{
			$request->{votes}{$who} = 1;
			$request->{state} = 'approved' if $request->{state} eq 'pending' && enough($request);
		}
	}
	return $request->{state};
}

# For what only the asker does; undef: go on.
sub not_own
{
	my ($request, $who) = @_;
	return 'PT404' if hidden($request, $who);
	return '42501' if $who ne $request->{asker};
	return;
}

sub cancel
{
	my ($request, $who) = @_;
	my $refused = not_own($request, $who);
	return $refused if $refused;
	settle($request);
	$request->{state} = 'cancelled' if is_open($request);
	return $request->{state};
}

sub claim
{
	my ($request, $who, $stays) = @_;
	my $refused = not_own($request, $who);
	return $refused if $refused;
	return 'PT428' if $request->{burnt} || $request->{state} ne 'approved' || !enough($request);
	if   ($stays) { $request->{state} = 'claimed'; }
	else          { $request->{burnt} = 1; }
	return 'claimed';
}

sub complete
{
	my ($request, $who, $ok) = @_;
	my $refused = not_own($request, $who);
	return $refused if $refused;
	settle($request);
	return 'PT428' if is_open($request);
	$request->{state} = $ok ? 'executed' : 'failed' if $request->{state} eq 'claimed';
	return $request->{state};
}

sub one_of { return $_[ int rand @_ ] }

# Appends a call and what it should give.
sub call
{
	my ($who, $sql, $expected, $rolled_back) = @_;
	$sql =~ s/'/''/g;
	push @script, "SET SESSION AUTHORIZATION $who;", $rolled_back ? 'BEGIN;' : (), "SELECT try('$sql');", $rolled_back ? 'ROLLBACK;' : ();
	push @expected, [ $expected, "$step: $who: $sql" ];
	return;
}

for $step (1 .. $steps)
{
	my $what = rand;
	my @live = grep { rand() < 0.2 || is_open($requests[$_]) || $requests[$_]{state} eq 'claimed' } 0 .. $#requests;
	my $n = one_of(@live);
	if ($what < 0.12 || !defined $n)
	{
		my $who = one_of(@askers);
		# An asker who was made a viewer may not rotate.
		my $may = $role{$who} ne 'viewer';
		my $possible = 2 <= grep { $_ ne $who && may_approve($_) } @people;
		my $answer = !$may ? '42501' : $possible ? 'made' : 'PT428';
		$may &&= $possible;
		push @requests, { state => 'pending', asked => $step, asker => $who, votes => {} } if $may;
		my $number = $may ? $#requests : 1000000 + $step;
		push @script, "SET SESSION AUTHORIZATION $who;",
			"SELECT try('INSERT INTO asked SELECT $number, keystone.request_approval(''team'', ''rotate'', t(''pw'')) RETURNING ''made''');";
		push @expected, [ $answer, "$step: $who asks" ];
		next;
	}
	my $request = $requests[$n];
	my $who = rand() < 0.8 ? one_of(@voters) : one_of(@people);
	my $asker = rand() < 0.9 ? $request->{asker} : one_of(@people);
	if ($what < 0.55) { call($who, "SELECT keystone.approve(r($n))", vote($request, $who, 'approve')); }
	elsif ($what < 0.60) { call($who, "SELECT keystone.reject(r($n))", vote($request, $who, 'reject')); }
	elsif ($what < 0.64) { call($asker, "SELECT keystone.cancel_request(r($n))", cancel($request, $asker)); }
	elsif ($what < 0.82)
	{
		my $stays = rand() < 0.6;
		# Who was made a viewer has not the verb's permission.
		my $denied = $asker eq $request->{asker} && $role{$asker} eq 'viewer';
		call($asker, "SELECT keystone.claim_approval(r($n))", $denied ? '42501' : claim($request, $asker, $stays), !$stays);
	}
	elsif ($what < 0.94)
	{
		my $ok = rand() < 0.5;
		call($asker, "SELECT keystone.complete_approval(r($n), " . ($ok ? 'true' : 'false') . ')', complete($request, $asker, $ok));
	}
	else
	{
		my $whom = one_of(qw(adm1 adm2 adm3));
		$role{$whom} = $role{$whom} eq 'viewer' || rand() < 0.3 ? 'admin' : 'viewer';
		$changed{$whom} = $step;
		call('own', "SELECT keystone.set_member_role('team', '$id{$whom}', '$role{$whom}')", '');
	}
}
my @got = split /\n/, query(join("\n", @script)), -1;
my @wrong = grep { ($got[$_] // '(none)') ne $expected[$_][0] } 0 .. $#expected;
is(scalar(@got), scalar(@expected), "$steps random calls each have an answer");
is(scalar(@wrong), 0, 'I9: each answer is that of the model') or do
{
	diag "step $expected[$_][1]: got " . ($got[$_] // '(none)') . ", expected $expected[$_][0]" for @wrong[ 0 .. ($#wrong < 9 ? $#wrong : 9) ];
};
my %answers;
$answers{$_}++ for @got;
note join ', ', map { "$_ $answers{$_}" } sort keys %answers;

# The housekeeper marks what was burnt; then all states are those of the model.
settle($_) for @requests;
my $states = join ',', map { $_->{state} } @requests;
my $shown;
wait_until(20, sub { ($shown = query("SELECT string_agg(q.state, ',' ORDER BY a.n) FROM asked a JOIN keystone.approval_requests q USING (id) WHERE a.n >= 0")) eq $states });
is($shown, $states, 'A10: and each state');
is(query('SELECT count(*) FROM keystone_private.approval_claims c JOIN asked a ON a.id = c.request JOIN keystone.approval_requests q ON q.id = c.request WHERE q.claimed_at IS NULL AND a.n >= 0'), '0', 'A8: what was claimed says so');
is(query("SELECT count(*) FROM (SELECT object_id FROM keystone_private.audit_entries WHERE kind = 84 GROUP BY object_id, seq HAVING count(*) > 1) d"), '0', 'A8: and once');


# Roles as they were, for what follows.
for my $whom (grep { $role{$_} eq 'viewer' } keys %role)
{
	query("SELECT keystone.set_member_role('team', '$id{$whom}', 'admin')", 'own');
}
my $number = 5000;

# An approved request for rotating pw.
sub approved
{
	my ($asker, $thing) = @_;
	$number++;
	ask($number, $asker, $thing) eq 'ok' or die 'could not ask';
	try($_, "SELECT keystone.approve(r($number))") for grep { $_ ne $asker } qw(own adm2);
	return "r($number)";
}

sub rotate
{
	my ($thing, $request, $more) = @_;
	return "SELECT version > 0 FROM keystone.rotate((SELECT id FROM things WHERE name = '$thing'), 'another', approval => $request" . ($more // '') . ')';
}

# A6: each part that the hash covers
my $request = approved('adm1', 'pw');
is(try('adm1', "SELECT keystone.delete_credential((SELECT id FROM things WHERE name = 'pw'), approval => $request)"), 'PT428', 'A6: another action');
$request = approved('op1', 'pw');
is(try('op1', rotate('pw2', $request)), 'PT428', 'A6: another credential');
is(try('op2', rotate('pw', $request)), 'PT428', 'A6: another caller');
is(try('op1', "SELECT keystone.claim_approval($request, '{\"x\": 1}')"), 'PT428', 'A6: other parameters');
is(try('own', "SELECT keystone.rename((SELECT id FROM things WHERE name = 'pw'), '{\"name\": \"pw-new\"}')"), '', 'the credential is renamed');
is(try('op1', rotate('pw', $request)), 'PT428', 'A6: another name');
is(try('own', "SELECT keystone.rename((SELECT id FROM things WHERE name = 'pw'), '{\"name\": \"pw\"}')"), '', 'and back');
my $other = approved('op2', 'pw');
is(try('op1', rotate('pw', $request, q{, reason => 'because', context => '{"workflow": "nightly"}'})), 't', 'reason, context and value are no part of it');
is(try('op2', rotate('pw', $other)), 'PT428', 'A6: another version');

# A7, A12: time
while (time < $begun + 62 || time < $raced + 62) { sleep 1; }
is(try('own', 'SELECT keystone.approve(r(-1))'), 'expired', 'A7, A12: a request expires, and is not approved by that');
is(try('op1', rotate('short', 'r(-2)')), 'PT428', 'A7: so does an approval');
is(try('op1', 'SELECT keystone.cancel_request(r(-2))'), 'expired', 'and says so');
wait_until(20, sub { query('SELECT level FROM keystone.approval_requests WHERE id = r(-3)') eq '1' });
is(try('own', 'SELECT keystone.approve(r(-3))'), 'approved', 'whom it was escalated to approves it');

# A7, A8: the same at the very moment: what was done in time holds when it is
# committed; what waited for it comes too late.  And the end, when it comes first.
sub waits
{
	my ($n, $who, $call) = @_;
	my $late = $node->background_psql('postgres', extra_params => [ '-U', $who ]);
	$late->query_until(qr/begun/, "\\echo begun\nSELECT try('SELECT keystone.$call(r($n))');\n");
	wait_until(20, sub { query("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = '$who'") > 0 });
	return $late;
}

sub end_race
{
	my ($n, $end, $who, $call) = @_;
	my $late = waits($n, $who, $call);
	$under_way{$n}->query_safe($end);
	$under_way{$n}->quit;
	my $answer = $late->query('SELECT 1');
	$late->quit;
	$answer =~ s/\s*1\s*\z//;
	my $state = "SELECT state FROM keystone.approval_requests WHERE id = r($n)";
	wait_until(20, sub { query($state) ne 'approved' }) if $answer eq 'PT428';
	return "$answer, " . query($state);
}
is(end_race(-4, 'COMMIT', 'own', 'approve'), 'approved, approved', 'approve || expire: a vote of before counts');
is(end_race(-5, 'ROLLBACK', 'own', 'approve'), 'expired, expired', 'one that is rolled back does not, nor does one after it');
is(end_race(-6, 'COMMIT', 'own', 'reject'), 'claimed, claimed', 'claim || expire: a claim of before holds');
is(end_race(-7, 'ROLLBACK', 'own', 'reject'), 'failed, failed', 'one that is rolled back is burnt');
is(end_race(-8, 'COMMIT', 'own', 'approve'), 'expired, expired', 'expire || approve: the end comes first');
is(end_race(-9, 'COMMIT', 'op1', 'claim_approval'), 'PT428, expired', 'expire || claim: the end comes first');

query('SELECT keystone_private.audit_flush()');
is(query("SELECT count(*) FROM keystone.audit_log WHERE action = 'approval.escalate' AND object::text = r(-3)::text"), '1', 'each step is noted once');
is(query('SELECT ok FROM keystone.audit_verify()'), 't', 'the log verifies');

done_testing();
