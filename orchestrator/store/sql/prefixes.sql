-- name: known
SELECT digest, id FROM prefix WHERE job_id = :job_id AND digest IN (SELECT value FROM json_each(:texts))

-- name: add_prefix
INSERT INTO prefix (job_id, digest, model, part, tokens, ttl_s) VALUES (?, ?, ?, ?, ?, ?)

-- name: count
UPDATE prefix SET requests = requests + :count, waiting = waiting + :count WHERE id = :id

-- name: count_short
UPDATE prefix SET requests = requests + :count WHERE id = :id

-- name: add_member
INSERT INTO prefixed (request_id, prefix_id) VALUES (?, ?)

-- name: shared
SELECT model, ttl_s, CAST(sum(tokens * (requests - 1)) AS BIGINT) FROM prefix
 WHERE job_id = :job_id AND requests >= :least AND digest NOT LIKE 'short:%' GROUP BY model, ttl_s ORDER BY model, ttl_s

-- name: groups
SELECT prefix.id, part, ttl_s, waiting, next_id, tries, primer_id, primer.state AS primer, ahead.created_at AS primer_sent_at,
       ahead.ended_at AS primer_ended_at,
       CASE WHEN ahead.ended_at > used.ended_at THEN ahead.ended_at
            ELSE coalesce(used.ended_at, ahead.ended_at) END AS used_at,
       coalesce(used.state IN ('planned', 'submitting', 'in_doubt', 'in_progress', 'canceling'), 0 = 1) AS in_flight
  FROM prefix
  LEFT JOIN request AS primer ON primer.id = prefix.primer_id
  LEFT JOIN batch AS ahead ON ahead.id = primer.batch_id
  LEFT JOIN batch AS used ON used.id = prefix.batch_id
 WHERE prefix.job_id = :job_id AND waiting > 0 AND requests >= :least
   AND (:every = 1 OR prefix.id IN (SELECT value FROM json_each(:ids)))
 ORDER BY prefix.id LIMIT :limit

-- name: waiting
-- Those that were in no batch yet, and the one that was sent ahead, if it is queued again (`low` is its id, else `next_id`).
SELECT request.id, params_bytes FROM prefixed JOIN request ON request.id = prefixed.request_id
 WHERE prefixed.prefix_id = :prefix_id AND prefixed.request_id >= :low AND request.state = 'queued'
   AND (prefixed.request_id >= :next_id OR prefixed.request_id = :low)
 ORDER BY prefixed.request_id LIMIT :limit

-- name: free
-- Those without a prefix, with one that too few share, and those that were in a batch with it before and not ahead.
SELECT id, params_bytes FROM request
 WHERE job_id = :job_id AND state = 'queued' AND twin_of IS NULL
   AND NOT EXISTS (SELECT 1 FROM prefixed JOIN prefix ON prefix.id = prefixed.prefix_id
                    WHERE prefixed.request_id = request.id AND prefix.waiting > 0 AND prefix.requests >= :least
                      AND (request.id >= prefix.next_id OR request.id = prefix.primer_id))
 ORDER BY id LIMIT :limit

-- name: piloted
-- What waits to be sent of a pilot, with the prefix that each request has.
SELECT request.id, params_bytes, prefix_id
  FROM piloted JOIN request ON request.id = piloted.request_id
  LEFT JOIN prefixed ON prefixed.request_id = piloted.request_id
 WHERE piloted.request_id BETWEEN :low AND :high AND request.state = 'queued' AND twin_of IS NULL
 ORDER BY piloted.request_id LIMIT :limit

-- name: use
-- Only as it was read: another planner may have been faster.
UPDATE prefix SET next_id = CASE WHEN next_id < :upto THEN :upto ELSE next_id END, waiting = CASE WHEN waiting > :count THEN waiting - :count ELSE 0 END, batch_id = :batch_id,
       primer_id = coalesce(CAST(:primer_id AS BIGINT), primer_id),
       tries = CASE WHEN CAST(:primer_id AS BIGINT) IS NULL THEN 0 ELSE tries + 1 END
 WHERE id = :id AND next_id = :next_id

-- name: emptied
-- None of its requests is queued any more.
UPDATE prefix SET waiting = 0 WHERE id = :id AND next_id = :next_id

-- name: leave_out
UPDATE prefix SET requests = requests - gone.count, waiting = waiting - gone.count
  FROM (SELECT prefix_id, count(*) AS count FROM prefixed WHERE request_id IN (SELECT value FROM json_each(:ids))
         GROUP BY prefix_id) AS gone
 WHERE prefix.id = gone.prefix_id

