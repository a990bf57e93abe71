-- The log. mysql-es reads its own seven columns here unchanged; position, recorded_at and hash are ours.
--
-- Names and ids are ASCII with a case-insensitive collation: the driver takes columns with a binary collation for
-- bytes. They are only ever written in one case.

CREATE TABLE IF NOT EXISTS events
(
    position       BIGINT                                                    NOT NULL PRIMARY KEY,
    aggregate_type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci  NOT NULL,
    aggregate_id   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci  NOT NULL,
    sequence       BIGINT                                                    NOT NULL CHECK (sequence >= 1),
    event_type     VARCHAR(128) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    event_version  VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci  NOT NULL,
    payload        JSON                                                      NOT NULL,
    metadata       JSON                                                      NOT NULL,
    recorded_at    BIGINT                                                    NOT NULL COMMENT 'microseconds since 1970, UTC',
    hash           BINARY(32)                                                NOT NULL,
    -- The id first: the append asks for many aggregates at once, by id.
    UNIQUE KEY events_aggregate (aggregate_id, aggregate_type, sequence)
) CHARACTER SET utf8mb4;

-- One row, locked by every append until its commit.
CREATE TABLE IF NOT EXISTS log_head
(
    id          TINYINT    NOT NULL PRIMARY KEY CHECK (id = 1),
    position    BIGINT     NOT NULL,
    hash        BINARY(32) NOT NULL,
    recorded_at BIGINT     NOT NULL COMMENT 'microseconds since 1970, UTC'
);

INSERT IGNORE INTO log_head (id, position, hash, recorded_at) VALUES (1, 0, REPEAT(X'00', 32), 0);

-- Values that at most one aggregate holds at a time; claim is SHA-256 of kind and value.
CREATE TABLE IF NOT EXISTS claims
(
    claim          BINARY(32)                                               NOT NULL PRIMARY KEY,
    aggregate_type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    aggregate_id   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    KEY claims_aggregate (aggregate_id, aggregate_type)
);

-- The last position that each subscription has finished.
CREATE TABLE IF NOT EXISTS checkpoints
(
    name       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    position   BIGINT                                                   NOT NULL,
    updated_at BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC'
);
