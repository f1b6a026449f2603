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
-- nothing is served, signed or sent. `backup_at_ms`: the newest event in it. `reason`: why a person restored it.
CREATE TABLE restore (
    restore_id BYTEA NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    backup_at_ms BIGINT NOT NULL,
    begun_at_ms BIGINT NOT NULL,
    done_at_ms BIGINT
);

-- Members that came back from a backup, to whom the standing of their threads with this node is still to be returned.
CREATE TABLE returning_to (
    peer TEXT NOT NULL,
    restore_id BYTEA NOT NULL,
    since_ms BIGINT NOT NULL,
    asked_at_ms BIGINT NOT NULL,
    PRIMARY KEY (peer, restore_id)
);
