# I4: what somebody prepares before the extension is there, roles that are
# made or come again under names that mean something, rows that are forged
# while the vault is sealed.
use strict;
use warnings;

use KeystoneJwt qw(json jwt);
use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = KeystoneNode::fresh_key();
my $root_key = 'k1 ' . KeystoneNode::fresh_key();
my $node = KeystoneNode->start(start => 0, keys => [$root_key]);
my $keys_file = $node->basedir . '/jwt_keys';
append_to_file($keys_file, "$secret\n");
chmod 0600, $keys_file or die "$keys_file: $!";
$node->append_conf('postgresql.conf', "keystone.jwt_keys_file = '$keys_file'");
$node->start;

sub query
{
	my ($sql, %opts) = @_;
	return $node->safe_psql($opts{database} // 'vault', $sql);
}

# Runs SQL as a login role.  Returns its output, or the first error's SQLSTATE.
sub run_as
{
	my ($role, $sql, %opts) = @_;
	my ($stdout, $stderr) = ('', '');
	$node->psql($opts{database} // 'vault', $sql, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1,
		extra_params => [ '-U', $role, '-v', 'VERBOSITY=sqlstate' ]);
	return $stderr =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5})\b/ ? $1 : $stdout;
}

query('CREATE ROLE mallory LOGIN', database => 'postgres');
query('CREATE ROLE maker LOGIN CREATEROLE', database => 'postgres');

# A schema that is there already, made by somebody else.
foreach my $schema ('keystone', 'keystone_private')
{
	query("CREATE DATABASE taken_$schema", database => 'postgres');
	query("GRANT CREATE ON DATABASE taken_$schema TO mallory", database => 'postgres');
	is(run_as('mallory', "CREATE SCHEMA $schema; CREATE TABLE $schema.members (x text)", database => "taken_$schema"), '', "somebody makes a schema $schema");
	is($node->psql_err("taken_$schema", 'CREATE EXTENSION keystone'), '42P06', 'I4 the extension is not made into it');
	is(query(q{SELECT (SELECT count(*) FROM pg_extension WHERE extname = 'keystone'), (SELECT count(*) FROM pg_namespace WHERE nspname ~ '^keystone'), (SELECT count(*) FROM pg_proc WHERE probin ~ 'keystone')},
		database => "taken_$schema"), '0|1|0', 'and nothing is left of it');
}

# The extension does not go with a schema that was first on the path of who
# installed it: its owner, or a tool that begins anew, may drop that.
query('CREATE DATABASE other', database => 'postgres');
query('CREATE SCHEMA first AUTHORIZATION mallory; SET search_path = first, public; CREATE EXTENSION keystone', database => 'other');
is(run_as('mallory', 'DROP SCHEMA first CASCADE', database => 'other'), '', 'a schema is dropped by its owner');
query('DROP SCHEMA public CASCADE', database => 'other');
is(query(q{SELECT count(*) FROM pg_extension WHERE extname = 'keystone'}, database => 'other'), '1', 'the vault stays, whatever other schema is dropped');
query('DROP DATABASE other WITH (FORCE)', database => 'postgres');

# Objects that wait on the path of who installs: better matches for what an
# install script calls, and default privileges.
query('CREATE DATABASE vault', database => 'postgres');
query('GRANT CREATE ON SCHEMA public TO mallory; CREATE SCHEMA planted AUTHORIZATION mallory; ALTER DATABASE vault SET search_path = planted, public, pg_catalog');
run_as('mallory', <<~'EOF2');
	CREATE TABLE public.ran (what text);
	GRANT ALL ON public.ran TO PUBLIC;
	DO $$
	DECLARE
		s text;
	BEGIN
		FOREACH s IN ARRAY ARRAY['planted', 'public'] LOOP
			EXECUTE replace($x$
				CREATE FUNCTION S.format(text, regclass) RETURNS text LANGUAGE sql AS 'INSERT INTO public.ran VALUES (''format'') RETURNING ''SELECT 1''';
				CREATE FUNCTION S.format(text, text) RETURNS text LANGUAGE sql AS 'INSERT INTO public.ran VALUES (''format'') RETURNING ''SELECT 1''';
				CREATE FUNCTION S.format(text, text, text) RETURNS text LANGUAGE sql AS 'INSERT INTO public.ran VALUES (''format'') RETURNING ''SELECT 1''';
				CREATE FUNCTION S.quote_ident(name) RETURNS text LANGUAGE sql AS 'INSERT INTO public.ran VALUES (''quote_ident'') RETURNING $1::text';
				CREATE FUNCTION S.pg_extension_config_dump(text, text) RETURNS void LANGUAGE sql AS 'INSERT INTO public.ran VALUES (''dump'')';
				CREATE FUNCTION S.getdatabaseencoding() RETURNS text LANGUAGE sql AS 'INSERT INTO public.ran VALUES (''encoding'') RETURNING ''UTF8''';
				CREATE FUNCTION S.yes(oid, oid) RETURNS boolean LANGUAGE sql AS 'INSERT INTO public.ran VALUES (''oid'') RETURNING true';
				CREATE FUNCTION S.yes(text, text) RETURNS boolean LANGUAGE sql AS 'INSERT INTO public.ran VALUES (''text'') RETURNING true';
				CREATE FUNCTION S.yes(name, text) RETURNS boolean LANGUAGE sql AS 'INSERT INTO public.ran VALUES (''name'') RETURNING true';
				CREATE OPERATOR S.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = S.yes);
				CREATE OPERATOR S.= (LEFTARG = text, RIGHTARG = text, FUNCTION = S.yes);
				CREATE OPERATOR S.= (LEFTARG = name, RIGHTARG = text, FUNCTION = S.yes);
				CREATE OPERATOR S.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = S.yes);
				CREATE TABLE S.pg_class (oid oid, relkind "char", relnamespace oid, relname name);
				CREATE TABLE S.pg_namespace (oid oid, nspname name, nspacl aclitem[], nspowner oid);
				CREATE TABLE S.members (x text);
			$x$, 'S.', s || '.');
		END LOOP;
	END
	$$;
	EOF2
