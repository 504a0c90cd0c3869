-- name: counts
SELECT total, total - twins FROM job WHERE id = :id

-- name: existing
-- Numbers in :numbers that stand for a request of the job that is sent.
SELECT id FROM request WHERE id IN (SELECT (CAST(:job_id AS BIGINT) << 32) + value FROM json_each(:numbers)) AND twin_of IS NULL

-- name: add
INSERT INTO piloted (request_id) SELECT value FROM json_each(:ids) WHERE 1 = 1 ON CONFLICT DO NOTHING

-- name: add_first
-- Twins as well: their originals are before them.
INSERT INTO piloted (request_id)
SELECT id FROM request WHERE id BETWEEN :low AND :high ORDER BY id LIMIT :size
ON CONFLICT DO NOTHING

-- name: hold
UPDATE job SET pilot = 'wait', trial = :size, fence = fence + 1 WHERE id = :id

-- name: resize
UPDATE job SET trial = :size WHERE id = :id

-- name: let_go
UPDATE job SET pilot = 'over', trial = NULL, fence = fence + 1 WHERE id = :id AND trial IS NOT NULL

-- name: is_open
SELECT EXISTS (SELECT 1 FROM piloted JOIN request ON request.id = piloted.request_id
                WHERE piloted.request_id BETWEEN :low AND :high AND request.state IN ('queued', 'batched'))

-- name: ended
-- Jobs whose pilot has ended: every request of it is settled, and others wait.
SELECT * FROM job
 WHERE pilot IN ('wait', 'go_on') AND state = 'running' AND queued > twins_waiting
   AND NOT EXISTS (SELECT 1 FROM piloted JOIN request ON request.id = piloted.request_id
                    WHERE piloted.request_id BETWEEN job.id << 32 AND (job.id << 32) + 4294967295
                      AND request.state IN ('queued', 'batched'))
 ORDER BY id

-- name: end
UPDATE job SET pilot = 'over', fence = fence + 1 WHERE id = :id AND fence = :fence AND pilot IN ('wait', 'go_on')

-- name: size
SELECT count(*) FROM piloted WHERE request_id BETWEEN :low AND :high

-- name: cool
-- What is kept for five minutes is gone when others are sent: one of them goes ahead again.
UPDATE prefix SET primer_id = NULL, tries = 0 WHERE job_id = :id AND ttl_s < 3600
