-- Changes of standing in an order that others can follow: each draws the next version. A merchant or consumer
-- has one from the registration on; admins have no standing that anybody follows.
CREATE SEQUENCE standing_versions;
ALTER TABLE user_roles ADD COLUMN standing_version bigint;
UPDATE user_roles SET standing_version = nextval('standing_versions') WHERE role IN ('merchant', 'consumer');
CREATE UNIQUE INDEX user_roles_by_standing_version ON user_roles (standing_version)
    WHERE standing_version IS NOT NULL;
