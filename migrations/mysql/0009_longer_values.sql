-- Names of 200 characters as people count them, which are up to 800 code points, and URLs as long as presigned ones. Both columns
-- had more than 255 bytes before, so their lengths are stored alike and no row is written anew (ALGORITHM=INPLACE; INSTANT on
-- MariaDB).
ALTER TABLE patient_view
    MODIFY COLUMN name VARCHAR(800) NOT NULL,
    MODIFY COLUMN document_url VARCHAR(4096) NOT NULL;
