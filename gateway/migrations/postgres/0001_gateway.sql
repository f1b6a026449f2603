-- The gateway's tables: membership, pair order, slips and stops, mailboxes, notices, audit events.
-- No column holds content, a person, or a key that opens an envelope. Times are milliseconds UTC.

-- Whose store this is; one row, written when a gateway first opens it.
CREATE TABLE network (
  id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
  network TEXT NOT NULL,
  root_public_key BYTEA NOT NULL,
  created_at_ms BIGINT NOT NULL
);

-- Numbers that rise without gaps in the order of commits; each update of a row holds it until the commit.
CREATE TABLE counter (
  name TEXT NOT NULL PRIMARY KEY CHECK (name IN ('change', 'audit', 'mailbox')),
  value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('change', 0), ('audit', 0), ('mailbox', 0);

-- Who joined. `chain` is a serialised BindingChain, believed only after verification from the root; `tls_key_hash` names the
-- TLS key of the enrolment, so that only its owner may repeat it; `changed` is the change counter of the last change.
CREATE TABLE member (
  organisation TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('active', 'suspended')),
  chain BYTEA NOT NULL,
  invite_id BYTEA NOT NULL UNIQUE,
  tls_key_hash BYTEA NOT NULL,
  joined_at_ms BIGINT NOT NULL,
  changed BIGINT NOT NULL UNIQUE
);

-- Services as signed by their member (serialised Signed). A service never moves to another organisation.
CREATE TABLE service (
  service_id BYTEA NOT NULL PRIMARY KEY,
  organisation TEXT NOT NULL REFERENCES member (organisation),
  statement BYTEA NOT NULL,
  made_at_ms BIGINT NOT NULL,
  published_at_ms BIGINT NOT NULL,
  changed BIGINT NOT NULL
);
CREATE INDEX service_by_organisation ON service (organisation, service_id);

-- The last position taken of each pair, and the bytes waiting in its mailbox.
CREATE TABLE pair (
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  number BIGINT NOT NULL,
  envelope_hash BYTEA NOT NULL,
  mailbox_bytes BIGINT NOT NULL,
  PRIMARY KEY (sender, recipient)
);
CREATE INDEX pair_by_recipient ON pair (recipient);

-- Slips seen by the gate, and in how many batches. Gate and stop lock the same row.
CREATE TABLE slip (
  slip_id BYTEA NOT NULL PRIMARY KEY,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  stop_hash BYTEA NOT NULL,
  slip_hash BYTEA NOT NULL,
  seen BIGINT NOT NULL
);
CREATE INDEX slip_by_expiry ON slip (expires_at_ms);

-- Who said that a slip is to be stopped, kept until slip expiry and mailbox window are over: a member, or the empty word for the
-- stop secret. A row counts when a party of the slip or the secret said it; one that does not count hides none that does.
CREATE TABLE stop (
  slip_id BYTEA NOT NULL,
  said_by TEXT NOT NULL,
  stopped_at_ms BIGINT NOT NULL,
  PRIMARY KEY (slip_id, said_by)
);

-- Signed order batches as sent (serialised OrderBatch), for the recipient to check.
CREATE TABLE order_batch (
  batch_id BYTEA NOT NULL PRIMARY KEY,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  taken_at_ms BIGINT NOT NULL,
  batch BYTEA NOT NULL
);
CREATE INDEX order_batch_by_time ON order_batch (taken_at_ms);

-- What waits for a recipient, in commit order: a serialised Envelope or, in its place, a serialised Dropped.
CREATE TABLE mailbox (
  position BIGINT NOT NULL PRIMARY KEY,
  recipient TEXT NOT NULL,
  sender TEXT NOT NULL,
  number BIGINT,
  envelope_id BYTEA NOT NULL UNIQUE,
  envelope_hash BYTEA NOT NULL,
  kind TEXT NOT NULL,
  slip_id BYTEA,
  exempt BIGINT NOT NULL CHECK (exempt IN (0, 1)),
  batch_id BYTEA,
  taken_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  envelope BYTEA,
  tombstone BYTEA,
  CHECK (envelope IS NOT NULL OR tombstone IS NOT NULL)
);
CREATE INDEX mailbox_by_recipient ON mailbox (recipient, position);
CREATE INDEX mailbox_by_slip ON mailbox (slip_id);

-- The tombstone of every envelope id answered finally, so that a repeat is answered the same way; kept 60 days.
CREATE TABLE taken (
  envelope_id BYTEA NOT NULL PRIMARY KEY,
  envelope_hash BYTEA NOT NULL,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  number BIGINT,
  taken_at_ms BIGINT NOT NULL,
  problem TEXT,
  refused BYTEA,
  delivered_at_ms BIGINT
);
CREATE INDEX taken_by_time ON taken (taken_at_ms);
CREATE INDEX taken_by_number ON taken (sender, recipient, number);
CREATE INDEX taken_by_delivery ON taken (delivered_at_ms) WHERE delivered_at_ms IS NOT NULL;

-- Frames kept for a node until it says NoticesHeld (serialised AttachResponse).
CREATE TABLE notice (
  organisation TEXT NOT NULL,
  number BIGINT NOT NULL,
  frame BYTEA NOT NULL,
  PRIMARY KEY (organisation, number)
);
CREATE TABLE notice_counter (
  organisation TEXT NOT NULL PRIMARY KEY,
  number BIGINT NOT NULL
);

-- Questions and answers of a pair on one day (days since 1970-01-01 UTC).
CREATE TABLE question_day (
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  day BIGINT NOT NULL,
  count BIGINT NOT NULL,
  PRIMARY KEY (sender, recipient, day)
);

-- What the log will prove: a code, a salt and a preimage of ids, hashes, codes and times.
CREATE TABLE audit_event (
  seq BIGINT NOT NULL PRIMARY KEY,
  event_id BYTEA NOT NULL,
  at_ms BIGINT NOT NULL,
  code TEXT NOT NULL,
  salt BYTEA NOT NULL,
  preimage BYTEA NOT NULL
);
