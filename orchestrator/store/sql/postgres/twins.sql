-- Joins whose order must not be the planner's, for the reason that collect.sql here gives.

-- name: of_batch
SELECT twin.id FROM request AS original
 CROSS JOIN LATERAL (SELECT id FROM request WHERE twin_of = original.id AND state = 'queued' LIMIT :limit) AS twin
 WHERE original.batch_id = :id AND original.state IN ('succeeded', 'failed', 'canceled') LIMIT :limit
