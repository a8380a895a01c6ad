-- part: once
-- Rows that differ from the audit log, as the housekeeper found them.  No
-- primary key is of the rows themselves: they may be gone.

CREATE TABLE keystone_private.reconcile_findings (
	kind			int NOT NULL,
	table_code		int NOT NULL,
	row_key			bytea NOT NULL,
	credential_id	uuid,
	problem			text NOT NULL,
	found_at		timestamptz NOT NULL,
	seen_at			timestamptz NOT NULL,
	CONSTRAINT reconcile_findings_pkey PRIMARY KEY (kind, table_code, row_key)
);
COMMENT ON TABLE keystone_private.reconcile_findings IS 'What health shows of rows that differ from the audit log; filled anew in each round, and not dumped';
COMMENT ON COLUMN keystone_private.reconcile_findings.kind IS '0: the row differs; 1: it was changed past the log; 2: the log itself, or a number of further rows';
COMMENT ON COLUMN keystone_private.reconcile_findings.table_code IS 'the table, by the number that it has in the log';
COMMENT ON COLUMN keystone_private.reconcile_findings.row_key IS 'the row, by the digest of its primary key';
COMMENT ON COLUMN keystone_private.reconcile_findings.credential_id IS 'the credential, where it is one''s';
COMMENT ON COLUMN keystone_private.reconcile_findings.problem IS 'what is wrong';
COMMENT ON COLUMN keystone_private.reconcile_findings.found_at IS 'when it was found first';
COMMENT ON COLUMN keystone_private.reconcile_findings.seen_at IS 'when it was found last';
COMMENT ON COLUMN keystone_private.housekeeping.task IS 'what for: usage counts reveals, reconcile compares rows';
