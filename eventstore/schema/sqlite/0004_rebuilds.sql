-- What operators do about projections, and what they need to know for it.
-- Times are microseconds since 1970, UTC.

-- A rebuild fills a new generation beside the active one. Its checkpoint, its lease and its failure are kept under its
-- name.
CREATE TABLE IF NOT EXISTS projection_rebuilds
(
    projection   TEXT    NOT NULL,
    generation   INTEGER NOT NULL, -- the one that is filled
    name         TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('filling', 'cleaning', 'done', 'cancelling', 'cancelled')),
    -- 1 while it is not over, so that a projection has one such at most; nothing afterwards.
    unfinished   INTEGER CHECK (unfinished = 1),
    runner       TEXT    NOT NULL CHECK (runner IN ('projector', 'command')),
    replaced     INTEGER,          -- the generation that was active before
    requested_by TEXT    NOT NULL,
    requested_at INTEGER NOT NULL,
    finished_at  INTEGER,
    PRIMARY KEY (projection, generation),
    UNIQUE (projection, unfinished)
) STRICT, WITHOUT ROWID;

-- Events that a projection passes over because somebody said so.
CREATE TABLE IF NOT EXISTS projection_skips
(
    projection TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    skipped_by TEXT    NOT NULL,
    skipped_at INTEGER NOT NULL,
    PRIMARY KEY (projection, position)
) STRICT, WITHOUT ROWID;

-- Why a subscription does not move; no row while it does.
CREATE TABLE IF NOT EXISTS subscription_failures
(
    name     TEXT    NOT NULL PRIMARY KEY,
    -- The event that it has stopped at; nothing if it is not the fault of one.
    position INTEGER,
    error    TEXT    NOT NULL, -- without personal data
    attempts INTEGER NOT NULL,
    since    INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    retry_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
