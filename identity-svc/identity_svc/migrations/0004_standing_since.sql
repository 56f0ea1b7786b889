-- When the standing was last changed; null where it never was, or before this column came.
ALTER TABLE user_roles ADD COLUMN standing_since timestamptz;
