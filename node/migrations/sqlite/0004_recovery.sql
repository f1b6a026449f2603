-- Coming back after a loss. Times are milliseconds UTC.

-- The newest recovery bundle that was made: which sheet opens it, the newest sealing key in it, its file, and where it is kept.
-- `folder_at_ms`: when it lay whole at `path`; `gateway_at_ms`: when the gateway said that it keeps it.
CREATE TABLE bundle (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    made_at_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    hash BLOB NOT NULL,
    sheet BLOB NOT NULL,
    sealing_key BLOB NOT NULL,
    path TEXT NOT NULL,
    folder_at_ms INTEGER,
    gateway_at_ms INTEGER
);

-- This database is a backup that came back. The row stands until the network has said what the backup cannot know; until then
-- nothing is served, signed or sent. `backup_at_ms`: the newest event in it. `reason`: why a person restored it. `epoch`: the epoch of the
-- log that was begun for it, null before.
CREATE TABLE restore (
    restore_id BLOB NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    backup_at_ms INTEGER NOT NULL,
    begun_at_ms INTEGER NOT NULL,
    epoch INTEGER,
    done_at_ms INTEGER
) WITHOUT ROWID;

-- Slips that the gateway has stopped and that the backup does not hold: a thread that comes back under one comes back withdrawn.
CREATE TABLE stopped_slip (
    slip_id BLOB NOT NULL PRIMARY KEY,
    stopped_at_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Members that came back from a backup, to whom the standing of their threads with this node is still to be returned. `after_thread`:
-- the last one that was, by its id.
CREATE TABLE returning_to (
    peer TEXT NOT NULL,
    restore_id BLOB NOT NULL,
    since_ms INTEGER NOT NULL,
    asked_at_ms INTEGER NOT NULL,
    after_thread BLOB NOT NULL DEFAULT x'',
    done_at_ms INTEGER,
    PRIMARY KEY (peer, restore_id)
) WITHOUT ROWID;

-- The root's words for later epochs of the gateway's log (serialised Signed); the highest is followed, and its leaves alone say whose
-- keys are whose.
CREATE TABLE log_epoch_word (
    epoch INTEGER PRIMARY KEY,
    signed BLOB NOT NULL,
    taken_up_at_ms INTEGER NOT NULL
);
