-- part: once
-- The audit log.  Only the appender, a background process, writes the tables
-- of the log, and not by SQL; guards refuse every statement.  No foreign keys:
-- the appender must not wait for a row that a caller holds.  Rows become dead
-- only when their details are erased: those are vacuumed away at once.

CREATE TABLE keystone_private.instance (
	only_row		boolean NOT NULL DEFAULT true,
	system_id		bigint NOT NULL,
	database		bigint NOT NULL,
	written_at		timestamptz NOT NULL DEFAULT now(),
	accepted_reason	text,
	CONSTRAINT instance_pkey PRIMARY KEY (only_row),
	CONSTRAINT instance_only_row_check CHECK (only_row)
);
COMMENT ON TABLE keystone_private.instance IS 'Which database this is; written by the first change, never dumped, so that a copy is recognised';
COMMENT ON COLUMN keystone_private.instance.only_row IS 'true: there is one row at most';
COMMENT ON COLUMN keystone_private.instance.system_id IS 'system identifier of the cluster, as pg_control_system() has it';
COMMENT ON COLUMN keystone_private.instance.database IS 'oid of the database';
COMMENT ON COLUMN keystone_private.instance.written_at IS 'when the row was written';
COMMENT ON COLUMN keystone_private.instance.accepted_reason IS 'what accept_restore() was told; NULL for the first instance';

CREATE TABLE keystone_private.audit_epochs (
	epoch			int NOT NULL,
	log_id			uuid NOT NULL,
	origin			text NOT NULL,
	system_id		bigint NOT NULL,
	database		bigint NOT NULL,
	timeline		int NOT NULL,
	first_seq		bigint NOT NULL,
	previous_size	bigint NOT NULL,
	previous_root	bytea NOT NULL,
	started_at		timestamptz NOT NULL,
	reason			text NOT NULL,
	CONSTRAINT audit_epochs_pkey PRIMARY KEY (epoch)
);
COMMENT ON TABLE keystone_private.audit_epochs IS 'Epochs of the log: each is a Merkle tree of its own that begins with a commitment to the one before';
COMMENT ON COLUMN keystone_private.audit_epochs.epoch IS 'number of the epoch, from 1';
COMMENT ON COLUMN keystone_private.audit_epochs.log_id IS 'id of the log; a restored copy gets another one';
COMMENT ON COLUMN keystone_private.audit_epochs.origin IS 'origin line of its checkpoints, and name of its keys';
COMMENT ON COLUMN keystone_private.audit_epochs.system_id IS 'system identifier of the cluster';
COMMENT ON COLUMN keystone_private.audit_epochs.database IS 'oid of the database';
COMMENT ON COLUMN keystone_private.audit_epochs.timeline IS 'timeline of the cluster';
COMMENT ON COLUMN keystone_private.audit_epochs.first_seq IS 'seq of its first entry, whose index is 0';
COMMENT ON COLUMN keystone_private.audit_epochs.previous_size IS 'number of entries of the epoch before';
COMMENT ON COLUMN keystone_private.audit_epochs.previous_root IS 'root of the epoch before';
COMMENT ON COLUMN keystone_private.audit_epochs.started_at IS 'when it began';
COMMENT ON COLUMN keystone_private.audit_epochs.reason IS 'why: first, promoted, restored: ... (a copy was accepted), accepted: ... (accepted without a change of place), key lost (the signing key''s file is gone) or loss';

