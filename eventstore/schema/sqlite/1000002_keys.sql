-- For a database of keys alone: the data key of each aggregate with sealed events, wrapped with a key of the keyring. Rows are
-- changed, and deleted only when the keys move to another database: a row without a key records that the key was erased.
CREATE TABLE IF NOT EXISTS subject_keys
(
    aggregate_id   TEXT    NOT NULL CHECK (length(aggregate_id) <= 64),
    aggregate_type TEXT    NOT NULL CHECK (length(aggregate_type) <= 64),
    key_id         BLOB    CHECK (length(key_id) = 16), -- NULL if the aggregate never had a key
    wrapping_key   TEXT,
    wrapped        BLOB,
    created_at     INTEGER NOT NULL,
    erased_at      INTEGER,
    PRIMARY KEY (aggregate_id, aggregate_type),
    CHECK ((erased_at IS NULL) = (wrapped IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS subject_keys_wrapping_key ON subject_keys (wrapping_key, aggregate_id);

-- One row once the keys belong to a log. retired contains the ids of wrapping keys that wrap no new keys.
CREATE TABLE IF NOT EXISTS key_store
(
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    log_id  BLOB    NOT NULL CHECK (length(log_id) = 16), -- id of the log to which the keys belong
    keyring BLOB    NOT NULL CHECK (length(keyring) = 32), -- hash of the log id with the secrets of the keyring
    retired TEXT    NOT NULL DEFAULT ''
) STRICT;
