-- name: of_job
SELECT price.model AS name, price.geo, price.rates, CAST(sum(requests) AS BIGINT) AS requests,
       CAST(sum(input) AS BIGINT) AS input, CAST(sum(output) AS BIGINT) AS output, CAST(sum(write_5m) AS BIGINT) AS write_5m,
       CAST(sum(write_1h) AS BIGINT) AS write_1h, CAST(sum(read) AS BIGINT) AS read,
       CAST(sum(searches) AS BIGINT) AS searches, CAST(sum(cost_nanos) AS BIGINT) AS nanos,
       CAST(sum(unpriced) AS BIGINT) AS unpriced,
       CAST(coalesce(sum(requests) FILTER (WHERE kind = 'kept'), 0) AS BIGINT) AS kept
  FROM batch JOIN ledger ON ledger.batch_id = batch.id JOIN price ON price.id = ledger.price_id
 WHERE batch.job_id = :id
 GROUP BY price.model, price.geo, price.rates ORDER BY price.model, price.geo, price.rates

-- name: reserved
SELECT cap_nanos, reserved_nanos,
       (SELECT coalesce(sum(reserved_nanos), 0) FROM batch WHERE job_id = :id AND state IN ('void', 'abandoned', 'settled'))
  FROM job WHERE id = :id

-- name: by_day
SELECT price.day AS name, CAST(sum(requests) AS BIGINT) AS requests, CAST(sum(input) AS BIGINT) AS input,
       CAST(sum(output) AS BIGINT) AS output, CAST(sum(write_5m) AS BIGINT) AS write_5m,
       CAST(sum(write_1h) AS BIGINT) AS write_1h, CAST(sum(read) AS BIGINT) AS read,
       CAST(sum(searches) AS BIGINT) AS searches, CAST(sum(cost_nanos) AS BIGINT) AS nanos,
       CAST(sum(unpriced) AS BIGINT) AS unpriced
  FROM price JOIN ledger ON ledger.price_id = price.id
 WHERE price.day >= :since GROUP BY price.day ORDER BY price.day

-- name: by_day_and_model
SELECT price.day, price.model, CAST(sum(cost_nanos) AS BIGINT) AS nanos, CAST(sum(unpriced) AS BIGINT) AS unpriced
  FROM price JOIN ledger ON ledger.price_id = price.id
 WHERE price.day >= :since GROUP BY price.day, price.model
HAVING sum(requests) > 0 OR sum(cost_nanos) <> 0 ORDER BY price.day, price.model

-- name: by_model
SELECT price.model AS name, CAST(sum(requests) AS BIGINT) AS requests, CAST(sum(input) AS BIGINT) AS input,
       CAST(sum(output) AS BIGINT) AS output, CAST(sum(write_5m) AS BIGINT) AS write_5m,
       CAST(sum(write_1h) AS BIGINT) AS write_1h, CAST(sum(read) AS BIGINT) AS read,
       CAST(sum(searches) AS BIGINT) AS searches, CAST(sum(cost_nanos) AS BIGINT) AS nanos,
       CAST(sum(unpriced) AS BIGINT) AS unpriced
  FROM price JOIN ledger ON ledger.price_id = price.id
 WHERE price.day >= :since GROUP BY price.model ORDER BY price.model

-- name: by_job
SELECT job.public_id AS name, CAST(sum(requests) AS BIGINT) AS requests, CAST(sum(input) AS BIGINT) AS input,
       CAST(sum(output) AS BIGINT) AS output, CAST(sum(write_5m) AS BIGINT) AS write_5m,
       CAST(sum(write_1h) AS BIGINT) AS write_1h, CAST(sum(read) AS BIGINT) AS read,
       CAST(sum(searches) AS BIGINT) AS searches, CAST(sum(cost_nanos) AS BIGINT) AS nanos,
       CAST(sum(ledger.unpriced) AS BIGINT) AS unpriced
  FROM price JOIN ledger ON ledger.price_id = price.id JOIN batch ON batch.id = ledger.batch_id
  JOIN job ON job.id = batch.job_id
 WHERE price.day >= :since GROUP BY job.id, job.public_id ORDER BY job.id

-- name: unpriced
SELECT coalesce(sum(ledger.unpriced), 0) FROM price JOIN ledger ON ledger.price_id = price.id
 WHERE substr(price.day, 1, length(CAST(:key AS TEXT))) = CAST(:key AS TEXT)

-- name: by_kind
SELECT price.model, kind, CAST(sum(cost_nanos) AS BIGINT) AS nanos, CAST(sum(unpriced) AS BIGINT) AS unpriced
  FROM ledger JOIN price ON price.id = ledger.price_id GROUP BY price.model, kind ORDER BY nanos DESC, price.model, kind
