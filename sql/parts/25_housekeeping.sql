-- part: once
-- What the housekeeper, a background process, remembers, and indexes by which
-- it finds what is due.

CREATE TABLE keystone_private.housekeeping (
	task			text NOT NULL,
	position		bigint NOT NULL,
	done_at			timestamptz,
	CONSTRAINT housekeeping_pkey PRIMARY KEY (task)
);
COMMENT ON TABLE keystone_private.housekeeping IS 'How far the housekeeper has read the audit log';
COMMENT ON COLUMN keystone_private.housekeeping.task IS 'what for: usage counts reveals';
COMMENT ON COLUMN keystone_private.housekeeping.position IS 'seq of the last entry that was read';
COMMENT ON COLUMN keystone_private.housekeeping.done_at IS 'when that was';

CREATE INDEX credentials_destroy_after_idx ON keystone_private.credentials (destroy_after)
	WHERE deleted_at IS NOT NULL AND destroyed_at IS NULL;
CREATE INDEX credentials_expires_at_idx ON keystone_private.credentials (expires_at)
	WHERE expires_at IS NOT NULL AND deleted_at IS NULL;

SELECT pg_extension_config_dump('keystone_private.housekeeping', '');
