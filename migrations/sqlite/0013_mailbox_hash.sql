-- How patients are found by email address, whichever rule keeps addresses unique. Rows from before this step have no hash until the
-- projection is rebuilt. SQLite has no ADD COLUMN IF NOT EXISTS, so the table is created again.
DROP TABLE IF EXISTS patient_view_anew;
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
    mailbox_hash  INTEGER NULL,                -- first 8 bytes of a hash of the email address
    PRIMARY KEY (generation, id)
) STRICT, WITHOUT ROWID;

INSERT INTO patient_view_anew (generation, id, name, email, phone, document_url, sequence, registered_at, name_key)
SELECT generation, id, name, email, phone, document_url, sequence, registered_at, name_key FROM patient_view;
DROP TABLE patient_view;
ALTER TABLE patient_view_anew RENAME TO patient_view;
CREATE INDEX patient_view_mailbox_hash ON patient_view (generation, mailbox_hash);
