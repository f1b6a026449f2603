-- Members that come back after a loss, and the gateway's own coming back. Times are milliseconds UTC.

-- The newest whole recovery bundle of each member, and for some time those that it took the place of while another secret fetches them;
-- the gateway cannot open them. Chunks of one that is still coming stand under its hash. `replaced_at_ms`: null for the newest.
CREATE TABLE bundle (
  organisation TEXT NOT NULL,
  made_at_ms BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  hash BYTEA NOT NULL,
  fetch_hash BYTEA NOT NULL,
  kept_at_ms BIGINT NOT NULL,
  replaced_at_ms BIGINT,
  PRIMARY KEY (organisation, hash)
);
CREATE TABLE bundle_chunk (
  organisation TEXT NOT NULL,
  hash BYTEA NOT NULL,
  number BIGINT NOT NULL,
  bytes BYTEA NOT NULL,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (organisation, hash, number)
);

-- Restores of members, so that one that is told twice has its effect once.
CREATE TABLE member_restore (
  organisation TEXT NOT NULL,
  restore_id BYTEA NOT NULL,
  backup_at_ms BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (organisation, restore_id)
);

-- Pairs whose recipient came back from a backup: what it does not hold any more is taken again from its sender, from after_number + 1 up
-- to through, at the numbers and hashes that were taken before. The row goes when `through` is reached.
-- `moved_at_ms`: when something of it came last.
CREATE TABLE reoffer (
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  restore_id BYTEA NOT NULL,
  after_number BIGINT NOT NULL,
  through BIGINT NOT NULL,
  since_ms BIGINT NOT NULL,
  asked_at_ms BIGINT NOT NULL,
  moved_at_ms BIGINT NOT NULL,
  PRIMARY KEY (sender, recipient)
);

-- The root's words for later epochs of the gateway's log (serialised Signed); the highest is in force.
CREATE TABLE log_epoch_word (
  epoch BIGINT NOT NULL PRIMARY KEY,
  signed BYTEA NOT NULL,
  taken_up_at_ms BIGINT NOT NULL
);
