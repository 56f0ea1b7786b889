-- fragment: profile_columns
p.user_id, p.slug, p.company_name, p.about, p.links, p.logo_id

-- name: set_name
UPDATE users SET name = :name WHERE user_id = :user_id;

-- name: lock_name
SELECT name FROM users WHERE user_id = :user_id FOR NO KEY UPDATE;

-- name: insert_picture
INSERT INTO pictures (picture_id, content, created_at) VALUES (:picture_id, :content, :now);

-- name: find_picture
SELECT content FROM pictures WHERE picture_id = :picture_id;

-- name: delete_picture
DELETE FROM pictures WHERE picture_id = :picture_id;

-- name: lock_picture_id
SELECT picture_id FROM users WHERE user_id = :user_id FOR NO KEY UPDATE;

-- name: set_picture_id
UPDATE users SET picture_id = :picture_id WHERE user_id = :user_id;

-- name: lock_profile
SELECT {profile_columns} FROM merchant_profiles p WHERE p.user_id = :user_id FOR UPDATE;

-- name: find_profile
SELECT {profile_columns} FROM merchant_profiles p WHERE p.user_id = :user_id;

-- name: find_public_profile
-- By slug or id. A suspended merchant shows itself to nobody.
SELECT {profile_columns} FROM merchant_profiles p JOIN user_roles r ON r.user_id = p.user_id AND r.role = 'merchant'
WHERE (p.slug = :slug OR p.user_id = :user_id::uuid) AND r.standing = 'active';

-- name: save_profile
UPDATE merchant_profiles SET about = :about, links = :links::jsonb WHERE user_id = :user_id;

-- name: set_logo_id
UPDATE merchant_profiles SET logo_id = :logo_id WHERE user_id = :user_id;

-- name: list_names
SELECT user_id, name, email FROM users WHERE user_id = ANY (:user_ids::uuid[]);

-- name: list_merchant_names
SELECT user_id, company_name FROM merchant_profiles WHERE user_id = ANY (:user_ids::uuid[]);
