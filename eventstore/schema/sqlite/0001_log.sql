-- The log. sqlite-es reads its own seven columns here unchanged; position, recorded_at and hash are ours.
-- Times are microseconds since 1970, UTC.

CREATE TABLE IF NOT EXISTS events
(
    position       INTEGER NOT NULL PRIMARY KEY,
    aggregate_type TEXT    NOT NULL,
    aggregate_id   TEXT    NOT NULL,
    sequence       INTEGER NOT NULL CHECK (sequence >= 1),
    event_type     TEXT    NOT NULL,
    event_version  TEXT    NOT NULL,
    payload        TEXT    NOT NULL,
    metadata       TEXT    NOT NULL,
    recorded_at    INTEGER NOT NULL,
    hash           BLOB    NOT NULL CHECK (length(hash) = 32),
    -- The id first: the append asks for many aggregates at once, by id.
    UNIQUE (aggregate_id, aggregate_type, sequence)
) STRICT;

-- One row, read and moved by every append.
CREATE TABLE IF NOT EXISTS log_head
(
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    position    INTEGER NOT NULL,
    hash        BLOB    NOT NULL CHECK (length(hash) = 32),
    recorded_at INTEGER NOT NULL
) STRICT;

INSERT OR IGNORE INTO log_head (id, position, hash, recorded_at) VALUES (1, 0, zeroblob(32), 0);

-- Values that at most one aggregate holds at a time; claim is SHA-256 of kind and value.
CREATE TABLE IF NOT EXISTS claims
(
    claim          BLOB NOT NULL PRIMARY KEY CHECK (length(claim) = 32),
    aggregate_type TEXT NOT NULL,
    aggregate_id   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS claims_aggregate ON claims (aggregate_id, aggregate_type);

-- The last position that each subscription has finished.
CREATE TABLE IF NOT EXISTS checkpoints
(
    name       TEXT    NOT NULL PRIMARY KEY,
    position   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
