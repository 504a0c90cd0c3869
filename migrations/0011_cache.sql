-- What requests of a job share in the API's prompt cache. A prefix can be read only by batches that start after one that wrote
-- it has ended, so one request of each prefix is sent ahead, and the others wait.

-- cache: what is done about it: off (nothing), prime (one request of each marked prefix goes ahead), auto (so, and the marker is
-- added where requests share a beginning).
ALTER TABLE job ADD COLUMN cache TEXT NOT NULL DEFAULT 'prime' CHECK (cache IN ('off', 'prime', 'auto'));

-- A beginning that requests share, found when they were taken in; only those that their model keeps. digest: of all that has to
-- be identical, in hex; tokens: rough; part: where it ends; ttl_s: how long it is kept. waiting: of `requests`, those with an id
-- from next_id on, which were in no batch yet. primer_id: the request that was sent ahead last; batch_id: the last batch with
-- requests of it that was planned; tries: requests that were sent ahead since one had an answer.
CREATE TABLE prefix (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id    INTEGER NOT NULL REFERENCES job (id),
  digest    TEXT    NOT NULL,
  model     TEXT    NOT NULL,
  part      TEXT    NOT NULL CHECK (part IN ('tools', 'system', 'messages')),
  tokens    INTEGER NOT NULL CHECK (tokens >= 0),
  ttl_s     INTEGER NOT NULL CHECK (ttl_s > 0),
  requests  INTEGER NOT NULL DEFAULT 0 CHECK (requests >= 0),
  waiting   INTEGER NOT NULL DEFAULT 0 CHECK (waiting >= 0),
  next_id   INTEGER NOT NULL DEFAULT 0,
  primer_id INTEGER,
  batch_id  INTEGER REFERENCES batch (id),
  tries     INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
  UNIQUE (job_id, digest)
) STRICT;
CREATE INDEX prefix_waiting ON prefix (job_id, id) WHERE waiting > 0;

-- Which prefix a request has; most have none.
CREATE TABLE prefixed (
  request_id INTEGER PRIMARY KEY,
  prefix_id  INTEGER NOT NULL REFERENCES prefix (id)
) STRICT;
CREATE INDEX prefixed_prefix ON prefixed (prefix_id, request_id);
