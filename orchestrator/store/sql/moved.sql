-- name: newest
SELECT kind, why FROM event WHERE id = (SELECT max(id) FROM event)

-- name: submitting
SELECT count(*) FROM batch WHERE state = 'submitting'

-- name: sums
SELECT (SELECT count(*) FROM job), (SELECT coalesce(sum(total), 0) FROM job)
