-- One more outcome of an attempt: unknown, when the mail was handed over whole and no answer came. SQLite changes a check
-- by making the table anew; a migration is one transaction there.
CREATE TABLE mail_attempts_anew
(
    position   INTEGER NOT NULL,
    template   TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    attempt    INTEGER NOT NULL, -- from 1; counted anew after a retry by hand
    ended_at   INTEGER NOT NULL,
    -- lost: no outcome was recorded before the lease ran out; its mailer was killed, or had lost the database.
    outcome    TEXT    NOT NULL CHECK (outcome IN ('sent', 'failed', 'dead', 'unknown', 'lost')),
    error      TEXT,             -- without personal data
    PRIMARY KEY (position, template, started_at, attempt)
) STRICT, WITHOUT ROWID;

INSERT INTO mail_attempts_anew SELECT position, template, started_at, attempt, ended_at, outcome, error FROM mail_attempts;
DROP TABLE mail_attempts;
ALTER TABLE mail_attempts_anew RENAME TO mail_attempts;
