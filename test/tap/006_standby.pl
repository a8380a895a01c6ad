# A streaming standby: metadata can be read, values neither revealed nor
# stored; after promotion all works, in sessions that were connected before
# too.  It says for itself whether it is sealed.
use strict;
use warnings;

use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my ($k1, $k2) = map { KeystoneNode::fresh_key() } 1 .. 2;
my $primary = KeystoneNode->start(
	name => 'primary',
	init => [ allows_streaming => 1 ],
	keys => ["k1 $k1"]);

# query NODE SQL [ROLE]
sub query
{
	my ($node, $sql, $role) = @_;
	return $node->safe_psql('postgres', $sql, $role ? (extra_params => [ '-U', $role ]) : ());
}

query($primary, <<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN;
CREATE ROLE watcher LOGIN;
SELECT keystone.grant_access('alice', 'client');
SELECT keystone.grant_access('bob', 'client');
SELECT keystone.grant_access('watcher', 'monitor');
SELECT keystone.register_principal('Bob', db_role => 'bob');
EOF2
query($primary, q{SELECT keystone.create_workspace('acme'); SELECT keystone.store('acme', 'token', 'value')}, 'alice');
my $bob = query($primary, 'SELECT keystone.current_principal()', 'bob');
query($primary, qq{SELECT keystone.add_member('acme', '$bob', 'viewer')}, 'alice');

$primary->backup('base');
my $standby = KeystoneNode->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->write_root_keys("k1 $k1");
$standby->append_conf('postgresql.conf', "keystone.root_key_file = '" . $standby->root_key_file . "'");
$standby->start;

sub catch_up { return $primary->wait_for_catchup($standby) }
catch_up();

# What can be seen.
is(query($standby, 'SELECT sealed, current_root_key, reason IS NULL FROM keystone.seal_status'), 'f|k1|t', 'the standby is not sealed');
is(query($standby, 'SELECT sealed, current_root_key, reason FROM keystone.seal_status', 'alice'), 'f||', 'a client sees that, and no more');
is(query($standby, q{SELECT count(*) FROM keystone.health WHERE NOT ok}, 'watcher'), 0, 'it is healthy');
like(query($standby, q{SELECT detail FROM keystone.health WHERE check_name = 'role'}, 'watcher'), qr/^standby/, 'and says that it is a standby');
is(query($standby, 'SELECT workspace, name, current_version FROM keystone.credentials', 'alice'), 'acme|token|1', 'metadata can be read');
is(query($standby, q{SELECT keystone.credential_id('acme', 'token') IS NOT NULL, keystone.has_permission('acme', 'reveal')}, 'alice'),
	't|t', 'functions that look up work');
like(query($standby, 'SELECT source, workspaces FROM keystone.whoami()', 'alice'), qr/^db_role\|.*acme/, 'it knows who calls');
is(query($standby, q{SELECT count(*) FROM keystone.providers}), query($primary, q{SELECT count(*) FROM keystone.providers}), 'providers');
is(query($standby, 'SELECT ok FROM keystone.verify_all()'), 't', 'values can be verified without being shown');

# What is refused.
my $token = query($primary, q{SELECT keystone.credential_id('acme', 'token')}, 'alice');
foreach my $call (
	q{keystone.reveal('acme', 'token')}, qq{keystone.reveal_by_id('$token')}, qq{keystone.reveal_many('{$token}')},
	q{keystone.reveal_env('acme')}, q{keystone.export_env('acme')},
	q{keystone.store('acme', 'token', 'x')}, q{keystone.store('acme', 'new', 'x', personal => true)}, q{keystone.import_env('acme', 'A=b')},
	qq{keystone.rotate('$token', 'x')}, qq{keystone.rotate('$token', 'x', dry_run => true)}, qq{keystone.rename('$token', '{"name": "x"}')},
	qq{keystone.update_metadata('$token', '{"tags": []}')}, qq{keystone.promote('$token', 1)}, qq{keystone.rollback_to('$token', 1)},
	qq{keystone.set_active('$token', false)}, qq{keystone.delete_credential('$token')}, qq{keystone.destroy_credential('$token')},
	qq{keystone.mark_verified('$token', true)}, q{keystone.create_workspace('other')}, q{keystone.personal_workspace()},
	qq{keystone.set_member_role('acme', '$bob', 'operator')}, qq{keystone.remove_member('acme', '$bob')})
{
	is($standby->psql_err('postgres', "SELECT $call", extra_params => [ '-U', 'alice' ]), '25006', "25006: $call");
}
foreach my $call (q{keystone.register_principal('x')}, q{keystone.grant_access('bob', 'worker')}, q{keystone.provider_define('x', 'shared_key')})
{
	is($standby->psql_err('postgres', "SELECT $call"), '25006', "25006: $call");
}
is($standby->psql_err('postgres', q{SELECT keystone.reveal('acme', 'token')}, extra_params => [ '-U', 'watcher' ]),
	'42501', 'who may not reveal is told so');

# Changes arrive, in a session that has read already.
my $session = $standby->background_psql('postgres', extra_params => [ '-U', 'bob' ], on_error_stop => 0);
is($session->query('SELECT string_agg(name, $$,$$) FROM keystone.credentials'), 'token', 'a member reads on the standby');
query($primary, q{SELECT keystone.store('acme', 'second', 'value 2')}, 'alice');
catch_up();
is($session->query('SELECT string_agg(name, $$,$$ ORDER BY name) FROM keystone.credentials'), 'second,token', 'what is new arrives');
query($primary, qq{SELECT keystone.remove_member('acme', '$bob')}, 'alice');
catch_up();
is($session->query('SELECT count(*) FROM keystone.credentials'), 0, 'a member that is removed reads no more');
$session->quit;

# Its keys are its own affair.
$standby->write_root_keys("k2 $k2");
$standby->reload_and_wait(expected => 't');
like(query($standby, 'SELECT reason FROM keystone.seal_status'), qr/root key "k1"/, 'without the root key the standby is sealed');
is(query($standby, 'SELECT count(*) FROM keystone.credentials', 'alice'), 2, 'and metadata can be read');
is(query($primary, q{SELECT keystone.reveal('acme', 'token')}, 'alice'), 'value', 'the primary is not');

# The root key is changed on both, and used on the primary.
$_->write_root_keys("k2 $k2", "k1 $k1") foreach $primary, $standby;
$_->reload_and_wait(query => 'SELECT current_root_key FROM keystone.seal_status', expected => 'k2') foreach $primary, $standby;
query($primary, q{SELECT keystone.create_workspace('second'); SELECT keystone.store('second', 'token', 'under k2')}, 'alice');
catch_up();
is(query($standby, 'SELECT count(*), bool_and(ok) FROM keystone.verify_all()'), '3|t', 'values under both open on the standby');

# Promotion, with a session that stays.
$session = $standby->background_psql('postgres', extra_params => [ '-U', 'alice' ], on_error_stop => 0);
$session->query(q{SELECT keystone.reveal('acme', 'token')});
like($session->{stderr}, qr/cannot do this during recovery/, 'before the promotion nothing is revealed');
$session->{stderr} = '';
$primary->stop;
$standby->promote;
is($session->query(q{SELECT keystone.reveal('acme', 'token')}), 'value', 'after it the same session reveals');
is($session->query(q{SELECT version FROM keystone.store('acme', 'token', 'new')}), 2, 'and stores');
is($session->query(q{SELECT keystone.reveal('acme', 'token')}), 'new', 'and reveals that');
$session->quit;
is(query($standby, q{SELECT keystone.reveal('second', 'token')}, 'alice'), 'under k2', 'another session reveals');
is(query($standby, q{SELECT FROM keystone.create_workspace('third'); SELECT version FROM keystone.store('third', 'a', 'b')}, 'alice'), 1, 'and makes a workspace');
is(query($standby, 'SELECT count(*), bool_and(ok) FROM keystone.verify_all()'), '5|t', 'all versions open');
is(query($standby, 'SELECT count(*) FROM keystone.health WHERE NOT ok'), 1, 'keys are still wrapped by the other root key');

$standby->stop;
done_testing();
