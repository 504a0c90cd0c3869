-- name: meta
-- fresh: nothing was ever handed in.
SELECT lineage, secret, sandbox, intents, line, marked, NOT EXISTS (SELECT 1 FROM job) AS fresh FROM meta

-- name: newest
SELECT (SELECT max(id) FROM event), (SELECT max(id) FROM job), (SELECT max(id) FROM batch)

-- name: keep_secret
UPDATE meta SET secret = :secret WHERE secret = '' AND marked = 0

-- name: marked
UPDATE meta SET marked = 1 WHERE marked = 0

-- name: intended
-- One more intent to POST, in the transaction of the intent.
UPDATE meta SET intents = intents + 1 RETURNING intents

-- name: catch_up
UPDATE meta SET intents = CASE WHEN intents < :intents THEN :intents ELSE intents END, line = :line

-- name: open_search
-- Only what the API made after the last thing that this file knows of its clock can be missing here.
INSERT INTO reconciliation (cause, missing, found_at, wait_since, since, open_jobs)
SELECT CAST(:cause AS TEXT), CAST(:missing AS BIGINT), CAST(:now AS TEXT), CAST(:now AS TEXT),
       (SELECT max(at) FROM (SELECT max(cursor_date) AS at FROM batch UNION ALL SELECT max(created_at) FROM batch
                             UNION ALL SELECT max(ended_at) FROM batch UNION ALL SELECT max(doubt_date) FROM batch
                             UNION ALL SELECT max(closed_date) FROM batch
                             UNION ALL SELECT max(first_download_date) FROM batch) AS known),
       CAST(:open_jobs AS TEXT)
 WHERE NOT EXISTS (SELECT 1 FROM reconciliation WHERE closed_at IS NULL)

-- name: open_jobs
-- What an open job was given since is not known either: its numbers up to the last one here are what they were.
SELECT job.id, (SELECT max(first_id + count - 1) & 4294967295 FROM payload
                 WHERE first_id BETWEEN job.id << 32 AND (job.id << 32) + 4294967295)
  FROM job WHERE coalesce(content_hash, '') = '' AND state <> 'importing'

-- name: reopen_search
-- It fell behind again while it was searching: what it knew of the wait does not hold for the newer batches.
UPDATE reconciliation SET missing = missing + :missing, wait_since = :now, first_date = NULL, until = NULL, looks = 0
 WHERE closed_at IS NULL

-- name: secret
SELECT secret FROM meta

-- name: job
SELECT * FROM job WHERE id = :id

-- name: earlier
-- How many jobs of the same content came before this one.
SELECT count(*) FROM job
 WHERE content_hash = :content_hash AND api_version = :api_version AND betas = :betas AND id < :id

-- name: ownerless
SELECT remote_id, nonce FROM stray WHERE job_id IS NULL

-- name: give
UPDATE stray SET job_id = :job_id WHERE remote_id = :remote_id AND job_id IS NULL
