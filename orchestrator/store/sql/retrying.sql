-- name: retriable
-- What a person may have tried again, a slice at a time: what failed (:failed: all; or of :types or :causes), what was canceled, and answers
-- that ended by one of :stops, or are invalid by one of :cut. Each slice goes on above the last: the job is walked once, and what fails again meanwhile is left alone.
-- Twins go with their originals, which ended as they did.
SELECT id, result_id, state FROM request
 WHERE id > :above AND id <= :high AND twin_of IS NULL
   AND ((state IN ('failed', 'canceled')
         AND ((state = 'failed' AND :failed = 1) OR (state = 'canceled' AND :canceled = 1) OR error_type IN (SELECT value FROM json_each(:types))
              OR cause IN (SELECT value FROM json_each(:causes))
              OR (error_type = 'invalid_answer' AND error_message IN (SELECT value FROM json_each(:cut)))))
     OR (state = 'succeeded'
         AND stop IN (SELECT id FROM stop_reason WHERE name IN (SELECT value FROM json_each(:stops)))))
 ORDER BY id LIMIT :limit

-- name: read
-- Of these, what decides the params that they are sent with.
SELECT id, custom_id, line, retries, params_bytes, change_id FROM request
 WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id

-- name: settled
-- Of these, those that are settled, as they are now.
SELECT id, result_id, state, retries FROM request
 WHERE id IN (SELECT value FROM json_each(:ids)) AND twin_of IS NULL AND state IN ('succeeded', 'failed', 'canceled')
 ORDER BY id

-- name: queue
UPDATE request SET state = 'queued', batch_id = NULL, attempts = 0, invalid_answers = NULL, retries = retries + 1,
       error_type = NULL, error_message = NULL, cause = NULL, api_request_id = NULL, result_id = NULL, stop = NULL
 WHERE id IN (SELECT value FROM json_each(:ids))

-- name: queue_changed
UPDATE request SET state = 'queued', batch_id = NULL, attempts = 0, invalid_answers = NULL, retries = retries + 1,
       error_type = NULL, error_message = NULL, cause = NULL, api_request_id = NULL, result_id = NULL, stop = NULL,
       params_bytes = CAST(told.size_bytes AS BIGINT), change_id = CAST(told.change_id AS BIGINT)
  FROM (SELECT column1 AS id, column2 AS size_bytes, column3 AS change_id FROM (VALUES (?, ?, ?)) AS given) AS told
 WHERE request.id = CAST(told.id AS BIGINT)

-- name: forget_results
DELETE FROM result WHERE id IN (SELECT value FROM json_each(:ids))

-- name: answers
-- The answers of these requests, and whose they are. CROSS JOIN: from the list to the requests.
SELECT request.batch_id, batch.created_at, request.stop, result.price_id, result.cost_nanos, result.extra, result.body
  FROM json_each(:ids) AS wanted CROSS JOIN request ON request.id = wanted.value
  JOIN result ON result.id = request.result_id AND result.request_id = request.id
  JOIN batch ON batch.id = request.batch_id
 ORDER BY request.id

-- name: keep_answers
-- What was paid for stays: the answer becomes an attempt of the batch that it came in.
INSERT INTO attempt (batch_id, request_id, kind, outcome, error_message, at, body, input_tokens, output_tokens,
                     cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, price_id, cost_nanos, searches, extra)
SELECT request.batch_id, request.id, 'succeeded', 'replaced',
       'another answer was asked for' || coalesce(': this one ended by ' || (SELECT name FROM stop_reason WHERE stop_reason.id = stop), ''),
       CAST(:now AS TEXT), result.body, result.input_tokens, result.output_tokens, result.cache_read_tokens,
       result.cache_write_5m_tokens, result.cache_write_1h_tokens, result.price_id, result.cost_nanos, result.searches,
       result.extra
  FROM json_each(:ids) AS wanted CROSS JOIN request ON request.id = wanted.value
  JOIN result ON result.id = request.result_id AND result.request_id = request.id

-- name: take_stop
-- The last of its kind takes the row with it.
DELETE FROM stop_count WHERE job_id = :id AND stop = :stop AND count = :count

-- name: take_stops
UPDATE stop_count SET count = count - :count WHERE job_id = :id AND stop = :stop AND count > :count

-- name: spec
SELECT spec FROM param_change WHERE id = :id

-- name: change
SELECT id FROM param_change WHERE job_id = :job_id AND digest = :digest

-- name: add_change
INSERT INTO param_change (job_id, digest, spec) VALUES (:job_id, :digest, :spec)
