-- Accounts and roles

-- fragment: merchant_columns
u.user_id, u.email, u.name, p.company_name, p.slug, r.standing, r.granted_at

-- fragment: consumer_columns
u.user_id, u.email, u.name, r.standing, r.granted_at

-- name: find_account
-- `roles` are those in which the account may act now.
SELECT u.user_id, u.email, u.name, u.created_at, u.picture_id, u.token_generation,
       coalesce(array_agg(r.role) FILTER (WHERE r.standing = 'active'), '{}') AS roles,
       max(r.standing) FILTER (WHERE r.role = 'merchant') AS merchant_standing,
       max(r.standing) FILTER (WHERE r.role = 'consumer') AS consumer_standing,
       max(r.standing_since) FILTER (WHERE r.role = 'merchant') AS merchant_standing_since,
       max(r.standing_since) FILTER (WHERE r.role = 'consumer') AS consumer_standing_since
FROM users u LEFT JOIN user_roles r USING (user_id)
WHERE u.user_id = :user_id
GROUP BY u.user_id;

-- name: find_user_id
SELECT user_id FROM users WHERE email = :email;

-- name: find_federated_user_id
SELECT user_id FROM federated_identities WHERE issuer = :issuer AND subject = :subject;

-- name: link_federated_identity
-- For good. Of two that link it at once, the first does; both mean the same account.
INSERT INTO federated_identities (issuer, subject, user_id, linked_at)
VALUES (:issuer, :subject, :user_id, :now)
ON CONFLICT (issuer, subject) DO NOTHING;

-- name: holds_role
SELECT EXISTS (SELECT 1 FROM users JOIN user_roles USING (user_id) WHERE email = :email AND role = :role);

-- name: insert_user
INSERT INTO users (user_id, email, name, created_at) VALUES (:user_id, :email, :name, :now)
ON CONFLICT (email) DO NOTHING RETURNING user_id;

-- name: grant_role
INSERT INTO user_roles (user_id, role, granted_at) VALUES (:user_id, :role, :now)
ON CONFLICT (user_id, role) DO NOTHING;

-- name: insert_merchant_profile
INSERT INTO merchant_profiles (user_id, company_name, slug) VALUES (:user_id, :company_name, :slug)
ON CONFLICT (slug) DO NOTHING;

-- name: lock_role
SELECT standing FROM user_roles WHERE user_id = :user_id AND role = :role FOR UPDATE;

-- name: set_standing
UPDATE user_roles SET standing = :standing, standing_since = now() WHERE user_id = :user_id AND role = :role;

-- name: lock_standing_versions
-- Until the commit nobody else draws one. So versions become visible in their order, and who reads on after
-- the last one that it has seen misses none that was drawn before and committed later.
SELECT pg_advisory_xact_lock(hashtextextended('standing versions of ' || current_schema(), 0));

-- name: draw_standing_version
-- A sequence that the clock pushes on: after a restore from a backup it must not draw again what followers
-- have seen already, or they would ignore the changes that come.
UPDATE user_roles
SET standing_version = setval('standing_versions', greatest(
    nextval('standing_versions'), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
))
WHERE user_id = :user_id AND role = :role
RETURNING standing_version;

-- name: find_revisions
-- Asked for each second by every service: the last entries of four indexes.
SELECT coalesce((SELECT max(version) FROM token_ends), 0) AS token_ends,
       coalesce((SELECT max(standing_version) FROM user_roles), 0) AS standings,
       coalesce((SELECT max(version) FROM projects WHERE version > 0), 0) AS projects,
       coalesce((SELECT max(version) FROM platform_settings), 0) AS platform_settings;

-- name: list_standing_changes
SELECT user_id, role, standing, standing_version AS version FROM user_roles
WHERE standing_version > :after_version
ORDER BY standing_version
LIMIT :limit;

-- name: save_standing_reader
INSERT INTO standing_readers (service, version, is_delivered, asked_at)
VALUES (:service, :version, :is_delivered, clock_timestamp())
ON CONFLICT (service) DO UPDATE
SET version = excluded.version, is_delivered = excluded.is_delivered, asked_at = excluded.asked_at;

-- name: note_standing_reader
-- A reader that follows, and has nothing to ask for: it asks for revisions every second.
UPDATE standing_readers SET asked_at = clock_timestamp()
WHERE service = :service AND asked_at < clock_timestamp() - interval '2 s';

