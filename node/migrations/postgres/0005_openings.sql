-- Openings of what is held under slips of other members, for the person to see. Codes, days and hours in UTC; never a name or a token.

-- Openings here, until their day is over: then they are reported to the member that captured the consent, and the rows are deleted in the
-- transaction that queues the report. They are dropped with the slip. `reason`: the word of a purpose.
CREATE TABLE opening_to_report (
    day_ms BIGINT NOT NULL,
    slip_id BYTEA NOT NULL,
    opening_id BYTEA NOT NULL,
    thread_id BYTEA NOT NULL,
    hour BIGINT NOT NULL CHECK (hour BETWEEN 0 AND 23),
    role TEXT NOT NULL CHECK (role IN ('referrer', 'coordinator', 'auditor', 'admin')),
    reason TEXT NOT NULL,
    PRIMARY KEY (day_ms, slip_id, opening_id)
);
CREATE INDEX opening_to_report_slip ON opening_to_report (slip_id);

-- Openings at recipients, as they reported them of slips that were captured here: `place` within the report of that envelope. They are
-- kept as long as their slip's row.
CREATE TABLE opening_reported (
    slip_id BYTEA NOT NULL,
    day_ms BIGINT NOT NULL,
    envelope_id BYTEA NOT NULL,
    place BIGINT NOT NULL,
    hour BIGINT NOT NULL CHECK (hour BETWEEN 0 AND 23),
    role TEXT NOT NULL CHECK (role IN ('referrer', 'coordinator', 'auditor', 'admin')),
    reason TEXT NOT NULL,
    PRIMARY KEY (slip_id, day_ms, envelope_id, place)
);
