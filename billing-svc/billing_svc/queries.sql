-- name: upsert_service
INSERT INTO services (service_id, merchant_id, name, changed_at)
VALUES (:service_id, :merchant_id, :name, :changed_at)
ON CONFLICT (service_id) DO UPDATE
    SET merchant_id = excluded.merchant_id, name = excluded.name, changed_at = excluded.changed_at
    WHERE services.changed_at <= excluded.changed_at;

-- name: add_price_version
-- No row comes back when the version is known with another price.
INSERT INTO price_versions AS known (price_version_id, service_id, model, currency, amount, starts_at)
VALUES (:price_version_id, :service_id, :model, :currency, :amount, :starts_at)
ON CONFLICT (price_version_id) DO UPDATE
    SET price_version_id = excluded.price_version_id
    WHERE (known.service_id, known.model, known.currency, known.amount, known.starts_at)
        = (excluded.service_id, excluded.model, excluded.currency, excluded.amount, excluded.starts_at)
RETURNING price_version_id;

-- name: claim_deltas
INSERT INTO applied_deltas (delta_id)
SELECT delta_id FROM unnest(:delta_ids::uuid[]) AS delta_id ORDER BY delta_id
ON CONFLICT DO NOTHING
RETURNING delta_id;

-- name: purge_deltas
DELETE FROM applied_deltas WHERE delta_id IN (
    SELECT delta_id FROM applied_deltas
    WHERE delta_id < :first_kept::uuid AND applied_at < :oldest::timestamptz
    ORDER BY delta_id LIMIT :limit::bigint
);

-- name: add_to_counters
-- One row per counter: the arguments hold no counter twice.
INSERT INTO billing_counters AS counters (
    period, merchant_id, consumer_id, service_id, price_version_id,
    requests, billable_requests, request_bytes, response_bytes
)
SELECT * FROM unnest(
    :periods::text[], :merchant_ids::uuid[], :consumer_ids::uuid[], :service_ids::uuid[],
    :price_version_ids::uuid[],
    :requests::bigint[], :billable_requests::bigint[], :request_bytes::bigint[], :response_bytes::bigint[]
)
ON CONFLICT (period, merchant_id, consumer_id, service_id, price_version_id) DO UPDATE
    SET requests = counters.requests + excluded.requests,
        billable_requests = counters.billable_requests + excluded.billable_requests,
        request_bytes = counters.request_bytes + excluded.request_bytes,
        response_bytes = counters.response_bytes + excluded.response_bytes;

-- fragment: usage_in_month
SELECT c.merchant_id, c.consumer_id, c.service_id, c.price_version_id, c.billable_requests AS quantity,
       s.name AS service_name, p.currency, p.amount AS unit_price, p.starts_at
  FROM billing_counters c
  LEFT JOIN services s ON s.service_id = c.service_id
  LEFT JOIN price_versions p
    ON p.service_id = c.service_id AND p.price_version_id = c.price_version_id
 WHERE c.period = :period AND c.billable_requests > 0

-- name: list_usage
-- A null merchant or list of consumers stands for all.
{usage_in_month}
   AND (:merchant_id::uuid IS NULL OR c.merchant_id = :merchant_id)
   AND (:consumer_ids::uuid[] IS NULL OR c.consumer_id = ANY(:consumer_ids));

-- name: list_usage_of_consumer
{usage_in_month}
   AND c.consumer_id = :consumer_id;

-- name: list_consumers_of_merchant
SELECT DISTINCT consumer_id FROM billing_counters
 WHERE period = :period AND merchant_id = :merchant_id AND billable_requests > 0;

-- name: lock_month
-- For whoever makes the invoices of all merchants.
SELECT pg_advisory_xact_lock(hashtextextended('invoices of ' || :period::text, 0));

-- name: lock_month_of_merchant
-- Others make other merchants' meanwhile, but nobody all merchants'.
SELECT pg_advisory_xact_lock_shared(hashtextextended('invoices of ' || :period::text, 0)),
       pg_advisory_xact_lock(hashtextextended('invoices of ' || :period || ' ' || :merchant_id::uuid, 0));

-- fragment: invoice_columns
invoice_id, period, merchant_id, consumer_id, currency, status, subtotal, commission_rate,
       commission, total, created_at, updated_at

