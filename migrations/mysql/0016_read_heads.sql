-- The entries and the tiles of the published log of the record of reads. An entry is the hash of a link of a chain, which was the last
-- link of the chain when the entry was added.
CREATE TABLE IF NOT EXISTS audit_read_heads
(
    position BIGINT                                                NOT NULL COMMENT 'from 1 without gaps',
    chain    CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    number   BIGINT                                                NOT NULL COMMENT 'number of the link',
    hash     BINARY(32)                                            NOT NULL,
    PRIMARY KEY (position),
    UNIQUE KEY audit_read_heads_link (chain, number)
) ENGINE = InnoDB CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS read_log_tiles
(
    level  TINYINT         NOT NULL COMMENT 'from 1',
    tile   BIGINT          NOT NULL COMMENT 'index of the tile within its level',
    hashes VARBINARY(8192) NOT NULL COMMENT '1 to 256 hashes of 32 bytes',
    PRIMARY KEY (level, tile)
) ENGINE = InnoDB CHARACTER SET utf8mb4;

-- Finds the chains that have new links. MySQL has no ADD KEY IF NOT EXISTS.
SET @recorded = IF(
    EXISTS (SELECT 1
            FROM information_schema.statistics
            WHERE table_schema = DATABASE() AND table_name = 'audit_read_links' AND index_name = 'audit_read_links_recorded'),
    'DO 0',
    'ALTER TABLE audit_read_links ADD KEY audit_read_links_recorded (recorded_at, chain, number)');
PREPARE recorded FROM @recorded;
EXECUTE recorded;
DEALLOCATE PREPARE recorded;
