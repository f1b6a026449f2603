-- The root's highest word for a later epoch of each network's log (serialised Signed); an earlier epoch is cosigned no more. Times are
-- milliseconds UTC.
CREATE TABLE network_epoch (
    network TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    signed BLOB NOT NULL,
    taken_up_at_ms INTEGER NOT NULL
);
