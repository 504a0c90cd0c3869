-- name: purged
SELECT public_id, purged_at FROM job WHERE id = :id AND purged_at IS NOT NULL

-- name: results
-- What all answers of a request cost: that of a success lies with its result, those of others with its attempts; a twin
-- costs nothing, and shows the result of its original. Whose a result is, is asked: a request of a purged job may show a number that was given again.
SELECT request.id, request.custom_id, request.state, result.body,
       CASE WHEN request.twin_of IS NOT NULL THEN 0 ELSE
         CASE WHEN request.state = 'succeeded' THEN result.cost_nanos ELSE 0 END
         + CASE WHEN request.state = 'succeeded' AND request.attempts <= 1 AND request.retries = 0 THEN 0
                WHEN coalesce(request.error_type, '') <> 'missing_result'
                THEN (SELECT CASE WHEN count(*) = count(cost_nanos) THEN CAST(coalesce(sum(cost_nanos), 0) AS BIGINT) END
                        FROM attempt WHERE attempt.request_id = request.id) END END AS cost_nanos,
       (SELECT custom_id FROM request AS original WHERE original.id = request.twin_of) AS reused_from
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = coalesce(request.twin_of, request.id)
 WHERE request.id > :above AND request.id <= :high AND request.state IN ('succeeded', 'failed', 'canceled')
   AND (:every = 1 OR EXISTS (SELECT 1 FROM piloted WHERE piloted.request_id = request.id))
 ORDER BY request.id LIMIT :limit

-- name: results_of
-- The same of the requests of one page, in its order.
SELECT request.id, request.custom_id, request.state, result.body,
       CASE WHEN request.twin_of IS NOT NULL THEN 0 ELSE
         CASE WHEN request.state = 'succeeded' THEN result.cost_nanos ELSE 0 END
         + CASE WHEN request.state = 'succeeded' AND request.attempts <= 1 AND request.retries = 0 THEN 0
                WHEN coalesce(request.error_type, '') <> 'missing_result'
                THEN (SELECT CASE WHEN count(*) = count(cost_nanos) THEN CAST(coalesce(sum(cost_nanos), 0) AS BIGINT) END
                        FROM attempt WHERE attempt.request_id = request.id) END END AS cost_nanos,
       (SELECT custom_id FROM request AS original WHERE original.id = request.twin_of) AS reused_from
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = coalesce(request.twin_of, request.id)
 WHERE request.id IN (SELECT value FROM json_each(:ids)) AND request.state IN ('succeeded', 'failed', 'canceled')
   AND (:every = 1 OR EXISTS (SELECT 1 FROM piloted WHERE piloted.request_id = request.id))
 ORDER BY request.id LIMIT :limit

-- name: costs
SELECT request.id, request.custom_id, request.state, price.model, result.input_tokens, result.output_tokens,
       result.cache_write_5m_tokens, result.cache_write_1h_tokens, result.cache_read_tokens,
       CASE WHEN result.price_id IS NULL THEN result.searches ELSE coalesce(result.searches, 0) END,
       CASE WHEN request.twin_of IS NOT NULL THEN 0 ELSE
         CASE WHEN request.state = 'succeeded' THEN result.cost_nanos ELSE 0 END
         + CASE WHEN request.state = 'succeeded' AND request.attempts <= 1 AND request.retries = 0 THEN 0
                WHEN coalesce(request.error_type, '') <> 'missing_result'
                THEN (SELECT CASE WHEN count(*) = count(cost_nanos) THEN CAST(coalesce(sum(cost_nanos), 0) AS BIGINT) END
                        FROM attempt WHERE attempt.request_id = request.id) END END AS cost_nanos
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = request.id
  LEFT JOIN price ON price.id = result.price_id
 WHERE request.id > :above AND request.id <= :high AND request.state IN ('succeeded', 'failed', 'canceled')
 ORDER BY request.id LIMIT :limit

