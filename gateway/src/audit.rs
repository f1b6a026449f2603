//! The gateway's audit events: `kith_proto::trail` events with their salts, drawn before the transaction that writes them.
//! Every use-case that changes something writes its events with [`crate::store::audit::insert`] in the same transaction.
//! Never put content or a name into an event: opened, its leaf is read by auditors, and of the key log by every member.

pub use kith_proto::trail::{Code, Event};

use kith_proto::trail::leaf::Salt;
use kith_service::rng::{RandomFailed, Rng};

/// An event with its salt, so that a transaction that is run again writes the same row.
#[derive(Clone, Debug)]
pub struct Salted {
    /// What happened.
    pub event: Event,
    /// 16 random bytes.
    pub salt: Salt,
}

impl Salted {
    /// Draws a salt for an event.
    pub fn new(rng: &Rng, event: Event) -> Result<Self, RandomFailed> {
        Ok(Self {
            event,
            salt: rng.bytes()?,
        })
    }
}
