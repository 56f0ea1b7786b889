-- name: upsert_service
INSERT INTO services (service_id, merchant_id, name, changed_at)
VALUES (:service_id, :merchant_id, :name, :changed_at)
ON CONFLICT (service_id) DO UPDATE
    SET merchant_id = excluded.merchant_id, name = excluded.name, changed_at = excluded.changed_at
    WHERE services.changed_at <= excluded.changed_at;

-- name: upsert_merchant
INSERT INTO merchants (merchant_id, display_name, standing_version)
VALUES (:merchant_id, :display_name, :standing_version)
ON CONFLICT (merchant_id) DO UPDATE
    SET display_name = excluded.display_name, standing_version = excluded.standing_version
    WHERE merchants.standing_version <= excluded.standing_version;

-- name: add_price_version
-- No row comes back when the version is known with another price. One that was canceled stays so.
INSERT INTO price_versions AS known (price_version_id, service_id, currency, price, starts_at, canceled_at)
VALUES (:price_version_id, :service_id, :currency, :price::text::jsonb, :starts_at, :canceled_at)
ON CONFLICT (price_version_id) DO UPDATE
    SET canceled_at = COALESCE(known.canceled_at, excluded.canceled_at)
    WHERE (known.service_id, known.price, known.starts_at)
        = (excluded.service_id, excluded.price, excluded.starts_at)
RETURNING price_version_id;

-- name: arrange_price_versions
-- Gives a service's versions their days anew. The days before the first start are the first version's. Each row
-- that changed tells since which day.
UPDATE price_versions version SET first_day = days.first_day, end_day = days.end_day
  FROM (
    SELECT price_version_id, first_day AS first_day_before, end_day AS end_day_before,
           CASE WHEN canceled_at IS NOT NULL THEN NULL
                WHEN row_number() OVER starts = 1 THEN '-infinity'
                ELSE (starts_at AT TIME ZONE 'UTC')::date END AS first_day,
           CASE WHEN canceled_at IS NOT NULL THEN NULL
                ELSE lead((starts_at AT TIME ZONE 'UTC')::date, 1, 'infinity') OVER starts END AS end_day
      FROM price_versions
     WHERE service_id = :service_id
    WINDOW starts AS (PARTITION BY canceled_at IS NULL ORDER BY starts_at, price_version_id)
  ) AS days
 WHERE version.price_version_id = days.price_version_id
   AND (version.first_day, version.end_day) IS DISTINCT FROM (days.first_day, days.end_day)
RETURNING CASE WHEN days.first_day_before = days.first_day THEN least(days.end_day_before, days.end_day)
               ELSE least(days.first_day_before, days.first_day) END AS changed_from;

-- name: mark_users_of_service
-- What its usage from a day on comes to may be another thing now.
INSERT INTO draft_marks (merchant_id, consumer_id, month)
SELECT DISTINCT merchant_id, consumer_id, to_char(day, 'YYYY-MM')
  FROM usage_counters
 WHERE service_id = :service_id AND day >= :since::date AND charge_class <> 'uncharged';

-- name: mark_open_users_of_service
-- Drafts that name it, and those that waited for its name.
INSERT INTO draft_marks (merchant_id, consumer_id, month)
SELECT i.merchant_id, i.consumer_id, l.month
  FROM invoices i JOIN invoice_lines l USING (invoice_id)
 WHERE i.status = 'draft' AND l.service_id = :service_id
   AND i.merchant_id = (SELECT merchant_id FROM services WHERE service_id = :service_id)
UNION
SELECT p.merchant_id, p.consumer_id, m.month
  FROM rating_problems p JOIN open_months m USING (merchant_id, consumer_id)
 WHERE p.service_id = :service_id;

