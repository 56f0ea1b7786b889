-- name: list_credit_notes
-- Those that correct an invoice, in the order of their numbers.
SELECT number, issued_at, subtotal AS amount, reason FROM invoices
 WHERE corrects_invoice_id = :invoice_id AND kind = 'credit_note' AND status <> 'draft'
 ORDER BY sequence;

-- name: find_number
SELECT number FROM invoices WHERE invoice_id = :invoice_id;

-- name: list_prices
SELECT price_version_id, price::text AS price FROM price_versions
 WHERE price_version_id = ANY(:price_version_ids::uuid[]);
