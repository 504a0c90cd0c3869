-- Some requests of a job are sent, and no others until all of it is asked for: the rows `piloted` say which, as of a pilot.

-- trial: so many of its requests are sent; NULL: all.
ALTER TABLE job ADD COLUMN trial INTEGER CHECK (trial > 0);
