-- name: job_with_content
-- The newest job made of the same bytes for the same API version and betas: the same command twice is safe. One that was
-- purged has no results to give.
SELECT * FROM job
 WHERE content_hash = :content_hash AND api_version = :api_version AND betas = :betas AND state <> 'importing' AND purged_at IS NULL
 ORDER BY id DESC LIMIT 1

-- name: job_repeated
-- What a client sends again because it had no answer; two that it means are told apart by who asks. Nobody's own is
-- another one's.
SELECT * FROM job
 WHERE content_hash = :content_hash AND api_version = :api_version AND betas = :betas AND state <> 'importing' AND purged_at IS NULL
   AND source = :source AND created_at >= :since AND coalesce(submitted_by, '') = :submitted_by
 ORDER BY id DESC LIMIT 1

-- name: job_with_key
SELECT * FROM job WHERE key = :key

-- name: give_key
UPDATE job SET key = :key, key_content = :key_content WHERE id = :id AND key IS NULL

-- name: job_from_source
-- The newest job made from the same file and under the same name, whatever the file held then; it may have been renamed.
SELECT * FROM job
 WHERE source = :source AND state <> 'importing' AND purged_at IS NULL
   AND (name = :name OR EXISTS (SELECT 1 FROM event WHERE job_id = job.id AND kind = 'job.renamed' AND old = :name))
 ORDER BY id DESC LIMIT 1

-- name: newer_so_named
-- Whom the name would lead to: of several jobs of one name it means the newest.
SELECT * FROM job WHERE name = :name AND id > :id AND state <> 'importing' ORDER BY id DESC LIMIT 1

-- name: rename
UPDATE job SET name = :name WHERE id = :id

-- name: importing
-- Imports: at the start, before any begins, those that no process can be working on. An open job is none.
SELECT * FROM job WHERE state = 'importing'

-- name: begin
INSERT INTO job (public_id, name, state, source, api_version, betas, priority, tags, cache, dedupe, still_open, added_at,
                 created_at, cap_nanos, per_request_nanos, answer_schema, retry_invalid, submitted_by)
VALUES (:public_id, :name, 'importing', :source, :api_version, :betas, :priority, :tags, :cache, :dedupe, :still_open, :now,
        :now, :cap, :per_request, :schema, :retry_invalid, :submitted_by)
RETURNING *

-- name: job_state
SELECT state, still_open, dedupe FROM job WHERE id = :id

-- name: add_request
INSERT INTO request (id, custom_id, line, params_bytes, state) VALUES (?, ?, ?, ?, 'queued')

-- name: add_payload
INSERT INTO payload (first_id, count, data) VALUES (:first_id, :count, :data)

-- name: count_added
-- Only an import, or an open job, takes requests.
UPDATE job SET total = total + :count, queued = queued + :count, added_at = :now
 WHERE id = :id AND (state = 'importing' OR (still_open = 1 AND state IN ('running', 'paused')))
RETURNING cache

-- name: last
-- The last number that was given. A request that was left out keeps its place in its block: it is not given again.
SELECT first_id + count - 1 FROM payload WHERE first_id BETWEEN :low AND :high ORDER BY first_id DESC LIMIT 1

-- name: lines
SELECT id, line, params_bytes FROM request WHERE id IN (SELECT value FROM json_each(:ids))

-- name: leave_out
DELETE FROM request WHERE id IN (SELECT value FROM json_each(:ids))

-- name: add_refused
INSERT INTO refused_line (job_id, line, field, problem, remedy, raw) VALUES (?, ?, ?, ?, ?, ?)

-- name: finish
UPDATE job SET state = 'running', content_hash = :content_hash, source_bytes = :size_bytes,
       key = :key, key_content = :key_content, pilot = :pilot, trial = :trial, api_version = :api_version,
       version_reason = :version_reason, fence = fence + 1
 WHERE id = :id AND state = 'importing'
RETURNING *

-- name: close_open
-- An open job takes no more requests: it may finish.
UPDATE job SET still_open = 0, content_hash = coalesce(content_hash, ''), fence = fence + 1 WHERE id = :id AND still_open = 1

-- name: discardable
-- First of all in a slice: nobody writes for this import meanwhile.
SELECT state FROM job WHERE id = :id

-- name: discard_twins
-- No more may wait than are queued, and those are deleted.
UPDATE job SET twins = 0, twins_waiting = 0 WHERE id = :id AND twins > 0

-- name: discard_requests
DELETE FROM request WHERE id IN (SELECT id FROM request WHERE id BETWEEN :low AND :high LIMIT 5000)

-- name: discard_payload
DELETE FROM payload WHERE first_id BETWEEN :low AND :high

-- name: discard_refused
DELETE FROM refused_line WHERE job_id = :id

-- name: discard_job
DELETE FROM job WHERE id = :id AND state = 'importing'
