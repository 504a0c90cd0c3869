-- name: sendable
-- Planned batches of running jobs, oldest first. One that waits for its sibling's word (refusal) is not sent again; none
-- is sent while the API is asked what this store lacks, nor while a batch found there waits for its job.
SELECT batch.* FROM batch JOIN job ON job.id = batch.job_id
 WHERE batch.state = 'planned' AND batch.refusal IS NULL AND job.state = 'running'
   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)
   AND NOT EXISTS (SELECT 1 FROM stray WHERE stray.job_id = job.id AND batch_id IS NULL AND dropped = 0)
 ORDER BY job.priority DESC, batch.id LIMIT :limit

-- name: is_sendable
SELECT 1 FROM batch JOIN job ON job.id = batch.job_id
 WHERE batch.id = :id AND job.state = 'running' AND batch.state = 'planned' AND batch.refusal IS NULL
   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)
   AND NOT EXISTS (SELECT 1 FROM stray WHERE stray.job_id = job.id AND batch_id IS NULL AND dropped = 0)

-- name: parked
-- Halves that were refused without a name and wait for what becomes of the other half.
SELECT * FROM batch WHERE state = 'planned' AND refusal IS NOT NULL

-- name: siblings
SELECT * FROM batch WHERE parent_id = :parent_id AND id <> :id

-- name: intend
-- The write-ahead record of promise 2: the cursor and the intent, durable before the first byte leaves. The job is
-- asked again here, inside the transaction: a pause or cancel that came first wins. So are the limit on batches and the
-- gate of creates, whoever shut it: nothing is sent before its time, and after a create that failed one at a time. Under
-- a cap nothing is sent while something that may be billed has no known bound.
UPDATE batch
   SET state = 'submitting', sent_at = :now, cursor_id = :cursor_id, cursor_created_at = :cursor_created_at,
       cursor_date = :cursor_date, organization = :organization, workspace = :workspace,
       resumes = (SELECT resumes FROM job WHERE job.id = batch.job_id), fence = fence + 1
 WHERE id = :id AND state = 'planned' AND fence = :fence
   AND EXISTS (SELECT 1 FROM job WHERE job.id = batch.job_id AND job.state = 'running')
   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)
   AND NOT EXISTS (SELECT 1 FROM stray WHERE stray.job_id = batch.job_id AND batch_id IS NULL AND dropped = 0)
   AND (SELECT count(*) FROM batch AS other
         WHERE other.state IN ('submitting', 'in_doubt', 'in_progress', 'canceling')) < :most
   AND NOT EXISTS (SELECT 1 FROM gate WHERE gate.name IN ('create', 'create.asked') AND gate.until > :now)
   AND NOT (EXISTS (SELECT 1 FROM gate WHERE gate.name IN ('create', 'create.asked') AND gate.tries > 0)
            AND EXISTS (SELECT 1 FROM batch AS other WHERE other.state = 'submitting'))
   AND ((NOT EXISTS (SELECT 1 FROM budget)
         AND NOT EXISTS (SELECT 1 FROM job WHERE job.id = batch.job_id AND job.cap_nanos IS NOT NULL))
        OR (worst_nanos IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM batch AS other
                             WHERE other.state IN ('submitting', 'in_doubt', 'in_progress', 'canceling', 'ended')
                               AND other.worst_nanos IS NULL
                               AND (other.job_id = batch.job_id OR EXISTS (SELECT 1 FROM budget)))))

-- name: accept
-- A clear yes; not one if the id is another batch's.
UPDATE batch
   SET state = 'in_progress', remote_id = :remote_id, created_at = :created_at, expires_at = :expires_at,
       organization = coalesce(:organization, organization), workspace = coalesce(:workspace, workspace),
       cuts = 0, fence = fence + 1
 WHERE id = :id AND state = 'submitting' AND fence = :fence
   AND NOT EXISTS (SELECT 1 FROM batch AS other WHERE other.remote_id = :remote_id)

-- name: give_back
-- A clear no: the batch waits to be sent again, under the same nonce.
UPDATE batch SET state = 'planned', cuts = CASE WHEN :cut = 1 THEN cuts + 1 ELSE 0 END, fence = fence + 1
 WHERE id = :id AND state = 'submitting' AND fence = :fence

-- name: park
UPDATE batch SET state = 'planned', refusal = :refusal, fence = fence + 1
 WHERE id = :id AND state = 'submitting' AND fence = :fence

