-- Notices to other programs. One is put down in the very transaction in which its event happens, for every endpoint that
-- wants it: so none is lost in a crash, and none tells of what never was. The payload is fixed then, too: a notice that is
-- sent again says the same. It holds ids and counts; no prompts, no answers, no words of the API.

-- Where notices go, as the settings say at the start of an engine. events: types between blanks; '' wants all. Secrets
-- are not here.
CREATE TABLE endpoint (
  id     INTEGER PRIMARY KEY,
  url    TEXT    NOT NULL UNIQUE,
  events TEXT    NOT NULL,
  active INTEGER NOT NULL CHECK (active IN (0, 1))
) STRICT;

CREATE TABLE delivery (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  endpoint_id INTEGER NOT NULL REFERENCES endpoint (id),
  event_id    INTEGER REFERENCES event (id),              -- NULL: a test
  type        TEXT    NOT NULL,
  payload     TEXT    NOT NULL,
  state       TEXT    NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed')),
  tries       INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
  created_at  TEXT    NOT NULL,
  next_at     TEXT,
  last_at     TEXT,
  last_status INTEGER,
  last_error  TEXT    CHECK (length(last_error) <= 1000),
  CHECK ((state = 'waiting') = (next_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX delivery_event ON delivery (event_id, endpoint_id) WHERE event_id IS NOT NULL;
CREATE INDEX delivery_due ON delivery (next_at) WHERE state = 'waiting';
CREATE INDEX delivery_state ON delivery (state);
CREATE INDEX delivery_created ON delivery (created_at);

CREATE TRIGGER delivery_fixed BEFORE UPDATE OF id, endpoint_id, event_id, type, payload, created_at ON delivery
BEGIN SELECT raise(ABORT, 'delivery: what is sent never changes'); END;

-- The JSON is put together by hand: with `trusted_schema = OFF` a trigger may not call json_object (SQLite 3.40). Every
-- text in it is our own word, or printable ASCII (ids), in which only the quote and the backslash need care.
CREATE TRIGGER event_noticed AFTER INSERT ON event WHEN EXISTS (SELECT 1 FROM endpoint WHERE active = 1)
BEGIN
  INSERT INTO delivery (endpoint_id, event_id, type, payload, state, created_at, next_at)
  SELECT endpoint.id, NEW.id, told.type,
         '{"type":"' || told.type || '","timestamp":"' || NEW.at || '","data":{"event":' || NEW.id
         || ',"reason":' || coalesce('"' || told.reason || '"', 'null')
         || ',"job":' || coalesce((
              SELECT '{"id":"' || replace(replace(public_id, '\', '\\'), '"', '\"') || '","state":"' || state
                  || '","requests":{"total":' || total || ',"queued":' || queued || ',"batched":' || batched
                  || ',"succeeded":' || succeeded || ',"failed":' || failed || ',"canceled":' || canceled || '}}'
                FROM job WHERE job.id = NEW.job_id), 'null')
         || ',"batch":' || coalesce((
              SELECT '{"id":' || coalesce('"' || replace(replace(remote_id, '\', '\\'), '"', '\"') || '"', 'null')
                  || ',"number":' || batch.id || ',"state":"' || state || '","requests":' || count
                  || ',"expired":' || coalesce(api_expired, 'null') || '}'
                FROM batch WHERE batch.id = NEW.batch_id), 'null')
         || '}}',
         'waiting', NEW.at, NEW.at
    FROM (SELECT CASE
                   WHEN NEW.kind = 'job.moved' AND NEW.new = 'finished' THEN 'job.finished'
                   WHEN NEW.kind = 'job.moved' AND NEW.new = 'canceled' THEN 'job.canceled'
                   WHEN NEW.kind = 'job.moved' AND NEW.new = 'paused'
                        AND (SELECT reason_code FROM job WHERE job.id = NEW.job_id) <> 'by_user' THEN 'job.attention'
                   WHEN NEW.kind GLOB 'attention.*' THEN 'job.attention'
                   WHEN NEW.kind = 'batch.moved' AND NEW.new = 'in_doubt' THEN 'batch.in_doubt'
                   WHEN NEW.kind = 'batch.moved' AND NEW.new = 'ended'
                        AND (SELECT api_expired FROM batch WHERE batch.id = NEW.batch_id) > 0 THEN 'batch.expired'
                 END AS type,
                 CASE
                   WHEN NEW.kind GLOB 'attention.*' THEN substr(NEW.kind, 11)
                   WHEN NEW.kind = 'job.moved' THEN (SELECT reason_code FROM job WHERE job.id = NEW.job_id)
                 END AS reason) AS told
    JOIN endpoint ON endpoint.active = 1
     AND (endpoint.events = '' OR instr(endpoint.events, ' ' || told.type || ' ') > 0)
   WHERE told.type IS NOT NULL;
END;
