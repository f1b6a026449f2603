-- A witness remembers the last head that it cosigned of each log, and forks. Times are milliseconds UTC.

-- The last head that was cosigned or believed of somebody else's log.
CREATE TABLE log_seen (
    origin TEXT NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    note BYTEA NOT NULL,
    seen_at_ms BIGINT NOT NULL
);

-- Forks: two notes of one log that cannot both be true, as evidence.
CREATE TABLE log_fork (
    origin TEXT NOT NULL,
    offered_hash BYTEA NOT NULL,
    held BYTEA NOT NULL,
    offered BYTEA NOT NULL,
    seen_at_ms BIGINT NOT NULL,
    PRIMARY KEY (origin, offered_hash)
);