query(<<~'EOF2');
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO mallory, PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON ROUTINES TO mallory, PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO mallory, PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO mallory, PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO mallory WITH GRANT OPTION;
	ALTER DEFAULT PRIVILEGES GRANT USAGE, CREATE ON SCHEMAS TO PUBLIC;
	CREATE EXTENSION keystone;
	ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM mallory, PUBLIC;
	ALTER DEFAULT PRIVILEGES REVOKE ALL ON ROUTINES FROM mallory, PUBLIC;
	ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM mallory, PUBLIC;
	ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM mallory, PUBLIC;
	ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM mallory, PUBLIC;
	EOF2
is(query('SELECT count(*) FROM public.ran'), '0', 'I4 nothing of what somebody planted ran at CREATE EXTENSION');
is(query(<<~'EOF2'), '', 'I4 default privileges gave nobody anything');
	SELECT DISTINCT kind || ' ' || name || ' ' || privilege || ' ' || coalesce((SELECT rolname FROM pg_catalog.pg_roles WHERE oid = grantee), 'PUBLIC') FROM (
		SELECT 'schema', nspname, a.grantee, a.privilege_type, nspowner FROM pg_catalog.pg_namespace, aclexplode(nspacl) a WHERE nspname ~ '^keystone'
		UNION ALL SELECT 'table', c.relname, a.grantee, a.privilege_type, c.relowner FROM pg_catalog.pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace::regnamespace::text ~ '^keystone'
		UNION ALL SELECT 'column', t.attname, a.grantee, a.privilege_type, c.relowner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute t ON attrelid OPERATOR(pg_catalog.=) c.oid, aclexplode(t.attacl) a WHERE c.relnamespace::regnamespace::text ~ '^keystone'
		UNION ALL SELECT 'routine', p.proname, a.grantee, a.privilege_type, p.proowner FROM pg_catalog.pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE p.pronamespace::regnamespace::text ~ '^keystone'
		UNION ALL SELECT 'type', t.typname, a.grantee, a.privilege_type, t.typowner FROM pg_catalog.pg_type t, aclexplode(t.typacl) a WHERE t.typnamespace::regnamespace::text ~ '^keystone' AND t.typtype OPERATOR(pg_catalog.=) 'd'
	) x (kind, name, grantee, privilege, owner)
	WHERE grantee OPERATOR(pg_catalog.<>) owner AND NOT (kind OPERATOR(pg_catalog.=) 'type' AND grantee OPERATOR(pg_catalog.=) 0 AND name OPERATOR(pg_catalog.=) 'text/plain') ORDER BY 1
	EOF2
is(query(q{SELECT bool_and(ok) FROM keystone.health WHERE check_name OPERATOR(pg_catalog.~) '^(guards|foreign objects|row macs|seal)$'}), 't', 'and the vault is whole');
query('ALTER DATABASE vault RESET search_path');
query('ALTER SCHEMA planted OWNER TO postgres');

