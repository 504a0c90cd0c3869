-- name: keep
INSERT INTO estimate (job_id, kind, input_tokens, low_nanos, expected_nanos, high_nanos, worst_nanos, basis)
VALUES (:job_id, :kind, :input_tokens, :low_nanos, :expected_nanos, :high_nanos, :worst_nanos, :basis)

-- name: kept
SELECT input_tokens, low_nanos, expected_nanos, high_nanos, worst_nanos, basis, kind FROM estimate WHERE job_id = :id

-- name: answers_of_kind
-- Lines of an earlier version do not say how much answers differ.
SELECT CAST(coalesce(sum(ledger.requests), 0) AS BIGINT), CAST(coalesce(sum(ledger.output), 0) AS BIGINT),
       coalesce(sum(ledger.output_squares), 0)
  FROM estimate JOIN batch ON batch.job_id = estimate.job_id JOIN ledger ON ledger.batch_id = batch.id
 WHERE estimate.kind = :kind AND ledger.kind = 'kept' AND ledger.output_squares IS NOT NULL

-- name: costs_of_kind
SELECT CAST(coalesce(sum(ledger.requests), 0) AS BIGINT), CAST(coalesce(sum(ledger.cost_nanos), 0) AS BIGINT),
       coalesce(sum(ledger.cost_squares), 0)
  FROM estimate JOIN batch ON batch.job_id = estimate.job_id JOIN ledger ON ledger.batch_id = batch.id
 WHERE estimate.kind = :kind AND ledger.kind = 'kept' AND ledger.cost_squares IS NOT NULL AND ledger.unpriced = 0

-- name: answers_of_model
-- Of a model by its name without a date; an answer names it with one.
SELECT CAST(coalesce(sum(ledger.requests), 0) AS BIGINT), CAST(coalesce(sum(ledger.output), 0) AS BIGINT),
       coalesce(sum(ledger.output_squares), 0)
  FROM price JOIN ledger ON ledger.price_id = price.id
 WHERE (price.model = CAST(:model AS TEXT)
    OR (length(price.model) = length(CAST(:model AS TEXT)) + 9
        AND price.model BETWEEN CAST(:model AS TEXT) || '-00000000' AND CAST(:model AS TEXT) || '-99999999'))
   AND ledger.kind = 'kept' AND ledger.output_squares IS NOT NULL

-- name: costs_of_job
-- What its requests cost so far, with what was paid for in vain; without those that were sent ahead of a prefix, which are
-- only counted.
WITH ahead (batch_id, state) AS (SELECT request.batch_id, request.state
                                   FROM prefix JOIN request ON request.id = prefix.primer_id WHERE prefix.job_id = :id)
SELECT (SELECT count(*) FROM ahead WHERE state IN ('succeeded', 'failed')),
       CAST(coalesce(sum(ledger.cost_nanos), 0) AS BIGINT), sum(ledger.cost_squares),
       count(*) FILTER (WHERE ledger.cost_squares IS NULL)
  FROM batch JOIN ledger ON ledger.batch_id = batch.id
 WHERE batch.job_id = :id AND NOT EXISTS (SELECT 1 FROM ahead WHERE ahead.batch_id = batch.id)

-- name: spent
SELECT spent_nanos FROM job WHERE id = :id

-- name: expected_and_spent
SELECT estimate.expected_nanos, job.spent_nanos FROM estimate JOIN job ON job.id = estimate.job_id
 WHERE job.id = :id AND estimate.expected_nanos > 0 AND job.unpriced = 0 AND job.state = 'finished'
