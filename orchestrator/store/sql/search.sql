-- name: open
SELECT * FROM reconciliation WHERE closed_at IS NULL

-- name: restart_wait
-- A new process cannot know how long the old one waited by its own clock; what the API's Date proved stays.
UPDATE reconciliation SET wait_since = :now WHERE closed_at IS NULL

-- name: note_date
UPDATE reconciliation SET first_date = :date WHERE closed_at IS NULL AND first_date IS NULL

-- name: end_wait
UPDATE reconciliation SET until = :until, looks = 0 WHERE closed_at IS NULL AND until IS NULL

-- name: looked
UPDATE reconciliation SET looks = CASE WHEN :open THEN 0 ELSE looks + 1 END WHERE closed_at IS NULL

-- name: close
UPDATE reconciliation SET closed_at = :now WHERE closed_at IS NULL AND until IS NOT NULL AND looks >= 1

-- name: account
-- Whose account the batches of this store were sent with, as far as it knows.
SELECT organization, workspace FROM batch WHERE state IN ('in_progress', 'canceling', 'ended', 'settled')
 ORDER BY id DESC LIMIT 1

-- name: unfinished
SELECT id FROM job WHERE state IN ('running', 'paused', 'canceling')

-- name: told
SELECT job_id FROM attention WHERE kind = :kind
