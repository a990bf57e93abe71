-- How patients are found by the beginning of their names. Rows of before have no key until the projection is rebuilt.
-- MySQL has no ADD COLUMN IF NOT EXISTS; one ALTER TABLE is made whole or not at all.
SET @name_key = IF(
    EXISTS (SELECT 1
            FROM information_schema.columns
            WHERE table_schema = DATABASE() AND table_name = 'patient_view' AND column_name = 'name_key'),
    'DO 0',
    'ALTER TABLE patient_view
         ADD COLUMN name_key VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT ''''
             COMMENT ''the name without case and accents; empty if it is not known yet'',
         ADD KEY patient_view_name_key (generation, name_key, id)');
PREPARE name_key FROM @name_key;
EXECUTE name_key;
DEALLOCATE PREPARE name_key;
