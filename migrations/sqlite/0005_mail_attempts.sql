-- Every attempt that has ended, kept for ever. Written in the transaction that records its outcome in mail_deliveries.
-- Times are microseconds since 1970, UTC.
CREATE TABLE IF NOT EXISTS mail_attempts
(
    position   INTEGER NOT NULL,
    template   TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    attempt    INTEGER NOT NULL, -- from 1; counted anew after a retry by hand
    ended_at   INTEGER NOT NULL,
    -- lost: its mailer was killed, and nobody knows how it ended.
    outcome    TEXT    NOT NULL CHECK (outcome IN ('sent', 'failed', 'dead', 'lost')),
    error      TEXT,             -- without personal data
    PRIMARY KEY (position, template, started_at, attempt)
) STRICT, WITHOUT ROWID;

-- The mailers that send, and how each stands with its server. One that has not been seen for a while is gone.
CREATE TABLE IF NOT EXISTS mail_workers
(
    owner   TEXT    NOT NULL PRIMARY KEY,
    place   TEXT    NOT NULL, -- where its mail goes, without secrets
    -- ready; down: the server may come back by itself; refused: it needs a person.
    state   TEXT    NOT NULL CHECK (state IN ('ready', 'down', 'refused')),
    error   TEXT,             -- without personal data
    since   INTEGER NOT NULL, -- of the state
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
