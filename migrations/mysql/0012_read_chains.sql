-- Chains the record of reads. A row of audit_read_links is a link: the digest of the entries that were written together.
-- Programs of earlier versions add entries without a chain.
CREATE TABLE IF NOT EXISTS audit_read_links
(
    chain         CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    number        BIGINT                                                NOT NULL COMMENT 'from 1 without gaps',
    recorded_at   BIGINT                                                NOT NULL COMMENT 'microseconds since 1970, UTC',
    entries       BIGINT                                                NOT NULL,
    digest        BINARY(32)                                            NOT NULL,
    previous_hash BINARY(32)                                            NOT NULL,
    hash          BINARY(32)                                            NOT NULL,
    PRIMARY KEY (chain, number)
) ENGINE = InnoDB CHARACTER SET utf8mb4;

-- The link that covers an entry; NULL for entries without a chain. MySQL has no ADD COLUMN IF NOT EXISTS; one ALTER TABLE
-- is made whole or not at all.
SET @read_chains = IF(
    EXISTS (SELECT 1
            FROM information_schema.columns
            WHERE table_schema = DATABASE() AND table_name = 'audit_reads' AND column_name = 'chain'),
    'DO 0',
    'ALTER TABLE audit_reads
         ADD COLUMN chain CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NULL,
         ADD COLUMN link BIGINT NULL,
         ADD KEY audit_reads_link (chain, link, id)');
PREPARE read_chains FROM @read_chains;
EXECUTE read_chains;
DEALLOCATE PREPARE read_chains;
