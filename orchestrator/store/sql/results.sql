-- name: next_result
SELECT coalesce(max(id), 0) + 1 FROM result

-- name: add_result
INSERT INTO result (id, request_id, input_tokens, output_tokens, body) VALUES (?, ?, ?, ?, ?)
