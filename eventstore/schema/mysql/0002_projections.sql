-- The read table. A generation is one build of it; projections says which one is served.

CREATE TABLE IF NOT EXISTS projections
(
    name              VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    active_generation BIGINT                                                   NOT NULL
);