-- name: raise_counters
-- One row per counter: the arguments hold no group twice. A total that raises nothing marks nothing.
WITH raised AS (
    INSERT INTO usage_counters AS held (
        day, merchant_id, consumer_id, project_id, api_key_id, service_id, charge_class,
        events, requests, request_bytes, response_bytes, last_offsets
    )
    SELECT * FROM unnest(
        :days::date[], :merchant_ids::uuid[], :consumer_ids::uuid[], :project_ids::uuid[],
        :api_key_ids::uuid[], :service_ids::uuid[], :charge_classes::text[], :events::bigint[],
        :requests::bigint[], :request_bytes::bigint[], :response_bytes::bigint[], :last_offsets::text[]::jsonb[]
    )
    ON CONFLICT (consumer_id, day, merchant_id, service_id, api_key_id, project_id, charge_class)
    DO UPDATE
        SET events = greatest(held.events, excluded.events),
            requests = greatest(held.requests, excluded.requests),
            request_bytes = greatest(held.request_bytes, excluded.request_bytes),
            response_bytes = greatest(held.response_bytes, excluded.response_bytes),
            last_offsets = CASE WHEN held.events <= excluded.events THEN excluded.last_offsets
                                ELSE held.last_offsets END
        WHERE held.events < excluded.events
           OR held.requests < excluded.requests
           OR held.request_bytes < excluded.request_bytes
           OR held.response_bytes < excluded.response_bytes
           OR (held.events = excluded.events AND held.last_offsets <> excluded.last_offsets)
    RETURNING merchant_id, consumer_id, day, charge_class
)
INSERT INTO draft_marks (merchant_id, consumer_id, month)
SELECT DISTINCT merchant_id, consumer_id, to_char(day, 'YYYY-MM') FROM raised
 WHERE charge_class <> 'uncharged';

-- fragment: rated_usage
-- Usage by price version and charge class, of the days `wanted`, which are of one month.
SELECT c.merchant_id, c.consumer_id, c.service_id, s.name AS service_name,
       to_char(wanted.first_day, 'YYYY-MM') AS month, p.price_version_id, p.price::text AS price,
       greatest(wanted.first_day, p.first_day) AS first_day, least(wanted.last_day, p.end_day - 1) AS last_day,
       c.charge_class, sum(c.requests)::bigint AS requests, sum(c.request_bytes)::bigint AS request_bytes,
       sum(c.response_bytes)::bigint AS response_bytes

-- fragment: with_prices
  LEFT JOIN services s ON s.service_id = c.service_id
  LEFT JOIN price_versions p
    ON p.service_id = c.service_id AND c.day >= p.first_day AND c.day < p.end_day
 WHERE c.charge_class <> 'uncharged'

-- fragment: by_price_version
 GROUP BY c.merchant_id, c.consumer_id, c.service_id, s.service_id, wanted.first_day, wanted.last_day,
          p.price_version_id, c.charge_class

-- fragment: wanted_pairs
  FROM unnest(:merchant_ids::uuid[], :consumer_ids::uuid[], :first_days::date[], :last_days::date[])
       AS wanted (merchant_id, consumer_id, first_day, last_day)
  JOIN usage_counters c
    ON c.consumer_id = wanted.consumer_id AND c.merchant_id = wanted.merchant_id
   AND c.day BETWEEN wanted.first_day AND wanted.last_day

-- name: list_usage
{rated_usage}
{wanted_pairs}
{with_prices}
{by_price_version};

-- name: list_usage_with_counters
-- Also which counters it is summed from, and what each holds at this moment.
{rated_usage},
       array_agg(c.counter_id ORDER BY c.counter_id) AS counter_ids,
       array_agg(c.events ORDER BY c.counter_id) AS counter_events,
       array_agg(c.requests ORDER BY c.counter_id) AS counter_requests,
       array_agg(c.request_bytes ORDER BY c.counter_id) AS counter_request_bytes,
       array_agg(c.response_bytes ORDER BY c.counter_id) AS counter_response_bytes,
       array_agg(c.last_offsets::text ORDER BY c.counter_id) AS counter_last_offsets
{wanted_pairs}
{with_prices}
{by_price_version};

