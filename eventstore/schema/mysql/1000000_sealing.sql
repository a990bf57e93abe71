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

-- The format of the log: 1 in clear, 2 with sealed personal data. log_id is the id to which sealed data is bound. claims is
-- the scheme of the claims: 1 plain hashes, 2 hashes with a secret. MySQL has no ADD COLUMN IF NOT EXISTS; one ALTER TABLE is
-- made whole or not at all.
SET @log_format = IF(
    EXISTS (SELECT 1
            FROM information_schema.columns
            WHERE table_schema = DATABASE() AND table_name = 'log_head' AND column_name = 'format'),
    'DO 0',
    'ALTER TABLE log_head
         ADD COLUMN format TINYINT NOT NULL DEFAULT 1,
         ADD COLUMN log_id BINARY(16) NULL,
         ADD COLUMN claims TINYINT NOT NULL DEFAULT 1');
PREPARE log_format FROM @log_format;
EXECUTE log_format;
DEALLOCATE PREPARE log_format;
