-- Leases for exclusive roles, such as migration. Every run creates the table before the numbered migrations.
CREATE TABLE IF NOT EXISTS leases
(
    name       TEXT    NOT NULL PRIMARY KEY,
    owner      TEXT    NOT NULL,
    expires_at INTEGER NOT NULL -- microseconds since 1970, UTC
) STRICT, WITHOUT ROWID
