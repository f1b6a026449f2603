-- What this node believes of the gateway's log, and what it saw that must not be. Times are milliseconds UTC.

-- How far the gateway's log was followed: every entry up to `followed_size` was read, and led to the root of the note `followed`. Keys
-- are believed up to `believed_size`, whose note counts by the witness policy. Frontiers are hashes of 32 bytes each.
CREATE TABLE keylog (
    epoch BIGINT PRIMARY KEY,
    followed_size BIGINT NOT NULL,
    followed_frontier BYTEA NOT NULL,
    followed BYTEA NOT NULL,
    followed_at_ms BIGINT NOT NULL,
    believed_size BIGINT NOT NULL,
    believed_frontier BYTEA NOT NULL,
    believed BYTEA,
    believed_at_ms BIGINT NOT NULL
);

-- The leaves of its key log, opened; `binding` is the hash of a signed binding, `proof` a .tlog-proof under a checkpoint that counts.
CREATE TABLE keylog_leaf (
    epoch BIGINT NOT NULL,
    number BIGINT NOT NULL,
    code TEXT NOT NULL,
    organisation TEXT,
    binding BYTEA,
    salt BYTEA NOT NULL,
    preimage BYTEA NOT NULL,
    proof BYTEA,
    PRIMARY KEY (epoch, number)
);
CREATE INDEX keylog_leaf_organisation ON keylog_leaf (organisation, number);

-- What a person must look at, each once: its kind, and what proves it.
CREATE TABLE alarm (
    kind TEXT NOT NULL,
    evidence_hash BYTEA NOT NULL,
    evidence BYTEA NOT NULL,
    raised_at_ms BIGINT NOT NULL,
    PRIMARY KEY (kind, evidence_hash)
);
