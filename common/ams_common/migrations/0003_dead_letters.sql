-- A topic that is made anew has the same offsets again: what was buried at one before is no reason to drop
-- what is to be buried now.
ALTER TABLE dead_letters DROP CONSTRAINT dead_letters_pkey;
ALTER TABLE dead_letters ADD COLUMN dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