-- name: list_payers_of_project
SELECT DISTINCT consumer_id FROM usage_counters
 WHERE project_id = :project_id AND day BETWEEN :first_day::date AND :last_day::date;

-- name: list_usage_of_merchant
-- Of all consumers.
{rated_usage}
  FROM (SELECT :first_day::date AS first_day, :last_day::date AS last_day) AS wanted
  JOIN usage_counters c
    ON c.merchant_id = :merchant_id AND c.day BETWEEN wanted.first_day AND wanted.last_day
{with_prices}
{by_price_version};

-- name: list_consumers_in_month
SELECT DISTINCT consumer_id FROM usage_counters
 WHERE merchant_id = :merchant_id AND day BETWEEN :first_day AND :last_day;

-- name: list_usage_of_keys
-- By consumer, key and project, of all merchants or one; by day in months of which not all days are wanted.
{rated_usage},
       c.api_key_id, c.project_id, CASE WHEN wanted.by_day THEN c.day END AS day
  FROM unnest(:first_days::date[], :last_days::date[], :by_days::boolean[]) AS wanted (first_day, last_day, by_day)
  JOIN usage_counters c
    ON c.consumer_id = ANY(:consumer_ids::uuid[]) AND c.day BETWEEN wanted.first_day AND wanted.last_day
   AND (:merchant_id::uuid IS NULL OR c.merchant_id = :merchant_id)
   AND (:service_id::uuid IS NULL OR c.service_id = :service_id)
{with_prices}
{by_price_version}, c.api_key_id, c.project_id, CASE WHEN wanted.by_day THEN c.day END;

-- name: list_consumers_of_merchant
SELECT DISTINCT consumer_id FROM usage_counters WHERE merchant_id = :merchant_id;

-- name: lock_merchant
-- Whoever makes, issues or corrects a merchant's invoices keeps others away until its transaction ends. What it
-- reads afterwards is what they have committed.
SELECT pg_advisory_xact_lock(hashtextextended('invoices of ' || :merchant_id::uuid, 0));

-- name: lock_idle_merchants
-- Those of the merchants whom nobody has locked, locked now.
SELECT merchant_id FROM unnest(:merchant_ids::uuid[]) AS merchant_id
 WHERE pg_try_advisory_xact_lock(hashtextextended('invoices of ' || merchant_id, 0));

-- name: list_marked_pairs
SELECT DISTINCT merchant_id, consumer_id FROM draft_marks
 WHERE merchant_id <> ALL(:busy_merchant_ids::uuid[])
 LIMIT :limit::bigint;

-- name: take_marks
DELETE FROM draft_marks marks
 USING unnest(:merchant_ids::uuid[], :consumer_ids::uuid[]) AS pair (merchant_id, consumer_id)
 WHERE marks.merchant_id = pair.merchant_id AND marks.consumer_id = pair.consumer_id
RETURNING marks.merchant_id, marks.consumer_id, marks.month;

-- name: add_marks
INSERT INTO draft_marks (merchant_id, consumer_id, month)
SELECT * FROM unnest(:merchant_ids::uuid[], :consumer_ids::uuid[], :months::text[]);

-- name: add_open_months
INSERT INTO open_months (merchant_id, consumer_id, month)
SELECT DISTINCT * FROM unnest(:merchant_ids::uuid[], :consumer_ids::uuid[], :months::text[])
ON CONFLICT DO NOTHING;

-- name: close_months
DELETE FROM open_months months
 USING unnest(:merchant_ids::uuid[], :consumer_ids::uuid[], :months::text[]) AS closed
                                                                      (merchant_id, consumer_id, month)
 WHERE months.merchant_id = closed.merchant_id AND months.consumer_id = closed.consumer_id
   AND months.month = closed.month;

-- name: list_open_months
SELECT DISTINCT merchant_id, consumer_id, month
  FROM open_months JOIN unnest(:merchant_ids::uuid[], :consumer_ids::uuid[]) AS pair (merchant_id, consumer_id)
       USING (merchant_id, consumer_id);

