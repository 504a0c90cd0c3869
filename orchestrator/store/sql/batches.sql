-- name: batches
SELECT * FROM batch WHERE job_id = :id ORDER BY id

-- name: batch
SELECT * FROM batch WHERE id = :id

-- name: batch_by_remote
SELECT * FROM batch WHERE remote_id = :remote_id

-- name: batches_by_remote
SELECT * FROM batch WHERE remote_id IN (SELECT value FROM json_each(:remote_ids))

-- name: newest
SELECT * FROM batch WHERE id < :before ORDER BY id DESC LIMIT :limit

-- name: newest_in
SELECT * FROM batch WHERE state = :state AND id < :before ORDER BY id DESC LIMIT :limit

-- name: newest_of_in
SELECT * FROM batch WHERE job_id = :job AND state = :state AND id < :before ORDER BY id DESC LIMIT :limit

-- name: candidates
SELECT remote.* FROM candidate JOIN remote USING (remote_id)
 WHERE candidate.batch_id = :id ORDER BY remote.created_at, remote_id

-- name: ended_spans
-- How long finished batches of this job took, for an honest estimate.
SELECT created_at, ended_at FROM batch WHERE job_id = :id AND ended_at IS NOT NULL ORDER BY id DESC LIMIT 50
