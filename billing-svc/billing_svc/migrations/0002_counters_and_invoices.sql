-- Totals that only grow take the place of deltas, prices are of any model, and invoices have a life. Nothing is
-- carried over: there has been no production yet.
DROP TABLE invoice_lines, invoices, billing_counters, applied_deltas, price_versions;
DROP FUNCTION check_invoice();

-- Projection of identity.events: what invoices are headed with.
CREATE TABLE merchants (
    merchant_id uuid PRIMARY KEY,
    display_name text NOT NULL,
    standing_version bigint NOT NULL
);

-- Projection of catalog.events. No reference to services: a price may arrive first.
CREATE TABLE price_versions (
    price_version_id uuid PRIMARY KEY,
    service_id uuid NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    price jsonb NOT NULL,          -- as ams_rating.price_json writes it
    starts_at timestamptz NOT NULL,
    canceled_at timestamptz,
    -- The UTC days whose usage it prices: from first_day, before end_day. Null for one that was canceled. Of a
    -- service they have no gap and no overlap: the first version's begin at -infinity, the last one's end at infinity.
    first_day date,
    end_day date,
    CHECK ((first_day IS NULL) = (end_day IS NULL) AND first_day <= end_day)
);
CREATE INDEX price_versions_by_service ON price_versions (service_id, first_day);

-- What usage.aggregated has told so far of each group: the greatest of all totals, so that reading again changes
-- nothing. Rows are never deleted: invoice_usage refers to them.
CREATE TABLE usage_counters (
    counter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,          -- "<incarnation of usage.events>/<partition>"
    day date NOT NULL,             -- UTC
    merchant_id uuid NOT NULL,
    consumer_id uuid NOT NULL,
    project_id uuid,               -- null for none
    api_key_id uuid NOT NULL,
    service_id uuid NOT NULL,
    charge_class text NOT NULL CHECK (charge_class IN ('served', 'client_error', 'abandoned', 'uncharged')),
    requests bigint NOT NULL CHECK (requests >= 0),
    request_bytes bigint NOT NULL CHECK (request_bytes >= 0),
    response_bytes bigint NOT NULL CHECK (response_bytes >= 0),
    last_offset bigint NOT NULL CHECK (last_offset >= 0)
);
-- Also how a consumer's usage is found, and a pair's.
CREATE UNIQUE INDEX usage_counters_by_group ON usage_counters (
    consumer_id, day, merchant_id, service_id, api_key_id, project_id, charge_class, source
) NULLS NOT DISTINCT;
CREATE INDEX usage_counters_by_merchant ON usage_counters (merchant_id, day);
CREATE INDEX usage_counters_by_service ON usage_counters (service_id, day);

-- Whose draft has to be made anew, for which month's sake: added by whatever changes what it says, in the same
-- transaction. Only added to, so that nobody who counts usage waits for somebody who makes invoices.
CREATE TABLE draft_marks (
    mark_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant_id uuid NOT NULL,
    consumer_id uuid NOT NULL,
    month text NOT NULL CHECK (month ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$')
);
CREATE INDEX draft_marks_by_merchant ON draft_marks (merchant_id, consumer_id);

-- The months that have, or had when it was last looked at, something that no invoice says yet. Changed under the
-- merchant's lock only.
CREATE TABLE open_months (
    merchant_id uuid NOT NULL,
    consumer_id uuid NOT NULL,
    month text NOT NULL CHECK (month ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$'),
    PRIMARY KEY (merchant_id, consumer_id, month)
);

-- Usage that can't be rated, and so blocks its consumer's invoice of that merchant: see the alarm in docs/billing.md.
CREATE TABLE rating_problems (
    merchant_id uuid NOT NULL,
    consumer_id uuid NOT NULL,
    service_id uuid NOT NULL,
    code text NOT NULL CHECK (code IN ('price_unknown', 'service_unknown')),
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (merchant_id, consumer_id, service_id)
);

CREATE TABLE invoice_runs (
    invoice_run_id uuid PRIMARY KEY,
    last_day date NOT NULL,
    merchant_id uuid,              -- null: all merchants
    consumer_ids uuid[],           -- null: all consumers
    is_monthly boolean NOT NULL,
    asked_by uuid,                 -- null: the calendar or an operator
    is_of_merchant boolean NOT NULL DEFAULT false,  -- a merchant asked, not an admin
    status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'done', 'incomplete')),
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK ((status IN ('done', 'incomplete')) = (finished_at IS NOT NULL))
);
CREATE INDEX invoice_runs_in_order ON invoice_runs (created_at, invoice_run_id);
CREATE INDEX invoice_runs_by_asker ON invoice_runs (asked_by, created_at, invoice_run_id);
CREATE INDEX invoice_runs_unfinished ON invoice_runs (created_at) WHERE finished_at IS NULL;
-- However many processes look at the calendar, a month's run begins once.
CREATE UNIQUE INDEX invoice_runs_of_calendar ON invoice_runs (last_day) WHERE is_monthly;

