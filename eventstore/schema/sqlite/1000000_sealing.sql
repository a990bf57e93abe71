-- The data key of each aggregate with sealed events, wrapped with a key of the keyring. Rows are changed and never
-- deleted: a row without a key records that the key was erased.
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

-- One row. format is 1 for events in clear and 2 for sealed personal data. log_id is the id to which sealed data is bound:
-- without it, nothing opens. claims is the scheme of the claims: 1 for plain hashes, 2 for hashes with a secret.
CREATE TABLE IF NOT EXISTS log_format
(
    id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    format INTEGER NOT NULL,
    log_id BLOB    CHECK (length(log_id) = 16),
    claims INTEGER NOT NULL,
    keyring BLOB CHECK (length(keyring) = 32), -- hash of the log id with the secrets of the keyring
    retired TEXT NOT NULL DEFAULT ''           -- ids of wrapping keys that wrap no new keys
) STRICT;

INSERT OR IGNORE INTO log_format (id, format, claims) VALUES (1, 1, 1);
