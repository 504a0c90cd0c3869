-- name: in_doubt
SELECT * FROM batch WHERE state = 'in_doubt' ORDER BY id

-- name: note_date
-- Whoever waits by a clock of its own begins anew; what the API's Date proved stays.
UPDATE batch SET doubt_date = :date WHERE id = :id AND state = 'in_doubt' AND doubt_date IS NULL

-- name: end_wait
UPDATE batch SET doubt_until = :until, doubt_looks = 0, fence = fence + 1
 WHERE id = :id AND state = 'in_doubt' AND fence = :fence AND doubt_until IS NULL

-- name: looked
UPDATE batch SET doubt_looks = CASE WHEN :found = 1 THEN 0 ELSE doubt_looks + 1 END, fence = fence + 1
 WHERE id = :id AND state = 'in_doubt' AND fence = :fence

-- name: void
-- Terminal: it never appeared. Its requests go into a new batch, with a new nonce.
UPDATE batch SET state = 'void', closed_date = :date, fence = fence + 1
 WHERE id = :id AND state = 'in_doubt' AND fence = :fence

-- name: claim
-- Proven ours, or said to be. Its requests never left it, so the road goes on as if the answer had come. A remote batch
-- that is another batch's by a clear yes or by proof stays that one's.
UPDATE batch
   SET state = 'in_progress', remote_id = :remote_id, created_at = :created_at, expires_at = :expires_at, fence = fence + 1
 WHERE id = :id AND state = 'in_doubt' AND fence = :fence
   AND NOT EXISTS (SELECT 1 FROM batch AS other WHERE other.remote_id = :remote_id)

-- name: seen
-- A remote batch that might be ours. What was proven of it stays.
INSERT INTO remote (remote_id, count, created_at, verdict) VALUES (:remote_id, :count, :created_at, 'unproven')
ON CONFLICT (remote_id) DO NOTHING

-- name: candidate
INSERT INTO candidate (batch_id, remote_id) VALUES (:batch_id, :remote_id) ON CONFLICT DO NOTHING

-- name: candidates
SELECT remote.* FROM candidate JOIN remote USING (remote_id) WHERE candidate.batch_id = :batch_id ORDER BY remote.remote_id

-- name: judge
UPDATE remote SET verdict = CAST(:verdict AS TEXT), batch_id = :batch_id,
       unreadable_since = CASE CAST(:verdict AS TEXT) WHEN 'unprovable' THEN unreadable_since END
 WHERE remote_id = :remote_id AND verdict IN ('unproven', 'unprovable')

-- name: unreadable
UPDATE remote SET unreadable_since = coalesce(unreadable_since, :date) WHERE remote_id = :remote_id

-- name: readable
UPDATE remote SET unreadable_since = NULL WHERE remote_id = :remote_id AND unreadable_since IS NOT NULL

-- name: remotes
SELECT * FROM remote WHERE remote_id IN (SELECT value FROM json_each(:remote_ids))

-- name: known
-- Which of these remote ids belong to a batch of ours by a clear yes (or by proof).
SELECT remote_id FROM batch WHERE remote_id IN (SELECT value FROM json_each(:remote_ids))

-- name: by_nonce
SELECT * FROM batch WHERE nonce = :nonce

-- name: release
UPDATE request SET state = 'queued', batch_id = NULL WHERE batch_id = :id AND state = 'batched'

-- name: to_sweep
SELECT * FROM batch WHERE state IN ('void', 'abandoned') AND swept = 0 AND sent_at IS NOT NULL

-- name: swept
UPDATE batch SET swept = 1 WHERE id = :id

-- name: count_duplicate
UPDATE meta SET duplicates_total = duplicates_total + 1

-- name: unkept
-- Told at once by a late answer, before there were results.
SELECT remote.remote_id, batch.id FROM remote JOIN batch ON batch.id = remote.batch_id JOIN job ON job.id = batch.job_id
 WHERE remote.verdict = 'ours' AND batch.state IN ('void', 'abandoned') AND batch.swept = 0 AND job.purged_at IS NULL
   AND (SELECT count(*) FROM spare WHERE spare.remote_id = remote.remote_id) < remote.count

-- name: kept
SELECT number FROM spare WHERE remote_id = :remote_id

-- name: spare_of
-- Whose the results of a duplicate are, when it was made, and whether what it may cost is in the ledger. Not of a job that was
-- purged meanwhile: nobody would delete them any more.
SELECT job.id, substr(remote.created_at, 1, 10), remote.verdict = 'ours'
  FROM remote JOIN batch ON batch.id = :batch_id JOIN job ON job.id = batch.job_id
 WHERE remote.remote_id = :remote_id AND job.purged_at IS NULL

-- name: missing
-- How many results of a duplicate are not kept.
SELECT count - (SELECT count(*) FROM spare WHERE spare.remote_id = remote.remote_id), substr(created_at, 1, 10)
  FROM remote WHERE remote_id = :remote_id

-- name: keep_spare
INSERT INTO spare (remote_id, number, body) VALUES (:remote_id, :number, :body)
