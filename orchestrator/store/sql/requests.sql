-- name: purged
SELECT public_id, purged_at FROM job WHERE id = :id AND purged_at IS NOT NULL

-- name: results
-- Whose a result is, is asked: a request of a purged job may show a number that was given again.
SELECT request.id, request.custom_id, request.state, result.body
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = request.id
 WHERE request.id > :above AND request.id <= :high AND request.state IN ('succeeded', 'failed', 'canceled')
 ORDER BY request.id LIMIT :limit

-- name: settlings
-- The batches of a job in the order in which they were settled: events are numbered as they happen, clocks may turn back.
SELECT id, batch_id FROM event
 WHERE job_id = :id AND id >= :from AND kind = 'batch.moved' AND new = 'settled' ORDER BY id

-- name: results_of_batch
SELECT request.id, request.custom_id, request.state, result.body
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = request.id
 WHERE request.batch_id = :batch_id AND request.id > :above AND request.state IN ('succeeded', 'failed', 'canceled')
 ORDER BY request.id LIMIT :limit

-- name: other_results
-- What no settled batch brought: refused or canceled before it was sent.
SELECT request.id, request.custom_id, request.state, result.body
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = request.id
 WHERE request.id > :above AND request.id <= :high AND request.state IN ('failed', 'canceled')
   AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.id = request.batch_id AND batch.state = 'settled')
 ORDER BY request.id LIMIT :limit

-- name: is_over
SELECT state IN ('finished', 'canceled') FROM job WHERE id = :id

-- name: request
SELECT request.*, (SELECT name FROM stop_reason WHERE stop_reason.id = stop) AS stop_reason,
       result.input_tokens, result.output_tokens, result.cache_read_tokens, result.cache_write_5m_tokens,
       result.cache_write_1h_tokens, result.body
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = request.id
 WHERE request.id = :id

-- name: trips
SELECT * FROM attempt WHERE request_id = :request_id ORDER BY batch_id

-- name: before
SELECT max(id) FROM request WHERE id > :low AND id < :id

-- name: after
SELECT min(id) FROM request WHERE id > :id AND id <= :high

-- name: count_in
-- How many requests of a job are in a state, from the counts that are kept.
SELECT CASE :state WHEN 'queued' THEN queued WHEN 'batched' THEN batched WHEN 'succeeded' THEN succeeded
                   WHEN 'failed' THEN failed ELSE canceled END
  FROM job WHERE id = :id

-- name: page
-- The lists below have one shape, and each its own way to the rows: by the key, by a partial index, batch by batch.
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE id > :above AND id <= :high
   AND (:error_type IS NULL OR error_type = :error_type) AND (:error_message IS NULL OR error_message = :error_message)
   AND (:cause IS NULL OR cause = :cause) AND (:stop IS NULL OR stop = :stop)
 ORDER BY id

-- name: page_queued
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE job_id = :id AND state = 'queued' AND id > :above
   AND (:error_type IS NULL OR error_type = :error_type) AND (:error_message IS NULL OR error_message = :error_message)
   AND (:cause IS NULL OR cause = :cause) AND (:stop IS NULL OR stop = :stop)
 ORDER BY id

-- name: page_canceled
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE job_id = :id AND state = 'canceled' AND id > :above
   AND (:error_type IS NULL OR error_type = :error_type) AND (:error_message IS NULL OR error_message = :error_message)
   AND (:cause IS NULL OR cause = :cause) AND (:stop IS NULL OR stop = :stop)
 ORDER BY id

-- name: page_failed
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE job_id = :id AND state = 'failed' AND error_type = :error_type AND id > :above
   AND (:error_message IS NULL OR error_message = :error_message) AND (:cause IS NULL OR cause = :cause)
 ORDER BY id

-- name: page_stopped
-- Of successes that ended oddly; `stop > 2` is the condition of their partial index.
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE job_id = :id AND stop = :stop AND stop > 2 AND id > :above
 ORDER BY id

-- name: stop_of
-- The number of a stop reason that an answer of the job has, from the counts that are kept.
SELECT stop FROM stop_count JOIN stop_reason ON stop_reason.id = stop WHERE job_id = :id AND name = :stop_reason

-- name: page_of_batch
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE batch_id = :batch_id AND id > :above AND id <= :high AND (:state IS NULL OR state = :state)
   AND (:error_type IS NULL OR error_type = :error_type) AND (:error_message IS NULL OR error_message = :error_message)
   AND (:cause IS NULL OR cause = :cause) AND (:stop IS NULL OR stop = :stop)
 ORDER BY id

-- name: batches_of
-- The batches in which requests of a state can be: what succeeded is in one whose results came or are coming.
SELECT id FROM batch
 WHERE job_id = :id
   AND state IN (SELECT value FROM json_each(CASE :state
         WHEN 'succeeded' THEN '["ended","settled"]'
         ELSE '["planned","submitting","in_doubt","in_progress","canceling","ended"]' END))

-- name: error_types
-- The error types of a job's failed requests, by one step of the index each.
WITH RECURSIVE found (kind) AS (
  SELECT min(error_type) FROM request WHERE job_id = :id AND state = 'failed'
  UNION ALL
  SELECT (SELECT min(error_type) FROM request WHERE job_id = :id AND state = 'failed' AND error_type > found.kind)
    FROM found WHERE found.kind IS NOT NULL)
SELECT kind FROM found WHERE kind IS NOT NULL

-- name: failed_of_type
SELECT count(*) FROM request WHERE job_id = :id AND state = 'failed' AND error_type = :error_type

-- name: errors
-- Read off the index of causes alone, in its order. The first of a group stands for it.
SELECT error_type, cause, count(*) AS count, min(id) AS first FROM request
 WHERE job_id = :id AND state = 'failed' GROUP BY error_type, cause ORDER BY count(*) DESC, error_type, cause LIMIT :limit

-- name: error_message
SELECT error_message FROM request WHERE id = :id

-- name: error_examples
SELECT custom_id, line FROM request
 WHERE job_id = :id AND state = 'failed' AND error_type = :error_type AND cause IS :cause
 ORDER BY id LIMIT :limit
