# Policies: the index says what a look at every rule says; what is added only
# tightens; a change that is committed elsewhere holds from the next call on.
use strict;
use warnings;

use KeystoneNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = KeystoneNode->start(
	name => 'policy',
	conf => "autovacuum = off\njit = off\n");

sub query
{
	return $node->safe_psql('postgres', shift);
}

query(<<'EOF2');
CREATE EXTENSION keystone;
CREATE ROLE ana LOGIN;
CREATE ROLE ben LOGIN;
SELECT keystone.grant_access(r, 'client'), keystone.register_principal(r, db_role => r::name) FROM unnest('{ana,ben}'::text[]) r;
SET SESSION AUTHORIZATION ana;
SELECT keystone.create_workspace('acme');
EOF2
my $ben = query(q{SELECT id FROM keystone.principals WHERE display_name = 'ben'});
my $ana = query(q{SELECT id FROM keystone.principals WHERE display_name = 'ana'});
query("SET SESSION AUTHORIZATION ana; SELECT keystone.add_member('acme', '$ben', 'admin')");

# Random documents and questions.  Literals and patterns overlap, so that a
# question matches a few rules of most sets.
query(<<"EOF2");
CREATE FUNCTION pick(words text[]) RETURNS text LANGUAGE sql VOLATILE AS
	\$\$ SELECT words[1 + floor(random() * cardinality(words))] \$\$;
CREATE FUNCTION picks(words text[]) RETURNS jsonb LANGUAGE sql VOLATILE AS
	\$\$ SELECT jsonb_agg(DISTINCT pick(words)) FROM generate_series(1, 1 + floor(random() * 3)::int) \$\$;
CREATE FUNCTION random_match() RETURNS jsonb LANGUAGE sql VOLATILE AS \$\$
	SELECT jsonb_strip_nulls(jsonb_build_object(
		'actions', picks('{rotate,reveal,store,ro*,re*,r*,promote}'),
		'env', CASE WHEN random() < 0.5 THEN picks('{prod,dev,staging,prod*,*}') END,
		'provider', CASE WHEN random() < 0.4 THEN picks('{openai,cohere,o*,*}') END,
		'secret', CASE WHEN random() < 0.5 THEN picks('{db/main,db/*,db/**,key,k*,**,*,db/a/b}') END,
		'roles', CASE WHEN random() < 0.3 THEN picks('{owner,admin,viewer,*}') END,
		'principals', CASE WHEN random() < 0.2 THEN picks('{$ana,$ben,00000000-0000-0000-0000-000000000001}') END)) \$\$;
CREATE FUNCTION random_rule(n int) RETURNS jsonb LANGUAGE sql VOLATILE AS \$\$
	SELECT CASE effect WHEN 'forbid' THEN common ELSE common || jsonb_build_object('obligations', duties) END
	FROM (SELECT effect, jsonb_strip_nulls(jsonb_build_object('id', 'r' || n, 'effect', effect, 'match', random_match(),
			'when', CASE WHEN random() < 0.3 THEN pick(ARRAY['context has claimed && context.claimed has x', 'context.claimed.x == 1',
				'resource.environment like "*o*"', 'principal.role == "owner"', 'resource.name == "key"', 'resource.last_rotated_at < context.now',
				'context.counts.members == 2', 'context.counts.versions == 1']) END,
			'unless', CASE WHEN random() < 0.2 THEN pick(ARRAY['resource has provider', 'resource.provider == "openai"', 'context.claimed.y']) END)) AS common,
		(SELECT jsonb_agg(pick(ARRAY['{"type": "require_reason"}', '{"type": "require_preview", "max_age": "PT2H"}', '{"type": "require_mfa", "max_age": "PT1H"}',
			'{"type": "require_approval", "factors": [{"role": "admin", "count": 2}]}', '{"type": "require_approval", "factors": [{"permission": "approve"}], "timeout": "PT2H"}',
			'{"type": "notify", "channel": "ops"}', '{"type": "wait", "duration": "PT1H"}'])::jsonb) FROM generate_series(1, 1 + floor(random() * 2)::int)) AS duties
		FROM (SELECT pick('{forbid,oblige,permit,oblige,permit}') AS effect) e) r \$\$;
CREATE FUNCTION random_doc(id text, rules int) RETURNS jsonb LANGUAGE sql VOLATILE AS \$\$
	SELECT jsonb_build_object('apiVersion', 'keystone.policy/v1', 'id', id, 'scope', scope, 'enforcement', pick('{enforce,enforce,enforce,shadow}'),
		'rules', (SELECT jsonb_agg(random_rule(n)) FROM generate_series(1, rules) n))
	FROM (SELECT pick(ARRAY['{"level": "workspace"}', '{"level": "workspace"}', '{"level": "provider", "id": "openai"}', '{"level": "secret", "id": "db/*"}'])::jsonb AS scope) s \$\$;
