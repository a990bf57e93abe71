-- Longer names and URLs, which MySQL needs wider columns for; SQLite's have no width.
SELECT 1;
