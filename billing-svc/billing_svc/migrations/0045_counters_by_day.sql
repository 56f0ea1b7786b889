-- Reconciliation asks for some days of every merchant.
CREATE INDEX usage_counters_by_day ON usage_counters (day);
