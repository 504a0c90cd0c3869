-- name: open
SELECT * FROM reconciliation WHERE closed_at IS NULL

-- name: note_date
UPDATE reconciliation SET first_date = :date WHERE closed_at IS NULL AND first_date IS NULL

-- name: end_wait
UPDATE reconciliation SET until = :until, looks = 0 WHERE closed_at IS NULL AND until IS NULL

-- name: looked
UPDATE reconciliation SET looks = CASE WHEN :open = 1 THEN 0 ELSE looks + 1 END WHERE closed_at IS NULL

-- name: close
UPDATE reconciliation SET closed_at = :now WHERE closed_at IS NULL AND until IS NOT NULL AND looks >= 1

-- name: account
-- Whose account the batches of this store were sent with, as far as it knows.
SELECT organization, workspace FROM batch WHERE state IN ('in_progress', 'canceling', 'ended', 'settled')
 ORDER BY id DESC LIMIT 1

-- name: unfinished
SELECT id FROM job WHERE state IN ('running', 'paused', 'canceling')

-- name: told
SELECT job_id FROM attention WHERE kind = :kind

-- name: jobs
-- Who each job is. earlier: how many of the same content came before it.
SELECT * FROM (
  SELECT id, public_id, content_hash, api_version, betas, purged_at,
         row_number() OVER (PARTITION BY content_hash, api_version, betas ORDER BY id) - 1 AS earlier
    FROM job WHERE state <> 'importing') AS job
 WHERE purged_at IS NULL

-- name: open_jobs
-- The last number of each job that could be given more, when the search began.
SELECT open_jobs FROM reconciliation ORDER BY id DESC LIMIT 1

-- name: keep
-- A remote batch with a nonce of our form. What was found of it stays.
INSERT INTO stray (remote_id, nonce, count, created_at, expires_at, job_id, numbers, up_to)
VALUES (:remote_id, :nonce, :count, :created_at, :expires_at, :job_id, :numbers, :up_to)
ON CONFLICT (remote_id) DO UPDATE SET job_id = coalesce(stray.job_id, excluded.job_id),
                                      numbers = coalesce(stray.numbers, excluded.numbers),
                                      up_to = coalesce(stray.up_to, excluded.up_to)

-- name: waiting
-- For each job first what was made first: what a later one holds may be what an earlier one left. A job that is over is
-- opened again for what was bought for it; one that was canceled only if that was before the search.
SELECT stray.* FROM stray JOIN job ON job.id = stray.job_id
 WHERE batch_id IS NULL AND dropped = 0 AND job.purged_at IS NULL
   AND (job.state IN ('running', 'paused', 'finished')
        OR (job.state = 'canceled' AND job.finished_at < (SELECT max(found_at) FROM reconciliation)))
 ORDER BY stray.created_at, remote_id

-- name: drop
UPDATE stray SET dropped = 1 WHERE remote_id = :remote_id AND batch_id IS NULL

-- name: taken_in
UPDATE stray SET batch_id = :batch_id WHERE remote_id = :remote_id AND batch_id IS NULL AND dropped = 0

-- name: is_waiting
SELECT 1 FROM stray WHERE remote_id = :remote_id AND batch_id IS NULL AND dropped = 0

-- name: members
-- What the requests of a stray are here. CROSS JOIN: from the list to the requests.
SELECT request.id, request.state, request.params_bytes, request.result_id, request.twin_of, batch.id AS batch_id, batch.state AS batch_state
  FROM json_each(:keys) AS wanted CROSS JOIN request ON request.id = wanted.value
  LEFT JOIN batch ON batch.id = request.batch_id AND request.state = 'batched'
 ORDER BY request.id

-- name: planned
SELECT * FROM batch WHERE id = :id AND state = 'planned'

-- name: mark_partial
UPDATE batch SET partial = 1 WHERE id = :id

-- name: intended
-- A batch that is only planned here was sent after this copy was made: the intent that the copy lost is written again,
-- and its results prove the rest. What it can cost is reserved as for one that was sent before there was a cap.
UPDATE batch
   SET state = 'submitting', sent_at = :now, cursor_date = :created_at, refusal = NULL, worst_nanos = NULL, fence = fence + 1
 WHERE id = :id AND state = 'planned' AND fence = :fence
   AND NOT EXISTS (SELECT 1 FROM batch AS other WHERE other.remote_id = :remote_id)

-- name: proven
UPDATE batch
   SET state = 'in_progress', remote_id = :remote_id, created_at = :created_at, expires_at = :expires_at
 WHERE id = :id AND state = 'submitting' AND fence = :fence + 1
