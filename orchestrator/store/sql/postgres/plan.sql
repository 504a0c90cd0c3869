-- name: take_many
-- The runs are outside, and each is looked up by its key: `is_queued` hides the state from the planner, which would rather go
-- through the index of all that is queued, once for each run.
UPDATE request SET state = 'batched', batch_id = CAST(run.batch_id AS BIGINT)
  FROM (SELECT column1 AS batch_id, column2 AS low, column3 AS high FROM (VALUES (?, ?, ?)) AS given) AS run
 CROSS JOIN LATERAL (SELECT id, state, state = 'queued' AS is_queued FROM request
                      WHERE id BETWEEN CAST(run.low AS BIGINT) AND CAST(run.high AS BIGINT) OFFSET 0) AS found
 WHERE found.is_queued AND request.id = found.id AND request.state = found.state
