-- Which checkpoints have the cosignatures of enough witnesses. Checkpoints from before this step needed none, and neither do those of
-- older programs. SQLite has no ADD COLUMN IF NOT EXISTS, so the table is created again.
DROP TABLE IF EXISTS log_checkpoints_anew;
CREATE TABLE log_checkpoints_anew
(
    origin     TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    root       BLOB    NOT NULL,
    note       TEXT    NOT NULL,
    signed_at  INTEGER NOT NULL,           -- microseconds since 1970, UTC
    has_quorum INTEGER NOT NULL DEFAULT 1, -- 1 if enough witnesses have cosigned
    PRIMARY KEY (origin, size)
) STRICT, WITHOUT ROWID;

INSERT INTO log_checkpoints_anew (origin, size, root, note, signed_at)
SELECT origin, size, root, note, signed_at FROM log_checkpoints;
DROP TABLE log_checkpoints;
ALTER TABLE log_checkpoints_anew RENAME TO log_checkpoints;
CREATE INDEX log_checkpoints_has_quorum ON log_checkpoints (origin, has_quorum, size);
