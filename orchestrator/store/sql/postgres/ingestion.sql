-- name: begin
-- With the process that reads the input: as long as that lives nobody takes the import for left over.
INSERT INTO job (public_id, name, state, source, api_version, betas, priority, tags, cache, dedupe, still_open, added_at,
                 created_at, cap_nanos, per_request_nanos, answer_schema, retry_invalid, submitted_by, daemon)
VALUES (:public_id, :name, 'importing', :source, :api_version, :betas, :priority, :tags, :cache, :dedupe, :still_open, :now,
        :now, :cap, :per_request, :schema, :retry_invalid, :submitted_by,
        CAST(nullif(current_setting('orchestrator.daemon', true), '') AS uuid))
RETURNING *

-- name: discardable
-- Not now, if somebody writes: a daemon that stands still in the middle of it is not waited for.
SELECT state FROM job WHERE id = :id FOR UPDATE SKIP LOCKED
