-- part: once
-- Requests for approval, and the votes on them.

CREATE TABLE keystone.approval_requests (
	workspace_id	uuid NOT NULL,
	id				uuid NOT NULL,
	requester		uuid NOT NULL,
	action			text NOT NULL,
	resource		jsonb NOT NULL,
	parameters		jsonb NOT NULL,
	reason			text,
	request_hash	bytea NOT NULL,
	need			jsonb NOT NULL,
	break_glass		boolean NOT NULL DEFAULT false,
	state			text NOT NULL,
	level			int NOT NULL DEFAULT 0,
	created_at		timestamptz NOT NULL,
	expires_at		timestamptz NOT NULL,
	decided_at		timestamptz,
	claimed_at		timestamptz,
	completed_at	timestamptz,
	detail			text,
	reviewed_by		uuid,
	reviewed_at		timestamptz,
	row_mac			bytea NOT NULL,
	CONSTRAINT approval_requests_pkey PRIMARY KEY (workspace_id, id),
	CONSTRAINT approval_requests_state_check CHECK (state IN ('pending', 'approved', 'rejected', 'cancelled', 'expired',
		'superseded', 'claimed', 'executed', 'failed')),
	CONSTRAINT approval_requests_expires_check CHECK (expires_at > created_at),
	CONSTRAINT approval_requests_level_check CHECK (level >= 0),
	CONSTRAINT approval_requests_reason_check CHECK (NOT break_glass OR reason <> ''),
	CONSTRAINT approval_requests_decided_check CHECK (decided_at IS NOT NULL
		OR state IN ('pending', 'expired', 'superseded')),
	CONSTRAINT approval_requests_claimed_check CHECK ((claimed_at IS NOT NULL) = (state IN ('claimed', 'executed', 'failed'))),
	CONSTRAINT approval_requests_completed_check CHECK ((completed_at IS NOT NULL) = (state IN ('executed', 'failed'))),
	CONSTRAINT approval_requests_reviewed_check CHECK ((reviewed_by IS NULL) = (reviewed_at IS NULL)
		AND (reviewed_by IS NULL OR (break_glass AND reviewed_by <> requester))),
	CONSTRAINT approval_requests_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES keystone.workspaces (id),
	CONSTRAINT approval_requests_requester_fkey FOREIGN KEY (requester) REFERENCES keystone.principals (id)
);
CREATE INDEX approval_requests_id_idx ON keystone.approval_requests (id);
CREATE INDEX approval_requests_open_idx ON keystone.approval_requests (id) WHERE state IN ('pending', 'approved');
CREATE INDEX approval_requests_requester_idx ON keystone.approval_requests (workspace_id, requester) WHERE state IN ('pending', 'approved');
CREATE INDEX approval_requests_break_glass_idx ON keystone.approval_requests (created_at) WHERE break_glass AND reviewed_at IS NULL;
COMMENT ON TABLE keystone.approval_requests IS 'Requests for approval, each bound to one exact call';
COMMENT ON COLUMN keystone.approval_requests.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.approval_requests.id IS 'the request';
COMMENT ON COLUMN keystone.approval_requests.requester IS 'the principal who asked, and who alone can use it';
COMMENT ON COLUMN keystone.approval_requests.action IS 'the verb';
COMMENT ON COLUMN keystone.approval_requests.resource IS 'what it is about, as the server filled it in';
COMMENT ON COLUMN keystone.approval_requests.parameters IS 'the verb''s other arguments; never a secret';
COMMENT ON COLUMN keystone.approval_requests.reason IS 'why, in the requester''s words';
COMMENT ON COLUMN keystone.approval_requests.request_hash IS 'SHA-256 of the exact request';
COMMENT ON COLUMN keystone.approval_requests.need IS 'who must approve, as policy said when it was asked; never loosened';
COMMENT ON COLUMN keystone.approval_requests.break_glass IS 'true: approved by its own requester in an emergency; to be reviewed';
COMMENT ON COLUMN keystone.approval_requests.state IS 'pending, approved, rejected, cancelled, expired, superseded, claimed, executed or failed';
COMMENT ON COLUMN keystone.approval_requests.level IS 'escalation steps that were taken';
COMMENT ON COLUMN keystone.approval_requests.created_at IS 'when it was asked';
COMMENT ON COLUMN keystone.approval_requests.expires_at IS 'pending: until when it can be approved; approved: until when it can be used';
COMMENT ON COLUMN keystone.approval_requests.decided_at IS 'when it was approved, rejected or cancelled';
COMMENT ON COLUMN keystone.approval_requests.claimed_at IS 'when it was used up';
COMMENT ON COLUMN keystone.approval_requests.completed_at IS 'when the work was reported done, or failed';
COMMENT ON COLUMN keystone.approval_requests.detail IS 'what was reported';
COMMENT ON COLUMN keystone.approval_requests.reviewed_by IS 'the principal who reviewed an emergency';
COMMENT ON COLUMN keystone.approval_requests.reviewed_at IS 'when that was';
COMMENT ON COLUMN keystone.approval_requests.row_mac IS 'HMAC-SHA-256 over all columns but detail';

