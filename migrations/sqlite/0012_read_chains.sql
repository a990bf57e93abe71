-- Chains the record of reads. A row of audit_read_links is a link: the digest of the entries that were written together.
-- Programs of earlier versions add entries without a chain.
CREATE TABLE IF NOT EXISTS audit_read_links
(
    chain         TEXT    NOT NULL,
    number        INTEGER NOT NULL, -- from 1 without gaps
    recorded_at   INTEGER NOT NULL,
    entries       INTEGER NOT NULL,
    digest        BLOB    NOT NULL,
    previous_hash BLOB    NOT NULL,
    hash          BLOB    NOT NULL,
    PRIMARY KEY (chain, number)
) STRICT, WITHOUT ROWID;

-- SQLite has no ADD COLUMN IF NOT EXISTS, so the table is created again.
DROP TABLE IF EXISTS audit_reads_anew;
CREATE TABLE audit_reads_anew
(
    id             TEXT    NOT NULL PRIMARY KEY, -- UUIDv7, so in the order of time
    recorded_at    INTEGER NOT NULL,
    actor          TEXT    NOT NULL,
    -- http, or command: the command line, whose actor is the user that the operating system reports.
    via            TEXT    NOT NULL,
    request_id     TEXT,
    kind           TEXT    NOT NULL,
    outcome        TEXT    NOT NULL,
    patient_id     TEXT,
    event_type     TEXT,
    after_position INTEGER,
    to_position    INTEGER,
    -- The link that covers the entry; NULL for entries without a chain.
    chain          TEXT,
    link           INTEGER
) STRICT, WITHOUT ROWID;

-- In the subqueries, chain and link are the columns of audit_reads if they exist, and otherwise NULL.
INSERT INTO audit_reads_anew
SELECT r.id, r.recorded_at, r.actor, r.via, r.request_id, r.kind, r.outcome, r.patient_id, r.event_type,
       r.after_position, r.to_position,
       (SELECT chain FROM audit_reads AS known WHERE known.id = r.id),
       (SELECT link FROM audit_reads AS known WHERE known.id = r.id)
FROM (SELECT NULL AS chain, NULL AS link) AS missing
     CROSS JOIN (SELECT id, recorded_at, actor, via, request_id, kind, outcome, patient_id, event_type,
                        after_position, to_position
                 FROM audit_reads) AS r;
DROP TABLE audit_reads;
ALTER TABLE audit_reads_anew RENAME TO audit_reads;
CREATE INDEX audit_reads_patient ON audit_reads (patient_id, id);
CREATE INDEX audit_reads_actor ON audit_reads (actor, id);
CREATE INDEX audit_reads_link ON audit_reads (chain, link, id);
