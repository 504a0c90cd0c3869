-- Why a job is not sent with the newest API version, where its requests decided: "120 requests set temperature". NULL: it is,
-- or somebody chose its version.
ALTER TABLE job ADD COLUMN version_reason TEXT;