-- name: doubt
UPDATE batch SET state = 'in_doubt', doubt_since = :now, doubt_looks = 0, fence = fence + 1
 WHERE id = :id AND state = 'submitting' AND fence = :fence

-- name: is_sending
-- Asked before the last bytes of a body leave.
SELECT 1 FROM batch WHERE id = :id AND state = 'submitting' AND fence = :fence

-- name: abandon
-- Terminal: never sent. Nonce, count and cursor stay for the late sweep.
UPDATE batch SET state = 'abandoned', closed_date = coalesce(:closed_date, cursor_date),
       refusal = coalesce(:refusal, refusal), fence = fence + 1
 WHERE id = :id AND state IN ('submitting', 'planned') AND fence = :fence

-- name: left_planned
-- Planned batches of a job that is being canceled: nothing sends them, and the job would wait for them for ever.
SELECT batch.* FROM batch JOIN job ON job.id = batch.job_id
 WHERE batch.job_id = :id AND batch.state = 'planned' AND job.state = 'canceling'

-- name: release
-- The requests of a void or abandoned batch wait again, with no attempt burnt.
UPDATE request SET state = 'queued', batch_id = NULL WHERE batch_id = :id AND state = 'batched'

-- name: members
-- With the bytes that a marker adds to those that get one.
SELECT id, params_bytes + CASE WHEN EXISTS (SELECT 1 FROM prefixed WHERE prefixed.request_id = request.id)
                                AND EXISTS (SELECT 1 FROM job JOIN batch ON batch.job_id = job.id
                                             WHERE batch.id = :id AND job.cache = 'auto') THEN :marker ELSE 0 END
  FROM request WHERE batch_id = :id AND state = 'batched' ORDER BY id

-- name: fail_member
UPDATE request SET state = 'failed', error_type = :error_type, error_message = :error_message, cause = :cause,
       result_id = :result_id
 WHERE id = :id AND batch_id = :batch_id AND state = 'batched'

-- name: get_batch
SELECT * FROM batch WHERE id = :id

-- name: get_job
SELECT * FROM job WHERE id = :id

-- name: stranded
-- Batches whose POST nobody is watching: after a crash, or after a cancelled task.
SELECT * FROM batch WHERE state = 'submitting'

-- name: due
-- What somebody must do something with, whoever it is: the same that `sendable`, `stranded` and the downloads find.
SELECT 'submit', batch.id, job.priority FROM batch JOIN job ON job.id = batch.job_id
 WHERE batch.state = 'planned' AND batch.refusal IS NULL AND job.state = 'running'
   AND NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)
   AND NOT EXISTS (SELECT 1 FROM stray WHERE stray.job_id = job.id AND batch_id IS NULL AND dropped = 0)
UNION ALL
SELECT 'submit', batch.id, job.priority FROM batch JOIN job ON job.id = batch.job_id WHERE batch.state = 'submitting'
UNION ALL
SELECT 'collect', batch.id, job.priority FROM batch JOIN job ON job.id = batch.job_id
 WHERE batch.state = 'ended' AND batch.collected = 0

-- name: next_block
-- The block of payload that holds the next request of a batch above number :above, as row 0; and what the batch has in it, in
-- any order: SQLite would sort them anew. `batch_id` stays with a request until it is queued again.
WITH next (id) AS (SELECT min(id) FROM request
                    WHERE batch_id = :id AND id > ((SELECT job_id FROM batch WHERE id = :id) << 32) + :above),
     block (first_id, count) AS (SELECT first_id, count FROM payload
                                  WHERE first_id = (SELECT max(first_id) FROM payload WHERE first_id <= (SELECT id FROM next))
                                    AND first_id + count > (SELECT id FROM next))
SELECT 0, first_id, count, data FROM payload WHERE first_id = (SELECT first_id FROM block)
UNION ALL
SELECT id, params_bytes, change_id, NULL FROM request
 WHERE batch_id = :id AND id >= (SELECT id FROM next)
   AND id < coalesce((SELECT first_id + count FROM block), (SELECT id + 1 FROM next))

-- name: block_of
-- The block of payload that holds a request: blocks do not overlap, so it is the last that begins at or before it.
SELECT first_id, count, data FROM payload WHERE first_id <= :id ORDER BY first_id DESC LIMIT 1
