-- How patients are found by email address, whichever rule keeps addresses unique. Rows from before this step have no hash until the
-- projection is rebuilt.
-- MySQL has no ADD COLUMN IF NOT EXISTS; one ALTER TABLE takes effect completely or not at all.
SET @mailbox_hash = IF(
    EXISTS (SELECT 1
            FROM information_schema.columns
            WHERE table_schema = DATABASE() AND table_name = 'patient_view' AND column_name = 'mailbox_hash'),
    'DO 0',
    'ALTER TABLE patient_view
         ADD COLUMN mailbox_hash BIGINT NULL COMMENT ''first 8 bytes of a hash of the email address'',
         ADD KEY patient_view_mailbox_hash (generation, mailbox_hash)');
PREPARE mailbox_hash FROM @mailbox_hash;
EXECUTE mailbox_hash;
DEALLOCATE PREPARE mailbox_hash;
