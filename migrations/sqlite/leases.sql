-- Exclusive roles, of which migrating is one: made before the numbered migrations, each time.
CREATE TABLE IF NOT EXISTS leases
(
    name       TEXT    NOT NULL PRIMARY KEY,
    owner      TEXT    NOT NULL,
    expires_at INTEGER NOT NULL -- microseconds since 1970, UTC
) STRICT, WITHOUT ROWID
