-- Reconciliation asks for some days of every merchant.
CREATE INDEX forwarded_totals_by_day ON forwarded_totals (day);
