-- name: count_in
-- How many requests of a job are in a state, from the counts that are kept.
SELECT CASE :state WHEN 'queued' THEN queued WHEN 'batched' THEN batched WHEN 'succeeded' THEN succeeded
                   WHEN 'failed' THEN failed ELSE canceled END
  FROM job WHERE id = :id

-- name: page, and backwards: last
-- The lists below have one shape, and each its own way to the rows: by the key, by a partial index, batch by batch.
-- :low, :high: where the custom ids lie that begin as is wanted, if many do.
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE id > :above AND id < :below
   AND (CAST(:error_type AS TEXT) IS NULL OR error_type = :error_type)
   AND (CAST(:error_message AS TEXT) IS NULL OR error_message = :error_message)
   AND (CAST(:cause AS TEXT) IS NULL OR cause = :cause) AND (CAST(:stop AS BIGINT) IS NULL OR stop = :stop)
 ORDER BY id LIMIT :limit

-- name: page_queued, and backwards: last_queued
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE job_id = :id AND state = 'queued' AND id > :above AND id < :below
   AND (CAST(:error_type AS TEXT) IS NULL OR error_type = :error_type)
   AND (CAST(:error_message AS TEXT) IS NULL OR error_message = :error_message)
   AND (CAST(:cause AS TEXT) IS NULL OR cause = :cause) AND (CAST(:stop AS BIGINT) IS NULL OR stop = :stop)
   AND (CAST(:low AS TEXT) IS NULL OR custom_id >= :low AND custom_id < :high)
 ORDER BY id LIMIT :limit

-- name: page_canceled, and backwards: last_canceled
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE job_id = :id AND state = 'canceled' AND id > :above AND id < :below
   AND (CAST(:error_type AS TEXT) IS NULL OR error_type = :error_type)
   AND (CAST(:error_message AS TEXT) IS NULL OR error_message = :error_message)
   AND (CAST(:cause AS TEXT) IS NULL OR cause = :cause) AND (CAST(:stop AS BIGINT) IS NULL OR stop = :stop)
   AND (CAST(:low AS TEXT) IS NULL OR custom_id >= :low AND custom_id < :high)
 ORDER BY id LIMIT :limit

-- name: page_failed, and backwards: last_failed
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE job_id = :id AND state = 'failed' AND error_type = :error_type AND id > :above AND id < :below
   AND (CAST(:error_message AS TEXT) IS NULL OR error_message = :error_message)
   AND (CAST(:cause AS TEXT) IS NULL OR cause = :cause)
   AND (CAST(:low AS TEXT) IS NULL OR custom_id >= :low AND custom_id < :high)
 ORDER BY id LIMIT :limit

-- name: page_stopped, and backwards: last_stopped
-- Of successes that ended oddly; `stop > 2` is the condition of their partial index.
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE job_id = :id AND stop = :stop AND stop > 2 AND id > :above AND id < :below
   AND (CAST(:low AS TEXT) IS NULL OR custom_id >= :low AND custom_id < :high)
 ORDER BY id LIMIT :limit

-- name: page_of_batch, and backwards: last_of_batch
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE batch_id = :batch_id AND id > :above AND id < :below AND (CAST(:state AS TEXT) IS NULL OR state = :state)
   AND (CAST(:error_type AS TEXT) IS NULL OR error_type = :error_type)
   AND (CAST(:error_message AS TEXT) IS NULL OR error_message = :error_message)
   AND (CAST(:cause AS TEXT) IS NULL OR cause = :cause) AND (CAST(:stop AS BIGINT) IS NULL OR stop = :stop)
   AND (CAST(:low AS TEXT) IS NULL OR custom_id >= :low AND custom_id < :high)
 ORDER BY id LIMIT :limit

-- name: page_of_ids, and backwards: last_of_ids
-- Of requests that were found by their custom ids.
SELECT id, custom_id, line, state, attempts, error_type, error_message,
       (SELECT name FROM stop_reason WHERE stop_reason.id = stop), batch_id, params_bytes FROM request
 WHERE id IN (SELECT value FROM json_each(:ids))
   AND (CAST(:state AS TEXT) IS NULL OR state = :state) AND (CAST(:batch_id AS BIGINT) IS NULL OR batch_id = :batch_id)
   AND (CAST(:error_type AS TEXT) IS NULL OR error_type = :error_type)
   AND (CAST(:error_message AS TEXT) IS NULL OR error_message = :error_message)
   AND (CAST(:cause AS TEXT) IS NULL OR cause = :cause) AND (CAST(:stop AS BIGINT) IS NULL OR stop = :stop)
 ORDER BY id LIMIT :limit

-- name: stop_of
-- The number of a stop reason that an answer of the job has, from the counts that are kept.
SELECT stop FROM stop_count JOIN stop_reason ON stop_reason.id = stop WHERE job_id = :id AND name = :stop_reason

-- name: batches_of
-- The batches in which requests of a state can be: what succeeded is in one whose results came or are coming.
SELECT id FROM batch
 WHERE job_id = :id
   AND state IN ('planned', 'submitting', 'in_doubt', 'in_progress', 'canceling', 'ended', 'settled')
   AND CASE CAST(:state AS TEXT) WHEN 'succeeded' THEN state IN ('ended', 'settled') ELSE state <> 'settled' END

-- name: error_types
-- The error types of a job's failed requests, by one step of the index each.
WITH RECURSIVE found (kind) AS (
  SELECT min(error_type) FROM request WHERE job_id = :id AND state = 'failed'
  UNION ALL
  SELECT (SELECT min(error_type) FROM request WHERE job_id = :id AND state = 'failed' AND error_type > found.kind)
    FROM found WHERE found.kind IS NOT NULL)
SELECT kind FROM found WHERE kind IS NOT NULL
