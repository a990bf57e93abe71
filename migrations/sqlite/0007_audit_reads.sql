-- Who read what of histories and of the log, and when. Only ever added to. No personal data of patients but their ids.
-- Times are microseconds since 1970, UTC.
CREATE TABLE IF NOT EXISTS audit_reads
(
    id             TEXT    NOT NULL PRIMARY KEY, -- UUIDv7, so in the order of time
    recorded_at    INTEGER NOT NULL,
    actor          TEXT    NOT NULL,
    -- http, or command: the command line, whose actor is who the operating system says it is.
    via            TEXT    NOT NULL,
    request_id     TEXT,
    kind           TEXT    NOT NULL,
    outcome        TEXT    NOT NULL,
    patient_id     TEXT,
    event_type     TEXT,
    after_position INTEGER,
    to_position    INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS audit_reads_patient ON audit_reads (patient_id, id);
CREATE INDEX IF NOT EXISTS audit_reads_actor ON audit_reads (actor, id);
