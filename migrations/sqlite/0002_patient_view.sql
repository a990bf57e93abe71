
INSERT OR IGNORE INTO projections (name, active_generation) VALUES ('patient_view', 1);

CREATE TABLE IF NOT EXISTS patient_view
(
    generation    INTEGER NOT NULL,
    id            TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    phone         TEXT    NOT NULL,
    document_url  TEXT    NOT NULL,
    sequence      INTEGER NOT NULL, -- of the last event shown
    registered_at INTEGER NOT NULL,
    PRIMARY KEY (generation, id)
) STRICT, WITHOUT ROWID;
