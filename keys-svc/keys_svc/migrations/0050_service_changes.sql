-- When the service was as it is kept: what was told of it before changes nothing, whenever it comes. The default is for
-- what older releases have kept, which any event replaces.
ALTER TABLE services ADD COLUMN changed_at timestamptz NOT NULL DEFAULT '-infinity';