-- name: list_open_consumers
-- Who may have something open with a merchant, in order; a null list stands for all consumers.
SELECT consumer_id FROM (
    SELECT consumer_id FROM open_months WHERE merchant_id = :merchant_id
    UNION
    SELECT consumer_id FROM draft_marks WHERE merchant_id = :merchant_id
) AS consumers
 WHERE (:consumer_ids::uuid[] IS NULL OR consumer_id = ANY(:consumer_ids))
 ORDER BY consumer_id;

-- fragment: invoices_of_pair
-- OFFSET keeps it a look-up for each: a plan made while few were issued would read all of them, every time.
CROSS JOIN LATERAL (
    SELECT * FROM invoices WHERE merchant_id = wanted.merchant_id AND consumer_id = wanted.consumer_id OFFSET 0
  ) AS i

-- fragment: is_in_force
i.kind = 'invoice' AND i.status IN ('issued', 'paid', 'overdue')

-- name: list_billed
-- What the invoices in force have billed of each key in the months, as the last of them says it.
SELECT DISTINCT ON (i.merchant_id, i.consumer_id, l.service_id, l.month, l.price_version_id, l.component)
       i.merchant_id, i.consumer_id, i.currency, l.service_id, l.service_name, l.price_version_id, l.month,
       l.first_day, l.last_day, l.component, l.meter, l.description, l.quantity, l.rated_amount,
       l.requests, l.request_bytes, l.response_bytes,
       sum(l.amount) OVER (
           PARTITION BY i.merchant_id, i.consumer_id, l.service_id, l.month, l.price_version_id, l.component
       ) AS billed
  FROM unnest(:merchant_ids::uuid[], :consumer_ids::uuid[], :months::text[])
       AS wanted (merchant_id, consumer_id, month)
  {invoices_of_pair}
  JOIN invoice_lines l ON l.invoice_id = i.invoice_id AND l.month = wanted.month
 WHERE {is_in_force}
 ORDER BY i.merchant_id, i.consumer_id, l.service_id, l.month, l.price_version_id, l.component, i.sequence DESC;

-- name: list_billed_through
SELECT i.merchant_id, i.consumer_id, i.currency, max(i.last_day) AS last_day
  FROM unnest(:merchant_ids::uuid[], :consumer_ids::uuid[]) AS wanted (merchant_id, consumer_id)
  {invoices_of_pair}
 WHERE {is_in_force}
 GROUP BY i.merchant_id, i.consumer_id, i.currency;

-- name: list_merchant_names
SELECT merchant_id, display_name FROM merchants WHERE merchant_id = ANY(:merchant_ids::uuid[]);

-- name: list_drafts
SELECT i.merchant_id, i.consumer_id, i.currency, i.invoice_id, i.created_at
  FROM unnest(:merchant_ids::uuid[], :consumer_ids::uuid[]) AS wanted (merchant_id, consumer_id)
  {invoices_of_pair}
 WHERE i.status = 'draft' AND i.kind = 'invoice';

-- name: delete_draft_lines
DELETE FROM invoice_lines WHERE invoice_id = ANY(:invoice_ids::uuid[]);

-- name: delete_drafts
DELETE FROM invoices WHERE invoice_id = ANY(:invoice_ids::uuid[]);

-- name: replace_rating_problems
WITH gone AS (
    DELETE FROM rating_problems problems
     USING unnest(:merchant_ids::uuid[], :consumer_ids::uuid[]) AS pair (merchant_id, consumer_id)
     WHERE problems.merchant_id = pair.merchant_id AND problems.consumer_id = pair.consumer_id
       AND NOT (problems.service_id = ANY(:problem_service_ids::uuid[])
                AND problems.consumer_id = ANY(:problem_consumer_ids::uuid[]))
)
INSERT INTO rating_problems (merchant_id, consumer_id, service_id, code)
SELECT * FROM unnest(
    :problem_merchant_ids::uuid[], :problem_consumer_ids::uuid[], :problem_service_ids::uuid[],
    :problem_codes::text[]
)
ON CONFLICT (merchant_id, consumer_id, service_id) DO UPDATE SET code = excluded.code;