# Tenants.
query(<<~'EOF2');
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;
	CREATE ROLE pool LOGIN;
	CREATE ROLE anon;
	GRANT anon TO pool;
	SELECT keystone.grant_access(r, 'client') FROM unnest(ARRAY['alice', 'bob', 'pool', 'anon']) r;
	SELECT keystone.grant_access('bob', 'admin');
	SELECT keystone.register_principal('Alice', db_role => 'alice'), keystone.register_principal('Bob', db_role => 'bob');
	EOF2
run_as('alice', q{SELECT keystone.create_workspace('acme'); SELECT keystone.store('acme', 'token', 'value of acme'); SELECT keystone.store('acme', 'own', 'value of alice', personal => true)});
my ($alice, $bob) = map { query("SELECT id FROM keystone.principals WHERE db_role = '$_'") } 'alice', 'bob';
my $own = run_as('alice', q{SELECT keystone.credential_id('acme', 'own', personal => true)});
my $key = run_as('alice', q{SELECT api_key FROM keystone.create_api_key('acme', 'bot', 'admin')});
like($key, qr/^ks_/, 'an API key');
is(run_as('pool', "SELECT keystone.reveal('acme', 'token') FROM keystone.authenticate('$key')"), 'value of acme', 'which is good');

# Nobody but a superuser is somebody else.
is(run_as('bob', 'SET SESSION AUTHORIZATION alice'), '42501', 'I4 SET SESSION AUTHORIZATION is a superuser\'s');
is(run_as('bob', q{SELECT set_config('session_authorization', 'alice', false)}), '42501', 'I4 by any name');
is(run_as('bob', 'SET ROLE alice'), '42501', 'I4 SET ROLE takes a membership');
query('GRANT alice TO bob');
is(run_as('bob', "SET ROLE alice; SELECT principal = '$bob' FROM keystone.whoami()"), 't', 'I4 which does not change who is calling');
is(run_as('bob', "SET ROLE alice; SELECT keystone.reveal('acme', 'token')"), 'PT404', 'I4 nor gives a value');
query('REVOKE alice FROM bob');
is(run_as('bob', "UPDATE pg_settings SET setting = 'alice' WHERE name = 'session_authorization'; SELECT session_user"), 'bob', 'I4 nor does a view of settings');

# Roles that somebody makes: no name is an authenticator's by itself.
my $headers = json(authorization => 'Bearer ' . jwt($secret, sub => $alice, exp => time + 600));
my $forged = json(authorization => 'Bearer ' . jwt('x' x 32, sub => $alice, exp => time + 600));
my $claims = json(sub => $alice, role => 'anon');
my $request = sub { my ($h) = @_; return "BEGIN; SELECT set_config('request.headers', '$h', true), set_config('request.jwt.claims', '$claims', true) \\g /dev/null\n" };
is(run_as('maker', 'CREATE ROLE authenticator LOGIN'), '', 'somebody who may makes a role authenticator');
is(run_as('authenticator', $request->($headers) . q{SELECT keystone.reveal('acme', 'token')}), '42501', 'I4 which has nothing');
query(q{GRANT USAGE ON SCHEMA keystone TO authenticator; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA keystone TO authenticator});
is(run_as('authenticator', $request->($headers) . q{SELECT source FROM keystone.whoami()}), 'anonymous', 'I4 and is nobody');
is(run_as('authenticator', $request->($headers) . q{SELECT keystone.reveal('acme', 'token')}), '42501', 'I4 in requests neither');
$node->append_conf('postgresql.conf', q{keystone.authenticators = 'authenticator'});
$node->reload_and_wait(database => 'vault', query => 'SHOW keystone.authenticators', expected => 'authenticator');
is(run_as('authenticator', $request->($headers) . q{SELECT source FROM keystone.whoami()}), 'jwt', 'once it is listed, a proof is one');
is(run_as('authenticator', $request->($headers) . q{SELECT keystone.reveal('acme', 'token')}), '42501', 'I4 but the role has no profile');
is(run_as('authenticator', $request->($forged) . q{SELECT source FROM keystone.whoami()}), 'anonymous', 'I4 and what is not proved is nothing');
is(run_as('maker', q{SELECT keystone.grant_access('maker', 'admin')}), '42501', 'I4 who makes roles gives no profile');
like(run_as('maker', "ALTER ROLE maker SET keystone.authenticators = 'maker'"), qr/^(55P02|42501)$/, 'I4 nor lists itself');

