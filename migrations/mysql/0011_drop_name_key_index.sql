-- Searches by name use patient_names. Programs of version 0.1 still search name_key during an upgrade: without the
-- index, their searches read the whole table. MySQL has no DROP INDEX IF EXISTS.
SET @name_key_index = IF(
    EXISTS (SELECT 1
            FROM information_schema.statistics
            WHERE table_schema = DATABASE() AND table_name = 'patient_view' AND index_name = 'patient_view_name_key'),
    'ALTER TABLE patient_view DROP INDEX patient_view_name_key',
    'DO 0');
PREPARE name_key_index FROM @name_key_index;
EXECUTE name_key_index;
DEALLOCATE PREPARE name_key_index;