-- name: count_rating_problems
SELECT count(DISTINCT (merchant_id, consumer_id))::integer FROM rating_problems;

-- name: take_numbers
-- The last of `count` numbers that follow the merchant's last; nobody else gets one before the commit.
INSERT INTO invoice_numbers AS numbers (merchant_id, kind, last_sequence)
VALUES (:merchant_id, :kind, :count)
ON CONFLICT (merchant_id, kind) DO UPDATE SET last_sequence = numbers.last_sequence + excluded.last_sequence
RETURNING last_sequence;

-- name: issue_drafts
UPDATE invoices
   SET status = 'issued', sequence = given.sequence, number = given.number, issued_at = :issued_at::timestamptz,
       updated_at = :issued_at, due_on = given.due_on, sent_at = given.sent_at
  FROM unnest(:invoice_ids::uuid[], :sequences::bigint[], :numbers::text[], :due_ons::date[],
              :sent_ats::timestamptz[]) AS given (invoice_id, sequence, number, due_on, sent_at)
 WHERE invoices.invoice_id = given.invoice_id;

-- name: add_invoice_usage
-- Of each counter what no invoice has had yet.
INSERT INTO invoice_usage (
    invoice_id, counter_id, after_events, last_events, last_offsets, requests, request_bytes, response_bytes
)
SELECT counted.invoice_id, counted.counter_id, COALESCE(had.last_events, 0), counted.events, counted.last_offsets,
       counted.requests - COALESCE(had.requests, 0),
       counted.request_bytes - COALESCE(had.request_bytes, 0),
       counted.response_bytes - COALESCE(had.response_bytes, 0)
  FROM unnest(
    :invoice_ids::uuid[], :counter_ids::bigint[], :events::bigint[], :requests::bigint[],
    :request_bytes::bigint[], :response_bytes::bigint[], :last_offsets::text[]::jsonb[]
  ) AS counted (invoice_id, counter_id, events, requests, request_bytes, response_bytes, last_offsets)
  LEFT JOIN LATERAL (
    SELECT max(last_events) AS last_events, sum(requests)::bigint AS requests,
           sum(request_bytes)::bigint AS request_bytes, sum(response_bytes)::bigint AS response_bytes
      FROM invoice_usage WHERE counter_id = counted.counter_id AND rebilled_by IS NULL
  ) AS had ON true
 WHERE counted.events > COALESCE(had.last_events, 0);

-- name: add_invoice_prices
-- `first_days`: of the months that are billed, on which a version is in force. A service's first holds before its start.
INSERT INTO invoice_prices (invoice_id, price_version_id, starts_on)
SELECT used.invoice_id, used.price_version_id,
       min(least(used.first_day, (p.starts_at AT TIME ZONE 'UTC')::date))
  FROM unnest(:invoice_ids::uuid[], :price_version_ids::uuid[], :first_days::date[])
       AS used (invoice_id, price_version_id, first_day)
  JOIN price_versions p USING (price_version_id)
 GROUP BY used.invoice_id, used.price_version_id;

-- name: add_invoice_roots
-- They have no digest of their roots yet.
INSERT INTO invoice_roots (invoice_id, merchant_id) SELECT unnest(:invoice_ids::uuid[]), :merchant_id::uuid;