-- name: forget_members
DELETE FROM prefixed WHERE request_id IN (SELECT value FROM json_each(:ids))

-- name: forget_primers
UPDATE prefix SET primer_id = NULL
 WHERE id IN (SELECT prefix_id FROM prefixed WHERE request_id IN (SELECT value FROM json_each(:ids)))
   AND primer_id IN (SELECT value FROM json_each(:ids))

-- name: discard_members
DELETE FROM prefixed WHERE request_id IN (SELECT request_id FROM prefixed WHERE request_id BETWEEN :low AND :high LIMIT 5000)

-- name: discard_prefixes
DELETE FROM prefix WHERE job_id = :id

-- name: unmark
-- As `waiting` and `free` tell them apart: a prefix's next requests, and the one that was sent ahead, keep their note.
DELETE FROM prefixed
 WHERE request_id IN (SELECT id FROM request WHERE batch_id = :batch_id)
   AND NOT EXISTS (SELECT 1 FROM prefix
                    WHERE prefix.id = prefixed.prefix_id AND prefix.id IN (SELECT value FROM json_each(:keys))
                      AND (prefixed.request_id >= prefix.next_id OR prefixed.request_id = prefix.primer_id))

-- name: marks
-- Where the marker stands that is added to requests of a batch.
SELECT request_id, part FROM prefixed JOIN prefix ON prefix.id = prefixed.prefix_id
 WHERE request_id BETWEEN :low AND :high AND EXISTS (SELECT 1 FROM job WHERE id = :job_id AND cache = 'auto')

-- name: answers
-- What was paid for a job, but for the batches of those that went ahead: those are to write what others read.
SELECT price.model AS name, price.geo, price.rates, CAST(sum(requests) AS BIGINT) AS requests,
       CAST(sum(input) AS BIGINT) AS input, CAST(sum(output) AS BIGINT) AS output, CAST(sum(write_5m) AS BIGINT) AS write_5m,
       CAST(sum(write_1h) AS BIGINT) AS write_1h, CAST(sum(read) AS BIGINT) AS read,
       CAST(sum(searches) AS BIGINT) AS searches, CAST(sum(cost_nanos) AS BIGINT) AS nanos,
       CAST(sum(unpriced) AS BIGINT) AS unpriced
  FROM batch JOIN ledger ON ledger.batch_id = batch.id JOIN price ON price.id = ledger.price_id
 WHERE batch.job_id = :id
   AND NOT EXISTS (SELECT 1 FROM prefix JOIN request ON request.id = prefix.primer_id
                    WHERE prefix.job_id = :id AND request.batch_id = batch.id)
 GROUP BY price.model, price.geo, price.rates ORDER BY price.model, price.geo, price.rates

-- name: is_unwarned
SELECT 1 FROM job WHERE id = :id AND cache = 'auto'
   AND NOT EXISTS (SELECT 1 FROM event WHERE job_id = :id AND kind = 'cache.poor')

-- name: largest
WITH largest AS (SELECT id, model, part, tokens, requests FROM prefix
                  WHERE job_id = :id AND requests >= :least AND digest NOT LIKE 'short:%'
                  ORDER BY requests * tokens DESC, id LIMIT :limit)
SELECT model, part, tokens, requests, CAST(coalesce(sum(cache_read_tokens), 0) AS BIGINT) AS read,
       CAST(coalesce(sum(coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_1h_tokens, 0)), 0) AS BIGINT) AS written
  FROM largest LEFT JOIN prefixed ON prefixed.prefix_id = largest.id
  LEFT JOIN request ON request.id = prefixed.request_id
  LEFT JOIN result ON result.id = request.result_id AND result.request_id = request.id
 GROUP BY largest.id, model, part, tokens, requests ORDER BY requests * tokens DESC, largest.id

-- name: below_minimum
SELECT CAST(coalesce(sum(requests), 0) AS BIGINT) FROM prefix WHERE job_id = :id AND digest LIKE 'short:%'

-- name: waits
-- Only until the batch of the one that went ahead has ended.
SELECT CAST(coalesce(sum(waiting), 0) AS BIGINT), min(batch.id)
  FROM prefix JOIN request AS primer ON primer.id = prefix.primer_id JOIN batch ON batch.id = primer.batch_id
 WHERE prefix.job_id = :id AND waiting > 0 AND requests >= :least AND primer.state = 'batched' AND batch.ended_at IS NULL
