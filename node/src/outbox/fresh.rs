//! Envelopes that were just committed, in memory, so that the link need not read back what was written a moment ago.
//! Filled after the commit, emptied by the link. Never the only place of an envelope: what is not here is read from the store.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kith_proto::v1::Envelope;
use prost::Message as _;

/// Most bytes held: half a second of a busy node. When there is no room the oldest go, which the store still has.
const FRESH_BYTES_MAX: usize = 4 << 20;

/// The envelopes by their place in the outbox.
#[derive(Default)]
pub struct Fresh(Mutex<Held>);

#[derive(Default)]
struct Held {
    envelopes: BTreeMap<i64, Envelope>,
    bytes: usize,
}

impl Fresh {
    /// Keeps an envelope whose row is committed.
    pub fn put(&self, seq: i64, envelope: Envelope) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += envelope.encoded_len();
        if let Some(before) = held.envelopes.insert(seq, envelope) {
            held.bytes -= before.encoded_len();
        }
        while held.bytes > FRESH_BYTES_MAX
            && let Some((_, oldest)) = held.envelopes.pop_first()
        {
            held.bytes -= oldest.encoded_len();
        }
    }

    /// Gives an envelope away.
    pub fn take(&self, seq: i64) -> Option<Envelope> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let envelope = held.envelopes.remove(&seq)?;
        held.bytes -= envelope.encoded_len();
        Some(envelope)
    }

    /// Forgets all: on a new stream older rows come first, and what was withheld meanwhile is never asked for.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Held::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(bytes: usize) -> Envelope {
        Envelope {
            ciphertext: vec![7; bytes].into(),
            ..Envelope::default()
        }
    }

    #[test]
    fn each_is_given_away_once_and_the_oldest_go_first() {
        let fresh = Fresh::default();
        for seq in 1..=5 {
            fresh.put(seq, envelope(1 << 20));
        }
        assert_eq!(fresh.take(1), None);
        assert_eq!(fresh.take(2), None, "four of a little over 1 MiB do not fit");
        assert_eq!(fresh.take(3), Some(envelope(1 << 20)));
        assert_eq!(fresh.take(3), None);
        fresh.put(9, envelope(2));
        fresh.put(9, envelope(1));
        assert_eq!(fresh.take(9), Some(envelope(1)));
        fresh.clear();
        assert_eq!(fresh.take(5), None);
        assert_eq!(fresh.0.lock().unwrap().bytes, 0);
    }
}
