CREATE TABLE audit_event (
    seq INTEGER PRIMARY KEY,
    event_id BLOB,
    at_ms INTEGER NOT NULL,
    code TEXT NOT NULL,
    salt BLOB NOT NULL,
    preimage BLOB NOT NULL
);
