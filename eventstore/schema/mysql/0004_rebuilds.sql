-- What operators do about projections, and what they need to know for it.

-- A rebuild fills a new generation beside the active one. Its checkpoint, its lease and its failure are kept under its
-- name.
CREATE TABLE IF NOT EXISTS projection_rebuilds
(
    projection   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    generation   BIGINT                                                   NOT NULL COMMENT 'the one that is filled',
    name         VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    state        VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL CHECK (state IN ('filling', 'cleaning', 'done', 'cancelling', 'cancelled')),
    -- 1 while it is not over, so that a projection has one such at most; nothing afterwards.
    unfinished   TINYINT                                                  NULL CHECK (unfinished = 1),
    runner       VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL CHECK (runner IN ('projector', 'command')),
    replaced     BIGINT                                                   NULL COMMENT 'the generation that was active before',
    requested_by VARCHAR(128)                                             NOT NULL,
    requested_at BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC',
    finished_at  BIGINT                                                   NULL COMMENT 'microseconds since 1970, UTC',
    PRIMARY KEY (projection, generation),
    UNIQUE KEY projection_rebuilds_unfinished (projection, unfinished)
) CHARACTER SET utf8mb4;

-- Events that a projection passes over because somebody said so.
CREATE TABLE IF NOT EXISTS projection_skips
(
    projection VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    position   BIGINT                                                   NOT NULL,
    reason     VARCHAR(500)                                             NOT NULL,
    skipped_by VARCHAR(128)                                             NOT NULL,
    skipped_at BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC',
    PRIMARY KEY (projection, position)
) CHARACTER SET utf8mb4;

-- Why a subscription does not move; no row while it does.
CREATE TABLE IF NOT EXISTS subscription_failures
(
    name     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    -- The event that it has stopped at; nothing if it is not the fault of one.
    position BIGINT                                                   NULL,
    error    VARCHAR(500)                                             NOT NULL COMMENT 'without personal data',
    attempts BIGINT                                                   NOT NULL,
    since    BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC',
    last_at  BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC',
    retry_at BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC'
) CHARACTER SET utf8mb4;
