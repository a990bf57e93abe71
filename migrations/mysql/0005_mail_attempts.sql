-- Every attempt that has ended, kept for ever. Written in the transaction that records its outcome in mail_deliveries.
CREATE TABLE IF NOT EXISTS mail_attempts
(
    position   BIGINT                                                   NOT NULL,
    template   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    started_at BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC',
    -- From 1; counted anew after a retry by hand.
    attempt    INT                                                      NOT NULL,
    ended_at   BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC',
    -- lost: its mailer was killed, and nobody knows how it ended.
    outcome    VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL CHECK (outcome IN ('sent', 'failed', 'dead', 'lost')),
    error      VARCHAR(500)                                             NULL COMMENT 'without personal data',
    PRIMARY KEY (position, template, started_at, attempt)
) CHARACTER SET utf8mb4;

-- The mailers that send, and how each stands with its server. One that has not been seen for a while is gone.
CREATE TABLE IF NOT EXISTS mail_workers
(
    owner   VARCHAR(128)                                             NOT NULL PRIMARY KEY,
    place   VARCHAR(300)                                             NOT NULL COMMENT 'where its mail goes, without secrets',
    -- ready; down: the server may come back by itself; refused: it needs a person.
    state   VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL CHECK (state IN ('ready', 'down', 'refused')),
    error   VARCHAR(500)                                             NULL COMMENT 'without personal data',
    since   BIGINT                                                   NOT NULL COMMENT 'of the state; microseconds since 1970, UTC',
    seen_at BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC'
) CHARACTER SET utf8mb4;