-- name: settlings
-- The batches of a job in the order in which they were settled: events are numbered as they happen, clocks may turn back.
SELECT id, batch_id FROM event
 WHERE job_id = :id AND id >= :from AND kind = 'batch.moved' AND new = 'settled' ORDER BY id

-- name: results_of_batch
-- Without twins that came when it was settled already: they made no attempt.
SELECT request.id, request.custom_id, request.state, result.body,
       CASE WHEN request.twin_of IS NOT NULL THEN 0 ELSE
         CASE WHEN request.state = 'succeeded' THEN result.cost_nanos ELSE 0 END
         + CASE WHEN request.state = 'succeeded' AND request.attempts <= 1 AND request.retries = 0 THEN 0
                WHEN coalesce(request.error_type, '') <> 'missing_result'
                THEN (SELECT CASE WHEN count(*) = count(cost_nanos) THEN CAST(coalesce(sum(cost_nanos), 0) AS BIGINT) END
                        FROM attempt WHERE attempt.request_id = request.id) END END AS cost_nanos,
       (SELECT custom_id FROM request AS original WHERE original.id = request.twin_of) AS reused_from
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = coalesce(request.twin_of, request.id)
 WHERE request.batch_id = :batch_id AND request.id > :above AND request.state IN ('succeeded', 'failed', 'canceled')
   AND NOT (request.state = 'succeeded' AND request.attempts = 0)
 ORDER BY request.id LIMIT :limit

-- name: other_results
-- What no settled batch brought: refused or canceled before it was sent, and twins that came later.
SELECT request.id, request.custom_id, request.state, result.body,
       CASE WHEN request.twin_of IS NOT NULL THEN 0 ELSE
         CASE WHEN request.state = 'succeeded' THEN result.cost_nanos ELSE 0 END
         + CASE WHEN request.state = 'succeeded' AND request.attempts <= 1 AND request.retries = 0 THEN 0
                WHEN coalesce(request.error_type, '') <> 'missing_result'
                THEN (SELECT CASE WHEN count(*) = count(cost_nanos) THEN CAST(coalesce(sum(cost_nanos), 0) AS BIGINT) END
                        FROM attempt WHERE attempt.request_id = request.id) END END AS cost_nanos,
       (SELECT custom_id FROM request AS original WHERE original.id = request.twin_of) AS reused_from
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = coalesce(request.twin_of, request.id)
 WHERE request.id > :above AND request.id <= :high AND request.state IN ('succeeded', 'failed', 'canceled')
   AND CASE request.state WHEN 'succeeded' THEN request.attempts = 0
            ELSE NOT EXISTS (SELECT 1 FROM batch WHERE batch.id = request.batch_id AND batch.state = 'settled') END
 ORDER BY request.id LIMIT :limit

-- name: is_over
SELECT state IN ('finished', 'canceled') FROM job WHERE id = :id

-- name: request
-- The tokens of an invalid answer lie with its attempt, like its cost.
SELECT request.*, (SELECT name FROM stop_reason WHERE stop_reason.id = stop) AS stop_reason,
       coalesce(result.input_tokens, paid.input_tokens) AS input_tokens,
       coalesce(result.output_tokens, paid.output_tokens) AS output_tokens,
       coalesce(result.cache_read_tokens, paid.cache_read_tokens) AS cache_read_tokens,
       coalesce(result.cache_write_5m_tokens, paid.cache_write_5m_tokens) AS cache_write_5m_tokens,
       coalesce(result.cache_write_1h_tokens, paid.cache_write_1h_tokens) AS cache_write_1h_tokens,
       result.body,
       CASE WHEN request.twin_of IS NOT NULL THEN 0 ELSE
         CASE WHEN request.state = 'succeeded' THEN result.cost_nanos ELSE 0 END
         + CASE WHEN request.state = 'succeeded' AND request.attempts <= 1 AND request.retries = 0 THEN 0
                WHEN coalesce(request.error_type, '') <> 'missing_result'
                THEN (SELECT CASE WHEN count(*) = count(cost_nanos) THEN CAST(coalesce(sum(cost_nanos), 0) AS BIGINT) END
                        FROM attempt WHERE attempt.request_id = request.id) END END AS cost_nanos,
       (SELECT custom_id FROM request AS original WHERE original.id = request.twin_of) AS reused_from,
       (SELECT change_id FROM request AS sent WHERE sent.id = coalesce(request.twin_of, request.id)) AS sent_change
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = coalesce(request.twin_of, request.id)
  LEFT JOIN attempt AS paid ON paid.request_id = result.request_id AND paid.batch_id = request.batch_id
                       AND request.state = 'failed'
 WHERE request.id = :id

