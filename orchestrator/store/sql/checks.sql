-- Everything here reads the whole store: for `db check`, which a person asks for; nothing runs it by itself.

-- name: damage
PRAGMA integrity_check(5)

-- name: orphans
SELECT "table", count(*) FROM pragma_foreign_key_check GROUP BY 1

-- name: miscounted
-- Jobs whose counts are not what counting gives.
SELECT job.public_id FROM job
  LEFT JOIN request ON request.id BETWEEN job.id << 32 AND (job.id << 32) + 4294967295
 GROUP BY job.id
HAVING job.total <> count(request.id)
    OR job.queued    <> coalesce(sum(request.state = 'queued'), 0)
    OR job.batched   <> coalesce(sum(request.state = 'batched'), 0)
    OR job.succeeded <> coalesce(sum(request.state = 'succeeded'), 0)
    OR job.failed    <> coalesce(sum(request.state = 'failed'), 0)
    OR job.canceled  <> coalesce(sum(request.state = 'canceled'), 0)

-- name: misstopped
-- Jobs whose counts of stop reasons are not what counting gives.
SELECT DISTINCT public_id FROM job JOIN (
  SELECT job_id, stop FROM (
    SELECT job_id, stop, count FROM stop_count
    UNION ALL
    SELECT job_id, stop, -count(*) FROM request WHERE stop IS NOT NULL GROUP BY job_id, stop)
  GROUP BY job_id, stop HAVING sum(count) <> 0) AS wrong ON wrong.job_id = job.id

-- name: unknown
-- Jobs whose requests cannot all be found by their custom ids. (An import in progress sorts them last.)
SELECT job.public_id FROM job LEFT JOIN known_id ON known_id.job_id = job.id
 WHERE job.state <> 'importing' GROUP BY job.id HAVING job.total <> count(known_id.request_id)

-- name: unanswered
-- Requests that show a result that is not there, or not theirs; and successes without any. Not those of purged jobs.
SELECT count(*) FROM request JOIN job ON job.id = request.job_id LEFT JOIN result ON result.id = request.result_id
 WHERE job.purged_at IS NULL AND ((request.result_id IS NOT NULL AND result.request_id IS NOT request.id)
    OR (request.state = 'succeeded' AND request.result_id IS NULL))

-- name: left_over
-- Purged jobs of which nothing should be left, and something is.
SELECT public_id FROM job
 WHERE purged_at IS NOT NULL AND purged_above IS NULL
   AND (id IN (SELECT first_id >> 32 FROM payload)
     OR id IN (SELECT request_id >> 32 FROM result))

-- name: blocks
SELECT first_id, count, data FROM payload
 WHERE first_id >> 32 NOT IN (SELECT id FROM job WHERE purged_at IS NOT NULL) ORDER BY first_id

-- name: requests_from
SELECT id, params_bytes FROM request WHERE id BETWEEN ? AND ? ORDER BY id

-- name: requests
SELECT count(*) FROM request WHERE job_id NOT IN (SELECT id FROM job WHERE purged_at IS NOT NULL)
