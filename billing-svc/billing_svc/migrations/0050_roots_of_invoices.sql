-- What an issued invoice says of the roots over its events: one hash that stands for those of the days of its lines'
-- months, of each day the editions up to and with the last (docs/proofs.md). Null until all of its events are in them. A
-- row is made with the invoice, so that those that wait are found without reading all there are.
CREATE TABLE invoice_roots (
    invoice_id uuid PRIMARY KEY,
    merchant_id uuid NOT NULL,
    last_editions jsonb,           -- by day
    digest bytea CHECK (octet_length(digest) = 32),
    CHECK ((digest IS NULL) = (last_editions IS NULL))
);
CREATE INDEX invoice_roots_waiting ON invoice_roots (merchant_id, invoice_id) WHERE digest IS NULL;

INSERT INTO invoice_roots (invoice_id, merchant_id)
SELECT invoice_id, merchant_id FROM invoices WHERE kind = 'invoice' AND status <> 'draft';

-- A digest that was said stays what it is.
CREATE TRIGGER invoice_roots_stay BEFORE UPDATE ON invoice_roots
    FOR EACH ROW WHEN (OLD.digest IS NOT NULL) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER invoice_roots_only_grow BEFORE DELETE OR TRUNCATE ON invoice_roots
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