CREATE TABLE invoice_run_merchants (
    invoice_run_id uuid NOT NULL REFERENCES invoice_runs,
    merchant_id uuid NOT NULL,
    is_done boolean NOT NULL DEFAULT false,
    invoices integer NOT NULL DEFAULT 0,
    PRIMARY KEY (invoice_run_id, merchant_id)
);
CREATE INDEX invoice_run_merchants_waiting ON invoice_run_merchants (invoice_run_id, merchant_id) WHERE NOT is_done;

CREATE TABLE invoice_run_problems (
    invoice_run_id uuid NOT NULL REFERENCES invoice_runs,
    merchant_id uuid NOT NULL,
    consumer_id uuid,              -- null: the merchant's all
    service_id uuid,
    code text NOT NULL,
    message text NOT NULL
);
CREATE INDEX invoice_run_problems_by_run ON invoice_run_problems (invoice_run_id);

-- The number that was given last; its row is locked by whoever gives the next, until that commits.
CREATE TABLE invoice_numbers (
    merchant_id uuid NOT NULL,
    kind text NOT NULL,
    last_sequence bigint NOT NULL CHECK (last_sequence >= 1),
    PRIMARY KEY (merchant_id, kind)
);

CREATE TABLE invoices (
    invoice_id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('invoice', 'credit_note')),
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'issued', 'paid', 'overdue', 'void')),
    merchant_id uuid NOT NULL,
    merchant_name text NOT NULL,
    consumer_id uuid NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL CHECK (first_day <= last_day),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    minor_unit_digits smallint NOT NULL CHECK (minor_unit_digits BETWEEN 0 AND 4),
    subtotal numeric NOT NULL CHECK (subtotal >= 0 AND subtotal = round(subtotal, minor_unit_digits)),
    commission_rate numeric(7, 6) NOT NULL CHECK (commission_rate >= 0 AND commission_rate < 1),
    commission numeric NOT NULL CHECK (commission >= 0 AND commission = round(commission, minor_unit_digits)),
    total numeric NOT NULL CHECK (total >= 0 AND subtotal - commission = total),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    sequence bigint CHECK (sequence >= 1),
    number text NOT NULL DEFAULT '',
    issued_at timestamptz,
    due_on date,                   -- null where nothing is to be paid
    paid_at timestamptz,
    sent_at timestamptz,
    corrects_invoice_id uuid REFERENCES invoices,
    reason text NOT NULL DEFAULT '',
    UNIQUE (merchant_id, kind, sequence),
    CHECK ((status = 'draft') = (sequence IS NULL)),
    CHECK ((status = 'draft') = (number = '')),
    CHECK ((status = 'draft') = (issued_at IS NULL)),
    CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
    CHECK ((kind = 'credit_note') = (corrects_invoice_id IS NOT NULL)),
    CHECK (kind = 'invoice' OR status IN ('draft', 'issued'))
);
CREATE UNIQUE INDEX invoices_one_draft ON invoices (merchant_id, consumer_id, currency)
    WHERE status = 'draft' AND kind = 'invoice';
CREATE INDEX invoices_in_order ON invoices (created_at, invoice_id);
CREATE INDEX invoices_by_merchant ON invoices (merchant_id, created_at, invoice_id);
CREATE INDEX invoices_by_consumer ON invoices (consumer_id, created_at, invoice_id);
CREATE INDEX invoices_by_corrected ON invoices (corrects_invoice_id) WHERE kind = 'credit_note';
CREATE INDEX invoices_by_issue ON invoices (merchant_id, issued_at) WHERE status <> 'draft';
CREATE INDEX invoices_due ON invoices (due_on) WHERE status = 'issued' AND kind = 'invoice';

