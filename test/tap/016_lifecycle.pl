# The life of principals and workspaces where settings matter: the principal of
# a token that has no row until its first write, the platform service in every
# new workspace, and users that are deleted while the vault is sealed.
use strict;
use warnings;

use KeystoneNode;
use KeystoneTools qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(
	name => 'lifecycle',
	conf => "keystone.authenticators = 'gate'\nkeystone.trust_claims = on\nkeystone.housekeeper_interval = 200ms\n");
my @as_app = (extra_params => [ '-U', 'app' ]);
my @as_gate = (extra_params => [ '-U', 'gate' ]);

sub query
{
	my ($sql, @options) = @_;
	return $node->safe_psql('postgres', $sql, @options);
}

sub query_as_app
{
	my ($sql) = @_;
	return query($sql, @as_app);
}

sub err
{
	my ($sql, @options) = @_;
	return $node->psql_err('postgres', $sql, @options);
}

# A statement of a request with claims.
sub request
{
	my ($sub, $sql) = @_;
	return qq{BEGIN; SET LOCAL ROLE web; SET LOCAL "request.jwt.claims" = '{"sub": "$sub"}'; $sql; COMMIT};
}

query(<<'EOS');
CREATE EXTENSION keystone;
CREATE ROLE app LOGIN;
CREATE ROLE web;
CREATE ROLE gate LOGIN NOINHERIT;
GRANT web TO gate;
SELECT keystone.grant_access('app', 'client'), keystone.grant_access('web', 'client');
EOS
my $acme = query_as_app(q{SELECT keystone.create_workspace('acme')});
query_as_app(q{SELECT keystone.store('acme', 'key', 'v')});
ok(wait_until(20, sub { err(q{SELECT keystone.reveal('acme', 'key')}, @as_app) eq '00000' }), 'a reveal succeeds');

# The principal that a token or claims name has no row until its first write.
my $ana = 'aaaaaaaa-0000-4000-8000-000000000001';
my $rows = "SELECT display_name, kind, db_role, disabled_at IS NULL FROM keystone.principals WHERE id";
is(query(request($ana, 'SELECT principal, source FROM keystone.whoami()'), @as_gate), "$ana|claims", 'claims name a principal');
is(query("$rows = '$ana'"), '', 'reading makes no row');
is(err(request($ana, q{SELECT keystone.reveal('acme', 'key')}), @as_gate), 'PT404', 'it is no member');
is(query("$rows = '$ana'"), '', 'nor does a refusal make one');
is(err("SELECT keystone.add_member('acme', '$ana', 'viewer')", @as_app), 'PT404', 'who has no row cannot be added');
my $token = query_as_app(q{SELECT keystone.invite_member('acme', 'ana@example.com', 'service')});
is(query(request($ana, "SELECT keystone.accept_invitation('$token')"), @as_gate), $acme, 'but can accept an invitation');
is(query("$rows = '$ana'"), 'user aaaaaaaa|user||t', 'which makes the row');
is(query(request($ana, q{SELECT keystone.reveal('acme', 'key')}), @as_gate), 'v', 'and gives the role');

my $ben = 'bbbbbbbb-0000-4000-8000-000000000002';
my $personal = query(request($ben, 'SELECT keystone.personal_workspace()'), @as_gate);
is(query("$rows = '$ben'"), 'user bbbbbbbb|user||t', 'a personal workspace makes the row');
is(query(request($ben, 'SELECT keystone.personal_workspace()'), @as_gate), $personal, 'once');
my $cem = 'cccccccc-0000-4000-8000-000000000003';
query(request($cem, q{SELECT keystone.create_workspace('cem')}), @as_gate);
is(query("$rows = '$cem'"), 'user cccccccc|user||t', 'so does a workspace');
is(query(q{SELECT ok FROM keystone.health WHERE check_name = 'row macs'}), 't', 'with valid MACs');

# Disabled, it is refused by whatever names it.
query("SELECT keystone.disable_principal('$ana')");
is(err(request($ana, q{SELECT keystone.reveal('acme', 'key')}), @as_gate), '42501', 'a disabled one gets nothing');
is(err(request($ana, q{SELECT keystone.create_workspace('ana')}), @as_gate), '42501', 'and makes nothing');
query("SELECT keystone.enable_principal('$ana')");
is(query(request($ana, q{SELECT keystone.reveal('acme', 'key')}), @as_gate), 'v', 'until it is enabled');

