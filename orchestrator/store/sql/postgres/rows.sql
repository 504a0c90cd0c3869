-- name: next_result
-- A block of numbers of one's own: several daemons store results side by side.
SELECT nextval('result_block')
