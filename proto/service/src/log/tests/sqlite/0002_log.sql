-- The transparency log: what the audit events become, and what was seen of other logs. The formats are C2SP's. Times are milliseconds UTC.

-- Nothing reads an event's random id: its number names it.
ALTER TABLE audit_event DROP COLUMN event_id;

-- Where the log stands. `frontier`: the hashes (32 bytes each) that cover a tree of `size`; `signed`: the checkpoint of this size;
-- `offered`: the one that witnesses are asked to cosign; `counted`: the newest that counts. Leaf i is event first_seq + i.
CREATE TABLE log_epoch (
    epoch INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    size INTEGER NOT NULL,
    frontier BLOB NOT NULL,
    signed BLOB,
    offered BLOB,
    counted BLOB
);

-- Tiles of hashes (kind `0` to `7`, their level in tlog-tiles) and bundles of entries. Rows of the right edge grow, full ones never change.
CREATE TABLE log_tile (
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('0', '1', '2', '3', '4', '5', '6', '7', 'entries')),
    number INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (epoch, kind, number)
);

-- By what an event is found: 8 bytes of a hash over a line of its preimage; and how far that is filled.
CREATE TABLE log_index (
    found_by INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (found_by, seq)
) WITHOUT ROWID;
CREATE TABLE log_index_end (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
);
INSERT INTO log_index_end (id, seq) VALUES (1, 0);

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
