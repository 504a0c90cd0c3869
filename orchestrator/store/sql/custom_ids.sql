-- name: add
INSERT INTO known_id (job_id, run, custom_id, request_id) VALUES (?, ?, ?, ?)

-- name: importing
-- First of all: elsewhere the import may be discarded meanwhile.
SELECT 1 FROM job WHERE id = :id AND state = 'importing'

-- name: runs
-- Which runs a job has, by one step of the key each.
WITH RECURSIVE found (run) AS (
  SELECT min(run) FROM known_id WHERE job_id = :id
  UNION ALL
  SELECT (SELECT min(run) FROM known_id WHERE job_id = :id AND run > found.run) FROM found WHERE found.run IS NOT NULL)
SELECT run FROM found WHERE run IS NOT NULL

-- name: one_of_each_run
-- Which runs a job has, as in `runs`, and a request of each.
WITH RECURSIVE found (run) AS (
  SELECT min(run) FROM known_id WHERE job_id = :id
  UNION ALL
  SELECT (SELECT min(run) FROM known_id WHERE job_id = :id AND run > found.run) FROM found WHERE found.run IS NOT NULL)
SELECT run, (SELECT request_id FROM known_id
              WHERE job_id = :id AND run = found.run ORDER BY custom_id, request_id LIMIT 1)
  FROM found WHERE run IS NOT NULL

-- name: in_run
SELECT custom_id, request_id FROM known_id WHERE job_id = :id AND run = :run AND custom_id = :custom_id

-- name: many_in_run
SELECT custom_id, request_id FROM known_id
 WHERE job_id = :id AND run = :run AND custom_id IN (SELECT value FROM json_each(:custom_ids))

-- name: between, and backwards: last_between
-- Those of a run that begin alike: an entry of the key each, in the order of the input. Both ends are said plainly, or the
-- key would be read from :low on to its end.
SELECT request_id FROM known_id
 WHERE job_id = :id AND run = :run AND custom_id >= :low AND custom_id < :high
   AND request_id > :above AND request_id < :below
 ORDER BY request_id LIMIT :limit

-- name: above
-- A run in its order, from just above a request; its number comes along for the one who merges runs.
SELECT custom_id, request_id, run FROM known_id
 WHERE job_id = ? AND run = ? AND (custom_id, request_id) > (?, ?) ORDER BY custom_id, request_id

-- name: forget
DELETE FROM known_id WHERE job_id = ? AND run = ? AND custom_id = ? AND request_id = ?

-- name: forget_run
DELETE FROM known_id WHERE job_id = :id AND run = (SELECT min(run) FROM known_id WHERE job_id = :id)
