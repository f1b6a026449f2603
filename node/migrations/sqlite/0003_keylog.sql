-- What this node believes of the gateway's log, and what it saw that must not be. Times are milliseconds UTC.

-- How far the gateway's log was followed: every entry up to `followed_size` was read, and led to the root of the note `followed`. Keys
-- are believed up to `believed_size`, whose note counts by the witness policy. Frontiers are hashes of 32 bytes each.
CREATE TABLE keylog (
    epoch INTEGER PRIMARY KEY,
    followed_size INTEGER NOT NULL,
    followed_frontier BLOB NOT NULL,
    followed BLOB NOT NULL,
    followed_at_ms INTEGER NOT NULL,
    believed_size INTEGER NOT NULL,
    believed_frontier BLOB NOT NULL,
    believed BLOB,
    believed_at_ms INTEGER NOT NULL
);

-- The leaves of its key log, opened; `binding` is the hash of a signed binding, `proof` a .tlog-proof under a checkpoint that counts.
CREATE TABLE keylog_leaf (
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    code TEXT NOT NULL,
    organisation TEXT,
    binding BLOB,
    salt BLOB NOT NULL,
    preimage BLOB NOT NULL,
    proof BLOB,
    PRIMARY KEY (epoch, number)
);
CREATE INDEX keylog_leaf_organisation ON keylog_leaf (organisation, number);

-- What a person must look at, each once: its kind, and what proves it.
CREATE TABLE alarm (
    kind TEXT NOT NULL,
    evidence_hash BLOB NOT NULL,
    evidence BLOB NOT NULL,
    raised_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, evidence_hash)
);
