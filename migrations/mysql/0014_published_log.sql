-- The tiles above level 0 and the signed checkpoints of the published log. The tiles are derived from events.
CREATE TABLE IF NOT EXISTS log_tiles
(
    level  TINYINT         NOT NULL COMMENT 'from 1',
    tile   BIGINT          NOT NULL COMMENT 'index of the tile within its level',
    hashes VARBINARY(8192) NOT NULL COMMENT '1 to 256 hashes of 32 bytes',
    PRIMARY KEY (level, tile)
) ENGINE = InnoDB CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS log_checkpoints
(
    origin    VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    size      BIGINT                                             NOT NULL,
    root      BINARY(32)                                         NOT NULL,
    note      MEDIUMTEXT                                         NOT NULL,
    signed_at BIGINT                                             NOT NULL COMMENT 'microseconds since 1970, UTC',
    PRIMARY KEY (origin, size)
) ENGINE = InnoDB CHARACTER SET utf8mb4;
