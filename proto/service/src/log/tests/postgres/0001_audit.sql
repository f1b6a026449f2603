CREATE TABLE audit_event (
    seq BIGINT PRIMARY KEY,
    event_id BYTEA,
    at_ms BIGINT NOT NULL,
    code TEXT NOT NULL,
    salt BYTEA NOT NULL,
    preimage BYTEA NOT NULL
);
