-- name: load
-- What all jobs have, or are about to have, in the API's queue: planned batches count, they were admitted; but not
-- those of a paused job, which would fill the window for as long as a person is waited for (a resume drops them).
SELECT count(*), coalesce(sum(count), 0), coalesce(sum(state = 'planned'), 0) FROM batch
 WHERE state IN ('submitting', 'in_doubt', 'in_progress', 'canceling')
    OR (state = 'planned' AND EXISTS (SELECT 1 FROM job WHERE job.id = batch.job_id AND job.state = 'running'))

-- name: plannable
-- Jobs with something to plan, and their share of the queue: the least for its priority first, among equals the older
-- one. By the page: of thousands of small jobs the first one or two are planned, and all others are asked for again.
-- Nothing while the API is asked what this store lacks; and no job that a batch found there waits for.
SELECT job.*, (SELECT coalesce(sum(count), 0) FROM batch
                WHERE batch.job_id = job.id
                  AND batch.state IN ('planned', 'submitting', 'in_doubt', 'in_progress', 'canceling')) AS in_flight
  FROM job WHERE state = 'running' AND queued > 0
   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)
   AND NOT EXISTS (SELECT 1 FROM stray WHERE stray.job_id = job.id AND batch_id IS NULL AND dropped = 0)
 ORDER BY in_flight * 1.0 / priority, id LIMIT :limit OFFSET :skip

-- name: queued
-- The next requests in file order, so that neighbours that share a cached prefix stay together.
SELECT id, params_bytes FROM request WHERE job_id = :job_id AND state = 'queued' ORDER BY id LIMIT :limit

-- name: add_batch
INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, parent_id, depth)
VALUES (:job_id, :nonce, 'planned', :count, :size_bytes, :digest, :api_version, :betas, :now, :parent_id, :depth)
RETURNING id

-- name: take
-- A run of neighbours joins the batch; what is not queued any more is not taken, and the caller sees the count.
UPDATE request SET state = 'batched', batch_id = :batch_id WHERE id BETWEEN :low AND :high AND state = 'queued'

-- name: count_taken
UPDATE job SET queued = queued - :count, batched = batched + :count WHERE id = :id

-- name: is_queued
SELECT 1 FROM request WHERE id = :id AND state = 'queued'

-- name: fail_queued
UPDATE request SET state = 'failed', error_type = :error_type, error_message = :error_message, cause = :cause,
       result_id = :result_id
 WHERE id = :id AND state = 'queued'

-- name: size_jitter
SELECT spread FROM meta

-- name: job_is_running
SELECT 1 FROM job WHERE id = :id AND state = 'running'
