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
