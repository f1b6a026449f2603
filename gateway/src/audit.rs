//! The gateway's audit events: a closed list of codes, and preimages of ids, hashes, codes and times.
//! Every use-case that changes something writes its events with [`crate::store::audit::insert`] in the same transaction.
//! Never put content, a name or free text into a preimage: later it becomes an opened leaf of a log.

use data_encoding::HEXLOWER;
use kith_proto::id::{NetworkName, OrgId};
use kith_service::rng::{RandomFailed, Rng};
use std::fmt::Write as _;

/// What happened; the list is closed, and its texts never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The gateway's folder was made.
    NetworkCreated,
    /// An organisation enrolled.
    MemberJoined,
    /// The operator suspended a member.
    MemberSuspended,
    /// The operator ended a suspension.
    MemberResumed,
    /// A member published its next binding.
    BindingPublished,
    /// A member got a certificate.
    CertificateIssued,
    /// An enrolment was refused because its invite was used up.
    InviteRefused,
    /// An envelope was taken.
    EnvelopeTaken,
    /// An envelope was refused finally.
    EnvelopeRefused,
    /// A taken envelope will never be delivered.
    EnvelopeDropped,
    /// A recipient's node holds an envelope.
    EnvelopeDelivered,
    /// A slip was stopped.
    SlipStopped,
}

impl Code {
    /// The text in the row and at the head of the preimage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetworkCreated => "network_created",
            Self::MemberJoined => "member_joined",
            Self::MemberSuspended => "member_suspended",
            Self::MemberResumed => "member_resumed",
            Self::BindingPublished => "binding_published",
            Self::CertificateIssued => "certificate_issued",
            Self::InviteRefused => "invite_refused",
            Self::EnvelopeTaken => "envelope_taken",
            Self::EnvelopeRefused => "envelope_refused",
            Self::EnvelopeDropped => "envelope_dropped",
            Self::EnvelopeDelivered => "envelope_delivered",
            Self::SlipStopped => "slip_stopped",
        }
    }
}

/// One event, ready to be written. Drawn before its transaction, so that a rerun writes the same row.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its random id.
    pub event_id: [u8; 16],
    /// When it happened, by the gateway's clock.
    pub at_ms: i64,
    /// What happened.
    pub code: Code,
    /// Random; hides the preimage until it is opened.
    pub salt: [u8; 16],
    /// ASCII lines `name=value`: `code` and `at_ms` first, then what [`Event`]'s methods add, in that order.
    pub preimage: String,
}

impl Event {
    /// Starts an event with a fresh id and salt.
    pub fn new(rng: &Rng, code: Code, at_ms: i64) -> Result<Self, RandomFailed> {
        let mut event = Self {
            event_id: rng.bytes()?,
            at_ms,
            code,
            salt: rng.bytes()?,
            preimage: String::with_capacity(256),
        };
        event.preimage.push_str("code=");
        event.preimage.push_str(code.as_str());
        Ok(event.number("at_ms", at_ms))
    }

    /// Adds an organisation.
    pub fn org(self, name: &'static str, org: &OrgId) -> Self {
        self.line(name, org.as_str())
    }

    /// Adds a network.
    pub fn network(self, network: &NetworkName) -> Self {
        self.line("network", network.as_str())
    }

    /// Adds an id or a hash, in hexadecimal.
    pub fn bytes(self, name: &'static str, bytes: &[u8]) -> Self {
        let hex = HEXLOWER.encode(bytes);
        self.line(name, &hex)
    }

    /// Adds a number or a time.
    pub fn number(mut self, name: &'static str, number: i64) -> Self {
        // cannot fail: writing into a String returns no error.
        let _ = write!(self.preimage, "\n{name}={number}");
        self
    }

    /// Adds a word of a closed list.
    pub fn word(self, name: &'static str, word: &'static str) -> Self {
        self.line(name, word)
    }

    fn line(mut self, name: &'static str, value: &str) -> Self {
        self.preimage.push('\n');
        self.preimage.push_str(name);
        self.preimage.push('=');
        self.preimage.push_str(value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preimage_is_lines_of_codes_ids_and_times() {
        let rng = Rng::seeded(1);
        let org: OrgId = "riverside-gp".parse().unwrap();
        let event = Event::new(&rng, Code::EnvelopeRefused, 5)
            .unwrap()
            .org("from", &org)
            .bytes("envelope_id", &[0xab; 2])
            .number("number", 7)
            .word("problem", "stale_key");
        assert_eq!(
            event.preimage,
            "code=envelope_refused\nat_ms=5\nfrom=riverside-gp\nenvelope_id=abab\nnumber=7\nproblem=stale_key"
        );
        assert_ne!(event.event_id, event.salt);
    }
}