-- name: rebill_usage
-- What void invoices had of these counters goes to the invoices that bill it anew.
WITH taken AS (
    UPDATE invoice_usage was SET rebilled_by = now_on.invoice_id
      FROM unnest(:invoice_ids::uuid[], :counter_ids::bigint[]) AS now_on (invoice_id, counter_id)
     WHERE was.counter_id = now_on.counter_id AND was.rebilled_by IS NULL
       AND was.invoice_id = ANY(:void_invoice_ids::uuid[])
    RETURNING was.*
)
INSERT INTO invoice_usage (
    invoice_id, counter_id, after_events, last_events, last_offsets, requests, request_bytes, response_bytes
)
SELECT rebilled_by, counter_id, after_events, last_events, last_offsets, requests, request_bytes, response_bytes
  FROM taken;

-- name: list_void_invoices
SELECT invoice_id FROM invoices
 WHERE merchant_id = :merchant_id AND consumer_id = ANY(:consumer_ids::uuid[]) AND status = 'void';

-- name: list_months_of_invoice
SELECT DISTINCT month FROM invoice_lines WHERE invoice_id = :invoice_id AND month IS NOT NULL;

-- fragment: invoice_columns
invoice_id, kind, status, number, merchant_id, merchant_name, consumer_id, first_day, last_day, currency,
       subtotal, commission_rate, commission, total, created_at, updated_at, issued_at, due_on, paid_at, sent_at,
       corrects_invoice_id, reason,
       COALESCE((SELECT sum(credit.subtotal) FROM invoices credit
                  WHERE credit.corrects_invoice_id = invoices.invoice_id AND credit.kind = 'credit_note'), 0) AS credited,
       (SELECT number FROM invoices corrected
         WHERE corrected.invoice_id = invoices.corrects_invoice_id) AS corrects_number,
       (SELECT jsonb_agg(jsonb_build_array(note.invoice_id, note.number, note.issued_at, note.subtotal::text, note.reason)
                         ORDER BY note.sequence)
          FROM invoices note
         WHERE note.corrects_invoice_id = invoices.invoice_id AND note.status <> 'draft')::text AS credit_notes

-- name: find_invoice
-- One that the caller owns in a role that they hold; the ids of other roles are null. A consumer's isn't a draft.
SELECT {invoice_columns}
  FROM invoices
 WHERE invoice_id = :invoice_id
   AND (:is_admin::boolean OR merchant_id = :merchant_id::uuid
        OR (consumer_id = :consumer_id::uuid AND status <> 'draft'));

-- name: find_credited
-- What has been credited of an invoice so far, and of its commission.
SELECT COALESCE(sum(subtotal), 0) AS subtotal, COALESCE(sum(commission), 0) AS commission
  FROM invoices WHERE corrects_invoice_id = :invoice_id AND kind = 'credit_note';

-- name: set_status
UPDATE invoices SET status = :status, paid_at = :paid_at, updated_at = :now WHERE invoice_id = :invoice_id;

-- name: set_sent
UPDATE invoices SET sent_at = :now, updated_at = :now WHERE invoice_id = :invoice_id;

-- name: set_overdue
-- What was credited wholly is due no more.
UPDATE invoices SET status = 'overdue', updated_at = :now
 WHERE invoice_id IN (
    SELECT invoice_id FROM invoices late
     WHERE kind = 'invoice' AND status = 'issued' AND due_on < :today
       AND subtotal > COALESCE((SELECT sum(credit.subtotal) FROM invoices credit
                                 WHERE credit.corrects_invoice_id = late.invoice_id), 0)
     ORDER BY due_on LIMIT :limit::bigint FOR UPDATE SKIP LOCKED
 )
RETURNING invoice_id;

-- name: list_lines
SELECT l.invoice_id, l.kind, l.description, l.amount, l.service_id, l.service_name, l.price_version_id, l.month,
       l.first_day, l.last_day, l.component, l.meter, l.quantity,
       CASE WHEN :with_steps::boolean THEN l.steps::text ELSE '[]' END AS steps,
       l.rated_amount, l.billed_before, l.requests, l.request_bytes, l.response_bytes
  FROM invoice_lines l
 WHERE l.invoice_id = ANY(:invoice_ids::uuid[])
 ORDER BY l.invoice_id, l.position;