CREATE TABLE keystone.approval_votes (
	workspace_id	uuid NOT NULL,
	request_id		uuid NOT NULL,
	voter			uuid NOT NULL,
	vote			text NOT NULL,
	comment			text,
	request_hash	bytea NOT NULL,
	voted_at		timestamptz NOT NULL,
	row_mac			bytea NOT NULL,
	CONSTRAINT approval_votes_pkey PRIMARY KEY (workspace_id, request_id, voter),
	CONSTRAINT approval_votes_vote_check CHECK (vote IN ('approve', 'reject')),
	CONSTRAINT approval_votes_request_id_fkey FOREIGN KEY (workspace_id, request_id)
		REFERENCES keystone.approval_requests (workspace_id, id),
	CONSTRAINT approval_votes_voter_fkey FOREIGN KEY (voter) REFERENCES keystone.principals (id)
);
COMMENT ON TABLE keystone.approval_votes IS 'Votes on requests for approval';
COMMENT ON COLUMN keystone.approval_votes.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone.approval_votes.request_id IS 'the request';
COMMENT ON COLUMN keystone.approval_votes.voter IS 'the principal who voted; never the requester';
COMMENT ON COLUMN keystone.approval_votes.vote IS 'approve or reject';
COMMENT ON COLUMN keystone.approval_votes.comment IS 'why, in the voter''s words';
COMMENT ON COLUMN keystone.approval_votes.request_hash IS 'the request that the voter saw';
COMMENT ON COLUMN keystone.approval_votes.voted_at IS 'when the voter voted';
COMMENT ON COLUMN keystone.approval_votes.row_mac IS 'HMAC-SHA-256 over all columns but comment';

CREATE TABLE keystone_private.previews (
	workspace_id	uuid NOT NULL,
	credential_id	uuid NOT NULL,
	id				uuid NOT NULL,
	version			int NOT NULL,
	detail			jsonb NOT NULL,
	created_by		uuid NOT NULL,
	created_at		timestamptz NOT NULL,
	row_mac			bytea NOT NULL,
	CONSTRAINT previews_pkey PRIMARY KEY (workspace_id, credential_id, id),
	CONSTRAINT previews_credential_id_fkey FOREIGN KEY (workspace_id, credential_id)
		REFERENCES keystone_private.credentials (workspace_id, id)
);
COMMENT ON TABLE keystone_private.previews IS 'What record_preview() was told a rotation would do';
COMMENT ON COLUMN keystone_private.previews.workspace_id IS 'the workspace';
COMMENT ON COLUMN keystone_private.previews.credential_id IS 'the credential';
COMMENT ON COLUMN keystone_private.previews.id IS 'the preview';
COMMENT ON COLUMN keystone_private.previews.version IS 'the version that was current then';
COMMENT ON COLUMN keystone_private.previews.detail IS 'what would happen';
COMMENT ON COLUMN keystone_private.previews.created_by IS 'the principal who recorded it';
COMMENT ON COLUMN keystone_private.previews.created_at IS 'when that was';
COMMENT ON COLUMN keystone_private.previews.row_mac IS 'HMAC-SHA-256 over all columns but detail';

SELECT pg_extension_config_dump('keystone.approval_requests', '');
SELECT pg_extension_config_dump('keystone.approval_votes', '');
SELECT pg_extension_config_dump('keystone_private.previews', '');
