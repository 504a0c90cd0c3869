-- name: watched
-- Batches the API works on.
SELECT * FROM batch WHERE state IN ('in_progress', 'canceling') ORDER BY created_at DESC

-- name: is_watching
SELECT 1 FROM batch WHERE state IN ('in_progress', 'canceling') LIMIT 1

-- name: to_cancel
-- Batches of canceled jobs that the API has not been asked to cancel yet. CROSS JOIN: from the few canceled jobs to their
-- batches, not from every batch in progress to its job.
SELECT batch.* FROM job CROSS JOIN batch ON batch.job_id = job.id
 WHERE job.state = 'canceling' AND batch.state = 'in_progress' AND batch.cancel_asked_at IS NULL

-- name: asked_to_cancel
UPDATE batch SET state = 'canceling', cancel_asked_at = :now, fence = fence + 1
 WHERE id = :id AND state = 'in_progress' AND fence = :fence

-- name: seen_canceling
-- Somebody else asked for it: `cancel_asked_at` stays empty.
UPDATE batch SET state = 'canceling', fence = fence + 1 WHERE id = :id AND state = 'in_progress' AND fence = :fence

-- name: ended
UPDATE batch
   SET state = 'ended', ended_at = :ended_at, api_succeeded = :succeeded, api_errored = :errored,
       api_canceled = :canceled, api_expired = :expired, download_due_at = NULL, fence = fence + 1
 WHERE id = :id AND state IN ('in_progress', 'canceling') AND fence = :fence

-- name: uncollected
SELECT * FROM batch WHERE state = 'ended'

-- name: attend
INSERT INTO attention (job_id, kind, batch_id, message, since) VALUES (:job_id, :kind, :batch_id, :message, :now)
ON CONFLICT (job_id, kind, batch_id) DO UPDATE SET message = excluded.message

-- name: unattend
DELETE FROM attention WHERE job_id = :job_id AND kind = :kind AND batch_id = :batch_id

-- name: attended
SELECT 1 FROM attention WHERE job_id = :job_id AND kind = :kind AND batch_id = :batch_id

-- name: gate
SELECT * FROM gate WHERE name = :name

-- name: gates_among
SELECT * FROM gate WHERE name IN (SELECT value FROM json_each(:names))

-- name: shut
-- Never for a shorter time than it is: the answers of calls that were sent together come in any order.
INSERT INTO gate (name, set_at, until, tries, why) VALUES (:name, :now, :until, 1, :why)
ON CONFLICT (name) DO UPDATE
   SET set_at = excluded.set_at, why = excluded.why, tries = gate.tries + 1,
       until = CASE WHEN gate.until > excluded.until THEN gate.until ELSE excluded.until END

-- name: open
DELETE FROM gate WHERE name = :name AND set_at = coalesce(:set_at, set_at)
