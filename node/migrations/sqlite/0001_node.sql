-- A node's store. Ids are 16 bytes, times milliseconds UTC, states words with a check; what a person said is only ever in
-- `sealed` columns. The same tables, columns and indexes as postgres/0001_node.sql.
-- An index on a random id dirties a page of its own with every row, so there is one only where a query needs it. Tables that grow
-- with every referral keep their row numbers: a row goes to the end, and only the narrow index is written here and there.

-- Whose store this is; another organisation's is refused.
CREATE TABLE identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    network TEXT NOT NULL,
    organisation TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
);

-- The last number given out of each sequence. Every writing transaction that numbers something locks this row first, which
-- makes commit order and number order one, and re-checks under it true until the commit.
CREATE TABLE counter (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    outbox INTEGER NOT NULL,
    change INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    inbox INTEGER NOT NULL,
    audit INTEGER NOT NULL
);
INSERT INTO counter (id, outbox, change, sent, inbox, audit) VALUES (1, 0, 0, 0, 0, 0);

-- Who may call; only the hash of a token is kept. `roles`: words with a space between, in wire order.
CREATE TABLE token (
    token_id BLOB PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE,
    roles TEXT NOT NULL,
    label TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) WITHOUT ROWID;

-- The first answer to every write, for repeats. Never holds a secret or content.
CREATE TABLE request (
    request_id BLOB NOT NULL PRIMARY KEY,
    call TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    answer BLOB NOT NULL,
    at_ms INTEGER NOT NULL
);
CREATE INDEX request_at ON request (at_ms);

-- One body of content that is erased as one: a person's own record, or what is held under one slip. `wrapped_key` is the
-- holding's key under the epoch's; `category_keys` are section number and key under the holding's key, repeated.
-- Both are null once destroyed.
CREATE TABLE holding (
    holding_id BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('own', 'slip')),
    slip_id BLOB UNIQUE,
    epoch INTEGER NOT NULL,
    wrapped_key BLOB,
    category_keys BLOB,
    destroyed_at_ms INTEGER,
    CHECK ((wrapped_key IS NULL) = (destroyed_at_ms IS NOT NULL)),
    CHECK ((wrapped_key IS NULL) = (category_keys IS NULL))
);
CREATE INDEX holding_epoch ON holding (epoch, holding_id);

-- What people said, sealed under a category's key of a holding. `owner_id`: the person, grant or thread it belongs to.
-- `section`: a category's word, or `record` for captures, which no narrowing takes away.
CREATE TABLE content (
    content_id BLOB NOT NULL,
    owner_id BLOB NOT NULL,
    holding_id BLOB NOT NULL,
    section TEXT NOT NULL CHECK (section IN ('identity', 'contact', 'communication', 'need', 'health', 'family', 'education',
        'practical', 'progress', 'record')),
    kind TEXT NOT NULL CHECK (kind IN ('person_part', 'grant_capture', 'event_words', 'message')),
    sealed BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (owner_id, content_id)
);

-- What a referral says, as it was sent: all parts and the record of the consent in one row, each sealed under its own section's
-- key (section number, length and sealed bytes, repeated).
CREATE TABLE referral_content (
    thread_id BLOB NOT NULL PRIMARY KEY,
    holding_id BLOB NOT NULL,
    sealed BLOB NOT NULL
);

CREATE TABLE person (
    person_id BLOB PRIMARY KEY,
    holding_id BLOB NOT NULL,
    owner_token BLOB NOT NULL,
    version INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Openings of the last minutes: the same token and record within 15 minutes add no second audit event.
CREATE TABLE opening (
    token_id BLOB NOT NULL,
    record_id BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (token_id, record_id)
) WITHOUT ROWID;

-- A grant; its capture is in `content` under the person's own holding (owner = grant_id), `stop_seed` sealed there too.
CREATE TABLE grant_record (
    grant_id BLOB PRIMARY KEY,
    person_id BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('live', 'withdrawn', 'invalidated', 'expired')),
    lawful_basis INTEGER NOT NULL,
    given_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER,
    stop_seed BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX grant_person ON grant_record (person_id, given_at_ms, grant_id);
CREATE INDEX grant_expiry ON grant_record (state, expires_at_ms);

-- A slip on either side. `slip` and `signature` are the signed bytes; categories, purposes and progress are read from them.
CREATE TABLE slip (
    slip_id BLOB NOT NULL PRIMARY KEY,
    grant_id BLOB,
    side TEXT NOT NULL CHECK (side IN ('captured', 'received')),
    peer TEXT NOT NULL,
    slip BLOB NOT NULL,
    signature BLOB NOT NULL,
    holding_id BLOB NOT NULL,
    person_salt BLOB,
    issued_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('live', 'withdrawn', 'expired')),
    ended_at_ms INTEGER,
    stop_state TEXT NOT NULL CHECK (stop_state IN ('none', 'pending', 'done')),
    withdrawal_id BLOB,
    withdrawal_sent_at_ms INTEGER,
    withdrawal_reached_at_ms INTEGER,
    proof BLOB
);
CREATE INDEX slip_grant ON slip (grant_id);
CREATE INDEX slip_expiry ON slip (state, expires_at_ms);
CREATE INDEX slip_stop ON slip (stop_state);

