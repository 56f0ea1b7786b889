-- The series whose usage was counted long after its time: alerts look at them next. Only added to by whoever counts, and
-- only taken from by whoever looks, so that neither waits for the other.
CREATE TABLE late_usage (
    series_id bigint NOT NULL
);
