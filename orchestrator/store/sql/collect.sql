-- name: to_collect
-- Ended batches whose download is due.
SELECT * FROM batch
 WHERE state = 'ended' AND collected = 0 AND (download_due_at IS NULL OR download_due_at <= :now)
 ORDER BY created_at LIMIT :limit

-- name: waiting
-- Of these requests, the ones that still wait for a line of this batch. The others were settled by an earlier line.
-- CROSS JOIN keeps the list outside: the planner would rather walk the whole batch for every chunk (measured at
-- 100,000: 3,100 against 20 us a line).
SELECT request.id FROM json_each(:keys) AS wanted CROSS JOIN request ON request.id = wanted.value
 WHERE request.batch_id = :batch_id AND request.state = 'batched'
   AND NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.batch_id = :batch_id AND attempt.request_id = request.id)

-- name: succeed
-- Settle the requests of a run of results that were just stored, which all ended alike. Guarded like `waiting`: a request that an earlier line
-- settled, or decided, is not moved.
UPDATE request SET state = 'succeeded', attempts = attempts + 1, error_type = NULL, error_message = NULL,
       api_request_id = NULL, result_id = result.id, stop = :stop
  FROM result
 WHERE result.id BETWEEN :first AND :last AND request.id = result.request_id
   AND request.batch_id = :batch_id AND request.state = 'batched'
   AND NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.batch_id = :batch_id AND attempt.request_id = request.id)

-- name: count_succeeded
UPDATE job SET batched = batched - :count, succeeded = succeeded + :count WHERE id = :id

-- name: stop_names
SELECT name, id FROM stop_reason

-- name: add_stop_name
INSERT INTO stop_reason (name) VALUES (:name) RETURNING id

-- name: count_stopped
INSERT INTO stop_count (job_id, stop, count) VALUES (:id, :stop, :count)
ON CONFLICT (job_id, stop) DO UPDATE SET count = count + excluded.count

-- name: add_attempt
INSERT INTO attempt (batch_id, request_id, kind, outcome, error_type, error_message, api_request_id, at, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: fail
UPDATE request SET state = 'failed', attempts = attempts + 1, error_type = ?, error_message = ?, cause = ?,
       api_request_id = ?, result_id = ?
 WHERE id = ?

-- name: succeeded_count
SELECT count(*) FROM request WHERE batch_id = :id AND state = 'succeeded'

-- name: attempt_counts
SELECT kind, count(*) FROM attempt WHERE batch_id = :id GROUP BY kind

-- name: again
-- The download did not complete the batch: it is repeated from the start. Only full ones (to a clean end) use up patience.
UPDATE batch
   SET download_due_at = :due, download_tries = download_tries + 1, downloads = downloads + :full,
       first_download_date = CASE WHEN :full THEN coalesce(first_download_date, :date) ELSE first_download_date END,
       fence = fence + 1
 WHERE id = :id AND state = 'ended' AND collected = 0 AND fence = :fence

-- name: collected
UPDATE batch SET collected = 1, downloads = downloads + 1, fence = fence + 1
 WHERE id = :id AND state = 'ended' AND collected = 0 AND fence = :fence

-- name: unseen
-- Members without any line, at the end of patience.
SELECT request.id FROM request
 WHERE batch_id = :id AND state = 'batched'
   AND NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.batch_id = :id AND attempt.request_id = request.id)

-- name: to_settle
SELECT * FROM batch WHERE state = 'ended' AND collected = 1 ORDER BY id

-- name: undecided
-- Trips that did not succeed and whose request still waits in this batch. CROSS JOIN: from the few trips to their
-- requests, not from all requests of the batch.
SELECT attempt.request_id, attempt.kind, attempt.outcome, attempt.error_type, attempt.error_message,
       attempt.api_request_id, attempt.body, request.attempts
  FROM attempt CROSS JOIN request ON request.id = attempt.request_id
 WHERE attempt.batch_id = :id AND request.batch_id = :id AND request.state = 'batched' LIMIT :limit

-- name: requeue
UPDATE request SET state = 'queued', batch_id = NULL, attempts = attempts + ?, error_type = ?, error_message = ?,
       api_request_id = ?
 WHERE id = ?

-- name: cancel
UPDATE request SET state = 'canceled', attempts = attempts + 1 WHERE id = ?

-- name: cancel_free
UPDATE request SET state = 'canceled' WHERE id = ?

-- name: settle
UPDATE batch SET state = 'settled', settled_at = :now, fence = fence + 1
 WHERE id = :id AND state = 'ended' AND collected = 1 AND fence = :fence
   AND NOT EXISTS (SELECT 1 FROM request WHERE batch_id = :id AND state = 'batched')

-- name: done_jobs
-- Jobs whose every request is settled and whose batches are all closed.
SELECT * FROM job
 WHERE state IN ('running', 'paused', 'canceling') AND still_open = 0 AND queued = 0 AND batched = 0
   AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.job_id = job.id
                     AND batch.state NOT IN ('settled', 'void', 'abandoned'))

-- name: finish_job
UPDATE job SET state = :new, finished_at = :now, reason_code = NULL, reason = NULL, fence = fence + 1
 WHERE id = :id AND state = :old AND fence = :fence

-- name: to_delete
SELECT * FROM batch WHERE state = 'settled' AND deleted_at IS NULL ORDER BY id LIMIT :limit

-- name: deleted
UPDATE batch SET deleted_at = :now WHERE id = :id AND deleted_at IS NULL

-- name: outcomes
-- What the undecided trips of a batch ask for.
SELECT attempt.outcome, count(*) FROM attempt CROSS JOIN request ON request.id = attempt.request_id
 WHERE attempt.batch_id = :id AND request.batch_id = :id AND request.state = 'batched' GROUP BY attempt.outcome

-- name: job_state
SELECT state FROM job WHERE id = :id
