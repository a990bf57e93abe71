-- The read table. A generation is one build of it; projections says which one is served.
-- Times are microseconds since 1970, UTC.

CREATE TABLE IF NOT EXISTS projections
(
    name              TEXT    NOT NULL PRIMARY KEY,
    active_generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
