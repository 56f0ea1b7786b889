-- The order in which mails were queued, and whose order matters: a mail of a sequence to an address waits (its next attempt
-- is at infinity) until the one before has been taken or given up. Null: it waits for none, as codes do.
ALTER TABLE mails ADD COLUMN position bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE mails ADD COLUMN sequence text;
CREATE INDEX mails_in_sequence ON mails (recipient, sequence, position) WHERE status = 'queued';
CREATE INDEX mails_due ON mails ((sequence IS NOT NULL), next_attempt_at) WHERE status = 'queued';

-- A trigger, so that a process of the release before releases the next one, too.
CREATE FUNCTION release_next_mail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mails SET next_attempt_at = NEW.finished_at
    WHERE next_attempt_at = 'infinity' AND mail_id = (
        SELECT mail_id FROM mails
        WHERE recipient = NEW.recipient AND sequence = NEW.sequence AND status = 'queued'
        ORDER BY position LIMIT 1
    );
    RETURN NULL;
END $$;
CREATE TRIGGER mails_go_one_by_one AFTER UPDATE OF status ON mails
    FOR EACH ROW WHEN (OLD.status = 'queued' AND NEW.status <> 'queued' AND NEW.sequence IS NOT NULL)
    EXECUTE FUNCTION release_next_mail();

-- Why a mail was given up, for admins to see. Null: it wasn't, or by an earlier release.
ALTER TABLE mails ADD COLUMN given_up_for text CHECK (given_up_for IN ('refused', 'too_late', 'unwritable'));
CREATE INDEX mails_given_up ON mails (finished_at DESC, mail_id DESC) WHERE status = 'failed';
