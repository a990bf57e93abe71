-- The search words of names, in the folded form of domain::name_words. A generation is one build of the table.

CREATE TABLE IF NOT EXISTS patient_names
(
    generation BIGINT                                                NOT NULL,
    word       VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    id         CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    PRIMARY KEY (generation, word, id),
    KEY patient_names_id (generation, id)
) ENGINE = InnoDB CHARACTER SET utf8mb4;

-- If the log already has events, the projector fills generation 1 first.
INSERT IGNORE INTO projections (name, active_generation)
SELECT 'patient_names', CASE WHEN position = 0 THEN 1 ELSE 0 END FROM log_head WHERE id = 1;
