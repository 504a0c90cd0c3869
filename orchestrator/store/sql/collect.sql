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
-- Another daemon may be adding it, or its number.
INSERT INTO stop_reason (name) VALUES (:name) ON CONFLICT DO NOTHING

-- name: count_stopped
INSERT INTO stop_count (job_id, stop, count) VALUES (:id, :stop, :count)
ON CONFLICT (job_id, stop) DO UPDATE SET count = stop_count.count + excluded.count

-- name: add_attempt
INSERT INTO attempt (batch_id, request_id, kind, outcome, error_type, error_message, api_request_id, at, body,
                     input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
                     price_id, cost_nanos, searches, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: open_to_lines
-- First of all in a chunk of results: elsewhere they may be given up meanwhile.
SELECT 1 FROM batch WHERE id = :id AND state = 'ended' AND collected = 0

-- name: fail
UPDATE request SET state = 'failed', attempts = attempts + 1, error_type = told.error_type,
       error_message = told.error_message, cause = told.cause, api_request_id = told.api_request_id,
       result_id = CAST(told.result_id AS BIGINT)
  FROM (SELECT column1 AS id, column2 AS error_type, column3 AS error_message, column4 AS cause,
               column5 AS api_request_id, column6 AS result_id
          FROM (VALUES (?, ?, ?, ?, ?, ?)) AS given) AS told
 WHERE request.id = CAST(told.id AS BIGINT)

-- name: succeeded_count
-- Twins aside: they were not in it.
SELECT count(*) FROM request WHERE batch_id = :id AND state = 'succeeded' AND twin_of IS NULL

-- name: attempt_counts
SELECT kind, count(*) FROM attempt WHERE batch_id = :id GROUP BY kind

-- name: again
-- The download did not complete the batch: it is repeated from the start. Only full ones (to a clean end) use up patience.
UPDATE batch
   SET download_due_at = :due, download_tries = download_tries + 1, downloads = downloads + :full,
       first_download_date = CASE WHEN :full = 1 THEN coalesce(first_download_date, :date) ELSE first_download_date END,
       fence = fence + 1
 WHERE id = :id AND state = 'ended' AND collected = 0 AND fence = :fence

-- name: collected
UPDATE batch SET collected = 1, downloads = downloads + 1, fence = fence + 1
 WHERE id = :id AND state = 'ended' AND collected = 0 AND fence = :fence

-- name: unseen
-- Members without any line, at the end of patience. `0 = (SELECT count(*) …)` is asked of each, by key; NOT EXISTS may become
-- a join that goes through all attempts of the batch for each.
SELECT request.id FROM request
 WHERE batch_id = :id AND state = 'batched'
   AND 0 = (SELECT count(*) FROM attempt WHERE attempt.batch_id = :id AND attempt.request_id = request.id)
