-- name: lock
-- Lines of it are stored beside the turn, by whoever holds this row.
SELECT 1 FROM batch WHERE id = :id FOR NO KEY UPDATE
