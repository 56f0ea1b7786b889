-- For the orders in which invoices can be listed; the expressions are those of queries.sql. A consumer's have no drafts,
-- which are written again and again.
CREATE INDEX invoices_by_day ON invoices (((last_day - DATE '2000-01-01')::numeric), invoice_id);
CREATE INDEX invoices_by_total ON invoices (currency COLLATE "C", total, invoice_id);
CREATE INDEX invoices_by_merchant_day
    ON invoices (merchant_id, ((last_day - DATE '2000-01-01')::numeric), invoice_id);
CREATE INDEX invoices_by_merchant_total ON invoices (merchant_id, currency COLLATE pg_c_utf8, total, invoice_id);
CREATE INDEX invoices_by_consumer_day
    ON invoices (consumer_id, ((last_day - DATE '2000-01-01')::numeric), invoice_id) WHERE status <> 'draft';
CREATE INDEX invoices_by_consumer_subtotal
    ON invoices (consumer_id, currency COLLATE pg_c_utf8, subtotal, invoice_id) WHERE status <> 'draft';
