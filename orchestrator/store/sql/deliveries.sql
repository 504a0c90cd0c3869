-- name: retire
UPDATE endpoint SET active = 0 WHERE active = 1

-- name: mirror
INSERT INTO endpoint (url, events, active) VALUES (:url, :events, 1)
ON CONFLICT (url) DO UPDATE SET events = excluded.events, active = 1

-- name: orphan
-- Nobody is there to take them.
UPDATE delivery SET state = 'failed', next_at = NULL, last_at = :now, last_error = 'the endpoint is not in the settings'
 WHERE state = 'waiting' AND endpoint_id IN (SELECT id FROM endpoint WHERE active = 0)

-- name: due
-- A few of each endpoint, so that one that is dead, with all that waits for it, leaves the others their turn.
-- INDEXED BY: what waits, among everything that was ever delivered.
SELECT delivery.id, url, payload, tries, (SELECT lineage FROM meta) AS lineage
  FROM (SELECT id, row_number() OVER (PARTITION BY endpoint_id ORDER BY next_at, id) AS turn
          FROM delivery INDEXED BY delivery_due WHERE state = 'waiting' AND next_at <= :now) AS due
  JOIN delivery ON delivery.id = due.id JOIN endpoint ON endpoint.id = delivery.endpoint_id
 WHERE due.turn <= :each ORDER BY delivery.next_at, delivery.id LIMIT :limit

-- name: delivered
UPDATE delivery
   SET state = 'delivered', next_at = NULL, tries = tries + 1, last_at = :now, last_status = :status, last_error = NULL
 WHERE id = :id AND state = 'waiting' AND tries = :tries

-- name: put_off
UPDATE delivery
   SET state = CASE WHEN CAST(:until AS TEXT) IS NULL THEN 'failed' ELSE 'waiting' END, next_at = :until, tries = tries + 1,
       last_at = :now, last_status = :status, last_error = :error
 WHERE id = :id AND state = 'waiting' AND tries = :tries

-- name: replay
UPDATE delivery SET state = 'waiting', next_at = :now, tries = 0
 WHERE id = :id AND state <> 'waiting' AND endpoint_id IN (SELECT id FROM endpoint WHERE active = 1)

-- name: test
INSERT INTO delivery (endpoint_id, type, payload, state, created_at, next_at)
SELECT id, 'webhook.test', '{"type":"webhook.test","timestamp":"' || CAST(:now AS TEXT) || '","data":{}}', 'waiting',
       CAST(:now AS TEXT), CAST(:now AS TEXT)
  FROM endpoint WHERE active = 1 AND (CAST(:url AS TEXT) IS NULL OR url = :url)
RETURNING id

-- name: forget
DELETE FROM delivery WHERE id IN
 (SELECT id FROM delivery WHERE created_at < :before AND state <> 'waiting' LIMIT 10000)

-- name: endpoints
SELECT * FROM endpoint ORDER BY active DESC, id

-- name: deliveries
SELECT delivery.*, url FROM delivery JOIN endpoint ON endpoint.id = endpoint_id
 WHERE delivery.id < :before ORDER BY delivery.id DESC LIMIT :limit

-- name: deliveries_in
-- The index on the state ends in the id, so a page of a state is read from its end.
SELECT delivery.*, url FROM delivery JOIN endpoint ON endpoint.id = endpoint_id
 WHERE delivery.state = :state AND delivery.id < :before ORDER BY delivery.id DESC LIMIT :limit

-- name: delivery
SELECT delivery.*, url FROM delivery JOIN endpoint ON endpoint.id = endpoint_id WHERE delivery.id = :id

-- name: delivery_counts
SELECT state, count(*) FROM delivery GROUP BY state

-- name: is_listened
SELECT 1 FROM endpoint WHERE active = 1 LIMIT 1

-- name: noticed_job
SELECT * FROM job WHERE id = :id

-- name: noticed_stops
SELECT name, count FROM stop_count JOIN stop_reason ON stop_reason.id = stop WHERE job_id = :id ORDER BY stop

-- name: noticed_batch
SELECT * FROM batch WHERE id = :id

-- name: enqueue
INSERT INTO delivery (endpoint_id, event_id, type, payload, state, created_at, next_at)
SELECT id, CAST(:event AS BIGINT), CAST(:type AS TEXT), :payload, 'waiting', CAST(:at AS TEXT), CAST(:at AS TEXT)
  FROM endpoint WHERE active = 1 AND (events = '' OR instr(events, ' ' || CAST(:type AS TEXT) || ' ') > 0)
