-- The search words of names, in the folded form of domain::name_words. A generation is one build of the table.

CREATE TABLE IF NOT EXISTS patient_names
(
    generation INTEGER NOT NULL,
    word       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    PRIMARY KEY (generation, word, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS patient_names_id ON patient_names (generation, id);

-- If the log already has events, the projector fills generation 1 first.
INSERT OR IGNORE INTO projections (name, active_generation)
SELECT 'patient_names', CASE WHEN position = 0 THEN 1 ELSE 0 END FROM log_head WHERE id = 1;
