-- A topic that is made anew has the same offsets again: the offset holds for one incarnation of it, the id that Kafka
-- gave it. NULL: written by a release that didn't ask.
ALTER TABLE consumer_offsets ADD COLUMN incarnation text;

-- Messages that can't be applied wait until somebody decides, or a release that can apply them starts. The default is
-- for releases that don't give an id.
ALTER TABLE dead_letters DROP COLUMN dead_letter_id;
ALTER TABLE dead_letters
    ADD COLUMN dead_letter_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ADD COLUMN incarnation text NOT NULL DEFAULT '',
    ADD COLUMN status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'replayed', 'dismissed')),
    ADD COLUMN decided_at timestamptz CHECK ((decided_at IS NULL) = (status = 'waiting')),
    ADD COLUMN reason text NOT NULL DEFAULT '',
    -- The release that could not apply it last.
    ADD COLUMN release text NOT NULL DEFAULT '';
CREATE INDEX dead_letters_by_status ON dead_letters (status, created_at, dead_letter_id);