-- name: find_reading
-- How far the service has come with somebody's present standing in a role, as standing_readers.Reading has it.
SELECT CASE
    WHEN readers.version >= user_roles.standing_version AND readers.is_delivered THEN 'DELIVERED'
    WHEN readers.asked_at < clock_timestamp() - interval '5 s' THEN 'AWAY'
    WHEN readers.version >= user_roles.standing_version THEN 'UNDELIVERED'
    ELSE 'EXPECTED' END
FROM user_roles CROSS JOIN standing_readers AS readers
WHERE user_roles.user_id = :user_id AND user_roles.role = :role AND readers.service = :service;

-- name: find_merchant
SELECT {merchant_columns}
FROM user_roles r JOIN users u USING (user_id) JOIN merchant_profiles p USING (user_id)
WHERE r.role = 'merchant' AND r.user_id = :user_id;

-- fragment: of_standing
-- The collation is the index's.
(:standing::text IS NULL OR r.standing COLLATE pg_c_utf8 = :standing)

-- fragment: has_words
-- By the index of pieces first: the patterns are those of the words (ams_common.paging), and any row fits those of none.
(cardinality(:words::text[]) = 0 OR (
    pieces(lower((u.email || ' ' || u.name) COLLATE pg_c_utf8)) @> pieces_of_words(:words)
    AND (u.email || ' ' || u.name) COLLATE pg_c_utf8 ILIKE ALL (:patterns::text[])
))

-- name: list_merchants
-- The id comes from the table of the first column, so that one index holds both. Names sort by code points
-- in lower case: the same on every server, and no update of a library ever reorders (and so breaks) their
-- indexes, as it does with a locale's collation.
-- order registered_at desc: timestamptz r.granted_at, uuid r.user_id
-- order company_name: text lower(p.company_name COLLATE pg_c_utf8), uuid p.user_id
-- order email: text u.email COLLATE pg_c_utf8, uuid u.user_id
-- order standing: text r.standing COLLATE pg_c_utf8, uuid r.user_id
SELECT {merchant_columns}, {key}
FROM user_roles r JOIN users u USING (user_id) JOIN merchant_profiles p USING (user_id)
WHERE r.role = 'merchant' AND {of_standing}
  AND concat_ws(' ', u.email, u.name, p.company_name) COLLATE pg_c_utf8 ILIKE ALL (:patterns::text[])
  AND {after}
ORDER BY {order} LIMIT :limit;

-- name: find_consumer
SELECT {consumer_columns}
FROM user_roles r JOIN users u USING (user_id)
WHERE r.role = 'consumer' AND r.user_id = :user_id;

-- name: find_consumers
SELECT {consumer_columns}
FROM user_roles r JOIN users u USING (user_id)
WHERE r.role = 'consumer' AND r.user_id = ANY(:user_ids::uuid[]);

-- name: list_consumers
-- order registered_at desc: timestamptz r.granted_at, uuid r.user_id
-- order name: text lower(u.name COLLATE pg_c_utf8), uuid u.user_id
-- order email: text u.email COLLATE pg_c_utf8, uuid u.user_id
-- order standing: text r.standing COLLATE pg_c_utf8, uuid r.user_id
SELECT {consumer_columns}, {key}
FROM user_roles r JOIN users u USING (user_id)
WHERE r.role = 'consumer' AND {of_standing} AND {has_words}
  AND {after}
ORDER BY {order} LIMIT :limit;

-- Invites

-- fragment: invite_columns
invite_id, role, email, note, created_at, sent_at, expires_at, accepted_at, revoked_at

-- name: insert_invite
INSERT INTO invites (invite_id, role, email, code_hash, note, created_at, sent_at, expires_at)
VALUES (:invite_id, :role, :email, :code_hash, :note, :now, :now, :expires_at)
RETURNING {invite_columns};

-- name: find_open_invite
-- By its code, if it is for this address and still good.
SELECT invite_id FROM invites
WHERE code_hash = :code_hash AND email = :email AND role = :role
  AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > :now;

-- name: accept_invite
UPDATE invites SET accepted_at = :now, accepted_by = :user_id
WHERE invite_id = :invite_id AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > :now;

-- name: lock_invite
SELECT {invite_columns} FROM invites WHERE invite_id = :invite_id FOR UPDATE;

-- name: revoke_invite
UPDATE invites SET revoked_at = :now WHERE invite_id = :invite_id RETURNING {invite_columns};

-- name: renew_invite
-- The code that was mailed before is nobody's any more.
UPDATE invites SET code_hash = :code_hash, sent_at = :now, expires_at = :expires_at
WHERE invite_id = :invite_id RETURNING {invite_columns};