CREATE FUNCTION random_resource() RETURNS jsonb LANGUAGE sql VOLATILE AS \$\$
	SELECT jsonb_strip_nulls(jsonb_build_object('environment', pick('{prod,dev,staging,production}'),
		'name', pick('{db/main,db/a/b,key,kilo,other}'), 'provider', pick('{openai,cohere,other,NULL}'))) \$\$;
CREATE TABLE found (what text, detail text);
GRANT INSERT ON found TO ana;
EOF2

# Two documents, one after the other, which are undone afterwards.  What was
# found leaves with the error that undoes them.
query(<<'EOF2');
CREATE FUNCTION try_set() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	docs jsonb[] := ARRAY(SELECT random_doc('d' || n, 1 + floor(random() * 12)::int) FROM generate_series(1, 2) n);
	asks jsonb[] := ARRAY(SELECT jsonb_build_array(pick('{rotate,reveal,store,promote,rename}'), random_resource(),
		pick(ARRAY['{}', '{"x": 1}', '{"x": 2, "y": true}'])::jsonb) FROM generate_series(1, 12));
	results jsonb[] := '{}';
	before text[] := '{}';
	a record;
	e jsonb;
BEGIN
	FOR d IN 0..3 LOOP
		IF d BETWEEN 1 AND 2 THEN
			PERFORM keystone.policy_put('acme', docs[d]);
		ELSIF d = 3 THEN
			-- the other way round, and the first rule twice
			PERFORM keystone.policy_put('acme', jsonb_set(docs[n], '{rules}', (SELECT jsonb_agg(r ORDER BY r ->> 'id' DESC)
				FROM (SELECT r FROM jsonb_array_elements(docs[n] -> 'rules') r UNION ALL
					  SELECT docs[n] #> '{rules,0}' || '{"id": "again"}') x)))
			FROM generate_series(1, 2) n WHERE docs[n]::text !~ 'require_approval|wait';
		END IF;
		FOR i IN 1..12 LOOP
			SELECT * INTO a FROM keystone.policy_evaluate('acme', asks[i] ->> 0, asks[i] -> 1, asks[i] -> 2);
			e := keystone.policy_explain('acme', asks[i] ->> 0, asks[i] -> 1, asks[i] -> 2);
			results := results || jsonb_build_object('what', 'asked', 'detail', a.decision);
			IF a.decision <> e ->> 'decision' OR a.reasons <> e -> 'reasons' OR a.obligations <> e -> 'obligations' OR a.errors <> e -> 'errors'
				OR encode(a.request_hash, 'hex') <> e ->> 'request_hash' THEN
				results := results || jsonb_build_object('what', 'index', 'detail', jsonb_build_array(docs, asks[i], a.decision, e));
			END IF;
			IF d BETWEEN 1 AND 2 AND array_position('{permit,require,defer,deny}', a.decision) < array_position('{permit,require,defer,deny}', before[i]) THEN
				results := results || jsonb_build_object('what', 'tighten', 'detail', jsonb_build_array(docs, asks[i], a.decision, before[i]));
			ELSIF d = 3 AND a.decision <> before[i] THEN
				results := results || jsonb_build_object('what', 'order', 'detail', jsonb_build_array(docs, asks[i], a.decision, before[i]));
			END IF;
			before[i] := a.decision;
		END LOOP;
	END LOOP;
	RAISE EXCEPTION SQLSTATE 'UNDO1' USING DETAIL = to_jsonb(results)::text;
END $$;
CREATE FUNCTION try_sets(n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	results text;
BEGIN
	FOR i IN 1..n LOOP
		BEGIN
			PERFORM try_set();
		EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
			GET STACKED DIAGNOSTICS results = PG_EXCEPTION_DETAIL;
			INSERT INTO found SELECT r ->> 'what', r ->> 'detail' FROM jsonb_array_elements(results::jsonb) r;
		END;
	END LOOP;
END $$;
EOF2
{
	my $sets = $ENV{KEYSTONE_POLICY_SETS} // 1000;

	query("SET SESSION AUTHORIZATION ana; SELECT setseed(0." . (time % 1000) . "); SELECT try_sets(25);") for 1 .. $sets / 25;
	my $asked = query("SELECT count(*) FROM found WHERE what = 'asked'");
	is($asked, 48 * 25 * int($sets / 25), "$sets sets of documents were asked 48 times each");
	for my $what (qw(index tighten order))
	{
		is(query("SELECT coalesce(min(detail), 'none') FROM found WHERE what = '$what'"), 'none',
			{
				index => 'the index and a look at every rule say the same',
				tighten => 'another document never opens anything',
				order => 'neither order nor repetition of rules changes a decision'
			}->{$what});
	}
	is(query("SELECT count(DISTINCT detail) FROM found WHERE what = 'asked'"), 3, 'there were permits, requires and denials');
	note(query("SELECT string_agg(detail || ' ' || n, ', ') FROM (SELECT detail, count(*) n FROM found WHERE what = 'asked' GROUP BY 1) x"));
	is(query('SELECT count(*) FROM keystone_private.policies'), 0, 'all was undone');
}

# What one session commits holds in another one from the next call on.
my $put = q{SELECT count(*) FROM keystone.policy_put('acme', '{"apiVersion": "keystone.policy/v1", "id": "freeze", "scope": {"level": "workspace"},
	"rules": [{"id": "no", "effect": "forbid", "match": {"actions": ["rotate"]}}]}')};
my $drop = q{SELECT count(*) FROM (SELECT keystone.policy_drop('acme', 'freeze')) x};
my $ask = q{SELECT decision FROM keystone.policy_evaluate('acme', 'rotate')};

sub as_ana
{
	return query("SET SESSION AUTHORIZATION ana; $_[0]");
}

for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	my $session = $node->background_psql('postgres', on_error_stop => 1);
	$session->query_safe("SET SESSION AUTHORIZATION ben");
	$session->query_safe("PREPARE ask AS $ask");
	$session->query_safe("BEGIN ISOLATION LEVEL $level");
	is($session->query_safe($ask), 'permit', "$level: before");
	is($session->query_safe('EXECUTE ask'), 'permit', "$level: prepared, before");
	as_ana($put);
	is($session->query_safe($ask), 'deny', "$level: what was committed meanwhile holds");
	is($session->query_safe('EXECUTE ask'), 'deny', "$level: prepared, too");
	$session->query_safe('SAVEPOINT s');
	as_ana($drop);
	is($session->query_safe($ask), 'permit', "$level: and what was dropped no more");
	$session->query_safe('ROLLBACK TO s');
	is($session->query_safe($ask), 'permit', "$level: nor after ROLLBACK TO");
	$session->query_safe('COMMIT');
	$session->quit;
}

# So do its counts.
my $cid = query(q{CREATE ROLE cid LOGIN; SELECT keystone.register_principal('cid', db_role => 'cid')});
as_ana(q{SELECT count(*) FROM keystone.policy_put('acme', '{"apiVersion": "keystone.policy/v1", "id": "counts", "scope": {"level": "workspace"},
	"rules": [{"id": "three", "effect": "forbid", "match": {"actions": ["rotate"]}, "when": "context.counts.members == 3"}]}')});
for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	my $session = $node->background_psql('postgres', on_error_stop => 1);
	$session->query_safe('SET SESSION AUTHORIZATION ben');
	$session->query_safe("BEGIN ISOLATION LEVEL $level");
	is($session->query_safe($ask), 'permit', "$level: two members");
	as_ana("SELECT keystone.add_member('acme', '$cid', 'viewer')");
	is($session->query_safe($ask), 'deny', "$level: a member that was added meanwhile counts");
	as_ana("SELECT keystone.remove_member('acme', '$cid')");
	is($session->query_safe($ask), 'permit', "$level: and does no more");
	$session->query_safe('COMMIT');
	$session->quit;
}
as_ana(q{SELECT keystone.policy_drop('acme', 'counts')});

# In a loop that runs.
{
	my $session = $node->background_psql('postgres', on_error_stop => 1);
	$session->query_safe("SET SESSION AUTHORIZATION ben");
	$session->query_until(qr/started/, <<"EOF2");
\\echo started
DO \$\$
DECLARE
	answer text;
BEGIN
	FOR i IN 1..3000 LOOP
		answer := ($ask);
		EXIT WHEN answer = 'deny';
		PERFORM pg_sleep(0.01);
	END LOOP;
	PERFORM set_config('my.answer', answer, false);
END \$\$;
EOF2
	as_ana($put);
	is($session->query_safe(q{SELECT current_setting('my.answer')}), 'deny', 'a running loop sees it');
	$session->quit;
}

# A new extension has no old policies.
{
	my $session = $node->background_psql('postgres', on_error_stop => 1);
	is($session->query_safe("SET SESSION AUTHORIZATION ben; $ask"), 'deny', 'the policy is in the cache');
	query(<<'EOF2');
DROP EXTENSION keystone CASCADE;
CREATE EXTENSION keystone;
SELECT keystone.grant_access(r, 'client'), keystone.register_principal(r, db_role => r::name) FROM unnest('{ana,ben}'::text[]) r;
SET SESSION AUTHORIZATION ben;
SELECT keystone.create_workspace('acme');
EOF2
	is($session->query_safe($ask), 'permit', 'after DROP and CREATE EXTENSION it is gone');
	$session->quit;
}

$node->stop;
done_testing();
