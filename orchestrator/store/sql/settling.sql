-- name: to_settle
SELECT * FROM batch WHERE state = 'ended' AND collected = 1 ORDER BY id

-- name: undecided
-- Trips that did not succeed and whose request still waits in this batch. CROSS JOIN: from the few trips to their
-- requests, not from all requests of the batch.
SELECT attempt.request_id, attempt.kind, attempt.outcome, attempt.error_type, attempt.error_message,
       attempt.api_request_id, attempt.body, request.attempts, coalesce(request.invalid_answers, 0) AS invalid_answers
  FROM attempt CROSS JOIN request ON request.id = attempt.request_id
 WHERE attempt.batch_id = :id AND request.batch_id = :id AND request.state = 'batched' LIMIT :limit

-- name: requeue
UPDATE request SET state = 'queued', batch_id = NULL, attempts = attempts + CAST(told.burnt AS BIGINT),
       invalid_answers = nullif(coalesce(invalid_answers, 0) + CAST(told.invalid AS BIGINT), 0),
       error_type = told.error_type, error_message = told.error_message, api_request_id = told.api_request_id
  FROM (SELECT column1 AS id, column2 AS burnt, column3 AS invalid, column4 AS error_type, column5 AS error_message,
               column6 AS api_request_id
          FROM (VALUES (?, ?, ?, ?, ?, ?)) AS given) AS told
 WHERE request.id = CAST(told.id AS BIGINT)

-- name: cancel
UPDATE request SET state = 'canceled', attempts = attempts + CAST(told.burnt AS BIGINT)
  FROM (SELECT column1 AS id, column2 AS burnt FROM (VALUES (?, ?)) AS given) AS told
 WHERE request.id = CAST(told.id AS BIGINT)

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

-- name: job_terms
SELECT state, retry_invalid FROM job WHERE id = :id

-- name: bound_and_bill
SELECT worst_nanos, (SELECT coalesce(sum(cost_nanos), 0) FROM ledger WHERE batch_id = :id) FROM batch WHERE id = :id
