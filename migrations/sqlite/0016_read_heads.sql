-- The entries and the tiles of the published log of the record of reads. An entry is the hash of a link of a chain, which was the last
-- link of the chain when the entry was added.
CREATE TABLE IF NOT EXISTS audit_read_heads
(
    position INTEGER NOT NULL PRIMARY KEY, -- from 1 without gaps
    chain    TEXT    NOT NULL,
    number   INTEGER NOT NULL,             -- number of the link
    hash     BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS audit_read_heads_link ON audit_read_heads (chain, number);

CREATE TABLE IF NOT EXISTS read_log_tiles
(
    level  INTEGER NOT NULL, -- from 1
    tile   INTEGER NOT NULL, -- index of the tile within its level
    hashes BLOB    NOT NULL, -- 1 to 256 hashes of 32 bytes
    PRIMARY KEY (level, tile)
) STRICT;

-- Finds the chains that have new links.
CREATE INDEX IF NOT EXISTS audit_read_links_recorded ON audit_read_links (recorded_at, chain, number);
