-- The data key of each aggregate with sealed events, wrapped with a key of the keyring. Rows are changed and never
-- deleted: a row without a key records that the key was erased.
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

-- One row, locked together with log_head by every append. format is 1 for events in clear and 2 for sealed personal data. log_id
-- is the id to which sealed data is bound: without it, nothing opens. claims is the scheme of the claims: 1 for plain hashes, 2
-- for hashes with a secret.
CREATE TABLE IF NOT EXISTS log_format
(
    id     TINYINT    NOT NULL PRIMARY KEY CHECK (id = 1),
    format TINYINT    NOT NULL,
    log_id BINARY(16) NULL,
    claims TINYINT    NOT NULL,
    keyring BINARY(32) NULL COMMENT 'hash of the log id with the secrets of the keyring',
    retired VARCHAR(2000) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL DEFAULT '' COMMENT 'ids of wrapping keys that wrap no new keys'
) ENGINE=InnoDB;

INSERT IGNORE INTO log_format (id, format, claims) VALUES (1, 1, 1);