-- name: plan_for_values
-- For lists with filters: a plan for any values takes a filter that is off for a narrow one.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true);

-- fragment: invoices_with_key
SELECT {invoice_columns}, {key}
  FROM invoices
 WHERE (:first_day::date IS NULL OR last_day BETWEEN :first_day AND :last_day::date)
   AND (:status = '' OR status = :status)
   AND (:kind = '' OR kind = :kind) AND {after}

-- fragment: in_order
 ORDER BY {order}
 LIMIT :limit::bigint

-- name: list_invoices
-- Of all merchants. Amounts of different currencies can't be compared: the currency comes first; in another collation than
-- below, which sorts currencies alike, for its index must not be taken for one merchant's list: the planner believes that
-- hardly any row follows one of the most frequent currency.
-- order created_at desc: timestamptz created_at, uuid invoice_id
-- order last_day: numeric (last_day - DATE '2000-01-01')::numeric, uuid invoice_id
-- order total: text currency COLLATE "C", numeric total, uuid invoice_id
{invoices_with_key}
   AND (:consumer_id::uuid IS NULL OR consumer_id = :consumer_id)
{in_order};

-- name: list_merchant_invoices
-- order created_at desc: timestamptz created_at, uuid invoice_id
-- order last_day: numeric (last_day - DATE '2000-01-01')::numeric, uuid invoice_id
-- order total: text currency COLLATE pg_c_utf8, numeric total, uuid invoice_id
{invoices_with_key}
   AND merchant_id = :merchant_id
   AND (:consumer_ids::uuid[] IS NULL OR consumer_id = ANY(:consumer_ids))
{in_order};

