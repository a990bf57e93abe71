-- The delivery ledger: one row for each email to be sent. Who it goes to is in the event at that position.

CREATE TABLE IF NOT EXISTS mail_deliveries
(
    position     BIGINT                                                   NOT NULL,
    template     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    aggregate_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    state        VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'dead', 'cancelled')),
    -- When it may next be taken: at once, after a pause, or, while it is being sent, when its lease runs out. Nothing
    -- once it is finished, so that the index holds live rows only.
    due_at       BIGINT                                                   NULL COMMENT 'microseconds since 1970, UTC',
    attempts     INT                                                      NOT NULL DEFAULT 0,
    lease        VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NULL,
    last_error   VARCHAR(500)                                             NULL COMMENT 'without personal data',
    created_at   BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC',
    updated_at   BIGINT                                                   NOT NULL COMMENT 'microseconds since 1970, UTC',
    PRIMARY KEY (position, template),
    KEY mail_deliveries_due (due_at),
    KEY mail_deliveries_aggregate (aggregate_id)
) CHARACTER SET utf8mb4;
