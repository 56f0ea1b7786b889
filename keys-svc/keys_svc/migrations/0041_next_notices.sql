-- When a key's next notice of its coming end is due: what is due is found without looking at the keys that end soon.
-- '-infinity': nobody has looked yet, at a new key or at one with another end. NULL: no notice is to come.
-- What was told needs no table: a notice's id follows from the key, its end and the days ahead, and is told once.
ALTER TABLE keys ADD COLUMN next_notice_at timestamptz;
UPDATE keys SET next_notice_at = (
    SELECT min(keys.expires_at - days * interval '24 hours') FROM unnest('{14,3,1}'::integer[]) AS ahead (days)
    WHERE NOT EXISTS (
        SELECT FROM expiry_notices AS told
        WHERE told.key_id = keys.key_id AND told.expires_at = keys.expires_at AND told.days_ahead <= days
    )
) WHERE revoked_at IS NULL AND expires_at > now();
ALTER TABLE keys ALTER COLUMN next_notice_at SET DEFAULT '-infinity';
DROP TABLE expiry_notices;
DROP INDEX keys_by_expiry;
CREATE INDEX keys_by_next_notice ON keys (next_notice_at) WHERE revoked_at IS NULL AND next_notice_at IS NOT NULL;

-- A trigger, so that no statement that changes the end can leave the notices of the old one behind.
CREATE FUNCTION look_at_new_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.next_notice_at := '-infinity';
    RETURN NEW;
END $$;
CREATE TRIGGER notices_follow_the_end BEFORE UPDATE OF expires_at ON keys
    FOR EACH ROW WHEN (NEW.expires_at <> OLD.expires_at) EXECUTE FUNCTION look_at_new_end();
