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

-- The format of the log: 1 in clear, 2 with sealed personal data. log_id is the id to which sealed data is bound. claims is
-- the scheme of the claims: 1 plain hashes, 2 hashes with a secret. SQLite has no ADD COLUMN IF NOT EXISTS, so the table is
-- created again.
DROP TABLE IF EXISTS log_head_anew;
CREATE TABLE log_head_anew
(
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    position    INTEGER NOT NULL,
    hash        BLOB    NOT NULL CHECK (length(hash) = 32),
    recorded_at INTEGER NOT NULL,
    format      INTEGER NOT NULL,
    log_id      BLOB    CHECK (length(log_id) = 16),
    claims      INTEGER NOT NULL
) STRICT;

-- In the subqueries, format, log_id and claims are the columns of log_head if they exist, and otherwise NULL.
INSERT INTO log_head_anew
SELECT h.id, h.position, h.hash, h.recorded_at,
       COALESCE((SELECT format FROM log_head AS known WHERE known.id = h.id), 1),
       (SELECT log_id FROM log_head AS known WHERE known.id = h.id),
       COALESCE((SELECT claims FROM log_head AS known WHERE known.id = h.id), 1)
FROM (SELECT NULL AS format, NULL AS log_id, NULL AS claims) AS missing
     CROSS JOIN (SELECT id, position, hash, recorded_at FROM log_head) AS h;
DROP TABLE log_head;
ALTER TABLE log_head_anew RENAME TO log_head;
