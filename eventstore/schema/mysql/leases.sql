-- Leases for exclusive roles, such as migration. Every run creates the table before the numbered migrations.
CREATE TABLE IF NOT EXISTS leases
(
    name       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    owner      VARCHAR(128)                                             NOT NULL,
    expires_at BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC'
) CHARACTER SET utf8mb4
