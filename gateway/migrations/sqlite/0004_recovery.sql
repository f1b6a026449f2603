-- Members that come back after a loss, and the gateway's own coming back. Times are milliseconds UTC.

-- The newest whole recovery bundle of each member, and for some time those that it took the place of while another secret fetches them;
-- the gateway cannot open them. Chunks of one that is still coming stand under its hash. `replaced_at_ms`: null for the newest.
CREATE TABLE bundle (
  organisation TEXT NOT NULL,
  made_at_ms INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  hash BLOB NOT NULL,
  fetch_hash BLOB NOT NULL,
  kept_at_ms INTEGER NOT NULL,
  replaced_at_ms INTEGER,
  PRIMARY KEY (organisation, hash)
);
CREATE TABLE bundle_chunk (
  organisation TEXT NOT NULL,
  hash BLOB NOT NULL,
  number INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (organisation, hash, number)
);

-- Restores of members, so that one that is told twice has its effect once.
CREATE TABLE member_restore (
  organisation TEXT NOT NULL,
  restore_id BLOB NOT NULL,
  backup_at_ms INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (organisation, restore_id)
);

-- Pairs whose recipient came back from a backup: what it does not hold any more is taken again from its sender, from after_number + 1 up
-- to through, at the numbers and hashes that were taken before. The row goes when `through` is reached.
-- `moved_at_ms`: when something of it came last.
CREATE TABLE reoffer (
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  restore_id BLOB NOT NULL,
  after_number INTEGER NOT NULL,
  through INTEGER NOT NULL,
  since_ms INTEGER NOT NULL,
  asked_at_ms INTEGER NOT NULL,
  moved_at_ms INTEGER NOT NULL,
  PRIMARY KEY (sender, recipient)
);

-- The root's words for later epochs of the gateway's log (serialised Signed); the highest is in force.
CREATE TABLE log_epoch_word (
  epoch INTEGER NOT NULL PRIMARY KEY,
  signed BLOB NOT NULL,
  taken_up_at_ms INTEGER NOT NULL
);
