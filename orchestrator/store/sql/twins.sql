-- name: count_marked
-- First of all: from here on nobody else gives the job numbers, or discards it.
UPDATE job SET twins = twins + :count, twins_waiting = twins_waiting + :count
 WHERE id = :id AND (state = 'importing' OR (still_open = 1 AND state IN ('running', 'paused')))

-- name: mark
UPDATE request SET twin_of = CAST(told.original AS BIGINT)
  FROM (SELECT column1 AS id, column2 AS original FROM (VALUES (?, ?)) AS given) AS told
 WHERE request.id = CAST(told.id AS BIGINT)

-- name: of_batch
-- Twins that wait, of requests of a batch that are settled. CROSS JOIN: from the requests of the batch to their twins.
SELECT twin.id FROM request AS original CROSS JOIN request AS twin
 WHERE original.batch_id = :id AND original.state IN ('succeeded', 'failed', 'canceled')
   AND twin.twin_of = original.id AND twin.state = 'queued' LIMIT :limit

-- name: left_over
-- Jobs of which nothing is to be sent, or under way, and twins wait: of requests that were settled by no batch.
SELECT id FROM job
 WHERE twins_waiting > 0 AND queued = twins_waiting AND batched = 0 AND state IN ('running', 'paused', 'canceling')
   AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.job_id = job.id
                     AND batch.state NOT IN ('settled', 'void', 'abandoned'))

-- name: waiting
SELECT id FROM request WHERE job_id = :id AND state = 'queued' AND twin_of IS NOT NULL ORDER BY id LIMIT :limit

-- name: twins_waiting
SELECT twins_waiting FROM job WHERE id = :id

-- name: ends
-- How the originals of these twins ended; those are left out whose original has not.
SELECT original.state, original.stop, count(*)
  FROM json_each(:ids) AS wanted CROSS JOIN request AS twin CROSS JOIN request AS original
 WHERE twin.id = wanted.value AND original.id = twin.twin_of AND twin.state = 'queued' AND original.state IN ('succeeded', 'failed', 'canceled')
 GROUP BY original.state, original.stop

-- name: count_ended
UPDATE job SET twins_waiting = twins_waiting - :count WHERE id = :id

-- name: end
-- A twin has what its original has, and points to the same result. late: it came when the batch of its original was settled
-- already; it made no attempt, and is read with what no batch brought.
UPDATE request
   SET state = original.state, attempts = CASE WHEN :late = 1 THEN 0 ELSE original.attempts END,
       batch_id = CASE WHEN :late = 1 AND original.state <> 'succeeded' THEN NULL ELSE original.batch_id END,
       error_type = original.error_type, error_message = original.error_message, cause = original.cause,
       api_request_id = original.api_request_id, result_id = original.result_id, stop = original.stop
  FROM request AS original
 WHERE request.id IN (SELECT value FROM json_each(:ids)) AND request.state = 'queued' AND original.id = request.twin_of
   AND original.state IN ('succeeded', 'failed', 'canceled')

-- name: count_succeeded
UPDATE job SET queued = queued - :count, succeeded = succeeded + :count,
       twins_succeeded = twins_succeeded + :count
 WHERE id = :id

-- name: settled_twins
-- How the twins of these originals have ended; those that wait are left out.
SELECT state, stop, count(*) FROM request
 WHERE twin_of IN (SELECT value FROM json_each(:ids)) AND state IN ('succeeded', 'failed', 'canceled') GROUP BY state, stop

-- name: queue_again
-- With their originals: `ids`.
UPDATE request SET state = 'queued', batch_id = NULL, attempts = 0, retries = retries + 1, error_type = NULL,
       error_message = NULL, cause = NULL, api_request_id = NULL, result_id = NULL, stop = NULL
 WHERE twin_of IN (SELECT value FROM json_each(:ids)) AND state IN ('succeeded', 'failed', 'canceled')

-- name: count_queued_again
UPDATE job SET twins_waiting = twins_waiting + :count, twins_succeeded = twins_succeeded - :succeeded WHERE id = :id

-- name: params_of
SELECT id, params_bytes FROM request WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id
