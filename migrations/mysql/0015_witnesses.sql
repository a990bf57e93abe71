-- Which checkpoints have the cosignatures of enough witnesses. Checkpoints from before this step needed none, and neither do those of
-- older programs.
-- MySQL has no ADD COLUMN IF NOT EXISTS; one ALTER TABLE takes effect completely or not at all.
SET @has_quorum = IF(
    EXISTS (SELECT 1
            FROM information_schema.columns
            WHERE table_schema = DATABASE() AND table_name = 'log_checkpoints' AND column_name = 'has_quorum'),
    'DO 0',
    'ALTER TABLE log_checkpoints
         ADD COLUMN has_quorum BIGINT NOT NULL DEFAULT 1 COMMENT ''1 if enough witnesses have cosigned'',
         ADD KEY log_checkpoints_has_quorum (origin, has_quorum, size)');
PREPARE has_quorum FROM @has_quorum;
EXECUTE has_quorum;
DEALLOCATE PREPARE has_quorum;
