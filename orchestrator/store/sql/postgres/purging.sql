-- name: forget_refused
-- A row without a key is named by its place.
UPDATE refused_line SET raw = ''::bytea WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM refused_line WHERE job_id = :id AND raw <> ''::bytea LIMIT :limit))
