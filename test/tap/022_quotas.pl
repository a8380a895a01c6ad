# Plans and quotas where plans are sold: the default plan is the smallest one,
# and only an administrator gives a greater one.  Many clients together use
# exactly what is included.  The housekeeper gives back what was reserved and
# closes periods, each once.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(wait_until pgbench);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(name => 'quotas', conf => <<'EOF');
max_worker_processes = 16
keystone.default_plan = free
keystone.housekeeper_interval = 200ms
EOF

sub query
{
	my ($sql, $role) = @_;
	return $node->safe_psql('postgres', $sql, $role ? (extra_params => [ '-U', $role ]) : ());
}

# The SQLSTATE that a role's statements end in.
sub refusal
{
	my ($sql, $role) = @_;
	my $stderr = '';
	$node->psql('postgres', $sql, stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=sqlstate', '-U', $role ]);
	return $stderr =~ /ERROR:  ([0-9A-Z]{5})/ ? $1 : '';
}

# Waits until a query gives what is expected, and tests that.
sub becomes
{
	my ($sql, $expected, $name) = @_;
	my $got;
	wait_until(20, sub { ($got = query($sql)) eq $expected });
	is($got, $expected, $name);
	return;
}

# A value that stays what it is while the housekeeper makes several rounds.
sub stays
{
	my ($sql, $expected, $name) = @_;
	query('SELECT pg_sleep(1)');
	is(query($sql), $expected, $name);
	return;
}

# A setting, in every session from now on.
sub set
{
	my ($name, $value) = @_;
	query("ALTER SYSTEM SET $name = '$value'");
	$node->reload;
	wait_until(20, sub { query("SHOW $name") eq $value }) or die "$name is not set";
	return;
}

query(<<'EOF');
CREATE EXTENSION keystone;
CREATE ROLE dba LOGIN;
SELECT keystone.grant_access('dba', 'admin');
EOF
my %id;
foreach my $role (qw(ann bob carl))
{
	query("CREATE ROLE $role LOGIN; SELECT keystone.grant_access('$role', 'worker')");
	$id{$role} = query("SELECT keystone.register_principal('$role', db_role => '$role')");
}

# The default plan
query(q{SELECT keystone.create_workspace('acme'); SELECT keystone.personal_workspace()}, 'ann');
is(query(q{SELECT plan IS NULL FROM keystone.workspaces WHERE slug = 'acme'}), 't', 'a new workspace has no plan of its own');
is(query(q{SELECT keystone.plan_allows('acme', 'approvals')}, 'ann'), 'f', 'it goes by the default plan');
is(refusal(q{SELECT keystone.create_workspace('second')}, 'ann'), 'PT429', 'the default plan includes one workspace');
is(refusal(q{SELECT keystone.set_plan('acme', 'starter')}, 'ann'), '42501', 'an owner gives itself no greater plan');
query(q{SELECT keystone.set_plan('acme', 'pro')}, 'dba');
query(q{SELECT keystone.create_workspace('second')}, 'ann');
query(q{SELECT keystone.set_plan('acme', 'starter')}, 'ann');
is(query(q{SELECT plan FROM keystone.workspaces WHERE slug = 'acme'}), 'starter', 'an owner chooses a smaller one');
is(refusal(q{SELECT keystone.set_plan('acme', 'pro')}, 'ann'), '42501', 'and cannot go back');
query(q{SELECT keystone.set_plan('second', 'free')}, 'ann');
is(query(q{SELECT plan FROM keystone.workspaces WHERE slug = 'second'}), 'free', 'it may name the default plan');
query(q{SELECT keystone.set_plan('acme', 'free')}, 'ann');

set('keystone.default_plan', 'pro');
query(q{SELECT keystone.create_workspace('bobs')}, 'bob');
is(query(q{SELECT keystone.plan_allows('bobs', 'approvals')}, 'bob'), 't', 'another default holds for workspaces without a plan');
is(query(q{SELECT keystone.plan_allows('acme', 'approvals')}, 'ann'), 'f', 'and not for those with one');
my $ignored;
isnt($node->psql('postgres', q{ALTER SYSTEM SET keystone.default_plan = 'gold'}, stderr => \$ignored), 0, 'a default plan is one of the plans');
set('keystone.default_plan', 'free');
is(query(q{SELECT keystone.plan_allows('bobs', 'approvals')}, 'bob'), 'f', 'the former one holds again');

# The platform's service is in every workspace, and in no plan.
my $service = query(q{SELECT keystone.register_principal('platform', kind => 'service')});
set('keystone.platform_service', $service);
query(q{SELECT keystone.create_workspace('carls')}, 'carl');
my $members = q{SELECT count(*) FROM keystone.members m JOIN keystone.workspaces w ON w.id = m.workspace_id WHERE w.slug = 'carls' AND m.removed_at IS NULL};
is(query($members), 2, 'the platform service is a member');
is(refusal("SELECT keystone.add_member('carls', '$id{bob}', 'viewer')", 'carl'), 'PT429', 'the plan includes no other');
query("SELECT keystone.remove_member('carls', '$service')", 'carl');
query("SELECT keystone.add_member('carls', '$service', 'service')", 'carl');
is(query($members), 2, 'it can come back');
query(q{SELECT keystone.set_plan('carls', 'starter')}, 'dba');
query("SELECT keystone.add_member('carls', '$id{$_}', 'viewer')", 'carl') foreach qw(ann bob);
is(query($members), 4, 'a greater plan includes more');

# Many clients: exactly what is included
query(q{CREATE TABLE allowed (n int); GRANT ALL ON allowed TO ann});
my ($ok, $output) = pgbench($node, [q{INSERT INTO allowed SELECT 1 FROM keystone.quota_consume('acme', 'rotations') q WHERE q.allowed;}],
	qw(-c 8 -j 2 -t 50 -U ann postgres));
ok($ok, '8 clients want 400') or diag $output;
my $used = q{SELECT sum(q.used) FROM keystone.quotas q JOIN keystone.workspaces w ON w.id = q.workspace_id WHERE w.slug = 'acme' AND q.meter = };
is(query('SELECT count(*) FROM allowed'), 100, '100 are included: 100 were allowed');
is(query("$used 'rotations'"), 100, 'and counted');
($ok, $output) = pgbench($node, [q{SELECT * FROM keystone.quota_consume('acme', 'calls', 3, 'key ' || txid_current() % 10);}],
	qw(-c 8 -j 2 -t 50 -U ann postgres));
ok($ok, '8 clients use ten keys 400 times') or diag $output;
is(query("$used 'calls'"), 30, 'each key has counted once');

# Reservations that expire
my $held = q{SELECT q.used || ' ' || q.reserved FROM keystone.quotas q JOIN keystone.workspaces w ON w.id = q.workspace_id WHERE w.slug = 'acme' AND q.meter = 'held'};
my $kept = query(q{SELECT reservation FROM keystone.quota_reserve('acme', 'held', 1)}, 'ann');
query(q{SELECT q.reservation FROM generate_series(10, 30, 10) n, keystone.quota_reserve('acme', 'held', n) q}, 'ann');
is(query($held), '0 61', 'four reservations');
query("UPDATE keystone_private.quota_events SET expires_at = now() WHERE meter = 'held' AND id <> '$kept'");
becomes($held, '0 1', 'what has expired is given back');
is(query(q{SELECT string_agg(state, ' ' ORDER BY quantity) FROM keystone_private.quota_events WHERE meter = 'held'}),
	'reserved released released released', 'the other one is kept');
stays($held, '0 1', 'nothing is given back twice');

# Periods that are over
my $closed = q{SELECT coalesce(string_agg(meter, ' ' ORDER BY meter), '') FROM keystone.quotas WHERE closed_at IS NOT NULL};
my $entries = q{SELECT coalesce(string_agg(detail ->> 'meter', ' ' ORDER BY detail ->> 'meter'), '') FROM keystone.audit_log WHERE action = 'period.close'};
query(q{UPDATE keystone.quotas SET period_end = now() - interval '59 minutes'});
stays($closed, '', 'a period is not closed within an hour of its end');
query(q{UPDATE keystone.quotas SET period_end = now() - interval '61 minutes', overage = 4, cost_micros = 40000});
becomes($closed, 'calls rotations', 'then it is closed, but not while something is reserved');
query("SELECT keystone.quota_commit('$kept')", 'ann');
is(query($held), '1 0', 'a reservation is counted in the period in which it was made');
becomes($closed, 'calls held rotations', 'and the period closed');
query('SELECT keystone_private.audit_flush()');
is(query($entries), 'calls held rotations', 'each has an entry');
is( query(q{SELECT concat_ws(' ', e.actor, w.slug = e.workspace, e.outcome, e.detail ->> 'used', e.detail ->> 'overage', e.detail ->> 'cost_micros',
	(e.detail ->> 'period_start')::timestamptz = q.period_start, (e.detail ->> 'period_end')::timestamptz = q.period_end)
	FROM keystone.audit_log e JOIN keystone.quotas q ON q.meter = e.detail ->> 'meter' JOIN keystone.workspaces w ON w.id = q.workspace_id
	WHERE e.action = 'period.close' AND q.meter = 'rotations'}),
	'keystone t ok 100 4 40000 t t', 'which says what was used and what it costs');
query('SELECT pg_sleep(1)');
query('SELECT keystone_private.audit_flush()');
is(query($entries), 'calls held rotations', 'and no second one');

# What a row counts is not lost in a crash.
query(q{SELECT keystone.quota_consume('bobs', 'rotations', 7)}, 'bob');
$node->stop('immediate');
$node->start;
is(query(q{SELECT q.used FROM keystone.quotas q JOIN keystone.workspaces w ON w.id = q.workspace_id WHERE w.slug = 'bobs'}), 7, 'what was used before a crash was used');

done_testing();
