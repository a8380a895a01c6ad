-- part: once
CREATE TYPE keystone.limit_result AS (
	allowed				boolean,
	limit_name			text,
	window_name			text,
	limit_value			bigint,
	remaining			bigint,
	retry_after			int,
	reset_at			timestamptz,
	near				boolean,
	token				text
);
COMMENT ON TYPE keystone.limit_result IS 'What a limit answers; of several windows the one that decides';
COMMENT ON COLUMN keystone.limit_result.allowed IS 'whether the attempt may go on; never NULL';
COMMENT ON COLUMN keystone.limit_result.limit_name IS 'name of the limit; rate_limit for one without definition';
COMMENT ON COLUMN keystone.limit_result.window_name IS 'the window that refuses, or of which the least is left, such as hour';
COMMENT ON COLUMN keystone.limit_result.limit_value IS 'how many it allows';
COMMENT ON COLUMN keystone.limit_result.remaining IS 'how many are left after this attempt';
COMMENT ON COLUMN keystone.limit_result.retry_after IS 'whole seconds until the same attempt would be allowed; NULL when it is allowed, or never will be';
COMMENT ON COLUMN keystone.limit_result.reset_at IS 'when nothing of what was counted counts any more';
COMMENT ON COLUMN keystone.limit_result.near IS 'whether a window is used as far as the option near says, or refuses';
COMMENT ON COLUMN keystone.limit_result.token IS 'for limit_refund(), of a limit with the option refund; NULL otherwise';
REVOKE ALL ON TYPE keystone.limit_result FROM PUBLIC;
