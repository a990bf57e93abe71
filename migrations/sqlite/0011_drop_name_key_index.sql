-- Searches by name use patient_names. Programs of version 0.1 still search name_key during an upgrade: without the
-- index, their searches read the whole table.
DROP INDEX IF EXISTS patient_view_name_key;
