-- name: pause
UPDATE job SET state = 'paused', reason_code = :code, reason = :reason, fence = fence + 1
 WHERE id = :id AND state = 'running'

-- name: resume
-- After a trial all of it is sent.
UPDATE job SET state = 'running', trial = CASE WHEN reason_code = 'trial' THEN NULL ELSE trial END, reason_code = NULL,
       reason = NULL, resumes = resumes + 1, fence = fence + 1
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
-- Twins follow their originals, one of which may be answered yet.
UPDATE request SET state = 'canceled' WHERE id IN
 (SELECT id FROM request WHERE job_id = :id AND state = 'queued' AND twin_of IS NULL LIMIT 10000)

-- name: canceling
SELECT * FROM job WHERE state = 'canceling' AND queued > twins_waiting

-- name: reopen
-- What failed, or was canceled, within a trial or a pilot goes again within it: nobody has asked for the rest.
UPDATE job SET state = 'running', finished_at = NULL, reason_code = NULL, reason = NULL, fence = fence + 1,
       pilot = CASE WHEN trial IS NOT NULL OR state = 'paused' THEN 'wait' ELSE pilot END
 WHERE id = :id AND (state IN ('finished', 'canceled') OR (state = 'paused' AND reason_code IN ('trial', 'pilot')))

-- name: job_state
SELECT state, public_id, purged_at FROM job WHERE id = :id

-- name: by_id
SELECT * FROM job WHERE id = :id

-- name: paused_by
SELECT * FROM job WHERE state = 'paused'

-- name: disown_candidate
UPDATE remote SET verdict = 'foreign', batch_id = NULL WHERE remote_id = :remote_id AND verdict IN ('unproven', 'unprovable')

-- name: candidates_for
-- Batches that this remote batch may be: what is proven, either way, is nobody's to decide any more.
SELECT batch.* FROM candidate JOIN batch ON batch.id = candidate.batch_id JOIN remote ON remote.remote_id = candidate.remote_id
 WHERE candidate.remote_id = :remote_id AND batch.state = 'in_doubt' AND remote.verdict IN ('unproven', 'unprovable')
 ORDER BY batch.id

-- name: adopt
-- A batch made elsewhere whose requests are exactly those of a job that has not been planned.
INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, resumes, depth,
                   cursor_date, organization, workspace, sent_at, remote_id, created_at, expires_at, adopted)
SELECT id, :nonce, 'in_progress', CAST(:count AS BIGINT), 1, 'adopted', api_version, betas, CAST(:now AS TEXT), resumes, 0,
       CAST(:created_at AS TEXT), :organization, :workspace, CAST(:now AS TEXT), CAST(:remote_id AS TEXT),
       CAST(:created_at AS TEXT), :expires_at, 1
  FROM job WHERE id = :id AND state IN ('running', 'paused') AND total = :count AND queued = :count AND twins = 0
   AND NOT EXISTS (SELECT 1 FROM batch WHERE remote_id = CAST(:remote_id AS TEXT))
RETURNING id

-- name: take_all
UPDATE request SET state = 'batched', batch_id = :batch_id WHERE job_id = :id AND state = 'queued'
