-- name: next_result
SELECT coalesce(max(id), 0) + 1 FROM result

-- name: add_result
INSERT INTO result (id, request_id, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,
                    cache_write_1h_tokens, body, price_id, cost_nanos)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_full_result
INSERT INTO result (id, request_id, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,
                    cache_write_1h_tokens, body, price_id, cost_nanos, searches, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
