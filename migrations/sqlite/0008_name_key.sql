-- How patients are found by the beginning of their names. Rows of before have no key until the projection is rebuilt.
-- SQLite has no ADD COLUMN IF NOT EXISTS; a table made anew can be made anew again.
CREATE TABLE patient_view_anew
(
    generation    INTEGER NOT NULL,
    id            TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    phone         TEXT    NOT NULL,
    document_url  TEXT    NOT NULL,
    sequence      INTEGER NOT NULL,            -- of the last event shown
    registered_at INTEGER NOT NULL,
    name_key      TEXT    NOT NULL DEFAULT '', -- the name without case and accents; empty if it is not known yet
    PRIMARY KEY (generation, id)
) STRICT, WITHOUT ROWID;

INSERT INTO patient_view_anew (generation, id, name, email, phone, document_url, sequence, registered_at)
SELECT generation, id, name, email, phone, document_url, sequence, registered_at FROM patient_view;
DROP TABLE patient_view;
ALTER TABLE patient_view_anew RENAME TO patient_view;
CREATE INDEX patient_view_name_key ON patient_view (generation, name_key, id);
