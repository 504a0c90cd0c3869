-- name: importing
-- Who discards the import waits for this lock, and then takes away what was stored under it.
SELECT 1 FROM job WHERE id = :id AND state = 'importing' FOR NO KEY UPDATE
