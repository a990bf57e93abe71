
INSERT IGNORE INTO projections (name, active_generation) VALUES ('patient_view', 1);

CREATE TABLE IF NOT EXISTS patient_view
(
    generation    BIGINT                                                NOT NULL,
    id            CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    name          VARCHAR(200)                                          NOT NULL,
    email         VARCHAR(254)                                          NOT NULL,
    phone         VARCHAR(64)                                           NOT NULL,
    document_url  VARCHAR(2048)                                         NOT NULL,
    sequence      BIGINT                                                NOT NULL COMMENT 'of the last event shown',
    registered_at BIGINT                                                NOT NULL COMMENT 'microseconds since 1970, UTC',
    PRIMARY KEY (generation, id)
) CHARACTER SET utf8mb4;