-- name: sent_changes
-- Of these requests, what is changed of the params that are sent for them.
SELECT request.id, sent.change_id FROM request JOIN request AS sent ON sent.id = coalesce(request.twin_of, request.id)
 WHERE request.id IN (SELECT value FROM json_each(:ids)) AND sent.change_id IS NOT NULL

-- name: trips
SELECT * FROM attempt WHERE request_id = :request_id ORDER BY batch_id

-- name: costs_of
-- As in `results`, of the requests of one page.
SELECT request.id,
       CASE WHEN request.twin_of IS NOT NULL THEN 0 ELSE
         CASE WHEN request.state = 'succeeded' THEN result.cost_nanos ELSE 0 END
         + CASE WHEN request.state = 'succeeded' AND request.attempts <= 1 AND request.retries = 0 THEN 0
                WHEN coalesce(request.error_type, '') <> 'missing_result'
                THEN (SELECT CASE WHEN count(*) = count(cost_nanos) THEN CAST(coalesce(sum(cost_nanos), 0) AS BIGINT) END
                        FROM attempt WHERE attempt.request_id = request.id) END END AS cost_nanos
  FROM request LEFT JOIN result ON result.id = request.result_id AND result.request_id = request.id
 WHERE request.id IN (SELECT value FROM json_each(:ids)) AND request.state IN ('succeeded', 'failed', 'canceled')

-- name: tokens_of
-- Of the requests of one page that have an answer. Whose a result is, is asked as in `results`; tokens are as in `request`.
SELECT request.id, coalesce(result.input_tokens, paid.input_tokens), coalesce(result.output_tokens, paid.output_tokens)
  FROM request JOIN result ON result.id = request.result_id AND result.request_id = coalesce(request.twin_of, request.id)
  LEFT JOIN attempt AS paid ON paid.request_id = result.request_id AND paid.batch_id = request.batch_id
                       AND request.state = 'failed'
 WHERE request.id IN (SELECT value FROM json_each(:ids))

-- name: answers_of
-- Of the requests of one page, what was answered, where it is not too long. Whose a result is, is asked as in `results`.
SELECT request.id, result.body
  FROM request JOIN result ON result.id = request.result_id AND result.request_id = coalesce(request.twin_of, request.id)
 WHERE request.id IN (SELECT value FROM json_each(:ids)) AND length(result.body) <= :most

-- name: before
SELECT max(id) FROM request WHERE id > :low AND id < :id

-- name: after
SELECT min(id) FROM request WHERE id > :id AND id <= :high

-- name: failed_of_type
SELECT count(*) FROM request WHERE job_id = :id AND state = 'failed' AND error_type = :error_type

-- name: errors
-- Read off the index of causes alone, in its order. The first of a group stands for it.
SELECT error_type, cause, count(*) AS count, min(id) AS first FROM request
 WHERE job_id = :id AND state = 'failed' GROUP BY error_type, cause ORDER BY count(*) DESC, error_type, cause LIMIT :limit

-- name: error_message
SELECT error_message FROM request WHERE id = :id

-- name: error_examples
SELECT custom_id, line FROM request
 WHERE job_id = :id AND state = 'failed' AND error_type = :error_type AND cause IS :cause
 ORDER BY id LIMIT :limit
