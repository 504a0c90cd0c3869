-- name: pause
UPDATE job SET state = 'paused', reason_code = :code, reason = :reason, fence = fence + 1
 WHERE id = :id AND state = 'running'

-- name: resume
UPDATE job SET state = 'running', reason_code = NULL, reason = NULL, resumes = resumes + 1, fence = fence + 1
 WHERE id = :id AND state = 'paused'

-- name: unpark
-- After a resume everything that was not sent is planned afresh: a half that was refused is tried whole again, and
-- what others have in the API's queue by now is counted. But while the API is asked what this store lacks, what was not
-- refused may turn out to have been sent under its nonce: it stays.
SELECT * FROM batch WHERE job_id = :id AND state = 'planned'
   AND (refusal IS NOT NULL OR NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL))

-- name: cancel
UPDATE job SET state = 'canceling', reason_code = NULL, reason = NULL, still_open = 0,
       content_hash = coalesce(content_hash, ''), fence = fence + 1
 WHERE id = :id AND state IN ('running', 'paused')

-- name: cancel_queued
UPDATE request SET state = 'canceled' WHERE id IN
 (SELECT id FROM request WHERE job_id = :id AND state = 'queued' LIMIT 20000)

-- name: canceling
SELECT * FROM job WHERE state = 'canceling' AND queued > 0

-- name: reopen
UPDATE job SET state = 'running', finished_at = NULL, fence = fence + 1 WHERE id = :id AND state IN ('finished', 'canceled')

-- name: job_state
SELECT state, public_id, purged_at FROM job WHERE id = :id

-- name: retry_all
-- Failed and canceled requests, a slice at a time; :only narrows it down to one error type ('canceled' for those).
-- Each slice goes on above the last: the job is walked once, and what fails again meanwhile is left alone.
SELECT id, result_id FROM request
 WHERE id > :above AND id <= :high AND state IN ('failed', 'canceled')
   AND (:only IS NULL OR error_type = :only OR (:only = 'canceled' AND state = 'canceled'))
 ORDER BY id LIMIT 20000

-- name: retry
UPDATE request SET state = 'queued', batch_id = NULL, attempts = 0, retries = retries + 1, error_type = NULL,
       error_message = NULL, cause = NULL, api_request_id = NULL, result_id = NULL
 WHERE id = ?

-- name: forget_result
DELETE FROM result WHERE id = ?

-- name: by_id
SELECT * FROM job WHERE id = :id

-- name: paused_by
SELECT * FROM job WHERE state = 'paused'

-- name: disown_candidate
UPDATE remote SET verdict = 'foreign', batch_id = NULL WHERE remote_id = :remote_id AND verdict IN ('unproven', 'unprovable')

-- name: candidates_for
-- Batches that this remote batch may be: what is proven, either way, is nobody's to decide any more.
SELECT batch.* FROM candidate JOIN batch ON batch.id = candidate.batch_id JOIN remote USING (remote_id)
 WHERE candidate.remote_id = :remote_id AND batch.state = 'in_doubt' AND remote.verdict IN ('unproven', 'unprovable')
 ORDER BY batch.id

-- name: adopt
-- A batch made elsewhere whose requests are exactly those of a job that has not been planned.
INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, resumes, depth,
                   cursor_date, organization, workspace, sent_at, remote_id, created_at, expires_at, adopted)
SELECT id, :nonce, 'in_progress', :count, 1, 'adopted', api_version, betas, :now, resumes, 0,
       :created_at, :organization, :workspace, :now, :remote_id, :created_at, :expires_at, 1
  FROM job WHERE id = :id AND state IN ('running', 'paused') AND total = :count AND queued = :count
   AND NOT EXISTS (SELECT 1 FROM batch WHERE remote_id = :remote_id)
RETURNING id

-- name: take_all
UPDATE request SET state = 'batched', batch_id = :batch_id WHERE job_id = :id AND state = 'queued'
