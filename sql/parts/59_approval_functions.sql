-- part: replay
CREATE OR REPLACE FUNCTION keystone.request_approval(workspace text, action text, resource jsonb, parameters jsonb DEFAULT '{}', reason text DEFAULT NULL) RETURNS uuid
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_request_approval';
COMMENT ON FUNCTION keystone.request_approval(text, text, jsonb, jsonb, text) IS
	'Asks for approval of one exact call, whose other arguments are the parameters, never a value; DETAIL and HINT of PT428 have them ready; who must approve is frozen now; 42501 when the call would be denied all the same, 22023 when it needs no approval, PT428 when nobody could approve it';

CREATE OR REPLACE FUNCTION keystone.approve(request uuid, comment text DEFAULT NULL, request_hash bytea DEFAULT NULL) RETURNS text
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_approve';
COMMENT ON FUNCTION keystone.approve(uuid, text, bytea) IS
	'Votes for a request; the state after: pending, approved, or what it was when it is over; people who are entitled since before it was made, never who made it; once more is the same; with request_hash only while the request is the one that was shown; 42501, PT404, PT409';

CREATE OR REPLACE FUNCTION keystone.reject(request uuid, comment text DEFAULT NULL, request_hash bytea DEFAULT NULL) RETURNS text
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_reject';
COMMENT ON FUNCTION keystone.reject(uuid, text, bytea) IS
	'Votes against a request, which ends it unless it was used; the state after; for who may approve it; request_hash as of approve(); 42501, PT404, PT409';

CREATE OR REPLACE FUNCTION keystone.cancel_request(request uuid) RETURNS text
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_cancel_request';
COMMENT ON FUNCTION keystone.cancel_request(uuid) IS 'Takes a request of one''s own back, unless it was used; the state after; 42501, PT404';

CREATE OR REPLACE FUNCTION keystone.claim_approval(request uuid, parameters jsonb DEFAULT '{}') RETURNS text
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_claim_approval';
COMMENT ON FUNCTION keystone.claim_approval(uuid, jsonb) IS
	'Uses an approval for work outside of the database, with the parameters of the request: claimed, once, also when the transaction is rolled back; commit before the work begins; verbs that take approval do this by themselves; PT428, 42501, PT404';

CREATE OR REPLACE FUNCTION keystone.complete_approval(request uuid, ok boolean, detail text DEFAULT NULL) RETURNS text
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_complete_approval';
COMMENT ON FUNCTION keystone.complete_approval(uuid, boolean, text) IS
	'Reports what became of the work that an approval was claimed for: executed or failed; the state after; PT428, 42501, PT404';

CREATE OR REPLACE FUNCTION keystone.break_glass(workspace text, action text, resource jsonb, parameters jsonb DEFAULT '{}', reason text DEFAULT NULL) RETURNS uuid
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_break_glass';
COMMENT ON FUNCTION keystone.break_glass(text, text, jsonb, jsonb, text) IS
	'An approval of one''s own call in an emergency, with a reason: for keystone.break_glass_time, announced and alerted at once, to be reviewed by somebody else; for the roles of keystone.break_glass_roles; what policy forbids stays forbidden; 42501, 22004, 22023';

CREATE OR REPLACE FUNCTION keystone.review_break_glass(request uuid, comment text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_review_break_glass';
COMMENT ON FUNCTION keystone.review_break_glass(uuid, text) IS
	'Notes that an emergency was looked at by somebody else, who holds approve or audit; health names those that wait for more than a day; 42501, PT404, 22023';

CREATE OR REPLACE FUNCTION keystone.record_preview(credential uuid, detail jsonb) RETURNS uuid
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ks_fn_record_preview';
COMMENT ON FUNCTION keystone.record_preview(uuid, jsonb) IS
	'Records what a change of a credential''s present version would do, which a policy may require beforehand; never a value; needs rotate; 42501, PT404, 22023';