-- One thread as this node holds it. `number` is the last event's; `changed` the place in the order of changes; `arrival` the
-- order of sending or of arrival.
CREATE TABLE referral (
    thread_id BLOB NOT NULL PRIMARY KEY,
    side TEXT NOT NULL CHECK (side IN ('sent', 'inbox')),
    peer TEXT NOT NULL,
    person_id BLOB,
    slip_id BLOB NOT NULL,
    owner_token BLOB,
    purpose TEXT NOT NULL CHECK (purpose IN ('care', 'peer_support', 'settlement', 'education', 'practical_help')),
    state TEXT NOT NULL CHECK (state IN ('draft', 'sent', 'received', 'acknowledged', 'info_requested', 'waitlisted', 'accepted',
        'handoff_planned', 'no_show', 'in_progress', 'cancel_requested', 'completed', 'not_completed', 'declined', 'forwarded',
        'cancelled', 'withdrawn', 'expired', 'entered_in_error')),
    came_from TEXT,
    expired_from TEXT,
    consent TEXT NOT NULL CHECK (consent IN ('live', 'cut', 'erased')),
    delivery TEXT NOT NULL CHECK (delivery IN ('queued', 'taken', 'delivered', 'undelivered')),
    problem TEXT,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    answer_by_ms INTEGER NOT NULL,
    deadline_ms INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    changed INTEGER NOT NULL UNIQUE,
    arrival INTEGER NOT NULL,
    envelope_id BLOB NOT NULL
);
CREATE UNIQUE INDEX referral_arrival ON referral (side, arrival);
CREATE INDEX referral_slip ON referral (slip_id);
CREATE INDEX referral_deadline ON referral (state, deadline_ms);

-- The lifecycle moves of a thread. `state` is null in a proposal that was not applied here.
CREATE TABLE event (
    thread_id BLOB NOT NULL,
    event_id BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    move TEXT NOT NULL,
    state TEXT,
    reason TEXT,
    party TEXT NOT NULL,
    late INTEGER NOT NULL,
    provisional INTEGER NOT NULL,
    happened_at_ms INTEGER NOT NULL,
    deadline_ms INTEGER NOT NULL,
    words_id BLOB,
    PRIMARY KEY (thread_id, event_id)
);

-- The conversation of a thread; the words are content with the message's id.
CREATE TABLE message (
    thread_id BLOB NOT NULL,
    message_id BLOB NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('sent', 'inbox')),
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (thread_id, message_id)
);

-- Envelopes on their way, in the order of `seq`. The large bytes are apart, so that a change of state moves no envelope.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    peer TEXT NOT NULL,
    kind TEXT NOT NULL,
    thread_id BLOB NOT NULL,
    slip_id BLOB,
    holding_id BLOB,
    envelope_id BLOB NOT NULL UNIQUE,
    envelope_hash BLOB NOT NULL,
    ordered INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'taken', 'refused', 'delivered', 'withheld')),
    number INTEGER,
    problem TEXT,
    taken_at_ms INTEGER,
    expires_at_ms INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
);
CREATE INDEX outbox_queued ON outbox (seq) WHERE state = 'queued';
CREATE INDEX outbox_slip ON outbox (slip_id);

-- The envelope as it goes out, and its body sealed under the holding's `record` key (of withdrawals, proofs and bare events,
-- which outlive holdings, under the node's own sealing key), from which it is sealed again when the recipient's key has
-- changed. A referral's body is not kept: its content stands beside it. The row is gone once withheld or erased.
CREATE TABLE outbox_envelope (
    seq INTEGER PRIMARY KEY,
    envelope BLOB NOT NULL,
    body BLOB
);

-- The last receipted position towards each member, and the last one received from each.
CREATE TABLE pair_sent (
    peer TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    envelope_hash BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE pair_received (
    peer TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    envelope_hash BLOB NOT NULL
) WITHOUT ROWID;

-- Every envelope that ever came, for 60 days, so that none has its effect twice.
CREATE TABLE received (
    envelope_id BLOB NOT NULL PRIMARY KEY,
    envelope_hash BLOB NOT NULL,
    peer TEXT NOT NULL,
    problem TEXT,
    at_ms INTEGER NOT NULL
);
CREATE INDEX received_at ON received (at_ms);

-- The signed directory as last verified; `member` is a serialised Member.
CREATE TABLE member (
    organisation TEXT PRIMARY KEY,
    member BLOB NOT NULL,
    suspended INTEGER NOT NULL,
    checked_at_ms INTEGER NOT NULL
);

-- Where the link stands, for `status`, and how far the directory was read.
CREATE TABLE link_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    state TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    gateway_offset_ms INTEGER NOT NULL,
    last_hello_ms INTEGER NOT NULL,
    member_cursor INTEGER NOT NULL,
    problem TEXT
);
INSERT INTO link_state (id, state, since_ms, gateway_offset_ms, last_hello_ms, member_cursor) VALUES (1, 'down', 0, 0, 0, 0);

-- The trail: ids, codes and times, never a name or a word. Salt and preimage open the leaf.
CREATE TABLE audit_event (
    seq INTEGER PRIMARY KEY,
    event_id BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    code TEXT NOT NULL,
    salt BLOB NOT NULL,
    preimage BLOB NOT NULL
);

-- When each of the slow timers last ran: the hourly tidying (`prune`) and the daily epoch rotation (`rotate`).
CREATE TABLE timer (
    name TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL
);

-- Who read a consent text of this program and stands for it here; without a row no consent is captured with that text.
CREATE TABLE statement_review (
    statement_id TEXT NOT NULL,
    language TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    reviewer TEXT NOT NULL,
    reviewed_at_ms INTEGER NOT NULL,
    PRIMARY KEY (statement_id, language)
) WITHOUT ROWID;