-- name: list_consumer_invoices
-- What a consumer owes is the subtotal: the total less the commission is in nothing that it gets, nor in its page tokens.
-- order created_at desc: timestamptz created_at, uuid invoice_id
-- order last_day: numeric (last_day - DATE '2000-01-01')::numeric, uuid invoice_id
-- order total: text currency COLLATE pg_c_utf8, numeric subtotal, uuid invoice_id
{invoices_with_key}
   AND consumer_id = :consumer_id AND status <> 'draft'
   AND (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
{in_order};

-- name: list_issued
-- What a merchant issued in a span of time, by number; for its statement.
SELECT {invoice_columns}
  FROM invoices
 WHERE merchant_id = :merchant_id AND status <> 'draft'
   AND issued_at >= :since::timestamptz AND issued_at < :until::timestamptz
 ORDER BY kind DESC, sequence
 LIMIT :limit::bigint;

-- name: sum_issued
-- By currency: invoices less credit notes.
SELECT currency, sum(sign * subtotal) AS gross, sum(sign * commission) AS commission, sum(sign * total) AS net
  FROM (SELECT *, CASE kind WHEN 'invoice' THEN 1 ELSE -1 END AS sign FROM invoices) AS invoices
 WHERE merchant_id = :merchant_id AND status <> 'draft'
   AND issued_at >= :since::timestamptz AND issued_at < :until::timestamptz
 GROUP BY currency ORDER BY currency;

-- name: find_merchant_name
SELECT display_name FROM merchants WHERE merchant_id = :merchant_id;

-- name: add_run
-- No row comes back when the calendar has begun that month's already.
INSERT INTO invoice_runs (
    invoice_run_id, last_day, merchant_id, consumer_ids, is_monthly, asked_by, is_of_merchant, created_at
)
VALUES (
    :invoice_run_id, :last_day, :merchant_id, :consumer_ids, :is_monthly, :asked_by, :is_of_merchant, :created_at
)
ON CONFLICT (last_day) WHERE is_monthly DO NOTHING
RETURNING invoice_run_id;

-- fragment: run_columns
invoice_run_id, last_day, status, is_monthly, created_at, finished_at,
       (SELECT count(*) FROM invoice_run_merchants m WHERE m.invoice_run_id = runs.invoice_run_id) AS merchants,
       (SELECT count(*) FROM invoice_run_merchants m
         WHERE m.invoice_run_id = runs.invoice_run_id AND m.is_done) AS merchants_done,
       (SELECT COALESCE(sum(m.invoices), 0)::bigint FROM invoice_run_merchants m
         WHERE m.invoice_run_id = runs.invoice_run_id) AS invoices

-- name: find_run
-- A null asker stands for an admin, who sees all.
SELECT {run_columns} FROM invoice_runs runs
 WHERE invoice_run_id = :invoice_run_id
   AND (:asked_by::uuid IS NULL OR (asked_by = :asked_by AND is_of_merchant));

-- name: find_monthly_run
SELECT {run_columns} FROM invoice_runs runs WHERE last_day = :last_day AND is_monthly;

-- name: list_runs
-- order created_at desc: timestamptz created_at, uuid invoice_run_id
SELECT {run_columns}, {key} FROM invoice_runs runs
 WHERE (:asked_by::uuid IS NULL OR (asked_by = :asked_by AND is_of_merchant)) AND {after}
 ORDER BY {order}
 LIMIT :limit::bigint;

-- name: list_run_problems
SELECT invoice_run_id, merchant_id, consumer_id, service_id, code, message FROM invoice_run_problems
 WHERE invoice_run_id = ANY(:invoice_run_ids::uuid[])
 ORDER BY invoice_run_id, merchant_id, consumer_id, service_id
 LIMIT :limit::bigint;

-- name: list_unfinished_runs
SELECT invoice_run_id, last_day, merchant_id, consumer_ids FROM invoice_runs
 WHERE finished_at IS NULL ORDER BY created_at, invoice_run_id;

-- name: begin_run
-- No row comes back when another process has begun it.
UPDATE invoice_runs SET status = 'running' WHERE invoice_run_id = :invoice_run_id AND status = 'waiting'
RETURNING invoice_run_id;

-- name: add_run_merchants
INSERT INTO invoice_run_merchants (invoice_run_id, merchant_id)
SELECT :invoice_run_id::uuid, merchant_id FROM (
    SELECT merchant_id, consumer_id FROM open_months UNION SELECT merchant_id, consumer_id FROM draft_marks
) AS open
 WHERE (:merchant_id::uuid IS NULL OR merchant_id = :merchant_id)
   AND (:consumer_ids::uuid[] IS NULL OR consumer_id = ANY(:consumer_ids))
 GROUP BY merchant_id;

-- name: analyze_invoices
-- Plans that were made for other months' figures must not be kept.
ANALYZE usage_counters, invoices, invoice_lines, invoice_usage, open_months, draft_marks;

-- name: take_run_merchant
SELECT merchant_id FROM invoice_run_merchants
 WHERE invoice_run_id = :invoice_run_id AND NOT is_done
 ORDER BY merchant_id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: finish_run_merchant
UPDATE invoice_run_merchants SET is_done = true, invoices = :invoices
 WHERE invoice_run_id = :invoice_run_id AND merchant_id = :merchant_id AND NOT is_done;

-- name: add_run_problems
INSERT INTO invoice_run_problems (invoice_run_id, merchant_id, consumer_id, service_id, code, message)
SELECT :invoice_run_id::uuid, * FROM unnest(
    :merchant_ids::uuid[], :consumer_ids::uuid[], :service_ids::uuid[], :codes::text[], :messages::text[]
);

-- name: finish_run
UPDATE invoice_runs runs
   SET finished_at = :now::timestamptz,
       status = CASE WHEN EXISTS (SELECT FROM invoice_run_problems p WHERE p.invoice_run_id = runs.invoice_run_id)
                     THEN 'incomplete' ELSE 'done' END
 WHERE invoice_run_id = :invoice_run_id AND status = 'running'
   AND NOT EXISTS (SELECT FROM invoice_run_merchants m
                    WHERE m.invoice_run_id = runs.invoice_run_id AND NOT m.is_done);

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
