-- The price versions that an issued invoice was rated with, and the UTC day since which each was in force. A version that
-- becomes known late changes which was in force, and must not change the proof of what was issued before.
CREATE TABLE invoice_prices (
    invoice_id uuid NOT NULL,
    price_version_id uuid NOT NULL,
    starts_on date NOT NULL,
    PRIMARY KEY (invoice_id, price_version_id)
);
CREATE TRIGGER invoice_prices_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_prices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

INSERT INTO invoice_prices (invoice_id, price_version_id, starts_on)
SELECT DISTINCT i.invoice_id, p.price_version_id,
       CASE WHEN isfinite(p.first_day) THEN p.first_day
            ELSE least((p.starts_at AT TIME ZONE 'UTC')::date, p.end_day - 1) END
  FROM invoices i JOIN invoice_lines l USING (invoice_id) JOIN price_versions p USING (service_id)
 WHERE i.status <> 'draft'
   AND p.first_day < p.end_day AND p.end_day > to_date(l.month, 'YYYY-MM')
   AND p.first_day < to_date(l.month, 'YYYY-MM') + INTERVAL '1 month';
