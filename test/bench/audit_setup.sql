-- What the audit log is measured against.  A row is as large as an entry with
-- its detail.
CREATE TABLE plain_log (at timestamptz NOT NULL DEFAULT clock_timestamp(), actor uuid, object uuid, body bytea NOT NULL);
CREATE TABLE keyed_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
	actor uuid, object uuid, body bytea NOT NULL);

CREATE TABLE chained_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
	actor uuid, object uuid, body bytea NOT NULL, previous bytea, hash bytea);
CREATE FUNCTION chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(4711);
	SELECT c.hash INTO NEW.previous FROM chained_log c ORDER BY c.id DESC LIMIT 1;
	NEW.hash := sha256(coalesce(NEW.previous, '') || NEW.body);
	RETURN NEW;
END
$$;
CREATE TRIGGER chain BEFORE INSERT ON chained_log FOR EACH ROW EXECUTE FUNCTION chain();

CREATE TABLE bench_rows (id int PRIMARY KEY, name text, email text, amount numeric, changed_at timestamptz);
INSERT INTO bench_rows SELECT i, 'name ' || i, 'user' || i || '@example.com', i, now() FROM generate_series(1, 10000) i;
CREATE TABLE bench_audited (LIKE bench_rows INCLUDING ALL);
INSERT INTO bench_audited SELECT * FROM bench_rows;
SELECT keystone.audit_table('bench_audited');

CREATE TABLE bench_jsonb (LIKE bench_rows INCLUDING ALL);
INSERT INTO bench_jsonb SELECT * FROM bench_rows;
CREATE TABLE jsonb_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
	relation regclass, operation text, actor text, old_row jsonb, new_row jsonb);
CREATE FUNCTION log_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	INSERT INTO jsonb_log (relation, operation, actor, old_row, new_row)
	VALUES (TG_RELID, TG_OP, session_user, to_jsonb(OLD), to_jsonb(NEW));
	RETURN NULL;
END
$$;
CREATE TRIGGER log_row AFTER INSERT OR UPDATE OR DELETE ON bench_jsonb FOR EACH ROW EXECUTE FUNCTION log_row();

CREATE ROLE bench_audited LOGIN;
GRANT SELECT ON bench_rows TO bench_audited;
ALTER ROLE bench_audited SET pgaudit.log = 'read';