-- name: list_drafts
SELECT {invoice_columns}
  FROM invoices
 WHERE period = :period AND status = 'draft'
   AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
   AND (:consumer_ids::uuid[] IS NULL OR consumer_id = ANY(:consumer_ids))
 ORDER BY merchant_id, consumer_id, currency
 LIMIT :limit::bigint;

-- name: upsert_drafts
-- An invoice that was issued meanwhile is left alone and doesn't come back.
INSERT INTO invoices (
    invoice_id, period, merchant_id, consumer_id, currency, minor_unit_digits,
    subtotal, commission_rate, commission, total
)
SELECT draft.invoice_id, :period::text, draft.merchant_id, draft.consumer_id, draft.currency,
       draft.minor_unit_digits, draft.subtotal, draft.commission_rate, draft.commission, draft.total
  FROM unnest(
    :invoice_ids::uuid[], :merchant_ids::uuid[], :consumer_ids::uuid[], :currencies::text[],
    :minor_unit_digits::smallint[],
    :subtotals::numeric[], :commission_rates::numeric[], :commissions::numeric[], :totals::numeric[]
  ) AS draft (
    invoice_id, merchant_id, consumer_id, currency, minor_unit_digits,
    subtotal, commission_rate, commission, total
  )
 ORDER BY draft.merchant_id, draft.consumer_id, draft.currency
ON CONFLICT (period, merchant_id, consumer_id, currency) DO UPDATE
    SET subtotal = excluded.subtotal, commission_rate = excluded.commission_rate,
        commission = excluded.commission, total = excluded.total, updated_at = now()
    WHERE invoices.status = 'draft'
RETURNING invoice_id, merchant_id, consumer_id, currency;

-- name: delete_lines
DELETE FROM invoice_lines WHERE invoice_id = ANY(:invoice_ids::uuid[]);

-- name: insert_lines
INSERT INTO invoice_lines (
    invoice_id, position, service_id, service_name, price_version_id, quantity, unit_price, amount
)
SELECT * FROM unnest(
    :invoice_ids::uuid[], :positions::integer[], :service_ids::uuid[], :service_names::text[],
    :price_version_ids::uuid[], :quantities::bigint[], :unit_prices::numeric[], :amounts::numeric[]
);

-- name: list_lines
SELECT invoice_id, service_id, service_name, price_version_id, quantity, unit_price, amount
  FROM invoice_lines
 WHERE invoice_id = ANY(:invoice_ids::uuid[])
 ORDER BY invoice_id, position;

-- name: find_invoice
-- One that the caller owns in a role that they hold; the ids of other roles are null.
SELECT {invoice_columns}
  FROM invoices
 WHERE invoice_id = :invoice_id
   AND (:is_admin::boolean OR merchant_id = :merchant_id::uuid OR consumer_id = :consumer_id::uuid);

-- fragment: invoices_in_period
-- Amounts of different currencies can't be compared: the currency comes first.
-- order created_at desc: timestamptz created_at, uuid invoice_id
-- order period: text period COLLATE pg_c_utf8, uuid invoice_id
-- order status: text status COLLATE pg_c_utf8, uuid invoice_id
-- order total: text currency COLLATE pg_c_utf8, numeric total, uuid invoice_id
SELECT {invoice_columns}, {key}
  FROM invoices
 WHERE (:period = '' OR period = :period) AND {after}

-- fragment: in_order
 ORDER BY {order}
 LIMIT :limit::bigint

-- name: list_invoices
{invoices_in_period}
   AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
   AND (:consumer_id::uuid IS NULL OR consumer_id = :consumer_id)
{in_order};

-- name: list_merchant_invoices
{invoices_in_period}
   AND merchant_id = :merchant_id
{in_order};

-- name: list_consumer_invoices
{invoices_in_period}
   AND consumer_id = :consumer_id
{in_order};

-- name: list_commission_rates
SELECT rate, starts_in, created_at FROM commission_rates ORDER BY starts_in DESC;

-- name: add_commission_rate
INSERT INTO commission_rates (rate, starts_in) VALUES (:rate, :starts_in)
ON CONFLICT DO NOTHING
RETURNING rate, starts_in, created_at;

-- name: add_first_commission_rate
INSERT INTO commission_rates (rate, starts_in)
SELECT :rate::numeric, :starts_in::text WHERE NOT EXISTS (SELECT FROM commission_rates)
ON CONFLICT DO NOTHING
RETURNING rate, starts_in, created_at;
