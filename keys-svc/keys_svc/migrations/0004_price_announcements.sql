-- What catalog.events tells of services and their prices, so that consumers with access hear of a new price.
CREATE TABLE services (
    service_id uuid PRIMARY KEY,
    name text NOT NULL,
    slug text NOT NULL
);
CREATE TABLE price_versions (
    price_version_id uuid PRIMARY KEY,
    service_id uuid NOT NULL REFERENCES services,
    price jsonb NOT NULL,               -- ams_rating.price_json
    starts_at timestamptz NOT NULL,
    canceled_at timestamptz
);
CREATE INDEX price_versions_by_start ON price_versions (service_id, starts_at) WHERE canceled_at IS NULL;

-- What is told, or is being told, of a version: that it comes, and that it was canceled. They stay, so that
-- an event that is read again tells nobody twice.
CREATE TABLE price_announcements (
    announcement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    price_version_id uuid NOT NULL REFERENCES price_versions,
    service_id uuid NOT NULL,
    is_canceled boolean NOT NULL,
    message bytea NOT NULL,             -- ams.identity.v1.PriceChangeAhead
    announced_at timestamptz NOT NULL,
    -- Consumers are told in the order of their ids, up to and with this one so far.
    told_through uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    finished_at timestamptz,
    UNIQUE (price_version_id, is_canceled)
);
CREATE INDEX price_announcements_open ON price_announcements (announcement_id) WHERE finished_at IS NULL;
CREATE INDEX grants_by_service ON grants (service_id, consumer_id);
