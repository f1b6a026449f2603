-- The witness policies of the root that were taken up; the highest number is in force, so that an older one never comes back.
-- `signed`: the root's statement. Times are milliseconds UTC.
CREATE TABLE witness_policy (
    number INTEGER PRIMARY KEY,
    signed BLOB NOT NULL,
    taken_up_at_ms INTEGER NOT NULL
);
