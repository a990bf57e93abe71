-- For a database of the data keys (KEYS_DATABASE_URL): grants each user only the privileges that it needs on each table. An
-- administrator runs this script after every `patients migrate`:
--
--   mysql patients_keys < migrations/users/keys-grant.sql
--
-- keys-create.sql creates the users. The script works on MySQL 8.4 and later and on MariaDB 10.6 and later. It can be run
-- again, also while the service is running.

-- `patients api`. UPDATE is for erasures.
GRANT SELECT ON _sqlx_migrations TO patients_api;
GRANT SELECT, INSERT, UPDATE ON subject_keys TO patients_api;
GRANT SELECT ON key_store TO patients_api;

-- `patients projector`, which completes erasures.
GRANT SELECT ON _sqlx_migrations TO patients_projector;
GRANT SELECT, INSERT, UPDATE ON subject_keys TO patients_projector;
GRANT SELECT ON key_store TO patients_projector;

-- `patients mailer`.
GRANT SELECT ON _sqlx_migrations TO patients_mailer;
GRANT SELECT ON subject_keys TO patients_mailer;
GRANT SELECT ON key_store TO patients_mailer;

-- `patients audit …`.
GRANT SELECT ON _sqlx_migrations TO patients_auditor;
GRANT SELECT ON subject_keys TO patients_auditor;
GRANT SELECT ON key_store TO patients_auditor;

-- `patients keys …`, `patients log …` and `patients erase --replay`. INSERT is for `patients log upgrade`.
GRANT SELECT ON _sqlx_migrations TO patients_operator;
GRANT SELECT, INSERT, UPDATE ON subject_keys TO patients_operator;
GRANT SELECT, INSERT, UPDATE ON key_store TO patients_operator;
