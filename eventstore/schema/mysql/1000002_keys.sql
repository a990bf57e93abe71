-- For a database of keys alone: the data key of each aggregate with sealed events, wrapped with a key of the keyring. Rows are
-- changed, and deleted only when the keys move to another database: a row without a key records that the key was erased.
CREATE TABLE IF NOT EXISTS subject_keys
(
    aggregate_id   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    aggregate_type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    key_id         BINARY(16)                                               NULL COMMENT 'NULL if the aggregate never had a key',
    wrapping_key   CHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci    NULL,
    wrapped        VARBINARY(128)                                           NULL,
    created_at     BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC',
    erased_at      BIGINT                                                   NULL COMMENT 'microseconds since 1970, UTC',
    PRIMARY KEY (aggregate_id, aggregate_type),
    KEY subject_keys_wrapping_key (wrapping_key, aggregate_id),
    CONSTRAINT subject_keys_state CHECK ((erased_at IS NULL) = (wrapped IS NOT NULL))
) ENGINE=InnoDB;

-- One row once the keys belong to a log. Every new key locks this row, so that a retired wrapping key wraps no new key.
CREATE TABLE IF NOT EXISTS key_store
(
    id      TINYINT    NOT NULL PRIMARY KEY CHECK (id = 1),
    log_id  BINARY(16) NOT NULL COMMENT 'id of the log to which the keys belong',
    keyring BINARY(32) NOT NULL COMMENT 'hash of the log id with the secrets of the keyring',
    retired VARCHAR(2000) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL DEFAULT '' COMMENT 'ids of wrapping keys that wrap no new keys'
) ENGINE=InnoDB;
