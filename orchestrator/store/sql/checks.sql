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
    OR job.queued    <> count(*) FILTER (WHERE request.state = 'queued')
    OR job.batched   <> count(*) FILTER (WHERE request.state = 'batched')
    OR job.succeeded <> count(*) FILTER (WHERE request.state = 'succeeded')
    OR job.failed    <> count(*) FILTER (WHERE request.state = 'failed')
    OR job.canceled  <> count(*) FILTER (WHERE request.state = 'canceled')

-- name: misstopped
-- Jobs whose counts of stop reasons are not what counting gives.
SELECT DISTINCT public_id FROM job JOIN (
  SELECT job_id, stop FROM (
    SELECT job_id, stop, count FROM stop_count
    UNION ALL
    SELECT job_id, stop, -count(*) FROM request WHERE stop IS NOT NULL GROUP BY job_id, stop) AS pair
  GROUP BY job_id, stop HAVING sum(count) <> 0) AS wrong ON wrong.job_id = job.id

-- name: mistwinned
-- Jobs whose counts of twins are not what counting gives, and those with a twin that has no original, or another end than it.
SELECT job.public_id FROM job
  LEFT JOIN request ON request.id BETWEEN job.id << 32 AND (job.id << 32) + 4294967295 AND request.twin_of IS NOT NULL
  LEFT JOIN request AS original ON original.id = request.twin_of
 WHERE job.dedupe = 1 AND job.state <> 'importing'
 GROUP BY job.id
HAVING job.twins <> count(request.id)
    OR job.twins_waiting <> count(*) FILTER (WHERE request.state = 'queued')
    OR job.twins_succeeded <> count(*) FILTER (WHERE request.state = 'succeeded')
    OR count(*) FILTER (WHERE request.id IS NOT NULL
                          AND (original.id IS NULL OR original.twin_of IS NOT NULL OR original.id >= request.id
                               OR original.id >> 32 <> job.id
                               OR (request.state <> 'queued' AND request.state <> original.state))) > 0

-- name: unknown
-- Jobs whose requests cannot all be found by their custom ids. (An import in progress sorts them last.)
SELECT job.public_id FROM job LEFT JOIN known_id ON known_id.job_id = job.id
 WHERE job.state <> 'importing' GROUP BY job.id HAVING job.total <> count(known_id.request_id)

-- name: unanswered
-- Requests that show a result that is not there, or not theirs; and successes without any. Not those of purged jobs.
SELECT count(*) FROM request JOIN job ON job.id = request.job_id LEFT JOIN result ON result.id = request.result_id
 WHERE job.purged_at IS NULL AND ((request.result_id IS NOT NULL AND result.request_id IS NOT coalesce(request.twin_of, request.id))
    OR (request.state = 'succeeded' AND request.result_id IS NULL))

-- name: misentered
-- Jobs with a batch whose lines in the ledger are not what its answers cost. Of purged jobs only the ledger is left. A result
-- without a price is one that an earlier version stored: whether it is in the ledger depends on when.
SELECT DISTINCT job.public_id FROM job JOIN batch ON batch.job_id = job.id JOIN (
  SELECT batch_id, kind FROM (
    SELECT batch_id, kind, cost_nanos AS nanos, unpriced, 0 AS unlisted FROM ledger WHERE kind IN ('kept', 'retried')
    UNION ALL
    SELECT request.batch_id, 'kept', -coalesce(cost_nanos, 0), CASE WHEN cost_nanos IS NULL THEN -1 ELSE 0 END,
           CASE WHEN cost_nanos IS NULL AND price_id IS NULL THEN 1 ELSE 0 END
      FROM request JOIN result ON result.id = request.result_id AND result.request_id = request.id
     WHERE request.state = 'succeeded'
    UNION ALL
    SELECT batch_id, 'retried', -coalesce(cost_nanos, 0), CASE WHEN cost_nanos IS NULL THEN -1 ELSE 0 END, 0 FROM attempt
  ) AS line
  GROUP BY batch_id, kind HAVING sum(nanos) <> 0 OR sum(unpriced) NOT BETWEEN -sum(unlisted) AND 0) AS wrong ON wrong.batch_id = batch.id
 WHERE job.purged_at IS NULL

