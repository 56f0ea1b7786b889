-- The order in which mails were queued, and whose order matters: of one sequence to one address the next goes out when the
-- one before has been taken or given up. Null: it waits for none, as codes do, for which somebody is waiting.
ALTER TABLE mails ADD COLUMN position bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE mails ADD COLUMN sequence text;
CREATE INDEX mails_in_sequence ON mails (recipient, sequence, position) WHERE status = 'queued';
CREATE INDEX mails_due ON mails ((sequence IS NOT NULL), next_attempt_at) WHERE status = 'queued';

-- Why a mail was given up, for admins to see. Null: it wasn't, or by an earlier release.
ALTER TABLE mails ADD COLUMN given_up_for text CHECK (given_up_for IN ('refused', 'too_late', 'unwritable'));
CREATE INDEX mails_given_up ON mails (finished_at DESC, mail_id DESC) WHERE status = 'failed';
