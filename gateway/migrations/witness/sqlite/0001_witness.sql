-- A witness remembers the last head that it cosigned of each log, and forks. Times are milliseconds UTC.

-- The last head that was cosigned or believed of somebody else's log.
CREATE TABLE log_seen (
    origin TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    note BLOB NOT NULL,
    seen_at_ms INTEGER NOT NULL
);

-- Forks: two notes of one log that cannot both be true, as evidence.
CREATE TABLE log_fork (
    origin TEXT NOT NULL,
    offered_hash BLOB NOT NULL,
    held BLOB NOT NULL,
    offered BLOB NOT NULL,
    seen_at_ms INTEGER NOT NULL,
    PRIMARY KEY (origin, offered_hash)
);
