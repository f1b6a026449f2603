-- The gateway's tables: membership, pair order, slips and stops, mailboxes, notices, audit events.
-- No column holds content, a person, or a key that opens an envelope. Times are milliseconds UTC.

-- Whose store this is; one row, written when a gateway first opens it.
CREATE TABLE network (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  network TEXT NOT NULL,
  root_public_key BLOB NOT NULL,
  created_at_ms INTEGER NOT NULL
);

-- Numbers that rise without gaps in the order of commits; each update of a row holds it until the commit.
CREATE TABLE counter (
  name TEXT NOT NULL PRIMARY KEY CHECK (name IN ('change', 'audit', 'mailbox')),
  value INTEGER NOT NULL
);
INSERT INTO counter (name, value) VALUES ('change', 0), ('audit', 0), ('mailbox', 0);

-- Who joined. `chain` is a serialised BindingChain, believed only after verification from the root; `tls_key_hash` names the
-- TLS key of the enrolment, so that only its owner may repeat it; `changed` is the change counter of the last change.
CREATE TABLE member (
  organisation TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended')),
  chain BLOB NOT NULL,
  invite_id BLOB NOT NULL UNIQUE,
  tls_key_hash BLOB NOT NULL,
  joined_at_ms INTEGER NOT NULL,
  changed INTEGER NOT NULL UNIQUE
);

-- Services as signed by their member (serialised Signed). A service never moves to another organisation.
CREATE TABLE service (
  service_id BLOB NOT NULL PRIMARY KEY,
  organisation TEXT NOT NULL REFERENCES member (organisation),
  statement BLOB NOT NULL,
  made_at_ms INTEGER NOT NULL,
  published_at_ms INTEGER NOT NULL,
  changed INTEGER NOT NULL
);
CREATE INDEX service_by_organisation ON service (organisation, service_id);

-- The last position taken of each pair, and the bytes waiting in its mailbox.
CREATE TABLE pair (
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  number INTEGER NOT NULL,
  envelope_hash BLOB NOT NULL,
  mailbox_bytes INTEGER NOT NULL,
  PRIMARY KEY (sender, recipient)
);
CREATE INDEX pair_by_recipient ON pair (recipient);

-- Slips seen by the gate, and in how many batches. Gate and stop lock the same row.
CREATE TABLE slip (
  slip_id BLOB NOT NULL PRIMARY KEY,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  stop_hash BLOB NOT NULL,
  slip_hash BLOB NOT NULL,
  seen INTEGER NOT NULL
);
CREATE INDEX slip_by_expiry ON slip (expires_at_ms);

-- Who said that a slip is to be stopped, kept until slip expiry and mailbox window are over: a member, or the empty word for the
-- stop secret. A row counts when a party of the slip or the secret said it; one that does not count hides none that does.
CREATE TABLE stop (
  slip_id BLOB NOT NULL,
  said_by TEXT NOT NULL,
  stopped_at_ms INTEGER NOT NULL,
  PRIMARY KEY (slip_id, said_by)
);

-- Signed order batches as sent (serialised OrderBatch), for the recipient to check.
CREATE TABLE order_batch (
  batch_id BLOB NOT NULL PRIMARY KEY,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  taken_at_ms INTEGER NOT NULL,
  batch BLOB NOT NULL
);
CREATE INDEX order_batch_by_time ON order_batch (taken_at_ms);

-- What waits for a recipient, in commit order: a serialised Envelope or, in its place, a serialised Dropped.
CREATE TABLE mailbox (
  position INTEGER NOT NULL PRIMARY KEY,
  recipient TEXT NOT NULL,
  sender TEXT NOT NULL,
  number INTEGER,
  envelope_id BLOB NOT NULL UNIQUE,
  envelope_hash BLOB NOT NULL,
  kind TEXT NOT NULL,
  slip_id BLOB,
  exempt INTEGER NOT NULL CHECK (exempt IN (0, 1)),
  batch_id BLOB,
  taken_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  envelope BLOB,
  tombstone BLOB,
  CHECK (envelope IS NOT NULL OR tombstone IS NOT NULL)
);
CREATE INDEX mailbox_by_recipient ON mailbox (recipient, position);
CREATE INDEX mailbox_by_slip ON mailbox (slip_id);

-- The tombstone of every envelope id answered finally, so that a repeat is answered the same way; kept 60 days.
CREATE TABLE taken (
  envelope_id BLOB NOT NULL PRIMARY KEY,
  envelope_hash BLOB NOT NULL,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  number INTEGER,
  taken_at_ms INTEGER NOT NULL,
  problem TEXT,
  refused BLOB,
  delivered_at_ms INTEGER
);
CREATE INDEX taken_by_time ON taken (taken_at_ms);
CREATE INDEX taken_by_number ON taken (sender, recipient, number);
CREATE INDEX taken_by_delivery ON taken (delivered_at_ms) WHERE delivered_at_ms IS NOT NULL;

-- Frames kept for a node until it says NoticesHeld (serialised AttachResponse).
CREATE TABLE notice (
  organisation TEXT NOT NULL,
  number INTEGER NOT NULL,
  frame BLOB NOT NULL,
  PRIMARY KEY (organisation, number)
);
CREATE TABLE notice_counter (
  organisation TEXT NOT NULL PRIMARY KEY,
  number INTEGER NOT NULL
);

-- Questions and answers of a pair on one day (days since 1970-01-01 UTC).
CREATE TABLE question_day (
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  day INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (sender, recipient, day)
);

-- What the log will prove: a code, a salt and a preimage of ids, hashes, codes and times.
CREATE TABLE audit_event (
  seq INTEGER NOT NULL PRIMARY KEY,
  event_id BLOB NOT NULL,
  at_ms INTEGER NOT NULL,
  code TEXT NOT NULL,
  salt BLOB NOT NULL,
  preimage BLOB NOT NULL
);