-- name: list_invites
-- order created_at desc: timestamptz created_at, uuid invite_id
SELECT {invite_columns}, {key} FROM invites
WHERE (:role::text IS NULL OR role = :role) AND {after}
ORDER BY {order} LIMIT :limit;

-- Challenges

-- name: lock_address
SELECT pg_advisory_xact_lock(hashtextextended('challenges of ' || :email, 0));

-- name: insert_challenge
INSERT INTO challenges (
    challenge_id, purpose, email, code_hash, name, company_name, invite_id, created_at, expires_at,
    code_id, spent_keys, spent_refills
)
VALUES (
    :challenge_id, :purpose, :email, :code_hash, :name, :company_name, :invite_id, :now, :expires_at,
    :code_id, :spent_keys, :spent_refills
);

-- name: spend_attempt
-- Counts the attempt before the code is looked at, and locks the row: guesses that come at the same
-- time get no attempt more, and of two right ones the second finds the challenge used.
UPDATE challenges SET attempts = attempts + 1
WHERE challenge_id = :challenge_id AND used_at IS NULL AND expires_at > :now AND attempts < :max_attempts
RETURNING challenge_id, purpose, email, code_hash, name, company_name, invite_id,
          code_id, spent_keys, spent_refills;

-- name: expire_challenges_of_invite
-- In the order of their ids, and before the invite is locked: whoever proves one holds it when it takes the invite.
UPDATE challenges SET expires_at = :now WHERE challenge_id IN (
    SELECT challenge_id FROM challenges WHERE invite_id = :invite_id AND used_at IS NULL AND expires_at > :now
    ORDER BY challenge_id FOR NO KEY UPDATE
);

-- name: use_challenge
UPDATE challenges SET used_at = :now WHERE challenge_id = :challenge_id;

-- Sessions

-- name: insert_session
INSERT INTO sessions
    (session_id, user_id, active_role, created_at, last_used_at, expires_at, device, client_address,
     second_factor_at)
VALUES (:session_id, :user_id, :active_role, :now, :now, :expires_at, :device, :client_address,
        :second_factor_at);

-- name: insert_refresh_token
INSERT INTO refresh_tokens (token_hash, session_id, created_at) VALUES (:token_hash, :session_id, :now);

-- name: lock_session
-- Both rows are locked, the session first, as retention does: a second user of the token waits, and then sees it
-- used.
SELECT s.session_id, s.user_id, s.active_role, s.created_at, s.expires_at, s.ended_at, t.used_at,
       s.second_factor_at
FROM sessions s JOIN refresh_tokens t USING (session_id)
WHERE t.token_hash = :token_hash FOR NO KEY UPDATE;

-- name: use_refresh_token
UPDATE refresh_tokens SET used_at = :now WHERE token_hash = :token_hash;

-- name: refresh_session
-- Where nothing is known of the device or address this time, what is known stays.
UPDATE sessions
SET expires_at = :expires_at, active_role = :active_role, last_used_at = :now,
    device = coalesce(nullif(:device, ''), device),
    client_address = coalesce(nullif(:client_address, ''), client_address)
WHERE session_id = :session_id;

-- Signing keys

-- name: lock_signing_keys
-- Until the commit nobody else makes or deletes keys; they can still be read.
LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE;

-- name: list_signing_keys
-- In the order in which they start to sign.
SELECT key_id, sealed_private_key, created_at, active_from FROM signing_keys ORDER BY active_from, key_id;

-- name: insert_signing_key
INSERT INTO signing_keys (key_id, sealed_private_key, created_at, active_from)
VALUES (:key_id, :sealed_private_key, :now, :active_from);

-- name: delete_signing_keys
DELETE FROM signing_keys WHERE key_id = ANY(:key_ids);

-- Mail

-- name: insert_mail
-- Behind the last of its sequence that is still queued, which can't be finished meanwhile: whoever finishes it finds this
-- one.
WITH last AS (
    SELECT mail_id FROM mails WHERE recipient = :recipient AND sequence = :sequence AND status = 'queued'
    ORDER BY position DESC LIMIT 1 FOR SHARE
)
INSERT INTO mails (mail_id, recipient, template, sealed_values, created_at, next_attempt_at, give_up_at, sequence)
VALUES (:mail_id, :recipient, :template, :sealed_values, :now,
        CASE WHEN EXISTS (SELECT 1 FROM last) THEN 'infinity' ELSE :now::timestamptz END, :give_up_at, :sequence);