-- name: misspent
-- Jobs whose spent is not the sum of their lines.
SELECT job.public_id FROM job LEFT JOIN batch ON batch.job_id = job.id LEFT JOIN ledger ON ledger.batch_id = batch.id
 GROUP BY job.id
HAVING job.spent_nanos <> coalesce(sum(ledger.cost_nanos), 0) OR job.unpriced <> coalesce(sum(ledger.unpriced), 0)

-- name: misspread
-- Jobs with a line whose sums of squares no answers of that sum can have. (Floating point: a little is allowed.)
SELECT DISTINCT job.public_id FROM job JOIN batch ON batch.job_id = job.id JOIN ledger ON ledger.batch_id = batch.id
 WHERE output_squares < 0 OR output_squares > 1.001 * output * output
    OR cost_squares < 0 OR cost_squares > 1.001 * cost_nanos * cost_nanos

-- name: misreserved
-- Jobs whose reserved is not the sum of their batches.
SELECT job.public_id FROM job LEFT JOIN batch ON batch.job_id = job.id
 GROUP BY job.id HAVING job.reserved_nanos <> coalesce(sum(batch.reserved_nanos), 0)

-- name: spent_by_day
SELECT day, sum(cost_nanos) FROM ledger JOIN price ON price.id = price_id GROUP BY day

-- name: reserving
SELECT id, reserved_nanos FROM batch WHERE reserved_nanos > 0

-- name: booked
SELECT scope, key, spent_nanos, reserved_nanos FROM spending

-- name: unbooked
SELECT substr(created_at, 1, 10), sum(unbooked_spent), sum(unbooked_taken) FROM batch
 WHERE unbooked_spent <> 0 OR unbooked_taken <> 0 GROUP BY 1

-- name: left_over
-- Purged jobs of which nothing should be left, and something is.
SELECT public_id FROM job
 WHERE purged_at IS NOT NULL AND purged_above IS NULL
   AND (id IN (SELECT first_id >> 32 FROM payload)
     OR id IN (SELECT first_id >> 32 FROM source_row)
     OR id IN (SELECT request_id >> 32 FROM result))

-- name: mischanged
-- Jobs with a request whose change is not one of the job, or was deleted although the job was not; a twin has none of its own.
SELECT DISTINCT job.public_id FROM request JOIN job ON job.id = request.job_id
  LEFT JOIN param_change ON param_change.id = request.change_id
 WHERE request.change_id IS NOT NULL
   AND (param_change.job_id IS NULL OR param_change.job_id <> job.id OR request.twin_of IS NOT NULL
        OR (param_change.spec IS NULL AND job.purged_at IS NULL))

-- name: blocks
SELECT first_id, count, data FROM payload
 WHERE first_id >> 32 NOT IN (SELECT id FROM job WHERE purged_at IS NOT NULL) ORDER BY first_id

-- name: row_blocks
SELECT first_id, count, data FROM source_row
 WHERE first_id >> 32 NOT IN (SELECT id FROM job WHERE purged_at IS NOT NULL) ORDER BY first_id

-- name: rows_counted
SELECT id, row_count FROM job
 WHERE purged_at IS NULL AND (row_count > 0 OR id IN (SELECT first_id >> 32 FROM source_row)) ORDER BY id

-- name: requests_from
SELECT id, params_bytes, change_id FROM request WHERE id BETWEEN ? AND ? ORDER BY id

-- name: requests
SELECT count(*) FROM request WHERE job_id NOT IN (SELECT id FROM job WHERE purged_at IS NOT NULL)
