-- name: load
-- What all jobs have, or are about to have, in the API's queue: planned batches count, they were admitted; but not
-- those of a paused job, which would fill the window for as long as a person is waited for (a resume drops them).
SELECT count(*), coalesce(sum(count), 0), count(*) FILTER (WHERE state = 'planned') FROM batch
 WHERE state IN ('submitting', 'in_doubt', 'in_progress', 'canceling')
    OR (state = 'planned' AND EXISTS (SELECT 1 FROM job WHERE job.id = batch.job_id AND job.state = 'running'))

-- name: to_price
SELECT batch.* FROM batch JOIN job ON job.id = batch.job_id
 WHERE batch.state IN ('planned', 'submitting', 'in_doubt', 'in_progress', 'canceling', 'ended')
   AND batch.worst_nanos IS NULL AND (job.cap_nanos IS NOT NULL OR EXISTS (SELECT 1 FROM budget))
 ORDER BY batch.id

-- name: plannable
-- Jobs with something to plan, and their share of the queue: the least for its priority first, among equals the older
-- one. By the page: of thousands of small jobs the first one or two are planned, and all others are asked for again.
-- Nothing while the API is asked what this store lacks; and no job that a batch found there waits for.
SELECT * FROM (
  SELECT job.*, (SELECT coalesce(sum(count), 0) FROM batch
                  WHERE batch.job_id = job.id
                    AND batch.state IN ('planned', 'submitting', 'in_doubt', 'in_progress', 'canceling')) AS in_flight
    FROM job) AS job
 WHERE state = 'running' AND queued > twins_waiting
   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)
   AND NOT EXISTS (SELECT 1 FROM stray WHERE stray.job_id = job.id AND batch_id IS NULL AND dropped = 0)
 ORDER BY in_flight * 1.0 / priority, id LIMIT :limit OFFSET :skip

-- name: queued
-- The next requests in file order, so that neighbours that share a cached prefix stay together. A twin is not sent.
SELECT id, params_bytes FROM request WHERE job_id = :job_id AND state = 'queued' AND twin_of IS NULL ORDER BY id LIMIT :limit

-- name: add_batch
INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, parent_id, depth,
                   worst_nanos)
VALUES (:job_id, :nonce, 'planned', :count, :size_bytes, :digest, :api_version, :betas, :now, :parent_id, :depth, :worst)
RETURNING id

-- name: take
-- A run of neighbours joins the batch; what is not queued any more is not taken, and the caller sees the count.
UPDATE request SET state = 'batched', batch_id = ? WHERE id BETWEEN ? AND ? AND state = 'queued'

-- name: take_many
-- The same for many short runs.
UPDATE request SET state = 'batched', batch_id = CAST(run.batch_id AS BIGINT)
  FROM (SELECT column1 AS batch_id, column2 AS low, column3 AS high FROM (VALUES (?, ?, ?)) AS given) AS run
 WHERE request.id BETWEEN CAST(run.low AS BIGINT) AND CAST(run.high AS BIGINT) AND request.state = 'queued'

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
-- And all, or only what goes first, is to be sent as it was when the requests were chosen.
SELECT 1 FROM job WHERE id = :id AND state = 'running' AND coalesce(pilot, 'over') = :pilot
