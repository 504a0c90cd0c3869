-- name: add
INSERT INTO fingerprint (job_id, run, digest, request_id) VALUES (?, ?, ?, ?)

-- name: runs
-- Which runs a job has, by one step of the key each.
WITH RECURSIVE found (run) AS (
  SELECT min(run) FROM fingerprint WHERE job_id = :id
  UNION ALL
  SELECT (SELECT min(run) FROM fingerprint WHERE job_id = :id AND run > found.run) FROM found WHERE found.run IS NOT NULL)
SELECT run FROM found WHERE run IS NOT NULL

-- name: above
-- A run in its order, from just above a request.
SELECT digest, request_id FROM fingerprint
 WHERE job_id = ? AND run = ? AND (digest, request_id) > (?, ?) ORDER BY digest, request_id

-- name: originals_in_run
-- Of requests with these digests those that are sent themselves, as they were handed in. One that has failed is no answer to
-- the next.
SELECT digest, request_id FROM fingerprint JOIN request ON request.id = request_id
 WHERE fingerprint.job_id = :id AND run = :run AND digest IN (SELECT value FROM json_each(:texts))
   AND request.twin_of IS NULL AND request.change_id IS NULL AND request.state IN ('queued', 'batched', 'succeeded')

-- name: existing
-- Those of these requests that were not left out of the import.
SELECT id FROM request WHERE id IN (SELECT value FROM json_each(:ids))

-- name: forget_twins
-- What is looked up later leads to one that is sent.
DELETE FROM fingerprint
 WHERE job_id = :id AND run = :run
   AND EXISTS (SELECT 1 FROM request WHERE request.id = fingerprint.request_id AND request.twin_of IS NOT NULL)

-- name: forget_run
DELETE FROM fingerprint WHERE job_id = :id AND run = (SELECT min(run) FROM fingerprint WHERE job_id = :id)
