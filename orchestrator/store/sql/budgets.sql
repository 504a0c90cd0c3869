-- name: job_limit
SELECT cap_nanos, spent_nanos, reserved_nanos,
       (SELECT coalesce(sum(worst_nanos), 0) FROM batch WHERE job_id = :id AND state = 'planned')
  FROM job WHERE id = :id AND cap_nanos IS NOT NULL

-- name: held_of_job
-- What is reserved of batches that are over: of those that may turn up yet, and of those with answers of unknown cost.
SELECT coalesce(sum(reserved_nanos) FILTER (WHERE state <> 'settled'), 0),
       coalesce(sum(reserved_nanos) FILTER (WHERE state = 'settled'), 0)
  FROM batch WHERE job_id = :id AND reserved_nanos > 0 AND state IN ('void', 'abandoned', 'settled')

-- name: held_of_book
SELECT coalesce(sum(reserved_nanos) FILTER (WHERE state <> 'settled'), 0),
       coalesce(sum(reserved_nanos) FILTER (WHERE state = 'settled'), 0)
  FROM batch
 WHERE reserved_nanos > 0 AND state IN ('void', 'abandoned', 'settled')
   AND substr(coalesce(created_at, cursor_date, sent_at), 1, length(CAST(:key AS TEXT))) = CAST(:key AS TEXT)

-- name: budgets
SELECT scope, cap_nanos FROM budget ORDER BY scope

-- name: newest
-- When the API made the latest of the newest batches: one that was adopted may be much older than those before it.
SELECT max(created_at) FROM batch WHERE id > (SELECT max(id) FROM batch) - 100

-- name: set_budgets
SELECT scope, cap_nanos, set_by FROM budget

-- name: book
-- With what batches of that day, or month, have not booked yet.
SELECT coalesce(sum(spent), 0), coalesce(sum(reserved), 0) FROM (
  SELECT spent_nanos AS spent, reserved_nanos AS reserved FROM spending WHERE scope = :scope AND key = :key
  UNION ALL
  SELECT unbooked_spent, -unbooked_taken FROM batch
   WHERE (unbooked_spent <> 0 OR unbooked_taken <> 0)
     AND substr(created_at, 1, length(CAST(:key AS TEXT))) = CAST(:key AS TEXT)) AS entry

-- name: planned
-- What is about to be reserved: not what a paused job has planned, which is planned afresh.
SELECT coalesce(sum(worst_nanos), 0) FROM batch
 WHERE state = 'planned' AND EXISTS (SELECT 1 FROM job WHERE job.id = batch.job_id AND job.state = 'running')

-- name: next_queued_block
-- The block of payload that holds the next queued request of a job, twins aside, above number :above, as row 0; and what is queued in it.
WITH next (id) AS (SELECT id FROM request
                    WHERE job_id = :job_id AND state = 'queued' AND twin_of IS NULL AND id > (CAST(:job_id AS BIGINT) << 32) + :above
                    ORDER BY id LIMIT 1),
     block (first_id, count) AS (SELECT first_id, count FROM payload
                                  WHERE first_id = (SELECT max(first_id) FROM payload WHERE first_id <= (SELECT id FROM next))
                                    AND first_id + count > (SELECT id FROM next))
SELECT 0, first_id, count, data FROM payload WHERE first_id = (SELECT first_id FROM block)
UNION ALL
SELECT id, params_bytes, change_id, NULL FROM request
 WHERE job_id = :job_id AND state = 'queued' AND twin_of IS NULL AND id >= (SELECT id FROM next)
   AND id < coalesce((SELECT first_id + count FROM block), (SELECT id + 1 FROM next))

-- name: price
UPDATE batch SET worst_nanos = :worst WHERE id = :id AND worst_nanos IS NULL

-- name: price_anew
-- Nothing is reserved for a planned batch: that comes with its intent.
UPDATE batch SET worst_nanos = :worst WHERE id = :id AND state = 'planned' AND fence = :fence

-- name: sent
SELECT state NOT IN ('planned', 'abandoned', 'void', 'settled') FROM batch WHERE id = :id

-- name: billed
SELECT coalesce(sum(cost_nanos), 0) FROM ledger WHERE batch_id = :id

-- name: unpriced
SELECT coalesce(sum(unpriced), 0) FROM ledger
 WHERE batch_id = :id AND EXISTS (SELECT 1 FROM batch WHERE id = :id AND reserved_nanos > 0)

-- name: unpriced_requests
-- Whose answers do not say what they cost: kept ones, and those that are sent again.
SELECT request.id FROM request JOIN result ON result.id = request.result_id AND result.request_id = request.id
 WHERE request.batch_id = :id AND request.state = 'succeeded' AND result.cost_nanos IS NULL
UNION
SELECT request_id FROM attempt WHERE batch_id = :id AND cost_nanos IS NULL

-- name: models_without_price
SELECT DISTINCT price.model FROM ledger JOIN price ON price.id = ledger.price_id
 WHERE ledger.batch_id = :id AND ledger.unpriced > 0 AND price.model <> '' AND price.rates IS NULL ORDER BY price.model

-- name: warn_job
UPDATE job SET warned_at = :now
 WHERE id = :id AND warned_at IS NULL AND cap_nanos IS NOT NULL AND spent_nanos > 0 AND spent_nanos * 5 >= cap_nanos * 4

-- name: warn_book
UPDATE spending SET warned_at = :now
 WHERE scope = :scope AND key = :key AND warned_at IS NULL AND spent_nanos > 0
   AND EXISTS (SELECT 1 FROM budget WHERE budget.scope = spending.scope AND spending.spent_nanos * 5 >= budget.cap_nanos * 4)

-- name: cap_job
UPDATE job SET cap_nanos = :cap, warned_at = NULL, fence = fence + 1 WHERE id = :id

-- name: cap_scope
INSERT INTO budget (scope, cap_nanos, set_by) VALUES (:scope, :cap, :set_by)
ON CONFLICT (scope) DO UPDATE SET cap_nanos = excluded.cap_nanos, set_by = excluded.set_by

-- name: uncap_scope
DELETE FROM budget WHERE scope = :scope

-- name: warn_anew
UPDATE spending SET warned_at = NULL WHERE scope = :scope AND warned_at IS NOT NULL

-- name: stopped
-- Jobs that a cap stopped, and that their own stops no more.
SELECT id FROM job
 WHERE state = 'paused' AND reason_code = 'budget' AND (CAST(:id AS BIGINT) IS NULL OR id = :id)
   AND (cap_nanos IS NULL OR spent_nanos + reserved_nanos < cap_nanos)
 ORDER BY id

-- name: forget_waits
DELETE FROM attention WHERE kind = :kind AND (CAST(:id AS BIGINT) IS NULL OR job_id = :id)
