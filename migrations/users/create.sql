-- The database's users, one for each thing that is done with it, and what the first of them needs to make the tables.
-- Run by an administrator before the first `patients migrate`, in the database that is to hold the tables:
--
--   mysql patients < migrations/users/create.sql
--
-- They come locked and with no password of their own. Give each one, and unlock it:
--
--   ALTER USER patients_api IDENTIFIED BY '…' ACCOUNT UNLOCK;
--
-- The same on MySQL 8.4 and later and on MariaDB 10.6 and later; may be run again. docs/operations.md says more.

CREATE USER IF NOT EXISTS patients_migrate ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_api ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_projector ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_mailer ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_auditor ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_operator ACCOUNT LOCK;
CREATE USER IF NOT EXISTS patients_backup ACCOUNT LOCK;

-- `patients migrate`. A table that is not there yet can be named with CREATE only. Nothing here drops a table.
GRANT SELECT, INSERT, CREATE, ALTER, INDEX ON * TO patients_migrate;
GRANT CREATE, UPDATE ON leases TO patients_migrate;
GRANT CREATE, UPDATE, DELETE ON _sqlx_migrations TO patients_migrate;

-- mysqldump, mariadb-dump.
GRANT SELECT ON * TO patients_backup;
