-- For the orders in which all consumers or merchants can be listed; the expressions are those of queries.sql.
CREATE INDEX users_by_email ON users (email COLLATE pg_c_utf8, user_id);
CREATE INDEX users_by_name ON users (lower(name COLLATE pg_c_utf8), user_id);
CREATE INDEX merchant_profiles_by_company ON merchant_profiles (lower(company_name COLLATE pg_c_utf8), user_id);
CREATE INDEX user_roles_by_standing ON user_roles (role, standing COLLATE pg_c_utf8, user_id);
