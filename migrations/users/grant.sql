-- Grants each user only the privileges that it needs on each table. An administrator runs this script after every
-- `patients migrate`:
--
--   mysql patients < migrations/users/grant.sql
--
-- create.sql creates the users. The script works on MySQL 8.4 and later and on MariaDB 10.6 and later. It can be run
-- again, also while the service is running. SELECT … FOR UPDATE requires UPDATE.

-- `patients api`. It appends to the log, and never changes recorded events.
GRANT SELECT ON _sqlx_migrations TO patients_api;
GRANT SELECT, INSERT ON events TO patients_api;
GRANT SELECT, UPDATE ON log_head TO patients_api;
GRANT SELECT, UPDATE ON log_format TO patients_api;
GRANT SELECT, INSERT, DELETE ON claims TO patients_api;
-- UPDATE is for erasures.
GRANT SELECT, INSERT, UPDATE ON subject_keys TO patients_api;
GRANT SELECT ON patient_view TO patients_api;
GRANT SELECT ON patient_names TO patients_api;
GRANT SELECT, INSERT ON audit_reads TO patients_api;
GRANT SELECT, INSERT ON audit_read_links TO patients_api;
GRANT SELECT ON log_tiles TO patients_api;
GRANT SELECT ON log_checkpoints TO patients_api;
GRANT SELECT ON audit_read_heads TO patients_api;
GRANT SELECT ON read_log_tiles TO patients_api;
-- For requests of operators over HTTP.
GRANT SELECT, INSERT ON checkpoints TO patients_api;
GRANT SELECT ON leases TO patients_api;
GRANT SELECT ON subscription_failures TO patients_api;
GRANT SELECT, UPDATE ON projections TO patients_api;
GRANT SELECT, INSERT, UPDATE ON projection_rebuilds TO patients_api;
GRANT SELECT, INSERT ON projection_skips TO patients_api;
GRANT SELECT, UPDATE ON mail_deliveries TO patients_api;
GRANT SELECT ON mail_attempts TO patients_api;
GRANT SELECT ON mail_workers TO patients_api;

-- `patients projector`.
GRANT SELECT ON _sqlx_migrations TO patients_projector;
GRANT SELECT ON events TO patients_projector;
GRANT SELECT ON log_head TO patients_projector;
GRANT SELECT ON log_format TO patients_projector;
GRANT SELECT, INSERT, UPDATE ON subject_keys TO patients_projector;
GRANT SELECT, INSERT, DELETE ON patient_view TO patients_projector;
GRANT SELECT, INSERT, DELETE ON patient_names TO patients_projector;
GRANT SELECT, INSERT, UPDATE, DELETE ON checkpoints TO patients_projector;
GRANT SELECT, INSERT, UPDATE ON leases TO patients_projector;
GRANT SELECT, INSERT, DELETE ON subscription_failures TO patients_projector;
-- INSERT is for the first fill of a new projection.
GRANT SELECT, INSERT, UPDATE ON projections TO patients_projector;
GRANT SELECT, INSERT, UPDATE ON projection_rebuilds TO patients_projector;
GRANT SELECT ON projection_skips TO patients_projector;
-- For the published log.
GRANT SELECT, INSERT, UPDATE ON log_tiles TO patients_projector;
GRANT SELECT, INSERT, UPDATE ON log_checkpoints TO patients_projector;
GRANT SELECT ON audit_read_links TO patients_projector;
GRANT SELECT, INSERT ON audit_read_heads TO patients_projector;
GRANT SELECT, INSERT, UPDATE ON read_log_tiles TO patients_projector;
-- For its metrics.
GRANT SELECT ON mail_deliveries TO patients_projector;
GRANT SELECT ON mail_workers TO patients_projector;

-- `patients mailer`. It reads recipients from events, and has no access to the read table or claims.
GRANT SELECT ON _sqlx_migrations TO patients_mailer;
GRANT SELECT ON events TO patients_mailer;
GRANT SELECT ON log_head TO patients_mailer;
GRANT SELECT ON log_format TO patients_mailer;
GRANT SELECT ON subject_keys TO patients_mailer;
GRANT SELECT, INSERT, UPDATE ON checkpoints TO patients_mailer;
GRANT SELECT, INSERT, UPDATE ON leases TO patients_mailer;
GRANT SELECT, INSERT, DELETE ON subscription_failures TO patients_mailer;
GRANT SELECT, INSERT, UPDATE ON mail_deliveries TO patients_mailer;
GRANT SELECT, INSERT ON mail_attempts TO patients_mailer;
GRANT SELECT, INSERT, UPDATE, DELETE ON mail_workers TO patients_mailer;
-- For its metrics.
GRANT SELECT ON projections TO patients_mailer;
GRANT SELECT ON projection_rebuilds TO patients_mailer;
GRANT SELECT ON projection_skips TO patients_mailer;

-- `patients audit …`. It records each read before it returns the result.
GRANT SELECT ON _sqlx_migrations TO patients_auditor;
GRANT SELECT ON events TO patients_auditor;
GRANT SELECT ON log_head TO patients_auditor;
GRANT SELECT ON log_format TO patients_auditor;
GRANT SELECT ON subject_keys TO patients_auditor;
GRANT SELECT, INSERT ON audit_reads TO patients_auditor;
GRANT SELECT, INSERT ON audit_read_links TO patients_auditor;
GRANT SELECT ON claims TO patients_auditor;
GRANT SELECT ON log_tiles TO patients_auditor;
GRANT SELECT ON log_checkpoints TO patients_auditor;
GRANT SELECT ON audit_read_heads TO patients_auditor;
GRANT SELECT ON read_log_tiles TO patients_auditor;

-- `patients projection …`, `patients mail …`, `patients claims …` and `patients audit reads prune`. To repair claims,
-- `patients claims` locks log_head.
GRANT SELECT ON _sqlx_migrations TO patients_operator;
GRANT SELECT ON events TO patients_operator;
GRANT SELECT, UPDATE ON log_head TO patients_operator;
GRANT SELECT, UPDATE ON log_format TO patients_operator;
GRANT SELECT, INSERT, DELETE ON claims TO patients_operator;
GRANT SELECT, INSERT, UPDATE ON subject_keys TO patients_operator;
GRANT SELECT, INSERT, DELETE ON patient_view TO patients_operator;
GRANT SELECT, INSERT, DELETE ON patient_names TO patients_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON checkpoints TO patients_operator;
GRANT SELECT, INSERT, UPDATE ON leases TO patients_operator;
GRANT SELECT, INSERT, DELETE ON subscription_failures TO patients_operator;
GRANT SELECT, UPDATE ON projections TO patients_operator;
GRANT SELECT, INSERT, UPDATE ON projection_rebuilds TO patients_operator;
GRANT SELECT, INSERT ON projection_skips TO patients_operator;
GRANT SELECT, UPDATE ON mail_deliveries TO patients_operator;
GRANT SELECT ON mail_attempts TO patients_operator;
GRANT SELECT ON mail_workers TO patients_operator;
GRANT SELECT, INSERT, DELETE ON audit_reads TO patients_operator;
GRANT SELECT, INSERT ON audit_read_links TO patients_operator;