CREATE TABLE invoice_lines (
    invoice_id uuid NOT NULL REFERENCES invoices,
    position integer NOT NULL CHECK (position >= 1),
    kind text NOT NULL CHECK (kind IN ('usage', 'adjustment', 'credit')),
    description text NOT NULL,
    amount numeric NOT NULL,
    -- The rest is null for a credit.
    service_id uuid,
    service_name text,
    price_version_id uuid,
    month text CHECK (month ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$'),
    first_day date,
    last_day date,
    component smallint CHECK (component >= 0),
    meter text,                    -- null also for a monthly fee
    -- What the whole month's usage under this price version comes to so far, as it was rated.
    quantity numeric CHECK (quantity >= 0),
    steps jsonb,
    rated_amount numeric CHECK (rated_amount >= 0),
    billed_before numeric,
    -- The charged usage that was rated, of all components alike.
    requests bigint CHECK (requests >= 0),
    request_bytes bigint CHECK (request_bytes >= 0),
    response_bytes bigint CHECK (response_bytes >= 0),
    PRIMARY KEY (invoice_id, position),
    CHECK (kind = 'credit' OR (amount = rated_amount - billed_before) IS TRUE),
    CHECK (kind = 'credit' OR num_nulls(
        service_id, service_name, price_version_id, month, first_day, last_day, component, quantity, steps,
        requests, request_bytes, response_bytes) = 0),
    CHECK (kind <> 'usage' OR billed_before = 0)
);

-- The exact usage behind an issued invoice: of each counter the events of its group and source with an offset above
-- after_offset, up to and with last_offset, and what they come to. Each event is in one row that has not been billed
-- anew. Without references: checking them took longer than the monthly run (see invariants.sql instead).
CREATE TABLE invoice_usage (
    invoice_id uuid NOT NULL,
    counter_id bigint NOT NULL,
    after_offset bigint NOT NULL CHECK (after_offset >= -1),
    last_offset bigint NOT NULL CHECK (last_offset > after_offset),
    requests bigint NOT NULL CHECK (requests >= 0),
    request_bytes bigint NOT NULL CHECK (request_bytes >= 0),
    response_bytes bigint NOT NULL CHECK (response_bytes >= 0),
    -- The invoice that took the row over when this row's invoice was void.
    rebilled_by uuid,
    PRIMARY KEY (counter_id, invoice_id, after_offset)
);
CREATE INDEX invoice_usage_by_invoice ON invoice_usage (invoice_id);

-- An issued invoice never changes: what happens to it afterwards is its status and when.
CREATE FUNCTION refuse_invoice_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (to_jsonb(OLD) - '{status,paid_at,sent_at,updated_at}'::text[])
             = (to_jsonb(NEW) - '{status,paid_at,sent_at,updated_at}'::text[])
           AND (OLD.status = NEW.status
                OR (OLD.status IN ('issued', 'overdue') AND NEW.status IN ('paid', 'void'))
                OR (OLD.status = 'issued' AND NEW.status = 'overdue')) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'an issued invoice never changes' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER issued_invoices_stay BEFORE UPDATE ON invoices
    FOR EACH ROW WHEN (OLD.status <> 'draft') EXECUTE FUNCTION refuse_invoice_change();
CREATE TRIGGER issued_invoices_are_kept BEFORE DELETE ON invoices
    FOR EACH ROW WHEN (OLD.status <> 'draft') EXECUTE FUNCTION refuse_invoice_change();
-- An invoice is issued by changing its draft, so that the check below sees its lines.
CREATE TRIGGER invoices_begin_as_drafts BEFORE INSERT ON invoices
    FOR EACH ROW WHEN (NEW.status <> 'draft') EXECUTE FUNCTION refuse_invoice_change();
CREATE TRIGGER invoices_are_not_emptied BEFORE TRUNCATE ON invoices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Issued is only what its lines add up to, and credited only what was invoiced.
CREATE FUNCTION check_issued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM after JOIN before USING (invoice_id)
         LEFT JOIN (SELECT l.invoice_id, sum(l.amount) AS amount,
                           bool_and(l.amount = round(l.amount, a.minor_unit_digits)) AS is_rounded
                      FROM invoice_lines l JOIN after a USING (invoice_id) GROUP BY l.invoice_id) AS lines
                USING (invoice_id)
         WHERE before.status = 'draft' AND after.status <> 'draft'
           AND (after.subtotal = lines.amount AND lines.is_rounded) IS NOT TRUE
    ) THEN
        RAISE EXCEPTION 'an invoice is not the sum of its lines' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (
        SELECT FROM after JOIN invoices corrected ON corrected.invoice_id = after.corrects_invoice_id
         WHERE corrected.subtotal < (SELECT sum(subtotal) FROM invoices credit
                                      WHERE credit.corrects_invoice_id = corrected.invoice_id)
    ) THEN
        RAISE EXCEPTION 'more is credited than was invoiced' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER issued_invoices_are_sums AFTER UPDATE ON invoices
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION check_issued();

CREATE FUNCTION refuse_lines_of_issued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM touched JOIN invoices USING (invoice_id) WHERE status <> 'draft') THEN
        RAISE EXCEPTION 'an issued invoice never changes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER lines_come_before_issue AFTER INSERT ON invoice_lines
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION refuse_lines_of_issued();
CREATE TRIGGER lines_of_issued_stay AFTER DELETE ON invoice_lines
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION refuse_lines_of_issued();
CREATE TRIGGER lines_are_not_changed BEFORE UPDATE OR TRUNCATE ON invoice_lines
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
