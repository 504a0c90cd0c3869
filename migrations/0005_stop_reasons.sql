-- How answers ended, and what they read from and wrote into the prompt cache; and failures of one cause as one.

-- The names that the API gives to the end of an answer, of which a row shows the number: so the usual ones take no room
-- in it. Measured: text of eight bytes makes full pages split as results come, and settling wait twice as long for the
-- disk. At most 32 names, made safe and short by the program; what comes after them is 'other'.
CREATE TABLE stop_reason (
  id   INTEGER PRIMARY KEY CHECK (id BETWEEN 0 AND 31),
  name TEXT    NOT NULL UNIQUE CHECK (name <> '' AND length(name) <= 64)
) STRICT;
INSERT INTO stop_reason VALUES (0, 'end_turn'), (1, 'stop_sequence'), (2, 'tool_use'), (3, 'max_tokens'), (4, 'refusal'),
  (5, 'pause_turn'), (6, 'model_context_window_exceeded'), (7, 'other');
CREATE TRIGGER stop_reason_fixed BEFORE UPDATE ON stop_reason BEGIN SELECT raise(ABORT, 'stop_reason: never changes'); END;
CREATE TRIGGER stop_reason_kept BEFORE DELETE ON stop_reason BEGIN SELECT raise(ABORT, 'stop_reason: never deleted'); END;

-- How a success ended. NULL: it does not say, or it was purged before this migration.
ALTER TABLE request ADD COLUMN stop INTEGER CHECK (stop IS NULL OR state = 'succeeded');
-- The message of a failure without its numbers, ids and addresses (domain/causes.py): what failures are grouped by.
ALTER TABLE request ADD COLUMN cause TEXT CHECK (cause IS NULL OR state = 'failed');
-- Tokens, beside those that are there. NULL: not known; results from before this migration have theirs in the body.
ALTER TABLE result ADD COLUMN cache_read_tokens INTEGER;
ALTER TABLE result ADD COLUMN cache_write_5m_tokens INTEGER;
ALTER TABLE result ADD COLUMN cache_write_1h_tokens INTEGER;

-- How many successes of a job ended how: counted beside the statement that settles a chunk, in the same transaction. A
-- success is frozen, so a count never goes down. `db check` compares it with the requests.
CREATE TABLE stop_count (
  job_id INTEGER NOT NULL REFERENCES job (id),
  stop   INTEGER NOT NULL REFERENCES stop_reason (id),
  count  INTEGER NOT NULL CHECK (count >= 1),
  PRIMARY KEY (job_id, stop)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER stop_count_up BEFORE UPDATE ON stop_count
WHEN NEW.count < OLD.count OR NEW.job_id <> OLD.job_id OR NEW.stop <> OLD.stop
BEGIN SELECT raise(ABORT, 'stop_count: settled is settled'); END;
CREATE TRIGGER stop_count_kept BEFORE DELETE ON stop_count BEGIN SELECT raise(ABORT, 'stop_count: never deleted'); END;

-- What is settled already gets both from what is stored of it, by functions of this program (store/migrate.py), so that
-- old rows and new ones are told apart by one rule. Measured: 4 us a result. Tokens of old results stay in their bodies:
-- to put them beside would write every result once more.
DROP TRIGGER request_frozen;
UPDATE request SET cause = cause_of(error_message) WHERE state = 'failed';
UPDATE request SET stop = found.stop
  FROM (SELECT id, request_id, stop_in(body) AS stop FROM result) AS found
 WHERE found.id = request.result_id AND found.request_id = request.id AND request.state = 'succeeded';
INSERT INTO stop_count SELECT job_id, stop, count(*) FROM request WHERE stop IS NOT NULL GROUP BY job_id, stop;
CREATE TRIGGER request_frozen BEFORE UPDATE ON request
WHEN OLD.state = 'succeeded'
  OR (OLD.state IN ('failed', 'canceled') AND NOT (NEW.state = 'queued' AND NEW.retries = OLD.retries + 1))
BEGIN SELECT raise(ABORT, 'request: settled is settled'); END;

-- The few that ended oddly are found among a million; the usual ends are found batch by batch.
CREATE INDEX request_stop ON request (job_id, stop) WHERE stop > 2;
-- Groups of failures are read off an index alone, in its order.
CREATE INDEX request_cause ON request (job_id, error_type, cause) WHERE state = 'failed';
-- Where a batch has been, and when.
CREATE INDEX event_batch ON event (batch_id) WHERE batch_id IS NOT NULL;

-- watched: nobody looked between the sample before and this one: what changed meanwhile may have changed at any time.
ALTER TABLE sample ADD COLUMN watched INTEGER NOT NULL DEFAULT 1 CHECK (watched IN (0, 1));

-- Notices carry the counts, too: the trigger of 0004 with one key more.
DROP TRIGGER event_noticed;
CREATE TRIGGER event_noticed AFTER INSERT ON event WHEN EXISTS (SELECT 1 FROM endpoint WHERE active = 1)
BEGIN
  INSERT INTO delivery (endpoint_id, event_id, type, payload, state, created_at, next_at)
  SELECT endpoint.id, NEW.id, told.type,
         '{"type":"' || told.type || '","timestamp":"' || NEW.at || '","data":{"event":' || NEW.id
         || ',"reason":' || coalesce('"' || told.reason || '"', 'null')
         || ',"job":' || coalesce((
              SELECT '{"id":"' || replace(replace(public_id, '\', '\\'), '"', '\"') || '","state":"' || state
                  || '","requests":{"total":' || total || ',"queued":' || queued || ',"batched":' || batched
                  || ',"succeeded":' || succeeded || ',"failed":' || failed || ',"canceled":' || canceled
                  || '},"stop_reasons":{' || coalesce((
                       SELECT group_concat('"' || replace(replace(name, '\', '\\'), '"', '\"') || '":' || count)
                         FROM stop_count JOIN stop_reason ON stop_reason.id = stop WHERE job_id = job.id), '') || '}}'
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
