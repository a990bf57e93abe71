-- Who read what of histories and of the log, and when. Only ever added to. No personal data of patients but their ids.
CREATE TABLE IF NOT EXISTS audit_reads
(
    -- UUIDv7, so in the order of time.
    id             CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci     NOT NULL PRIMARY KEY,
    recorded_at    BIGINT                                                    NOT NULL COMMENT 'microseconds since 1970, UTC',
    actor          VARCHAR(512)                                              NOT NULL,
    -- http, or command: the command line, whose actor is who the operating system says it is.
    via            VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci  NOT NULL,
    request_id     VARCHAR(128) CHARACTER SET ascii COLLATE ascii_general_ci NULL,
    kind           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci  NOT NULL,
    outcome        VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci  NOT NULL,
    patient_id     VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci  NULL,
    event_type     VARCHAR(128) CHARACTER SET ascii COLLATE ascii_general_ci NULL,
    after_position BIGINT                                                    NULL,
    to_position    BIGINT                                                    NULL,
    KEY audit_reads_patient (patient_id, id),
    KEY audit_reads_actor (actor, id)
) CHARACTER SET utf8mb4;