# Users that are deleted: one that has no row yet as well, whose token still
# has some time to go.
my $dee = 'dddddddd-0000-4000-8000-000000000004';
query(<<"EOS");
CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
INSERT INTO auth.users VALUES ('$ana', 'ana'), ('$ben', 'ben'), ('$dee', 'dee');
CREATE ROLE auth_admin LOGIN;
GRANT USAGE ON SCHEMA auth TO auth_admin;
GRANT SELECT, DELETE ON auth.users TO auth_admin;
SELECT keystone.link_auth_users();
EOS
my @as_auth = (extra_params => [ '-U', 'auth_admin' ]);
query(q{DELETE FROM auth.users WHERE email IN ('ana', 'dee')}, @as_auth);
is(err(request($ana, q{SELECT keystone.reveal('acme', 'key')}), @as_gate), '42501', 'a deleted user gets nothing');
is(err(request($dee, q{SELECT keystone.personal_workspace()}), @as_gate), '42501', 'nor does one that had no row');
is(query("$rows = '$dee'"), 'deleted user|user||f', 'which has one now');

query(q{GRANT TRUNCATE ON auth.users TO auth_admin});
is(err(q{TRUNCATE auth.users}, @as_auth), '42501', 'nobody deletes users without that');
like(query(q{SELECT ok, detail FROM keystone.health WHERE check_name = 'auth users'}), qr/^t\|/, 'health knows of the triggers');

# Sealed, nothing can be written down: so the user stays.
unlink $node->root_key_file or die $!;
$node->restart;
is(err(q{DELETE FROM auth.users WHERE email = 'ben'}, @as_auth), 'PT423', 'in a sealed vault no user is deleted');
is(query(q{SELECT email FROM auth.users}), 'ben', 'it stays');
$node->stop;
$node->write_root_keys('test-1 ' . KeystoneNode::fresh_key());
$node->start;
is(err(q{DELETE FROM auth.users WHERE email = 'ben'}, @as_auth), 'PT423', 'nor under another key');
$node->stop;

# The platform service is added to every new workspace, where it is seen.
$node = KeystoneNode->start(name => 'platform', conf => "keystone.housekeeper_interval = 200ms\n");
my $service = 'eeeeeeee-0000-4000-8000-000000000005';
my $check = q{SELECT ok, detail FROM keystone.health WHERE check_name = 'platform service'};

sub set_service
{
	my ($id) = @_;
	query("ALTER SYSTEM SET keystone.platform_service = '$id'");
	$node->reload;
	ok(wait_until(20, sub { query('SHOW keystone.platform_service') eq $id }), "the setting is '$id'");
	return;
}

query(<<'EOS');
CREATE EXTENSION keystone;
CREATE ROLE app LOGIN;
SELECT keystone.grant_access('app', 'client');
EOS

# Makes a workspace; its members, as the owner sees them.
sub with_service
{
	my ($slug) = @_;
	query_as_app("SELECT keystone.create_workspace('$slug')");
	return query_as_app(qq{SELECT string_agg(p.display_name || ' ' || m.role, ', ' ORDER BY p.display_name) FROM keystone.members m
		JOIN keystone.principals p ON p.id = m.principal_id JOIN keystone.workspaces w ON w.id = m.workspace_id WHERE w.slug = '$slug'});
}

is(with_service('w1'), 'app owner', 'no service without the setting');
like(query($check), qr/^t\|none/, 'which is well');
set_service($service);
is(with_service('w2'), 'app owner', 'one that is not there is left out');
like(query($check), qr/^f\|/, 'and health says so');
query("SELECT keystone.register_principal('Nightly', 'service', id => '$service')");
is(with_service('w3'), 'Nightly service, app owner', 'a good one is added');
like(query($check), qr/^t\|/, 'and health is well');
is(query_as_app(q{SELECT keystone.personal_workspace() IS NOT NULL}), 't', 'a personal workspace');
is(query("SELECT count(*) FROM keystone.members WHERE principal_id = '$service' AND role = 'service' AND added_by IS NULL"),
	2, 'has it, too; nobody has added it');
is(query_as_app("SELECT keystone.remove_member('w3', '$service')"), '', 'an owner can remove it');
query("SELECT keystone.disable_principal('$service')");
is(with_service('w4'), 'app owner', 'a disabled one is left out');
like(query($check), qr/^f\|/, 'and health says so');
query("SELECT keystone.enable_principal('$service'); UPDATE keystone.principals SET kind = 'user' WHERE id = '$service'");
is(with_service('w5'), 'app owner', 'so is a forged one');
set_service(query(q{SELECT id FROM keystone.principals WHERE db_role = 'app'}));
is(with_service('w6'), 'app owner', 'the owner itself stays owner');
$node->stop;
done_testing();
