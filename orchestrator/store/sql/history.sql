-- name: record
-- The event log; always in the transaction of the change it records.
INSERT INTO event (at, job_id, batch_id, kind, old, new, why, actor) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id

-- name: priority
SELECT priority FROM job WHERE id = ?

-- name: events
SELECT * FROM event WHERE job_id = :id AND event.id > :after ORDER BY event.id LIMIT :limit

-- name: all_events
SELECT * FROM event WHERE event.id > :after ORDER BY event.id LIMIT :limit

-- name: last_event
SELECT coalesce(max(id), 0) FROM event

-- name: newest_events
SELECT * FROM event WHERE job_id = :id AND event.id < :before ORDER BY event.id DESC LIMIT :limit

-- name: newest_of_all
SELECT * FROM event WHERE event.id < :before ORDER BY event.id DESC LIMIT :limit

-- name: last_sample
SELECT * FROM sample WHERE at >= :since AND at < :before ORDER BY at DESC LIMIT 1

-- name: sample_at
SELECT * FROM sample WHERE at <= :at ORDER BY at DESC LIMIT 1

-- name: unwatched
-- What was settled before a sample that is the first of its engine: at any time since the sample before.
SELECT this.at, this.settled - before.settled AS settled, this.failed - before.failed AS failed
  FROM sample AS this
  JOIN sample AS before ON before.at = (SELECT earlier.at FROM sample AS earlier WHERE earlier.at < this.at ORDER BY earlier.at DESC LIMIT 1)
 WHERE this.at > :since AND this.watched = 0 AND this.settled > before.settled

-- name: histories
-- Every step of some batches. CROSS JOIN: from the list to the index of their events.
SELECT event.batch_id, event.at, event.new FROM json_each(:ids) AS wanted CROSS JOIN event ON event.batch_id = wanted.value
 WHERE event.kind IN ('batch.planned', 'batch.moved', 'batch.adopted') AND event.new IS NOT NULL
 ORDER BY event.id

-- name: busy
-- How busy all jobs are now.
SELECT coalesce(sum(queued), 0),
       (SELECT coalesce(sum(count), 0) FROM batch WHERE state IN ('submitting', 'in_doubt', 'in_progress', 'canceling')),
       (SELECT count(*) FROM batch WHERE state IN ('submitting', 'in_doubt', 'in_progress', 'canceling')),
       coalesce(sum(succeeded + failed + canceled), 0), coalesce(sum(failed), 0), coalesce(sum(resubmitted), 0)
  FROM job

-- name: last
SELECT queued, in_flight_requests, in_flight_batches, settled, failed, resubmitted FROM sample ORDER BY at DESC LIMIT 1

-- name: add
INSERT INTO sample (at, queued, in_flight_requests, in_flight_batches, settled, failed, resubmitted, watched)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: forget_old
DELETE FROM sample WHERE at IN (SELECT at FROM sample WHERE at < :before ORDER BY at LIMIT 1000)
