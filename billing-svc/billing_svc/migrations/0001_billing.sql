-- Projections of catalog.events: what invoices name and price by.
CREATE TABLE services (
    service_id uuid PRIMARY KEY,
    merchant_id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    changed_at timestamptz NOT NULL
);

CREATE TABLE price_versions (
    price_version_id uuid PRIMARY KEY,
    service_id uuid NOT NULL,      -- no reference: a price may arrive before its service
    model text NOT NULL CHECK (model IN ('per_request')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount numeric(19, 9) NOT NULL CHECK (amount >= 0),
    starts_at timestamptz NOT NULL,
    UNIQUE (service_id, price_version_id)
);

-- Deltas of usage.aggregated that stand in the counters.
CREATE TABLE applied_deltas (
    delta_id uuid PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE billing_counters (
    period text NOT NULL CHECK (period ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$'),
    merchant_id uuid NOT NULL,
    consumer_id uuid NOT NULL,
    service_id uuid NOT NULL,
    price_version_id uuid NOT NULL,
    requests bigint NOT NULL CHECK (requests >= 0),
    billable_requests bigint NOT NULL CHECK (billable_requests BETWEEN 0 AND requests),
    request_bytes bigint NOT NULL CHECK (request_bytes >= 0),
    response_bytes bigint NOT NULL CHECK (response_bytes >= 0),
    PRIMARY KEY (period, merchant_id, consumer_id, service_id, price_version_id)
);
CREATE INDEX billing_counters_by_consumer ON billing_counters (consumer_id, period);

-- A history: rows are added, never changed.
CREATE TABLE commission_rates (
    starts_in text PRIMARY KEY CHECK (starts_in ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$'),
    rate numeric(7, 6) NOT NULL CHECK (rate >= 0 AND rate < 1),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only grows', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER commission_rates_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON commission_rates
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE invoices (
    invoice_id uuid PRIMARY KEY,
    period text NOT NULL CHECK (period ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$'),
    merchant_id uuid NOT NULL,
    consumer_id uuid NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    minor_unit_digits smallint NOT NULL CHECK (minor_unit_digits BETWEEN 0 AND 4),
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'issued', 'paid', 'overdue')),
    subtotal numeric NOT NULL CHECK (subtotal >= 0),
    commission_rate numeric(7, 6) NOT NULL CHECK (commission_rate >= 0 AND commission_rate < 1),
    commission numeric NOT NULL CHECK (commission >= 0 AND commission = round(commission, minor_unit_digits)),
    total numeric NOT NULL CHECK (subtotal - commission = total),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (period, merchant_id, consumer_id, currency)
);
CREATE INDEX invoices_in_order ON invoices (created_at, invoice_id);
CREATE INDEX invoices_by_merchant ON invoices (merchant_id, created_at, invoice_id);
CREATE INDEX invoices_by_consumer ON invoices (consumer_id, created_at, invoice_id);

CREATE TABLE invoice_lines (
    invoice_id uuid NOT NULL REFERENCES invoices,
    position integer NOT NULL CHECK (position >= 1),
    service_id uuid NOT NULL REFERENCES services,
    service_name text NOT NULL CHECK (service_name <> ''),
    price_version_id uuid NOT NULL,
    quantity bigint NOT NULL CHECK (quantity > 0),
    unit_price numeric(19, 9) NOT NULL CHECK (unit_price >= 0),
    amount numeric NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (invoice_id, position),
    UNIQUE (invoice_id, service_id, price_version_id),
    FOREIGN KEY (service_id, price_version_id) REFERENCES price_versions (service_id, price_version_id)
);

-- What no transaction may leave behind: an invoice whose lines aren't its subtotal, or a line that is
-- off by more than half a minor unit. Checked at the commit, when header and lines are both written.
CREATE FUNCTION check_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    checked uuid := COALESCE(NEW.invoice_id, OLD.invoice_id);
    broken boolean;
BEGIN
    SELECT i.subtotal <> COALESCE(sum(l.amount), 0)
        OR COALESCE(bool_or(
            l.amount <> round(l.amount, i.minor_unit_digits)
            OR 2 * abs(l.amount - l.quantity * l.unit_price) > power(10::numeric, -i.minor_unit_digits)
        ), false)
      INTO broken
      FROM invoices i LEFT JOIN invoice_lines l USING (invoice_id)
     WHERE i.invoice_id = checked
     GROUP BY i.invoice_id;
    IF broken THEN
        RAISE EXCEPTION 'invoice % is not the sum of its lines', checked USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER invoices_are_sums AFTER INSERT OR UPDATE ON invoices
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_invoice();
CREATE CONSTRAINT TRIGGER invoice_lines_are_summed AFTER INSERT OR UPDATE OR DELETE ON invoice_lines
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_invoice();
