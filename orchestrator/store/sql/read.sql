-- name: by_ref
-- An exact id or name, or a unique prefix of an id; `rank` prefers the more exact. Open imports show too.
SELECT *, CASE WHEN public_id = :ref THEN 0 WHEN name = :ref THEN 1 ELSE 2 END AS rank FROM job
 WHERE public_id = :ref OR name = :ref OR substr(public_id, 1, length(:ref)) = :ref
 ORDER BY rank, id DESC LIMIT 20

-- name: ids_of_name
SELECT public_id FROM job WHERE name = :name ORDER BY id DESC

-- name: last
SELECT * FROM job ORDER BY id DESC LIMIT 1

-- name: close_names
SELECT public_id, name FROM job ORDER BY id DESC LIMIT 200

-- name: jobs
-- :states and :tags are JSON lists. UTEXT: so that `lower` knows ASCII alone on both sides.
SELECT * FROM job
 WHERE id < :before
   AND (:any_state = 1 OR state IN (SELECT value FROM json_each(:states)))
   AND NOT EXISTS (SELECT 1 FROM json_each(:tags) WHERE instr(',' || tags || ',', ',' || value || ',') = 0)
   AND (CAST(:text AS TEXT) IS NULL OR instr(lower(name), lower(CAST(:text AS UTEXT))) > 0
        OR instr(lower(public_id), lower(CAST(:text AS UTEXT))) > 0)
   AND (CAST(:submitted_by AS TEXT) IS NULL OR submitted_by = CAST(:submitted_by AS TEXT))
   AND created_at >= CAST(:since AS TEXT) AND created_at < CAST(:before_day AS TEXT)
 ORDER BY id DESC LIMIT :limit

-- name: newer_jobs
-- The same in the other direction.
SELECT * FROM job
 WHERE id > :id
   AND (:any_state = 1 OR state IN (SELECT value FROM json_each(:states)))
   AND NOT EXISTS (SELECT 1 FROM json_each(:tags) WHERE instr(',' || tags || ',', ',' || value || ',') = 0)
   AND (CAST(:text AS TEXT) IS NULL OR instr(lower(name), lower(CAST(:text AS UTEXT))) > 0
        OR instr(lower(public_id), lower(CAST(:text AS UTEXT))) > 0)
   AND (CAST(:submitted_by AS TEXT) IS NULL OR submitted_by = CAST(:submitted_by AS TEXT))
   AND created_at >= CAST(:since AS TEXT) AND created_at < CAST(:before_day AS TEXT)
 ORDER BY id LIMIT :limit

-- name: sums
SELECT coalesce(sum(total), 0) AS total, coalesce(sum(queued), 0) AS queued, coalesce(sum(batched), 0) AS batched,
       coalesce(sum(succeeded), 0) AS succeeded, coalesce(sum(failed), 0) AS failed,
       coalesce(sum(canceled), 0) AS canceled, coalesce(sum(resubmitted), 0) AS resubmitted,
       min(CASE WHEN state IN ('running', 'paused', 'canceling') THEN created_at END) AS oldest
  FROM job

-- name: all_stops
SELECT name, sum(count) FROM stop_count JOIN stop_reason ON stop_reason.id = stop GROUP BY stop, name ORDER BY 2 DESC

-- name: stops
SELECT name, count FROM stop_count JOIN stop_reason ON stop_reason.id = stop
 WHERE job_id = :id ORDER BY count DESC, stop

-- name: invalid
-- Where nothing failed otherwise they are known; else they are counted off an index. Only a job with a schema has any.
SELECT CASE WHEN EXISTS (SELECT 1 FROM request
                           WHERE job_id = job.id AND request.state = 'failed' AND error_type < 'invalid_answer')
              OR EXISTS (SELECT 1 FROM request
                          WHERE job_id = job.id AND request.state = 'failed' AND error_type > 'invalid_answer')
            THEN (SELECT count(*) FROM request
                   WHERE job_id = job.id AND request.state = 'failed' AND error_type = 'invalid_answer')
            ELSE failed END
  FROM job WHERE id = :id

-- name: all_invalid
SELECT coalesce(sum(CASE WHEN EXISTS (SELECT 1 FROM request
                           WHERE job_id = job.id AND request.state = 'failed' AND error_type < 'invalid_answer')
              OR EXISTS (SELECT 1 FROM request
                          WHERE job_id = job.id AND request.state = 'failed' AND error_type > 'invalid_answer')
            THEN (SELECT count(*) FROM request
                   WHERE job_id = job.id AND request.state = 'failed' AND error_type = 'invalid_answer')
            ELSE failed END), 0)
  FROM job WHERE answer_schema IS NOT NULL AND failed > 0

-- name: job_states
SELECT state, count(*) FROM job GROUP BY state

-- name: batches_in
SELECT count(*) FROM batch WHERE state = :state

-- name: held
-- What the API holds, or may hold.
SELECT coalesce(sum(count), 0) FROM batch WHERE state IN ('submitting', 'in_doubt', 'in_progress', 'canceling')

-- name: first_expiry
SELECT min(expires_at) FROM batch WHERE state IN ('in_progress', 'canceling')

-- name: attentions
SELECT * FROM attention ORDER BY since, job_id, kind, batch_id

-- name: batch_states
SELECT state, count(*) FROM batch WHERE job_id = :id GROUP BY state

-- name: attention
SELECT * FROM attention WHERE job_id = :id ORDER BY since

-- name: next_expiry
SELECT min(expires_at) FROM batch WHERE job_id = :id AND state IN ('in_progress', 'canceling')

-- name: sweep_until
-- Until when (the API's time) a void or abandoned batch of this job is still looked for.
SELECT max(closed_date) FROM batch
 WHERE job_id = :id AND state IN ('void', 'abandoned') AND swept = 0 AND sent_at IS NOT NULL

-- name: refused
-- A page ends with a whole line, which may have several problems.
SELECT line, field, problem, remedy, raw FROM refused_line
 WHERE job_id = :id AND line > :after
   AND line <= (SELECT max(line) FROM (SELECT line FROM refused_line
                                        WHERE job_id = :id AND line > :after ORDER BY line LIMIT :limit) AS page)
 ORDER BY line

-- name: meta
SELECT lineage, created_at, sandbox, spread, duplicates_total FROM meta

-- name: fresh_job
SELECT * FROM job WHERE id = :id

-- name: over_since
SELECT * FROM job
 WHERE state IN ('finished', 'canceled') AND purged_at IS NULL AND finished_at <= :until ORDER BY id

-- name: known
SELECT * FROM job WHERE id IN (SELECT value FROM json_each(:ids))

-- name: unfinished
SELECT * FROM job WHERE state IN ('running', 'paused', 'canceling') ORDER BY id

-- name: gate_until
SELECT until FROM gate WHERE name = :name

-- name: gates
-- A handful of rows: one per kind of call.
SELECT * FROM gate ORDER BY name
