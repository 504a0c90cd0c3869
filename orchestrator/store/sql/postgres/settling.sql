-- Joins whose order must not be the planner's, for the reason that collect.sql here gives.

-- name: undecided
SELECT attempt.request_id, attempt.kind, attempt.outcome, attempt.error_type, attempt.error_message,
       attempt.api_request_id, attempt.body, request.attempts, coalesce(request.invalid_answers, 0) AS invalid_answers
  FROM attempt CROSS JOIN LATERAL (SELECT attempts, invalid_answers FROM request
                                    WHERE id = attempt.request_id AND batch_id = :id AND state = 'batched' OFFSET 0) AS request
 WHERE attempt.batch_id = :id LIMIT :limit

-- name: outcomes
SELECT attempt.outcome, count(*)
  FROM attempt CROSS JOIN LATERAL (SELECT 1 FROM request
                                    WHERE id = attempt.request_id AND batch_id = :id AND state = 'batched' OFFSET 0) AS request
 WHERE attempt.batch_id = :id GROUP BY attempt.outcome
