-- Who of the organisation signs in to the workspace. `label`: what colleagues know them by; `roles`: words as of a token; `language`: the tag
-- of the language that they chose last, empty until they did.
CREATE TABLE colleague (
    colleague_id BYTEA NOT NULL PRIMARY KEY,
    label TEXT NOT NULL,
    roles TEXT NOT NULL,
    language TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT
);

-- A link that signs one colleague in, once. Only the hash of its secret is kept; a later link of the same colleague takes its place.
CREATE TABLE sign_in_link (
    colleague_id BYTEA NOT NULL PRIMARY KEY,
    link_hash BYTEA NOT NULL UNIQUE,
    expires_at_ms BIGINT NOT NULL
);

-- Passkeys of colleagues: what their devices sign with. `passkey`: the public key and what is known of the device, no secret.
CREATE TABLE passkey (
    credential_id BYTEA NOT NULL PRIMARY KEY,
    colleague_id BYTEA NOT NULL,
    passkey BYTEA NOT NULL,
    made_at_ms BIGINT NOT NULL,
    used_at_ms BIGINT
);
CREATE INDEX passkey_colleague ON passkey (colleague_id, made_at_ms);

-- Who is signed in. Only the hash of the cookie's secret is kept.
CREATE TABLE session (
    session_hash BYTEA NOT NULL PRIMARY KEY,
    colleague_id BYTEA NOT NULL,
    begun_at_ms BIGINT NOT NULL,
    seen_at_ms BIGINT NOT NULL
);
CREATE INDEX session_colleague ON session (colleague_id);
CREATE INDEX session_seen ON session (seen_at_ms);

-- For lists by whose turn it is, the most urgent first.
CREATE INDEX referral_urgency ON referral (deadline_ms, thread_id);

-- A referral that somebody is making, page by page. What was answered so far is sealed under the person's own record, and goes with it.
CREATE TABLE draft (
    draft_id BYTEA NOT NULL PRIMARY KEY,
    colleague_id BYTEA NOT NULL,
    person_id BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    changed_at_ms BIGINT NOT NULL
);
CREATE INDEX draft_colleague ON draft (colleague_id, changed_at_ms);
CREATE INDEX draft_changed ON draft (changed_at_ms);
