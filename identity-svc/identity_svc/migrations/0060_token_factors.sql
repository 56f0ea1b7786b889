-- When a second factor was proven for the session that a token was made in: null where none was, and for tokens made
-- before this was known.
ALTER TABLE personal_access_tokens ADD COLUMN second_factor_at timestamptz;
