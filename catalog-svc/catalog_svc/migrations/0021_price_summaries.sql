-- What the price in force comes to and is made of (catalog_svc.price_summaries), for services to be sorted and
-- filtered by. '' and '{}': not worked out yet.
ALTER TABLE services
    ADD COLUMN typical_month_currency text NOT NULL DEFAULT '',
    ADD COLUMN typical_month_amount numeric NOT NULL DEFAULT 0 CHECK (typical_month_amount >= 0),
    ADD COLUMN price_models text[] NOT NULL DEFAULT '{}';
-- It is worked out with the snapshot.
UPDATE services SET snapshot_due_at = now() WHERE published_at IS NOT NULL;

CREATE INDEX services_published_by_price
    ON services (typical_month_currency COLLATE pg_c_utf8, typical_month_amount, service_id) WHERE status = 'active';
CREATE INDEX services_by_price_model ON services USING gin (price_models) WITH (fastupdate = off);
CREATE INDEX services_published_of_merchant ON services (merchant_id, published_at DESC, service_id DESC)
    WHERE status = 'active';
