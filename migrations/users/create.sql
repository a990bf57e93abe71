-- Creates one database user for each role, and grants the privileges that do not depend on existing tables.
-- An administrator runs this script before the first `patients migrate`, in the database for the tables:
--
--   mysql patients < migrations/users/create.sql
--
-- The users are created locked and without a password. Set a password for each user, and unlock the user:
--
--   ALTER USER patients_api IDENTIFIED BY '…' ACCOUNT UNLOCK;
--
-- The script works on MySQL 8.4 and later and on MariaDB 10.6 and later, and can be run again. See docs/operations.md.

CREATE USER IF NOT EXISTS patients_migrate ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_api ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_projector ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_mailer ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_auditor ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_operator ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_backup ACCOUNT LOCK;

-- `patients migrate`. Only a grant that includes CREATE can name a table that does not exist yet. No grant allows
-- dropping a table.
GRANT SELECT, INSERT, CREATE, ALTER, INDEX ON * TO patients_migrate;
GRANT CREATE, UPDATE ON leases TO patients_migrate;
-- To seal a new log.
GRANT CREATE, UPDATE ON log_head TO patients_migrate;
GRANT CREATE, UPDATE ON log_format TO patients_migrate;
GRANT CREATE, UPDATE, DELETE ON _sqlx_migrations TO patients_migrate;

-- For mysqldump and mariadb-dump.
GRANT SELECT ON * TO patients_backup;