-- name: insert_mail_to_user
-- The same statement for known and unknown addresses; only the known get the mail.
INSERT INTO mails (mail_id, recipient, template, sealed_values, created_at, next_attempt_at, give_up_at, sequence)
SELECT :mail_id::uuid, email, :template::text, :sealed_values::bytea, :now::timestamptz, :now, :give_up_at::timestamptz,
       :sequence::text
FROM users WHERE email = :recipient;

-- name: remember_notification
-- No row: it has been told before.
INSERT INTO notifications (notification_id, told_at) VALUES (:notification_id, :now)
ON CONFLICT (notification_id) DO NOTHING
RETURNING notification_id;

-- name: find_address
SELECT email FROM users WHERE user_id = :user_id;

-- name: announce_mail
-- Wakes the mailers on commit.
SELECT pg_notify('mails_' || current_schema(), '');

-- name: claim_mails
-- Those without a sequence first: somebody waits for them. A claim that isn't settled (the process died) falls due again
-- when its lease ends.
UPDATE mails SET attempts = attempts + 1, next_attempt_at = :leased_until
WHERE mail_id IN (
    SELECT mail_id FROM mails WHERE status = 'queued' AND next_attempt_at <= :now
    ORDER BY sequence IS NOT NULL, next_attempt_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
RETURNING mail_id, recipient, template, sealed_values, attempts, give_up_at;

-- name: finish_mail
UPDATE mails
SET status = :status, finished_at = :now, sealed_values = NULL, last_error = :error, given_up_for = :given_up_for
WHERE mail_id = :mail_id AND status = 'queued';

-- name: postpone_mail
UPDATE mails SET next_attempt_at = :next_attempt_at, last_error = :error
WHERE mail_id = :mail_id AND status = 'queued';

-- name: measure_mails
SELECT count(*) AS waiting, min(created_at) AS oldest_at FROM mails WHERE status = 'queued';

-- name: list_undelivered_mails
-- order given_up_at desc: timestamptz finished_at, uuid mail_id
SELECT mail_id, recipient, template, given_up_for, last_error, attempts, created_at, finished_at, {key} FROM mails
WHERE status = 'failed' AND {after}
ORDER BY {order} LIMIT :limit;

-- Retention, in bounded batches

-- name: purge_challenges
DELETE FROM challenges WHERE challenge_id IN (
    SELECT challenge_id FROM challenges WHERE created_at < :before ORDER BY created_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_codes
DELETE FROM codes WHERE code_id IN (
    SELECT code_id FROM codes WHERE created_at < :before ORDER BY created_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_factor_challenges
DELETE FROM factor_challenges WHERE challenge_id IN (
    SELECT challenge_id FROM factor_challenges WHERE created_at < :before ORDER BY created_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_allowances
DELETE FROM allowances WHERE allowance_key IN (
    SELECT allowance_key FROM allowances WHERE full_at < :before ORDER BY full_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_tries
DELETE FROM sign_in_tries WHERE (hour, outcome) IN (
    SELECT hour, outcome FROM sign_in_tries WHERE hour < :before ORDER BY hour LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_sessions
DELETE FROM sessions WHERE session_id IN (
    SELECT session_id FROM sessions WHERE expires_at < :before OR ended_at < :before LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_token_ends
DELETE FROM token_ends WHERE version IN (
    SELECT version FROM token_ends WHERE ended_at < :before ORDER BY ended_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_tokens
-- Revoked ones are shown until they would have expired, for as long as expired ones are.
DELETE FROM personal_access_tokens WHERE token_id IN (
    SELECT token_id FROM personal_access_tokens WHERE expires_at < :before ORDER BY expires_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_mails
DELETE FROM mails WHERE mail_id IN (
    SELECT mail_id FROM mails WHERE finished_at < :before LIMIT :limit FOR UPDATE SKIP LOCKED
);

-- name: purge_notifications
DELETE FROM notifications WHERE notification_id IN (
    SELECT notification_id FROM notifications WHERE told_at < :before ORDER BY told_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_read_notifications
DELETE FROM user_notifications WHERE (user_id, notification_id) IN (
    SELECT user_id, notification_id FROM user_notifications WHERE read_at < :before ORDER BY read_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_user_notifications
DELETE FROM user_notifications WHERE (user_id, notification_id) IN (
    SELECT user_id, notification_id FROM user_notifications WHERE created_at < :before ORDER BY created_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
);

-- name: purge_project_invitations
-- Answered or taken back, or never answered.
DELETE FROM project_invitations WHERE invitation_id IN (
    SELECT invitation_id FROM project_invitations WHERE ended_at < :before OR expires_at < :before LIMIT :limit
    FOR UPDATE SKIP LOCKED
);
