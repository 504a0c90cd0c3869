-- name: job
SELECT * FROM job WHERE id = :id

-- name: purge
-- From here on nobody is shown a body of this job; the rows go slice by slice.
UPDATE job SET purged_at = :now, purged_by = :by, purged_above = id << 32, fence = fence + 1
 WHERE id = :id AND state IN ('finished', 'canceled') AND purged_at IS NULL

-- name: purging
SELECT id, purged_above FROM job WHERE purged_above IS NOT NULL ORDER BY id LIMIT 1

-- name: window
-- The next requests of a purge, with the numbers of their results.
SELECT id, result_id FROM request WHERE id > :above AND id <= :high ORDER BY id LIMIT :limit

-- name: forget_result
-- Only if it is that request's own: a number that went with an earlier slice may have been given again.
DELETE FROM result WHERE id = ? AND request_id = ?

-- name: forget_attempts
UPDATE attempt SET body = NULL WHERE request_id > :above AND request_id <= :upto AND body IS NOT NULL

-- name: blocks
SELECT first_id FROM payload WHERE first_id > :above AND first_id <= :upto ORDER BY first_id

-- name: forget_block
DELETE FROM payload WHERE first_id = ?

-- name: row_blocks
SELECT first_id FROM source_row WHERE first_id > :above AND first_id <= :upto ORDER BY first_id

-- name: forget_row_block
DELETE FROM source_row WHERE first_id = ?

-- name: advance
UPDATE job SET purged_above = :upto WHERE id = :id AND purged_above = :above

-- name: forget_refused
UPDATE refused_line SET raw = x'' WHERE rowid IN
 (SELECT rowid FROM refused_line WHERE job_id = :id AND raw <> x'' LIMIT :limit)

-- name: forget_spares
-- Hardly ever any: a batch that was bought twice.
DELETE FROM spare WHERE remote_id IN
 (SELECT remote.remote_id FROM batch JOIN remote ON remote.batch_id = batch.id WHERE batch.job_id = :id)

-- name: forget_changes
UPDATE param_change SET spec = NULL WHERE job_id = :id AND spec IS NOT NULL

-- name: purged_whole
UPDATE job SET purged_above = NULL WHERE id = :id AND purged_above IS NOT NULL