# An external id that somebody made or edited by hand.
my $service = jwt($secret, role => 'anon', exp => time + 600);
is(run_as('pool', "SELECT keystone.authenticate('$service')"), '42501', 'a role without a subject is nobody');
query("INSERT INTO keystone_private.external_ids SELECT '$alice', 'role:anon', row_mac FROM keystone.principals WHERE id = '$alice'");
is(run_as('pool', "SELECT keystone.authenticate('$service')"), '42501', 'I4 nor by a row that was forged');
like(query(q{SELECT detail FROM keystone.health WHERE check_name = 'row macs' AND NOT ok}), qr/external_ids $alice/, 'I4 which health names');
query('DELETE FROM keystone_private.external_ids');
my $mapped = query(q{SELECT keystone.register_principal('Anon', 'service', external_id => 'role:anon')});
is(run_as('pool', "SELECT keystone.authenticate('$service')"), $mapped, 'a registered one is');
query("UPDATE keystone_private.external_ids SET principal_id = '$alice'");
is(run_as('pool', "SELECT keystone.authenticate('$service')"), '42501', 'I4 but not as somebody else');
query('DELETE FROM keystone_private.external_ids');

# Sealed: rows cannot be verified.  Then metadata is listed to those whom they
# name, no value is given, and nothing that proves itself by a secret does.
run_as('alice', "SELECT keystone.add_member('acme', '$bob', 'viewer'); SELECT keystone.share_credential('$own', '$bob')");
is(run_as('bob', "SELECT keystone.reveal_by_id('$own')"), 'value of alice', 'a share');
my $file = $node->root_key_file;
rename $file, "$file.away" or die $!;
$node->reload_and_wait(database => 'vault', expected => 't');
is(run_as('bob', "SELECT keystone.reveal_by_id('$own')"), 'PT423', 'I6 sealed, a share gives no value');
is(run_as('bob', 'SELECT string_agg(name, \',\' ORDER BY name) FROM keystone.credentials'), 'own,token', 'and lists metadata');
is(run_as('pool', "SELECT keystone.reveal('acme', 'token') FROM keystone.authenticate('$key')"), '42501', 'I6 an API key proves nothing');
is(run_as('pool', "SELECT keystone.current_principal(), count(*) FROM keystone.credentials"), '|0', 'and its bearer sees nothing');
query("INSERT INTO keystone.members (workspace_id, principal_id, role, row_mac) SELECT workspace_id, '$mapped', 'owner', row_mac FROM keystone.members WHERE principal_id = '$alice'");
query("UPDATE keystone.principals SET db_role = 'pool' WHERE id = '$mapped'");
query(q{UPDATE keystone_private.api_keys SET expires_at = 'infinity', role = 'admin'});
is(run_as('pool', 'SELECT count(*) FROM keystone.credentials WHERE owner IS NULL'), '1', 'who is named by a row that cannot be verified sees what a sealed server shows');
is(run_as('pool', q{SELECT keystone.reveal('acme', 'token')}), 'PT423', 'I6 and gets no value');
like(run_as('pool', qq{SELECT keystone.$_}), qr/^(PT423|42501)$/, "I6 nor changes anything: $_")
  foreach q{store('acme', 'new', 'v')}, "share_credential('$own', '$bob')", "add_member('acme', '$mapped', 'admin')", q{create_api_key('acme', 'x')},
  q{invite_member('acme', 'a@example.com', 'viewer')}, q{revoke_api_key('acme', 'bot')}, q{update_workspace('acme', '{"status": "suspended"}')}, q{offboard_workspace('acme', confirm => 'acme')};
query(q{INSERT INTO keystone_private.profile_grants (role_name, profile, granted_by, row_mac) VALUES ('pool', 'admin', 'x', '\x00'), ('pool', 'auditor', 'x', '\x00')});
like(run_as('pool', "SELECT keystone.disable_principal('$bob')"), qr/^(PT423|42501)$/, 'I6 nor is a forged profile one that changes');
is(run_as('pool', 'SELECT count(*) FROM keystone.principals WHERE kind = \'api_key\''), '0', 'I6 or that shows more than clients see');
rename "$file.away", $file or die $!;
$node->reload_and_wait(database => 'vault');
is(run_as('pool', 'SELECT source FROM keystone.whoami()'), 'anonymous', 'I4 unsealed, what was forged meanwhile is nothing');
is(run_as('pool', q{SELECT count(*) FROM keystone.credentials}), '0', 'I4 and shows nothing');
is(run_as('pool', "SELECT keystone.reveal('acme', 'token') FROM keystone.authenticate('$key')"), '42501', 'I4 nor is the key that was edited one');
is(run_as('bob', "SELECT keystone.reveal_by_id('$own')"), 'value of alice', 'while the share is');
my $named = query(q{SELECT detail FROM keystone.health WHERE check_name = 'row macs' AND NOT ok});
like($named, qr/\b$_ /, "I4 health names what was forged: $_") foreach 'principals', 'members', 'api_keys', 'profile_grants';

$node->stop;
done_testing();
