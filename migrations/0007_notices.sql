-- The program puts a notice down with its event (`record`, the only writer of `event`), no longer this trigger: the JSON is
-- made where the others are made. What waits, and what it says, stays as it is.
DROP TRIGGER event_noticed;