CREATE TABLE keystone_private.audit_entries (
	seq				bigint NOT NULL,
	epoch			int NOT NULL,
	at				timestamptz NOT NULL,
	kind			int NOT NULL,
	workspace_id	uuid,
	object_id		uuid,
	actor_id		uuid,
	owner			uuid,
	relation		text,
	entry			bytea NOT NULL,
	salt			bytea,
	detail			bytea,
	erased_in		bigint,
	CONSTRAINT audit_entries_pkey PRIMARY KEY (seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0);
CREATE INDEX audit_entries_workspace_id_idx ON keystone_private.audit_entries (workspace_id, seq);
CREATE INDEX audit_entries_object_id_idx ON keystone_private.audit_entries (object_id, seq);
CREATE INDEX audit_entries_actor_id_idx ON keystone_private.audit_entries (actor_id, seq);
ALTER TABLE keystone_private.audit_entries
	ALTER COLUMN entry SET STORAGE PLAIN, ALTER COLUMN salt SET STORAGE PLAIN, ALTER COLUMN detail SET STORAGE PLAIN,
	ALTER COLUMN relation SET STORAGE PLAIN,
	ALTER COLUMN entry SET STATISTICS 0, ALTER COLUMN salt SET STATISTICS 0, ALTER COLUMN detail SET STATISTICS 0,
	ALTER COLUMN relation SET STATISTICS 0;
COMMENT ON TABLE keystone_private.audit_entries IS 'The log; clients read the view keystone.audit_log';
COMMENT ON COLUMN keystone_private.audit_entries.seq IS 'number of the entry over all epochs, from 1';
COMMENT ON COLUMN keystone_private.audit_entries.epoch IS 'its epoch';
COMMENT ON COLUMN keystone_private.audit_entries.at IS 'copy of the entry''s time, to search by';
COMMENT ON COLUMN keystone_private.audit_entries.kind IS 'copy of the entry''s kind';
COMMENT ON COLUMN keystone_private.audit_entries.workspace_id IS 'copy of the entry''s workspace; NULL for none';
COMMENT ON COLUMN keystone_private.audit_entries.object_id IS 'copy of the entry''s object; NULL for none';
COMMENT ON COLUMN keystone_private.audit_entries.actor_id IS 'the actor where it is a principal';
COMMENT ON COLUMN keystone_private.audit_entries.owner IS 'owner of the personal credential that it is about';
COMMENT ON COLUMN keystone_private.audit_entries.relation IS 'the audited table that it is about: system identifier, oid of the database, oid of the table';
COMMENT ON COLUMN keystone_private.audit_entries.entry IS 'the entry: canonical bytes, the sole truth';
COMMENT ON COLUMN keystone_private.audit_entries.salt IS 'salt of the commitment to the detail; NULL once erased';
COMMENT ON COLUMN keystone_private.audit_entries.detail IS 'the detail: what may have to be erased; NULL when there is none or it was erased';
COMMENT ON COLUMN keystone_private.audit_entries.erased_in IS 'seq of the entry log.erase that has erased the detail; NULL while it is there';

CREATE TABLE keystone_private.audit_tiles (
	epoch			int NOT NULL,
	level			int NOT NULL,
	n				bigint NOT NULL,
	hashes			bytea NOT NULL,
	CONSTRAINT audit_tiles_pkey PRIMARY KEY (epoch, level, n)
);
ALTER TABLE keystone_private.audit_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL, ALTER COLUMN hashes SET STATISTICS 0;
COMMENT ON TABLE keystone_private.audit_tiles IS 'Full tiles of the trees, 256 hashes each, as C2SP tlog-tiles has them';
COMMENT ON COLUMN keystone_private.audit_tiles.epoch IS 'the epoch';
COMMENT ON COLUMN keystone_private.audit_tiles.level IS '0 for leaf hashes; level L has roots of 256^L leaves';
COMMENT ON COLUMN keystone_private.audit_tiles.n IS 'number of the tile in its level, from 0';
COMMENT ON COLUMN keystone_private.audit_tiles.hashes IS '256 hashes of 32 bytes';

CREATE TABLE keystone_private.audit_checkpoints (
	epoch			int NOT NULL,
	size			bigint NOT NULL,
	root			bytea NOT NULL,
	note			text NOT NULL,
	made_at			timestamptz NOT NULL,
	CONSTRAINT audit_checkpoints_pkey PRIMARY KEY (epoch, size)
);
ALTER TABLE keystone_private.audit_checkpoints ALTER COLUMN note SET STORAGE PLAIN, ALTER COLUMN note SET STATISTICS 0;
COMMENT ON TABLE keystone_private.audit_checkpoints IS 'Signed tree heads, C2SP tlog-checkpoint';
COMMENT ON COLUMN keystone_private.audit_checkpoints.epoch IS 'the epoch';
COMMENT ON COLUMN keystone_private.audit_checkpoints.size IS 'number of entries under it';
COMMENT ON COLUMN keystone_private.audit_checkpoints.root IS 'root of the tree of that size';
COMMENT ON COLUMN keystone_private.audit_checkpoints.note IS 'the signed note';
COMMENT ON COLUMN keystone_private.audit_checkpoints.made_at IS 'when it was signed';

CREATE TABLE keystone_private.audit_keys (
	epoch			int NOT NULL,
	valid_from		bigint NOT NULL,
	vkey			text NOT NULL,
	signature		bytea,
	CONSTRAINT audit_keys_pkey PRIMARY KEY (epoch, valid_from)
);
COMMENT ON TABLE keystone_private.audit_keys IS 'Public keys that checkpoints are signed with; each is valid until the next one of its epoch';
COMMENT ON COLUMN keystone_private.audit_keys.epoch IS 'the epoch';
COMMENT ON COLUMN keystone_private.audit_keys.valid_from IS 'seq of the entry that announces the key';
COMMENT ON COLUMN keystone_private.audit_keys.vkey IS 'verifier key, C2SP signed-note: name, key id, public key';
COMMENT ON COLUMN keystone_private.audit_keys.signature IS 'Ed25519 signature of vkey by the key before; NULL for the first of a log';

CREATE TABLE keystone_private.approval_claims (
	request			uuid NOT NULL,
	seq				bigint NOT NULL,
	claimed_by		text NOT NULL,
	claimed_at		timestamptz NOT NULL,
	CONSTRAINT approval_claims_pkey PRIMARY KEY (request)
);
COMMENT ON TABLE keystone_private.approval_claims IS 'Requests whose approval was used, decided by the appender: the first claim wins';
COMMENT ON COLUMN keystone_private.approval_claims.request IS 'the request';
COMMENT ON COLUMN keystone_private.approval_claims.seq IS 'the entry that records the claim';
COMMENT ON COLUMN keystone_private.approval_claims.claimed_by IS 'who claimed it: a principal''s uuid, or a role';
COMMENT ON COLUMN keystone_private.approval_claims.claimed_at IS 'when';

CREATE TABLE keystone_private.audit_outbox (
	id				bigint NOT NULL,
	xid				xid8 NOT NULL,
	body			bytea NOT NULL,
	CONSTRAINT audit_outbox_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_insert_threshold = -1,
	autovacuum_analyze_threshold = 2000000000);
ALTER TABLE keystone_private.audit_outbox ALTER COLUMN body SET STORAGE PLAIN, ALTER COLUMN body SET STATISTICS 0;
COMMENT ON TABLE keystone_private.audit_outbox IS 'Changes on their way into the log, written in the transaction that makes them';
COMMENT ON COLUMN keystone_private.audit_outbox.id IS 'end of the writer''s last record in the write-ahead log: the order of writing, which is that of commit for one object';
COMMENT ON COLUMN keystone_private.audit_outbox.xid IS 'the transaction';
COMMENT ON COLUMN keystone_private.audit_outbox.body IS 'the event, packed';

SELECT pg_extension_config_dump('keystone_private.audit_epochs', '');
SELECT pg_extension_config_dump('keystone_private.audit_entries', '');
SELECT pg_extension_config_dump('keystone_private.audit_tiles', '');
SELECT pg_extension_config_dump('keystone_private.audit_checkpoints', '');
SELECT pg_extension_config_dump('keystone_private.audit_keys', '');
SELECT pg_extension_config_dump('keystone_private.approval_claims', '');
SELECT pg_extension_config_dump('keystone_private.audit_outbox', '');
