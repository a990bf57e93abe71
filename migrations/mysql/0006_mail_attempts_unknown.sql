-- One more outcome of an attempt: unknown, when the mail was handed over whole and no answer came. The check has a name on
-- MySQL and is part of its column on MariaDB; each runs the line that is for it.
ALTER TABLE mail_attempts
    /*!80016 DROP CHECK mail_attempts_chk_1, ADD CONSTRAINT mail_attempts_chk_1 CHECK (outcome IN ('sent', 'failed', 'dead', 'unknown', 'lost')) */
    /*M! MODIFY COLUMN outcome VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL CHECK (outcome IN ('sent', 'failed', 'dead', 'unknown', 'lost')) */;
