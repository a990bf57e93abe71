-- The delivery ledger: one row for each email to be sent. Who it goes to is in the event at that position.
-- Times are microseconds since 1970, UTC.

CREATE TABLE IF NOT EXISTS mail_deliveries
(
    position     INTEGER NOT NULL,
    template     TEXT    NOT NULL,
    aggregate_id TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'dead', 'cancelled')),
    -- When it may next be taken: at once, after a pause, or, while it is being sent, when its lease runs out. Nothing
    -- once it is finished, so that the index holds live rows only.
    due_at       INTEGER,
    attempts     INTEGER NOT NULL DEFAULT 0,
    lease        TEXT,
    last_error   TEXT,             -- without personal data
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (position, template)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS mail_deliveries_due ON mail_deliveries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS mail_deliveries_aggregate ON mail_deliveries (aggregate_id);
