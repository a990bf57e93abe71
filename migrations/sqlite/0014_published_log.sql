-- The tiles above level 0 and the signed checkpoints of the published log. The tiles are derived from events.
CREATE TABLE IF NOT EXISTS log_tiles
(
    level  INTEGER NOT NULL, -- from 1
    tile   INTEGER NOT NULL, -- index of the tile within its level
    hashes BLOB    NOT NULL, -- 1 to 256 hashes of 32 bytes
    PRIMARY KEY (level, tile)
) STRICT;

CREATE TABLE IF NOT EXISTS log_checkpoints
(
    origin    TEXT    NOT NULL,
    size      INTEGER NOT NULL,
    root      BLOB    NOT NULL,
    note      TEXT    NOT NULL,
    signed_at INTEGER NOT NULL, -- microseconds since 1970, UTC
    PRIMARY KEY (origin, size)
) STRICT, WITHOUT ROWID;
