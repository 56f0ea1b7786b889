-- One index for each order in which all services, or the marketplace, can be listed; one merchant's are
-- few enough to be sorted. The expressions are those of queries.sql.
CREATE INDEX services_by_name ON services (lower(name COLLATE pg_c_utf8), service_id);
CREATE INDEX services_by_change ON services (updated_at, service_id);
CREATE INDEX services_by_status_alone ON services (status COLLATE pg_c_utf8, service_id);
CREATE INDEX services_published_by_name ON services (lower(name COLLATE pg_c_utf8), service_id)
    WHERE status = 'active';
