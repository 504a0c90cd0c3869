-- name: by_ref
-- An exact id or name, or a unique prefix of an id; `rank` prefers the more exact. Open imports show too.
SELECT *, CASE WHEN public_id = :ref THEN 0 WHEN name = :ref THEN 1 ELSE 2 END AS rank FROM job
 WHERE public_id = :ref OR name = :ref OR substr(public_id, 1, length(:ref)) = :ref
 ORDER BY rank, id DESC LIMIT 20

-- name: last
SELECT * FROM job ORDER BY id DESC LIMIT 1

-- name: close_names
SELECT public_id, name FROM job ORDER BY id DESC LIMIT 200

-- name: jobs
SELECT * FROM job WHERE (:before IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit

-- name: batch_states
SELECT state, count(*) FROM batch WHERE job_id = :id GROUP BY state

-- name: attention
SELECT * FROM attention WHERE job_id = :id ORDER BY since

-- name: next_expiry
SELECT min(expires_at) FROM batch WHERE job_id = :id AND state IN ('in_progress', 'canceling')

-- name: sweep_until
-- Until when (the API's time) a void or abandoned batch of this job is still looked for.
SELECT max(closed_date) FROM batch
 WHERE job_id = :id AND state IN ('void', 'abandoned') AND swept = 0 AND sent_at IS NOT NULL

-- name: errors
SELECT error_type, error_message, count(*) AS count FROM request
 WHERE job_id = :id AND state = 'failed' GROUP BY error_type, error_message ORDER BY count(*) DESC, error_type LIMIT :limit

-- name: error_examples
SELECT custom_id, line FROM request
 WHERE job_id = :id AND state = 'failed' AND error_type = :error_type AND error_message IS :error_message
 ORDER BY id LIMIT :limit

-- name: results
SELECT request.id, request.custom_id, request.state, result.body
  FROM request LEFT JOIN result ON result.id = request.result_id
 WHERE request.id > :above AND request.id <= :high AND request.state IN ('succeeded', 'failed', 'canceled')
 ORDER BY request.id LIMIT :limit

-- name: batches
SELECT * FROM batch WHERE job_id = :id ORDER BY id

-- name: batch
SELECT * FROM batch WHERE id = :id

-- name: batch_by_remote
SELECT * FROM batch WHERE remote_id = :remote_id

-- name: batches_by_remote
SELECT * FROM batch WHERE remote_id IN (SELECT value FROM json_each(:remote_ids))

-- name: events
SELECT * FROM event WHERE job_id = :id AND event.id > :after ORDER BY event.id LIMIT :limit

-- name: all_events
SELECT * FROM event WHERE event.id > :after ORDER BY event.id LIMIT :limit

-- name: request
SELECT request.*, result.input_tokens, result.output_tokens, result.body FROM request LEFT JOIN result ON result.id = request.result_id
 WHERE request.id = :id

-- name: trips
SELECT * FROM attempt WHERE request_id = :request_id ORDER BY batch_id

-- name: refused
-- A page ends with a whole line, which may have several problems.
SELECT line, field, problem, remedy, raw FROM refused_line
 WHERE job_id = :id AND line > :after
   AND line <= (SELECT max(line) FROM (SELECT line FROM refused_line
                                        WHERE job_id = :id AND line > :after ORDER BY line LIMIT :limit))
 ORDER BY line

-- name: meta
SELECT lineage, created_at, sandbox, spread, duplicates_total FROM meta

-- name: fresh_job
SELECT * FROM job WHERE id = :id

-- name: ended_spans
-- How long finished batches of this job took, for an honest estimate.
SELECT created_at, ended_at FROM batch WHERE job_id = :id AND ended_at IS NOT NULL ORDER BY id DESC LIMIT 50

-- name: unfinished
SELECT * FROM job WHERE state IN ('running', 'paused', 'canceling') ORDER BY id
