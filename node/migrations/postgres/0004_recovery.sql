-- Coming back after a loss. Times are milliseconds UTC.

-- The newest recovery bundle that was made: which sheet opens it, the newest sealing key in it, its file, and where it is kept.
-- `folder_at_ms`: when it lay whole at `path`; `gateway_at_ms`: when the gateway said that it keeps it.
CREATE TABLE bundle (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    made_at_ms BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    sheet BYTEA NOT NULL,
    sealing_key BYTEA NOT NULL,
    path TEXT NOT NULL,
    folder_at_ms BIGINT,
    gateway_at_ms BIGINT
);

-- This database is a backup that came back. The row stands until the network has said what the backup cannot know; until then
-- nothing is served, signed or sent. `backup_at_ms`: the newest event in it. `reason`: why a person restored it. `epoch`: the epoch of the
-- log that was begun for it, null before.
CREATE TABLE restore (
    restore_id BYTEA NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    backup_at_ms BIGINT NOT NULL,
    begun_at_ms BIGINT NOT NULL,
    epoch BIGINT,
    done_at_ms BIGINT
);

-- Slips that the gateway has stopped and that the backup does not hold: a thread that comes back under one comes back withdrawn.
CREATE TABLE stopped_slip (
    slip_id BYTEA NOT NULL PRIMARY KEY,
    stopped_at_ms BIGINT NOT NULL
);

-- Members that came back from a backup, to whom the standing of their threads with this node is still to be returned. `after_thread`:
-- the last one that was, by its id.
CREATE TABLE returning_to (
    peer TEXT NOT NULL,
    restore_id BYTEA NOT NULL,
    since_ms BIGINT NOT NULL,
    asked_at_ms BIGINT NOT NULL,
    after_thread BYTEA NOT NULL DEFAULT '',
    done_at_ms BIGINT,
    PRIMARY KEY (peer, restore_id)
);

-- The root's words for later epochs of the gateway's log (serialised Signed); the highest is followed, and its leaves alone say whose
-- keys are whose.
CREATE TABLE log_epoch_word (
    epoch BIGINT PRIMARY KEY,
    signed BYTEA NOT NULL,
    taken_up_at_ms BIGINT NOT NULL
);
